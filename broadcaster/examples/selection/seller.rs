//! The orchestrators of the simulated market: honest and not, fast and not.

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// What an orchestrator does to its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Honesty {
    /// Nothing.
    Honest,
    /// Wrong pictures, always.
    Always,
    /// Wrong motion in every tenth result.
    Tenth,
    /// Wrong motion in all results after [`GOOD_RECORD`] right ones.
    Sleeper,
    /// Wrong pictures on one stream alone.
    OneStream,
    /// Wrong pictures always, under a new identity whenever one was caught.
    Whitewash,
    /// Takes work and its payment, and never delivers.
    Staller,
    /// Nothing; quotes a third of the usual price and is busy nine times in ten.
    Lure,
    /// Nothing; asks four times its price when a quote is renewed.
    Raiser,
}

impl Honesty {
    /// Everybody, with how many of a thousand there are.
    pub(crate) const ALL: [(Self, usize); 9] = [
        (Self::Honest, 760),
        (Self::Always, 40),
        (Self::Tenth, 40),
        (Self::Sleeper, 40),
        (Self::OneStream, 20),
        (Self::Whitewash, 40),
        (Self::Staller, 20),
        (Self::Lure, 20),
        (Self::Raiser, 20),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Always => "wrong pictures, always",
            Self::Tenth => "wrong motion, every tenth",
            Self::Sleeper => "wrong motion, after a good record",
            Self::OneStream => "wrong pictures, on one stream",
            Self::Whitewash => "wrong pictures, new identity when caught",
            Self::Staller => "takes work and never delivers",
            Self::Lure => "quotes low and is busy",
            Self::Raiser => "raises its price once it is used",
        }
    }

    /// Whether any of its results are wrong.
    #[cfg(test)]
    pub(crate) fn cheats(self) -> bool {
        !matches!(self, Self::Honest | Self::Staller | Self::Lure | Self::Raiser)
    }
}

/// How an orchestrator's time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    Steady,
    Slow,
    /// Six times as slow for half a minute out of ten.
    Bursts,
    /// Away for a minute out of fifteen.
    Outages,
    /// Every third attempt breaks.
    Flapping,
    /// Four times as slow from the middle of the run on.
    Degrading,
}

/// Of a hundred orchestrators.
const SPEEDS: [(Speed, u32); 6] = [
    (Speed::Steady, 60),
    (Speed::Slow, 15),
    (Speed::Bursts, 10),
    (Speed::Outages, 5),
    (Speed::Flapping, 5),
    (Speed::Degrading, 5),
];

/// What is wrong with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tampering {
    /// The first frame shows it.
    Picture,
    /// Only all frames show it.
    Motion,
}

/// Right results after which a sleeper begins to cheat: twice what an orchestrator does here on average, and enough to be looked
/// at in one case of four.
const GOOD_RECORD: u32 = 200;

/// A time over the segment's duration that no deadline allows.
const NEVER: f64 = 1_000.0;

/// The stream that some cheat on alone.
const CHEATED_STREAM: usize = 7;

/// One orchestrator.
#[derive(Clone, Debug)]
pub(crate) struct Seller {
    /// Which one it is, whatever it calls itself.
    pub(crate) number: usize,
    /// What it is remembered by.
    pub(crate) key: u32,
    pub(crate) honesty: Honesty,
    pub(crate) speed: Speed,
    pub(crate) stake: f64,
    /// Price of a segment, in any unit.
    pub(crate) price: f64,
    /// Usual time for a second of video.
    pub(crate) pace: f64,
    /// Where in its cycles of outages and bursts it began, in seconds.
    phase: f64,
    quoted: u32,
    attempts: u32,
    results: u32,
}

/// What comes of an attempt that is left alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Service {
    /// Busy, said before the upload.
    Refuses,
    /// The connection breaks after so many seconds.
    Breaks(f64),
    /// A result after so many seconds for each second of video.
    Delivers { slowness: f64, tampering: Option<Tampering> },
}

impl Seller {
    pub(crate) fn new(key: u32, honesty: Honesty, rng: &mut StdRng) -> Self {
        let honest = honesty == Honesty::Honest;
        let speed = if honest { speed(rng.random_range(0..100)) } else { Speed::Steady };
        let pace = match (honest, speed) {
            // A cheat is quick and cheap: that is what it cheats for.
            (false, _) => rng.random_range(0.1..0.2),
            (_, Speed::Slow) => rng.random_range(0.7..1.1),
            _ => rng.random_range(0.15..0.45),
        };
        let price = if honest { rng.random_range(1.0..3.0) } else { rng.random_range(0.7..1.0) };
        Self {
            number: key as usize,
            key,
            honesty,
            speed,
            // A hundred to one, half of it held by a sixth of them.
            stake: 100.0_f64.powf(rng.random()),
            price,
            pace,
            phase: rng.random_range(0.0..900.0),
            quoted: 0,
            attempts: 0,
            results: 0,
        }
    }

    /// The price in its next quote.
    pub(crate) fn quote(&mut self) -> f64 {
        self.quoted += 1;
        match self.honesty {
            Honesty::Lure => self.price / 3.0,
            Honesty::Raiser if self.quoted > 1 => self.price * 4.0,
            _ => self.price,
        }
    }

    /// What it does with a segment of `stream` at `now_s` seconds of `run_s`.
    pub(crate) fn serve(&mut self, stream: usize, now_s: f64, run_s: f64, rng: &mut StdRng) -> Service {
        self.attempts += 1;
        if self.honesty == Honesty::Lure && rng.random::<f64>() < 0.9 {
            return Service::Refuses;
        }
        if self.honesty == Honesty::Staller {
            return Service::Delivers { slowness: NEVER, tampering: None };
        }
        let into = |cycle: f64| (now_s + self.phase) % cycle;
        let factor = match self.speed {
            Speed::Outages if into(900.0) < 60.0 => return Service::Breaks(0.2),
            Speed::Flapping if self.attempts.is_multiple_of(3) => return Service::Breaks(0.5),
            Speed::Bursts if into(600.0) < 30.0 => 6.0,
            Speed::Degrading if now_s > run_s / 2.0 => 4.0,
            _ => 1.0,
        };
        self.results += 1;
        Service::Delivers { slowness: self.pace * factor * jitter(rng), tampering: self.tampers(stream, rng) }
    }

    fn tampers(&self, stream: usize, rng: &mut StdRng) -> Option<Tampering> {
        let tampering = match self.honesty {
            Honesty::Always | Honesty::Whitewash => Tampering::Picture,
            Honesty::OneStream if stream == CHEATED_STREAM => Tampering::Picture,
            Honesty::Tenth if rng.random::<f64>() < 0.1 => Tampering::Motion,
            Honesty::Sleeper if self.results > GOOD_RECORD => Tampering::Motion,
            _ => return None,
        };
        Some(tampering)
    }

    /// It was caught.
    pub(crate) fn caught(&mut self, fresh_key: u32) {
        if self.honesty == Honesty::Whitewash {
            self.key = fresh_key;
        }
    }
}

fn speed(mut point: u32) -> Speed {
    for (speed, share) in SPEEDS {
        match point.checked_sub(share) {
            Some(left) => point = left,
            None => return speed,
        }
    }
    Speed::Steady
}

/// Around one, skewed to the slow side: an eighth more or less usually, twice as long once in a hundred.
fn jitter(rng: &mut impl Rng) -> f64 {
    // A sum of twelve even draws is as good as normal here.
    let normal = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    let hiccup = if rng.random::<f64>() < 0.01 { 2.0 } else { 1.0 };
    (normal * 0.12).exp() * hiccup
}
