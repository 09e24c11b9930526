//! Simulates a market of honest and dishonest, fast and slow orchestrators around the broadcaster's own decisions and writes what
//! it shows into `docs/selection.md`: `cargo run --release -p framemill-broadcaster --example selection`.

mod figures;
#[path = "../../../docs/generated.rs"]
mod generated;
mod market;
mod seller;
mod tables;

use std::error::Error;

use generated::Generated;
use tables::Simulation;

/// Orchestrators in the market.
const SELLERS: usize = 1_000;

/// Segments of all streams.
const SEGMENTS: usize = 100_000;

/// The part of the page that this writes.
fn part() -> Generated {
    Generated::new("selection.md", "simulation")
}

fn main() -> Result<(), Box<dyn Error>> {
    let markdown = Simulation::run(SELLERS, SEGMENTS).markdown();
    part().write(&markdown)?;
    print!("{markdown}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::figures::{Figures, WINDOWS_MIN};
    use crate::market::Scenario;
    use crate::seller::Honesty;

    /// A smaller market for half an hour: seconds of a test's time.
    static SHORT: LazyLock<Simulation> = LazyLock::new(|| Simulation::run(250, 50_000));

    fn default() -> &'static Figures {
        &SHORT.runs[0].1
    }

    fn cheats(run: &Figures) -> impl Iterator<Item = Honesty> {
        Honesty::ALL
            .into_iter()
            .map(|(honesty, _)| honesty)
            .filter(|honesty| honesty.cheats())
            .filter(|honesty| run.kinds[honesty].sellers > 0)
    }

    #[test]
    fn nothing_bad_is_published_where_every_frame_is_compared() {
        let full = &SHORT.runs[1].1;
        let caught: usize = cheats(full).map(|honesty| full.kinds[&honesty].caught).sum();
        assert_eq!(full.bad, 0);
        assert!(caught > 100, "only {caught} tried");
    }

    #[test]
    fn by_record_nothing_bad_of_a_new_or_thrown_away_identity_is_published() {
        for honesty in [Honesty::Always, Honesty::Whitewash] {
            assert_eq!(default().kinds[&honesty].bad, 0, "{honesty:?}");
            assert!(default().kinds[&honesty].caught > 0, "{honesty:?}");
        }
    }

    #[test]
    fn by_record_few_bad_segments_pass() {
        // A cheat with a record is looked at whole in some cases of a hundred, and caught for good once.
        let worst = cheats(default()).map(|honesty| {
            let kind = &default().kinds[&honesty];
            kind.bad as f64 / kind.sellers as f64
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 60.0, "{worst} of one cheat; the floor alone would let 58 pass");
        assert!(default().bad * 200 < default().published, "{} of {}", default().bad, default().published);
    }

    #[test]
    fn a_cheats_share_falls_to_a_fraction_within_minutes() {
        let last = WINDOWS_MIN.len() - 1;
        let run = default();
        let stake: f64 = run.kinds.values().map(|kind| kind.stake).sum();
        for honesty in [Honesty::Always, Honesty::Whitewash] {
            let (rest, staked) = (run.share(honesty, last), run.kinds[&honesty].stake / stake);
            assert!(rest < 0.01 && rest < staked / 4.0, "{honesty:?}: {rest} with {staked} of the stake");
        }
        let always = |window| run.share(Honesty::Always, window);
        assert!(always(last) < always(0) / 5.0, "{} to {}", always(0), always(last));
    }

    #[test]
    fn copies_stay_within_their_share_and_make_segments_quicker() {
        let (with, without) = (default(), &SHORT.runs[2].1);
        let Scenario { streams, hedging, .. } = SHORT.runs[0].0;
        let most = hedging.share * with.segments() as f64 + hedging.burst * streams as f64;
        assert!(with.hedges > 0 && (with.hedges as f64) <= most, "{} of {most}", with.hedges);
        assert_eq!(without.hedges, 0);
        assert!(with.paid_outpaced < with.paid * hedging.share, "{} of {}", with.paid_outpaced, with.paid);
        assert!(with.delay(0.99) < without.delay(0.99), "{:?}, {:?}", with.delay(0.99), without.delay(0.99));
        assert!(with.lost <= without.lost + 5, "{} lost, {} without copies", with.lost, without.lost);
    }

    #[test]
    fn hardly_a_segment_is_late() {
        for (scenario, run) in &SHORT.runs {
            assert!(run.lost * 2_000 < run.segments(), "{}: {} lost", scenario.name, run.lost);
        }
    }

    #[test]
    fn work_follows_the_weight() {
        let groups = &default().groups;
        assert!(groups.is_sorted_by(|less, more| less.1 <= more.1), "{groups:?}");
        // Newcomers' turns and rescues weigh in the lowest fifths, whose weight is next to nothing.
        for (weight, work) in groups.iter().filter(|(weight, _)| *weight > 0.15) {
            assert!((0.7..1.4).contains(&(work / weight)), "{work} of the work for {weight} of the weight");
        }
    }

    #[test]
    fn honest_work_is_bought_below_the_mean_price() {
        // Prices are spread evenly from one to three.
        assert!(default().cost() < 2.0, "{}", default().cost());
    }

    /// Figures differ a little between processors, which round powers differently; the page must tell the same.
    #[test]
    fn the_page_shows_what_the_simulation_says() {
        let shown = part().read().unwrap();
        let found = Simulation::run(SELLERS, SEGMENTS).markdown();
        assert_eq!(words(&shown), words(&found), "run the example selection");
        for (shown, found) in numbers(&shown).zip(numbers(&found)) {
            let apart = (shown - found).abs();
            assert!(
                apart <= 5.0 || apart <= shown.abs() / 4.0,
                "{shown} on the page, {found} found; run the example selection"
            );
        }
    }

    fn words(text: &str) -> Vec<&str> {
        text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()).collect()
    }

    fn numbers(text: &str) -> impl Iterator<Item = f64> {
        let digits = |letter: char| !letter.is_ascii_digit() && letter != '.';
        text.split(digits).filter_map(|number| number.trim_end_matches('.').parse().ok())
    }
}
