//! Databases that an earlier program left behind, opened by this one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use probabilistic_ticket::ledger::{Session, SpendingState, Winner, WinnerState};
use probabilistic_ticket::{
    Ledger, LedgerError, Reason, RedeemPolicy, Redeemer, SenderConfig, SenderLedger, TicketBatch, Wei,
};
use sqlx::{AssertSqlSafe, Executor};

use super::common::{self, SESSION, TICKET, World, domain, key, recipient_config};
use super::store::{self, Store};

/// How an earlier version laid its tables out, and what takes the newest layout back to it. Rows stay as that version wrote them.
struct Layout {
    version: i64,
    made_by: &'static [&'static str],
    way_back: &'static [&'static str],
}

const INIT: &str = include_str!("../../../src/ledger/postgres/001_init.sql");
const WORKS: &str = include_str!("../../../src/ledger/postgres/002_works.sql");

/// Every layout but the newest.
const EARLIER: [Layout; 2] = [
    Layout {
        version: 1,
        made_by: &[INIT],
        way_back: &["DROP TABLE works", "DROP TABLE earned", "ALTER TABLE winners DROP COLUMN settled_ms"],
    },
    Layout {
        version: 2,
        made_by: &[INIT, WORKS],
        way_back: &["DROP TABLE earned", "ALTER TABLE winners DROP COLUMN settled_ms"],
    },
];

/// Tables that opening a ledger leaves alone; it counts itself, and turns what the dead held into credit.
const KEPT: [&str; 10] = [
    "meta",
    "lanes",
    "winners",
    "submissions",
    "replacements",
    "spend_lanes",
    "spendings",
    "stream_minutes",
    "deposits",
    "openings",
];

/// Every row of these tables, without the columns that version 3 has added.
async fn rows(dir: &Path) -> Vec<(String, Vec<String>)> {
    let mut connection = store::connection(dir, "recipient").await;
    let mut rows = Vec::new();
    for table in KEPT {
        let sql = format!("SELECT (to_jsonb(t) - 'settled_ms')::text FROM {table} t ORDER BY 1");
        let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        rows.push((table.to_owned(), found));
    }
    rows
}

/// Columns, keys and indexes, but for the table that says the version.
async fn shape(dir: &Path, name: &str) -> BTreeSet<String> {
    const COLUMNS: &str =
        "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' ||
                                  coalesce(column_default, '') || ' ' || is_identity
                           FROM information_schema.columns
                           WHERE table_schema = 'public' AND table_name <> 'ledger_schema'";
    const KEYS: &str = "SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                        WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
                              AND conrelid::regclass::text <> 'ledger_schema'";
    const INDEXES: &str =
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'ledger_schema'";
    let mut connection = store::connection(dir, name).await;
    let mut shape = BTreeSet::new();
    for sql in [COLUMNS, KEYS, INDEXES] {
        shape.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(&mut connection).await.unwrap());
    }
    shape
}

/// What the books say, in the ledger's own words.
#[derive(Debug, PartialEq)]
struct Books {
    session: Session,
    winners: Vec<Winner>,
    submissions: usize,
    spending: Option<SpendingState>,
}

impl Books {
    async fn read(ledger: &Store) -> Self {
        Self {
            session: ledger.session(SESSION).await.unwrap().unwrap(),
            winners: ledger.winners_of(key("sender").address(), 100).await.unwrap(),
            submissions: ledger.submissions().await.unwrap().len(),
            spending: ledger.spending(SESSION).await.unwrap(),
        }
    }
}

/// A life of both sides in one database: winners on their way to the chain, at a higher fee, and others that wait; a hold
/// of a process that is dead. Returns a payment that was taken and the highest nonce that the sender has given out.
async fn lived(world: &World) -> (Vec<u8>, u64) {
    let sender = world.sender_on(world.ledger.clone(), SenderConfig::new(domain())).await;
    let params = world.params().await;
    let first = sender.pay(SESSION, &params, Wei::from(3 * TICKET)).await.unwrap();
    world.recipient.accept(SESSION, &first.bytes, Wei::from(TICKET)).await.unwrap();
    let policy = RedeemPolicy::default();
    let books = Arc::new(world.ledger.clone());
    let redeemer = Redeemer::new(policy, books, world.broker.clone(), world.clock.clone());
    redeemer.flush().await.unwrap();
    world.clock.advance(policy.bump_after_ms);
    redeemer.flush().await.unwrap();
    let params = world.recipient.params(SESSION).await.unwrap();
    let next = sender.pay(SESSION, &params, Wei::from(2 * TICKET)).await.unwrap();
    world.recipient.accept(SESSION, &next.bytes, Wei::ZERO).await.unwrap();
    let highest = TicketBatch::decode(&next.bytes).unwrap().tickets.last().unwrap().nonce;
    (first.bytes, highest)
}

#[tokio::test]
async fn every_earlier_version_is_brought_up_to_date_with_its_rows() {
    for layout in EARLIER {
        let mut world = World::with(recipient_config(true)).await;
        let (paid, highest) = lived(&world).await;
        let before = Books::read(&world.ledger).await;
        let states: BTreeSet<_> = before.winners.iter().map(|winner| format!("{:?}", winner.state)).collect();
        assert!(states.len() > 1 && before.submissions == 1, "{before:?}");
        world.ledger.close().await;
        let dir = world.dir.path();
        for sql in layout.way_back {
            store::tamper(dir, "recipient", sql).await;
        }
        let version = format!("UPDATE ledger_schema SET version = {}", layout.version);
        assert_eq!(store::tamper(dir, "recipient", &version).await, 1);
        store::address(dir, "bare").await;
        for step in layout.made_by {
            store::connection(dir, "bare").await.execute(*step).await.unwrap();
        }
        assert_eq!(shape(dir, "recipient").await, shape(dir, "bare").await, "the way back leads there");
        let old = rows(dir).await;
        for (table, rows) in &old {
            assert!(!rows.is_empty() || table == "openings", "nothing is kept in {table}");
        }
        let unread = store::inspect(dir, "recipient").await.err();
        let too_old =
            matches!(unread, Some(LedgerError::TooOld { found, .. }) if i64::from(found) == layout.version);
        assert!(too_old, "{unread:?}");

        world.restart().await;
        let dir = world.dir.path();
        assert_eq!(rows(dir).await, old, "version {}", layout.version);
        let after = Books::read(&world.ledger).await;
        let freed = before.session.state.credit.saturating_add(Wei::from(TICKET));
        assert_eq!(after.session.state.credit, freed, "what the dead process held");
        assert_eq!((&after.winners, after.submissions), (&before.winners, before.submissions));
        assert_eq!((after.spending, after.session.lane_state), (before.spending, before.session.lane_state));
        let audit = store::inspect(dir, "recipient").await.unwrap().audit().await.unwrap();
        assert!(audit.is_clean(), "{audit:#?}");
        store::open(dir, "fresh").await.close().await;
        assert_eq!(shape(dir, "recipient").await, shape(dir, "fresh").await, "it is today's layout");
        goes_on(&world, &paid, highest).await;
    }
}

/// Both sides work on: nothing counts twice, nonces are new, and every winner is paid.
async fn goes_on(world: &World, paid: &[u8], highest: u64) {
    let replay = common::refusal(world.recipient.accept(SESSION, paid, Wei::MAX).await);
    assert!(replay.refused.iter().all(|ticket| ticket.reason != Reason::WrongRandHash), "{replay:?}");
    assert_eq!(replay.refused.len(), 3);
    let sender = world.sender_on(world.ledger.clone(), SenderConfig::new(domain())).await;
    let params = world.recipient.params(SESSION).await.unwrap();
    let payment = sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap();
    let nonces: Vec<_> =
        TicketBatch::decode(&payment.bytes).unwrap().tickets.iter().map(|ticket| ticket.nonce).collect();
    assert!(nonces.iter().all(|nonce| *nonce > highest), "{nonces:?} after {highest}");
    assert_eq!(world.recipient.accept(SESSION, &payment.bytes, Wei::ZERO).await.unwrap().tickets, 1);
    let books = Arc::new(world.ledger.clone());
    let redeemer = Redeemer::new(RedeemPolicy::default(), books, world.broker.clone(), world.clock.clone());
    for _ in 0..12 {
        redeemer.flush().await.unwrap();
        world.broker.mine();
    }
    let winners = world.ledger.winners_of(key("sender").address(), 100).await.unwrap();
    assert_eq!(winners.len(), 6);
    assert!(winners.iter().all(|winner| matches!(winner.state, WinnerState::Paid(_))), "{winners:?}");
}
