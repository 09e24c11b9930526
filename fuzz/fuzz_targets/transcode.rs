//! Segments from strangers through the software engine, under small limits: a whole rendition, or an error that blames the media.

#![no_main]

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use framemill_fuzz::media;
use framemill_media::{MediaLimits, segment_info};
use framemill_network::ladder::{Codec, FrameRate, Ladder, LadderEntry};
use framemill_transcoder::{Engine, Job, SessionId, SoftwareConfig, SoftwareEngine};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

struct Stage {
    runtime: Runtime,
    engine: SoftwareEngine,
    ladder: Ladder,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let limits = MediaLimits {
            pixels_per_frame: 1 << 18,
            frames: 64,
            total_pixels: 1 << 23,
            picture_bytes: 64 << 20,
            ..MediaLimits::segment()
        };
        let config = SoftwareConfig { threads: 2, limits, ..SoftwareConfig::default() };
        let entry =
            LadderEntry { width: 64, ..LadderEntry::from_height(48, FrameRate::SOURCE, 50_000, Codec::H264) };
        Stage {
            runtime: Builder::new_current_thread().enable_time().build().expect("a runtime"),
            engine: SoftwareEngine::new(config),
            ladder: Ladder::new(vec![entry]).expect("a ladder"),
        }
    })
}

fuzz_target!(|data: &[u8]| {
    let Stage { runtime, engine, ladder } = stage();
    let job = Job {
        session: SessionId::ZERO,
        sequence: 0,
        source: media(data),
        ladder: ladder.clone(),
        deadline: Instant::now() + Duration::from_secs(15),
    };
    match runtime.block_on(async { engine.transcode(job).collect_all().await }) {
        Ok(renditions) => {
            for rendition in renditions {
                let info =
                    segment_info(&rendition.data, &MediaLimits::default()).expect("a readable rendition");
                let frames = info.video.map_or(0, |video| video.frames() as u64);
                assert_eq!(frames, rendition.summary.frames);
            }
        }
        Err(error) => assert_eq!(error.code(), "bad_media", "{error}"),
    }
});
