//! Names of containers, codecs and pixel formats.

use std::ffi::CStr;
use std::fmt;

use ffmpeg_next::ffi::{
    self, AV_PIX_FMT_FLAG_ALPHA, AV_PIX_FMT_FLAG_BITSTREAM, AV_PIX_FMT_FLAG_HWACCEL, AV_PIX_FMT_FLAG_PAL,
    AVCodecID, AVPixFmtDescriptor, AVPixelFormat,
};

/// The container of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// MPEG-2 transport stream.
    MpegTs,
    /// FLV, the container of RTMP.
    Flv,
    /// MP4, fragmented MP4, QuickTime.
    Mp4,
    /// Matroska and WebM.
    Matroska,
}

impl Container {
    /// A short lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MpegTs => "mpegts",
            Self::Flv => "flv",
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The container of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputFormat {
    /// MPEG-2 transport stream: what segments travel in.
    #[default]
    MpegTs,
    /// Fragmented MP4 with one fragment per keyframe.
    FragmentedMp4,
}

impl OutputFormat {
    /// What segments with video of this codec travel in: MPEG-TS, or fragmented MP4 where MPEG-TS has no place for it.
    pub const fn for_codec(codec: &VideoCodec) -> Self {
        match codec {
            VideoCodec::Vp9 | VideoCodec::Av1 => Self::FragmentedMp4,
            VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Other(_) => Self::MpegTs,
        }
    }
}

/// A video codec.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    Hevc,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
    /// Anything else, by FFmpeg's name. Such a stream is reported and not decoded.
    Other(String),
}

impl VideoCodec {
    pub(crate) fn from_id(id: AVCodecID) -> Self {
        match id {
            AVCodecID::AV_CODEC_ID_H264 => Self::H264,
            AVCodecID::AV_CODEC_ID_HEVC => Self::Hevc,
            AVCodecID::AV_CODEC_ID_VP9 => Self::Vp9,
            AVCodecID::AV_CODEC_ID_AV1 => Self::Av1,
            other => Self::Other(codec_name(other)),
        }
    }

    /// No decoder has the identifier of an unknown one.
    pub(crate) fn id(&self) -> AVCodecID {
        match self {
            Self::H264 => AVCodecID::AV_CODEC_ID_H264,
            Self::Hevc => AVCodecID::AV_CODEC_ID_HEVC,
            Self::Vp9 => AVCodecID::AV_CODEC_ID_VP9,
            Self::Av1 => AVCodecID::AV_CODEC_ID_AV1,
            Self::Other(_) => AVCodecID::AV_CODEC_ID_NONE,
        }
    }

    /// FFmpeg's name of the codec.
    pub fn name(&self) -> &str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An audio codec.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodec {
    /// AAC, raw or with ADTS headers.
    Aac,
    /// MPEG-1 audio layer III.
    Mp3,
    /// MPEG-1 audio layer II.
    Mp2,
    /// Dolby AC-3.
    Ac3,
    /// Dolby Digital Plus.
    Eac3,
    /// Opus.
    Opus,
    /// Anything else, by FFmpeg's name.
    Other(String),
}

impl AudioCodec {
    pub(crate) fn from_id(id: AVCodecID) -> Self {
        match id {
            AVCodecID::AV_CODEC_ID_AAC => Self::Aac,
            AVCodecID::AV_CODEC_ID_MP3 => Self::Mp3,
            AVCodecID::AV_CODEC_ID_MP2 => Self::Mp2,
            AVCodecID::AV_CODEC_ID_AC3 => Self::Ac3,
            AVCodecID::AV_CODEC_ID_EAC3 => Self::Eac3,
            AVCodecID::AV_CODEC_ID_OPUS => Self::Opus,
            other => Self::Other(codec_name(other)),
        }
    }

    /// FFmpeg's name of the codec.
    pub fn name(&self) -> &str {
        match self {
            Self::Aac => "aac",
            Self::Mp3 => "mp3",
            Self::Mp2 => "mp2",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Opus => "opus",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Profiles of H.264 an encoder can be held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum H264Profile {
    /// Constrained baseline: no B-frames, no CABAC.
    Baseline,
    /// Main.
    Main,
    /// High.
    High,
}

impl H264Profile {
    /// x264's name of the profile.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Main => "main",
            Self::High => "high",
        }
    }
}

/// FFmpeg's name of a codec.
pub(crate) fn codec_name(id: AVCodecID) -> String {
    // SAFETY: returns a static string for every codec id.
    let name = unsafe { ffi::avcodec_get_name(id) };
    // SAFETY: the string is static and NUL-terminated.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// How pixels lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelFormat(pub(crate) AVPixelFormat);

impl PixelFormat {
    /// Planar 4:2:0, 8 bit, limited range: what ladders are encoded from.
    pub const YUV420P: Self = Self(AVPixelFormat::AV_PIX_FMT_YUV420P);
    /// Planar 4:2:2, 8 bit.
    pub const YUV422P: Self = Self(AVPixelFormat::AV_PIX_FMT_YUV422P);
    /// Planar 4:4:4, 8 bit.
    pub const YUV444P: Self = Self(AVPixelFormat::AV_PIX_FMT_YUV444P);
    /// Planar 4:2:0, 10 bit in the low bits of 16, little endian.
    pub const YUV420P10: Self = Self(AVPixelFormat::AV_PIX_FMT_YUV420P10LE);
    /// Planar 4:2:2, 10 bit in the low bits of 16, little endian.
    pub const YUV422P10: Self = Self(AVPixelFormat::AV_PIX_FMT_YUV422P10LE);
    /// Semi-planar 4:2:0, 8 bit: what video engines of GPUs use.
    pub const NV12: Self = Self(AVPixelFormat::AV_PIX_FMT_NV12);
    /// One plane of luma, 8 bit.
    pub const GRAY8: Self = Self(AVPixelFormat::AV_PIX_FMT_GRAY8);

    /// The format FFmpeg numbers so; `None` for "not known" and for numbers of another FFmpeg.
    pub(crate) fn from_raw(raw: i32) -> Option<Self> {
        if raw < 0 || raw >= AVPixelFormat::AV_PIX_FMT_NB as i32 {
            return None;
        }
        // SAFETY: the enum is dense and `repr(i32)` from 0 to AV_PIX_FMT_NB, which was checked.
        Some(Self(unsafe { std::mem::transmute::<i32, AVPixelFormat>(raw) }))
    }

    fn descriptor(self) -> Option<&'static AVPixFmtDescriptor> {
        // SAFETY: takes any format and returns a pointer into a static table or null.
        let descriptor = unsafe { ffi::av_pix_fmt_desc_get(self.0) };
        // SAFETY: null or a pointer to a static table.
        unsafe { descriptor.as_ref() }
    }

    /// FFmpeg's name, such as `yuv420p10le`.
    pub fn name(self) -> &'static str {
        self.descriptor()
            // SAFETY: names in the static table are NUL-terminated.
            .map(|descriptor| unsafe { CStr::from_ptr(descriptor.name) })
            .and_then(|name| name.to_str().ok())
            .unwrap_or("unknown")
    }

    /// Bits of one luma sample; zero when not known.
    pub fn bit_depth(self) -> u8 {
        self.descriptor().map_or(0, |descriptor| u8::try_from(descriptor.comp[0].depth).unwrap_or(0))
    }

    /// How many times chroma is halved: horizontally, vertically.
    pub fn chroma_shift(self) -> (u8, u8) {
        self.descriptor().map_or((0, 0), |descriptor| (descriptor.log2_chroma_w, descriptor.log2_chroma_h))
    }

    /// Whether the planes lie in main memory with whole bytes per sample, so that [`Frame::plane`](crate::Frame::plane)
    /// can hand them out.
    pub(crate) fn has_byte_planes(self) -> bool {
        const NO: u64 = (AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_PAL) as u64;
        self.descriptor().is_some_and(|descriptor| descriptor.flags & NO == 0)
    }

    /// Whether each component has a plane of its own with one or two bytes per sample.
    pub(crate) fn is_planar(self) -> bool {
        let components = self.descriptor().map_or(0, |descriptor| usize::from(descriptor.nb_components));
        self.has_byte_planes() && self.planes() == components && matches!(self.sample_bytes(), 1 | 2)
    }

    /// Bytes from one luma sample to the next.
    pub(crate) fn sample_bytes(self) -> usize {
        self.descriptor().map_or(0, |descriptor| usize::try_from(descriptor.comp[0].step).unwrap_or(0))
    }

    /// Whether there is a plane for transparency.
    pub fn has_alpha(self) -> bool {
        self.descriptor()
            .is_some_and(|descriptor| descriptor.flags & u64::from(AV_PIX_FMT_FLAG_ALPHA as u32) != 0)
    }

    /// Number of planes.
    pub fn planes(self) -> usize {
        // SAFETY: takes any format and returns a count or a negative error.
        usize::try_from(unsafe { ffi::av_pix_fmt_count_planes(self.0) }).unwrap_or(0)
    }
}

impl fmt::Debug for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
