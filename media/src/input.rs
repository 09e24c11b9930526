//! Opening an input of FFmpeg over a reader, under limits.

use std::ffi::CStr;
use std::io::{Cursor, Read, Seek};
use std::ptr;

use ffmpeg_next::Dictionary;
use ffmpeg_next::ffi::{self, AVDictionary, AVFormatContext, AVStream};
use ffmpeg_next::format::context::{Input, StreamIo};

use crate::avio::{Failure, GuardedReader};
use crate::claims::check_claims;
use crate::claims_stream::ClaimsReader;
use crate::codec::Container;
use crate::error::MediaError;
use crate::limits::MediaLimits;
use crate::sniff::{SNIFF_BYTES, sniff};
use crate::sys;

/// Decoders that may run while the streams are being described.
const CODEC_WHITELIST: &str = "h264,hevc,vp9,libdav1d,libaom-av1,av1,aac,aac_latm,mp3,mp3float,mp2,mp2float,ac3,\
                               eac3,opus,libopus,vorbis,flac,alac,s302m,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,\
                               pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_mulaw,pcm_alaw";

/// An open input and where its reader leaves its last words.
pub(crate) struct OpenInput {
    pub(crate) input: Input,
    pub(crate) container: Container,
    pub(crate) failure: Failure,
}

/// Opens a stream that can only be read forward.
pub(crate) fn open_stream(
    mut reader: impl Read + Send + 'static,
    limits: &MediaLimits,
) -> Result<OpenInput, MediaError> {
    limits.check_time()?;
    let head = read_head(&mut reader)?;
    let container = sniff(&head)?;
    let (reader, failure) = GuardedReader::new(Cursor::new(head).chain(reader), limits);
    let io = match container {
        Container::Mp4 => StreamIo::from_read(ClaimsReader::new(reader, limits, failure.clone())),
        _ => StreamIo::from_read(reader),
    };
    open(io, container, failure, limits)
}

/// Opens an input that can be read anywhere.
pub(crate) fn open_seekable(
    mut reader: impl Read + Seek + Send + 'static,
    limits: &MediaLimits,
) -> Result<OpenInput, MediaError> {
    limits.check_time()?;
    let head = read_head(&mut reader)?;
    let container = sniff(&head)?;
    if container == Container::Mp4 {
        check_claims(&mut reader, limits)?;
    }
    reader.rewind().map_err(source_error)?;
    let (reader, failure) = GuardedReader::new(reader, limits);
    open(StreamIo::from_read_seek(reader), container, failure, limits)
}

fn source_error(error: std::io::Error) -> MediaError {
    MediaError::Source { reason: error.to_string() }
}

fn read_head(reader: &mut impl Read) -> Result<Vec<u8>, MediaError> {
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    reader.by_ref().take(SNIFF_BYTES as u64).read_to_end(&mut head).map_err(source_error)?;
    Ok(head)
}

fn open(
    io: Result<StreamIo, ffmpeg_next::Error>,
    container: Container,
    failure: Failure,
    limits: &MediaLimits,
) -> Result<OpenInput, MediaError> {
    sys::init();
    let io = io.map_err(|error| sys::failure("allocate an input buffer", error.into()))?;
    let opened = open_demuxer(io, container, limits).and_then(|mut input| {
        describe_streams(&mut input, container, limits)?;
        Ok(input)
    });
    match (opened, failure.get()) {
        (_, Some(error)) => Err(error),
        (Err(error), None) => Err(error),
        (Ok(input), None) => Ok(OpenInput { input, container, failure }),
    }
}

/// The name of FFmpeg's demuxer for a container.
const fn demuxer_name(container: Container) -> &'static CStr {
    match container {
        Container::MpegTs => c"mpegts",
        Container::Flv => c"flv",
        Container::Mp4 => c"mov",
        Container::Matroska => c"matroska",
    }
}

fn open_demuxer(mut io: StreamIo, container: Container, limits: &MediaLimits) -> Result<Input, MediaError> {
    // SAFETY: takes a NUL-terminated name, returns a static description or null.
    let format = unsafe { ffi::av_find_input_format(demuxer_name(container).as_ptr()) };
    if format.is_null() {
        return Err(MediaError::UnsupportedCodec {
            codec: container.name().into(),
            used: "demuxed by this ffmpeg",
        });
    }
    // SAFETY: allocates; null is checked below.
    let mut context = unsafe { ffi::avformat_alloc_context() };
    // SAFETY: null or a fresh context that is ours alone.
    let fresh = unsafe { context.as_mut() }
        .ok_or_else(|| sys::failure("allocate an input", ffi::AVERROR(ffi::ENOMEM)))?;
    fresh.pb = io.as_mut_ptr();
    fresh.flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
    // SAFETY: ownership of the dictionary passes to `options`, which is taken back below.
    let mut options = unsafe { input_options(limits).disown() };
    // SAFETY: all pointers are valid; on failure the context is freed and `context` set to null.
    let status = unsafe { ffi::avformat_open_input(&raw mut context, ptr::null(), format, &raw mut options) };
    // SAFETY: FFmpeg leaves the options it did not know in a dictionary we own again.
    drop(unsafe { Dictionary::own(options) });
    if status < 0 {
        return Err(open_failure(status, container));
    }
    // SAFETY: the context is open and reads through `io`, which the wrapper now keeps alive and frees after it.
    Ok(unsafe { Input::wrap_with_custom_io(context, io) })
}

fn input_options(limits: &MediaLimits) -> Dictionary<'static> {
    const TICKS_TO_MICROSECONDS: (i64, i64) = (100, 9);
    let analyze = limits.probe_duration.saturating_mul(TICKS_TO_MICROSECONDS.0) / TICKS_TO_MICROSECONDS.1;
    let mut options = Dictionary::new();
    options.set("probesize", &limits.probe_bytes.to_string());
    options.set("analyzeduration", &analyze.to_string());
    // One more than allowed, so that reaching it shows.
    options.set("max_streams", &limits.streams.saturating_add(1).to_string());
    options.set("codec_whitelist", CODEC_WHITELIST);
    // Wrapped clocks are unwrapped by `Unwrapper`: FFmpeg does it for one wrap only and by guessing.
    options.set("correct_ts_overflow", "0");
    options
}

fn open_failure(status: i32, container: Container) -> MediaError {
    let reason = ffmpeg_next::Error::from(status);
    match reason {
        ffmpeg_next::Error::InvalidData | ffmpeg_next::Error::Eof => MediaError::Truncated {
            reason: format!("it starts like {container} and its header is incomplete or damaged"),
        },
        other => MediaError::NotMedia { reason: format!("it starts like {container}: {other}") },
    }
}

/// Reads far enough to know codecs, sizes and frame rates.
fn describe_streams(input: &mut Input, container: Container, limits: &MediaLimits) -> Result<(), MediaError> {
    let count = usize::try_from(input.nb_streams()).unwrap_or(usize::MAX);
    let pixels = limits.padded_pixels_per_frame().to_string();
    let mut options: Vec<*mut AVDictionary> = (0..count)
        .map(|_| {
            let mut option = Dictionary::new();
            option.set("max_pixels", &pixels);
            // SAFETY: ownership passes to the vector, which gives every entry back below.
            unsafe { option.disown() }
        })
        .collect();
    // SAFETY: the pointer is used for the next call only.
    let context = unsafe { input.as_mut_ptr() };
    // SAFETY: the context is open; `options` has one entry per stream that exists now, which is what FFmpeg reads.
    let status = unsafe { ffi::avformat_find_stream_info(context, options.as_mut_ptr()) };
    for option in options {
        // SAFETY: each entry is a dictionary we own, or null.
        drop(unsafe { Dictionary::own(option) });
    }
    if status < 0 { Err(open_failure(status, container)) } else { Ok(()) }
}

/// The streams of an open input.
pub(crate) fn streams(input: &Input) -> Vec<&AVStream> {
    // SAFETY: the pointer is only turned into a shared reference that lives as long as `input`.
    let context = unsafe { input.as_ptr() };
    // SAFETY: an open context, not written to while `input` is borrowed.
    let context: &AVFormatContext = unsafe { &*context };
    let count = usize::try_from(context.nb_streams).unwrap_or(0);
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: FFmpeg keeps `nb_streams` valid pointers there.
    let pointers = unsafe { std::slice::from_raw_parts(context.streams, count) };
    // SAFETY: every stream lives as long as the context.
    pointers.iter().map(|&stream| unsafe { &*stream }).collect()
}
