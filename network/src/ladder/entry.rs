//! One rung of a ladder.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Keccak256, keccak256};
use serde::{Deserialize, Serialize};

use super::{FrameRate, LadderError, MAX_BITRATE, MAX_DIMENSION, MAX_NAME_BYTES, MIN_BITRATE};

/// Video codec of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// H.264 / AVC.
    #[default]
    H264,
    /// H.265 / HEVC.
    Hevc,
    /// AV1.
    Av1,
}

impl Codec {
    /// Every codec, in wire order.
    pub const ALL: [Self; 3] = [Self::H264, Self::Hevc, Self::Av1];

    /// The stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Codec {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        match text.to_ascii_lowercase().as_str() {
            "h264" | "h.264" | "avc" => Ok(Self::H264),
            "hevc" | "h265" | "h.265" => Ok(Self::Hevc),
            "av1" => Ok(Self::Av1),
            _ => Err(LadderError::Syntax {
                text: super::parse::shorten(text),
                expected: "a codec is h264, hevc or av1",
            }),
        }
    }
}

/// Codec profile of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Profile {
    /// The encoder's choice for the codec.
    #[default]
    Auto,
    /// H.264 baseline: no B-frames.
    Baseline,
    /// Main profile of H.264, HEVC or AV1.
    Main,
    /// H.264 high.
    High,
}

impl Profile {
    /// Every profile, in wire order.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Baseline, Self::Main, Self::High];

    /// The stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Baseline => "baseline",
            Self::Main => "main",
            Self::High => "high",
        }
    }

    fn fits(self, codec: Codec) -> bool {
        codec == Codec::H264 || matches!(self, Self::Auto | Self::Main)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Distance between key frames. The first frame of every rendition segment is a key frame in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Gop {
    /// One group of pictures per segment.
    #[default]
    Segment,
    /// Every frame is a key frame.
    Intra,
    /// A key frame at least every so many milliseconds, 1 to [`Gop::MAX_MILLIS`].
    Millis(u32),
}

impl Gop {
    /// Longest distance that can be asked for, in milliseconds.
    pub const MAX_MILLIS: u32 = 60_000;
}

/// One rendition: what to encode and at which size, rate and quality.
///
/// In JSON every field but `bitrate` and one of the sizes may be left out; unknown fields are errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LadderEntry {
    /// Distinct within the ladder; used in playlists and file names. Empty in JSON: made from the other fields.
    #[serde(default)]
    pub name: String,
    /// Width in pixels, 0 = keep the source's aspect ratio.
    #[serde(default)]
    pub width: u32,
    /// Height in pixels, 0 = keep the source's aspect ratio.
    #[serde(default)]
    pub height: u32,
    /// Average video bitrate in bits per second.
    pub bitrate: u32,
    /// Frame rate; [`FrameRate::SOURCE`] keeps every frame.
    #[serde(default)]
    pub fps: FrameRate,
    /// Distance between key frames.
    #[serde(default)]
    pub gop: Gop,
    /// Video codec.
    #[serde(default)]
    pub codec: Codec,
    /// Codec profile.
    #[serde(default)]
    pub profile: Profile,
}

/// Most that [`LadderEntry::usual_bytes`] says.
const MOST_USUAL_BYTES: u64 = 2 * 1024 * 1024;

impl LadderEntry {
    /// A rung of a given height that keeps the aspect ratio, named after its height and rate (`720p`, `480p30`).
    pub fn from_height(height: u32, fps: FrameRate, bitrate: u32, codec: Codec) -> Self {
        let mut entry = Self {
            name: String::new(),
            width: 0,
            height,
            bitrate,
            fps,
            gop: Gop::Segment,
            codec,
            profile: Profile::Auto,
        };
        entry.name = entry.default_name();
        entry
    }

    /// True when both sides are given and even, as encoders of 4:2:0 video need them.
    pub fn is_concrete(&self) -> bool {
        self.width > 0 && self.height > 0 && self.width.is_multiple_of(2) && self.height.is_multiple_of(2)
    }

    /// Width times height.
    pub fn pixels_per_frame(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Frames that this rendition of a segment of `frames` frames and `duration_90k` ticks of 90 kHz should have.
    ///
    /// Exact when the rendition keeps the source's frames. With a lower rate it is the duration times the rate, rounded up and
    /// never more than the source has; where the segment lies on the rate's grid can make one frame of difference.
    pub fn expected_frames(&self, frames: u32, duration_90k: u64) -> u64 {
        if self.fps.is_source() {
            return u64::from(frames);
        }
        self.fps.frames_in(duration_90k).min(u64::from(frames))
    }

    /// [`LadderEntry::expected_frames`] times [`LadderEntry::pixels_per_frame`], saturating.
    pub fn expected_pixels(&self, frames: u32, duration_90k: u64) -> u64 {
        self.expected_frames(frames, duration_90k).saturating_mul(self.pixels_per_frame())
    }

    /// Bytes that this rendition of a segment of `duration_90k` ticks of 90 kHz has, about: its bit rate, and a sixth of that for
    /// container and sound. At most 2 MiB: for making room before the bytes are there, whatever was promised.
    pub fn usual_bytes(&self, duration_90k: u64) -> usize {
        let video = u64::from(self.bitrate).saturating_mul(duration_90k) / (8 * 90_000);
        video.saturating_add(video / 6).min(MOST_USUAL_BYTES) as usize
    }

    pub(super) fn default_name(&self) -> String {
        let rate = match self.fps {
            FrameRate::SOURCE => String::new(),
            fps => fps.to_string().replace('/', "_"),
        };
        let codec = match self.codec {
            Codec::H264 => String::new(),
            codec => format!("-{codec}"),
        };
        match (self.width, self.height) {
            (0, 0) => format!("source{codec}"),
            (width, 0) => format!("{width}w{rate}{codec}"),
            (_, height) => format!("{height}p{rate}{codec}"),
        }
    }

    pub(super) fn validate(&self) -> Result<(), LadderError> {
        self.validate_name()?;
        self.check_range("width", self.width, 0, MAX_DIMENSION)?;
        self.check_range("height", self.height, 0, MAX_DIMENSION)?;
        self.check_range("bitrate", self.bitrate, MIN_BITRATE, MAX_BITRATE)?;
        if let Gop::Millis(millis) = self.gop {
            self.check_range("gop in milliseconds", millis, 1, Gop::MAX_MILLIS)?;
        }
        if !self.profile.fits(self.codec) {
            return Err(LadderError::ProfileMismatch {
                name: self.name.clone(),
                codec: self.codec,
                profile: self.profile,
            });
        }
        Ok(())
    }

    fn validate_name(&self) -> Result<(), LadderError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let name = self.name.as_bytes();
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name[0] == b'.'
            || !name.iter().copied().all(legal)
        {
            return Err(LadderError::Name { name: super::parse::shorten(&self.name) });
        }
        Ok(())
    }

    fn check_range(&self, field: &'static str, value: u32, min: u32, max: u32) -> Result<(), LadderError> {
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(LadderError::OutOfRange {
            name: self.name.clone(),
            field,
            value: value.into(),
            min: min.into(),
            max: max.into(),
        })
    }

    /// Kind and milliseconds of the group of pictures, as they go into the ladder's hash.
    pub fn gop_code(&self) -> (u8, u32) {
        match self.gop {
            Gop::Segment => (0, 0),
            Gop::Intra => (1, 0),
            Gop::Millis(millis) => (2, millis),
        }
    }

    pub(super) fn hash_into(&self, hasher: &mut Keccak256) {
        let (gop_kind, gop_millis) = self.gop_code();
        hasher.update(keccak256(&self.name));
        for number in [self.width, self.height, self.bitrate, self.fps.num(), self.fps.den(), gop_millis] {
            hasher.update(number.to_be_bytes());
        }
        hasher.update([gop_kind, self.codec as u8, self.profile as u8]);
    }
}
