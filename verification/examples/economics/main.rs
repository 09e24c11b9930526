//! Simulates cheats against sampling policies and writes what it shows into `docs/economics.md` and its plots:
//! `cargo run --release -p framemill-verification --example economics`.

#[path = "../../../docs/generated.rs"]
mod generated;
mod model;
mod plot;
mod tables;

use std::error::Error;

use generated::{Generated, docs};
use tables::Simulation;

/// The part of the page that this writes.
fn part() -> Generated {
    Generated::new("economics.md", "simulation")
}

fn main() -> Result<(), Box<dyn Error>> {
    let simulation = Simulation::run();
    let markdown = simulation.markdown();
    part().write(&markdown)?;
    std::fs::write(docs("economics-rates.svg"), plot::over_rates(&simulation))?;
    std::fs::write(docs("economics-costs.svg"), plot::over_costs(&simulation))?;
    print!("{markdown}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use framemill_verification::Policy;

    use super::*;
    use crate::model::{Tampering, caught_ppm, passing_tenths};

    static SIMULATION: LazyLock<Simulation> = LazyLock::new(Simulation::run);

    #[test]
    fn the_page_shows_what_the_simulation_says() {
        let shown = part().read().unwrap();
        assert_eq!(shown, SIMULATION.markdown(), "run the example economics");
    }

    #[test]
    fn the_plots_show_what_the_simulation_says() {
        let drawn = |name| std::fs::read_to_string(docs(name)).unwrap();
        assert_eq!(drawn("economics-rates.svg"), plot::over_rates(&SIMULATION), "run the example economics");
        assert_eq!(drawn("economics-costs.svg"), plot::over_costs(&SIMULATION), "run the example economics");
    }

    #[test]
    fn at_fixed_rates_as_many_bad_segments_pass_as_the_formula_says() {
        for row in &SIMULATION.rows {
            let expected = passing_tenths(caught_ppm(row.tampering, Policy::FLOOR));
            let found = row.floor.published_tenths;
            // Four standard errors of a mean over 2,000 geometric draws are nine in a hundred.
            assert!(
                found.abs_diff(expected) * 100 <= expected * 9,
                "{} at {} %: {found} tenths, formula {expected}",
                row.kind,
                row.percent
            );
        }
    }

    #[test]
    fn a_new_identity_is_caught_sooner_than_one_with_a_record() {
        for row in SIMULATION.rows.iter().filter(|row| !row.sly) {
            assert!(
                row.adaptive.published_tenths < row.floor.published_tenths,
                "{} at {} %",
                row.kind,
                row.percent
            );
        }
    }

    #[test]
    fn an_honest_hour_buys_a_cheat_no_more_than_the_floor() {
        let sly = SIMULATION.rows.iter().filter(|row| row.sly && row.tampering == Tampering::Motion);
        for row in sly {
            let (adaptive, floor) = (row.adaptive.published_tenths, row.floor.published_tenths);
            assert!(
                adaptive * 100 <= floor * 110,
                "{} at {} %: {adaptive} and {floor}",
                row.kind,
                row.percent
            );
        }
    }
}
