//! Earnings by hour: of the rows of the log that are there, and of those that were folded.

use super::books::Books;
use super::conn::{Bulk, Conn, Row, Value, values};
use crate::ledger::journal::{Sum, Tally};
use crate::ledger::{LaneId, LedgerError};

const FIND: Bulk = Bulk {
    one: "SELECT * FROM earned WHERE hour = $1 AND session = $2",
    many: "SELECT earned.* FROM earned JOIN unnest($1::bigint[], $2::bytea[]) AS wanted (hour, session)
           USING (hour, session)",
};

const PUT: Bulk = Bulk {
    one: "INSERT INTO earned (hour, session, sender, recipient, tickets, value, spent)
          VALUES ($1, $2, $3, $4, $5, $6, $7)
          ON CONFLICT (hour, session) DO UPDATE
          SET tickets = excluded.tickets, value = excluded.value, spent = excluded.spent",
    many: "INSERT INTO earned (hour, session, sender, recipient, tickets, value, spent)
           SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[],
                                $6::bytea[], $7::bytea[])
           ON CONFLICT (hour, session) DO UPDATE
           SET tickets = excluded.tickets, value = excluded.value, spent = excluded.spent",
};

/// Adds the sums of a row to a tally. Which of a sender's lanes it was is not kept.
fn put(tally: &mut Tally, found: &Row) -> Result<(), LedgerError> {
    let lane = LaneId { sender: found.address("sender")?, recipient: found.address("recipient")?, lane: 0 };
    let sum = Sum {
        lane,
        tickets: found.counter("tickets")?,
        value: found.wei("value")?,
        spent: found.wei("spent")?,
    };
    tally.add(found.counter("hour")?, found.hash("session")?, &sum);
    Ok(())
}

/// What the rows that were folded earned.
pub(super) async fn folded(conn: &mut Conn<'_>) -> Result<Tally, LedgerError> {
    let mut tally = Tally::default();
    for found in conn.rows("SELECT * FROM earned", values![]).await? {
        put(&mut tally, &found)?;
    }
    Ok(tally)
}

impl Books<'_> {
    /// Keeps what rows that are about to be folded earned.
    pub(super) async fn keep_earned(&mut self, mut tally: Tally) -> Result<(), LedgerError> {
        let keys = tally.0.keys().map(|(hour, session)| values![*hour, *session]).collect();
        for found in self.conn.rows_each(&FIND, keys).await? {
            put(&mut tally, &found)?;
        }
        let row = |(&(hour, session), sum): (&(u64, _), &Sum)| -> Vec<Value> {
            let LaneId { sender, recipient, .. } = sum.lane;
            values![hour, session, sender, recipient, sum.tickets, sum.value, sum.spent]
        };
        self.conn.execute_each(&PUT, tally.0.iter().map(row).collect()).await
    }
}
