//! How long an orchestrator takes for a second of video: a small sketch of quantiles.

use serde::{Deserialize, Serialize};

/// Lower edge of the first bucket, in seconds per second of video: nobody is faster than a sixty-fourth of real time.
const LEAST: f64 = 1.0 / 64.0;

/// Buckets for each doubling: a quantile is wrong by a fifth at most.
const PER_OCTAVE: f64 = 4.0;

/// Twelve doublings: from a sixty-fourth of real time to sixty-four times it. What is beyond counts in the last bucket.
const BUCKETS: usize = 48;

/// When this many are counted all counts are halved, so that the last hundred or so decide.
const MEMORY: f32 = 128.0;

/// Counts of times in buckets that grow by a fixed factor; old ones fade.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(u8, f32)>", into = "Vec<(u8, f32)>")]
pub struct Pace {
    counts: [f32; BUCKETS],
}

impl Default for Pace {
    fn default() -> Self {
        Self { counts: [0.0; BUCKETS] }
    }
}

impl Pace {
    /// Counts one time, in seconds per second of video.
    pub fn note(&mut self, slowness: f64) {
        if self.counted() >= f64::from(MEMORY) {
            self.counts.iter_mut().for_each(|count| *count /= 2.0);
        }
        self.counts[bucket(slowness)] += 1.0;
    }

    /// Takes in the times of another, as if both had been one.
    pub fn absorb(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        let beyond = self.counted() as f32 / MEMORY;
        if beyond > 1.0 {
            self.counts.iter_mut().for_each(|count| *count /= beyond);
        }
    }

    /// How many times count: all of the first hundred, then at least the newest sixty-four.
    pub fn counted(&self) -> f64 {
        self.counts.iter().map(|count| f64::from(*count)).sum()
    }

    /// The time that a share of them, 0 to 1, does not pass; `None` where nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let counted = self.counted();
        let mut left = counted * share.clamp(0.0, 1.0);
        let mut last = None;
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            let count = f64::from(*count);
            if left <= count {
                return Some(edge(index as f64 + left / count));
            }
            left -= count;
            last = Some(edge(index as f64 + 1.0));
        }
        last
    }
}

fn bucket(slowness: f64) -> usize {
    let place = (slowness / LEAST).log2() * PER_OCTAVE;
    // Of what is no number or below the first edge the maximum is zero; a cast saturates.
    (place.max(0.0) as usize).min(BUCKETS - 1)
}

fn edge(place: f64) -> f64 {
    LEAST * 2.0_f64.powf(place / PER_OCTAVE)
}

impl From<Pace> for Vec<(u8, f32)> {
    fn from(pace: Pace) -> Self {
        (0..).zip(pace.counts).filter(|(_, count)| *count > 0.0).collect()
    }
}

impl From<Vec<(u8, f32)>> for Pace {
    /// What does not fit is left out: the file it comes from may be anybody's.
    fn from(listed: Vec<(u8, f32)>) -> Self {
        let mut pace = Self::default();
        for (index, count) in listed {
            if let Some(slot) = pace.counts.get_mut(usize::from(index)).filter(|_| count.is_finite()) {
                *slot = count.clamp(0.0, MEMORY);
            }
        }
        pace
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket_of_the_exact_ones() {
        let mut pace = Pace::default();
        for index in 1..=100 {
            pace.note(f64::from(index) / 100.0);
        }
        for (share, exact) in [(0.5, 0.5), (0.95, 0.95)] {
            let found = pace.quantile(share).unwrap();
            assert!((exact / 1.2..=exact * 1.2).contains(&found), "{share}: {found}");
        }
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(Pace::default().quantile(0.95), None);
    }

    #[test]
    fn an_orchestrator_that_turned_slow_is_soon_seen_as_slow() {
        let mut pace = Pace::default();
        (0..10_000).for_each(|_| pace.note(0.2));
        (0..130).for_each(|_| pace.note(2.0));
        assert!(pace.quantile(0.5).unwrap() > 1.5, "{pace:?}");
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let mut pace = Pace::default();
        [0.1, 0.1, 3.0].into_iter().for_each(|slowness| pace.note(slowness));
        let text = serde_json::to_string(&pace).unwrap();
        assert_eq!(serde_json::from_str::<Pace>(&text).unwrap(), pace);
        let odd: Pace = serde_json::from_str("[[200, 3.0], [1, -5.0], [2, 1e30]]").unwrap();
        assert_eq!(odd.counted(), f64::from(MEMORY));
    }

    proptest! {
        #[test]
        fn any_times_give_ordered_quantiles(times in prop::collection::vec(any::<f64>(), 1..300)) {
            let mut pace = Pace::default();
            times.iter().for_each(|slowness| pace.note(*slowness));
            let at = |share| pace.quantile(share).unwrap();
            prop_assert!(at(0.0) <= at(0.5) && at(0.5) <= at(0.95) && at(0.95) <= at(1.0));
            prop_assert!(at(1.0) <= 64.1 && at(0.0) >= LEAST);
            prop_assert!(pace.counted() <= f64::from(MEMORY) + 1.0);
        }
    }
}
