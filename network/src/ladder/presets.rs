//! The field's usual ladder presets.

use super::{Codec, FrameRate, Gop, Ladder, LadderEntry, Profile};

/// Name, width, height, frames per second, bits per second.
type Preset = (&'static str, u32, u32, u32, u32);

const PRESETS: [Preset; 16] = [
    ("P1080p60fps16x9", 1920, 1080, 60, 6_000_000),
    ("P1080p30fps16x9", 1920, 1080, 30, 5_000_000),
    ("P720p60fps16x9", 1280, 720, 60, 4_500_000),
    ("P720p30fps16x9", 1280, 720, 30, 3_000_000),
    ("P720p30fps4x3", 960, 720, 30, 2_800_000),
    ("P720p25fps16x9", 1280, 720, 25, 2_750_000),
    ("P576p30fps16x9", 1024, 576, 30, 1_500_000),
    ("P576p25fps16x9", 1024, 576, 25, 1_500_000),
    ("P480p30fps16x9", 854, 480, 30, 1_200_000),
    ("P360p30fps16x9", 640, 360, 30, 800_000),
    ("P360p30fps4x3", 480, 360, 30, 700_000),
    ("P360p25fps16x9", 640, 360, 25, 700_000),
    ("P240p30fps16x9", 426, 240, 30, 500_000),
    ("P240p30fps4x3", 320, 240, 30, 400_000),
    ("P240p25fps16x9", 426, 240, 25, 450_000),
    ("P144p30fps16x9", 256, 144, 30, 300_000),
];

impl Ladder {
    /// Names of all presets that the text form understands.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|preset| preset.0)
    }
}

pub(super) fn by_name(name: &str) -> Option<LadderEntry> {
    let &(name, width, height, fps, bitrate) = PRESETS.iter().find(|preset| preset.0 == name)?;
    Some(LadderEntry {
        name: name.to_owned(),
        width,
        height,
        bitrate,
        fps: FrameRate::new(fps, 1).expect("preset rates are below the bound"),
        gop: Gop::Segment,
        codec: Codec::H264,
        profile: Profile::Auto,
    })
}
