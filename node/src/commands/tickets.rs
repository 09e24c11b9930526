//! `framemill tickets`: what the books of tickets hold, and whether it follows from their log.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use probabilistic_ticket::ledger::{
    Audit, DeadReason, Inspector, OpenSession, OpenSpending, Winner, WinnerState,
};
use serde_json::{Value, json};

use crate::{
    cli::{ExportArgs, Exported, TicketsAuditArgs, TicketsCommand},
    config::Config,
    ledger::Place,
};

/// Runs the command: exit status 1 when a balance does not follow from the log.
///
/// # Errors
/// A ledger cannot be read.
pub(crate) async fn run(config: &Config, command: &TicketsCommand) -> anyhow::Result<ExitCode> {
    match command {
        TicketsCommand::Audit(args) => audit(config, args).await,
        TicketsCommand::Export(args) => export(config, args).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn audit(config: &Config, args: &TicketsAuditArgs) -> anyhow::Result<ExitCode> {
    let mut clean = true;
    let mut told = Vec::new();
    for place in Place::find(config, args.ledger.as_deref())? {
        let found = place.inspect().await?.audit().await?;
        clean &= found.is_clean();
        match args.json {
            true => told.push(to_json(&place, &found)),
            false => print(&place, &found),
        }
    }
    if args.json {
        println!("{}", json!({ "clean": clean, "ledgers": told }));
    }
    Ok(ExitCode::from(u8::from(!clean)))
}

fn to_json(place: &Place, found: &Audit) -> Value {
    let differences: Vec<_> = found
        .differences
        .iter()
        .map(|difference| json!({ "account": difference.account, "log": difference.log, "row": difference.row }))
        .collect();
    json!({
        "ledger": place.to_string(),
        "clean": found.is_clean(),
        "entries": found.entries,
        "openings": found.openings,
        "balances": found.balances,
        "broken": found.broken,
        "differences": differences,
    })
}

fn print(place: &Place, found: &Audit) {
    if let Some(broken) = &found.broken {
        println!("BROKEN  {broken}");
    }
    for difference in &found.differences {
        let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
        let (log, row) = (side(&difference.log), side(&difference.row));
        println!("DIFFERS  {}: the log adds up to {log}; the row says {row}", difference.account);
    }
    println!(
        "{place}: {} balances compared with {} entries on top of {} openings, {} differ",
        found.balances,
        found.entries,
        found.openings,
        found.differences.len()
    );
}

async fn export(config: &Config, args: &ExportArgs) -> anyhow::Result<()> {
    let mut out = Output { to: BufWriter::new(io::stdout().lock()), csv: args.csv, headed: false };
    let wanted = |what| args.only.is_none_or(|only| only == what);
    for place in Place::find(config, args.ledger.as_deref())? {
        let mut inspector = place.inspect().await?;
        if wanted(Exported::Winners) {
            winners(&mut inspector, &mut out).await?;
        }
        if wanted(Exported::Sessions) {
            inspector.sessions().await?.iter().try_for_each(|open| out.line(session(open)))?;
        }
        if wanted(Exported::Spendings) {
            inspector.spendings().await?.iter().try_for_each(|open| out.line(spending(open)))?;
        }
    }
    Ok(out.to.flush()?)
}

async fn winners<W: Write>(inspector: &mut Inspector, out: &mut Output<W>) -> anyhow::Result<()> {
    let mut last = 0;
    loop {
        let page = inspector.winners(last).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = end.id;
        page.iter().try_for_each(|found| out.line(winner(found)))?;
    }
}

/// Names and values of one line. No value holds a comma or a quote.
type Line = Vec<(&'static str, Value)>;

/// Lines for a machine.
struct Output<W> {
    to: W,
    csv: bool,
    headed: bool,
}

impl<W: Write> Output<W> {
    fn line(&mut self, line: Line) -> io::Result<()> {
        if !self.csv {
            let object: serde_json::Map<_, _> =
                line.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            return writeln!(self.to, "{}", Value::Object(object));
        }
        if !std::mem::replace(&mut self.headed, true) {
            let names: Vec<_> = line.iter().map(|(name, _)| *name).collect();
            writeln!(self.to, "{}", names.join(","))?;
        }
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let values: Vec<_> = line.iter().map(|(_, value)| text(value)).collect();
        writeln!(self.to, "{}", values.join(","))
    }
}

fn winner(found: &Winner) -> Line {
    let ticket = &found.ticket.signed.ticket;
    let (state, tx, reason) = match found.state {
        WinnerState::Pending => ("pending", None, None),
        WinnerState::Submitted(tx) => ("submitted", Some(tx), None),
        WinnerState::Paid(tx) => ("paid", Some(tx), None),
        WinnerState::Dead(reason) => ("dead", None, Some(dead(reason))),
    };
    vec![
        ("kind", json!("winner")),
        ("sender", json!(found.lane.sender)),
        ("recipient", json!(found.lane.recipient)),
        ("lane", json!(found.lane.lane)),
        ("nonce", json!(found.nonce)),
        ("face_value_wei", json!(ticket.face_value)),
        ("creation_round", json!(ticket.creation_round)),
        ("state", json!(state)),
        ("transaction", json!(tx)),
        ("reason", json!(reason)),
        ("attempts", json!(found.attempts)),
        ("accepted_ms", json!(found.accepted_ms)),
    ]
}

pub(crate) fn dead(reason: DeadReason) -> &'static str {
    match reason {
        DeadReason::Expired => "expired",
        DeadReason::Poisoned => "poisoned",
        DeadReason::NoncePassed => "nonce passed",
    }
}

fn session(open: &OpenSession) -> Line {
    vec![
        ("kind", json!("session")),
        ("session", json!(open.id)),
        ("sender", json!(open.lane.sender)),
        ("recipient", json!(open.lane.recipient)),
        ("lane", json!(open.lane.lane)),
        ("face_value_wei", json!(open.face_value)),
        ("credit_wei", json!(open.credit)),
        ("held_wei", json!(open.held)),
        ("tickets", json!(open.tickets)),
        ("used_ms", json!(open.used_ms)),
    ]
}

fn spending(open: &OpenSpending) -> Line {
    vec![
        ("kind", json!("spending")),
        ("session", json!(open.session)),
        ("stream", json!(open.stream)),
        ("recipient", json!(open.recipient)),
        ("sender", json!(open.sender)),
        ("paid_wei", json!(open.sums.paid)),
        ("written_off_wei", json!(open.sums.written_off)),
        ("ordered_wei", json!(open.sums.ordered)),
        ("verified_wei", json!(open.sums.verified)),
    ]
}
