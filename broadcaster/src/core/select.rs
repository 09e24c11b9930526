//! Chooses who gets the next segment: a random draw, weighted by stake, performance, latency and price.
//!
//! A draw instead of "the best one" spreads work roughly by stake x performance, keeps measuring everybody,
//! and leaves no single orchestrator that a stream depends on.

use rand::{Rng, RngExt};

use super::scoreboard::Performance;

/// Share of draws given to orchestrators about which too little is known.
const EXPLORATION: f64 = 0.15;

/// An orchestrator without stake (a static peer) weighs as much as one with this share of the largest stake.
const MIN_STAKE_SHARE: f64 = 0.01;

/// Nobody's weight falls to nothing: a recovered orchestrator must be able to show it.
const MIN_WEIGHT: f64 = 1e-6;

/// What a draw knows of one orchestrator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merit {
    /// Stake in any unit, the same for all; 0 where none is known.
    pub stake: f64,
    /// Price per pixel in any unit, the same for all; 0 is free.
    pub price: f64,
    /// Share of that price that is likely to be paid, 0 to 1, where the price follows the quality.
    pub share: f64,
    /// How it did so far.
    pub performance: Performance,
}

impl Merit {
    fn likely_price(&self) -> f64 {
        finite(self.price) * finite(self.share)
    }
}

/// How much each merit counts, as exponents: 0 ignores it, 1 is proportional.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelectionPolicy {
    /// Exponent of the stake.
    pub stake: f64,
    /// Exponent of cheapest price over price.
    pub price: f64,
    /// Exponent of the success share; steep, because a failed attempt costs half a deadline.
    pub success: f64,
    /// Exponent of speed.
    pub speed: f64,
    /// Exponent of what audited renditions were worth: what the price would have to be divided by.
    pub worth: f64,
}

impl Default for SelectionPolicy {
    fn default() -> Self {
        Self { stake: 1.0, price: 1.0, success: 3.0, speed: 1.0, worth: 1.0 }
    }
}

impl SelectionPolicy {
    /// The weight of each merit in a draw among all of them; never negative, zero or NaN.
    pub fn weights(&self, merits: &[Merit]) -> Vec<f64> {
        let largest = merits.iter().map(|m| finite(m.stake)).fold(0.0, f64::max);
        let cheapest =
            merits.iter().map(Merit::likely_price).filter(|price| *price > 0.0).fold(f64::INFINITY, f64::min);
        merits
            .iter()
            .map(|merit| {
                let stake =
                    if largest > 0.0 { (finite(merit.stake) / largest).max(MIN_STAKE_SHARE) } else { 1.0 };
                let price = merit.likely_price();
                let thrift = if price > 0.0 { cheapest / price } else { 1.0 };
                let speed = 1.0 / (0.1 + finite(merit.performance.slowness));
                let weight = stake.powf(self.stake)
                    * thrift.powf(self.price)
                    * finite(merit.performance.success).powf(self.success)
                    * speed.powf(self.speed)
                    * finite(merit.performance.worth).powf(self.worth);
                finite(weight).max(MIN_WEIGHT)
            })
            .collect()
    }

    /// Draws the index of one merit; `None` where there are none.
    pub fn choose(&self, merits: &[Merit], rng: &mut impl Rng) -> Option<usize> {
        let unknown: Vec<usize> =
            (0..merits.len()).filter(|&index| merits[index].performance.is_unknown()).collect();
        if !unknown.is_empty() && rng.random::<f64>() < EXPLORATION {
            return Some(unknown[rng.random_range(0..unknown.len())]);
        }
        draw(&self.weights(merits), rng)
    }
}

fn draw(weights: &[f64], rng: &mut impl Rng) -> Option<usize> {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return Some(index);
        }
    }
    weights.len().checked_sub(1)
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::scoreboard::{Scoreboard, Severity, Standing, SuspensionPolicy};
    use super::*;

    const KNOWN: Performance =
        Performance { delivered: 100, failed: 0, success: 1.0, slowness: 0.5, worth: 1.0 };

    fn share(merits: &[Merit], index: usize) -> f64 {
        let mut rng = StdRng::seed_from_u64(11);
        let policy = SelectionPolicy::default();
        let hits = (0..20_000).filter(|_| policy.choose(merits, &mut rng) == Some(index)).count();
        hits as f64 / 20_000.0
    }

    #[test]
    fn a_price_that_pays_less_for_less_and_work_of_worth_get_more_work() {
        let plain = Merit { stake: 1.0, price: 2.0, share: 1.0, performance: KNOWN };
        assert!((share(&[plain, Merit { share: 0.5, ..plain }], 1) - 2.0 / 3.0).abs() < 0.02);
        let lazy = Merit { performance: Performance { worth: 0.5, ..KNOWN }, ..plain };
        assert!((share(&[plain, lazy], 1) - 1.0 / 3.0).abs() < 0.02);
        // Where the work is free, too.
        let [plain, lazy] = [plain, lazy].map(|merit| Merit { price: 0.0, ..merit });
        assert!((share(&[plain, lazy], 1) - 1.0 / 3.0).abs() < 0.02);
    }

    #[test]
    fn work_is_shared_by_stake() {
        let merits = [
            Merit { stake: 300.0, price: 1.0, share: 1.0, performance: KNOWN },
            Merit { stake: 100.0, price: 1.0, share: 1.0, performance: KNOWN },
        ];
        assert!((share(&merits, 0) - 0.75).abs() < 0.02);
    }

    #[test]
    fn a_newcomer_with_little_stake_gets_tried() {
        let merits = [
            Merit { stake: 1e6, price: 1.0, share: 1.0, performance: KNOWN },
            Merit { stake: 1.0, price: 1.0, share: 1.0, performance: Performance::default() },
        ];
        assert!(share(&merits, 1) > 0.1);
    }

    #[test]
    fn the_cheaper_of_two_equals_gets_more() {
        let merits = [
            Merit { stake: 1.0, price: 1.0, share: 1.0, performance: KNOWN },
            Merit { stake: 1.0, price: 3.0, share: 1.0, performance: KNOWN },
        ];
        assert!((share(&merits, 0) - 0.75).abs() < 0.02);
    }

    #[test]
    fn peers_without_stake_share_evenly() {
        let merits = [Merit { stake: 0.0, price: 0.0, share: 1.0, performance: KNOWN }; 4];
        assert!((share(&merits, 2) - 0.25).abs() < 0.02);
    }

    #[test]
    fn nobody_to_choose_from_is_none() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(SelectionPolicy::default().choose(&[], &mut rng), None);
    }

    /// Ten orchestrators: two always fail, one always cheats, the others deliver at their own speed.
    #[test]
    fn a_simulated_hour_goes_to_those_who_deliver() {
        let mut rng = StdRng::seed_from_u64(2_026);
        let policy = SelectionPolicy::default();
        let mut board = Scoreboard::new(SuspensionPolicy::default());
        let mut now = Instant::now();
        let duration = Duration::from_secs(2);
        let mut wasted = 0;
        let mut served = [0_u32; 10];
        for _ in 0..1_800 {
            now += duration;
            let open: Vec<usize> = (0..10).filter(|key| board.standing(key, now) == Standing::Good).collect();
            let merits: Vec<Merit> = open
                .iter()
                .map(|key| Merit { stake: 10.0, price: 1.0, share: 1.0, performance: board.performance(key) })
                .collect();
            let key = open[policy.choose(&merits, &mut rng).expect("seven never fail")];
            match key {
                0 | 1 => {
                    wasted += 1;
                    board.failed(&key, now, Severity::Unavailable);
                }
                2 => {
                    wasted += 1;
                    board.failed(&key, now, Severity::Dishonest);
                }
                _ => {
                    served[key] += 1;
                    board.delivered(&key, now, Duration::from_millis(200 * key as u64), duration);
                }
            }
        }
        assert!(wasted < 60, "{wasted} of 1800 attempts wasted");
        assert!(served[3..].iter().all(|&count| count > 80), "somebody starved: {served:?}");
    }

    proptest! {
        #[test]
        fn any_merit_has_a_usable_weight(
            raw in prop::collection::vec((any::<[f64; 6]>(), 0u32..9), 1..20),
            seed in any::<u64>(),
        ) {
            let merits: Vec<Merit> = raw
                .into_iter()
                .map(|([stake, price, share, success, slowness, worth], outcomes)| Merit {
                    stake,
                    price,
                    share,
                    performance: Performance { delivered: outcomes, failed: 0, success, slowness, worth },
                })
                .collect();
            let policy = SelectionPolicy::default();
            for weight in policy.weights(&merits) {
                prop_assert!(weight.is_finite() && weight > 0.0);
            }
            let chosen = policy.choose(&merits, &mut StdRng::seed_from_u64(seed));
            prop_assert!(chosen.is_some_and(|index| index < merits.len()));
        }
    }
}
