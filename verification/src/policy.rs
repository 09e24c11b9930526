//! How deep to look, decided by a secret seed after the result is in.

use alloy_primitives::keccak256;

use crate::report::Tier;

/// One in a million: the unit of the sampling rates.
pub const PPM: u32 = 1_000_000;

/// Sampling rates of the picture checks. The structure is always checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Of a million results, how many have at least their first frame compared.
    pub first_frame_ppm: u32,
    /// Of a million results, how many have every frame compared.
    pub whole_ppm: u32,
}

impl Policy {
    /// Every frame of every result: about a third of the CPU that made the ladder (`make bench`).
    pub const FULL: Self = Self { first_frame_ppm: PPM, whole_ppm: PPM };

    /// The first frame of every result: about three hundredths of the ladder's CPU; sees no temporal cheat.
    pub const FIRST_FRAMES: Self = Self { first_frame_ppm: PPM, whole_ppm: 0 };

    /// The container and the headers only.
    pub const STRUCTURE_ONLY: Self = Self { first_frame_ppm: 0, whole_ppm: 0 };

    /// What an orchestrator with a long clean record may decay to: about 2 % of the ladder's CPU on average.
    pub const FLOOR: Self = Self { first_frame_ppm: 200_000, whole_ppm: 17_000 };

    /// The tier this seed draws. One seed per segment keeps the rungs of a ladder at the same tier, so that
    /// the source is decoded once or not at all.
    #[must_use]
    pub fn draw(&self, seed: &[u8; 32]) -> Tier {
        let hash = keccak256([b"framemill-tier".as_slice(), seed].concat());
        let mut word = [0; 16];
        word.copy_from_slice(&hash[..16]);
        // The bias of a 128-bit draw modulo a million is far below one in 2^100.
        let drawn = (u128::from_be_bytes(word) % u128::from(PPM)) as u32;
        if drawn < self.whole_ppm {
            Tier::Whole
        } else if drawn < self.first_frame_ppm.max(self.whole_ppm) {
            Tier::FirstFrame
        } else {
            Tier::Structure
        }
    }
}

impl Default for Policy {
    /// [`Policy::FULL`]: the attention that an identity without a record gets.
    fn default() -> Self {
        Self::FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(policy: Policy, tier: Tier) -> usize {
        (0u32..4000).filter(|i| policy.draw(&keccak256(i.to_be_bytes()).0) == tier).count()
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
}
