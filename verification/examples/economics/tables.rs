//! What the simulation shows, as tables for `docs/economics.md`.

use std::fmt::Write;

use framemill_verification::Policy;

use crate::model::{
    Cheat, Effort, Fate, RECALL_PPM, Random, SEGMENT_S, Tampering, Watch, caught_ppm, cost_ppm, effort,
    follow_many, passing_tenths,
};

/// Cheats followed for each figure: the standard error of a mean is about two in a hundred.
const CHEATS: usize = 2_000;

/// Orchestrators watched for each figure of cost.
const WATCHED: usize = 100;

/// Segments of an hour: what a sly cheat delivers honestly first, by which time attention is at its floor.
const HOUR: u64 = 3_600 / SEGMENT_S;

/// Tampered shares that are simulated, in percent.
pub(crate) const RATES_PERCENT: [u32; 7] = [1, 2, 5, 10, 20, 50, 100];

/// Fixed rates that are compared, first frames and whole results in millionths; the fourth is the floor.
const BUDGETS: [(u32, u32); 6] = [
    (1_000_000, 1_000_000),
    (1_000_000, 200_000),
    (500_000, 50_000),
    (200_000, 17_000),
    (100_000, 8_500),
    (50_000, 4_000),
];

/// An orchestrator that nothing is known of.
const NEW: Watch = Watch::Adaptive { wrong_before: 0 };

/// The kinds of cheats, as people would call them.
const KINDS: [(&str, Tampering, u64); 4] = [
    ("wrong picture", Tampering::Picture, 0),
    ("wrong motion", Tampering::Motion, 0),
    ("wrong picture after an honest hour", Tampering::Picture, HOUR),
    ("wrong motion after an honest hour", Tampering::Motion, HOUR),
];

/// Means over cheats of one kind under one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Means {
    /// Tampered segments published, in tenths.
    pub(crate) published_tenths: u64,
    /// Segments it lasted, in tenths.
    pub(crate) lasted_tenths: u64,
    /// Segments that 95 in 100 did not outlast.
    pub(crate) lasted_95: u64,
}

impl Means {
    fn of(fates: &[Fate]) -> Self {
        let count = fates.len() as u64;
        Self {
            published_tenths: fates.iter().map(|fate| fate.published).sum::<u64>() * 10 / count,
            lasted_tenths: fates.iter().map(|fate| fate.lasted).sum::<u64>() * 10 / count,
            lasted_95: fates[fates.len() * 95 / 100].lasted,
        }
    }
}

/// One kind of cheat at one rate under the fixed floor and under the record.
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) tampering: Tampering,
    pub(crate) sly: bool,
    pub(crate) percent: u32,
    pub(crate) floor: Means,
    pub(crate) adaptive: Means,
}

/// What fixed rates cost and do.
pub(crate) struct Budget {
    policy: Policy,
    pub(crate) cost_ppm: u64,
    /// Every segment is tampered with, and every tenth.
    pub(crate) picture: Means,
    pub(crate) picture_tenth: Means,
    pub(crate) motion: Means,
    pub(crate) motion_tenth: Means,
}

impl Budget {
    fn of(policy: Policy, random: &mut Random) -> Self {
        let mut means = |tampering, rate_ppm| {
            let cheat = Cheat { tampering, rate_ppm, honest_first: 0 };
            Means::of(&follow_many(cheat, Watch::Fixed(policy), CHEATS, random))
        };
        Self {
            policy,
            picture: means(Tampering::Picture, 1_000_000),
            picture_tenth: means(Tampering::Picture, 100_000),
            motion: means(Tampering::Motion, 1_000_000),
            motion_tenth: means(Tampering::Motion, 100_000),
            cost_ppm: cost_ppm(policy),
        }
    }
}

/// Everything that is shown.
pub(crate) struct Simulation {
    pub(crate) rows: Vec<Row>,
    pub(crate) budgets: Vec<Budget>,
    efforts: Vec<(&'static str, [Effort; 4])>,
}

impl Simulation {
    /// Runs it; the same every time.
    pub(crate) fn run() -> Self {
        let mut random = Random::new(40);
        let mut rows = Vec::new();
        for (kind, tampering, honest_first) in KINDS {
            for percent in RATES_PERCENT {
                let cheat = Cheat { tampering, rate_ppm: percent * 10_000, honest_first };
                let mut means = |watch| Means::of(&follow_many(cheat, watch, CHEATS, &mut random));
                let (floor, adaptive) = (means(Watch::Fixed(Policy::FLOOR)), means(NEW));
                rows.push(Row { kind, tampering, sly: honest_first > 0, percent, floor, adaptive });
            }
        }
        let watches = [
            ("every frame", Watch::Fixed(Policy::FULL)),
            ("by record, new", NEW),
            ("by record, caught once before", Watch::Adaptive { wrong_before: 1 }),
            ("by record, caught three times before", Watch::Adaptive { wrong_before: 3 }),
            ("floor", Watch::Fixed(Policy::FLOOR)),
        ];
        let spans = [HOUR / 6, HOUR, HOUR * 24, HOUR * 24 * 7];
        let efforts = watches
            .map(|(name, watch)| {
                let watched = |span| {
                    // Long spans average themselves.
                    let count = (WATCHED * HOUR as usize / span as usize).clamp(3, WATCHED);
                    effort(watch, span, count, &mut random)
                };
                (name, spans.map(watched))
            })
            .into();
        let budgets = BUDGETS.map(|(first_frame_ppm, whole_ppm)| {
            Budget::of(Policy { first_frame_ppm, whole_ppm, ..Policy::STRUCTURE_ONLY }, &mut random)
        });
        Self { rows, efforts, budgets: budgets.into() }
    }

    /// The generated part of the page.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        self.detection(&mut out).expect("writing to a string cannot fail");
        self.costs(&mut out).expect("writing to a string cannot fail");
        self.budgets(&mut out).expect("writing to a string cannot fail");
        out
    }

    fn detection(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "### How long a cheat lasts\n")?;
        writeln!(
            out,
            "Means over {CHEATS} cheats each, segments of {SEGMENT_S} s, recall {} %. \"Bad\" are tampered segments that were \
             published, the times run from the first tampered segment; 95 of 100 new identities are caught within the last column.\n",
            RECALL_PPM / 10_000
        )?;
        writeln!(out, "| cheat | tampers with | floor: bad | lasts | by record: bad | lasts | 95 % |")?;
        writeln!(out, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            let (floor, adaptive) = (&row.floor, &row.adaptive);
            writeln!(
                out,
                "| {} | {} % | {} | {} | {} | {} | {} |",
                row.kind,
                row.percent,
                tenths(floor.published_tenths),
                time(floor.lasted_tenths),
                tenths(adaptive.published_tenths),
                time(adaptive.lasted_tenths),
                time(adaptive.lasted_95 * 10),
            )?;
        }
        writeln!(out)
    }

    /// What can be had for how much, and the stake that makes cheating a loss then.
    fn budgets(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "### What more or less checking buys\n")?;
        writeln!(
            out,
            "At fixed rates. `d` is the probability that a tampered segment is caught; the stake is `(1 - d) / d`, in gains from one \
             bad segment; the time is how long a cheat lasts that tampers with all segments, or with every tenth.\n"
        )?;
        writeln!(
            out,
            "| first frames | whole | cost | wrong picture: d | stake | lasts | a tenth | wrong motion: d | stake | lasts | a tenth |"
        )?;
        writeln!(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for budget in &self.budgets {
            let Policy { first_frame_ppm, whole_ppm, .. } = budget.policy;
            let (first, whole) = (percent(first_frame_ppm.into()), percent(whole_ppm.into()));
            let cells = |tampering, all: &Means, tenth: &Means| {
                let caught = caught_ppm(tampering, budget.policy);
                let stake = tenths(passing_tenths(caught));
                format!(
                    "{} | {stake} | {} | {}",
                    percent(caught),
                    time(all.lasted_tenths),
                    time(tenth.lasted_tenths)
                )
            };
            let picture = cells(Tampering::Picture, &budget.picture, &budget.picture_tenth);
            let motion = cells(Tampering::Motion, &budget.motion, &budget.motion_tenth);
            writeln!(out, "| {first} | {whole} | {} | {picture} | {motion} |", percent(budget.cost_ppm))?;
        }
        Ok(())
    }

    fn costs(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "### What watching an honest orchestrator costs\n")?;
        writeln!(
            out,
            "CPU of the broadcaster in percent of the CPU that made the ladder, structure checks included; in brackets the share \
             of results that were compared frame by frame.\n"
        )?;
        writeln!(out, "| watched | first 10 minutes | first hour | first day | first week |")?;
        writeln!(out, "| --- | --- | --- | --- | --- |")?;
        for (name, efforts) in &self.efforts {
            let cells = efforts.map(|effort| {
                let whole = effort.whole * 1_000_000 / effort.results;
                format!("{} ({})", percent(effort.cost_ppm()), percent(whole))
            });
            writeln!(out, "| {name} | {} |", cells.join(" | "))?;
        }
        writeln!(out)
    }
}

fn tenths(value: u64) -> String {
    if value < 1_000 { format!("{}.{}", value / 10, value % 10) } else { (value / 10).to_string() }
}

fn percent(ppm: u64) -> String {
    if ppm < 100_000 {
        format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
    } else {
        format!("{} %", ppm / 10_000)
    }
}

/// A number of segments, in tenths, as the time they play for.
fn time(segments_tenths: u64) -> String {
    let seconds = segments_tenths * SEGMENT_S / 10;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{}.{} h", seconds / 3_600, seconds % 3_600 / 360),
    }
}
