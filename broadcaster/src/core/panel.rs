//! Chooses whom a stream asks for quotes: a few of many, each with a chance in proportion to its weight.
//!
//! Asking everybody would cost a thousand round trips for each stream; asking any few would leave large stakes with small ones'
//! work. Everyone's chance is known, so that the draw for each segment can make up for it ([`Merit::chance`]).
//!
//! [`Merit::chance`]: super::select::Merit::chance

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::select::{Merit, SelectionPolicy, newcomers_places};

/// One that is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Its index among the merits.
    pub index: usize,
    /// The chance it had, above 0 to 1.
    pub chance: f64,
}

/// Draws `places` of `merits` without replacement. Newcomers have places of their own, and no more.
///
/// The chance that is told is that of a whole panel of `panel` places: who fills a place that fell free is no rarer than who was
/// there before. A newcomer's is one, whatever it was: it is there to be tried, and once it is known the others, whose chance was
/// small, outweigh it until it is drawn as one of them.
pub fn choose(
    policy: &SelectionPolicy,
    merits: &[Merit],
    (places, panel): (usize, usize),
    rng: &mut impl Rng,
) -> Vec<Asked> {
    let weights = policy.weights(merits);
    let (new, known): (Vec<usize>, Vec<usize>) =
        (0..merits.len()).partition(|&index| merits[index].performance.is_unknown());
    let Some(reserved) = newcomers_places(places, new.len(), known.len()) else {
        return by_weight(&weights, (0..merits.len()).collect(), (places, panel), rng);
    };
    let mut asked = by_weight(&weights, known, (places - reserved, panel), rng);
    let tried = draw(&weights, new, reserved, rng);
    asked.extend(tried.into_iter().map(|index| Asked { index, chance: 1.0 }));
    asked
}

fn by_weight(
    weights: &[f64],
    group: Vec<usize>,
    (places, panel): (usize, usize),
    rng: &mut impl Rng,
) -> Vec<Asked> {
    let mut told = vec![1.0; weights.len()];
    for (index, chance) in group.iter().zip(chances(weights, &group, panel)) {
        told[*index] = chance;
    }
    let drawn = draw(weights, group, places, rng);
    drawn.into_iter().map(|index| Asked { index, chance: told[index].max(f64::MIN_POSITIVE) }).collect()
}

/// Systematic sampling (Madow 1949) in random order: one start, equal steps along the chances laid end to end. Each is drawn
/// with exactly its chance, and as many as there are places.
fn draw(weights: &[f64], mut group: Vec<usize>, places: usize, rng: &mut impl Rng) -> Vec<usize> {
    group.shuffle(rng);
    let chances = chances(weights, &group, places);
    let mut next = rng.random::<f64>();
    let mut end = 0.0;
    let mut drawn = Vec::with_capacity(places.min(group.len()));
    for (index, chance) in group.into_iter().zip(chances) {
        end += chance;
        if next < end && chance > 0.0 {
            drawn.push(index);
            next += 1.0;
        }
    }
    drawn
}

/// Chances in proportion to the weights that sum up to `places`. None is above one; what is cut off goes to the others.
fn chances(weights: &[f64], group: &[usize], places: usize) -> Vec<f64> {
    if group.len() <= places {
        return vec![1.0; group.len()];
    }
    let mut certain = vec![false; group.len()];
    loop {
        let sure = certain.iter().filter(|sure| **sure).count();
        let left = (places - sure) as f64;
        let open = group.iter().zip(&certain).filter(|(_, sure)| !**sure);
        let sum: f64 = open.map(|(index, _)| weights[*index]).sum();
        let chance = |place: usize| {
            if certain[place] { 1.0 } else { (weights[group[place]] * left / sum).min(1.0) }
        };
        let chances: Vec<f64> = (0..group.len()).map(chance).collect();
        let above: Vec<usize> =
            (0..group.len()).filter(|&place| !certain[place] && chances[place] >= 1.0).collect();
        // Each turn makes at least one more certain, or is the last.
        if above.is_empty() || sure + above.len() >= places {
            return chances;
        }
        above.into_iter().for_each(|place| certain[place] = true);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::scoreboard::Performance;
    use super::*;

    fn merit(stake: f64, delivered: u32) -> Merit {
        let performance = Performance { delivered, ..Performance::default() };
        Merit { stake, price: 1.0, share: 1.0, demand: 0.0, chance: 1.0, performance }
    }

    /// Shares of work when each of many streams asks a few and draws among them.
    fn shares(merits: &[Merit], places: usize) -> Vec<f64> {
        let (policy, mut rng) = (SelectionPolicy::default(), StdRng::seed_from_u64(7));
        let (streams, segments) = (4_000, 5);
        let mut served = vec![0.0; merits.len()];
        for _ in 0..streams {
            let asked = choose(&policy, merits, (places, places), &mut rng);
            let panel: Vec<Merit> =
                asked.iter().map(|asked| Merit { chance: asked.chance, ..merits[asked.index] }).collect();
            for _ in 0..segments {
                let chosen = policy.choose(&panel, &mut rng).unwrap();
                served[asked[chosen].index] += 1.0 / f64::from(streams * segments);
            }
        }
        served
    }

    #[test]
    fn over_many_streams_work_follows_the_stakes_of_the_whole_market() {
        let mut merits: Vec<Merit> = (0..99).map(|index| merit(1.0 + f64::from(index % 3), 9)).collect();
        // One with a third of all stake, which no panel of sixteen would show.
        merits.push(merit(99.0, 9));
        let found = shares(&merits, 16);
        let total: f64 = merits.iter().map(|merit| merit.stake).sum();
        let whale = 99.0 / total;
        assert!((found[99] / whale - 1.0).abs() < 0.1, "{} of {whale}", found[99]);
        for size in 0..3 {
            let group = (0..99).filter(|index| index % 3 == size);
            let (got, stake) = group
                .fold((0.0, 0.0), |(got, stake), index| (got + found[index], stake + merits[index].stake));
            assert!((got / (stake / total) - 1.0).abs() < 0.1, "size {size}: {got} of {}", stake / total);
        }
    }

    #[test]
    fn newcomers_have_their_places_and_no_more() {
        let mut merits = vec![merit(1.0, 9); 20];
        merits.extend([merit(1e9, 0); 200]);
        let asked = choose(&SelectionPolicy::default(), &merits, (16, 16), &mut StdRng::seed_from_u64(3));
        assert_eq!(asked.len(), 16);
        assert_eq!(asked.iter().filter(|asked| asked.index >= 20).count(), 2);
    }

    #[test]
    fn places_that_nobody_known_takes_are_free() {
        let mut merits = vec![merit(1.0, 9); 5];
        merits.extend([merit(1.0, 0); 50]);
        let asked = choose(&SelectionPolicy::default(), &merits, (16, 16), &mut StdRng::seed_from_u64(3));
        assert_eq!(asked.len(), 16);
    }

    proptest! {
        #[test]
        fn as_many_are_asked_as_there_are_places_each_once(
            raw in prop::collection::vec((0u32..1_000_000, 0u32..6), 0..80),
            places in 0usize..20,
            seed in any::<u64>(),
        ) {
            let merits: Vec<Merit> = raw.iter().map(|(stake, seen)| merit(f64::from(*stake), *seen)).collect();
            let asked =
                choose(&SelectionPolicy::default(), &merits, (places, places + 3), &mut StdRng::seed_from_u64(seed));
            let mut indices: Vec<usize> = asked.iter().map(|asked| asked.index).collect();
            indices.sort_unstable();
            indices.dedup();
            prop_assert_eq!(indices.len(), asked.len());
            // A sum of chances may miss the last step by a rounding.
            prop_assert!(asked.len() <= merits.len().min(places) && asked.len() + 2 >= merits.len().min(places));
            prop_assert!(asked.iter().all(|asked| asked.chance > 0.0 && asked.chance <= 1.0));
        }
    }
}
