//! One step of the curve: a fresh broadcaster, so many streams, what they and it went through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::error::LoadError;
use super::gauges::Gauges;
use super::player::{Fate, Script, Sent, play};
use super::prepared::Prepared;
use super::process::{Machine, Usage};
use super::report::{Cores, Judged, Memory, Spread, Step, Tickets, millis};
use super::stage::{Own, Stage, Target};

/// A broadcaster that has just started still reads its ledger and the chain: its idle memory is looked at after this.
const SETTLE: Duration = Duration::from_secs(2);
/// Pause between two looks at memory and metrics.
const LOOK: Duration = Duration::from_secs(1);
/// Time to begin all streams.
const LEAD: Duration = Duration::from_millis(500);
/// Streams whose published bytes are compared at a time.
const COMPARED_AT_ONCE: usize = 8;
/// Different reasons for losses that are told.
const MOST_REASONS: usize = 8;

/// How long a step plays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

/// One moment of everything.
struct Moment {
    machine: Machine,
    generator: Usage,
    broadcaster: Option<Usage>,
    orchestrators: Usage,
    echoes: Usage,
    buyer: Gauges,
    sellers: Gauges,
}

/// The highest and lowest of what is looked at while a step is measured.
#[derive(Debug)]
struct Extremes {
    memory: u64,
    waiting: f64,
    share: f64,
}

/// Plays one step.
///
/// # Errors
/// The broadcaster ends or its metrics cannot be read. A broadcaster that loses segments is no error.
pub(super) async fn run(
    stage: Option<&Stage>,
    target: &Target,
    prepared: &Prepared,
    streams: u32,
    times: Times,
) -> anyhow::Result<Step> {
    let own = target.own.as_ref();
    sleep(if own.is_some() { SETTLE } else { Duration::ZERO }).await;
    let idle = memory(own)?;
    let script = Arc::new(Script {
        address: target.ingest.clone(),
        prepared: prepared.clone(),
        prefix: format!("load-{}-{streams}", std::process::id()),
    });
    let stop = CancellationToken::new();
    let end_with_us = stop.clone().drop_guard();
    let begin = Instant::now() + LEAD;
    let (from, until) = (begin + times.warm_up, begin + times.warm_up + times.measured);
    let playing = tokio::spawn({
        let (script, stop) = (Arc::clone(&script), stop.clone());
        async move { play(&script, streams, begin, &stop).await }
    });
    sleep_until(from).await;
    let before = Moment::of(stage, own).await?;
    let extremes = watch(own, until).await?;
    let after = Moment::of(stage, own).await?;
    drop(end_with_us);
    let sent = playing.await?;
    let sent = sent.into_iter().filter(|sent| sent.due >= from && sent.due < until).collect();
    let mut step = Step { streams, ..Step::default() };
    step.count(sent, stage.map_or(Duration::ZERO, Stage::echo_time));
    step.unfaithful = unfaithful(&script, streams).await;
    step.account(&before, &after);
    step.remember(&extremes, idle);
    step.conclude();
    Ok(step)
}

fn memory(own: Option<&Own>) -> Result<u64, LoadError> {
    let Some(own) = own else { return Ok(0) };
    own.usage().map(|usage| usage.memory).ok_or(LoadError::Gone { process: "the broadcaster" })
}

/// Looks again and again until the measured time is over.
async fn watch(own: Option<&Own>, until: Instant) -> Result<Extremes, LoadError> {
    let mut extremes = Extremes { memory: 0, waiting: 0.0, share: 1.0 };
    while Instant::now() < until {
        extremes.memory = extremes.memory.max(memory(own)?);
        if let Some(own) = own {
            let gauges = Gauges::read(&own.http).await?;
            extremes.waiting = extremes.waiting.max(gauges.get("framemill_broadcaster_verify_waiting"));
            extremes.share = extremes.share.min(gauges.get("framemill_broadcaster_sampling_share_ratio"));
        }
        sleep_until((Instant::now() + LOOK).min(until)).await;
    }
    Ok(extremes)
}

/// Streams whose newest segment is not what was prepared.
async fn unfaithful(script: &Arc<Script>, streams: u32) -> u64 {
    let looks = futures::stream::iter(0..streams).map(|number| {
        let script = Arc::clone(script);
        async move { script.is_faithful(number).await }
    });
    let wrong = looks.buffer_unordered(COMPARED_AT_ONCE).filter(|faithful| std::future::ready(!faithful));
    wrong.count().await as u64
}

impl Moment {
    async fn of(stage: Option<&Stage>, own: Option<&Own>) -> anyhow::Result<Self> {
        let buyer = match own {
            Some(own) => Gauges::read(&own.http).await?,
            None => Gauges::default(),
        };
        let sellers = match stage {
            Some(stage) => stage.gauges().await?,
            None => Gauges::default(),
        };
        Ok(Self {
            machine: Machine::now(),
            generator: Usage::sum([std::process::id()]),
            broadcaster: own.and_then(Own::usage),
            orchestrators: Usage::sum(stage.map(Stage::orchestrators).unwrap_or_default()),
            echoes: Usage::sum(stage.map(Stage::echoes).unwrap_or_default()),
            buyer,
            sellers,
        })
    }
}

impl Step {
    fn count(&mut self, sent: Vec<Sent>, echo: Duration) {
        self.sent = sent.len() as u64;
        self.lag_ms = Spread::of(sent.iter().map(|sent| millis(sent.lag)).collect());
        let (mut latency, mut added) = (Vec::new(), Vec::new());
        let mut stages: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for Sent { took, stages: told, fate, .. } in sent {
            if let Fate::Lost(reason) = fate {
                self.lost += 1;
                self.note_loss(reason);
                continue;
            }
            self.published += 1;
            self.unlisted += u64::from(fate == Fate::Unlisted);
            let upload = told.iter().filter(|(stage, _)| stage == "upload").map(|(_, millis)| millis);
            let not_ours = upload.sum::<f64>() + millis(echo);
            latency.push(millis(took));
            added.push((millis(took) - not_ours).max(0.0));
            for (stage, millis) in told {
                stages.entry(stage).or_default().push(millis);
            }
        }
        self.late = latency.iter().filter(|took| **took > super::report::LATE_MS).count() as u64;
        self.latency_ms = Spread::of(latency);
        self.added_ms = Spread::of(added);
        self.stages_ms = stages.into_iter().map(|(stage, took)| (stage, Spread::of(took))).collect();
    }

    fn note_loss(&mut self, reason: String) {
        if self.losses.contains_key(&reason) || self.losses.len() < MOST_REASONS {
            *self.losses.entry(reason).or_default() += 1;
        }
    }

    fn account(&mut self, before: &Moment, after: &Moment) {
        let (machine, elapsed) = after.machine.since(&before.machine);
        let cores = |later: &Usage, earlier: &Usage| later.cores_since(earlier, elapsed);
        let broadcaster = after.broadcaster.zip(before.broadcaster);
        let broadcaster = broadcaster.map_or(0.0, |(later, earlier)| cores(&later, &earlier));
        let orchestrators = cores(&after.orchestrators, &before.orchestrators);
        let echoes = cores(&after.echoes, &before.echoes);
        let generator = cores(&after.generator, &before.generator);
        let named = broadcaster + orchestrators + echoes + generator;
        self.seconds = elapsed.as_secs_f64();
        self.cores = Cores {
            broadcaster,
            orchestrators,
            echoes,
            generator,
            others: (machine.busy - named).max(0.0),
            stolen: machine.stolen,
            all: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let buyer =
            |series: &str| after.buyer.rise(&before.buyer, &format!("framemill_broadcaster_{series}"));
        self.judged = Judged {
            structure: buyer("judged_total{tier=\"structure\"}"),
            first_frame: buyer("judged_total{tier=\"first_frame\"}"),
            whole: buyer("judged_total{tier=\"whole\"}"),
            downgraded: buyer("downgraded_total"),
            shed: buyer("verify_shed_total"),
            ..Judged::default()
        };
        let seller =
            |series: &str| after.sellers.rise(&before.sellers, &format!("framemill_orchestrator_{series}"));
        self.tickets = Tickets {
            sent: buyer("tickets_total"),
            won: seller("tickets_total{outcome=\"won\"}"),
            redeemed: seller("redemptions_total{outcome=\"redeemed\"}"),
            refused: seller("tickets_total{outcome=\"refused\"}"),
        };
    }

    fn remember(&mut self, extremes: &Extremes, idle: u64) {
        let most = extremes.memory;
        let per_stream = most.saturating_sub(idle) / u64::from(self.streams.max(1));
        self.memory = Memory { idle, most, per_stream };
        self.judged.least_share = extremes.share;
        self.judged.most_waiting = extremes.waiting.max(0.0) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(took_ms: u64, stages: &[(&str, f64)], fate: Fate) -> Sent {
        let stages = stages.iter().map(|(stage, millis)| ((*stage).to_owned(), *millis)).collect();
        Sent { due: Instant::now(), lag: Duration::ZERO, took: Duration::from_millis(took_ms), stages, fate }
    }

    #[test]
    fn upload_and_echo_are_no_added_latency() {
        let mut step = Step::default();
        let told = [("ingest", 4.0), ("upload", 30.0)];
        step.count(vec![sent(100, &told, Fate::Published)], Duration::from_millis(50));
        assert!((step.added_ms.p99 - 20.0).abs() < 1e-9 && (step.latency_ms.p99 - 100.0).abs() < 1e-9);
        assert!((step.stages_ms["ingest"].p50 - 4.0).abs() < 1e-9);
    }

    #[test]
    fn every_segment_that_was_due_is_published_or_lost() {
        let mut step = Step::default();
        let fates = [Fate::Published, Fate::Unlisted, Fate::Lost("full".into()), Fate::Lost("full".into())];
        step.count(fates.into_iter().map(|fate| sent(5_000, &[], fate)).collect(), Duration::ZERO);
        assert_eq!((step.sent, step.published, step.lost, step.unlisted), (4, 2, 2, 1));
        assert_eq!((step.late, step.losses["full"]), (2, 2));
    }
}
