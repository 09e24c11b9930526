//! Packets out of pictures.

use crate::codec::{H264Profile, VideoCodec};
use crate::color::ColorInfo;
use crate::error::MediaError;
use crate::frame::Frame;
use crate::packet::{Packet, StreamParameters};
use crate::time::Rational;

/// How an [`Encoder`] works.
#[derive(Clone, Debug)]
pub struct EncoderConfig {
    /// H.264 (libx264), HEVC (libx265) or AV1 (SVT-AV1).
    pub codec: VideoCodec,
    /// Width of the frames that will come.
    pub width: u32,
    /// Height of the frames that will come.
    pub height: u32,
    /// Average bits per second.
    pub bitrate: u64,
    /// Bound on bursts; `None` leaves them to the encoder.
    pub vbv: Option<Vbv>,
    /// Frame rate for rate control and for the stream's headers. Timestamps come from the frames alone.
    pub frame_rate: Rational,
    /// Whether frames come at uneven distances; rate control then goes by timestamps instead of the frame count.
    pub variable_frame_rate: bool,
    /// Largest distance of keyframes in frames; zero leaves it to the encoder.
    pub gop: u32,
    /// Profile of H.264; `None` leaves it to the encoder.
    pub profile: Option<H264Profile>,
    /// x264's preset name (`ultrafast` to `veryslow`); also used for HEVC, mapped to a number for AV1.
    pub preset: &'static str,
    /// B-frames in a row; `None` leaves it to the preset.
    pub b_frames: Option<u32>,
    /// Encode without look-ahead and frame threads, so that each frame leaves before the next comes.
    pub zero_latency: bool,
    /// Threads; zero lets the encoder choose.
    pub threads: u32,
    /// Put parameter sets into the [`StreamParameters`], as MP4 wants, instead of into each keyframe, as MPEG-TS wants.
    pub global_header: bool,
    /// Colour tags of the stream.
    pub color: ColorInfo,
    /// Shape of a pixel; `1/1` for square ones.
    pub sample_aspect: Rational,
}

/// Bound on the bursts of an encoder: the model of a decoder's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vbv {
    /// Bits per second at which the buffer fills.
    pub max_bitrate: u64,
    /// Bits the buffer holds.
    pub buffer: u64,
}

impl EncoderConfig {
    /// H.264, `veryfast`, for live segments in MPEG-TS: bursts of up to 1.5 times the bitrate over two seconds.
    pub fn h264(width: u32, height: u32, bitrate: u64, frame_rate: Rational) -> Self {
        Self {
            codec: VideoCodec::H264,
            width,
            height,
            bitrate,
            vbv: Some(Vbv { max_bitrate: bitrate + bitrate / 2, buffer: bitrate * 2 }),
            frame_rate,
            variable_frame_rate: false,
            gop: 0,
            profile: None,
            preset: "veryfast",
            b_frames: None,
            zero_latency: false,
            threads: 1,
            global_header: false,
            color: ColorInfo::default(),
            sample_aspect: Rational::new(1, 1),
        }
    }
}

/// Encodes frames. The first is an IDR frame, groups are closed, packets carry the exact timestamps of their frames;
/// with B-frames the first decoding times lie before the first presentation time and may be negative.
pub struct Encoder {
    parameters: StreamParameters,
}

impl Encoder {
    /// Opens an encoder.
    ///
    /// # Errors
    ///
    /// [`MediaError::UnsupportedCodec`] when FFmpeg was built without it, [`MediaError::InvalidSetting`] for settings
    /// it refuses.
    pub fn new(config: &EncoderConfig) -> Result<Self, MediaError> {
        let _ = config;
        Err(MediaError::NoFrames)
    }

    /// Parameters of the encoded stream, for a muxer.
    pub fn parameters(&self) -> &StreamParameters {
        &self.parameters
    }

    /// Hands over one frame: YUV 4:2:0 8-bit, of the configured size, later than the one before.
    pub fn send(&mut self, frame: &Frame) -> Result<(), MediaError> {
        let _ = frame;
        Err(MediaError::NoFrames)
    }

    /// As [`Encoder::send`], and makes the frame an IDR frame.
    pub fn send_key(&mut self, frame: &Frame) -> Result<(), MediaError> {
        let _ = frame;
        Err(MediaError::NoFrames)
    }

    /// Says that no frame follows; the packets still held come out of [`Encoder::receive`].
    pub fn flush(&mut self) -> Result<(), MediaError> {
        Err(MediaError::NoFrames)
    }

    /// The next packet in decoding order, or `None` when the encoder wants a frame or, after [`Encoder::flush`], is empty.
    pub fn receive(&mut self) -> Result<Option<Packet>, MediaError> {
        Err(MediaError::NoFrames)
    }
}
