//! Ten minutes of a stream pass through the market, and no role's memory grows with them.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use framemill_media::{ClipSpec, MediaLimits, Rational, SourceSegment, generate_clip};
use framemill_tests::{Market, MarketPlan, cut, playlist_entries};

/// Length of the stream.
const SECONDS: u32 = 600;
/// Its segments of two seconds.
const SEGMENTS: usize = 300;
/// What a process may grow by from the second quarter of the stream to the last, in bytes. A segment and its rendition are more than
/// 170 kB here, and 150 segments lie between: a role that kept them would pass this. What the allocators of busy threads hold on to
/// comes and goes by some ten megabytes.
const GROWTH: u64 = 20 << 20;
/// Longest wait for one segment.
const PATIENCE: Duration = Duration::from_secs(120);

/// A long clip of a small picture, with a bit rate that makes segments worth leaking.
fn stream() -> anyhow::Result<Vec<SourceSegment>> {
    let spec =
        ClipSpec { bitrate: 1_200_000, gop: 20, ..ClipSpec::new(256, 144, Rational::new(10, 1), SECONDS) };
    let limits = MediaLimits::default();
    Ok(cut(&generate_clip(&spec, &limits)?, 2))
}

/// Resident memory of a process, in bytes.
fn resident(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

struct Memory {
    name: &'static str,
    id: u32,
    samples: Vec<u64>,
}

impl Memory {
    fn new(name: &'static str, id: Option<u32>) -> anyhow::Result<Self> {
        Ok(Self { name, id: id.with_context(|| format!("{name} has ended"))?, samples: Vec::new() })
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        self.samples.push(resident(self.id)?);
        Ok(())
    }

    /// What is usually held in the last quarter beyond what is usually held in the second. The most would be one busy moment:
    /// what looks at pictures holds tens of megabytes of them for as long as it looks.
    fn growth(&self) -> u64 {
        let quarter = self.samples.len() / 4;
        let last = &self.samples[self.samples.len() - quarter..];
        median(last).saturating_sub(median(&self.samples[quarter..2 * quarter]))
    }
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_lose_nothing_and_leave_memory_flat() -> anyhow::Result<()> {
    let segments = stream()?;
    ensure!(segments.len() == SEGMENTS, "the clip was cut into {} segments", segments.len());
    let bytes: usize = segments.iter().map(|segment| segment.data.len()).sum();
    ensure!(bytes / SEGMENTS > 150_000, "segments of {} bytes are not worth leaking", bytes / SEGMENTS);
    let market = Market::start(MarketPlan::default()).await?;
    let broadcaster = market.start_broadcaster(&["broadcaster.ladder=72:100k".to_owned()]).await?;
    let mut memory = [
        Memory::new("orchestrator", market.orchestrators[0].as_ref().and_then(|process| process.id()))?,
        Memory::new("transcoder", market.transcoders[0].as_ref().and_then(|process| process.id()))?,
        Memory::new("broadcaster", broadcaster.process.id())?,
    ];

    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    for segment in segments {
        let url = broadcaster.push_url("long", segment.sequence);
        let answer = client.put(url).body(segment.data).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "segment {}: {status} {}", segment.sequence, answer.text().await?);
        for process in &mut memory {
            process.sample()?;
        }
    }

    for process in &memory {
        let (first, last) = (process.samples[0] >> 20, process.samples[SEGMENTS - 1] >> 20);
        println!("{}: {first} MiB at first, {last} MiB at last", process.name);
        let growth = process.growth();
        let course: Vec<_> = process.samples.iter().step_by(10).map(|bytes| bytes >> 20).collect();
        assert!(growth <= GROWTH, "{} grew by {growth} bytes, bound {GROWTH}; MiB: {course:?}", process.name);
    }
    let mut process = broadcaster.process;
    ensure!(process.terminate().await?.success(), "the broadcaster did not drain: {}", process.log());
    let folder = market.accounts.broadcaster.data.parent().context("a folder")?.join("hls/long");
    let playlist = whole_playlist(&folder)?;
    assert_eq!(playlist_entries(&playlist).len(), SEGMENTS, "{playlist}");
    assert!(playlist.contains("#EXT-X-ENDLIST"), "the playlist has no end");
    Ok(())
}

/// The playlist of the whole stream in its only rung.
fn whole_playlist(folder: &std::path::Path) -> anyhow::Result<String> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let rung = entries.flatten().map(|entry| entry.path()).find(|path| path.is_dir()).context("no rung")?;
    let path = rung.join("vod.m3u8");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}
