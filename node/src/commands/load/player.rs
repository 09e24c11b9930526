//! Plays streams at a broadcaster: each at its own pace and phase, and looks for every segment where viewers would.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::exchange::{Answer, get, put};
use super::prepared::{Prepared, Segment, hash};

/// Segments of one stream that may be unanswered: a stream that far behind is lost, and more would only hide where.
const OUTSTANDING: usize = 8;

/// What is played, and where.
#[derive(Debug)]
pub(super) struct Script {
    /// Host and port of the broadcaster's ingest and playlists.
    pub(super) address: String,
    pub(super) prepared: Prepared,
    /// What stream names begin with: no two steps share a stream.
    pub(super) prefix: String,
}

/// One segment that was due.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) due: Instant,
    /// How late its push began.
    pub(super) lag: Duration,
    /// From its last byte to its publication; from when it was due where it was lost.
    pub(super) took: Duration,
    /// What the broadcaster says of it.
    pub(super) stages: Vec<(String, f64)>,
    pub(super) fate: Fate,
}

/// What became of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The broadcaster says that it is published, and the playlist lists it.
    Published,
    /// The broadcaster says so, and the playlist does not.
    Unlisted,
    /// Why it was not published.
    Lost(String),
}

/// Plays `streams` streams from `begin` on until `stop`; returns every segment that was due.
pub(super) async fn play(
    script: &Arc<Script>,
    streams: u32,
    begin: Instant,
    stop: &CancellationToken,
) -> Vec<Sent> {
    let mut running = JoinSet::new();
    for number in 0..streams {
        running.spawn(play_stream(Arc::clone(script), number, begin, stop.clone()));
    }
    running.join_all().await.into_iter().flatten().collect()
}

async fn play_stream(script: Arc<Script>, number: u32, begin: Instant, stop: CancellationToken) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut pushes = JoinSet::new();
    let mut due = begin + script.segment(number, 0).duration.mul_f64(phase(number));
    for sequence in 0.. {
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(due) => {}
        }
        while let Some(Ok(done)) = pushes.try_join_next() {
            sent.push(done);
        }
        if pushes.len() < OUTSTANDING {
            pushes.spawn(push(Arc::clone(&script), number, sequence, due));
        } else {
            sent.push(Sent::lost(due, format!("{OUTSTANDING} earlier segments were not answered")));
        }
        due += script.segment(number, sequence).duration;
    }
    sent.extend(pushes.join_all().await);
    sent
}

/// Where in its first segment's time a stream begins, 0 to 1: as if by chance, and the same in every run.
fn phase(number: u32) -> f64 {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut bits = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

async fn push(script: Arc<Script>, number: u32, sequence: u64, due: Instant) -> Sent {
    let lag = due.elapsed();
    let path = format!("/live/{}/{sequence}.ts", script.name(number));
    match put(&script.address, &path, &script.segment(number, sequence).data).await {
        Ok(answer) if answer.status == 200 => {
            let fate = script.look(number, sequence).await;
            let took = answer.received.duration_since(answer.sent);
            Sent { due, lag, took, stages: answer.stages, fate }
        }
        Ok(answer) => Sent { lag, ..Sent::lost(due, refusal(&answer)) },
        Err(error) => Sent { lag, ..Sent::lost(due, error.to_string()) },
    }
}

fn refusal(answer: &Answer) -> String {
    format!("status {}: {}", answer.status, answer.text().trim())
}

impl Sent {
    fn lost(due: Instant, reason: String) -> Self {
        Self { due, lag: Duration::ZERO, took: due.elapsed(), stages: Vec::new(), fate: Fate::Lost(reason) }
    }
}

impl Script {
    /// Name of a stream.
    pub(super) fn name(&self, number: u32) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// A stream's segment: streams begin at different ones and go round.
    fn segment(&self, number: u32, sequence: u64) -> &Segment {
        &self.prepared.segments[self.place(number, sequence)]
    }

    fn place(&self, number: u32, sequence: u64) -> usize {
        let count = self.prepared.segments.len() as u64;
        usize::try_from((u64::from(number) + sequence) % count).expect("below the number of segments")
    }

    /// Looks for a segment in one of the stream's playlists, another each time.
    async fn look(&self, number: u32, sequence: u64) -> Fate {
        let rungs = self.prepared.ladder.len() as u64;
        let rung = u32::try_from((u64::from(number) + sequence) % rungs).expect("a ladder is short");
        let name = &self.prepared.ladder.get(rung).expect("below the number of rungs").name;
        let path = format!("/hls/{}/{name}/index.m3u8", self.name(number));
        let file = format!("{sequence}.ts");
        match get(&self.address, &path).await {
            Ok(page) if page.text().lines().any(|line| line == file) => Fate::Published,
            _ => Fate::Unlisted,
        }
    }

    /// Compares the newest published segment of a stream, every rendition of it, with what was prepared; whether it is the same,
    /// and false where nothing can be had.
    pub(super) async fn is_faithful(&self, number: u32) -> bool {
        for (rung, entry) in self.prepared.ladder.iter().enumerate() {
            let folder = format!("/hls/{}/{}", self.name(number), entry.name);
            let Ok(page) = get(&self.address, &format!("{folder}/index.m3u8")).await else { return false };
            let text = page.text();
            let newest = text.lines().rev().find(|line| line.ends_with(".ts"));
            let Some(file) = newest else { return false };
            let Ok(published) = get(&self.address, &format!("{folder}/{file}")).await else { return false };
            let sequence = file.strip_suffix(".ts").and_then(|number| number.parse().ok());
            let prepared = sequence.map(|sequence| &self.segment(number, sequence).renditions[rung].data);
            if prepared.is_none_or(|prepared| hash(prepared) != hash(&published.body)) {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::prepared::tiny;
    use super::*;

    #[test]
    fn phases_are_spread_over_the_whole_segment() {
        let mut tenths = [0_u32; 10];
        for number in 0..1_000 {
            let phase = phase(number);
            assert!((0.0..=1.0).contains(&phase));
            tenths[((phase * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }

    #[test]
    fn streams_begin_at_different_segments_and_go_round() {
        let script = Script { address: String::new(), prepared: tiny(3), prefix: "load".to_owned() };
        let places: Vec<_> = (0..4).map(|sequence| script.place(2, sequence)).collect();
        assert_eq!(places, [2, 0, 1, 2]);
    }
}
