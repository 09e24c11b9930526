//! Reads the books without changing them: audit and export.

use alloy_primitives::{Address, B256};
use sqlx::{PgConnection, SqliteConnection};

use super::conn::{Conn, Row, values};
use super::earned::folded;
use super::fold::{Noted, next_chapter, openings};
use super::{row, rows};
use crate::ledger::journal::{Balances, Tally};
use crate::ledger::{LaneId, LedgerError, SpendingState, Winner};
use crate::units::Wei;

/// Rows of the log or of winners read at once.
const PAGE: u64 = 256;

/// A connection to read from, within one transaction that sees one moment.
pub(crate) enum Reader {
    /// To a file, which its own process may go on writing.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(PgConnection),
}

impl Reader {
    fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(connection) => Conn::Sqlite(connection),
            Self::Postgres(connection) => Conn::Postgres(connection),
        }
    }
}

/// One moment of a ledger, to look at. Nodes may go on writing: what they write is not seen.
pub struct Inspector {
    reader: Reader,
}

/// A balance that is not what the log adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose balance.
    pub account: String,
    /// What the log adds up to; `None` when it knows of no such account.
    pub log: Option<String>,
    /// What the row says; `None` when there is none.
    pub row: Option<String>,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Entries that were added up, on top of the openings.
    pub entries: u64,
    /// Accounts that an opening was read for.
    pub openings: u64,
    /// Balances compared.
    pub balances: u64,
    /// Entry at which the log stops to make sense, if it does: what it adds up to is what came before.
    pub broken: Option<String>,
    /// Balances that differ.
    pub differences: Vec<Difference>,
}

impl Audit {
    /// Whether every balance follows from the log.
    pub fn is_clean(&self) -> bool {
        self.broken.is_none() && self.differences.is_empty()
    }
}

/// A recipient's session in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id.
    pub id: B256,
    /// The lane it holds.
    pub lane: LaneId,
    /// The face value agreed.
    pub face_value: Wei,
    /// Free credit.
    pub credit: Wei,
    /// Held for work in progress, by all processes.
    pub held: Wei,
    /// Tickets credited.
    pub tickets: u64,
    /// When it was last paid, in Unix milliseconds; zero when its process died since.
    pub used_ms: u64,
}

/// A sender's session in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSpending {
    /// Its id.
    pub session: B256,
    /// The stream it serves.
    pub stream: B256,
    /// Who is paid.
    pub recipient: Address,
    /// Who pays.
    pub sender: Address,
    /// Its sums.
    pub sums: SpendingState,
}

/// What a session earned in an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    /// The hour, counted from 1970.
    pub hour: u64,
    /// The session: what one stream of a sender bought.
    pub session: B256,
    /// Who paid.
    pub sender: Address,
    /// Who was paid.
    pub recipient: Address,
    /// Tickets accepted.
    pub tickets: u64,
    /// Their expected value.
    pub value: Wei,
    /// What of such value was charged for work that was done.
    pub charged: Wei,
}

impl Inspector {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader }
    }

    /// Adds up the log and compares it with every balance. Reads the whole of both.
    pub async fn audit(&mut self) -> Result<Audit, LedgerError> {
        let conn = &mut self.reader.conn();
        let mut derived = openings(conn).await?;
        let mut audit = Audit { openings: derived.0.len() as u64, ..Audit::default() };
        add_up(conn, &mut derived, &mut audit).await?;
        let mut rows = rows::balances(conn).await?;
        let newest = derived.newest_minute().max(rows.newest_minute()).unwrap_or_default();
        derived.settle(newest);
        rows.settle(newest);
        audit.balances = derived.0.len().max(rows.0.len()) as u64;
        audit.differences = derived
            .differences(&rows)
            .map(|(account, log, row)| Difference {
                account: account.to_string(),
                log: log.map(|balance| balance.to_string()),
                row: row.map(|balance| balance.to_string()),
            })
            .collect();
        Ok(audit)
    }

    /// Winners after the row `after`, by row, at most 256: pass zero first, then the last one's id, until none is left.
    pub async fn winners(&mut self, after: i64) -> Result<Vec<Winner>, LedgerError> {
        let sql = "SELECT * FROM winners WHERE id > $1 ORDER BY id LIMIT $2";
        self.reader.conn().rows(sql, values![after, PAGE]).await?.iter().map(row::winner).collect()
    }

    /// What every session earned, by hour, oldest first. Reads the whole log.
    ///
    /// # Errors
    /// The ledger cannot be read, or its log does not add up: an audit tells where.
    pub async fn earned(&mut self) -> Result<Vec<Earned>, LedgerError> {
        let conn = &mut self.reader.conn();
        let mut tally = folded(conn).await?;
        let mut balances = openings(conn).await?;
        let mut seq = 0;
        while let Some(chapter) = next_chapter(conn, seq, PAGE).await? {
            for Noted { instance, at_ms, entry } in &chapter.entries {
                tally.count(*at_ms, entry, &balances);
                balances.apply(*instance, entry).map_err(|_| LedgerError::Corrupt("log"))?;
            }
            seq = chapter.last;
        }
        Ok(earned(&tally))
    }

    /// Every open session of recipients.
    pub async fn sessions(&mut self) -> Result<Vec<OpenSession>, LedgerError> {
        let mut conn = self.reader.conn();
        let mut held = std::collections::HashMap::<B256, Wei>::new();
        for hold in conn.rows("SELECT session, amount FROM holds", values![]).await? {
            let sum = held.entry(hold.hash("session")?).or_default();
            *sum = sum.saturating_add(hold.wei("amount")?);
        }
        let open = |found: &Row| {
            let id = found.hash("id")?;
            Ok(OpenSession {
                id,
                lane: row::lane_id(found)?,
                face_value: found.wei("face_value")?,
                credit: found.wei("credit")?,
                held: held.get(&id).copied().unwrap_or_default(),
                tickets: found.counter("tickets")?,
                used_ms: found.counter("used_ms")?,
            })
        };
        conn.rows("SELECT * FROM sessions ORDER BY id", values![]).await?.iter().map(open).collect()
    }

    /// Every open session of senders.
    pub async fn spendings(&mut self) -> Result<Vec<OpenSpending>, LedgerError> {
        let open = |found: &Row| {
            let row::SpendingRow { parties, sums } = row::spending(found)?;
            Ok(OpenSpending {
                session: parties.session,
                stream: parties.stream,
                recipient: parties.recipient,
                sender: parties.sender,
                sums,
            })
        };
        let sql = "SELECT * FROM spendings ORDER BY session";
        self.reader.conn().rows(sql, values![]).await?.iter().map(open).collect()
    }
}

fn earned(tally: &Tally) -> Vec<Earned> {
    let sums = tally.0.iter().map(|(&(hour, session), sum)| Earned {
        hour,
        session,
        sender: sum.lane.sender,
        recipient: sum.lane.recipient,
        tickets: sum.tickets,
        value: sum.value,
        charged: sum.spent,
    });
    sums.collect()
}

async fn add_up(conn: &mut Conn<'_>, derived: &mut Balances, audit: &mut Audit) -> Result<(), LedgerError> {
    let mut seq = 0;
    loop {
        let chapter = match next_chapter(conn, seq, PAGE).await {
            Ok(Some(chapter)) => chapter,
            Ok(None) => return Ok(()),
            Err(LedgerError::Corrupt(what)) => {
                audit.broken = Some(format!("a {what} after row {seq} of the log does not decode"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for Noted { instance, entry, .. } in &chapter.entries {
            if let Err(fault) = derived.apply(*instance, entry) {
                audit.broken = Some(format!("{fault}, by row {} of the log", chapter.last));
                return Ok(());
            }
            audit.entries += 1;
        }
        seq = chapter.last;
    }
}
