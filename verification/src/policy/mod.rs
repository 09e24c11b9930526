//! How deep to look: rates of the picture checks, who gets how much attention, and the secret draws that decide.

pub mod attention;
pub mod draw;
pub mod journal;

use alloy_primitives::keccak256;
pub use framemill_network::PPM;

use crate::report::Tier;

/// Sampling rates of the picture checks. The structure is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Policy {
    /// Of a million results, how many have at least their first frame compared.
    pub first_frame_ppm: u32,
    /// Of a million results, how many have every frame compared.
    pub whole_ppm: u32,
    /// Of a million results whose features are committed to, how many are decoded to compare these with their own.
    #[serde(default)]
    pub claim_ppm: u32,
}

impl Policy {
    /// Every frame of every result: about a quarter of the CPU that made the ladder (`make bench`), and an eighth more where
    /// features are committed to.
    pub const FULL: Self = Self { first_frame_ppm: PPM, whole_ppm: PPM, claim_ppm: PPM };

    /// The first frame of every result: about two hundredths of the ladder's CPU; sees no temporal cheat.
    pub const FIRST_FRAMES: Self = Self { first_frame_ppm: PPM, whole_ppm: 0, claim_ppm: 0 };

    /// The container and the headers only.
    pub const STRUCTURE_ONLY: Self = Self { first_frame_ppm: 0, whole_ppm: 0, claim_ppm: 0 };

    /// What an orchestrator with a long clean record decays to: about a hundredth of the ladder's CPU on average.
    pub const FLOOR: Self = Self { first_frame_ppm: 200_000, whole_ppm: 17_000, claim_ppm: 10_000 };

    /// The deeper of both, rate by rate.
    #[must_use]
    pub fn at_least(self, minimum: Self) -> Self {
        Self {
            first_frame_ppm: self.first_frame_ppm.max(minimum.first_frame_ppm).min(PPM),
            whole_ppm: self.whole_ppm.max(minimum.whole_ppm).min(PPM),
            claim_ppm: self.claim_ppm.max(minimum.claim_ppm).min(PPM),
        }
    }

    /// All rates times `share_ppm` millionths.
    #[must_use]
    pub fn scaled(self, share_ppm: u32) -> Self {
        // A product of two 32-bit figures; after the division it is at most the rate again.
        let scale = |rate: u32| (u64::from(rate) * u64::from(share_ppm.min(PPM)) / u64::from(PPM)) as u32;
        Self {
            first_frame_ppm: scale(self.first_frame_ppm),
            whole_ppm: scale(self.whole_ppm),
            claim_ppm: scale(self.claim_ppm),
        }
    }

    /// The tier this seed draws. One seed per segment keeps the rungs of a ladder at the same tier, so that
    /// the source is decoded once or not at all.
    #[must_use]
    pub fn draw(&self, seed: &[u8; 32]) -> Tier {
        self.tier_at(point(b"framemill-tier", seed))
    }

    /// Whether this seed draws a claim check: independent of the tier that the same seed draws.
    #[must_use]
    pub fn draws_claim_check(&self, seed: &[u8; 32]) -> bool {
        point(b"framemill-claim-check", seed) < self.claim_ppm
    }

    /// The tier at a point drawn evenly from `0..PPM`. Lower points look deeper, so that higher rates look at the same
    /// results and more.
    #[must_use]
    pub fn tier_at(&self, point: u32) -> Tier {
        if point < self.whole_ppm {
            Tier::Whole
        } else if point < self.first_frame_ppm.max(self.whole_ppm) {
            Tier::FirstFrame
        } else {
            Tier::Structure
        }
    }
}

/// A point drawn evenly from `0..PPM`.
fn point(tag: &[u8], seed: &[u8; 32]) -> u32 {
    let hash = keccak256([tag, seed].concat());
    let mut word = [0; 16];
    word.copy_from_slice(&hash[..16]);
    // The bias of a 128-bit draw modulo a million is far below one in 2^100.
    (u128::from_be_bytes(word) % u128::from(PPM)) as u32
}

impl Default for Policy {
    /// [`Policy::FULL`]: the attention that an identity without a record gets.
    fn default() -> Self {
        Self::FULL
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(policy: Policy, tier: Tier) -> usize {
        (0u32..4000).filter(|i| policy.draw(&keccak256(i.to_be_bytes()).0) == tier).count()
    }

    fn policies() -> impl Strategy<Value = Policy> {
        (0..=PPM, 0..=PPM, 0..=PPM).prop_map(|(first_frame_ppm, whole_ppm, claim_ppm)| Policy {
            first_frame_ppm,
            whole_ppm,
            claim_ppm,
        })
    }

    #[test]
    fn extremes_are_never_left_to_chance() {
        assert_eq!(share(Policy::FULL, Tier::Whole), 4000);
        assert_eq!(share(Policy::FIRST_FRAMES, Tier::FirstFrame), 4000);
        assert_eq!(share(Policy::STRUCTURE_ONLY, Tier::Structure), 4000);
    }

    #[test]
    fn draws_follow_the_rates() {
        assert!(
            (680..930)
                .contains(&(share(Policy::FLOOR, Tier::FirstFrame) + share(Policy::FLOOR, Tier::Whole)))
        );
        assert!((35..110).contains(&share(Policy::FLOOR, Tier::Whole)));
    }

    #[test]
    fn claim_checks_follow_their_rate() {
        let share = |claim_ppm| {
            let policy = Policy { claim_ppm, ..Policy::STRUCTURE_ONLY };
            (0u32..2000).filter(|i| policy.draws_claim_check(&keccak256(i.to_be_bytes()).0)).count()
        };
        assert_eq!((share(0), share(PPM)), (0, 2000));
        assert!((340..460).contains(&share(PPM / 5)));
    }

    proptest! {
        #[test]
        fn higher_rates_never_look_less_deep(policy in policies(), minimum in policies(), point in 0..PPM) {
            prop_assert!(policy.at_least(minimum).tier_at(point) >= policy.tier_at(point));
        }

        #[test]
        fn scaling_never_raises_a_rate(policy in policies(), share in 0..=PPM, point in 0..PPM) {
            let scaled = policy.scaled(share);
            prop_assert!(scaled.whole_ppm <= policy.whole_ppm && scaled.first_frame_ppm <= policy.first_frame_ppm);
            prop_assert!(scaled.claim_ppm <= policy.claim_ppm);
            prop_assert!(scaled.tier_at(point) <= policy.tier_at(point));
        }
    }
}
