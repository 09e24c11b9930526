//! What several processes on one database owe each other, and what a server that fails owes them. Each handle here is an
//! instance of its own, as another process would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::B256;
use probabilistic_ticket::ledger::{
    Acceptance, CheckedTicket, NewSession, NewSpending, Reservation, SpendingLimits, Submission,
};
use probabilistic_ticket::{
    Ledger, LedgerError, PostgresAddress, PostgresLedger, PreparedRedemption, Reason, SenderLedger, Wei,
    WinProb, WorkOutcome,
};
use tempfile::TempDir;

use super::common::{self, SESSION, TICKET, World, key, payment, recipient_address, recipient_config};
use super::server::Server;
use super::store;

/// A handle that no election was held for.
async fn another(dir: &TempDir) -> PostgresLedger {
    PostgresLedger::open(&store::address(dir.path(), "ledger").await).await.unwrap()
}

fn new_session(id: B256) -> NewSession {
    NewSession {
        id,
        sender: key("sender").address(),
        recipient: recipient_address(),
        face_value: Wei::from(TICKET),
        win_prob: WinProb::MAX,
        max_lanes: 64,
        idle_before_ms: 0,
        now_ms: 1,
    }
}

fn acceptance(session: B256, nonce: u64, cost: u64) -> Acceptance {
    Acceptance {
        session,
        serial: 0,
        ticket_value: Wei::from(TICKET),
        tickets: vec![CheckedTicket { index: 0, nonce, winner: None }],
        cost: Wei::from(cost),
        max_nonce_jump: 10_000,
        now_ms: 1,
    }
}

async fn assert_clean(dir: &TempDir) {
    let audit = store::inspect(dir.path(), "ledger").await.unwrap().audit().await.unwrap();
    assert!(audit.is_clean(), "{audit:#?}");
}

async fn credit(ledger: &PostgresLedger) -> Wei {
    ledger.session(SESSION).await.unwrap().unwrap().state.credit
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    let dir = TempDir::new().unwrap();
    let address = store::address(dir.path(), "ledger").await;
    let opened = (0..6).map(|_| {
        let address = address.clone();
        tokio::spawn(async move { PostgresLedger::open(&address).await })
    });
    for opened in opened.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn database_of_a_newer_program_is_refused() {
    let dir = TempDir::new().unwrap();
    another(&dir).await.close().await;
    store::tamper(dir.path(), "ledger", "UPDATE ledger_schema SET version = 99").await;
    let opened = store::try_open(dir.path(), "ledger").await.map(drop);
    assert!(matches!(opened, Err(LedgerError::TooNew { found: 99, .. })), "{opened:?}");
    let read = store::inspect(dir.path(), "ledger").await.map(drop);
    assert!(matches!(read, Err(LedgerError::TooNew { found: 99, .. })), "{read:?}");
}

#[tokio::test]
async fn database_without_a_ledger_is_not_made_one_by_looking() {
    let dir = TempDir::new().unwrap();
    for _ in 0..2 {
        let read = store::inspect(dir.path(), "ledger").await.map(drop);
        assert!(matches!(read, Err(LedgerError::TooOld { found: 0, .. })), "{read:?}");
    }
}

#[tokio::test]
async fn wrong_password_missing_database_and_absent_server_are_told_apart() {
    let dir = TempDir::new().unwrap();
    another(&dir).await.close().await;
    let role =
        "DO $$ BEGIN CREATE ROLE guarded LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$";
    store::tamper(dir.path(), "ledger", role).await;
    let good = store::address(dir.path(), "ledger").await.to_string();
    let attempt = async |url: &str, password: Option<&str>| {
        let address = PostgresAddress::parse(url, password).unwrap();
        PostgresLedger::open(&address).await.map(drop).unwrap_err()
    };
    let guarded = good.replace("framemill@", "guarded@");
    let error = attempt(&guarded, Some("wr0ng")).await;
    assert!(matches!(&error, LedgerError::Denied(text) if !text.contains("wr0ng")), "{error}");
    let error = attempt(&good.replace("localhost/t", "localhost/u"), None).await;
    assert!(matches!(&error, LedgerError::Denied(text) if text.contains("does not exist")), "{error}");
    let absent = format!("postgres://framemill@localhost/x?host={}", dir.path().display());
    let error = attempt(&absent, None).await;
    assert!(matches!(error, LedgerError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn nonces_and_credit_of_a_session_are_the_same_for_all() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (another(&dir).await, another(&dir).await);
    one.open_session(new_session(SESSION)).await.unwrap();
    assert_eq!(one.secret().await.unwrap(), other.secret().await.unwrap());
    assert_eq!(one.accept(acceptance(SESSION, 1, 0)).await.unwrap().credited, 1);
    let replayed = other.accept(acceptance(SESSION, 1, 0)).await.unwrap();
    assert_eq!(replayed.refused, [(0, Reason::Replayed)]);
    let paid = other.accept(acceptance(SESSION, 2, 0)).await.unwrap();
    assert_eq!((paid.credited, paid.credit), (1, Wei::from(2 * TICKET)));
    assert_eq!(credit(&one).await, Wei::from(2 * TICKET));
}

#[tokio::test]
async fn sessions_opened_at_once_by_two_get_lanes_of_their_own() {
    let dir = TempDir::new().unwrap();
    let ledgers = [another(&dir).await, another(&dir).await];
    let opened = (0_u8..32).map(|number| {
        let ledger = ledgers[usize::from(number % 2)].clone();
        tokio::spawn(
            async move { ledger.open_session(new_session(B256::repeat_byte(number))).await.unwrap() },
        )
    });
    let mut lanes = Vec::new();
    for opened in opened.collect::<Vec<_>>() {
        lanes.push(opened.await.unwrap().lane.lane);
    }
    lanes.sort_unstable();
    assert_eq!(lanes, (0..32).collect::<Vec<_>>());
}

#[tokio::test]
async fn holds_of_a_living_process_stay_and_those_of_a_dead_one_become_credit() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (another(&dir).await, another(&dir).await);
    one.open_session(new_session(SESSION)).await.unwrap();
    assert!(one.accept(acceptance(SESSION, 1, TICKET)).await.unwrap().held);
    assert!(other.accept(acceptance(SESSION, 2, TICKET)).await.unwrap().held);
    other.release_holds().await.unwrap();
    assert_eq!(credit(&other).await, Wei::ZERO);
    assert_eq!(other.session(SESSION).await.unwrap().unwrap().state.held, Wei::from(TICKET), "its own");
    one.close().await;
    other.release_holds().await.unwrap();
    assert_eq!(credit(&other).await, Wei::from(TICKET));
    other.settle(SESSION, Wei::from(TICKET), Wei::from(TICKET)).await.unwrap();
    assert_eq!(credit(&other).await, Wei::from(TICKET));
    assert_clean(&dir).await;
}

#[tokio::test]
async fn sessions_of_a_living_process_do_not_give_way_to_another_start() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (another(&dir).await, another(&dir).await);
    let single = |id| NewSession { max_lanes: 1, ..new_session(id) };
    one.open_session(single(SESSION)).await.unwrap();
    one.accept(acceptance(SESSION, 1, 0)).await.unwrap();
    let next = single(B256::repeat_byte(9));
    other.retire_sessions().await.unwrap();
    let refused = other.open_session(next).await;
    assert!(matches!(refused, Err(LedgerError::TooManySessions { .. })), "{refused:?}");
    one.close().await;
    other.retire_sessions().await.unwrap();
    other.open_session(NewSession { idle_before_ms: 1, ..next }).await.unwrap();
}

/// Ends the connections that hold a lock whose number fits.
async fn end_connections(dir: &TempDir, which: &str) -> u64 {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
         AND {which} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    store::tamper(dir.path(), "ledger", &sql).await
}

const LEADER: &str = "objid::bigint = 4294967294";
const WRITERS: &str = "objid::bigint BETWEEN 1 AND 1000000";

fn submission(tx: u8) -> Submission {
    let prepared = PreparedRedemption { tx: B256::repeat_byte(tx), raw: vec![tx] };
    Submission { prepared, winners: Vec::new(), offered_ms: 0 }
}

#[tokio::test]
async fn one_process_redeems_and_the_next_takes_over_when_it_is_gone() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (another(&dir).await, another(&dir).await);
    assert_eq!(one.submit(submission(1)).await, Err(LedgerError::NotLeader), "nobody leads yet");
    assert!(one.lead().await.unwrap());
    assert!(!other.lead().await.unwrap());
    assert!(one.lead().await.unwrap(), "it stays");
    let refused = other.submit(submission(1)).await;
    assert_eq!(refused, Err(LedgerError::NotLeader));
    one.close().await;
    assert!(other.lead().await.unwrap());
    other.submit(submission(1)).await.unwrap();
}

#[tokio::test]
async fn former_leader_that_does_not_know_yet_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (another(&dir).await, another(&dir).await);
    assert!(one.lead().await.unwrap());
    one.submit(submission(1)).await.unwrap();
    assert_eq!(end_connections(&dir, LEADER).await, 1);
    while !other.lead().await.unwrap() {
        tokio::task::yield_now().await;
    }
    let tx = submission(1).prepared.tx;
    assert_eq!(one.submit(submission(2)).await, Err(LedgerError::NotLeader));
    assert_eq!(one.replace(tx, submission(3).prepared, 0).await, Err(LedgerError::NotLeader));
    assert_eq!(one.conclude(tx, tx, &[]).await, Err(LedgerError::NotLeader));
    assert_eq!(one.reveal(&[], 0).await, Err(LedgerError::NotLeader));
    assert!(matches!(one.lead().await, Err(LedgerError::Unreachable(_)) | Ok(false)));
    assert!(!one.lead().await.unwrap());
    assert_eq!(other.submissions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn replaced_redeemer_sends_nothing_and_its_successor_pays_each_winner_once() {
    let mut config = recipient_config(true);
    config.max_lanes = 1;
    let world = World::with(config).await;
    let params = world.params().await;
    world.pay(&params, &[1, 2, 3], 0).await.unwrap();
    let policy = probabilistic_ticket::RedeemPolicy { confirmations: 1, ..Default::default() };
    let on = |ledger: &PostgresLedger| {
        let ledger = Arc::new(ledger.clone());
        probabilistic_ticket::Redeemer::new(policy, ledger, world.broker.clone(), world.clock.clone())
    };
    let successor = PostgresLedger::open(&store::address(world.dir.path(), "recipient").await).await.unwrap();
    assert_eq!(on(&successor).flush().await.unwrap(), Default::default(), "the world's own ledger leads");
    world.ledger.close().await;
    assert_eq!(on(&successor).flush().await.unwrap().submitted, 3);
    assert!(on(&world.ledger).flush().await.is_err() || world.broker.waiting() == 1);
    world.broker.mine();
    assert_eq!(on(&successor).turn().await.unwrap().paid, 3);
}

#[tokio::test]
async fn connection_that_broke_between_two_calls_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let ledger = another(&dir).await;
    ledger.open_session(new_session(SESSION)).await.unwrap();
    for nonce in 1..4 {
        assert_eq!(end_connections(&dir, WRITERS).await, 1);
        let accepted = ledger.accept(acceptance(SESSION, nonce, 0)).await.unwrap();
        assert_eq!(accepted.credit, Wei::from(nonce * TICKET));
    }
}

#[tokio::test]
async fn connections_that_break_at_any_moment_lose_and_double_nothing() {
    const PAYMENTS: u64 = 300;
    let dir = TempDir::new().unwrap();
    let ledger = another(&dir).await;
    ledger.open_session(new_session(SESSION)).await.unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let payers = (0..10).map(|payer| {
        let (ledger, taken) = (ledger.clone(), taken.clone());
        tokio::spawn(async move {
            for step in 0..PAYMENTS / 10 {
                let accepted = ledger.accept(acceptance(SESSION, step * 10 + payer + 1, 0)).await.unwrap();
                taken.fetch_add(accepted.credited, Ordering::Relaxed);
            }
        })
    });
    let payers: Vec<_> = payers.collect();
    let mut next = 1;
    while payers.iter().any(|payer| !payer.is_finished()) {
        // After some progress, or nothing would ever be done.
        if taken.load(Ordering::Relaxed) >= next {
            end_connections(&dir, WRITERS).await;
            next += rand::random_range(1..30);
        }
        tokio::task::yield_now().await;
    }
    for payer in payers {
        payer.await.unwrap();
    }
    assert_eq!(taken.load(Ordering::Relaxed), PAYMENTS, "each answer is the one of the commit");
    assert_eq!(credit(&ledger).await, Wei::from(PAYMENTS * TICKET));
    assert_clean(&dir).await;
}

#[tokio::test]
async fn server_that_is_away_is_a_typed_error_and_its_return_is_noticed() {
    let server = Server::start();
    store::create(server.folder(), "books").await;
    let ledger = PostgresLedger::open(&store::address_on(server.folder(), "books")).await.unwrap();
    ledger.open_session(new_session(SESSION)).await.unwrap();
    ledger.accept(acceptance(SESSION, 1, 0)).await.unwrap();
    super::server::signal(server.folder(), "KILL");
    let paid = loop {
        match ledger.accept(acceptance(SESSION, 2, 0)).await {
            Ok(paid) => break paid,
            Err(error) => assert!(matches!(error, LedgerError::Unreachable(_)), "{error}"),
        }
    };
    // One that was told to be unreachable may have been taken all the same.
    assert!(paid.credited == 1 || paid.refused == [(0, Reason::Replayed)]);
    assert_eq!(credit(&ledger).await, Wei::from(2 * TICKET));
    drop(server);
    let gone = ledger.accept(acceptance(SESSION, 3, 0)).await;
    assert!(matches!(gone, Err(LedgerError::Unreachable(_))), "{gone:?}");
}

fn reservation(session: B256, now_ms: u64) -> Reservation {
    let limits = SpendingLimits {
        session: Wei::MAX,
        stream_hour: Wei::MAX,
        deposit_share_ppm: 1_000_000,
        outstanding: Wei::MAX,
        tickets: 10,
    };
    let unit = Wei::from(1);
    Reservation {
        session,
        lane: 0,
        nonce_floor: 0,
        ticket_value: unit,
        cost: unit,
        limits,
        deposit: Wei::from(1_000_000),
        now_ms,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_of_every_kind_through_three_processes_neither_block_nor_lose_anything() {
    const STEPS: u64 = 60;
    let dir = TempDir::new().unwrap();
    let ledgers = [another(&dir).await, another(&dir).await, another(&dir).await];
    let sessions: Vec<_> = (1..7).map(B256::repeat_byte).collect();
    for session in &sessions {
        ledgers[0].open_session(new_session(*session)).await.unwrap();
        let new = NewSpending {
            session: *session,
            stream: *session,
            recipient: recipient_address(),
            sender: key("sender").address(),
        };
        ledgers[0].open_spending(new).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (number, ledger) in (0_u64..).zip(&ledgers) {
        for step in 0..STEPS {
            let (ledger, sessions) = (ledger.clone(), sessions.clone());
            tasks.spawn(async move {
                let session = sessions[usize::try_from(step).unwrap() % sessions.len()];
                ledger.accept(acceptance(session, step * 3 + number + 1, TICKET)).await.unwrap();
                let reserved = ledger.reserve(reservation(session, step * 60_000)).await.unwrap();
                ledger.record(session, Wei::from(1), WorkOutcome::Verified).await.unwrap();
                ledger.settle(session, Wei::from(TICKET), Wei::from(TICKET / 2)).await.unwrap();
                if step % 10 == 0 {
                    ledger.release_holds().await.unwrap();
                    let short = B256::from(alloy_primitives::U256::from(1000 + step * 3 + number));
                    ledger.open_session(new_session(short)).await.unwrap();
                    ledger.close_session(short).await.unwrap();
                }
                reserved.first_nonce
            });
        }
    }
    let mut nonces = tasks.join_all().await;
    nonces.sort_unstable();
    let all = STEPS * ledgers.len() as u64;
    assert_eq!(nonces, (1..=all).collect::<Vec<_>>(), "each nonce once");
    let mut credit = Wei::ZERO;
    for session in sessions {
        credit = credit.saturating_add(ledgers[1].session(session).await.unwrap().unwrap().state.credit);
    }
    assert_eq!(credit, Wei::from(all * TICKET / 2));
    assert_clean(&dir).await;
}

#[tokio::test]
async fn recipients_of_two_processes_take_each_others_payments() {
    let world = World::new().await;
    let second = PostgresLedger::open(&store::address(world.dir.path(), "recipient").await).await.unwrap();
    let second = probabilistic_ticket::Recipient::open(
        world.config.clone(),
        Arc::new(second),
        world.broker.clone(),
        world.clock.clone(),
    )
    .await
    .unwrap();
    let params = world.params().await;
    let sender = common::key("sender");
    for nonce in 1..=10 {
        let recipient = if nonce % 2 == 0 { &second } else { &world.recipient };
        recipient.accept(SESSION, &payment(&params, &sender, &[nonce]), Wei::ZERO).await.unwrap();
    }
    assert_eq!(second.credit(SESSION).await.unwrap(), Wei::from(10 * TICKET));
    let again = world.recipient.accept(SESSION, &payment(&params, &sender, &[4]), Wei::MAX).await;
    assert_eq!(common::refusal(again).reason, Reason::Replayed);
}

#[tokio::test]
async fn processes_vouch_for_a_piece_of_work_once_between_them() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (another(&dir).await, another(&dir).await);
    one.open_session(new_session(SESSION)).await.unwrap();
    one.keep_terms(SESSION, b"terms".to_vec()).await.unwrap();
    assert_eq!(other.terms(SESSION).await.unwrap().as_deref(), Some(&b"terms"[..]));
    for number in 0..20 {
        let (here, there) = tokio::join!(one.vouch(SESSION, number), other.vouch(SESSION, number));
        assert!(here.unwrap() != there.unwrap(), "{number}");
    }
    one.close().await;
    assert!(other.is_vouched(SESSION, 19).await.unwrap());
}
