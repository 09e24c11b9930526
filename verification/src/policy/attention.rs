//! How much attention an orchestrator gets, from what it did before.
//!
//! Attention starts full and is lowered only by evidence: every result that was compared frame by frame and found clean takes
//! one part in [`AttentionConfig::patience`] off. What was not looked at lowers nothing, so nobody can wait for attention to
//! pass. Any suspicion makes it full again; a proven wrong result also doubles the patience for good.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use crate::policy::{PPM, Policy};
use crate::report::{Check, Relation, Report, Tier, Verdict};

/// Identities remembered at once: several active sets. Whoever is forgotten is new again, which is full attention.
pub const MAX_REMEMBERED: usize = 4_096;

/// Attention on first frames for one part on whole results: a first frame costs a sixteenth, so it is given up later. At the
/// floors of [`Policy::FLOOR`] both meet.
const FIRST_FRAMES_FOR_WHOLE: u32 = 12;

/// Proven wrong results beyond this many slow the decay no further: at 64 times the patience it is a matter of days.
const MAX_DOUBLINGS: u32 = 6;

/// How attention is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionConfig {
    /// Rates that a long clean record decays to.
    pub floor: Policy,
    /// One clean look at a whole result takes one part in this many off the attention.
    pub patience: u32,
    /// Seconds without a result after which an orchestrator is looked at like a new one: it may have been sold.
    pub absence_s: u64,
    /// A passed check is suspicious when its value reaches this many thousandths of its bound.
    pub borderline_permille: u32,
    /// A first frame of which a check reaches this many thousandths of its bound has the whole result compared at once.
    pub escalate_permille: u32,
}

impl Default for AttentionConfig {
    /// The floor is reached after about 1,800 results, an hour of segments of two seconds, of which some 130 were looked at
    /// whole.
    fn default() -> Self {
        Self {
            floor: Policy::FLOOR,
            patience: 32,
            absence_s: 7 * 24 * 3_600,
            borderline_permille: 900,
            escalate_permille: 700,
        }
    }
}

/// What one result, or somebody, showed about an orchestrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The result passed at this depth.
    Clean(Tier),
    /// The result passed, and a check came near its bound.
    Borderline,
    /// The result was wrong.
    Wrong,
    /// Somebody complained: a viewer, an operator, another check.
    Complaint,
}

impl Sight {
    /// What the reports on all renditions of one result show.
    #[must_use]
    pub fn of(reports: &[Report], borderline_permille: u32) -> Self {
        if reports.iter().any(|report| report.verdict == Verdict::Fail) {
            return Self::Wrong;
        }
        if reports.iter().flat_map(|report| &report.checks).any(|check| is_near(check, borderline_permille)) {
            return Self::Borderline;
        }
        Self::Clean(reports.iter().map(|report| report.tier).min().unwrap_or(Tier::Structure))
    }
}

/// Whether the first frame of any rendition came so near to a bound that the whole result should be compared: what is in doubt
/// after one frame is clear after all of them.
#[must_use]
pub fn is_in_doubt(reports: &[Report], escalate_permille: u32) -> bool {
    let first_frames = reports.iter().filter(|report| report.tier == Tier::FirstFrame && report.passed());
    first_frames.flat_map(Report::picture_checks).any(|check| is_near(check, escalate_permille))
}

/// Whether a figure with room between zero and its bound used nearly all of it. Exact figures have no such room.
fn is_near(check: &Check, permille: u32) -> bool {
    check.relation == Relation::Max
        && check.bound > 0
        && i128::from(check.value) * 1000 >= i128::from(check.bound) * i128::from(permille)
}

/// Why attention went up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// Nothing was heard of it for long.
    Absence,
    /// A check came near its bound.
    Borderline,
    /// A result was wrong.
    Wrong,
    /// Somebody complained.
    Complaint,
}

impl Suspicion {
    /// Every cause, for closed sets of labels.
    pub const ALL: [Self; 4] = [Self::Absence, Self::Borderline, Self::Wrong, Self::Complaint];

    /// A stable word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absence => "absence",
            Self::Borderline => "borderline",
            Self::Wrong => "wrong",
            Self::Complaint => "complaint",
        }
    }
}

/// The attention on one orchestrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Share of results to look at whole, before the floor, in millionths.
    level_ppm: u32,
    /// Results that were proven wrong.
    wrong: u32,
    /// When it was last seen, in seconds since 1970.
    seen_s: u64,
}

impl Attention {
    /// Full attention on somebody unknown.
    #[must_use]
    pub fn new(now_s: u64) -> Self {
        Self { level_ppm: PPM, wrong: 0, seen_s: now_s }
    }

    /// The rates for the next result.
    #[must_use]
    pub fn rates(&self, config: &AttentionConfig, now_s: u64) -> Policy {
        let level = if self.is_stale(config, now_s) { PPM } else { self.level_ppm.min(PPM) };
        let earned = Policy {
            first_frame_ppm: level.saturating_mul(FIRST_FRAMES_FOR_WHOLE).min(PPM),
            whole_ppm: level,
            claim_ppm: level,
        };
        earned.at_least(config.floor)
    }

    /// Takes in what was seen; returns the suspicion that it raised.
    pub fn see(&mut self, config: &AttentionConfig, now_s: u64, sight: Sight) -> Option<Suspicion> {
        let stale = self.is_stale(config, now_s);
        self.seen_s = now_s;
        if stale {
            self.level_ppm = PPM;
        }
        let suspicion = match sight {
            Sight::Clean(tier) => {
                if tier == Tier::Whole {
                    self.relax(config);
                }
                return stale.then_some(Suspicion::Absence);
            }
            Sight::Borderline => Suspicion::Borderline,
            Sight::Complaint => Suspicion::Complaint,
            Sight::Wrong => {
                self.wrong = self.wrong.saturating_add(1);
                Suspicion::Wrong
            }
        };
        self.level_ppm = PPM;
        Some(suspicion)
    }

    /// Results that were proven wrong so far.
    #[must_use]
    pub fn wrong(&self) -> u32 {
        self.wrong
    }

    fn relax(&mut self, config: &AttentionConfig) {
        let patience = config.patience.max(1).saturating_mul(1 << self.wrong.min(MAX_DOUBLINGS));
        let level = self.level_ppm.min(PPM);
        // A level of a few millionths still falls, down to a floor of zero.
        let step = (level / patience).max(1);
        self.level_ppm = level.saturating_sub(step).max(config.floor.whole_ppm.min(PPM));
    }

    fn is_stale(&self, config: &AttentionConfig, now_s: u64) -> bool {
        now_s.saturating_sub(self.seen_s) >= config.absence_s
    }
}

/// The attention on every orchestrator ever used, bounded by [`MAX_REMEMBERED`].
#[derive(Clone, Debug)]
pub struct AttentionBook<K> {
    config: AttentionConfig,
    entries: HashMap<K, Attention>,
}

impl<K: Clone + Eq + Hash> AttentionBook<K> {
    /// A book that goes on from `entries`.
    #[must_use]
    pub fn new(config: AttentionConfig, entries: impl IntoIterator<Item = (K, Attention)>) -> Self {
        Self { config, entries: entries.into_iter().take(MAX_REMEMBERED).collect() }
    }

    /// How attention is given here.
    #[must_use]
    pub fn config(&self) -> &AttentionConfig {
        &self.config
    }

    /// The rates for the next result of `who`.
    #[must_use]
    pub fn rates(&self, who: &K, now_s: u64) -> Policy {
        let known = self.entries.get(who).copied();
        known.unwrap_or_else(|| Attention::new(now_s)).rates(&self.config, now_s)
    }

    /// Takes in what was seen of `who`; returns the suspicion that it raised.
    pub fn see(&mut self, who: &K, now_s: u64, sight: Sight) -> Option<Suspicion> {
        if !self.entries.contains_key(who) && self.entries.len() >= MAX_REMEMBERED {
            self.forget_one();
        }
        let config = self.config;
        let entry = self.entries.entry(who.clone()).or_insert_with(|| Attention::new(now_s));
        entry.see(&config, now_s, sight)
    }

    /// Everybody remembered.
    pub fn entries(&self) -> impl Iterator<Item = (&K, &Attention)> {
        self.entries.iter()
    }

    /// Drops the one unseen for longest; those proven wrong go last, or a flood of new identities would wash them clean.
    fn forget_one(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| (entry.wrong, entry.seen_s));
        if let Some(who) = oldest.map(|(who, _)| who.clone()) {
            self.entries.remove(&who);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use proptest::prelude::*;

    use super::*;
    use crate::report::Quality;

    const WEEK: u64 = 7 * 24 * 3_600;

    fn config() -> AttentionConfig {
        AttentionConfig::default()
    }

    /// Clean whole looks until the attention is at its floor.
    fn looks_to_the_floor(attention: &mut Attention) -> u32 {
        let mut looks = 0;
        while attention.rates(&config(), 0).whole_ppm > Policy::FLOOR.whole_ppm {
            attention.see(&config(), 0, Sight::Clean(Tier::Whole));
            looks += 1;
            assert!(looks < 100_000, "attention never reaches the floor");
        }
        looks
    }

    fn report(check: Check, tier: Tier) -> Report {
        Report::new(tier, B256::ZERO, B256::ZERO, 0, vec![check], Quality::default())
    }

    #[test]
    fn only_a_first_frame_near_a_bound_is_in_doubt() {
        let report = |tier, permille: i64, passed: bool| {
            let checks = vec![
                Check::max("video_bytes", 999, 1000),
                Check::is("undecodable_frames", 0, 0),
                Check::max("mean_cells", permille, 1000),
                Check::is("odd_frames", i64::from(!passed), 0),
            ];
            let quality = crate::report::Quality::default();
            Report::new(tier, Default::default(), Default::default(), 0, checks, quality)
        };
        let doubt = |tier, permille, passed| is_in_doubt(&[report(tier, permille, passed)], 700);
        assert!(doubt(Tier::FirstFrame, 700, true));
        assert!(!doubt(Tier::FirstFrame, 699, true), "what the structure comes near to says nothing");
        assert!(!doubt(Tier::Whole, 999, true), "there is nothing left to look at");
        assert!(!doubt(Tier::FirstFrame, 999, false), "what is wrong is in no doubt");
    }

    #[test]
    fn a_new_identity_gets_full_attention() {
        assert_eq!(Attention::new(5).rates(&config(), 5), Policy::FULL);
        assert_eq!(AttentionBook::<u8>::new(config(), []).rates(&1, 5), Policy::FULL);
    }

    #[test]
    fn clean_looks_at_whole_results_lower_it_to_the_floor() {
        let mut attention = Attention::new(0);
        let looks = looks_to_the_floor(&mut attention);
        assert!((100..200).contains(&looks), "{looks} looks");
        let rates = attention.rates(&config(), 0);
        assert_eq!(rates.whole_ppm, Policy::FLOOR.whole_ppm);
        assert!((200_000..=210_000).contains(&rates.first_frame_ppm), "{rates:?}");
    }

    #[test]
    fn first_frames_are_given_up_later_than_whole_results() {
        let mut attention = Attention::new(0);
        while attention.rates(&config(), 0).whole_ppm > 100_000 {
            attention.see(&config(), 0, Sight::Clean(Tier::Whole));
        }
        assert_eq!(attention.rates(&config(), 0).first_frame_ppm, PPM);
    }

    #[test]
    fn what_was_not_looked_at_whole_earns_nothing() {
        let mut attention = Attention::new(0);
        for tier in [Tier::Structure, Tier::FirstFrame] {
            for _ in 0..10_000 {
                attention.see(&config(), 0, Sight::Clean(tier));
            }
        }
        assert_eq!(attention.rates(&config(), 0), Policy::FULL);
    }

    #[test]
    fn a_proven_wrong_result_makes_the_way_down_twice_as_long() {
        let mut honest = Attention::new(0);
        let first = looks_to_the_floor(&mut honest);
        assert_eq!(honest.see(&config(), 0, Sight::Wrong), Some(Suspicion::Wrong));
        let second = looks_to_the_floor(&mut honest);
        assert!(second > first * 19 / 10, "{second} looks after {first}");
    }

    #[test]
    fn a_complaint_leaves_the_way_down_as_long() {
        let mut attention = Attention::new(0);
        let first = looks_to_the_floor(&mut attention);
        attention.see(&config(), 0, Sight::Complaint);
        assert_eq!(looks_to_the_floor(&mut attention), first);
    }

    #[test]
    fn a_long_absence_is_suspicious_even_before_the_next_result_is_seen() {
        let mut attention = Attention::new(0);
        looks_to_the_floor(&mut attention);
        assert_eq!(attention.rates(&config(), WEEK), Policy::FULL);
        let suspicion = attention.see(&config(), WEEK, Sight::Clean(Tier::Structure));
        assert_eq!(suspicion, Some(Suspicion::Absence));
        assert_eq!(attention.rates(&config(), WEEK), Policy::FULL);
    }

    #[test]
    fn a_figure_near_its_bound_is_borderline() {
        let sight = |value| Sight::of(&[report(Check::max("error_permille", value, 110), Tier::Whole)], 900);
        assert_eq!(sight(98), Sight::Clean(Tier::Whole));
        assert_eq!(sight(99), Sight::Borderline);
        assert_eq!(sight(111), Sight::Wrong);
    }

    #[test]
    fn figures_that_must_be_exact_are_never_borderline() {
        let reports = [
            report(Check::is("width", 640, 640), Tier::Whole),
            report(Check::max("null_packets", 0, 0), Tier::Whole),
        ];
        assert_eq!(Sight::of(&reports, 900), Sight::Clean(Tier::Whole));
    }

    #[test]
    fn a_result_counts_as_looked_at_only_as_deep_as_its_shallowest_rendition() {
        let check = Check::is("width", 1, 1);
        let reports = [report(check, Tier::Whole), report(check, Tier::FirstFrame)];
        assert_eq!(Sight::of(&reports, 900), Sight::Clean(Tier::FirstFrame));
    }

    #[test]
    fn a_flood_of_identities_does_not_wash_a_cheat_clean() {
        let mut book = AttentionBook::new(config(), []);
        book.see(&0, 0, Sight::Wrong);
        for who in 1..=(2 * MAX_REMEMBERED) {
            book.see(&who, 1 + who as u64, Sight::Clean(Tier::Whole));
        }
        assert_eq!(book.entries().count(), MAX_REMEMBERED);
        assert!(book.entries().any(|(who, entry)| *who == 0 && entry.wrong() == 1));
    }

    #[test]
    fn attention_survives_being_written_down() {
        let mut attention = Attention::new(7);
        attention.see(&config(), 8, Sight::Wrong);
        attention.see(&config(), 9, Sight::Clean(Tier::Whole));
        let text = serde_json::to_string(&attention).unwrap();
        assert_eq!(serde_json::from_str::<Attention>(&text).unwrap(), attention);
    }

    fn sights() -> impl Strategy<Value = Sight> {
        prop_oneof![
            Just(Sight::Clean(Tier::Structure)),
            Just(Sight::Clean(Tier::FirstFrame)),
            Just(Sight::Clean(Tier::Whole)),
            Just(Sight::Borderline),
            Just(Sight::Wrong),
            Just(Sight::Complaint),
        ]
    }

    proptest! {
        #[test]
        fn rates_stay_between_the_floor_and_full(
            events in prop::collection::vec((0u64..WEEK * 2, sights()), 0..300),
            first in 0..=PPM, whole in 0..=PPM, patience in 0u32..1000,
        ) {
            let floor = Policy { first_frame_ppm: first, whole_ppm: whole, ..Policy::STRUCTURE_ONLY };
            let config = AttentionConfig { floor, patience, ..config() };
            let (mut attention, mut now) = (Attention::new(0), 0);
            for (gap, sight) in events {
                now += gap;
                attention.see(&config, now, sight);
                let rates = attention.rates(&config, now);
                prop_assert!(rates.whole_ppm >= whole && rates.whole_ppm <= PPM);
                prop_assert!(rates.first_frame_ppm >= first && rates.first_frame_ppm <= PPM);
            }
        }

        #[test]
        fn only_suspicion_raises_and_always_to_full(
            events in prop::collection::vec((0u64..1000, sights()), 0..300),
        ) {
            let (mut attention, mut now) = (Attention::new(0), 0);
            for (gap, sight) in events {
                now += gap;
                let before = attention.rates(&config(), now);
                let suspicion = attention.see(&config(), now, sight);
                let after = attention.rates(&config(), now);
                if suspicion.is_some() {
                    prop_assert_eq!(after, Policy::FULL);
                } else {
                    prop_assert!(after.whole_ppm <= before.whole_ppm);
                    prop_assert!(after.first_frame_ppm <= before.first_frame_ppm);
                }
            }
        }
    }
}
