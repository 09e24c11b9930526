//! What came of the judgements.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use framemill_verification::{Check, Relation, Report};

use crate::contents::Standing;
use crate::peers::Figures;

/// The checks from this one on are of the picture.
const FIRST_PICTURE_CHECK: &str = "undecodable_frames";

/// Lines from which on less may be missed.
const MIDDLE_LINES: u32 = 480;

/// One rendition and what was said of it.
pub(crate) struct Judgement {
    pub(crate) content: String,
    pub(crate) standing: Standing,
    /// Lines of the rung; 0 for a judgement of the sound.
    pub(crate) rung: u32,
    /// What was done to it; nothing to an honest one.
    pub(crate) attack: Option<String>,
    pub(crate) name: String,
    /// Whether a viewer could tell.
    pub(crate) visible: bool,
    pub(crate) whole: Report,
    /// Where the first frame should tell.
    pub(crate) first: Option<Report>,
    pub(crate) peers: Option<Figures>,
}

impl Judgement {
    pub(crate) fn line(&self) {
        let kind = match (&self.attack, self.visible) {
            (None, _) => "honest",
            (Some(_), true) => "attack",
            (Some(_), false) => "unseen",
        };
        for report in self.reports() {
            let failed: Vec<String> = report
                .failures()
                .map(|check| format!("{}={}>{}", check.name, check.value, check.bound))
                .collect();
            let verdict = if report.passed() { "pass" } else { "fail" };
            println!(
                "{kind} {} {} {} {:?} {verdict} {}",
                self.content,
                self.rung,
                self.name,
                report.tier,
                failed.join(" ")
            );
        }
    }

    /// Everything, as one line of JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "content": self.content, "standing": self.standing.as_str(), "rung": self.rung, "attack": self.attack,
            "name": self.name, "visible": self.visible, "whole": self.whole, "first": self.first,
        })
    }

    fn reports(&self) -> impl Iterator<Item = &Report> {
        std::iter::once(&self.whole).chain(&self.first)
    }
}

/// All judgements.
#[derive(Default)]
pub(crate) struct Table {
    all: Vec<Judgement>,
}

/// Lies of container and headers, every rule broken once: how many are caught.
pub(crate) fn print_lies(judged: &[(&str, Report)]) -> Recall {
    let passed: Vec<&str> =
        judged.iter().filter(|(_, report)| report.passed()).map(|(name, _)| *name).collect();
    let caught = judged.len() - passed.len();
    println!("\ncontainer lies caught by reading alone: {caught}/{} {}", judged.len(), passed.join(", "));
    Recall(caught as u32, judged.len() as u32)
}

/// So many of so many.
#[derive(Clone, Copy, Default)]
pub(crate) struct Recall(u32, u32);

impl AddAssign for Recall {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
        self.1 += other.1;
    }
}

impl Recall {
    fn count(&mut self, caught: bool) {
        self.0 += u32::from(caught);
        self.1 += 1;
    }

    fn cell(self) -> String {
        if self.1 == 0 { "-".into() } else { format!("{}/{}", self.0, self.1) }
    }

    fn percent(self) -> String {
        let permille = (1000 * self.0).checked_div(self.1);
        permille.map_or("-".into(), |permille| format!("{}.{} %", permille / 10, permille % 10))
    }

    /// Whether it is at least so many of a hundred; of nothing it is.
    fn reaches(self, percent: u32) -> bool {
        100 * self.0 >= percent * self.1
    }
}

/// What was caught of one kind of attack.
#[derive(Clone, Copy, Default)]
struct Caught {
    /// Of what can be seen, by all frames.
    whole: Recall,
    /// Of what can be seen in the first frame and lasts, by that alone.
    first: Recall,
    /// Of what nobody sees, by all frames.
    unseen: Recall,
}

impl Caught {
    fn count(&mut self, one: &Judgement) {
        let caught = !one.whole.passed();
        if !one.visible {
            self.unseen.count(caught);
            return;
        }
        self.whole.count(caught);
        if let Some(report) = &one.first {
            self.first.count(!report.passed());
        }
    }
}

impl AddAssign for Caught {
    fn add_assign(&mut self, other: Self) {
        self.whole += other.whole;
        self.first += other.first;
        self.unseen += other.unseen;
    }
}

impl Table {
    pub(crate) fn add(&mut self, judgement: Judgement) {
        self.all.push(judgement);
    }

    pub(crate) fn print(&self) {
        self.print_split();
        self.print_honest();
        self.print_recall();
        self.print_totals();
        self.print_peers();
    }

    fn print_split(&self) {
        for standing in Standing::ALL {
            let of_it = self.all.iter().filter(|one| one.standing == standing);
            let names: BTreeSet<_> = of_it.map(|one| one.content.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            println!("\n{}: {names}", standing.as_str());
        }
    }

    fn honest(&self) -> impl Iterator<Item = &Judgement> {
        self.all.iter().filter(|one| one.attack.is_none())
    }

    fn attacks(&self) -> impl Iterator<Item = &Judgement> {
        self.all.iter().filter(|one| one.attack.is_some())
    }

    /// Honest renditions of a rung that all frames and that the first one refused.
    fn refused(&self) -> BTreeMap<u32, (Recall, Recall)> {
        let mut rows: BTreeMap<u32, (Recall, Recall)> = BTreeMap::new();
        for one in self.honest() {
            let (whole, first) = rows.entry(one.rung).or_default();
            whole.count(!one.whole.passed());
            if let Some(report) = &one.first {
                first.count(!report.passed());
            }
        }
        rows
    }

    fn caught(&self) -> BTreeMap<(u32, Standing), Caught> {
        let mut rows: BTreeMap<(u32, Standing), Caught> = BTreeMap::new();
        self.attacks().for_each(|one| rows.entry((one.rung, one.standing)).or_default().count(one));
        rows
    }

    fn print_honest(&self) {
        println!("\n| rung | honest, refused by all frames | by the first frame |\n| --- | --- | --- |");
        for (rung, (whole, first)) in self.refused() {
            println!("| {rung} | {} | {} |", whole.cell(), first.cell());
        }
        for one in self.honest() {
            for (report, reason) in one.reports().filter_map(|report| Some((report, report.reason()?))) {
                println!("{} {} {} {:?}: {reason}", one.content, one.rung, one.name, report.tier);
            }
        }
        self.print_highest();
    }

    /// Of every bound on the picture what honest renditions use most of it.
    fn print_highest(&self) {
        let mut rows: Vec<(&str, [Option<Highest>; 2])> = Vec::new();
        for one in self.honest() {
            for (tier, report) in one.reports().enumerate() {
                let picture = report.checks.iter().skip_while(|check| check.name != FIRST_PICTURE_CHECK);
                for check in picture.filter(|check| check.relation == Relation::Max && check.bound > 0) {
                    let known = rows.iter().position(|(name, _)| *name == check.name);
                    let place = known.unwrap_or_else(|| {
                        rows.push((check.name, [None, None]));
                        rows.len() - 1
                    });
                    let found = Highest::new(check, one);
                    let highest = &mut rows[place].1[tier];
                    *highest =
                        Some(highest.take().map_or_else(|| found.clone(), |highest| highest.or(&found)));
                }
            }
        }
        println!(
            "\n| check | bound | highest honest figure, % of its bound | of | bound, first frame | highest honest | of |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        for (check, [whole, first]) in rows {
            println!(
                "| `{check}` | {} | {} |",
                Highest::cells(whole.as_ref()),
                Highest::cells(first.as_ref())
            );
        }
    }

    fn print_recall(&self) {
        let mut rows: BTreeMap<(&str, u32), (Caught, Vec<&str>)> = BTreeMap::new();
        for one in self.attacks() {
            let attack = one.attack.as_deref().unwrap_or_default();
            let (caught, missed) = rows.entry((attack, one.rung)).or_default();
            caught.count(one);
            if one.visible && one.whole.passed() {
                missed.push(&one.content);
            }
        }
        println!(
            "\n| attack | rung | all frames | first frame | missed by all frames | caught though nobody sees it |"
        );
        println!("| --- | --- | --- | --- | --- | --- |");
        for ((attack, rung), (Caught { whole, first, unseen }, missed)) in rows {
            let (whole, first, unseen) = (whole.cell(), first.cell(), unseen.cell());
            println!("| {attack} | {rung} | {whole} | {first} | {} | {unseen} |", missed.join(", "));
        }
    }

    fn print_totals(&self) {
        println!(
            "\n| rung | contents | caught by all frames | persistent ones by the first frame | caught though nobody sees it |"
        );
        println!("| --- | --- | --- | --- | --- |");
        for ((rung, standing), Caught { whole, first, unseen }) in self.caught() {
            println!(
                "| {rung} | {} | {} ({}) | {} ({}) | {} |",
                standing.as_str(),
                whole.percent(),
                whole.cell(),
                first.percent(),
                first.cell(),
                unseen.cell()
            );
        }
    }

    /// Whether what was judged meets the goals.
    pub(crate) fn print_goals(&self, lies: Recall) -> bool {
        let mut rungs: BTreeMap<u32, Caught> = BTreeMap::new();
        let mut fresh = Caught::default();
        for ((rung, standing), caught) in self.caught() {
            *rungs.entry(rung).or_default() += caught;
            if standing == Standing::Fresh && rung > 0 {
                fresh += caught;
            }
        }
        let first = rungs.values().fold(Recall::default(), |mut sum, caught| {
            sum += caught.first;
            sum
        });
        let refused = self.refused().into_values().fold(Recall::default(), |mut sum, (whole, first)| {
            sum += whole;
            sum.0 += first.0;
            sum
        });
        let mut goals = vec![
            ("no honest rendition refused".to_owned(), refused, refused.0 == 0),
            ("lies of the container, all".to_owned(), lies, lies.reaches(100)),
            ("persistent attacks by the first frame, 99 %".to_owned(), first, first.reaches(99)),
            ("the same of fresh families".to_owned(), fresh.first, fresh.first.reaches(99)),
            (
                "attacks on fresh families by all frames, 99 %".to_owned(),
                fresh.whole,
                fresh.whole.reaches(99),
            ),
        ];
        for (rung, Caught { whole, .. }) in rungs {
            let (what, percent) = match rung {
                0 => ("attacks on the sound".to_owned(), 99),
                _ => (
                    format!("attacks by all frames at {rung} lines"),
                    if rung < MIDDLE_LINES { 97 } else { 99 },
                ),
            };
            goals.push((format!("{what}, {percent} %"), whole, whole.reaches(percent)));
        }
        println!("\n| goal | counted | met |\n| --- | --- | --- |");
        for (goal, counted, met) in &goals {
            println!(
                "| {goal} | {} ({}) | {} |",
                counted.cell(),
                counted.percent(),
                if *met { "yes" } else { "no" }
            );
        }
        goals.iter().all(|(_, _, met)| *met)
    }

    /// Every content's thresholds are the lowest figures of honest renditions of the others at its rung.
    fn print_peers(&self) {
        let mut rows: BTreeMap<(&str, u32), [Recall; PEERS.len()]> = BTreeMap::new();
        for one in self.all.iter().filter(|one| one.visible) {
            let Some(figures) = one.peers else { continue };
            let others = self.honest().filter(|other| other.content != one.content && other.rung == one.rung);
            let others: Vec<Figures> = others.filter_map(|other| other.peers).collect();
            let lowest = |value: fn(&Figures) -> i64| others.iter().map(value).min().unwrap_or(i64::MIN);
            let flags = [
                !one.whole.passed(),
                figures.psnr < lowest(|figures| figures.psnr),
                figures.ssim < lowest(|figures| figures.ssim),
                !figures.signature,
            ];
            let place = (one.attack.as_deref().unwrap_or(HONEST), one.rung);
            rows.entry(place).or_default().iter_mut().zip(flags).for_each(|(count, flag)| count.count(flag));
        }
        if rows.is_empty() {
            return;
        }
        println!("\n| attack | rung | {} |", PEERS.join(" | "));
        println!("| --- | --- |{}", " --- |".repeat(PEERS.len()));
        let mut all = [Recall::default(); PEERS.len()];
        for ((attack, rung), row) in rows {
            if attack != HONEST {
                all.iter_mut().zip(row).for_each(|(sum, one)| *sum += one);
            }
            println!("| {attack} | {rung} | {} |", row.map(Recall::cell).join(" | "));
        }
        println!("| all attacks | | {} |", all.map(Recall::percent).join(" | "));
    }
}

/// What honest renditions use most of a bound.
#[derive(Clone)]
struct Highest<'a> {
    /// The bound where nothing widens it.
    bound: i64,
    /// Figure in hundredths of the bound that it was held against.
    percent: i64,
    of: &'a Judgement,
}

impl<'a> Highest<'a> {
    fn new(check: &Check, of: &'a Judgement) -> Self {
        Self { bound: check.bound, percent: check.value * 100 / check.bound, of }
    }

    fn or(self, other: &Self) -> Self {
        let bound = self.bound.min(other.bound);
        if other.percent > self.percent { Self { bound, ..other.clone() } } else { Self { bound, ..self } }
    }

    fn cells(highest: Option<&Self>) -> String {
        highest.map_or(" | | ".into(), |Self { bound, percent, of }| {
            format!("{bound} | {percent} | {} {}", of.content, of.rung)
        })
    }
}

/// Who judges in the table of peers.
const PEERS: [&str; 4] = ["all frames", "PSNR", "SSIM", "MPEG-7 signature"];

/// The row of what should not be flagged.
const HONEST: &str = "honest, flagged";
