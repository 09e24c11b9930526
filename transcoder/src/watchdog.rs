//! How much of an engine is offered while its machine does other work: less at once when that gets in the way, more again slowly.
//!
//! Pure: what was seen and the time come in, what is offered comes out.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use framemill_gpu::Telemetry;
use thiserror::Error;

use crate::Capacity;

/// Parts into which an engine's capacity is divided. One of them is the smallest offer there is.
pub(crate) const PARTS: u32 = 8;

/// Looks in a row at which a figure is above its bound before less is offered. One alone may be chance.
const STEADY: u32 = 2;

/// The same of times that segments take, which vary more.
const STEADY_LATENESS: u32 = 3;

/// How long the effect of offering less takes to be seen: streams leave with their next segment.
const SETTLE: Duration = Duration::from_secs(4);

/// How long all must be well before more is offered.
const CALM: Duration = Duration::from_secs(20);

/// The longest that may become where more turned out too much, time after time.
const LONGEST_CALM: Duration = Duration::from_secs(3600);

/// Part of a bound up to which all is well, in percent. Between this and the bound the offer stays as it is.
const CALM_PERCENT: u64 = 95;

/// When less of an engine is offered, apart from segments that take longer than they play.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchConfig {
    /// Most of a card's SM time that transcoding may take, in percent.
    pub sm_budget: Option<u32>,
    /// Most that a card may draw, whoever makes it, in watts.
    pub power_limit: Option<u32>,
    /// When a card takes no work at all: while any of these holds.
    pub pause_when: Vec<PauseCondition>,
}

impl WatchConfig {
    /// Settings that cannot be kept since the card does not tell what they are about.
    pub(crate) fn blind(&self, telemetry: &Telemetry) -> Vec<String> {
        let sm = telemetry.process_sm_percent.or(telemetry.sm_percent);
        let sm = (self.sm_budget.is_some() && sm.is_none()).then(|| "sm_budget".to_owned());
        let power = self.power_limit.is_some() && telemetry.power_milliwatts.is_none();
        let power = power.then(|| "power_limit".to_owned());
        let untold = |condition: &&PauseCondition| condition.figure.of(telemetry).is_none();
        let pauses = self.pause_when.iter().filter(untold).map(|condition| format!("pause_when {condition}"));
        sm.into_iter().chain(power).chain(pauses).collect()
    }

    /// What is to be looked at, the gravest first.
    fn strains(&self, sight: &Sight) -> [Option<Strain>; KINDS] {
        let telemetry = &sight.telemetry.unwrap_or_default();
        [
            self.pause(telemetry),
            self.sm(telemetry),
            self.power(telemetry),
            sight.lateness_percent.map(|percent| Strain::of(percent, 100, Reason::Latency { percent })),
        ]
    }

    /// Of conditions that hold any, else of the others the one that is not calm.
    fn pause(&self, telemetry: &Telemetry) -> Option<Strain> {
        let strain = |condition: &PauseCondition| {
            let value = condition.figure.of(telemetry)?;
            Some(Strain::of(value, condition.above, Reason::Pause { condition: *condition, value }))
        };
        self.pause_when.iter().filter_map(strain).max_by_key(|strain| (strain.over, !strain.calm))
    }

    /// A card that does not tell processes apart is taken whole: a budget that cannot be measured must not be passed.
    fn sm(&self, telemetry: &Telemetry) -> Option<Strain> {
        let budget = self.sm_budget?;
        let whole_card = telemetry.process_sm_percent.is_none();
        let percent = telemetry.process_sm_percent.or(telemetry.sm_percent)?;
        Some(Strain::of(percent, budget, Reason::Sm { percent, budget, whole_card }))
    }

    fn power(&self, telemetry: &Telemetry) -> Option<Strain> {
        let limit = self.power_limit?;
        let watts = telemetry.power_milliwatts?.div_ceil(1_000);
        Some(Strain::of(watts, limit, Reason::Power { watts, limit }))
    }
}

/// What a card tells of that can be a reason to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    Sm,
    Encoder,
    Decoder,
    Memory,
    Temperature,
    Power,
}

/// Each figure with its name in settings and its unit.
const FIGURES: [(Figure, &str, &str); 6] = [
    (Figure::Sm, "sm", "%"),
    (Figure::Encoder, "encoder", "%"),
    (Figure::Decoder, "decoder", "%"),
    (Figure::Memory, "memory", "%"),
    (Figure::Temperature, "temperature", "°C"),
    (Figure::Power, "power", "W"),
];

impl Figure {
    fn of(self, telemetry: &Telemetry) -> Option<u32> {
        match self {
            Self::Sm => telemetry.sm_percent,
            Self::Encoder => telemetry.encoder_percent,
            Self::Decoder => telemetry.decoder_percent,
            Self::Memory => telemetry.memory.map(|memory| {
                let taken = memory.total.saturating_sub(memory.unused).saturating_mul(100);
                u32::try_from(taken / memory.total.max(1)).unwrap_or(u32::MAX)
            }),
            Self::Temperature => telemetry.temperature_celsius,
            Self::Power => telemetry.power_milliwatts.map(|milliwatts| milliwatts.div_ceil(1_000)),
        }
    }

    fn names(self) -> (&'static str, &'static str) {
        let known = FIGURES.iter().find(|(figure, ..)| *figure == self);
        known.map_or(("", ""), |(_, name, unit)| (name, unit))
    }
}

/// A figure of a card and the bound above which it pauses the card, as in `temperature > 83`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PauseCondition {
    figure: Figure,
    above: u32,
}

impl fmt::Display for PauseCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.figure.names().0, self.above)
    }
}

/// A text is no [`PauseCondition`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no condition; give sm, encoder, decoder, memory (percent), temperature (degrees Celsius) or power (watts), \
     > and a whole number, as in \"temperature > 83\""
)]
pub struct PauseError {
    text: String,
}

impl FromStr for PauseCondition {
    type Err = PauseError;

    fn from_str(text: &str) -> Result<Self, PauseError> {
        let read = || {
            let (name, above) = text.split_once('>')?;
            let (figure, ..) = FIGURES.iter().find(|(_, known, _)| *known == name.trim())?;
            Some(Self { figure: *figure, above: above.trim().parse().ok()? })
        };
        read().ok_or_else(|| PauseError { text: text.chars().take(64).collect() })
    }
}

/// What was seen of an engine since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sight {
    /// Time that its segments took of the time they play, in percent; `None` where none ended.
    pub(crate) lateness_percent: Option<u32>,
    /// Of its card, where it has one that tells.
    pub(crate) telemetry: Option<Telemetry>,
}

/// Why less is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Pause { condition: PauseCondition, value: u32 },
    Sm { percent: u32, budget: u32, whole_card: bool },
    Power { watts: u32, limit: u32 },
    Latency { percent: u32 },
}

/// Kinds of reasons.
const KINDS: usize = 4;

impl Reason {
    /// Of every kind, for metrics.
    pub(crate) const CODES: [&str; KINDS] = ["pause", "sm", "power", "latency"];

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Sm { .. } => "sm",
            Self::Power { .. } => "power",
            Self::Latency { .. } => "latency",
        }
    }

    fn steady(self) -> u32 {
        if matches!(self, Self::Latency { .. }) { STEADY_LATENESS } else { STEADY }
    }

    /// The least that it leaves. Late segments alone leave a part: a stream that is alone makes nobody else late.
    fn floor(self) -> u32 {
        u32::from(matches!(self, Self::Latency { .. }))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause { condition, value } => {
                let (name, unit) = condition.figure.names();
                write!(f, "{name} is {value} {unit}, and pause_when has {condition}")
            }
            Self::Sm { percent, budget, whole_card: false } => {
                write!(f, "transcoding takes {percent} % of the SM time, and sm_budget is {budget} %")
            }
            Self::Sm { percent, budget, whole_card: true } => write!(
                f,
                "all programs together take {percent} % of the SM time, this card does not tell them apart, and sm_budget is {budget} %"
            ),
            Self::Power { watts, limit } => {
                write!(f, "the card draws {watts} W, and power_limit is {limit} W")
            }
            Self::Latency { percent } => write!(f, "segments take {percent} % of the time they play"),
        }
    }
}

/// A figure beside its bound.
#[derive(Debug, Clone, Copy)]
struct Strain {
    over: bool,
    calm: bool,
    reason: Reason,
}

impl Strain {
    fn of(value: u32, bound: u32, reason: Reason) -> Self {
        let calm = u64::from(value) * 100 <= u64::from(bound) * CALM_PERCENT;
        Self { over: value > bound, calm, reason }
    }
}

/// Another offer than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Parts of [`PARTS`] that are offered now.
    pub(crate) parts: u32,
    /// Why they are fewer; `None` when they are more.
    pub(crate) reason: Option<Reason>,
}

/// Decides about one engine.
///
/// A figure above its bound halves the offer, again and again until it is below; a pause takes all at once. When all is well for
/// [`CALM`] one part is given back. If that turns out too much it is taken away again, and the next attempt waits twice as long: so an
/// engine that is at its bound does not go up and down for ever.
#[derive(Debug)]
pub(crate) struct Watchdog {
    config: WatchConfig,
    parts: u32,
    /// Looks in a row at which each kind was above its bound.
    streaks: [u32; KINDS],
    changed: Option<Instant>,
    /// When all was not well last.
    unrest: Option<Instant>,
    /// Whether the offer came to be by giving a part back, which has not proved itself yet.
    trying: bool,
    /// The offer that was too much, and the wait before it is tried again.
    too_much: Option<(u32, Duration)>,
}

impl Watchdog {
    /// An engine that is offered whole.
    pub(crate) fn new(config: WatchConfig) -> Self {
        Self {
            config,
            parts: PARTS,
            streaks: [0; KINDS],
            changed: None,
            unrest: None,
            trying: false,
            too_much: None,
        }
    }

    pub(crate) fn config(&self) -> &WatchConfig {
        &self.config
    }

    /// Takes what was seen; looks come about once a second.
    pub(crate) fn step(&mut self, now: Instant, sight: &Sight) -> Option<Change> {
        let strains = self.config.strains(sight);
        for (streak, strain) in self.streaks.iter_mut().zip(&strains) {
            match strain {
                Some(strain) if strain.over => *streak += 1,
                Some(_) => *streak = 0,
                None => {}
            }
        }
        if strains.iter().flatten().any(|strain| !strain.calm) {
            self.unrest = Some(now);
        }
        let steady = |(strain, streak): (&Option<Strain>, &u32)| {
            strain
                .filter(|strain| strain.over && *streak >= strain.reason.steady())
                .map(|strain| strain.reason)
        };
        match strains.iter().zip(&self.streaks).find_map(steady) {
            Some(reason) => self.less(now, reason),
            None => self.more(now),
        }
    }

    fn less(&mut self, now: Instant, reason: Reason) -> Option<Change> {
        let pause = matches!(reason, Reason::Pause { .. });
        if !pause && self.changed.is_some_and(|changed| now.saturating_duration_since(changed) < SETTLE) {
            return None;
        }
        let parts = match (pause, self.trying) {
            (true, _) => 0,
            (false, true) => self.parts.saturating_sub(1),
            (false, false) => self.parts / 2,
        };
        let parts = parts.max(reason.floor()).min(self.parts);
        if parts == self.parts {
            return None;
        }
        if self.trying {
            let wait = self.too_much.map_or(CALM, |(_, wait)| wait);
            self.too_much = Some((self.parts, (wait * 2).min(LONGEST_CALM)));
        }
        self.change(now, parts, false);
        Some(Change { parts, reason: Some(reason) })
    }

    fn more(&mut self, now: Instant) -> Option<Change> {
        let since = self.changed.max(self.unrest)?;
        let wait = match self.too_much {
            Some((parts, wait)) if self.parts + 1 >= parts => wait,
            _ => CALM,
        };
        if now.saturating_duration_since(since) < wait {
            return None;
        }
        if self.too_much.is_some_and(|(parts, _)| self.parts >= parts) {
            self.too_much = None;
        }
        if self.parts == PARTS {
            self.trying = false;
            return None;
        }
        self.change(now, self.parts + 1, true);
        Some(Change { parts: self.parts, reason: None })
    }

    fn change(&mut self, now: Instant, parts: u32, trying: bool) {
        self.parts = parts;
        self.trying = trying;
        self.changed = Some(now);
        self.streaks = [0; KINDS];
    }
}

/// So many of [`PARTS`] of a capacity. A part of one session is one session.
pub(crate) fn share(whole: Capacity, parts: u32) -> Capacity {
    let pixels = u128::from(whole.pixels_per_second) * u128::from(parts) / u128::from(PARTS);
    Capacity {
        pixels_per_second: u64::try_from(pixels).unwrap_or(u64::MAX),
        max_sessions: whole.max_sessions.saturating_mul(parts).div_ceil(PARTS),
    }
}

#[cfg(test)]
mod tests;
