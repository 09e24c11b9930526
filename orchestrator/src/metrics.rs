//! Counters of one orchestrator, prefix `framemill_orchestrator_`, closed label sets only.

use framemill_contracts::Verdict;
use framemill_network::WireCode;
use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Upper bounds of the stage histograms: a live segment of 2 s is useless after a few durations.
const STAGE_BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// Outcomes of tickets; what is won is accepted, too.
const TICKETS: [&str; 3] = ["accepted", "won", "refused"];
/// Outcomes of redemptions.
const REDEMPTIONS: [&str; 3] = ["submitted", "redeemed", "failed"];

/// A registry with every series that an orchestrator may have, for whoever describes them.
///
/// # Errors
/// A metric is defined wrongly.
pub fn every_series() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    for requests in [&metrics.quotes, &metrics.segments, &metrics.openings] {
        requests.of(Ok(()));
        WireCode::ALL.iter().for_each(|code| drop(requests.of(Err(*code))));
    }
    Ok(registry)
}

/// How the call for a reward went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RewardEnd {
    /// It was made.
    Called,
    /// One attempt did not succeed.
    Failed,
    /// Its round ended before.
    Missed,
}

impl RewardEnd {
    const ALL: [Self; 3] = [Self::Called, Self::Failed, Self::Missed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Called => "called",
            Self::Failed => "failed",
            Self::Missed => "missed",
        }
    }
}

const VERDICTS: [Verdict; 3] = [Verdict::Guilty, Verdict::NotGuilty, Verdict::Unavailable];

fn vote(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Guilty => "guilty",
        Verdict::NotGuilty => "not_guilty",
        Verdict::Unavailable => "unavailable",
    }
}

/// Requests by outcome: a word for those that were served, or the wire code of the refusal.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    series: IntCounterVec,
    served: &'static str,
}

impl Requests {
    fn new(what: &str, help: &str, served: &'static str) -> Result<Self, prometheus::Error> {
        Ok(Self { series: outcomes(what, help)?, served })
    }

    /// Counts one that was served, or refused.
    pub(crate) fn count(&self, ended: Result<(), WireCode>) {
        self.of(ended).inc();
    }

    fn of(&self, ended: Result<(), WireCode>) -> IntCounter {
        let outcome = ended.map_or_else(WireCode::as_str, |()| self.served);
        self.series.with_label_values(&[outcome])
    }
}

/// All metrics of one orchestrator.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Quotes.
    pub(crate) quotes: Requests,
    /// Segments.
    pub(crate) segments: Requests,
    /// Questions about commitments.
    pub(crate) openings: Requests,
    /// Open sessions.
    pub(crate) sessions: IntGauge,
    /// Sessions of other processes over the same books that were taken in.
    pub(crate) adopted: IntCounter,
    /// Connected transcoders.
    pub(crate) transcoders: IntGauge,
    /// Output pixels per second that connected transcoders offer.
    pub(crate) capacity: IntGauge,
    /// Output pixels per second that active sessions hold.
    pub(crate) reserved: IntGauge,
    /// Output pixels delivered with a receipt.
    pub(crate) pixels: IntCounter,
    /// Renditions whose quality earned less than their whole price.
    pub(crate) discounted: IntCounter,
    /// Segments moved to another transcoder.
    pub(crate) retries: IntCounter,
    tickets: IntCounterVec,
    redemptions: IntCounterVec,
    /// Whether the chain answered last time (1) or not (0).
    pub(crate) chain_up: IntGauge,
    /// Rounds that this node initialized.
    pub(crate) rounds: IntCounter,
    rewards: IntCounterVec,
    /// Whether this round's reward is about to be missed (1) or not (0).
    pub(crate) reward_at_risk: IntGauge,
    /// Disputes that are followed.
    pub(crate) disputes: IntGauge,
    /// Seats in juries that this node claimed.
    pub(crate) seats: IntCounter,
    votes: IntCounterVec,
    /// Juries in which this node had a seat and did not vote.
    pub(crate) votes_missed: IntCounter,
    /// Whether a vote is about to be missed (1) or not (0).
    pub(crate) vote_at_risk: IntGauge,
    /// Time from the accepted header to the whole source.
    pub(crate) upload_seconds: Histogram,
    /// Time from the whole source to the signed receipt.
    pub(crate) transcode_seconds: Histogram,
}

impl Metrics {
    /// Creates all metrics in `registry`.
    ///
    /// # Errors
    /// A name is registered already: one orchestrator per registry.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let new = Self {
            quotes: Requests::new("quotes_total", "Quote requests by outcome.", "signed")?,
            segments: Requests::new("segments_total", "Segments by outcome.", "done")?,
            openings: Requests::new("openings_total", "Questions about commitments by outcome.", "answered")?,
            sessions: gauge("sessions", "Open sessions.")?,
            adopted: counter(
                "sessions_adopted_total",
                "Sessions that another process over the same ledger had opened and this one goes on with.",
            )?,
            transcoders: gauge("transcoders", "Connected transcoders.")?,
            capacity: gauge(
                "capacity_pixels_per_second",
                "Output pixels per second offered by the connected transcoders.",
            )?,
            reserved: gauge(
                "reserved_pixels_per_second",
                "Output pixels per second held by active sessions.",
            )?,
            pixels: counter("pixels_total", "Output pixels delivered with a receipt.")?,
            discounted: counter(
                "discounted_renditions_total",
                "Renditions that earned less than their whole price for their quality.",
            )?,
            retries: counter("retries_total", "Segments moved to another transcoder.")?,
            tickets: outcomes("tickets_total", "Tickets by outcome.")?,
            redemptions: outcomes("redemptions_total", "Redemptions by outcome.")?,
            chain_up: gauge("chain_up", "Whether the chain answered the last call.")?,
            rounds: counter("rounds_initialized_total", "Rounds that this node initialized.")?,
            rewards: outcomes("rewards_total", "Rewards by outcome.")?,
            reward_at_risk: gauge(
                "reward_at_risk",
                "Whether this round's reward is about to be missed: 0 or 1.",
            )?,
            disputes: gauge("disputes", "Disputes before the court that this node follows.")?,
            seats: counter("jury_seats_total", "Seats in juries that this node claimed.")?,
            votes: IntCounterVec::new(
                Opts::new(name("jury_votes_total"), "Votes that this node revealed, by verdict."),
                &["verdict"],
            )?,
            votes_missed: counter(
                "jury_votes_missed_total",
                "Juries in which this node had seats and did not vote in time.",
            )?,
            vote_at_risk: gauge(
                "jury_vote_at_risk",
                "Whether a vote of this node is about to be missed: 0 or 1.",
            )?,
            upload_seconds: seconds("upload_seconds", "Accepted header to whole source.")?,
            transcode_seconds: seconds("transcode_seconds", "Whole source to signed receipt.")?,
        };
        new.collectors().into_iter().try_for_each(|collector| registry.register(collector))?;
        // What begins at one shows no increase: an alert would miss the first.
        for (counters, values) in [
            (&new.tickets, TICKETS),
            (&new.redemptions, REDEMPTIONS),
            (&new.rewards, RewardEnd::ALL.map(RewardEnd::as_str)),
            (&new.votes, VERDICTS.map(vote)),
        ] {
            add(counters, values, [0; 3]);
        }
        Ok(new)
    }

    /// Counts tickets: accepted, won among them, refused.
    pub(crate) fn tickets(&self, counts: [u64; 3]) {
        add(&self.tickets, TICKETS, counts);
    }

    /// Counts winning tickets: sent to the chain, paid, given up.
    pub(crate) fn redemptions(&self, counts: [u64; 3]) {
        add(&self.redemptions, REDEMPTIONS, counts);
    }

    pub(crate) fn reward(&self, end: RewardEnd) {
        self.rewards.with_label_values(&[end.as_str()]).inc();
    }

    pub(crate) fn voted(&self, verdict: Verdict) {
        self.votes.with_label_values(&[vote(verdict)]).inc();
    }

    fn collectors(&self) -> [Box<dyn Collector>; 24] {
        [
            Box::new(self.quotes.series.clone()),
            Box::new(self.segments.series.clone()),
            Box::new(self.openings.series.clone()),
            Box::new(self.sessions.clone()),
            Box::new(self.adopted.clone()),
            Box::new(self.transcoders.clone()),
            Box::new(self.capacity.clone()),
            Box::new(self.reserved.clone()),
            Box::new(self.pixels.clone()),
            Box::new(self.discounted.clone()),
            Box::new(self.retries.clone()),
            Box::new(self.tickets.clone()),
            Box::new(self.redemptions.clone()),
            Box::new(self.chain_up.clone()),
            Box::new(self.rounds.clone()),
            Box::new(self.rewards.clone()),
            Box::new(self.reward_at_risk.clone()),
            Box::new(self.disputes.clone()),
            Box::new(self.seats.clone()),
            Box::new(self.votes.clone()),
            Box::new(self.votes_missed.clone()),
            Box::new(self.vote_at_risk.clone()),
            Box::new(self.upload_seconds.clone()),
            Box::new(self.transcode_seconds.clone()),
        ]
    }
}

/// A gauge's value for a count that may exceed its range.
pub(crate) fn level(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn name(what: &str) -> String {
    format!("framemill_orchestrator_{what}")
}

fn outcomes(what: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name(what), help), &["outcome"])
}

fn add(counters: &IntCounterVec, values: [&str; 3], counts: [u64; 3]) {
    for (value, count) in values.into_iter().zip(counts) {
        counters.with_label_values(&[value]).inc_by(count);
    }
}

fn counter(what: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(name(what), help)
}

fn gauge(what: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    IntGauge::new(name(what), help)
}

fn seconds(what: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    Histogram::with_opts(HistogramOpts::new(name(what), help).buckets(STAGE_BUCKETS.to_vec()))
}
