//! What a test has come to, so that it can be held to it.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use crate::model::{Op, Outcome};

/// How often each kind of step was taken, or refused by which error.
#[derive(Default)]
pub(crate) struct Tally(RefCell<BTreeMap<(String, String), u32>>);

impl Tally {
    pub(crate) fn note(&self, op: &Op, outcome: Outcome) {
        let text = format!("{op:?}");
        let kind = text.split_whitespace().next().unwrap_or_default();
        self.count(kind, outcome.err().unwrap_or("done"));
    }

    pub(crate) fn count(&self, kind: &str, outcome: &str) {
        *self.0.borrow_mut().entry((kind.to_owned(), outcome.to_owned())).or_default() += 1;
    }

    /// Fails where one of these kinds of step never ended so.
    pub(crate) fn require(&self, reached: &[(&str, &str)]) {
        for (kind, outcome) in reached {
            let found = self.0.borrow().contains_key(&((*kind).to_owned(), (*outcome).to_owned()));
            assert!(found, "{kind} never ended with {outcome}: {self}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, outcome), count) in &*self.0.borrow() {
            write!(f, "{kind} {outcome} {count}; ")?;
        }
        Ok(())
    }
}
