//! Simulates cheats, juries and bribes under the court's parameters and writes what it shows into `docs/economics.md`:
//! `cargo run --release -p framemill-contracts --example court_economics`.

#[path = "../../../docs/generated.rs"]
mod generated;

use std::error::Error;
use std::fmt::Write;

use framemill_contracts::{CourtParams, Fault};
use generated::Generated;

/// The part of the page that this writes.
fn part() -> Generated {
    Generated::new("economics.md", "court")
}

const PPM: u64 = 1_000_000;
/// Cheats followed for each probability of being caught: the standard error of their mean is about half a percent.
const CHEATS: u64 = 40_000;
/// Disputes judged for each share of colluders.
const TRIALS: u64 = 40_000;
/// Orchestrators of equal stake that juries are drawn from.
const ORCHESTRATORS: u64 = 100;
/// Share of honest jurors that claim, judge and reveal.
const ATTENDANCE_PPM: u64 = 900_000;
/// Probabilities, in millionths, that one bad segment is caught: what the rates of the page give.
const CAUGHT_PPM: [u64; 6] = [3_960, 8_415, 16_830, 49_500, 198_000, 495_000];
/// Shares of the active stake, in percent, that vote against the truth.
const COLLUDERS_PERCENT: [u64; 5] = [5, 10, 20, 30, 40];

fn main() -> Result<(), Box<dyn Error>> {
    let markdown = markdown(&CourtParams::default());
    part().write(&markdown)?;
    print!("{markdown}");
    Ok(())
}

/// What an orchestrator loses of its stake when it is found guilty, in millionths.
fn slash_ppm(params: &CourtParams, fault: Fault) -> u64 {
    u64::from(params.slash_ppm[fault as usize])
}

/// Bad segments that pass before one is caught, on average, in tenths: `(1 - d) / d`.
fn passing_tenths(caught_ppm: u64) -> u64 {
    (PPM - caught_ppm) * 10 / caught_ppm
}

/// Smallest stake in gains per bad segment, by the formula: what passes, over what a conviction takes.
fn stake(passing_tenths: u64, slash_ppm: u64, convicted_ppm: u64) -> u64 {
    let taken = slash_ppm * convicted_ppm / PPM;
    (passing_tenths * PPM).div_ceil(taken * 10)
}

/// Bad segments that pass before one is caught, on average over simulated cheats, in tenths.
fn simulated_passing_tenths(caught_ppm: u64, random: &mut Random) -> u64 {
    let mut passed = 0;
    for _ in 0..CHEATS {
        while random.below(PPM) >= caught_ppm {
            passed += 1;
        }
    }
    passed * 10 / CHEATS
}

/// How simulated disputes ended, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fate {
    /// A first jury found the opposite of the truth.
    first_wrong_ppm: u64,
    /// So did the court, when whoever lost appealed.
    wrong_ppm: u64,
    /// The court found the truth.
    right_ppm: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Finding {
    Right,
    Wrong,
    Undecided,
}

/// One instance: juries are drawn until one is quorate and decides.
fn instance(size: u64, draws: u16, colluders: u64, random: &mut Random) -> Finding {
    for _ in 0..draws {
        let (mut right, mut wrong) = (0, 0);
        for orchestrator in 0..ORCHESTRATORS {
            let seats = seats(size, random);
            if orchestrator < colluders {
                wrong += seats;
            } else if random.below(PPM) < ATTENDANCE_PPM {
                right += seats;
            }
        }
        let quorate = 2 * (right + wrong) > size;
        match right.cmp(&wrong) {
            std::cmp::Ordering::Greater if quorate => return Finding::Right,
            std::cmp::Ordering::Less if quorate => return Finding::Wrong,
            _ => {}
        }
    }
    Finding::Undecided
}

/// As the contract's `Sortition`, for one of equal stakes.
fn seats(size: u64, random: &mut Random) -> u64 {
    size / ORCHESTRATORS + u64::from(random.below(ORCHESTRATORS) < size % ORCHESTRATORS)
}

fn judge(params: &CourtParams, colluders_percent: u64, random: &mut Random) -> Fate {
    let size = u64::from(params.jury_size);
    let colluders = ORCHESTRATORS * colluders_percent / 100;
    let (mut first_wrong, mut wrong, mut right) = (0, 0, 0);
    for _ in 0..TRIALS {
        let first = instance(size, params.max_draws, colluders, random);
        let appeal = instance(2 * size + 1, params.max_draws, colluders, random);
        let last = if first == Finding::Undecided || appeal == Finding::Undecided { first } else { appeal };
        first_wrong += u64::from(first == Finding::Wrong);
        wrong += u64::from(last == Finding::Wrong);
        right += u64::from(last == Finding::Right);
    }
    let share = |count: u64| count * PPM / TRIALS;
    Fate { first_wrong_ppm: share(first_wrong), wrong_ppm: share(wrong), right_ppm: share(right) }
}

/// Least that turning both instances costs, in millionths of the stake of one orchestrator: jurors for a majority of the
/// expected seats of each, who all lose what a false oath costs once one honest appeal is heard.
fn bribe_ppm(params: &CourtParams) -> u64 {
    let majority = |size: u64| size / 2 + 1;
    let size = u64::from(params.jury_size);
    (majority(size) + majority(2 * size + 1)) * u64::from(params.dissent_ppm)
}

fn markdown(params: &CourtParams) -> String {
    let mut text = String::new();
    let mut random = Random(2);
    stakes(params, &mut text, &mut random);
    juries(params, &mut text, &mut random);
    prices(params, &mut text);
    text
}

fn stakes(params: &CourtParams, text: &mut String, random: &mut Random) {
    let honest = judge(params, 10, random);
    let slash = slash_ppm(params, Fault::Unfaithful);
    let _ = writeln!(
        text,
        "### The smallest stake that makes cheating lose\n\n{CHEATS} cheats for each row. A conviction takes {}; colluders hold 10 % of the stake and {} of the others vote, so that {} of true accusations end in one. Stakes are in gains from one bad segment, without future income.\n",
        percent(slash),
        percent(ATTENDANCE_PPM),
        percent(honest.right_ppm)
    );
    let _ =
        writeln!(text, "| a bad segment is caught | pass before | simulated | smallest stake | simulated |");
    let _ = writeln!(text, "| --- | --- | --- | --- | --- |");
    for caught in CAUGHT_PPM {
        let (formula, simulated) = (passing_tenths(caught), simulated_passing_tenths(caught, random));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            percent(caught),
            tenths(formula),
            tenths(simulated),
            stake(formula, slash, honest.right_ppm),
            stake(simulated, slash, honest.right_ppm)
        );
    }
}

fn juries(params: &CourtParams, text: &mut String, random: &mut Random) {
    let size = params.jury_size;
    let _ = writeln!(
        text,
        "\n### What a share of the stake can do to a verdict\n\n{TRIALS} disputes for each row before juries of {size} and, on appeal, {} seats in expectation, drawn from {ORCHESTRATORS} equal stakes; {} of the honest vote. Whoever loses appeals.\n",
        2 * size + 1,
        percent(ATTENDANCE_PPM)
    );
    let _ = writeln!(text, "| colluding stake | first jury wrong | final verdict wrong | no verdict |");
    let _ = writeln!(text, "| --- | --- | --- | --- |");
    for colluders in COLLUDERS_PERCENT {
        let fate = judge(params, colluders, random);
        let none = PPM - fate.wrong_ppm - fate.right_ppm;
        let _ = writeln!(
            text,
            "| {colluders} % | {} | {} | {} |",
            percent(fate.first_wrong_ppm),
            percent(fate.wrong_ppm),
            percent(none)
        );
    }
}

fn prices(params: &CourtParams, text: &mut String) {
    let unit = 1_000_000_000_000_000_000;
    let (bond, fee) = (params.bond / unit, params.jury_fee / unit);
    let _ = writeln!(text, "\n### Prices\n\n| what | price |\n| --- | --- |");
    let _ = writeln!(
        text,
        "| a wrong accusation, or one whose files cannot be had | {bond} tokens: half to the accused, half to the jury |"
    );
    let _ = writeln!(text, "| an appeal that fails | {} tokens, shared likewise |", 2 * bond);
    let _ = writeln!(
        text,
        "| judging an orchestrator with little stake | what its slash leaves of {fee} tokens for the jury |"
    );
    let _ = writeln!(
        text,
        "| a juror's absence after its claim | {} of its stake |",
        percent(u64::from(params.absence_ppm))
    );
    let _ = writeln!(
        text,
        "| a juror's false oath | {} of its stake, and its fee |",
        percent(u64::from(params.dissent_ppm))
    );
    let _ = writeln!(
        text,
        "| bribing a majority of both expected juries | {} of one orchestrator's stake at least, for a slash of {} at most |",
        percent(bribe_ppm(params)),
        percent(slash_ppm(params, Fault::Unfaithful))
    );
}

fn percent(ppm: u64) -> String {
    match ppm {
        100_000.. => format!("{} %", (ppm + 5_000) / 10_000),
        _ => format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100),
    }
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same sequence on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `0..bound`, by the upper half of a product: the bias is below one in 10^13 for the bounds used here.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_the_simulation_says() {
        let shown = part().read().unwrap();
        assert_eq!(shown, markdown(&CourtParams::default()), "run the example court_economics");
    }

    #[test]
    fn as_many_bad_segments_pass_as_the_formula_says() {
        let mut random = Random(3);
        for caught in CAUGHT_PPM {
            let (formula, found) = (passing_tenths(caught), simulated_passing_tenths(caught, &mut random));
            // Four standard errors of a mean over 40,000 geometric draws are two in a hundred; one tenth is rounding.
            assert!(
                found.abs_diff(formula) * 100 <= formula * 2 + 100,
                "{caught}: {found}, formula {formula}"
            );
        }
    }

    #[test]
    fn a_cheat_with_the_smallest_stake_loses_and_one_with_less_gains() {
        let params = CourtParams::default();
        let slash = slash_ppm(&params, Fault::Unfaithful);
        let mut random = Random(4);
        let convicted = judge(&params, 10, &mut random).right_ppm;
        for caught in CAUGHT_PPM {
            let least = stake(passing_tenths(caught), slash, convicted);
            // Profit of many cheats, each until it is caught once, in millionths of a gain.
            let profit = |stake: u64, random: &mut Random| {
                let gained = simulated_passing_tenths(caught, random) * PPM / 10;
                i128::from(gained) - i128::from(stake * slash * convicted / PPM)
            };
            assert!(profit(least * 105 / 100 + 1, &mut random) < 0, "caught {caught}: {least} is too little");
            assert!(
                profit(least * 90 / 100, &mut random) > 0 || least < 20,
                "caught {caught}: less would do"
            );
        }
    }

    #[test]
    fn a_fifth_of_the_stake_turns_no_verdict_on_appeal() {
        let fate = judge(&CourtParams::default(), 20, &mut Random(5));
        assert!(fate.wrong_ppm < 1_000, "{fate:?}");
        assert!(fate.first_wrong_ppm >= fate.wrong_ppm, "{fate:?}");
    }

    #[test]
    fn buying_both_juries_costs_more_than_the_worst_slash() {
        let params = CourtParams::default();
        let worst = params.slash_ppm.iter().copied().max().unwrap();
        assert!(bribe_ppm(&params) > 2 * u64::from(worst));
    }
}
