//! Transcodes one media file into the default ladder on the CPU, segment by segment, without any market.
//!
//! `cargo run -p framemill-transcoder --example ladder -- IN OUTDIR`

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use framemill_media::{MediaLimits, Segmenter, SegmenterConfig};
use framemill_network::{FrameRate, Ladder, SourceVideo};
use framemill_transcoder::{Engine, Job, SessionId, SoftwareEngine};

/// Far beyond what a segment takes on any machine.
const DEADLINE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ladder IN OUTDIR".into());
    };
    fs::create_dir_all(&output)?;
    let engine = SoftwareEngine::default();
    let data = fs::read(input)?.into();
    for segment in Segmenter::from_bytes(data, SegmenterConfig::default(), &MediaLimits::default())? {
        let segment = segment?;
        let video = segment.info.require_video()?;
        let fps = FrameRate::new(video.frame_rate.num, video.frame_rate.den)?;
        let source = SourceVideo { width: video.width, height: video.height, fps };
        let job = Job {
            session: SessionId::ZERO,
            sequence: segment.sequence,
            source: segment.data,
            ladder: Ladder::default().resolve(&source)?,
            deadline: Instant::now() + DEADLINE,
        };
        write_renditions(&engine, job, &output).await?;
    }
    Ok(())
}

async fn write_renditions(engine: &dyn Engine, job: Job, folder: &Path) -> Result<(), Box<dyn Error>> {
    let (ladder, sequence) = (job.ladder.clone(), job.sequence);
    let renditions = engine.transcode(job).collect_all().await?;
    for (entry, rendition) in ladder.iter().zip(renditions) {
        let path = folder.join(format!("{}-{sequence}.ts", entry.name));
        fs::write(&path, &rendition.data)?;
        println!("{} {} frames {} bytes", path.display(), rendition.summary.frames, rendition.summary.bytes);
    }
    Ok(())
}
