//! Cheats against policies, segment by segment, with the library's own attention and rates.

use framemill_verification::policy::attention::{Attention, AttentionConfig, Sight};
use framemill_verification::{PPM, Policy, Tier};

/// Seconds of one segment.
pub(crate) const SEGMENT_S: u64 = 2;

/// Share of tampered segments that a judgement which can see the tampering does see, in millionths: what the attack suite
/// asks for.
pub(crate) const RECALL_PPM: u32 = 990_000;

/// Nobody is followed for longer: about three months of one stream.
const HORIZON: u64 = 4_000_000;

/// What a judgement costs, in millionths of the CPU that made the ladder, each tier on top of the one before: the figures of
/// `docs/verification.md`.
pub(crate) struct Cost {
    pub(crate) structure: u64,
    pub(crate) first_frame: u64,
    pub(crate) whole: u64,
}

/// As measured by `cargo bench -p framemill-verification`.
pub(crate) const COST: Cost = Cost { structure: 800, first_frame: 19_500, whole: 251_000 };

/// What a cheat does to the segments it tampers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tampering {
    /// Every picture is wrong, the first one too.
    Picture,
    /// Time or motion is wrong, or all but the keyframes: the first picture is right.
    Motion,
}

impl Tampering {
    fn is_seen_by(self, tier: Tier) -> bool {
        match self {
            Self::Picture => tier >= Tier::FirstFrame,
            Self::Motion => tier == Tier::Whole,
        }
    }
}

/// A cheat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cheat {
    pub(crate) tampering: Tampering,
    /// Share of its segments that it tampers with, in millionths.
    pub(crate) rate_ppm: u32,
    /// Segments that it delivers honestly before.
    pub(crate) honest_first: u64,
}

/// How it is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// At the same rates always.
    Fixed(Policy),
    /// By its record, which begins here after it was proven wrong so many times.
    Adaptive { wrong_before: u32 },
}

/// A watch in progress.
struct Watcher {
    watch: Watch,
    config: AttentionConfig,
    attention: Attention,
}

impl Watcher {
    fn new(watch: Watch) -> Self {
        let config = AttentionConfig::default();
        let mut attention = Attention::new(0);
        if let Watch::Adaptive { wrong_before } = watch {
            for _ in 0..wrong_before {
                attention.see(&config, 0, Sight::Wrong);
            }
        }
        Self { watch, config, attention }
    }

    /// Draws how deep the next result is looked at.
    fn look(&self, now_s: u64, random: &mut Random) -> Tier {
        let rates = match self.watch {
            Watch::Fixed(policy) => policy,
            Watch::Adaptive { .. } => self.attention.rates(&self.config, now_s),
        };
        rates.tier_at(random.below_million())
    }

    fn passed(&mut self, now_s: u64, tier: Tier) {
        self.attention.see(&self.config, now_s, Sight::Clean(tier));
    }
}

/// How a cheat fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Tampered segments that were published.
    pub(crate) published: u64,
    /// Segments from the first tampered one to the one that was caught.
    pub(crate) lasted: u64,
}

/// Lets one cheat work until it is caught.
pub(crate) fn follow(cheat: Cheat, watch: Watch, random: &mut Random) -> Fate {
    let mut watcher = Watcher::new(watch);
    let (mut published, mut first) = (0, None);
    for number in 0..HORIZON {
        let now_s = number * SEGMENT_S;
        let tier = watcher.look(now_s, random);
        let tampers = number >= cheat.honest_first && random.below_million() < cheat.rate_ppm;
        if tampers {
            let begun = *first.get_or_insert(number);
            if cheat.tampering.is_seen_by(tier) && random.below_million() < RECALL_PPM {
                return Fate { published, lasted: number - begun };
            }
            published += 1;
        }
        watcher.passed(now_s, tier);
    }
    Fate { published, lasted: HORIZON - first.unwrap_or(HORIZON) }
}

/// Fates of many cheats of one kind, in order of how long they lasted.
pub(crate) fn follow_many(cheat: Cheat, watch: Watch, count: usize, random: &mut Random) -> Vec<Fate> {
    let mut fates: Vec<_> = (0..count).map(|_| follow(cheat, watch, random)).collect();
    fates.sort_by_key(|fate| fate.lasted);
    fates
}

/// Results looked at while an honest orchestrator delivers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effort {
    pub(crate) results: u64,
    /// At least the first frame.
    pub(crate) first_frames: u64,
    pub(crate) whole: u64,
}

impl Effort {
    /// CPU in millionths of what the ladder took.
    pub(crate) fn cost_ppm(&self) -> u64 {
        let share = |looks: u64, cost: u64| looks * cost / self.results.max(1);
        COST.structure + share(self.first_frames, COST.first_frame) + share(self.whole, COST.whole)
    }

    fn add(&mut self, tier: Tier) {
        self.results += 1;
        self.first_frames += u64::from(tier >= Tier::FirstFrame);
        self.whole += u64::from(tier == Tier::Whole);
    }
}

/// What it takes to watch honest orchestrators for so many segments each.
pub(crate) fn effort(watch: Watch, segments: u64, count: usize, random: &mut Random) -> Effort {
    let mut effort = Effort::default();
    for _ in 0..count {
        let mut watcher = Watcher::new(watch);
        for number in 0..segments {
            let tier = watcher.look(number * SEGMENT_S, random);
            effort.add(tier);
            watcher.passed(number * SEGMENT_S, tier);
        }
    }
    effort
}

/// CPU of checking at fixed rates, in millionths of what the ladder took.
pub(crate) fn cost_ppm(policy: Policy) -> u64 {
    let scale = 1_000_000;
    let first_frames = u64::from(policy.first_frame_ppm.max(policy.whole_ppm));
    Effort { results: scale, first_frames, whole: u64::from(policy.whole_ppm) }.cost_ppm()
}

/// Probability that one tampered segment is caught at fixed rates, in millionths.
pub(crate) fn caught_ppm(tampering: Tampering, policy: Policy) -> u64 {
    let rate = match tampering {
        Tampering::Picture => policy.first_frame_ppm.max(policy.whole_ppm),
        Tampering::Motion => policy.whole_ppm,
    };
    u64::from(rate) * u64::from(RECALL_PPM) / u64::from(PPM)
}

/// Tampered segments that pass on average before one is caught, in tenths: `(1 - d) / d`.
pub(crate) fn passing_tenths(caught_ppm: u64) -> u64 {
    (u64::from(PPM) - caught_ppm) * 10 / caught_ppm.max(1)
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same sequence on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `0..1_000_000`, by the upper half of a product: the bias is below one in 10^13.
    fn below_million(&mut self) -> u32 {
        ((u128::from(self.next()) * u128::from(PPM)) >> 64) as u32
    }
}
