//! Lowers sampling rates while verification cannot keep up, and raises them again.
//!
//! A segment that is checked too late is lost, so under load fewer results are looked at; the structure of every one still is.
//! Attention beyond the floor goes first: stakes are sized by the floor, and what it costs is small. No rate ever reaches zero:
//! nobody may know that nobody looks.

use std::time::{Duration, Instant};

use framemill_verification::{PPM, Policy};

/// Halvings that spare the floor: at a sixty-fourth full attention is about as low as the usual floor.
const STEPS_ABOVE_FLOOR: u32 = 6;

/// Most halvings: what is left then costs far less than the structure checks, so more would help nothing.
const MAX_STEPS: u32 = STEPS_ABOVE_FLOOR + 3;

/// Shortest time between two steps down, so that the first can show its effect.
const LOWER_PAUSE: Duration = Duration::from_millis(500);

/// Time without strain for each step up: longer than a step down, so that a steady load does not make it swing.
const RAISE_PAUSE: Duration = Duration::from_secs(5);

/// A judgement that waited longer than this part of its segment's deadline is a sign of strain.
const WAIT_DIVISOR: u32 = 8;

/// A change of the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// Less is looked at than before.
    Lowered,
    /// More is looked at than before.
    Raised,
}

/// How far rates are lowered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    step: u32,
}

impl Load {
    /// Rates lowered as far as they go.
    pub const HEAVIEST: Self = Self { step: MAX_STEPS };

    /// What is left of attention beyond the floor, in millionths.
    pub fn share_ppm(self) -> u32 {
        PPM >> self.step
    }

    /// What is left of the floor, in millionths.
    pub fn floor_share_ppm(self) -> u32 {
        PPM >> self.step.saturating_sub(STEPS_ABOVE_FLOOR)
    }

    /// The rates in force where `wanted` were asked for and none should fall below `floor`.
    pub fn lower(self, wanted: Policy, floor: Policy) -> Policy {
        wanted.scaled(self.share_ppm()).at_least(floor.scaled(self.floor_share_ppm()))
    }
}

/// Watches the queue and says how far rates must be lowered.
#[derive(Debug, Clone)]
pub struct Governor {
    max_waiting: usize,
    step: u32,
    lowered_at: Option<Instant>,
    calm_since: Instant,
}

impl Governor {
    /// Full rates; strained when more than `max_waiting` judgements wait for a core.
    pub fn new(max_waiting: usize, now: Instant) -> Self {
        Self { max_waiting, step: 0, lowered_at: None, calm_since: now }
    }

    /// A judgement starts after it `waited`, with `waiting` others behind it; its segment was `allowed` so long in all.
    pub fn started(
        &mut self,
        now: Instant,
        waiting: usize,
        waited: Duration,
        allowed: Duration,
    ) -> Option<Shift> {
        if waiting > self.max_waiting || waited > allowed / WAIT_DIVISOR {
            self.calm_since = now;
            return self.lower(now);
        }
        if waiting > self.max_waiting / 2 {
            self.calm_since = now;
            return None;
        }
        self.raise(now)
    }

    /// There was no room in the queue for a result.
    pub fn overflowed(&mut self, now: Instant) -> Option<Shift> {
        self.calm_since = now;
        self.lower(now)
    }

    /// How far rates are lowered now.
    pub fn load(&self) -> Load {
        Load { step: self.step }
    }

    fn lower(&mut self, now: Instant) -> Option<Shift> {
        let too_soon = self.lowered_at.is_some_and(|last| now.saturating_duration_since(last) < LOWER_PAUSE);
        if too_soon || self.step == MAX_STEPS {
            return None;
        }
        self.step += 1;
        self.lowered_at = Some(now);
        Some(Shift::Lowered)
    }

    /// One step for each pause that passed: after a quiet hour the rates are not raised one judgement at a time.
    fn raise(&mut self, now: Instant) -> Option<Shift> {
        let pauses = now.saturating_duration_since(self.calm_since).as_secs() / RAISE_PAUSE.as_secs();
        let steps = u32::try_from(pauses).unwrap_or(u32::MAX).min(self.step);
        if steps == 0 {
            return None;
        }
        self.step -= steps;
        self.calm_since = now;
        Some(Shift::Raised)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALLOWED: Duration = Duration::from_secs(8);
    const QUICK: Duration = Duration::from_millis(1);

    fn share(governor: &Governor) -> u32 {
        governor.load().share_ppm()
    }

    fn governor() -> (Governor, Instant) {
        let now = Instant::now();
        (Governor::new(4, now), now)
    }

    #[test]
    fn a_short_queue_changes_nothing() {
        let (mut governor, now) = governor();
        assert_eq!(governor.started(now, 4, QUICK, ALLOWED), None);
        assert_eq!(share(&governor), PPM);
    }

    #[test]
    fn a_long_queue_halves_the_share() {
        let (mut governor, now) = governor();
        assert_eq!(governor.started(now, 5, QUICK, ALLOWED), Some(Shift::Lowered));
        assert_eq!(share(&governor), PPM / 2);
    }

    #[test]
    fn a_long_wait_halves_the_share() {
        let (mut governor, now) = governor();
        let waited = ALLOWED / 8 + QUICK;
        assert_eq!(governor.started(now, 0, waited, ALLOWED), Some(Shift::Lowered));
    }

    #[test]
    fn a_full_queue_halves_the_share() {
        let (mut governor, now) = governor();
        assert_eq!(governor.overflowed(now), Some(Shift::Lowered));
        assert_eq!(governor.overflowed(now), None, "once for each pause");
        assert_eq!(share(&governor), PPM / 2);
    }

    #[test]
    fn a_burst_lowers_the_share_once_for_each_pause() {
        let (mut governor, now) = governor();
        for _ in 0..100 {
            governor.started(now, 50, QUICK, ALLOWED);
        }
        assert_eq!(share(&governor), PPM / 2);
        governor.started(now + LOWER_PAUSE, 50, QUICK, ALLOWED);
        assert_eq!(share(&governor), PPM / 4);
    }

    #[test]
    fn the_share_comes_back_step_by_step_when_it_is_calm() {
        let (mut governor, now) = governor();
        governor.started(now, 50, QUICK, ALLOWED);
        governor.started(now + LOWER_PAUSE, 50, QUICK, ALLOWED);
        let calm = now + LOWER_PAUSE;
        assert_eq!(governor.started(calm + RAISE_PAUSE / 2, 0, QUICK, ALLOWED), None);
        assert_eq!(governor.started(calm + RAISE_PAUSE, 0, QUICK, ALLOWED), Some(Shift::Raised));
        assert_eq!(share(&governor), PPM / 2);
        assert_eq!(governor.started(calm + RAISE_PAUSE * 2, 0, QUICK, ALLOWED), Some(Shift::Raised));
        assert_eq!(share(&governor), PPM);
    }

    #[test]
    fn a_queue_that_is_half_full_keeps_the_share_where_it_is() {
        let (mut governor, now) = governor();
        governor.started(now, 5, QUICK, ALLOWED);
        assert_eq!(governor.started(now + RAISE_PAUSE * 3, 3, QUICK, ALLOWED), None);
        assert_eq!(share(&governor), PPM / 2);
    }

    #[test]
    fn after_a_long_silence_the_share_is_whole_at_once() {
        let (mut governor, mut now) = governor();
        for _ in 0..20 {
            governor.started(now, 50, QUICK, ALLOWED);
            now += LOWER_PAUSE;
        }
        assert_eq!(share(&governor), PPM >> MAX_STEPS);
        governor.started(now + Duration::from_secs(3_600), 0, QUICK, ALLOWED);
        assert_eq!(share(&governor), PPM);
    }

    #[test]
    fn attention_beyond_the_floor_goes_first() {
        let wanted = Policy { first_frame_ppm: PPM, whole_ppm: 500_000, claim_ppm: 600_000 };
        let spared = Load { step: STEPS_ABOVE_FLOOR }.lower(wanted, Policy::FLOOR);
        assert_eq!(spared, Policy::FLOOR);
        let lowered = Load { step: STEPS_ABOVE_FLOOR + 1 }.lower(wanted, Policy::FLOOR);
        assert_eq!(lowered, Policy { first_frame_ppm: 100_000, whole_ppm: 8_500, claim_ppm: 5_000 });
    }

    proptest! {
        #[test]
        fn more_load_never_means_higher_rates(
            step in 0..MAX_STEPS, first in 0..=PPM, whole in 0..=PPM, floor_first in 0..=PPM, floor_whole in 0..=PPM,
        ) {
            let floor = Policy { first_frame_ppm: floor_first, whole_ppm: floor_whole, claim_ppm: floor_whole };
            let wanted = Policy { first_frame_ppm: first, whole_ppm: whole, claim_ppm: first }.at_least(floor);
            let (less, more) = (Load { step }.lower(wanted, floor), Load { step: step + 1 }.lower(wanted, floor));
            prop_assert!(more.first_frame_ppm <= less.first_frame_ppm && more.whole_ppm <= less.whole_ppm);
            prop_assert!(more.claim_ppm <= less.claim_ppm && less.claim_ppm <= wanted.claim_ppm);
            prop_assert!(less.first_frame_ppm <= wanted.first_frame_ppm && less.whole_ppm <= wanted.whole_ppm);
        }

        #[test]
        fn the_share_stays_above_nothing(events in prop::collection::vec((0u64..20_000, 0usize..20, 0u64..5_000), 0..300)) {
            let (mut governor, mut now) = governor();
            for (gap, waiting, waited) in events {
                now += Duration::from_millis(gap);
                governor.started(now, waiting, Duration::from_millis(waited), ALLOWED);
                prop_assert!((PPM >> MAX_STEPS..=PPM).contains(&share(&governor)));
            }
        }
    }
}
