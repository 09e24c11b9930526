//! What came of the judgements.

use std::collections::{BTreeMap, BTreeSet};

use framemill_verification::{Report, Tier};

use crate::peers::Figures;

/// The checks from this one on are of the picture.
const FIRST_PICTURE_CHECK: &str = "undecodable_frames";

/// One rendition and what was said of it.
pub(crate) struct Judgement {
    pub(crate) content: String,
    /// Whether bounds were fitted on the content.
    pub(crate) fitted: bool,
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
            "content": self.content, "fitted": self.fitted, "rung": self.rung, "attack": self.attack,
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

/// Lies of container and headers, every rule broken once.
pub(crate) fn print_lies(judged: &[(&str, Report)]) {
    let passed: Vec<&str> =
        judged.iter().filter(|(_, report)| report.passed()).map(|(name, _)| *name).collect();
    let caught = judged.len() - passed.len();
    println!("\ncontainer lies caught by reading alone: {caught}/{} {}", judged.len(), passed.join(", "));
}

/// Caught and seen.
#[derive(Clone, Copy, Default)]
struct Recall(u32, u32);

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
        let names = |fitted| -> String {
            let set: BTreeSet<_> =
                self.all.iter().filter(|one| one.fitted == fitted).map(|one| one.content.as_str()).collect();
            set.into_iter().collect::<Vec<_>>().join(", ")
        };
        println!("\nbounds were fitted on: {}", names(true));
        println!("and not on: {}", names(false));
    }

    fn honest(&self) -> impl Iterator<Item = &Judgement> {
        self.all.iter().filter(|one| one.attack.is_none())
    }

    fn attacks(&self) -> impl Iterator<Item = &Judgement> {
        self.all.iter().filter(|one| one.attack.is_some() && one.visible)
    }

    fn print_honest(&self) {
        let mut highest: BTreeMap<(Tier, &str), (i64, &Judgement)> = BTreeMap::new();
        let mut refused = Vec::new();
        for one in self.honest() {
            for report in one.reports() {
                refused.extend(report.reason().map(|reason| (one, report.tier, reason)));
                for check in report.checks.iter().skip_while(|check| check.name != FIRST_PICTURE_CHECK) {
                    let percent = check.value * 100 / check.bound.max(1);
                    let place = highest.entry((report.tier, check.name)).or_insert((percent, one));
                    if percent > place.0 {
                        *place = (percent, one);
                    }
                }
            }
        }
        println!("\nhighest figures of honest renditions, in percent of the bound");
        for ((tier, check), (percent, one)) in highest {
            println!("{tier:?} {check}: {percent} % ({} {} {})", one.content, one.rung, one.name);
        }
        println!("\nrefused {} of {} honest renditions", refused.len(), self.honest().count());
        for (one, tier, reason) in refused {
            println!("{} {} {} {tier:?}: {reason}", one.content, one.rung, one.name);
        }
    }

    fn print_recall(&self) {
        let mut rows: BTreeMap<(&str, u32), (Recall, Recall, Vec<&str>)> = BTreeMap::new();
        for one in self.attacks() {
            let attack = one.attack.as_deref().unwrap_or_default();
            let (whole, first, missed) = rows.entry((attack, one.rung)).or_default();
            whole.count(!one.whole.passed());
            if one.whole.passed() {
                missed.push(&one.content);
            }
            if let Some(report) = &one.first {
                first.count(!report.passed());
            }
        }
        println!("\n| attack | rung | all frames | first frame | missed by all frames |");
        println!("| --- | --- | --- | --- | --- |");
        for ((attack, rung), (whole, first, missed)) in rows {
            println!("| {attack} | {rung} | {} | {} | {} |", whole.cell(), first.cell(), missed.join(", "));
        }
    }

    fn print_totals(&self) {
        let mut rows: BTreeMap<(u32, bool), (Recall, Recall)> = BTreeMap::new();
        for one in self.attacks() {
            let (whole, first) = rows.entry((one.rung, one.fitted)).or_default();
            whole.count(!one.whole.passed());
            if let Some(report) = &one.first {
                first.count(!report.passed());
            }
        }
        println!("\n| rung | contents | caught by all frames | persistent ones by the first frame |");
        println!("| --- | --- | --- | --- |");
        for ((rung, fitted), (whole, first)) in rows {
            let set = if fitted { "fitted on" } else { "fresh" };
            println!(
                "| {rung} | {set} | {} ({}) | {} ({}) |",
                whole.percent(),
                whole.cell(),
                first.percent(),
                first.cell()
            );
        }
    }

    /// Every content's thresholds are the lowest figures of honest renditions of the others at its rung.
    fn print_peers(&self) {
        let mut recall = [Recall::default(); 4];
        let mut alarms = [Recall::default(); 4];
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
            let counts = if one.attack.is_some() { &mut recall } else { &mut alarms };
            counts.iter_mut().zip(flags).for_each(|(count, flag)| count.count(flag));
        }
        if recall[0].1 == 0 {
            return;
        }
        println!("\n| judge | attacks caught | honest renditions flagged |");
        println!("| --- | --- | --- |");
        for (index, name) in
            ["this crate, all frames", "PSNR", "SSIM", "MPEG-7 signature"].into_iter().enumerate()
        {
            println!("| {name} | {} | {} |", recall[index].percent(), alarms[index].cell());
        }
    }
}
