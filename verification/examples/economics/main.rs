//! Simulates cheats against sampling policies and writes what it shows into `docs/economics.md` and its plots:
//! `cargo run --release -p framemill-verification --example economics`.

mod model;
mod plot;
mod tables;

use std::error::Error;
use std::path::{Path, PathBuf};

use tables::Simulation;

/// Where the generated part of the page begins and ends.
const BEGIN: &str = "<!-- simulation: written by `make bench` -->\n";
const END: &str = "<!-- end of simulation -->";

fn main() -> Result<(), Box<dyn Error>> {
    let simulation = Simulation::run();
    let markdown = simulation.markdown();
    let page = std::fs::read_to_string(docs("economics.md"))?;
    let (before, _, after) = parts(&page).ok_or("docs/economics.md has lost its markers")?;
    std::fs::write(docs("economics.md"), [before, &markdown, after].concat())?;
    std::fs::write(docs("economics-rates.svg"), plot::over_rates(&simulation))?;
    std::fs::write(docs("economics-costs.svg"), plot::over_costs(&simulation))?;
    print!("{markdown}");
    Ok(())
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// What stands before, between and after the markers, which belong to the outer parts.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    Some((&page[..begin], &page[begin..end], &page[end..]))
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
        let page = std::fs::read_to_string(docs("economics.md")).unwrap();
        let (_, shown, _) = parts(&page).unwrap();
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
