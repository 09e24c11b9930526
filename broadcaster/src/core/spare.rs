//! The warm spare of a stream: who is ready with a connection, a session and a quote when another fails or is late.

use std::time::{Duration, Instant};

/// A spare that was not heard of for this long is asked for a fresh quote: that keeps the connection open and the session alive,
/// and shows that it still answers. One round trip a minute for each stream.
const FRESH: Duration = Duration::from_secs(60);

/// Time over its duration that a spare's segment may take: who is slower saves nothing.
const REAL_TIME: f64 = 1.0;

/// How a candidate is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitness {
    /// In good standing.
    pub good: bool,
    /// The time over its duration that 95 of 100 segments do not pass.
    pub tail: f64,
}

impl Fitness {
    fn is_fit(&self) -> bool {
        self.good && self.tail <= REAL_TIME
    }
}

/// Who is kept ready.
#[derive(Debug, Clone)]
pub struct Spare<K> {
    held: Option<K>,
    heard: Instant,
}

impl<K: Clone + PartialEq> Spare<K> {
    /// Nobody yet.
    pub fn new(now: Instant) -> Self {
        Self { held: None, heard: now }
    }

    /// The spare.
    pub fn held(&self) -> Option<&K> {
        self.held.as_ref()
    }

    /// Sees to it that somebody fit, other than `first`, is held: keeps the one there is, or takes the one that `choose`
    /// draws of the indices given. `candidates` are those with a session.
    pub fn settle(
        &mut self,
        now: Instant,
        first: Option<&K>,
        candidates: &[(K, Fitness)],
        choose: impl FnOnce(&[usize]) -> usize,
    ) {
        let others = |index: &usize| Some(&candidates[*index].0) != first;
        let open: Vec<usize> = (0..candidates.len()).filter(others).collect();
        let fit: Vec<usize> = open.iter().copied().filter(|&index| candidates[index].1.is_fit()).collect();
        let good: Vec<usize> = open.into_iter().filter(|&index| candidates[index].1.good).collect();
        let held =
            |among: &[usize]| among.iter().any(|&index| Some(&candidates[index].0) == self.held.as_ref());
        // A slow one is better than none, and no better than another slow one.
        if held(&fit) || (fit.is_empty() && held(&good)) {
            return;
        }
        let among = if fit.is_empty() { good } else { fit };
        self.held = (!among.is_empty()).then(|| candidates[choose(&among)].0.clone());
        self.heard = now;
    }

    /// Notes that the spare was used or has quoted.
    pub fn heard(&mut self, who: &K, now: Instant) {
        if self.held.as_ref() == Some(who) {
            self.heard = now;
        }
    }

    /// The spare, when it should be asked for a fresh quote now; asking counts, whatever comes of it.
    pub fn due(&mut self, now: Instant) -> Option<K> {
        if now.saturating_duration_since(self.heard) < FRESH {
            return None;
        }
        self.heard = now;
        self.held.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: Fitness = Fitness { good: true, tail: 0.5 };
    const SLOW: Fitness = Fitness { tail: 2.0, ..FIT };
    const BAD: Fitness = Fitness { good: false, ..FIT };

    fn spare() -> (Spare<u8>, Instant) {
        let now = Instant::now();
        let mut spare = Spare::new(now);
        spare.settle(now, Some(&1), &[(1, FIT), (2, FIT), (3, FIT)], |among| among[0]);
        assert_eq!(spare.held(), Some(&2));
        (spare, now)
    }

    #[test]
    fn it_stays_while_it_is_fit() {
        let (mut spare, now) = spare();
        spare.settle(now, Some(&1), &[(1, FIT), (2, FIT), (3, FIT)], |among| among[1]);
        assert_eq!(spare.held(), Some(&2));
    }

    #[test]
    fn one_that_turned_bad_slow_or_away_is_replaced() {
        for second in [Some(BAD), Some(SLOW), None] {
            let (mut spare, now) = spare();
            let candidates: Vec<_> = [(1, Some(FIT)), (2, second), (3, Some(FIT))]
                .into_iter()
                .filter_map(|(who, fit)| Some((who, fit?)))
                .collect();
            spare.settle(now, Some(&1), &candidates, |among| among[0]);
            assert_eq!(spare.held(), Some(&3), "{second:?}");
        }
    }

    #[test]
    fn it_is_another_than_the_first_choice() {
        let (mut spare, now) = spare();
        spare.settle(now, Some(&2), &[(1, FIT), (2, FIT)], |among| among[0]);
        assert_eq!(spare.held(), Some(&1));
        spare.settle(now, Some(&2), &[(2, FIT)], |among| among[0]);
        assert_eq!(spare.held(), None);
    }

    #[test]
    fn a_slow_one_is_better_than_none() {
        let (mut spare, now) = spare();
        spare.settle(now, Some(&1), &[(1, FIT), (2, SLOW), (3, BAD)], |_| panic!("there is one already"));
        assert_eq!(spare.held(), Some(&2));
    }

    #[test]
    fn it_is_asked_again_once_a_minute_while_it_is_not_used() {
        let (mut spare, now) = spare();
        assert_eq!(spare.due(now + FRESH / 2), None);
        assert_eq!(spare.due(now + FRESH), Some(2));
        assert_eq!(spare.due(now + FRESH + FRESH / 2), None);
        spare.heard(&2, now + FRESH * 2);
        assert_eq!(spare.due(now + FRESH * 2 + FRESH / 2), None);
    }
}
