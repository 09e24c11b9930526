//! Chooses who gets the next segment: a random draw, weighted by stake, performance, record and price.
//!
//! A draw instead of "the best one" spreads work by stake x performance, keeps measuring everybody, and leaves no single
//! orchestrator that a stream depends on. `docs/selection.md` shows what comes of it.

use rand::{Rng, RngExt};

use super::scoreboard::Performance;

/// Share of draws given to orchestrators about which too little is known, however many there are: a swarm of new identities
/// shares it, and does not grow it.
const NEWCOMERS: f64 = 0.15;

/// Until so many are known, newcomers take part like everybody: to rest on the first one that was measured would be worse.
const ENOUGH_KNOWN: usize = 4;

/// An orchestrator without any stake (a configured peer) weighs as much as one with this share of the largest stake. It is for
/// those without alone: with a least weight for small stakes, who splits its own would gain.
const UNSTAKED_SHARE: f64 = 0.01;

/// Nobody's weight falls to nothing: a recovered orchestrator must be able to show it.
const MIN_WEIGHT: f64 = 1e-6;

/// Added to the slowness: twice as fast is worth little where both take a tenth of the time.
const QUICK: f64 = 0.1;

/// What a draw knows of one orchestrator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merit {
    /// Stake in any unit, the same for all; 0 where none is known.
    pub stake: f64,
    /// Price per pixel in any unit, the same for all; 0 is free.
    pub price: f64,
    /// Share of that price that is likely to be paid, 0 to 1, where the price follows the quality.
    pub share: f64,
    /// Pixels that the stream asks for in a second of video; 0 where unknown.
    pub demand: f64,
    /// Chance that it was among those asked for a quote, above 0 to 1: what was likelier to be asked is drawn less, so that both
    /// draws together come to its weight.
    pub chance: f64,
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
    /// Exponent of the stake. One: what a stake split in two gets is what it got whole.
    pub stake: f64,
    /// Exponent of cheapest price over price. Above one: at one everybody earns the same whatever it asks, and the dear ones
    /// have no reason to ask less.
    pub price: f64,
    /// Exponent of the success share; steep, because a failed attempt costs half a deadline.
    pub success: f64,
    /// Exponent of speed.
    pub speed: f64,
    /// Exponent of what audited renditions were worth: what the price would have to be divided by, so the price's.
    pub worth: f64,
    /// Exponent of the trust that wrong results left, which each of them divides by thirty-two already.
    pub trust: f64,
}

impl Default for SelectionPolicy {
    fn default() -> Self {
        Self { stake: 1.0, price: 2.0, success: 3.0, speed: 1.0, worth: 2.0, trust: 1.0 }
    }
}

impl SelectionPolicy {
    /// The same for a spare: it is there for when it must be quick and right, and gets too little work to share it out by stake.
    #[must_use]
    #[doc(hidden)]
    pub fn for_spare(self) -> Self {
        Self { stake: 0.0, success: self.success * 2.0, speed: self.speed * 3.0, ..self }
    }

    /// The weight of each merit in a draw among all of them; never negative, zero or NaN.
    #[doc(hidden)]
    pub fn weights(&self, merits: &[Merit]) -> Vec<f64> {
        let largest = merits.iter().map(|m| finite(m.stake)).fold(0.0, f64::max);
        let prices = merits.iter().map(Merit::likely_price).filter(|price| *price > 0.0);
        let cheapest = prices.fold(f64::INFINITY, f64::min);
        merits.iter().map(|merit| self.weight(merit, largest, cheapest)).collect()
    }

    fn weight(&self, merit: &Merit, largest: f64, cheapest: f64) -> f64 {
        let (stake, price, known) = (finite(merit.stake), merit.likely_price(), &merit.performance);
        let stake = match (largest > 0.0, stake > 0.0) {
            (true, true) => stake / largest,
            (true, false) => UNSTAKED_SHARE,
            (false, _) => 1.0,
        };
        let thrift = if price > 0.0 { cheapest / price } else { 1.0 };
        let speed = 1.0 / (QUICK + finite(known.expected_slowness(merit.demand)));
        let weight = stake.powf(self.stake)
            * thrift.powf(self.price)
            * finite(known.success).powf(self.success)
            * speed.powf(self.speed)
            * finite(known.worth).powf(self.worth)
            * finite(known.trust).powf(self.trust)
            / if merit.chance > 0.0 { merit.chance.min(1.0) } else { 1.0 };
        finite(weight).max(MIN_WEIGHT)
    }

    /// Draws the index of one merit; `None` where there are none.
    #[doc(hidden)]
    pub fn choose(&self, merits: &[Merit], rng: &mut impl Rng) -> Option<usize> {
        let weights = self.weights(merits);
        let (new, known): (Vec<usize>, Vec<usize>) =
            (0..merits.len()).partition(|&index| merits[index].performance.is_unknown());
        let group = match is_newcomers_turn(new.len(), known.len(), rng) {
            Some(true) => new,
            Some(false) => known,
            None => return draw(&weights, rng),
        };
        let weights: Vec<f64> = group.iter().map(|&index| weights[index]).collect();
        draw(&weights, rng).map(|place| group[place])
    }
}

/// Whether the next draw is among newcomers alone, or among the known; `None` where it is among all.
fn is_newcomers_turn(new: usize, known: usize, rng: &mut impl Rng) -> Option<bool> {
    (new > 0 && known >= ENOUGH_KNOWN).then(|| rng.random::<f64>() < NEWCOMERS)
}

/// Of `places` places in a panel, how many are for newcomers.
pub(super) fn newcomers_places(places: usize, new: usize, known: usize) -> Option<usize> {
    let part = ((places as f64 * NEWCOMERS) as usize).max(1);
    // Places that the known leave are free.
    (new > 0 && known >= ENOUGH_KNOWN).then(|| part.max(places.saturating_sub(known)).min(new).min(places))
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

    use super::super::scoreboard::{Delivery, Scoreboard, Severity, Standing, SuspensionPolicy};
    use super::*;

    const KNOWN: Performance = Performance {
        delivered: 100,
        failed: 0,
        outpaced: 0,
        success: 1.0,
        slowness: 0.5,
        tail: 0.5,
        throughput: 0.0,
        worth: 1.0,
        trust: 1.0,
        patience: None,
    };
    const PLAIN: Merit =
        Merit { stake: 1.0, price: 1.0, share: 1.0, demand: 0.0, chance: 1.0, performance: KNOWN };

    fn share(merits: &[Merit], index: usize) -> f64 {
        let mut rng = StdRng::seed_from_u64(11);
        let policy = SelectionPolicy::default();
        let hits = (0..20_000).filter(|_| policy.choose(merits, &mut rng) == Some(index)).count();
        hits as f64 / 20_000.0
    }

    #[test]
    fn a_price_that_pays_less_for_less_and_work_of_worth_get_more_work() {
        let plain = Merit { price: 2.0, ..PLAIN };
        assert!((share(&[plain, Merit { share: 0.5, ..plain }], 1) - 0.8).abs() < 0.02);
        let lazy = Merit { performance: Performance { worth: 0.5, ..KNOWN }, ..plain };
        assert!((share(&[plain, lazy], 1) - 0.2).abs() < 0.02);
        // Where the work is free, too.
        let [plain, lazy] = [plain, lazy].map(|merit| Merit { price: 0.0, ..merit });
        assert!((share(&[plain, lazy], 1) - 0.2).abs() < 0.02);
    }

    #[test]
    fn work_is_shared_by_stake() {
        let merits = [Merit { stake: 300.0, ..PLAIN }, Merit { stake: 100.0, ..PLAIN }];
        assert!((share(&merits, 0) - 0.75).abs() < 0.02);
    }

    #[test]
    fn a_newcomer_with_little_stake_gets_tried() {
        let newcomer = Merit { stake: 1.0, performance: Performance::default(), ..PLAIN };
        let whale = Merit { stake: 1e6, ..PLAIN };
        let merits = [newcomer, whale, whale, whale, whale];
        assert!((share(&merits, 0) - NEWCOMERS).abs() < 0.02);
    }

    #[test]
    fn a_swarm_of_new_identities_shares_what_one_would_get() {
        let newcomer = Merit { performance: Performance::default(), ..PLAIN };
        let mut merits = vec![PLAIN; 5];
        merits.extend([newcomer; 95]);
        let known: f64 = (0..5).map(|index| share(&merits, index)).sum();
        assert!((known - (1.0 - NEWCOMERS)).abs() < 0.02, "{known}");
    }

    #[test]
    fn a_stake_split_in_many_gets_what_it_got_whole() {
        let whole = [Merit { stake: 50.0, ..PLAIN }, Merit { stake: 50.0, ..PLAIN }];
        let mut split = vec![Merit { stake: 50.0, ..PLAIN }];
        split.extend([Merit { stake: 0.5, ..PLAIN }; 100]);
        assert!((share(&whole, 0) - share(&split, 0)).abs() < 0.02);
    }

    #[test]
    fn who_was_proven_wrong_gets_a_thirtieth() {
        let cheat = Merit { performance: Performance { trust: 1.0 / 32.0, ..KNOWN }, ..PLAIN };
        assert!((share(&[PLAIN, cheat], 1) - 1.0 / 33.0).abs() < 0.01);
    }

    #[test]
    fn a_spare_is_chosen_for_its_speed_and_not_for_its_stake() {
        let quick = Merit { performance: Performance { slowness: 0.2, tail: 0.3, ..KNOWN }, ..PLAIN };
        let rich = Merit { stake: 1e6, performance: Performance { tail: 1.5, ..KNOWN }, ..PLAIN };
        let weights = SelectionPolicy::default().for_spare().weights(&[quick, rich]);
        assert!(weights[0] > weights[1] * 10.0, "{weights:?}");
    }

    #[test]
    fn the_cheaper_of_two_equals_gets_more() {
        let merits = [PLAIN, Merit { price: 3.0, ..PLAIN }];
        assert!((share(&merits, 0) - 0.9).abs() < 0.02);
    }

    #[test]
    fn peers_without_stake_share_evenly() {
        let merits = [Merit { stake: 0.0, price: 0.0, ..PLAIN }; 4];
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
            let merits: Vec<Merit> =
                open.iter().map(|key| Merit { performance: board.performance(key, now), ..PLAIN }).collect();
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
                    let took = Duration::from_millis(200 * key as u64);
                    board.delivered(&key, now, &Delivery { took, duration, pixels: 0 });
                }
            }
        }
        assert!(wasted < 60, "{wasted} of 1800 attempts wasted");
        assert!(served[3..].iter().all(|&count| count > 80), "somebody starved: {served:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// At one price, whatever the stakes and success shares are.
        #[test]
        fn work_is_shared_by_stake_times_performance(
            raw in prop::collection::vec((1u32..100, 50u32..=100), 4..12),
            seed in any::<u64>(),
        ) {
            let draws = 4_000;
            let merits: Vec<Merit> = raw
                .iter()
                .map(|(stake, success)| Merit {
                    stake: f64::from(*stake),
                    performance: Performance { success: f64::from(*success) / 100.0, ..KNOWN },
                    ..PLAIN
                })
                .collect();
            let wanted: Vec<f64> =
                merits.iter().map(|merit| merit.stake * merit.performance.success.powi(3)).collect();
            let total: f64 = wanted.iter().sum();
            let mut found = vec![0.0; merits.len()];
            let mut rng = StdRng::seed_from_u64(seed);
            for _ in 0..draws {
                found[SelectionPolicy::default().choose(&merits, &mut rng).unwrap()] += 1.0;
            }
            let square = |(found, wanted): (&f64, &f64)| {
                let wanted = wanted / total * f64::from(draws);
                (found - wanted).powi(2) / wanted
            };
            let chi_square: f64 = found.iter().zip(&wanted).map(square).sum();
            // One in a million at eleven degrees of freedom is 49.
            prop_assert!(chi_square < 49.0, "{chi_square} for {found:?}, wanted {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn any_merit_has_a_usable_weight(
            raw in prop::collection::vec((any::<[f64; 11]>(), 0u32..9), 1..20),
            seed in any::<u64>(),
        ) {
            let merits: Vec<Merit> = raw
                .into_iter()
                .map(|(any, delivered)| {
                    let [stake, price, share, demand, chance, success, slowness, tail, throughput, worth, trust] = any;
                    let performance = Performance {
                        delivered, failed: 0,
                        outpaced: 0, success, slowness, tail, throughput, worth, trust, patience: None,
                    };
                    Merit { stake, price, share, demand, chance, performance }
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
