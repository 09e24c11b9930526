//! Somebody who delivers honest segments at first and tampered ones from then on: how many of these pass before one is caught,
//! by the attention that such a record leaves.

use alloy_primitives::keccak256;
use framemill_verification::policy::attention::{AttentionBook, AttentionConfig, Sight, is_in_doubt};
use framemill_verification::{Policy, Report, Tier};

use crate::clips;
use crate::picture::Content;
use crate::studio::{Recipe, entry, honest};
use crate::suite::{Suite, judged, source};
use crate::tamper::Attack;

/// Records before the first tampered segment, in segments of two seconds: none, a minute, an hour.
const HONEST: [u64; 3] = [0, 30, 1_800];

/// Runs of each.
const RUNS: u64 = 400;

/// A run that is not over by then has missed it.
const ENOUGH: u64 = 20_000;

/// What is delivered, judged at every depth.
struct Delivered([Report; 3]);

impl Delivered {
    fn at(&self, tier: Tier) -> &Report {
        &self.0[tier as usize]
    }
}

/// Prints how many tampered segments pass on average, and in one run of a hundred.
pub(crate) fn print() {
    let clip = clips::synthetic(Content::Landscape, 0, 960, 540);
    let source = source(&clip);
    let entry = entry(640, 360, 800_000);
    let depths = [Policy::STRUCTURE_ONLY, Policy::FIRST_FRAMES, Policy::FULL];
    let delivered = |rendition| Delivered(depths.map(|policy| judged(&source, &rendition, &entry, &policy)));
    let good = delivered(honest(&clip, &entry, &Recipe::default()));
    let other = clips::synthetic(Content::Animation, 0, 960, 540);
    let suite = Suite::new(&clip, entry.clone(), &other, &other);
    println!(
        "\n| first honest, then | honest segments | tampered ones that pass, on average | in 1 % of runs at least |"
    );
    println!("| --- | --- | --- | --- |");
    for attack in [Attack::Logo { permille: 50 }, Attack::SecondHalf, Attack::BlackFrames(1)] {
        let bad = delivered(suite.rendition(attack));
        for record in HONEST {
            let mut passed: Vec<u64> = (0..RUNS).map(|run| run_of(run, record, &good, &bad)).collect();
            passed.sort_unstable();
            let tenths = 10 * passed.iter().sum::<u64>() / RUNS;
            let worst = passed[passed.len() * 99 / 100];
            println!("| {attack:?} | {record} | {}.{} | {worst} |", tenths / 10, tenths % 10);
        }
    }
}

/// Tampered segments that pass in one run.
fn run_of(run: u64, record: u64, good: &Delivered, bad: &Delivered) -> u64 {
    let config = AttentionConfig::default();
    let mut book = AttentionBook::new(config, []);
    for segment in 0..record + ENOUGH {
        let now = 2 * segment;
        let delivered = if segment < record { good } else { bad };
        let seed = keccak256([run.to_be_bytes(), segment.to_be_bytes()].concat()).0;
        let mut report = delivered.at(book.rates(&(), now).draw(&seed));
        if is_in_doubt(std::slice::from_ref(report), config.escalate_permille) {
            report = delivered.at(Tier::Whole);
        }
        let sight = Sight::of(std::slice::from_ref(report), config.borderline_permille);
        if sight == Sight::Wrong {
            return segment.saturating_sub(record);
        }
        book.see(&(), now, sight);
    }
    ENOUGH
}
