//! Damaged media, tried in processes of their own: a full result or an error with a name, in time and within a bound on memory.

use std::{io, path::Path, process::Command, time::Duration};

pub(crate) mod case;
pub(crate) mod clips;
pub(crate) mod worker;

use crate::process::Helper;
use case::Case;
use worker::Answer;

/// Most memory that a process may have resident while it works on one input, in KiB. The largest of the clips has pictures of 1080p.
const MEMORY_KIB: u64 = 768 << 10;
/// Address space of such a process in KiB: what asks for more dies, and takes nothing else with it.
const ADDRESS_SPACE_KIB: u64 = 8 << 20;
/// A process that says nothing for so many times the deadline of a step hangs: each case is a handful of steps.
const HANGS: u32 = 6;

/// What a whole run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Cases that were tried.
    pub(crate) cases: usize,
    /// Cases and what is wrong with what came of them.
    pub(crate) flaws: Vec<String>,
    /// The most memory that one took, in KiB, and which.
    pub(crate) largest: (u64, String),
    /// The most milliseconds that one took, and which.
    pub(crate) slowest: (u64, String),
}

/// Tries all cases, in processes started as `program` with `arguments`, which call [`worker::work`] with the deadline; `seen` hears of
/// each.
///
/// # Errors
/// When no process can be started.
pub(crate) fn run(
    cases: &[Case],
    program: &Path,
    arguments: &[&str],
    deadline: Duration,
    mut seen: impl FnMut(&Case, &str),
) -> io::Result<Report> {
    let mut report = Report::default();
    let mut process = None;
    for case in cases {
        let helper = match &mut process {
            Some(helper) => helper,
            None => process.insert(Helper::start(bounded(program, arguments))?),
        };
        let answer =
            helper.ask(&worker::question(case), deadline * HANGS).and_then(|line| Answer::parse(&line));
        if answer.is_err() {
            process = None;
        }
        report.add(case, answer, &mut seen);
    }
    Ok(report)
}

/// The program with a bound on its memory, which the shell sets because this process must not have it.
fn bounded(program: &Path, arguments: &[&str]) -> Command {
    let script = format!("ulimit -v {ADDRESS_SPACE_KIB}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program).args(arguments);
    command
}

impl Report {
    fn add(&mut self, case: &Case, answer: Result<Answer, String>, seen: &mut impl FnMut(&Case, &str)) {
        self.cases += 1;
        let Answer { peak_kib, millis, outcome, flaw } = match answer {
            Ok(answer) => answer,
            Err(death) => {
                seen(case, &death);
                return self.flaws.push(format!("{case}: {death}"));
            }
        };
        seen(case, &format!("{outcome}; {peak_kib} KiB, {millis} ms"));
        if !flaw.is_empty() {
            self.flaws.push(format!("{case}: {flaw}"));
        }
        if peak_kib > MEMORY_KIB {
            self.flaws.push(format!("{case}: took {peak_kib} KiB, {MEMORY_KIB} are allowed"));
        }
        self.largest = self.largest.clone().max((peak_kib, case.to_string()));
        self.slowest = self.slowest.clone().max((millis, case.to_string()));
    }
}
