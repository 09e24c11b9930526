//! Cuts a media file into MPEG-TS segments and lists them.
//!
//! `cargo run -p framemill-media --example segment -- INPUT [OUTPUT_FOLDER]`

use std::fs::{self, File};
use std::path::PathBuf;

use framemill_media::{MediaLimits, Segmenter, SegmenterConfig, TICKS_PER_SECOND};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let input = arguments.next().ok_or("usage: segment INPUT [OUTPUT_FOLDER]")?;
    let folder = arguments.next().map(PathBuf::from);
    let segmenter =
        Segmenter::open_seekable(File::open(input)?, SegmenterConfig::default(), &MediaLimits::default())?;
    for segment in segmenter {
        let segment = segment?;
        let seconds = |ticks: i64| ticks as f64 / TICKS_PER_SECOND as f64;
        println!(
            "{:5}  from {:10.3} s  for {:7.3} s  {:5} frames  {:8} bytes",
            segment.sequence,
            seconds(segment.start_pts),
            seconds(segment.duration),
            segment.frames(),
            segment.data.len(),
        );
        if let Some(folder) = &folder {
            fs::write(folder.join(format!("{}.ts", segment.sequence)), &segment.data)?;
        }
    }
    Ok(())
}
