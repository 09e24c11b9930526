//! The record of commitments, draws and revealed seeds, and its audit.
//!
//! One JSON object a line. Written by the broadcaster as it goes; anybody can read it back and [`audit`] it.

use std::collections::HashMap;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::policy::draw::{Draw, DrawError, Epoch, Seed, verify_draw};

/// One line of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// Written before the first result that the seed decides is asked for.
    Commit {
        /// What the seed decides.
        #[serde(flatten)]
        epoch: Epoch,
        /// Its commitment.
        commitment: B256,
        /// Rates that no orchestrator falls below in this epoch, overload aside.
        minimum: Policy,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// A decision. Load lowers what lies beyond the minimum first, to `share_ppm` millionths, and the minimum only after that.
    Draw {
        /// The epoch whose seed decided.
        #[serde(flatten)]
        epoch: Epoch,
        /// Result, rates and outcome.
        #[serde(flatten)]
        draw: Draw,
        /// What the load left of attention beyond the minimum, in millionths.
        share_ppm: u32,
    },
    /// The epoch is over and its seed no longer secret.
    Reveal {
        /// The epoch.
        #[serde(flatten)]
        epoch: Epoch,
        /// Its seed.
        seed: Seed,
    },
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Draws that are proven.
    pub proven: u64,
    /// Draws whose epoch is not revealed, or whose commitment is not in this part of the record.
    pub open: u64,
    /// Draws that are not what their seed says, and seeds that open no commitment.
    pub faults: Vec<DrawError>,
}

/// What the audit knows of one epoch.
#[derive(Default)]
struct Known {
    commitment: Option<B256>,
    /// Draws written after the commitment; others cannot be proven by it.
    draws: Vec<Draw>,
    early: u64,
    seed: Option<Seed>,
}

/// Checks every draw of a record that has a commitment before it and a revealed seed after it.
pub fn audit(entries: impl IntoIterator<Item = Entry>) -> Audit {
    let mut epochs: HashMap<Epoch, Known> = HashMap::new();
    for entry in entries {
        match entry {
            // The first one stands: a later one could have been made to fit.
            Entry::Commit { epoch, commitment, .. } => {
                epochs.entry(epoch).or_default().commitment.get_or_insert(commitment);
            }
            Entry::Draw { epoch, draw, .. } => {
                let known = epochs.entry(epoch).or_default();
                match known.commitment {
                    Some(_) => known.draws.push(draw),
                    None => known.early += 1,
                }
            }
            Entry::Reveal { epoch, seed } => epochs.entry(epoch).or_default().seed = Some(seed),
        }
    }
    let mut found = Audit::default();
    for (epoch, known) in &epochs {
        found.add(epoch, known);
    }
    found
}

impl Audit {
    fn add(&mut self, epoch: &Epoch, known: &Known) {
        self.open += known.early;
        let (Some(commitment), Some(seed)) = (known.commitment, known.seed) else {
            self.open += known.draws.len() as u64;
            return;
        };
        for draw in &known.draws {
            match verify_draw(epoch, commitment, &seed, draw) {
                Ok(()) => self.proven += 1,
                Err(fault) => self.faults.push(fault),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;
    use crate::policy::draw::{DrawnResult, Secret};
    use crate::report::Tier;

    fn record(draws: u64) -> Vec<Entry> {
        let epoch = Epoch { stream: B256::repeat_byte(1), number: 2 };
        let seed = Secret::from_bytes([3; 32]).seed(&epoch);
        let commit =
            Entry::Commit { epoch, commitment: seed.commitment(&epoch), minimum: Policy::FLOOR, at_ms: 4 };
        let draw = |sequence| {
            let result = DrawnResult {
                orchestrator: Address::ZERO,
                session: B256::ZERO,
                sequence,
                result: B256::repeat_byte(5),
            };
            Entry::Draw { epoch, draw: Draw::new(&seed, result, Policy::FLOOR), share_ppm: 1_000_000 }
        };
        let mut entries = vec![commit];
        entries.extend((0..draws).map(draw));
        entries.push(Entry::Reveal { epoch, seed });
        entries
    }

    #[test]
    fn every_draw_of_a_whole_record_is_proven() {
        assert_eq!(audit(record(50)), Audit { proven: 50, ..Audit::default() });
    }

    #[test]
    fn a_record_is_read_back_from_its_lines() {
        let lines: Vec<_> = record(3).iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
        let read: Vec<Entry> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, record(3));
    }

    #[test]
    fn draws_of_an_epoch_that_is_not_over_stay_open() {
        let mut entries = record(5);
        entries.pop();
        assert_eq!(audit(entries), Audit { open: 5, ..Audit::default() });
    }

    #[test]
    fn a_commitment_after_the_draws_proves_nothing() {
        let mut entries = record(5);
        let commit = entries.remove(0);
        entries.push(commit);
        assert_eq!(audit(entries), Audit { open: 5, ..Audit::default() });
    }

    #[test]
    fn a_changed_decision_is_a_fault() {
        let mut entries = record(5);
        if let Entry::Draw { draw, .. } = &mut entries[1] {
            draw.tier = if draw.tier == Tier::Whole { Tier::Structure } else { Tier::Whole };
        }
        let found = audit(entries);
        assert_eq!((found.proven, found.faults.len()), (4, 1));
    }

    #[test]
    fn a_seed_made_up_afterwards_proves_nothing() {
        let mut entries = record(5);
        if let Some(Entry::Reveal { seed, .. }) = entries.last_mut() {
            *seed = Seed::from_bytes([8; 32]);
        }
        let found = audit(entries);
        assert_eq!((found.proven, found.faults.len()), (0, 5));
    }
}
