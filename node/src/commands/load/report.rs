//! What a load test found, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// Added latency up to which a step holds, in milliseconds.
pub(super) const MOST_ADDED_MS: f64 = 250.0;
/// Memory of the broadcaster for each stream up to which a step holds.
pub(super) const MOST_MEMORY_PER_STREAM: u64 = 8 << 20;
/// Share of the cores from which on the machine, and not the broadcaster's own limits, is what is short.
const FULL: f64 = 0.93;
/// A generator that starts its pushes this late measures itself.
const MOST_LAG_MS: f64 = 100.0;
/// A segment that takes longer than this to be published is late: a player of it stalls.
pub(super) const LATE_MS: f64 = 2_000.0;
/// From this share of lost segments on more streams would show nothing new.
const BROKEN_LOSS: f64 = 0.05;
/// The same for a median latency as long as a segment lasts.
const BROKEN_MEDIAN_MS: f64 = 2_000.0;

/// The whole curve.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Cores of this machine.
    pub(super) cores: usize,
    /// Segments prepared.
    pub(super) segments: usize,
    /// Bytes of an average source segment, and of its renditions together.
    pub(super) source_bytes: u64,
    pub(super) rendition_bytes: u64,
    /// What was bought.
    pub(super) ladder: String,
    pub(super) steps: Vec<Step>,
}

/// One number of streams.
#[derive(Debug, Default, Serialize)]
pub(super) struct Step {
    pub(super) streams: u32,
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) published: u64,
    pub(super) lost: u64,
    /// Published, and not listed in the playlist when the broadcaster said so.
    pub(super) unlisted: u64,
    /// Published after more time than a segment lasts.
    pub(super) late: u64,
    /// Streams whose newest segment is not what was prepared.
    pub(super) unfaithful: u64,
    /// Why segments were lost.
    pub(super) losses: BTreeMap<String, u64>,
    /// From a segment's last byte to the answer that says it is published.
    pub(super) latency_ms: Spread,
    /// The same without the upload to the orchestrator and the echo's own time.
    pub(super) added_ms: Spread,
    /// How late the generator began its pushes.
    pub(super) lag_ms: Spread,
    /// Where the time went, by the broadcaster's own clock.
    pub(super) stages_ms: BTreeMap<String, Spread>,
    pub(super) cores: Cores,
    pub(super) memory: Memory,
    pub(super) judged: Judged,
    pub(super) tickets: Tickets,
    /// Whether this many streams are sustained.
    pub(super) holds: bool,
    /// Why not; none where they are.
    pub(super) breaks: Option<String>,
}

/// Percentiles of a figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Cores used on average.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cores {
    pub(super) broadcaster: f64,
    pub(super) orchestrators: f64,
    pub(super) echoes: f64,
    pub(super) generator: f64,
    /// Everything else on this machine: the chain, the kernel's own, other users.
    pub(super) others: f64,
    /// Taken by other guests of the host.
    pub(super) stolen: f64,
    /// Cores there are.
    pub(super) all: usize,
}

/// Resident memory of the broadcaster, in bytes.
#[derive(Debug, Default, Serialize)]
pub(super) struct Memory {
    /// Before the first stream.
    pub(super) idle: u64,
    /// At most in the measured time.
    pub(super) most: u64,
    /// The difference for each stream.
    pub(super) per_stream: u64,
}

/// Results by how deep they were looked at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Judged {
    pub(super) structure: u64,
    pub(super) first_frame: u64,
    pub(super) whole: u64,
    /// Looked at less deep than drawn, for lack of cores.
    pub(super) downgraded: u64,
    /// For which the queue had no room.
    pub(super) shed: u64,
    /// Least part of the attention beyond the floor that the load left.
    pub(super) least_share: f64,
    /// Most renditions that waited for a core.
    pub(super) most_waiting: u64,
}

/// Money.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tickets {
    pub(super) sent: u64,
    pub(super) won: u64,
    pub(super) redeemed: u64,
    pub(super) refused: u64,
}

impl Spread {
    /// Of these figures, by nearest rank; all zero of none.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rank = |part: f64| {
            let rank = (part * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
        };
        Self { p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max: rank(1.0) }
    }
}

/// Milliseconds of a duration.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

impl Cores {
    fn used(&self) -> f64 {
        self.broadcaster + self.orchestrators + self.echoes + self.generator + self.others
    }
}

impl Step {
    /// Fills in whether the step holds and why not.
    pub(super) fn conclude(&mut self) {
        let faults = self.faults();
        self.holds = faults.is_empty();
        self.breaks = (!self.holds).then(|| format!("{}; {}", faults.join(", "), self.cause()));
    }

    /// Whether more streams would show nothing new.
    pub(super) fn is_broken(&self) -> bool {
        self.lost as f64 > self.sent as f64 * BROKEN_LOSS || self.latency_ms.p50 > BROKEN_MEDIAN_MS
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, text: String| {
            if wrong {
                faults.push(text);
            }
        };
        fault(self.published == 0, "nothing was published".to_owned());
        fault(self.lost > 0, format!("{} of {} segments lost", self.lost, self.sent));
        fault(self.unlisted > 0, format!("{} segments not in their playlists", self.unlisted));
        fault(self.unfaithful > 0, format!("{} streams with other bytes than prepared", self.unfaithful));
        let added = self.added_ms.p99;
        fault(added >= MOST_ADDED_MS, format!("p99 of the added latency {added:.0} ms"));
        let memory = self.memory.per_stream;
        fault(memory >= MOST_MEMORY_PER_STREAM, format!("{} of memory a stream", mebibytes(memory)));
        faults
    }

    /// What is short: the machine, the generator, or the slowest stage.
    fn cause(&self) -> String {
        let Cores { broadcaster, orchestrators, echoes, generator, others, all, .. } = &self.cores;
        if self.cores.used() >= FULL * *all as f64 {
            return format!(
                "all {all} cores are busy: broadcaster {broadcaster:.2}, orchestrators {orchestrators:.2}, \
                 echoes {echoes:.2}, generator {generator:.2}, others {others:.2}"
            );
        }
        if self.lag_ms.p99 > MOST_LAG_MS {
            return format!("the generator itself is {:.0} ms late", self.lag_ms.p99);
        }
        let slowest = self.stages_ms.iter().max_by(|a, b| a.1.p99.total_cmp(&b.1.p99));
        match (self.losses.iter().max_by_key(|(_, count)| **count), slowest) {
            (Some((reason, _)), _) => format!("most were lost to: {reason}"),
            (None, Some((stage, spread))) => {
                format!("cores are free, the slowest stage is {stage} with a p99 of {:.0} ms", spread.p99)
            }
            (None, None) => "cores are free, and nothing was told of its stages".to_owned(),
        }
    }

    /// One step as lines of a table.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        let (added, cores, memory) = (&self.added_ms, &self.cores, &self.memory);
        let _ = writeln!(
            text,
            "{:>7} {:>7} {:>5} {:>5} {:>6.0} {:>6.0} {:>6.0}  {:>10} {:>8}  {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>6.2}  {}",
            self.streams,
            self.sent,
            self.lost,
            self.late,
            added.p50,
            added.p95,
            added.p99,
            mebibytes(memory.most),
            mebibytes(memory.per_stream),
            cores.broadcaster,
            cores.orchestrators,
            cores.echoes,
            cores.generator,
            cores.others,
            if self.holds { "holds" } else { "BREAKS" },
        );
        let stages = self
            .stages_ms
            .iter()
            .map(|(stage, spread)| format!("{stage} {:.0}/{:.0}", spread.p50, spread.p99));
        let _ = writeln!(text, "        p50/p99 in ms: {}", stages.collect::<Vec<_>>().join(", "));
        let judged = &self.judged;
        let _ = writeln!(
            text,
            "        judged: {} by structure, {} with the first frame, {} whole; {} less deep than drawn, {} shed; \
             least share of attention {:.4}, most waiting {}",
            judged.structure,
            judged.first_frame,
            judged.whole,
            judged.downgraded,
            judged.shed,
            judged.least_share,
            judged.most_waiting,
        );
        let tickets = &self.tickets;
        let _ = writeln!(
            text,
            "        tickets: {} sent, {} won, {} redeemed, {} refused; from last byte to publication, nothing taken off: \
             p50 {:.0}, p99 {:.0} ms; generator late by {:.0} ms (p99)",
            tickets.sent,
            tickets.won,
            tickets.redeemed,
            tickets.refused,
            self.latency_ms.p50,
            self.latency_ms.p99,
            self.lag_ms.p99,
        );
        if let Some(breaks) = &self.breaks {
            let _ = writeln!(text, "        breaks: {breaks}");
        }
        text
    }
}

impl Report {
    /// What is played, and the heading of the steps' table.
    pub(super) fn heading(&self) -> String {
        format!(
            "{} segments of {:.2} MB and {:.2} MB of renditions ({}), {} cores\n\n\
             {:>7} {:>7} {:>5} {:>5} {:>6} {:>6} {:>6}  {:>10} {:>8}  {:>6} {:>6} {:>6} {:>6} {:>6}\n\
             {:>7} {:>7} {:>5} {:>5} {:>6} {:>6} {:>6}  {:>10} {:>8}  {:>6} {:>6} {:>6} {:>6} {:>6}\n",
            self.segments,
            megabytes(self.source_bytes),
            megabytes(self.rendition_bytes),
            self.ladder,
            self.cores,
            "",
            "",
            "",
            "",
            "added",
            "ms",
            "",
            "memory",
            "",
            "cores",
            "",
            "",
            "",
            "",
            "streams",
            "sent",
            "lost",
            "late",
            "p50",
            "p95",
            "p99",
            "in all",
            "stream",
            "broadc",
            "orch",
            "echo",
            "gen",
            "others",
        )
    }

    /// The last line: how far it goes.
    pub(super) fn verdict(&self) -> String {
        let most = self.steps.iter().filter(|step| step.holds).map(|step| step.streams).max();
        let first = self.steps.iter().find(|step| !step.holds);
        let most = most.map_or_else(|| "no step holds".to_owned(), |most| format!("sustains {most} streams"));
        match first {
            Some(Step { streams, breaks: Some(breaks), .. }) => {
                format!("{most}; breaks at {streams}: {breaks}")
            }
            _ => most,
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    fn good() -> Step {
        Step {
            streams: 3,
            sent: 100,
            published: 100,
            cores: Cores { all: 2, ..Cores::default() },
            ..Step::default()
        }
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { p50: 50.0, p95: 95.0, p99: 99.0, max: 100.0 });
        assert_eq!(Spread::of(vec![7.0]).p99, 7.0);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn a_step_holds_only_within_every_bound() {
        let changes: [fn(&mut Step); 5] = [
            |step| step.lost = 1,
            |step| step.unlisted = 1,
            |step| step.unfaithful = 1,
            |step| step.added_ms.p99 = MOST_ADDED_MS,
            |step| step.memory.per_stream = MOST_MEMORY_PER_STREAM,
        ];
        let mut step = good();
        step.conclude();
        assert!(step.holds && step.breaks.is_none());
        for change in changes {
            let mut step = good();
            change(&mut step);
            step.conclude();
            assert!(!step.holds && step.breaks.is_some());
        }
    }

    #[test]
    fn a_full_machine_is_told_apart_from_a_slow_stage() {
        let mut full = good();
        full.added_ms.p99 = 900.0;
        full.cores.broadcaster = 1.0;
        full.cores.orchestrators = 0.95;
        full.conclude();
        assert!(full.breaks.unwrap().contains("all 2 cores are busy"));
        let mut slow = good();
        slow.added_ms.p99 = 900.0;
        slow.stages_ms.insert("pay".to_owned(), Spread { p99: 800.0, ..Spread::default() });
        slow.conclude();
        assert!(slow.breaks.unwrap().contains("slowest stage is pay"));
    }
}
