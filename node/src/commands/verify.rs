//! `framemill verify`: is a rendition a faithful encode of its source?

mod canvas;
mod picture;

use std::{
    fs::Permissions,
    io::{BufWriter, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy_primitives::B256;
use anyhow::Context as _;
use bytes::Bytes;
use framemill_media::{MediaLimits, segment_info};
use framemill_network::ladder::{FrameRate, Ladder, LadderEntry, SourceVideo};
use framemill_verification::{
    Inspection, PPM, Policy, Quality, Report, SourceReference, Verdict, inspect, verify,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::cli::VerifyArgs;

/// Exit status when no verdict can be reached.
const CANNOT_JUDGE: u8 = 2;

/// What was found, and the picture of it where one was asked for.
struct Judged {
    report: Report,
    picture: Option<Drawn>,
}

/// A picture that was written.
struct Drawn {
    path: PathBuf,
    /// Number of the frame it shows; none where no frame was compared.
    frame: Option<u32>,
}

/// Runs the command: exit status 0 pass, 1 fail, 2 cannot judge.
pub(crate) fn run(args: &VerifyArgs) -> ExitCode {
    match judge(args) {
        Ok(judged) => {
            match args.json {
                true => println!("{}", to_json(&judged)),
                false => print(&judged),
            }
            ExitCode::from(u8::from(judged.report.verdict == Verdict::Fail))
        }
        Err(error) => {
            match args.json {
                true => println!("{}", json!({ "verdict": null, "reason": format!("{error:#}") })),
                false => eprintln!("cannot judge: {error:#}"),
            }
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

fn judge(args: &VerifyArgs) -> anyhow::Result<Judged> {
    // A path that cannot be written to is said before the long part begins.
    let file = args.picture.as_deref().map(PictureFile::create).transpose()?;
    let (source, rendition) = (read(&args.source)?, read(&args.rendition)?);
    let entry = entry(args, &source, &rendition)?;
    let reference = SourceReference::new(source, &MediaLimits::default())?;
    let Some(file) = file else {
        // Everything is looked at, so what the seed would draw does not matter.
        let report = verify(&reference, &rendition, &entry, &Policy::FULL, &B256::ZERO)?;
        return Ok(Judged { report, picture: None });
    };
    let inspection = inspect(&reference, &rendition, &entry, args.frame)?;
    let frame = inspection.frame.as_ref().map(|frame| frame.index);
    let path = file.write(&inspection)?;
    Ok(Judged { report: inspection.report, picture: Some(Drawn { path, frame }) })
}

/// A picture on its way to its path, where it appears whole or not at all.
struct PictureFile {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl PictureFile {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let unwritable =
            || format!("cannot write a picture to {}; name a file in a folder that exists", path.display());
        anyhow::ensure!(!path.is_dir() && path.file_name().is_some(), unwritable());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".framemill-picture-")
            // A picture to be shown around, as far as the user's mask allows.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .with_context(unwritable)?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    fn write(self, inspection: &Inspection) -> anyhow::Result<PathBuf> {
        let Self { path, mut temporary } = self;
        let (canvas, caption) = picture::draw(inspection)?;
        let failed = || format!("cannot write {}", path.display());
        let mut out = BufWriter::new(temporary.as_file_mut());
        canvas.write_png(&mut out, &caption).with_context(failed)?;
        out.flush().with_context(failed)?;
        drop(out);
        temporary.persist(&path).with_context(failed)?;
        Ok(path)
    }
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    std::fs::read(path).map(Bytes::from).with_context(|| format!("cannot read {}", path.display()))
}

/// What was ordered: as the caller says, or the rendition's own size at any rate.
fn entry(args: &VerifyArgs, source: &Bytes, rendition: &Bytes) -> anyhow::Result<LadderEntry> {
    let limits = MediaLimits::default();
    let source = segment_info(source, &limits).context("source")?;
    let video = source.require_video().context("source")?;
    if let Some(text) = &args.ladder {
        let ladder: Ladder = text.parse()?;
        let shape = SourceVideo { width: video.width, height: video.height, fps: FrameRate::SOURCE };
        let resolved = ladder.resolve(&shape)?;
        anyhow::ensure!(
            resolved.len() == 1,
            "--ladder must name the one rendition that is judged, not {}",
            resolved.len()
        );
        return resolved.iter().next().cloned().context("a ladder is never empty");
    }
    let made = segment_info(rendition, &limits).context("rendition")?;
    let bytes = made.bytes;
    let made = made.require_video().context("rendition")?;
    let seconds = (video.duration / framemill_media::TICKS_PER_SECOND).max(1).unsigned_abs();
    let bitrate = u32::try_from(bytes * 8 / seconds).unwrap_or(u32::MAX);
    let codec = made.codec.to_string().parse()?;
    let entry = LadderEntry::from_height(made.height, FrameRate::SOURCE, bitrate, codec);
    Ok(LadderEntry { width: made.width, ..entry })
}

fn to_json(judged: &Judged) -> Value {
    let mut answer = judged.report.to_json();
    if let Some(picture) = &judged.picture {
        answer["picture"] = json!({ "path": picture.path, "frame": picture.frame });
    }
    answer
}

fn print(Judged { report, picture }: &Judged) {
    for check in &report.checks {
        let word = if check.pass() { "pass" } else { "FAIL" };
        println!("{word}  {:<28} {:>12}  bound {}", check.name, check.value, check.bound);
    }
    print_quality(&report.quality);
    let verdict = match report.verdict {
        Verdict::Pass => "pass: a faithful encode",
        Verdict::Fail => "fail: not a faithful encode",
    };
    println!("{verdict} (report {})", report.hash);
    if let Some(Drawn { path, frame }) = picture {
        match frame {
            Some(frame) => println!("picture of frame {frame}: {}", path.display()),
            None => println!("picture, no frame was compared: {}", path.display()),
        }
    }
}

/// What the rendition is worth rather than whether it is right.
fn print_quality(quality: &Quality) {
    let share = |value: u64, whole: u32| value as f64 / f64::from(whole);
    if quality.frames > 0 {
        println!(
            "quality: PSNR {:.2} dB, SSIM {:.4}, detail {:.1} %, over {} frames",
            share(quality.psnr_centi_db.into(), 100),
            share(quality.ssim_ppm.into(), PPM),
            share(quality.detail_permille.into(), 10),
            quality.frames,
        );
    }
    let rate = share(quality.rate_ppm, PPM / 100);
    println!("video: {} bit/s, {rate:.1} % of the agreed rate", quality.bits_per_second);
}
