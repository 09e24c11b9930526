//! Streams whose coded pictures are damaged, and what a judge sees of them.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use bytes::Bytes;
use framemill_media::{
    ClipSpec, DecoderConfig, Frame, MediaError, MediaLimits, Rational, VideoReader, generate_clip,
};
use framemill_network::ladder::{Codec, LadderEntry};
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::Plane;
use framemill_verification::{Kernel, Policy, SourceReference, verify};
use sha2::{Digest, Sha256};

use crate::fuzzed::Draw;
use crate::studio::{Clip, Recipe, entry, honest};

/// Encoder, pixel format, size and further options.
type Stream = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// Of an encoder that is slow otherwise.
const REALTIME: &[&str] = &["-deadline", "realtime", "-cpu-used", "8", "-b:v", "0"];

/// Streams that are damaged and decoded.
pub(crate) const STREAMS: [Stream; 16] = [
    ("libx264", "yuv420p", "96x64", &["-preset", "medium", "-bf", "3"]),
    ("libx264", "yuv420p", "50x130", &["-profile:v", "baseline"]),
    ("libx264", "yuv420p", "130x66", &["-x264-params", "slices=3:keyint=8:weightp=2"]),
    ("libx264", "yuv420p", "96x64", &["-x264-params", "interlaced=1"]),
    ("libx264", "yuv420p", "16x4000", &["-preset", "ultrafast", "-frames:v", "4"]),
    ("libx264", "yuv422p", "66x48", &[]),
    ("libx264", "yuv444p", "65x47", &[]),
    ("libx264", "gray", "64x48", &[]),
    ("libx264", "yuv420p10le", "96x64", &[]),
    ("libx264", "yuv422p10le", "34x98", &[]),
    ("libx265", "yuv420p", "96x64", &[]),
    ("libx265", "yuv420p10le", "66x130", &["-preset", "ultrafast"]),
    ("libx265", "yuv422p10le", "64x48", &["-preset", "ultrafast"]),
    ("libx265", "yuv420p12le", "64x64", &["-preset", "ultrafast"]),
    ("libx264rgb", "rgb24", "66x50", &[]),
    ("libvpx-vp9", "yuv440p", "64x50", REALTIME),
];

/// Codecs of the renditions that are damaged and judged, and their sources: clips as they are made everywhere, and such
/// as are no 4:2:0.
const CASES: [(Codec, Option<Stream>); JUDGED] = [
    (Codec::H264, None),
    (Codec::Hevc, None),
    (Codec::H264, Some(("libx264rgb", "rgb24", "192x108", &[]))),
    (Codec::H264, Some(("libvpx-vp9", "yuv440p", "192x108", REALTIME))),
];
pub(crate) const JUDGED: usize = 4;

/// Streams to be damaged: any format at all, and renditions that a judge accepts.
pub(crate) struct Bases {
    pub(crate) decoded: Vec<Bytes>,
    pub(crate) judged: Vec<Case>,
}

/// A rendition that a judge accepts, and what it is judged against.
pub(crate) struct Case {
    pub(crate) source: Bytes,
    pub(crate) entry: LadderEntry,
    pub(crate) rendition: Bytes,
}

impl Bases {
    pub(crate) fn make() -> Self {
        Self { decoded: STREAMS.map(encoded).into(), judged: CASES.map(Case::make).into() }
    }
}

impl Case {
    fn make((codec, source): (Codec, Option<Stream>)) -> Self {
        let rate = Rational::new(30, 1);
        let spec = ClipSpec { bitrate: 400_000, audio: None, ..ClipSpec::new(192, 108, rate, 1) };
        let generated = || generate_clip(&spec, &MediaLimits::segment()).expect("a clip");
        let source = source.map_or_else(generated, encoded);
        let clip = Clip { name: "generated".into(), data: source.clone(), rate };
        let entry = LadderEntry { codec, ..entry(192, 108, 150_000) };
        let rendition = honest(&clip, &entry, &Recipe { preset: "fast", ..Recipe::default() });
        Self { source, entry, rendition }
    }

    /// Those whose sources are no 4:2:0.
    pub(crate) fn unusual() -> impl Iterator<Item = Self> {
        CASES.into_iter().filter(|(_, source)| source.is_some()).map(Self::make)
    }

    /// Puts it into a folder, under a number.
    pub(crate) fn write(&self, folder: &Path, number: usize) -> io::Result<()> {
        let file = |name: &str, data: &[u8]| fs::write(folder.join(format!("{name}-{number}")), data);
        file("source", &self.source)?;
        file("entry", &serde_json::to_vec(&self.entry)?)?;
        file("rendition", &self.rendition)
    }

    /// Takes it from there.
    pub(crate) fn read(folder: &Path, number: usize) -> io::Result<Self> {
        let file = |name: &str| fs::read(folder.join(format!("{name}-{number}")));
        let entry = serde_json::from_slice(&file("entry")?)?;
        Ok(Self { source: file("source")?.into(), entry, rendition: file("rendition")?.into() })
    }
}

fn encoded((encoder, format, size, options): Stream) -> Bytes {
    let mut command = Command::new("ffmpeg");
    let picture = format!("testsrc2=s={size}:r=30,noise=alls=12:allf=t");
    command.args(["-v", "error", "-f", "lavfi", "-i", &picture, "-t", "0.8", "-pix_fmt", format]);
    command.args(["-c:v", encoder, "-crf", "30", "-threads", "1"]).args(options);
    if encoder == "libx265" {
        command.args(["-x265-params", "log-level=none:pools=none:frame-threads=1"]);
    }
    // Transport streams carry no VP9.
    let container = if encoder == "libvpx-vp9" { "matroska" } else { "mpegts" };
    let made = command.args(["-f", container, "-"]).output().expect("the ffmpeg command is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout.into()
}

/// The stream with a few of the bytes of its coded pictures changed, in another way for every seed.
pub(crate) fn damaged(stream: &Bytes, seed: u64) -> Bytes {
    let mut bytes = stream.to_vec();
    let packets = bytes.chunks_exact(188).enumerate();
    // Packets that continue a picture of the first video.
    let video = packets.filter(|(_, p)| p[1] & 0x5f == 1 && p[2] == 0 && p[3] & 0x30 == 0x10);
    let coded: Vec<usize> = video.map(|(index, _)| index * 188 + 4).collect();
    let mut draw = Draw::new(seed);
    if coded.is_empty() {
        return bytes.into();
    }
    for _ in 0..1 + draw.below(3) {
        let at = coded[draw.below(coded.len())] + draw.below(184);
        match draw.below(4) {
            // A run of noise.
            0 => (at..(at + 16).min(at / 188 * 188 + 188)).for_each(|at| bytes[at] = draw.below(256) as u8),
            _ => bytes[at] ^= 1 << draw.below(8),
        }
    }
    bytes.into()
}

/// In which way it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) threads: u32,
    pub(crate) kernel: Kernel,
}

/// What was seen of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) frames: u64,
    /// Whether every packet decoded without error or doubt.
    pub(crate) clean: bool,
    /// Digest of what FFmpeg decoded: samples, times, and how it ended.
    pub(crate) decoded: String,
    /// Digest of the features.
    pub(crate) features: String,
}

impl Way {
    /// Decodes as renditions are decoded (`strict`), or as far as it goes, and measures every frame.
    pub(crate) fn look(self, stream: &Bytes, strict: bool) -> Seen {
        let config = DecoderConfig { threads: self.threads, strict };
        let (mut decoded, mut features) = (Sha256::new(), Sha256::new());
        let (mut frames, mut corrupt) = (0, false);
        let mut walk = || -> Result<(), MediaError> {
            let mut reader = VideoReader::open(stream.clone(), &config, &MediaLimits::segment())?;
            while let Some(frame) = reader.next_frame()? {
                frames += 1;
                corrupt |= frame.is_corrupt();
                decoded.update(frame.pts().unwrap_or(i64::MIN).to_be_bytes());
                let planes = (0..frame.planes()).filter_map(|index| frame.plane(index));
                planes.for_each(|plane| plane.iter_rows().for_each(|row| decoded.update(row)));
                features.update(measure(self.kernel, &frame).canonical_bytes());
            }
            Ok(())
        };
        let clean = walk().is_ok() && !corrupt;
        if strict && !clean {
            // Such a stream is refused; nobody looks at its pictures.
            return Seen { frames, clean, decoded: "refused".into(), features: "refused".into() };
        }
        decoded.update([u8::from(clean)]);
        Seen { frames, clean, decoded: hexadecimal(decoded), features: hexadecimal(features) }
    }

    /// A source that is judged against in this way.
    pub(crate) fn source(self, data: Bytes) -> Option<SourceReference> {
        let source = SourceReference::new(data, &MediaLimits::segment()).ok()?;
        Some(source.with_decoder_threads(self.threads).with_kernel(self.kernel))
    }
}

/// Hash of the report on a rendition, or that there is none.
pub(crate) fn report(source: Option<&SourceReference>, rendition: &Bytes, entry: &LadderEntry) -> String {
    let report = source.map(|source| verify(source, rendition, entry, &Policy::FULL, &[0; 32]));
    match report {
        Some(Ok(report)) => report.hash.to_string(),
        Some(Err(_)) | None => "none".to_owned(),
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn measure(kernel: Kernel, frame: &Frame) -> FrameFeatures {
    let depth = frame.format().bit_depth();
    let plane = |index| {
        let raw = frame.plane(index)?;
        let width = raw.row_bytes() / usize::from(depth.div_ceil(8));
        Some(Plane::new(raw.data(), raw.stride(), width, raw.rows(), depth).expect("the decoder's figures"))
    };
    let picture = Picture {
        pts: frame.pts().unwrap_or(i64::MIN),
        range: Range::Limited,
        y: plane(0).expect("luma"),
        chroma: plane(1).zip(plane(2)),
    };
    FrameFeatures::measure_by(kernel, &picture, Lattice::for_picture(picture.y.width(), picture.y.height()))
}
