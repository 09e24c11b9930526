//! What is transcoded.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_network::ladder::{Codec, FrameRate, Ladder, LadderEntry};

use crate::Result;

/// Size and rate of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    width: u32,
    height: u32,
    pub(crate) fps: u32,
    bitrate: u32,
    /// Heights and bits per second.
    rungs: [(u32, u32); 3],
}

impl Shape {
    pub(crate) const FULL_HD_30: Self = Self {
        name: "1080p30",
        width: 1920,
        height: 1080,
        fps: 30,
        bitrate: 6_000_000,
        rungs: [(720, 3_000_000), (480, 1_500_000), (360, 800_000)],
    };

    /// The shape of this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| format!("no shape {name}").into())
    }

    pub(crate) fn ladder(&self) -> Result<Ladder> {
        let entry = |(height, bitrate): (u32, u32)| LadderEntry {
            width: (height * 16).div_ceil(9).next_multiple_of(2),
            ..LadderEntry::from_height(height, FrameRate::SOURCE, bitrate, Codec::H264)
        };
        Ok(Ladder::new(self.rungs.map(entry).into())?)
    }

    /// The heights of the ladder, for people.
    pub(crate) fn rungs(&self) -> String {
        self.rungs.map(|(height, _)| format!("{height}p")).join(" ")
    }
}

/// What platforms send.
pub(crate) const SHAPES: [Shape; 3] = [
    Shape {
        name: "1080p60",
        fps: 60,
        bitrate: 9_000_000,
        rungs: [(720, 4_500_000), (480, 2_250_000), (360, 1_200_000)],
        ..Shape::FULL_HD_30
    },
    Shape::FULL_HD_30,
    Shape {
        name: "720p30",
        width: 1280,
        height: 720,
        fps: 30,
        bitrate: 3_000_000,
        rungs: [(480, 1_500_000), (360, 800_000), (240, 400_000)],
    },
];

/// What is seen.
pub(crate) enum Content {
    /// A clip from a camera.
    Filmed(PathBuf),
    /// Text, edges and flat colour, as screens and games show.
    Drawn,
    /// Everything moves, under grain.
    Motion,
}

/// Filmed content, where it is at hand, comes first.
pub(crate) fn contents() -> Vec<Content> {
    let clips = std::env::var_os("FRAMEMILL_MEDIA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media"), PathBuf::from);
    let filmed = clips.join("kitchen-1080p60-2s.mp4");
    let mut contents = vec![Content::Drawn, Content::Motion];
    match filmed.exists() {
        true => contents.insert(0, Content::Filmed(filmed)),
        false => println!("skipped: filmed content; set FRAMEMILL_MEDIA to the folder of clips"),
    }
    contents
}

/// A clip on disk, H.264 in MPEG-TS with a keyframe every two seconds.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) shape: Shape,
    pub(crate) seconds: u32,
}

impl Content {
    /// What a source of this shape is called.
    pub(crate) fn name(&self, shape: &Shape) -> String {
        let content = match self {
            Self::Filmed(_) => "filmed",
            Self::Drawn => "drawn",
            Self::Motion => "motion",
        };
        format!("{content} {}", shape.name)
    }

    /// Makes a source of it.
    pub(crate) fn source(&self, shape: &Shape, seconds: u32, folder: &Path) -> Result<Source> {
        let path = folder.join("source.ts");
        let Shape { width, height, fps, .. } = *shape;
        match self {
            Self::Motion => fs::write(&path, motion(shape, seconds)?)?,
            Self::Filmed(clip) => {
                let clip = clip.to_string_lossy();
                let filter = format!("fps={fps},scale={width}:{height}");
                encode(&["-stream_loop", "-1", "-i", &clip, "-an", "-vf", &filter], shape, seconds, &path)?;
            }
            Self::Drawn => {
                let picture = format!("testsrc2=s={width}x{height}:r={fps}");
                encode(&["-f", "lavfi", "-i", &picture, "-pix_fmt", "yuv420p"], shape, seconds, &path)?;
            }
        }
        Ok(Source { name: self.name(shape), path, shape: *shape, seconds })
    }
}

fn motion(shape: &Shape, seconds: u32) -> Result<bytes::Bytes> {
    let spec = ClipSpec::new(shape.width, shape.height, Rational::new(shape.fps, 1), seconds);
    let spec = ClipSpec { bitrate: shape.bitrate.into(), gop: 2 * shape.fps, audio: None, ..spec };
    Ok(generate_clip(&spec, &MediaLimits::default())?)
}

fn encode(input: &[&str], shape: &Shape, seconds: u32, path: &Path) -> Result<()> {
    let (gop, bitrate, seconds) =
        ((2 * shape.fps).to_string(), shape.bitrate.to_string(), seconds.to_string());
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-nostdin"]).args(input).args(["-t", &seconds, "-c:v", "libx264"]);
    ffmpeg.args(["-preset", "veryfast", "-b:v", &bitrate, "-g", &gop, "-sc_threshold", "0"]);
    ffmpeg.args(["-flags", "+cgop", "-muxdelay", "0"]).arg(path);
    if !ffmpeg.status()?.success() {
        return Err("ffmpeg could not make a source".into());
    }
    Ok(())
}
