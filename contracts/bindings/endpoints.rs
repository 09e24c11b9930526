//! Which of several endpoints to ask: reads stay with one until it fails or falls behind. No I/O.

use std::time::{Duration, Instant};

/// Blocks that an endpoint may be behind the best one: endpoints of one chain differ by a block or two all the time.
const MAX_LAG: u64 = 3;
/// How long an endpoint rests after its first failure in a row; doubles with each.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Longest rest: an endpoint that comes back is found again within a minute.
const LONGEST_REST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
struct Endpoint {
    /// Failures in a row.
    failures: u32,
    rests_until: Option<Instant>,
    /// The height that it last told.
    height: Option<u64>,
    /// It has told its chain's id and that is the right one.
    verified: bool,
    /// The id of the other chain that it is.
    foreign: Option<u64>,
}

impl Endpoint {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }
}

/// The endpoints by their place in the configuration.
#[derive(Debug)]
pub(crate) struct Endpoints {
    all: Vec<Endpoint>,
    current: usize,
}

impl Endpoints {
    pub(crate) fn new(count: usize) -> Self {
        Self { all: vec![Endpoint::default(); count], current: 0 }
    }

    /// The one to ask now; `None` when all of them are other chains.
    ///
    /// It is the last one asked while that is well, else the first of the configured order that is, else the one
    /// whose rest ends first: a caller with one endpoint is never turned away.
    pub(crate) fn pick(&mut self, now: Instant) -> Option<usize> {
        if !self.is_well(self.current, now) {
            let well = self.candidates().find(|index| self.is_well(*index, now));
            let next = well.or_else(|| self.candidates().min_by_key(|index| self.all[*index].rests_until))?;
            self.current = next;
        }
        Some(self.current)
    }

    /// Those that a transaction may be given to: all of the right chain, resting ones too.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.all.len()).filter(|index| self.all[*index].foreign.is_none())
    }

    /// Whether [`Endpoints::pick`] would find one that is neither resting nor behind.
    pub(crate) fn any_well(&self, now: Instant) -> bool {
        self.candidates().any(|index| self.is_well(index, now))
    }

    pub(crate) fn answered(&mut self, index: usize) {
        self.all[index].failures = 0;
        self.all[index].rests_until = None;
    }

    pub(crate) fn failed(&mut self, index: usize, now: Instant) {
        let endpoint = &mut self.all[index];
        let rest = FIRST_REST.saturating_mul(1 << endpoint.failures.min(16)).min(LONGEST_REST);
        endpoint.failures = endpoint.failures.saturating_add(1);
        endpoint.rests_until = Some(now + rest);
    }

    /// Takes note of the height that an endpoint told.
    pub(crate) fn told_height(&mut self, index: usize, height: u64) {
        self.all[index].height = Some(height);
    }

    pub(crate) fn is_verified(&self, index: usize) -> bool {
        self.all[index].verified
    }

    pub(crate) fn verify(&mut self, index: usize) {
        self.all[index].verified = true;
    }

    /// Never asks it again.
    pub(crate) fn exclude(&mut self, index: usize, chain: u64) {
        self.all[index].foreign = Some(chain);
    }

    /// The chain that an excluded endpoint is.
    pub(crate) fn foreign_chain(&self) -> Option<u64> {
        self.all.iter().find_map(|endpoint| endpoint.foreign)
    }

    fn is_well(&self, index: usize, now: Instant) -> bool {
        let endpoint = &self.all[index];
        endpoint.foreign.is_none() && !endpoint.rests(now) && !self.lags(endpoint, now)
    }

    /// What a resting endpoint once told does not count: it may have been another branch.
    fn lags(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let others = self.all.iter().filter(|other| other.foreign.is_none() && !other.rests(now));
        let best = others.filter_map(|other| other.height).max().unwrap_or_default();
        endpoint.height.is_some_and(|height| height.saturating_add(MAX_LAG) < best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn reads_stay_with_an_endpoint_until_it_fails_and_with_the_next_one_after_that() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(3);
        assert_eq!(endpoints.pick(start), Some(0));
        endpoints.failed(0, start);
        assert_eq!(endpoints.pick(start), Some(1));
        assert_eq!(endpoints.pick(after(start, 100)), Some(1));
    }

    #[test]
    fn an_endpoint_rests_longer_with_each_failure_and_never_longer_than_the_bound() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(1);
        let mut rests = Vec::new();
        for _ in 0..9 {
            endpoints.failed(0, start);
            rests.push(endpoints.all[0].rests_until.unwrap().duration_since(start).as_secs());
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        endpoints.answered(0);
        assert!(endpoints.any_well(start));
    }

    #[test]
    fn an_endpoint_that_falls_behind_is_left() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(2);
        endpoints.told_height(0, 100);
        endpoints.told_height(1, 100 + MAX_LAG);
        assert_eq!(endpoints.pick(start), Some(0));
        endpoints.told_height(1, 101 + MAX_LAG);
        assert_eq!(endpoints.pick(start), Some(1));
    }

    #[test]
    fn when_all_rest_the_one_that_wakes_first_is_asked() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(2);
        endpoints.failed(0, start);
        endpoints.failed(0, start);
        endpoints.failed(1, start);
        assert!(!endpoints.any_well(start));
        assert_eq!(endpoints.pick(start), Some(1));
    }

    #[test]
    fn another_chain_is_never_asked_again() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(2);
        endpoints.exclude(0, 5);
        assert_eq!(endpoints.pick(start), Some(1));
        assert_eq!(endpoints.candidates().collect::<Vec<_>>(), [1]);
        endpoints.exclude(1, 6);
        assert_eq!(endpoints.pick(start), None);
        assert_eq!(endpoints.foreign_chain(), Some(5));
    }
}
