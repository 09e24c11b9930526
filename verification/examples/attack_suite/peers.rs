//! Known metrics of the same renditions, by the `ffmpeg` command.

use std::process::Command;

use bytes::Bytes;
use framemill_network::ladder::LadderEntry;

/// What the peers say of a rendition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// PSNR of all planes, in thousandths of a decibel.
    pub(crate) psnr: i64,
    /// SSIM of all planes, in parts of a million.
    pub(crate) ssim: i64,
    /// Whether the MPEG-7 video signature matches the source's.
    pub(crate) signature: bool,
}

/// Above any PSNR of a lossy rendition; for pictures without any error.
const LOSSLESS: i64 = 100_000;

/// Compares a rendition with its source, scaled to its size.
pub(crate) fn measure(source: &Bytes, rendition: &Bytes, entry: &LadderEntry) -> Figures {
    let folder = std::env::temp_dir().join(format!("framemill-peers-{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&folder).expect("a folder for two files");
    let paths = [folder.join("source.ts"), folder.join("rendition.ts")];
    for (path, data) in paths.iter().zip([source, rendition]) {
        std::fs::write(path, data).expect("clip is written");
    }
    let (width, height) = (entry.width, entry.height);
    let graph = format!(
        "[0:v]scale={width}:{height}:flags=bicubic,format=yuv420p,split=3[s1][s2][s3];[1:v]split=3[r1][r2][r3];\
         [r1][s1]psnr[p];[r2][s2]ssim[q];[r3][s3]signature=nb_inputs=2:detectmode=full[g]"
    );
    let mut command = Command::new("ffmpeg");
    command.arg("-hide_banner").arg("-i").arg(&paths[0]).arg("-i").arg(&paths[1]);
    command.args(["-filter_complex", &graph]);
    for output in ["[p]", "[q]", "[g]"] {
        command.args(["-map", output, "-f", "null", "-"]);
    }
    let output = command.output().expect("the ffmpeg command is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    Figures {
        psnr: figure(&told, "average:", 1_000).unwrap_or(LOSSLESS),
        ssim: figure(&told, "All:", 1_000_000).expect("ssim is printed"),
        signature: told.contains("matching of video") && !told.contains("no matching of video"),
    }
}

/// The number behind the last `key`, times `scale`; none when it is no number.
fn figure(told: &str, key: &str, scale: i64) -> Option<i64> {
    let text = told.rsplit_once(key)?.1.split([' ', '\n']).next()?;
    let value: f64 = text.parse().ok()?;
    value.is_finite().then(|| (value * scale as f64).round() as i64)
}
