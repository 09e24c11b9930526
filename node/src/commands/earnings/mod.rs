//! `framemill earnings`: what an orchestrator's books say it earned.
//!
//! Two sums are kept apart. *Expected* is what accepted tickets are worth on average: income as it is earned, and what a price
//! means. *Paid* is what winning tickets brought on chain: income as it arrives, in lumps. Over many winners they meet.

mod calendar;
mod money;
mod table;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use probabilistic_ticket::{
    Wei,
    ledger::{Earned, Inspector, Winner, WinnerState},
};

use crate::{
    cli::{EarningsArgs, Grouping},
    config::Config,
    ledger::{Place, Side},
};
use calendar::{HOUR_MS, HOURS_PER_DAY};
use money::Rate;

/// How many tickets, and what they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    tickets: u64,
    value: Wei,
}

impl Sum {
    fn add(&mut self, tickets: u64, value: Wei) {
        self.tickets = self.tickets.saturating_add(tickets);
        self.value = self.value.saturating_add(value);
    }
}

/// What came in under one heading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Income {
    /// Tickets accepted, at their expected value.
    expected: Sum,
    /// What of it was charged for work that was done.
    charged: Wei,
    /// Winners, at their face value, when they were accepted.
    won: Sum,
    /// Winners paid on chain, when that was final.
    paid: Sum,
    /// Winners that will never be paid.
    lost: Sum,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heading {
    /// Hours since 1970.
    Hour(u64),
    /// Days since 1970.
    Day(u64),
    /// A session of a sender, and the first hour in which it paid.
    Stream { since: u64, session: B256, sender: Address },
}

/// Everything that is told.
#[derive(Debug, Default)]
struct Account {
    rows: BTreeMap<Heading, Income>,
    total: Income,
    /// Winners that are not paid yet, whenever they were accepted.
    waiting: Sum,
}

/// Runs the command.
///
/// # Errors
/// A ledger cannot be read, or date or rate are none.
pub(crate) async fn run(config: &Config, args: &EarningsArgs) -> anyhow::Result<()> {
    let since = args.since.as_deref().map(calendar::parse_day).transpose()?.unwrap_or(0) * HOURS_PER_DAY;
    let rate = args.rate.as_deref().map(|rate| Rate::parse(rate, &args.currency)).transpose()?;
    let mut account = Account::default();
    for place in places(config, args)? {
        let mut inspector = place.inspect().await?;
        account.book_tickets(args.by, since, &inspector.earned().await?);
        account.book_winners(args.by, since, &mut inspector).await?;
    }
    match args.json {
        true => println!("{}", table::json(args.by, &account, rate.as_ref())),
        false => table::print(args.by, &account, rate.as_ref()),
    }
    Ok(())
}

fn places(config: &Config, args: &EarningsArgs) -> anyhow::Result<Vec<Place>> {
    if args.ledger.is_some() {
        return Place::find(config, args.ledger.as_deref());
    }
    let place = Place::of(config, Side::Recipient)?;
    if let Place::File(path) = &place {
        anyhow::ensure!(
            path.exists(),
            "{place} is not there: no orchestrator has earned here; set data_dir or ledger, or name a ledger by --ledger"
        );
    }
    Ok(vec![place])
}

impl Account {
    fn book_tickets(&mut self, by: Grouping, since: u64, earned: &[Earned]) {
        let mut first = BTreeMap::new();
        for one in earned.iter().filter(|one| one.hour >= since) {
            let since = *first.entry(one.session).or_insert(one.hour);
            let heading = match by {
                Grouping::Hour => Heading::Hour(one.hour),
                Grouping::Day => Heading::Day(one.hour / HOURS_PER_DAY),
                Grouping::Stream => Heading::Stream { since, session: one.session, sender: one.sender },
            };
            self.add(Some(heading), |income| {
                income.expected.add(one.tickets, one.value);
                income.charged = income.charged.saturating_add(one.charged);
            });
        }
    }

    async fn book_winners(
        &mut self,
        by: Grouping,
        since: u64,
        inspector: &mut Inspector,
    ) -> anyhow::Result<()> {
        let mut last = 0;
        loop {
            let page = inspector.winners(last).await?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.id;
            page.iter().for_each(|winner| self.book_winner(by, since, winner));
        }
    }

    fn book_winner(&mut self, by: Grouping, since: u64, winner: &Winner) {
        let value = winner.ticket.signed.ticket.face_value;
        self.at(by, since, winner.accepted_ms, |income| income.won.add(1, value));
        // Winners that were settled before that time was kept count when they were accepted.
        let settled_ms = winner.settled_ms.unwrap_or(winner.accepted_ms);
        match winner.state {
            WinnerState::Pending | WinnerState::Submitted(_) => self.waiting.add(1, value),
            WinnerState::Paid(_) => self.at(by, since, settled_ms, |income| income.paid.add(1, value)),
            WinnerState::Dead(_) => self.at(by, since, settled_ms, |income| income.lost.add(1, value)),
        }
    }

    /// Changes the row of a time, and the total. A lane serves one stream after another, so that what a ticket won is no
    /// stream's.
    fn at(&mut self, by: Grouping, since: u64, ms: u64, change: impl Fn(&mut Income)) {
        let hour = ms / HOUR_MS;
        if hour >= since {
            let heading = match by {
                Grouping::Hour => Some(Heading::Hour(hour)),
                Grouping::Day => Some(Heading::Day(hour / HOURS_PER_DAY)),
                Grouping::Stream => None,
            };
            self.add(heading, change);
        }
    }

    fn add(&mut self, heading: Option<Heading>, change: impl Fn(&mut Income)) {
        if let Some(heading) = heading {
            change(self.rows.entry(heading).or_default());
        }
        change(&mut self.total);
    }
}
