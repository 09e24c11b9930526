//! FFmpeg's description of streams, in this crate's words.

use std::ffi::CStr;

use ffmpeg_next::ffi::{self, AVCodecParameters, AVMediaType, AVPacketSideDataType, AVRational, AVStream};
use ffmpeg_next::format::context::Input;

use crate::codec::{AudioCodec, Container, PixelFormat, VideoCodec};
use crate::color::ColorInfo;
use crate::error::{Limit, MediaError};
use crate::input::streams;
use crate::limits::{MediaLimits, check};
use crate::packet::TICK_BASE;
use crate::probe::{AudioInfo, Probe, VideoInfo};
use crate::time::{Rational, Ticks};

/// Describes an open input, refusing what passes the limits.
pub(crate) fn describe(
    input: &Input,
    container: Container,
    limits: &MediaLimits,
) -> Result<Probe, MediaError> {
    let streams = streams(input);
    check(Limit::Streams, streams.len() as u64, u64::from(limits.streams))?;
    if streams.is_empty() {
        return Err(MediaError::Truncated {
            reason: format!("it starts like {container} and holds no stream"),
        });
    }
    let best = best_video(input).and_then(|index| streams.get(index).copied());
    let video = best.map(|stream| video_info(stream, limits)).transpose()?;
    let audio = streams.iter().filter_map(|stream| audio_info(stream)).collect::<Vec<_>>();
    let described = video.filter(|video| video.width > 0 && video.height > 0);
    let start =
        described.as_ref().and_then(|video| video.start).or_else(|| audio.iter().find_map(|a| a.start));
    Ok(Probe {
        container,
        announced_video: best.map(|stream| VideoCodec::from_id(parameters(stream).codec_id)),
        video: described,
        audio,
        streams: streams.len(),
        start,
        duration: container_duration(input),
    })
}

/// The parameters of a stream.
pub(crate) fn parameters(stream: &AVStream) -> &AVCodecParameters {
    // SAFETY: every stream of an open context has parameters, which live as long as it.
    unsafe { &*stream.codecpar }
}

/// A time of a stream in ticks; `None` for "no value".
fn ticks(time: i64, base: AVRational) -> Option<Ticks> {
    // SAFETY: pure arithmetic.
    (time != ffi::AV_NOPTS_VALUE).then(|| unsafe { ffi::av_rescale_q(time, base, TICK_BASE) })
}

fn container_duration(input: &Input) -> Option<Ticks> {
    const MICROSECONDS: AVRational = AVRational { num: 1, den: 1_000_000 };
    ticks(input.duration(), MICROSECONDS).filter(|&duration| duration > 0)
}

/// Index of the video stream to work on. Cover pictures are no video.
fn best_video(input: &Input) -> Option<usize> {
    let index = input.streams().best(ffmpeg_next::media::Type::Video)?.index();
    let stream = streams(input).get(index).copied()?;
    (stream.disposition & ffi::AV_DISPOSITION_ATTACHED_PIC == 0).then_some(index)
}

fn video_info(stream: &AVStream, limits: &MediaLimits) -> Result<VideoInfo, MediaError> {
    let coded = parameters(stream);
    let rotation = rotation(stream);
    let lies = rotation % 180 == 90;
    let (width, height) = upright(lies, coded.width, coded.height);
    let (width, height) = (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0));
    limits.check_frame_size(width, height)?;
    let pixel_format = PixelFormat::from_raw(coded.format);
    let aspect = sample_aspect(stream, coded);
    let (num, den) = upright(lies, aspect.num, aspect.den);
    let aspect = Rational::from_signed(num, den);
    Ok(VideoInfo {
        stream: usize::try_from(stream.index).unwrap_or(0),
        codec: VideoCodec::from_id(coded.codec_id),
        profile: profile_name(coded),
        width,
        height,
        rotation,
        pixel_format,
        bit_depth: pixel_format.map(PixelFormat::bit_depth).filter(|&depth| depth > 0).unwrap_or(8),
        frame_rate: Rational::from_signed(stream.avg_frame_rate.num, stream.avg_frame_rate.den),
        base_frame_rate: Rational::from_signed(stream.r_frame_rate.num, stream.r_frame_rate.den),
        sample_aspect: if aspect.is_zero() { Rational::new(1, 1) } else { aspect },
        color: ColorInfo::of_parameters(coded),
        time_base: Rational::from_signed(stream.time_base.num, stream.time_base.den),
        reorder_delay: u32::try_from(coded.video_delay).unwrap_or(0),
        start: ticks(stream.start_time, stream.time_base),
    })
}

/// Shape of a coded pixel: what the stream says of it, or the container where the codec has no place for it.
fn sample_aspect(stream: &AVStream, coded: &AVCodecParameters) -> AVRational {
    let told = stream.sample_aspect_ratio;
    match VideoCodec::from_id(coded.codec_id) {
        VideoCodec::Vp9 | VideoCodec::Av1 if told.num > 0 => told,
        _ => coded.sample_aspect_ratio,
    }
}

/// Horizontal and vertical of a picture that may lie on its side, as it is shown.
fn upright<T>(lies: bool, horizontal: T, vertical: T) -> (T, T) {
    if lies { (vertical, horizontal) } else { (horizontal, vertical) }
}

fn profile_name(coded: &AVCodecParameters) -> Option<String> {
    // SAFETY: returns a static string or null for every combination.
    let name = unsafe { ffi::avcodec_profile_name(coded.codec_id, coded.profile) };
    if name.is_null() {
        return None;
    }
    // SAFETY: a static NUL-terminated string.
    Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// The clockwise turn of a stream's display matrix, to the nearest quarter.
fn rotation(stream: &AVStream) -> u16 {
    const MATRIX_BYTES: usize = 9 * size_of::<i32>();
    let mut size = 0usize;
    // SAFETY: the stream is alive; the size is written to a local.
    let data = unsafe {
        ffi::av_stream_get_side_data(
            stream,
            AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX,
            (&raw mut size).cast(),
        )
    };
    if data.is_null() || size < MATRIX_BYTES {
        return 0;
    }
    // SAFETY: FFmpeg stores the matrix as nine 32-bit integers in a buffer aligned for them; the size was checked.
    let counter_clockwise = unsafe { ffi::av_display_rotation_get(data.cast()) };
    if !counter_clockwise.is_finite() {
        return 0;
    }
    let quarters = (-counter_clockwise / 90.0).round() as i32;
    u16::try_from(quarters.rem_euclid(4) * 90).unwrap_or(0)
}

fn audio_info(stream: &AVStream) -> Option<AudioInfo> {
    let coded = parameters(stream);
    let sample_rate = u32::try_from(coded.sample_rate).ok().filter(|&rate| rate > 0)?;
    let channels = u32::try_from(coded.ch_layout.nb_channels).ok().filter(|&channels| channels > 0)?;
    (coded.codec_type == AVMediaType::AVMEDIA_TYPE_AUDIO).then(|| AudioInfo {
        stream: usize::try_from(stream.index).unwrap_or(0),
        codec: AudioCodec::from_id(coded.codec_id),
        sample_rate,
        channels,
        start: ticks(stream.start_time, stream.time_base),
    })
}
