//! The record of commitments, draws and revealed seeds, and its audit.
//!
//! One JSON object a line. The broadcaster writes what it decides as it goes, an orchestrator what it was told; anybody can
//! read both back and [`audit`] them together.

mod file;

use std::collections::HashMap;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::policy::draw::{Draw, DrawError, Epoch, Seed, verify_draw};

pub use file::JournalFile;

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
    /// Written by an orchestrator: the commitment that came with a segment, and what it signed for it.
    Told {
        /// The commitment, told before the result was there.
        commitment: B256,
        /// The session.
        session: B256,
        /// Sequence of the segment.
        sequence: u64,
        /// The digest that was signed in the receipt.
        result: B256,
        /// When the receipt was signed, in milliseconds since 1970.
        at_ms: u64,
    },
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Draws that are proven.
    pub proven: u64,
    /// Draws whose epoch is not revealed, or whose commitment is not in this part of the record.
    pub open: u64,
    /// Results that an orchestrator was told a commitment for, and that were drawn under this very one.
    pub told: u64,
    /// Results that an orchestrator was told a commitment for and of which these records show no draw: failed before it, lost on
    /// the way, or kept back.
    pub undrawn: u64,
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
    let mut told: HashMap<B256, B256> = HashMap::new();
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
            Entry::Told { commitment, result, .. } => {
                told.entry(result).or_insert(commitment);
            }
        }
    }
    let mut found = Audit::default();
    for (epoch, known) in &epochs {
        found.add(epoch, known);
        found.compare(known, &mut told);
    }
    found.undrawn = told.len() as u64;
    found
}

impl Audit {
    /// Takes the results that this epoch drew out of those an orchestrator was told of.
    fn compare(&mut self, known: &Known, told: &mut HashMap<B256, B256>) {
        let Some(drawn) = known.commitment else { return };
        for draw in &known.draws {
            let result = draw.result.result;
            match told.remove(&result) {
                Some(told) if told == drawn => self.told += 1,
                Some(told) => self.faults.push(DrawError::Told { result, told, drawn }),
                None => {}
            }
        }
    }

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
                result: B256::left_padding_from(&sequence.to_be_bytes()),
            };
            Entry::Draw { epoch, draw: Draw::new(&seed, result, Policy::FLOOR), share_ppm: 1_000_000 }
        };
        let mut entries = vec![commit];
        entries.extend((0..draws).map(draw));
        entries.push(Entry::Reveal { epoch, seed });
        entries
    }

    /// What an orchestrator notes of the results that a record drew, beginning with the first.
    fn notes(record: &[Entry], count: usize) -> Vec<Entry> {
        let Entry::Commit { commitment, .. } = record[0] else {
            panic!("a record begins with its commitment")
        };
        let told = |entry: &Entry| match entry {
            Entry::Draw { draw, .. } => {
                let DrawnResult { session, sequence, result, .. } = draw.result;
                Some(Entry::Told { commitment, session, sequence, result, at_ms: 5 })
            }
            _ => None,
        };
        record.iter().filter_map(told).take(count).collect()
    }

    #[test]
    fn what_an_orchestrator_was_told_meets_what_was_drawn() {
        let record = record(50);
        let notes = notes(&record, 30);
        assert_eq!(audit([record, notes].concat()), Audit { proven: 50, told: 30, ..Audit::default() });
    }

    #[test]
    fn a_result_that_was_drawn_under_another_commitment_than_was_told_is_a_fault() {
        let record = record(5);
        let mut notes = notes(&record, 2);
        if let Entry::Told { commitment, .. } = &mut notes[1] {
            *commitment = B256::repeat_byte(9);
        }
        let found = audit([record, notes].concat());
        assert_eq!((found.proven, found.told, found.undrawn), (5, 1, 0));
        assert!(matches!(found.faults[..], [DrawError::Told { .. }]), "{:?}", found.faults);
    }

    #[test]
    fn results_that_a_record_keeps_back_are_counted() {
        let mut record = record(5);
        let notes = notes(&record, 5);
        record.drain(2..4);
        let found = audit([record, notes].concat());
        assert_eq!((found.proven, found.told, found.undrawn), (3, 3, 2));
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
