//! Keeps the log short: its oldest rows are added to the openings, a few at a time.

use alloy_primitives::B256;

use super::books::Books;
use super::conn::{Bulk, Conn, Row, Value, values};
use super::rows;
use crate::ledger::LedgerError;
use crate::ledger::journal::{Account, Balance, Balances, Entry, Pack, Tally, decode_all};

/// Rows of the log folded at once at most, and bytes after which no further one is taken: some milliseconds of work.
const FOLD_ROWS: u64 = 256;
const FOLD_BYTES: usize = 64 << 10;

const OPENING: Bulk = Bulk {
    one: "SELECT account, balance FROM openings WHERE account = $1",
    many: "SELECT account, balance FROM openings WHERE account = ANY ($1::bytea[])",
};

const PUT: Bulk = Bulk {
    one: "INSERT INTO openings (account, balance) VALUES ($1, $2)
          ON CONFLICT (account) DO UPDATE SET balance = excluded.balance",
    many: "INSERT INTO openings (account, balance) SELECT * FROM unnest($1::bytea[], $2::bytea[])
           ON CONFLICT (account) DO UPDATE SET balance = excluded.balance",
};

const DROP: Bulk = Bulk {
    one: "DELETE FROM openings WHERE account = $1",
    many: "DELETE FROM openings WHERE account = ANY ($1::bytea[])",
};

/// The first rows after `seq` of the log.
const LOG: &str = "SELECT seq, instance, at_ms, entries FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2";

/// Some rows of the log.
pub(crate) struct Chapter {
    /// The last of them.
    pub(crate) last: u64,
    /// How long they are.
    pub(crate) bytes: usize,
    pub(crate) entries: Vec<Noted>,
}

/// An entry with the instance that wrote it, and when, in Unix milliseconds.
pub(crate) struct Noted {
    pub(crate) instance: u64,
    pub(crate) at_ms: u64,
    pub(crate) entry: Entry,
}

/// The next rows of the log after `seq`; `None` at its end.
pub(crate) async fn next_chapter(
    conn: &mut Conn<'_>,
    seq: u64,
    rows: u64,
) -> Result<Option<Chapter>, LedgerError> {
    let mut chapter = Chapter { last: seq, bytes: 0, entries: Vec::new() };
    for found in conn.rows(LOG, values![seq, rows]).await? {
        if chapter.bytes >= FOLD_BYTES {
            break;
        }
        let (instance, at_ms) = (found.counter("instance")?, found.counter("at_ms")?);
        let blob = found.blob("entries")?;
        chapter.entries.extend(decode_all(blob)?.into_iter().map(|entry| Noted { instance, at_ms, entry }));
        chapter.bytes += blob.len();
        chapter.last = found.counter("seq")?;
    }
    Ok((chapter.last != seq).then_some(chapter))
}

fn opening(found: &Row) -> Result<(Account, Balance), LedgerError> {
    let account = Account::unpacked(found.blob("account")?);
    let balance = Balance::unpacked(found.blob("balance")?);
    account.zip(balance).ok_or(LedgerError::Corrupt("opening"))
}

/// Reads every opening.
pub(crate) async fn openings(conn: &mut Conn<'_>) -> Result<Balances, LedgerError> {
    let rows = conn.rows("SELECT account, balance FROM openings", values![]).await?;
    Ok(Balances(rows.iter().map(opening).collect::<Result<_, _>>()?))
}

/// Writes the balances of a ledger without a log as openings.
pub(crate) async fn open_with_rows(conn: &mut Conn<'_>) -> Result<(), LedgerError> {
    let balances = rows::balances(conn).await?;
    conn.execute_each(&PUT, balances.0.iter().map(packed).collect()).await
}

fn packed((account, balance): (&Account, &Balance)) -> Vec<Value> {
    values![account.packed(), balance.packed()]
}

impl Books<'_> {
    /// Folds the oldest rows of the log; how many bytes of it that was. Nothing is folded that does not add up: the rows
    /// stay for an audit.
    pub(super) async fn fold(&mut self) -> Result<usize, LedgerError> {
        let Some(chapter) = next_chapter(&mut self.conn, 0, FOLD_ROWS).await? else { return Ok(0) };
        let mut balances = self.openings_of(&chapter.entries).await?;
        let before = balances.clone();
        let mut tally = Tally::default();
        for Noted { instance, at_ms, entry } in &chapter.entries {
            tally.count(*at_ms, entry, &balances);
            if let Err(fault) = balances.apply(*instance, entry) {
                tracing::error!(%fault, "ledger's log does not add up and is kept; run an audit");
                return Ok(0);
            }
        }
        self.write_openings(&before, balances).await?;
        self.keep_earned(tally).await?;
        self.conn.execute("DELETE FROM journal WHERE seq <= $1", values![chapter.last]).await?;
        Ok(chapter.bytes)
    }

    /// What the log up to here adds up to, of the accounts that these entries touch. Some are known only once others
    /// are read.
    async fn openings_of(&mut self, entries: &[Noted]) -> Result<Balances, LedgerError> {
        let mut balances = self.read_openings(&Balances::default(), entries).await?;
        // What a session's entry names follows from how it was opened, here or before.
        let mut parties = balances.clone();
        for Noted { instance, entry, .. } in entries {
            if matches!(entry, Entry::Opened { .. } | Entry::SpendingOpened { .. }) {
                // One that does not fit shows when it is applied.
                let _ = parties.apply(*instance, entry);
            }
        }
        balances.0.extend(self.read_openings(&parties, entries).await?.0);
        Ok(balances)
    }

    async fn read_openings(&mut self, known: &Balances, entries: &[Noted]) -> Result<Balances, LedgerError> {
        let mut accounts: Vec<_> =
            entries.iter().flat_map(|noted| known.needs(noted.instance, &noted.entry)).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let keys = accounts.iter().map(|account| values![account.packed()]).collect();
        let rows = self.conn.rows_each(&OPENING, keys).await?;
        Ok(Balances(rows.iter().map(opening).collect::<Result<_, _>>()?))
    }

    async fn write_openings(&mut self, before: &Balances, mut after: Balances) -> Result<(), LedgerError> {
        let newest = after.newest_minute();
        after.settle(newest.unwrap_or_default());
        let gone = before.0.keys().filter(|account| !after.0.contains_key(account));
        let gone = gone.map(|account| values![account.packed()]).collect();
        self.conn.execute_each(&DROP, gone).await?;
        self.conn.execute_each(&PUT, after.0.iter().map(packed).collect()).await?;
        let Some(newest) = newest else { return Ok(()) };
        let first = Account::Minute { minute: 0, stream: B256::ZERO }.packed();
        let kept = Balances::minutes_kept_from(newest);
        let sql = "DELETE FROM openings WHERE account >= $1 AND account < $2";
        self.conn.execute(sql, values![first, kept]).await?;
        Ok(())
    }
}
