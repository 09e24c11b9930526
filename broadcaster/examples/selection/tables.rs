//! What the runs show, as tables for `docs/selection.md`.

use std::fmt::{Result, Write};
use std::time::Duration;

use framemill_broadcaster::simulation::hedge::HedgePolicy;

use crate::figures::{Figures, WINDOWS_MIN};
use crate::market::{Market, SEGMENT, Scenario};
use crate::seller::Honesty;

/// Streams of a run, of which each plays for over an hour.
const STREAMS: usize = 50;

/// The market and the default settings; `segments` in all.
pub(crate) fn scenario(sellers: usize, segments: usize) -> Scenario {
    Scenario {
        name: "default: by record",
        sellers,
        streams: STREAMS,
        segments: segments / STREAMS,
        full: false,
        hedging: HedgePolicy::default(),
        seed: 2_026,
    }
}

/// All runs.
pub(crate) struct Simulation {
    segments: usize,
    pub(crate) runs: Vec<(Scenario, Figures)>,
}

impl Simulation {
    pub(crate) fn run(sellers: usize, segments: usize) -> Self {
        let default = scenario(sellers, segments);
        let never = HedgePolicy { share: 0.0, ..HedgePolicy::default() };
        let scenarios = [
            default,
            Scenario { name: "`full`: every frame", full: true, ..default },
            Scenario { name: "default without copies", hedging: never, ..default },
        ];
        let runs = scenarios.map(|scenario| (scenario, Market::run(scenario)));
        Self { segments, runs: runs.into() }
    }

    /// The generated part of the page.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        self.runs(&mut out).expect("writing to a string cannot fail");
        self.kinds(&mut out).expect("writing to a string cannot fail");
        self.shares(&mut out).expect("writing to a string cannot fail");
        out
    }

    fn runs(&self, out: &mut String) -> Result {
        let Scenario { sellers, streams, .. } = self.runs[0].0;
        writeln!(out, "### {sellers} orchestrators, {} segments\n", thousands(self.segments))?;
        writeln!(out, "Each run: {streams} streams of {} s segments at once.\n", SEGMENT.as_secs())?;
        let names = self.runs.iter().map(|(scenario, _)| scenario.name).collect::<Vec<_>>();
        writeln!(out, "| | {} |", names.join(" | "))?;
        writeln!(out, "| --- | {} |", vec!["---"; names.len()].join(" | "))?;
        self.row(out, "bad segments published", |run| run.bad.to_string())?;
        self.row(out, "bad results seen and replaced", |run| {
            run.kinds.values().map(|kind| kind.caught).sum::<usize>().to_string()
        })?;
        self.row(out, "results compared whole", |run| percent(run.whole_looks, run.segments()))?;
        self.row(out, "segments late (lost)", |run| run.lost.to_string())?;
        self.row(out, "segments slower than they play", |run| {
            let slow = run.slower_than(SEGMENT);
            format!("{slow} ({})", percent(slow, run.segments()))
        })?;
        self.row(out, "arrival to publication, median", |run| seconds(run.delay(0.5)))?;
        self.row(out, "of 99 in 100", |run| seconds(run.delay(0.99)))?;
        self.row(out, "of 999 in 1000", |run| seconds(run.delay(0.999)))?;
        self.row(out, "failed attempts", |run| run.failures.to_string())?;
        self.row(out, "segments sent to the spare as well", |run| {
            format!("{} ({})", run.hedges, percent(run.hedges, run.segments()))
        })?;
        self.row(out, "of these delivered by the spare", |run| percent(run.spare_won, run.hedges))?;
        self.row(out, "price of the outpaced, of all that was paid", |run| {
            ratio(run.paid_outpaced, run.paid)
        })?;
        self.row(out, "paid over the cheapest honest price", |run| format!("{:.2}", run.cost()))?;
        self.row(out, "quotes for panels, of segments", |run| percent(run.quotes, run.segments()))?;
        self.row(out, "quotes for spares, of segments", |run| percent(run.renewals, run.segments()))?;
        writeln!(out)
    }

    fn row(&self, out: &mut String, name: &str, figure: impl Fn(&Figures) -> String) -> Result {
        let cells: Vec<String> = self.runs.iter().map(|(_, run)| figure(run)).collect();
        writeln!(out, "| {name} | {} |", cells.join(" | "))
    }

    /// Who cheats how, in the default run.
    fn kinds(&self, out: &mut String) -> Result {
        let run = &self.runs[0].1;
        let stake: f64 = run.kinds.values().map(|kind| kind.stake).sum();
        writeln!(out, "### What becomes of cheats\n")?;
        writeln!(
            out,
            "Share of all results in each window of the market's time, by record. All but the honest are fast and cheap here: by \
             the score they would get several times what their stake says. \"In vain\" is what was paid for bad or outpaced \
             results, in prices around one.\n"
        )?;
        let mut from = 0;
        let windows = WINDOWS_MIN.map(|end| {
            let name =
                if end == u32::MAX { format!("from min {from}") } else { format!("min {from} to {end}") };
            from = end;
            name
        });
        writeln!(
            out,
            "| | of stake | {} | bad seen | bad published, each | paid in vain, each |",
            windows.join(" | ")
        )?;
        writeln!(out, "| --- | --- | {} | --- | --- | --- |", vec!["---"; windows.len()].join(" | "))?;
        for (honesty, _) in Honesty::ALL {
            let kind = &run.kinds[&honesty];
            let shares: Vec<String> =
                (0..windows.len()).map(|window| ratio(run.share(honesty, window), 1.0)).collect();
            writeln!(
                out,
                "| {} ({}) | {} | {} | {} | {:.1} | {:.1} |",
                honesty.name(),
                kind.sellers,
                ratio(kind.stake, stake),
                shares.join(" | "),
                kind.caught,
                kind.bad as f64 / kind.sellers.max(1) as f64,
                kind.taken / kind.sellers.max(1) as f64,
            )?;
        }
        writeln!(out)
    }

    fn shares(&self, out: &mut String) -> Result {
        let run = &self.runs[0].1;
        writeln!(out, "### Share of the work against stake x performance x price\n")?;
        writeln!(
            out,
            "Honest orchestrators with a steady time, in fifths by the weight that the score gives them.\n"
        )?;
        writeln!(out, "| fifth | share of weight | share of work |")?;
        writeln!(out, "| --- | --- | --- |")?;
        for (number, (weight, work)) in run.groups.iter().enumerate() {
            writeln!(out, "| {} | {} | {} |", number + 1, ratio(*weight, 1.0), ratio(*work, 1.0))?;
        }
        Ok(())
    }
}

fn percent(part: usize, whole: usize) -> String {
    ratio(part as f64, whole.max(1) as f64)
}

fn ratio(part: f64, whole: f64) -> String {
    let percent = if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
    match percent {
        10.0.. => format!("{percent:.0} %"),
        1.0.. => format!("{percent:.1} %"),
        _ => format!("{percent:.2} %"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn thousands(count: usize) -> String {
    if count < 1_000 { count.to_string() } else { format!("{},{:03}", count / 1_000, count % 1_000) }
}
