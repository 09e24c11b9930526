//! How earnings are printed.

use alloy_primitives::U256;
use probabilistic_ticket::Wei;
use serde_json::{Map, Value, json};

use super::{Account, Heading, Income, Sum, calendar, money::Rate};
use crate::{amount, cli::Grouping};

/// Prints a table for people.
pub(super) fn print(by: Grouping, account: &Account, rate: Option<&Rate>) {
    let rows = account.rows.iter().map(|(heading, income)| (show(heading), income));
    let rows: Vec<_> = rows.chain([("total".to_owned(), &account.total)]).collect();
    let mut table = vec![titles(by, rate)];
    table.extend(rows.iter().map(|(heading, income)| cells(by, heading, income, rate)));
    lines(&table).iter().for_each(|line| println!("{line}"));
    println!();
    println!(
        "expected: what accepted tickets are worth on average; charged: the part of it that work has used"
    );
    println!(
        "paid: winning tickets that the chain has paid, final; lost: winners that expired or were refused"
    );
    if by == Grouping::Stream {
        println!("a winning ticket belongs to no stream: see the total, or --by day");
    }
    println!(
        "waiting to be paid: {} winners, {}",
        account.waiting.tickets,
        amount::show(account.waiting.value.0)
    );
    if let Some(rate) = rate {
        println!("at {} {} for an ether, as given", rate.show(), rate.currency);
    }
}

fn show(heading: &Heading) -> String {
    match heading {
        Heading::Hour(hour) => calendar::show_hour(*hour),
        Heading::Day(day) => calendar::show_day(*day),
        Heading::Stream { session, .. } => format!("{}..", &session.to_string()[..10]),
    }
}

fn titles(by: Grouping, rate: Option<&Rate>) -> Vec<String> {
    let first = match by {
        Grouping::Hour => "hour",
        Grouping::Day => "day",
        Grouping::Stream => "stream",
    };
    let mut titles = vec![first, "tickets", "expected ETH", "charged ETH"];
    if by != Grouping::Stream {
        titles.extend(["winners", "won ETH", "paid", "paid ETH", "lost ETH"]);
    }
    let mut titles: Vec<_> = titles.into_iter().map(str::to_owned).collect();
    if let Some(rate) = rate {
        titles.push(format!("expected {}", rate.currency));
        titles.extend((by != Grouping::Stream).then(|| format!("paid {}", rate.currency)));
    }
    titles
}

fn cells(by: Grouping, heading: &str, income: &Income, rate: Option<&Rate>) -> Vec<String> {
    let ether = |value: Wei| amount::show_units(value.0);
    let Income { expected, charged, won, paid, lost } = income;
    let mut cells =
        vec![heading.to_owned(), expected.tickets.to_string(), ether(expected.value), ether(*charged)];
    if by != Grouping::Stream {
        cells.extend([won.tickets.to_string(), ether(won.value), paid.tickets.to_string()]);
        cells.extend([ether(paid.value), ether(lost.value)]);
    }
    if let Some(rate) = rate {
        cells.push(rate.value(expected.value.0));
        cells.extend((by != Grouping::Stream).then(|| rate.value(paid.value.0)));
    }
    cells
}

/// Rows of cells under each other: the first column begins, the others end at one place.
fn lines(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    table.iter().map(line).collect()
}

/// The same for a machine, in wei.
pub(super) fn json(by: Grouping, account: &Account, rate: Option<&Rate>) -> Value {
    let rows = account.rows.iter().map(|(heading, income)| {
        let mut row = named(heading);
        put(&mut row, by, income, rate);
        Value::Object(row)
    });
    let mut total = Map::new();
    put(&mut total, Grouping::Day, &account.total, rate);
    let rate = rate.map(|rate| json!({ "price": rate.show(), "currency": rate.currency }));
    json!({ "rows": rows.collect::<Vec<_>>(), "total": total, "waiting": sum(account.waiting), "rate": rate })
}

fn named(heading: &Heading) -> Map<String, Value> {
    let fields = match heading {
        Heading::Hour(hour) => vec![("hour", json!(calendar::show_hour(*hour)))],
        Heading::Day(day) => vec![("day", json!(calendar::show_day(*day)))],
        Heading::Stream { since, session, sender } => vec![
            ("stream", json!(session)),
            ("sender", json!(sender)),
            ("since", json!(calendar::show_hour(*since))),
        ],
    };
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn put(row: &mut Map<String, Value>, by: Grouping, income: &Income, rate: Option<&Rate>) {
    let mut fields = vec![("expected", sum(income.expected)), ("charged_wei", json!(income.charged))];
    if by != Grouping::Stream {
        fields.extend([("won", sum(income.won)), ("paid", sum(income.paid)), ("lost", sum(income.lost))]);
    }
    row.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let Some(rate) = rate else { return };
    let worth = |wei: U256| json!(rate.value(wei));
    row.insert("expected_fiat".to_owned(), worth(income.expected.value.0));
    if by != Grouping::Stream {
        row.insert("paid_fiat".to_owned(), worth(income.paid.value.0));
    }
}

fn sum(of: Sum) -> Value {
    json!({ "tickets": of.tickets, "wei": of.value })
}
