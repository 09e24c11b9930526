//! Draws that nobody can foresee and everybody can check afterwards.
//!
//! For each epoch of a stream there is one secret seed. Its commitment is written down before any result that it decides is
//! there; how deep a result is looked at follows from the seed and the result itself; and once the seed is revealed,
//! [`verify_draw`] tells whether a decision was the drawn one.

use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::report::Tier;

/// What a broadcaster derives all its seeds from; never leaves it.
#[derive(Clone, Copy)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Wraps 32 bytes of good randomness.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The seed of an epoch. Revealing it tells nothing about another one's.
    #[must_use]
    pub fn seed(&self, epoch: &Epoch) -> Seed {
        Seed(hash(
            b"framemill-sampling-seed",
            &[&self.0, epoch.stream.as_slice(), &epoch.number.to_be_bytes()],
        ))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What one seed decides: a run of a stream, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Identifies the run of the stream.
    pub stream: B256,
    /// Counts on with time.
    pub number: u64,
}

/// The secret of one epoch, until it is over.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(B256);

impl Seed {
    /// Wraps a revealed seed.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(B256::new(bytes))
    }

    /// What is written down before the epoch begins; binds to the epoch, so that a seed cannot be shown for another.
    #[must_use]
    pub fn commitment(&self, epoch: &Epoch) -> B256 {
        hash(
            b"framemill-sampling-commitment",
            &[self.0.as_slice(), epoch.stream.as_slice(), &epoch.number.to_be_bytes()],
        )
    }

    /// The seed of one result's own draw, for [`Policy::draw`] and [`verify`](crate::verify).
    #[must_use]
    pub fn for_result(&self, result: &DrawnResult) -> [u8; 32] {
        let DrawnResult { orchestrator, session, sequence, result } = result;
        let parts: [&[u8]; 5] = [
            self.0.as_slice(),
            orchestrator.as_slice(),
            session.as_slice(),
            &sequence.to_be_bytes(),
            result.as_slice(),
        ];
        hash(b"framemill-sampling-draw", &parts).0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Every part has a fixed length, so no two lists of parts read the same.
fn hash(tag: &[u8], parts: &[&[u8]]) -> B256 {
    keccak256([&[tag], parts].concat().concat())
}

/// The result that a draw is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawnResult {
    /// Account of the orchestrator.
    pub orchestrator: Address,
    /// The session it was delivered in.
    pub session: B256,
    /// Sequence of the segment.
    pub sequence: u64,
    /// The digest that the orchestrator signed in its receipt: binds every byte it delivered.
    pub result: B256,
}

/// A decision: with these rates, this result was to be looked at this deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The result.
    #[serde(flatten)]
    pub result: DrawnResult,
    /// The rates in force when it was drawn.
    pub rates: Policy,
    /// What came out.
    #[serde(with = "tier_number")]
    pub tier: Tier,
    /// Whether the committed features were to be compared with the renditions' own.
    #[serde(default)]
    pub claim_check: bool,
}

impl Draw {
    /// Draws for a result.
    #[must_use]
    pub fn new(seed: &Seed, result: DrawnResult, rates: Policy) -> Self {
        let seed = seed.for_result(&result);
        Self { result, rates, tier: rates.draw(&seed), claim_check: rates.draws_claim_check(&seed) }
    }
}

/// Tiers are numbers wherever they are written down, as in a report.
mod tier_number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::report::Tier;

    pub(super) fn serialize<S: Serializer>(tier: &Tier, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*tier as u8)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tier, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Tier::Structure),
            1 => Ok(Tier::FirstFrame),
            2 => Ok(Tier::Whole),
            other => Err(D::Error::custom(format!("tier is {other}, want 0, 1 or 2"))),
        }
    }
}

/// Why a decision is not the drawn one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// The seed is not the one committed to.
    #[error("seed opens commitment {found}, want {expected}; take the seed of this very epoch")]
    Seed {
        /// What the seed's commitment is.
        found: B256,
        /// What was committed to.
        expected: B256,
    },
    /// The draw comes out otherwise.
    #[error(
        "result {result} was looked at to tier {found}, the draw says {expected}; the log was altered or the rates differ"
    )]
    Tier {
        /// The result's digest.
        result: B256,
        /// The tier claimed.
        found: u8,
        /// The tier drawn.
        expected: u8,
    },
    /// The draw of a claim check comes out otherwise.
    #[error(
        "result {result} had its claims checked: {found}, the draw says {expected}; the log was altered or the rates differ"
    )]
    ClaimCheck {
        /// The result's digest.
        result: B256,
        /// What was claimed.
        found: bool,
        /// What was drawn.
        expected: bool,
    },
    /// Another seed decided than the one that the orchestrator was told the commitment of.
    #[error(
        "result {result} was delivered under commitment {told} and drawn under {drawn}; the draw proves nothing to who was told"
    )]
    Told {
        /// The result's digest.
        result: B256,
        /// The commitment that came with the segment.
        told: B256,
        /// The commitment of the epoch that drew.
        drawn: B256,
    },
}

/// Checks a past decision against the commitment made before it and the seed revealed after it.
///
/// # Errors
/// When the seed does not open the commitment, or draws another tier.
pub fn verify_draw(epoch: &Epoch, commitment: B256, seed: &Seed, draw: &Draw) -> Result<(), DrawError> {
    let found = seed.commitment(epoch);
    if found != commitment {
        return Err(DrawError::Seed { found, expected: commitment });
    }
    let (result, expected) = (draw.result.result, Draw::new(seed, draw.result, draw.rates));
    if expected.tier != draw.tier {
        return Err(DrawError::Tier { result, found: draw.tier as u8, expected: expected.tier as u8 });
    }
    if expected.claim_check != draw.claim_check {
        let (found, expected) = (draw.claim_check, expected.claim_check);
        return Err(DrawError::ClaimCheck { result, found, expected });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::PPM;

    fn epoch() -> Epoch {
        Epoch { stream: B256::repeat_byte(3), number: 7 }
    }

    fn seed() -> Seed {
        Secret::from_bytes([9; 32]).seed(&epoch())
    }

    fn result(sequence: u64) -> DrawnResult {
        let result = keccak256(sequence.to_be_bytes());
        DrawnResult { orchestrator: Address::repeat_byte(1), session: B256::repeat_byte(2), sequence, result }
    }

    #[test]
    fn a_past_draw_is_proven_by_seed_and_commitment() {
        let draw = Draw::new(&seed(), result(1), Policy::FLOOR);
        assert_eq!(verify_draw(&epoch(), seed().commitment(&epoch()), &seed(), &draw), Ok(()));
    }

    #[test]
    fn another_seed_does_not_open_the_commitment() {
        let draw = Draw::new(&seed(), result(1), Policy::FLOOR);
        let other = Seed::from_bytes([1; 32]);
        let error = verify_draw(&epoch(), seed().commitment(&epoch()), &other, &draw).unwrap_err();
        assert!(matches!(error, DrawError::Seed { .. }), "{error}");
    }

    #[test]
    fn a_seed_does_not_open_the_commitment_of_another_epoch() {
        let draw = Draw::new(&seed(), result(1), Policy::FLOOR);
        let later = Epoch { number: 8, ..epoch() };
        let error = verify_draw(&later, seed().commitment(&epoch()), &seed(), &draw).unwrap_err();
        assert!(matches!(error, DrawError::Seed { .. }), "{error}");
    }

    #[test]
    fn a_decision_that_was_not_drawn_is_found() {
        let mut draw = Draw::new(&seed(), result(1), Policy::FULL);
        draw.tier = Tier::Structure;
        let error = verify_draw(&epoch(), seed().commitment(&epoch()), &seed(), &draw).unwrap_err();
        assert!(matches!(error, DrawError::Tier { found: 0, expected: 2, .. }), "{error}");
    }

    #[test]
    fn a_claim_check_that_was_not_drawn_is_found() {
        let mut draw = Draw::new(&seed(), result(1), Policy::FULL);
        draw.claim_check = false;
        let error = verify_draw(&epoch(), seed().commitment(&epoch()), &seed(), &draw).unwrap_err();
        assert!(matches!(error, DrawError::ClaimCheck { found: false, expected: true, .. }), "{error}");
    }

    #[test]
    fn a_draw_without_claim_checks_is_read_as_one_that_drew_none() {
        let rates = Policy { claim_ppm: 0, ..Policy::FLOOR };
        let mut text = serde_json::to_value(Draw::new(&seed(), result(1), rates)).unwrap();
        text.as_object_mut().unwrap().remove("claim_check");
        text["rates"].as_object_mut().unwrap().remove("claim_ppm");
        let read: Draw = serde_json::from_value(text).unwrap();
        assert_eq!(verify_draw(&epoch(), seed().commitment(&epoch()), &seed(), &read), Ok(()));
    }

    #[test]
    fn seeds_of_streams_and_epochs_differ() {
        let secret = Secret::from_bytes([9; 32]);
        let later = Epoch { number: 8, ..epoch() };
        let other = Epoch { stream: B256::repeat_byte(4), ..epoch() };
        assert_ne!(secret.seed(&epoch()), secret.seed(&later));
        assert_ne!(secret.seed(&epoch()), secret.seed(&other));
    }

    #[test]
    fn a_seed_is_not_shown_by_accident() {
        assert_eq!(format!("{:?} {:?}", Secret::from_bytes([9; 32]), seed()), "Secret(..) Seed(..)");
    }

    #[test]
    fn every_part_of_a_result_changes_its_draw() {
        let base = result(1);
        let others = [
            DrawnResult { orchestrator: Address::ZERO, ..base },
            DrawnResult { session: B256::ZERO, ..base },
            DrawnResult { sequence: 2, ..base },
            DrawnResult { result: B256::ZERO, ..base },
        ];
        for other in others {
            assert_ne!(seed().for_result(&base), seed().for_result(&other), "{other:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn draws_follow_the_rates(first in 0..=PPM, whole in 0..=PPM, secret in any::<[u8; 32]>()) {
            const DRAWS: u64 = 4_000;
            let seed = Secret::from_bytes(secret).seed(&epoch());
            let rates = Policy { first_frame_ppm: first, whole_ppm: whole, ..Policy::STRUCTURE_ONLY };
            let tiers: Vec<_> = (0..DRAWS).map(|i| Draw::new(&seed, result(i), rates).tier).collect();
            let share = |deep: Tier| tiers.iter().filter(|tier| **tier >= deep).count() as i64;
            // Five standard deviations of an even coin, the widest there is, are 158.
            let near = |count: i64, rate: u32| (count - i64::from(rate) * DRAWS as i64 / i64::from(PPM)).abs() <= 160;
            prop_assert!(near(share(Tier::Whole), whole), "{} of {}", share(Tier::Whole), whole);
            prop_assert!(near(share(Tier::FirstFrame), first.max(whole)));
        }

        #[test]
        fn a_written_draw_is_read_back_and_proven(sequence: u64, first in 0..=PPM, whole in 0..=PPM) {
            let rates = Policy { first_frame_ppm: first, whole_ppm: whole, claim_ppm: first };
            let draw = Draw::new(&seed(), result(sequence), rates);
            let text = serde_json::to_string(&draw).unwrap();
            let read: Draw = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(verify_draw(&epoch(), seed().commitment(&epoch()), &seed(), &read), Ok(()));
        }
    }
}
