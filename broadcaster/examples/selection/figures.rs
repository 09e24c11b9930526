//! What is counted while a market runs.

use std::collections::HashMap;
use std::time::Duration;

use framemill_verification::Tier;

use crate::seller::{Honesty, Seller, Speed};

/// Ends of the windows in which shares of the work are told, in minutes of the market's time.
pub(crate) const WINDOWS_MIN: [u32; 6] = [1, 2, 5, 10, 20, u32::MAX];

/// Groups of honest orchestrators by what their weight says.
pub(crate) const GROUPS: usize = 5;

/// What became of one kind of orchestrators.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kind {
    pub(crate) sellers: usize,
    pub(crate) stake: f64,
    /// Bad segments that were published.
    pub(crate) bad: usize,
    /// Bad results that were seen.
    pub(crate) caught: usize,
    /// Sum of the prices that it was paid for nothing.
    pub(crate) taken: f64,
    /// Results delivered in each window.
    pub(crate) served: [usize; WINDOWS_MIN.len()],
}

/// Everything that is told of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) published: usize,
    pub(crate) lost: usize,
    pub(crate) bad: usize,
    pub(crate) failures: usize,
    pub(crate) hedges: usize,
    pub(crate) spare_won: usize,
    pub(crate) outpaced: usize,
    pub(crate) renewals: usize,
    pub(crate) quotes: usize,
    /// Sum of the prices of what was published, outpaced or found bad.
    pub(crate) paid: f64,
    pub(crate) paid_outpaced: f64,
    pub(crate) whole_looks: usize,
    /// The least price of an honest orchestrator whose time is steady.
    pub(crate) cheapest: f64,
    pub(crate) kinds: HashMap<Honesty, Kind>,
    /// Share of the weight and of the work, group by group, lowest weights first.
    pub(crate) groups: Vec<(f64, f64)>,
    delays: Vec<Duration>,
    work: HashMap<usize, usize>,
}

impl Figures {
    pub(crate) fn new(sellers: &[Seller]) -> Self {
        let steady = sellers.iter().filter(|seller| is_plain(seller));
        let cheapest = steady.map(|seller| seller.price).fold(f64::INFINITY, f64::min);
        let mut figures = Self { cheapest, ..Self::default() };
        for seller in sellers {
            let kind = figures.kinds.entry(seller.honesty).or_default();
            kind.sellers += 1;
            kind.stake += seller.stake;
        }
        figures
    }

    pub(crate) fn segments(&self) -> usize {
        self.published + self.lost
    }

    pub(crate) fn served(&mut self, seller: &Seller, now_s: f64) {
        let window = WINDOWS_MIN.iter().position(|end| now_s < f64::from(*end) * 60.0);
        self.kind(seller).served[window.unwrap_or(WINDOWS_MIN.len() - 1)] += 1;
        *self.work.entry(seller.number).or_default() += 1;
    }

    pub(crate) fn published(&mut self, seller: &Seller, bad: bool, delay: Duration) {
        self.published += 1;
        self.bad += usize::from(bad);
        self.kind(seller).bad += usize::from(bad);
        self.delays.push(delay);
    }

    pub(crate) fn caught(&mut self, seller: &Seller, price: f64) {
        let kind = self.kind(seller);
        kind.caught += 1;
        kind.taken += price;
    }

    /// Another was faster, and the source had arrived.
    pub(crate) fn paid_in_vain(&mut self, seller: &Seller, price: f64) {
        self.paid += price;
        self.paid_outpaced += price;
        self.kind(seller).taken += price;
    }

    pub(crate) fn looks(&mut self, tier: Tier) {
        self.whole_looks += usize::from(tier == Tier::Whole);
    }

    /// Holds the work of the plain honest against their weights.
    pub(crate) fn earned(&mut self, sellers: &[Seller], weights: &[f64]) {
        let plain = sellers.iter().zip(weights).filter(|(seller, _)| is_plain(seller));
        let mut plain: Vec<(f64, usize)> = plain
            .map(|(seller, weight)| (*weight, self.work.get(&seller.number).copied().unwrap_or(0)))
            .collect();
        plain.sort_by(|a, b| a.0.total_cmp(&b.0));
        let weight: f64 = plain.iter().map(|(weight, _)| weight).sum();
        let work: usize = plain.iter().map(|(_, work)| work).sum();
        let share = |group: &[(f64, usize)]| {
            let (w, n) = group.iter().fold((0.0, 0), |(w, n), (weight, work)| (w + weight, n + work));
            (w / weight, n as f64 / work.max(1) as f64)
        };
        self.groups = plain.chunks(plain.len().div_ceil(GROUPS).max(1)).map(share).collect();
        self.delays.sort_unstable();
    }

    /// Time from a segment's arrival to its publication that a share of them did not pass.
    pub(crate) fn delay(&self, share: f64) -> Duration {
        let place = (self.delays.len() as f64 * share) as usize;
        self.delays.get(place.min(self.delays.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Published segments that took longer than they play.
    pub(crate) fn slower_than(&self, limit: Duration) -> usize {
        self.delays.len() - self.delays.partition_point(|delay| *delay <= limit)
    }

    /// The share of a kind in all results of a window.
    pub(crate) fn share(&self, honesty: Honesty, window: usize) -> f64 {
        let all: usize = self.kinds.values().map(|kind| kind.served[window]).sum();
        self.kinds[&honesty].served[window] as f64 / all.max(1) as f64
    }

    /// What was paid over what the cheapest honest orchestrator would have asked.
    pub(crate) fn cost(&self) -> f64 {
        self.paid / (self.published as f64 * self.cheapest)
    }

    fn kind(&mut self, seller: &Seller) -> &mut Kind {
        self.kinds.entry(seller.honesty).or_default()
    }
}

/// Honest, and without bursts, outages and the like: its share should follow its weight.
fn is_plain(seller: &Seller) -> bool {
    seller.honesty == Honesty::Honest && matches!(seller.speed, Speed::Steady | Speed::Slow)
}
