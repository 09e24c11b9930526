//! Every balance follows from the log, and one that does not is found.

use std::path::Path;

use alloy_primitives::{Address, B256};
use probabilistic_ticket::ledger::{
    Acceptance, Audit, CheckedTicket, LaneId, NewSession, NewSpending, NewWinner, Reservation, Retirement,
    SpendingLimits, Submission,
};
use probabilistic_ticket::{
    Ledger, LedgerError, PreparedRedemption, Scheme, SenderLedger, SignedTicket, Ticket, Wei, WinProb,
    WinningTicket, WorkOutcome,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::common::{domain, recipient_address};
use super::store::{self, Store};

const SENDERS: u8 = 2;
const SESSIONS: u8 = 4;

async fn audit(dir: &Path) -> Audit {
    store::inspect(dir, "ledger").await.unwrap().audit().await.unwrap()
}

#[track_caller]
fn assert_clean(audit: &Audit) {
    assert!(audit.is_clean(), "{audit:#?}");
}

/// Something that may happen to the books.
#[derive(Clone, Debug)]
enum Deed {
    Open { session: u8 },
    Close { session: u8 },
    Accept { session: u8, nonces: Vec<u8>, wins: bool, cost: u8 },
    Settle { session: u8, held: u8, actual: u8 },
    Reveal { session: u8, grace: bool },
    Submit { most: u8 },
    Replace,
    Conclude { fate: u8 },
    Fail,
    Bury,
    OpenSpending { session: u8 },
    CloseSpending { session: u8 },
    Reserve { session: u8, cost: u8, deposit: u8, minutes: u8 },
    Record { session: u8, cost: u8, outcome: u8 },
    Restart,
    Fold,
}

fn deed() -> impl Strategy<Value = Deed> {
    let session = 0..SESSIONS;
    prop_oneof![
        3 => session.clone().prop_map(|session| Deed::Open { session }),
        1 => session.clone().prop_map(|session| Deed::Close { session }),
        8 => (session.clone(), prop::collection::vec(1_u8..60, 0..5), any::<bool>(), 0_u8..8)
            .prop_map(|(session, nonces, wins, cost)| Deed::Accept { session, nonces, wins, cost }),
        4 => (session.clone(), 0_u8..8, 0_u8..12)
            .prop_map(|(session, held, actual)| Deed::Settle { session, held, actual }),
        2 => (session.clone(), any::<bool>()).prop_map(|(session, grace)| Deed::Reveal { session, grace }),
        2 => (1_u8..4).prop_map(|most| Deed::Submit { most }),
        1 => Just(Deed::Replace),
        2 => (0_u8..4).prop_map(|fate| Deed::Conclude { fate }),
        1 => Just(Deed::Fail),
        1 => Just(Deed::Bury),
        3 => session.clone().prop_map(|session| Deed::OpenSpending { session }),
        1 => session.clone().prop_map(|session| Deed::CloseSpending { session }),
        6 => (session.clone(), 0_u8..20, 50_u8..100, 0_u8..90)
            .prop_map(|(session, cost, deposit, minutes)| Deed::Reserve { session, cost, deposit, minutes }),
        4 => (session, 0_u8..20, 0_u8..4)
            .prop_map(|(session, cost, outcome)| Deed::Record { session, cost, outcome }),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Fold),
    ]
}

fn id(session: u8) -> B256 {
    B256::repeat_byte(session + 1)
}

fn sender(session: u8) -> Address {
    Address::repeat_byte(session % SENDERS + 1)
}

fn winner(sender: Address, nonce: u64) -> NewWinner {
    let ticket =
        Ticket { sender, face_value: Wei::from(10 + nonce), sender_nonce: nonce, ..Ticket::default() };
    let signed = SignedTicket { ticket, signature: probabilistic_ticket::Signature([1; 65]) };
    let ticket = WinningTicket { signed, recipient_rand: Default::default() };
    NewWinner { scheme: Scheme::Native, domain: domain(), ticket }
}

/// The books, and how far time and transactions have come.
struct Player<'d> {
    dir: &'d Path,
    ledger: Store,
    now_ms: u64,
    transactions: u64,
}

impl Player<'_> {
    /// Does it; what the books refuse is refused.
    async fn play(&mut self, deed: Deed) -> Result<(), LedgerError> {
        self.now_ms += 1_000;
        match deed {
            Deed::Open { session } => drop(self.ledger.open_session(self.new_session(session)).await?),
            Deed::Close { session } => self.ledger.close_session(id(session)).await?,
            Deed::Accept { session, nonces, wins, cost } => {
                self.ledger.accept(self.acceptance(session, &nonces, wins, cost).await?).await?;
            }
            Deed::Settle { session, held, actual } => {
                self.ledger.settle(id(session), u64::from(held).into(), u64::from(actual).into()).await?;
            }
            Deed::Reveal { session, grace } => {
                let open = self.ledger.session(id(session)).await?.ok_or(LedgerError::Closed)?;
                let grace_ms = if grace { 5_000 } else { 0 };
                let lanes = [Retirement { lane: open.lane, grace_ms }];
                self.ledger.reveal(&lanes, self.now_ms).await?;
            }
            Deed::Submit { most } => self.submit(most).await?,
            Deed::Replace | Deed::Conclude { .. } => self.follow(&deed).await?,
            Deed::Fail | Deed::Bury => {
                let pending = self.ledger.pending_winners(None, 1).await?;
                let Some(first) = pending.first() else { return Ok(()) };
                match deed {
                    Deed::Fail => self.ledger.note_failure(&[first.id]).await?,
                    _ => {
                        self.ledger
                            .bury(&[(first.id, probabilistic_ticket::ledger::DeadReason::Expired)])
                            .await?
                    }
                }
            }
            Deed::OpenSpending { session } => {
                let new = NewSpending {
                    session: id(session),
                    stream: id(session / 2),
                    recipient: recipient_address(),
                    sender: sender(session),
                };
                self.ledger.open_spending(new).await?;
            }
            Deed::CloseSpending { session } => self.ledger.close_spending(id(session)).await?,
            Deed::Reserve { session, cost, deposit, minutes } => {
                self.now_ms += u64::from(minutes) * 60_000;
                self.ledger.reserve(self.reservation(session, cost, deposit)).await?;
            }
            Deed::Record { session, cost, outcome } => {
                let cost = Wei::from(u64::from(cost));
                let outcome = match outcome {
                    0 => WorkOutcome::Verified,
                    1 => WorkOutcome::NotDone,
                    2 => WorkOutcome::Refused(cost),
                    _ => WorkOutcome::NoCredit,
                };
                self.ledger.record(id(session), cost, outcome).await?;
            }
            Deed::Fold => drop(self.ledger.fold().await?),
            Deed::Restart => {
                self.ledger.close().await;
                self.ledger = store::open(self.dir, "ledger").await;
                self.ledger.release_holds().await?;
            }
        }
        Ok(())
    }

    fn new_session(&self, session: u8) -> NewSession {
        NewSession {
            id: id(session),
            sender: sender(session),
            recipient: recipient_address(),
            face_value: Wei::from(10),
            win_prob: WinProb::MAX,
            // Fewer than sessions, so that some give way.
            max_lanes: 1,
            idle_before_ms: self.now_ms.saturating_sub(20_000),
            now_ms: self.now_ms,
        }
    }

    async fn acceptance(
        &self,
        session: u8,
        nonces: &[u8],
        wins: bool,
        cost: u8,
    ) -> Result<Acceptance, LedgerError> {
        let open = self.ledger.session(id(session)).await?.ok_or(LedgerError::Closed)?;
        let LaneId { sender, .. } = open.lane;
        let ticket = |(index, nonce): (usize, &u8)| {
            // Some are replays, some are new.
            let nonce = open.lane_state.highest.saturating_sub(20) + u64::from(*nonce);
            CheckedTicket { index, nonce, winner: wins.then(|| winner(sender, nonce)) }
        };
        Ok(Acceptance {
            session: id(session),
            serial: open.lane_state.serial,
            ticket_value: Wei::from(3),
            tickets: nonces.iter().enumerate().map(ticket).collect(),
            cost: Wei::from(u64::from(cost)),
            max_nonce_jump: 100,
            now_ms: self.now_ms,
        })
    }

    fn reservation(&self, session: u8, cost: u8, deposit: u8) -> Reservation {
        let limits = SpendingLimits {
            session: Wei::MAX,
            stream_hour: Wei::from(60),
            deposit_share_ppm: 1_000_000,
            outstanding: Wei::from(100),
            tickets: 10,
        };
        Reservation {
            session: id(session),
            lane: u64::from(session / SENDERS),
            nonce_floor: 0,
            ticket_value: Wei::from(3),
            cost: Wei::from(u64::from(cost)),
            limits,
            deposit: Wei::from(u64::from(deposit)),
            now_ms: self.now_ms,
        }
    }

    fn next_transaction(&mut self) -> PreparedRedemption {
        self.transactions += 1;
        let tx = B256::from(alloy_primitives::U256::from(self.transactions));
        PreparedRedemption { tx, raw: vec![1, 2, 3] }
    }

    async fn submit(&mut self, most: u8) -> Result<(), LedgerError> {
        let pending = self.ledger.pending_winners(None, u32::from(most)).await?;
        let winners = pending.iter().map(|winner| winner.id).collect();
        let prepared = self.next_transaction();
        self.ledger.submit(Submission { prepared, winners, offered_ms: self.now_ms }).await
    }

    async fn follow(&mut self, deed: &Deed) -> Result<(), LedgerError> {
        use probabilistic_ticket::ledger::{DeadReason, Fate};
        let Some(live) = self.ledger.submissions().await?.into_iter().next() else { return Ok(()) };
        let tx = live.prepared.tx;
        let Deed::Conclude { fate } = deed else {
            let raised = self.next_transaction();
            return self.ledger.replace(tx, raised, self.now_ms).await;
        };
        let fate = match fate {
            0 => Fate::Paid,
            1 => Fate::Retry { failed: true },
            2 => Fate::Retry { failed: false },
            _ => Fate::Dead(DeadReason::Poisoned),
        };
        let fates: Vec<_> = live.winners.iter().map(|winner| (winner.id, fate)).collect();
        self.ledger.conclude(tx, live.newest().tx, &fates).await
    }
}

async fn play(dir: &Path, deeds: &[Deed]) {
    let ledger = store::open(dir, "ledger").await;
    let mut player = Player { dir, ledger, now_ms: 100_000_000, transactions: 0 };
    for deed in deeds {
        match player.play(deed.clone()).await {
            // Refused: nothing may have changed.
            Ok(())
            | Err(
                LedgerError::Closed
                | LedgerError::UnknownSession(_)
                | LedgerError::TooManySessions { .. }
                | LedgerError::SessionTaken(_)
                | LedgerError::Limit { .. },
            ) => {}
            Err(error) => panic!("{deed:?}: {error}"),
        }
    }
    player.ledger.close().await;
}

#[test]
fn whatever_happens_every_balance_follows_from_the_log() {
    const CASES: u32 = 12;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let deeds = prop::collection::vec(deed(), 1..80);
    runner
        .run(&deeds, |deeds| {
            runtime.block_on(async {
                let dir = TempDir::new().unwrap();
                play(dir.path(), &deeds).await;
                let audit = audit(dir.path()).await;
                prop_assert!(audit.is_clean(), "{audit:#?}");
                Ok(())
            })
        })
        .unwrap();
}

/// Books with something in every account.
async fn full_books(dir: &Path) {
    let deeds = [
        Deed::Open { session: 0 },
        Deed::Accept { session: 0, nonces: vec![1, 2, 3, 4], wins: true, cost: 5 },
        Deed::Settle { session: 0, held: 2, actual: 1 },
        Deed::OpenSpending { session: 0 },
        Deed::Reserve { session: 0, cost: 7, deposit: 90, minutes: 0 },
        Deed::Record { session: 0, cost: 5, outcome: 0 },
    ];
    play(dir, &deeds).await;
}

#[tokio::test]
async fn tampering_with_any_balance_is_found() {
    let ten = format!("'{:0>64}'", "a");
    let amount = |column: &str| {
        if cfg_postgres() { format!("{column} = decode({ten}, 'hex')") } else { format!("{column} = x{ten}") }
    };
    let statements = [
        format!("UPDATE sessions SET {}", amount("credit")),
        "UPDATE sessions SET tickets = tickets + 1".to_owned(),
        "DELETE FROM sessions".to_owned(),
        format!("UPDATE holds SET {}", amount("amount")),
        "DELETE FROM holds".to_owned(),
        "UPDATE lanes SET highest = highest - 1".to_owned(),
        "UPDATE lanes SET serial = serial + 1".to_owned(),
        "UPDATE lanes SET floor = 1".to_owned(),
        "UPDATE winners SET state = 3, reason = 1 WHERE nonce = 2".to_owned(),
        "UPDATE winners SET attempts = 1 WHERE nonce = 2".to_owned(),
        "DELETE FROM winners WHERE nonce = 2".to_owned(),
        "UPDATE spend_lanes SET next_nonce = 1".to_owned(),
        format!("UPDATE deposits SET {}", amount("seen")),
        format!("UPDATE deposits SET {}", amount("base")),
        format!("UPDATE deposits SET {}", amount("spent")),
        format!("UPDATE stream_minutes SET {}", amount("spent")),
        format!("UPDATE spendings SET {}", amount("paid")),
        format!("UPDATE spendings SET {}", amount("written_off")),
        format!("UPDATE spendings SET {}", amount("ordered")),
        format!("UPDATE spendings SET {}", amount("verified")),
        "DELETE FROM spendings".to_owned(),
    ];
    for sql in &statements {
        let dir = TempDir::new().unwrap();
        full_books(dir.path()).await;
        assert_clean(&audit(dir.path()).await);
        assert!(store::tamper(dir.path(), "ledger", sql).await > 0, "{sql} touched nothing");
        let found = audit(dir.path()).await;
        assert_eq!(found.differences.len(), 1, "{sql}: {found:#?}");
    }
}

/// The two databases write bytes differently.
fn cfg_postgres() -> bool {
    module_path!().contains("postgres")
}

#[tokio::test]
async fn log_that_was_folded_audits_as_before_and_tampering_is_found_all_the_same() {
    let dir = TempDir::new().unwrap();
    full_books(dir.path()).await;
    let ledger = store::open(dir.path(), "ledger").await;
    ledger.release_holds().await.unwrap();
    let before = audit(dir.path()).await;
    while ledger.fold().await.unwrap() > 0 {}
    ledger.close().await;
    let after = audit(dir.path()).await;
    assert_clean(&after);
    assert!(before.entries > 0 && after.entries == 0, "nothing of the log is left");
    assert!(after.openings > 0);
    assert_eq!(after.balances, before.balances);
    assert!(store::tamper(dir.path(), "ledger", "UPDATE sessions SET tickets = tickets - 1").await > 0);
    assert_eq!(audit(dir.path()).await.differences.len(), 1);
}

#[tokio::test]
async fn log_that_does_not_add_up_is_not_folded() {
    let dir = TempDir::new().unwrap();
    full_books(dir.path()).await;
    store::tamper(dir.path(), "ledger", "DELETE FROM journal WHERE seq = 1").await;
    let ledger = store::open(dir.path(), "ledger").await;
    assert_eq!(ledger.fold().await.unwrap(), 0);
    ledger.close().await;
    assert!(audit(dir.path()).await.broken.is_some(), "the evidence is still there");
}

#[tokio::test]
async fn audit_says_what_the_log_and_the_row_hold() {
    let dir = TempDir::new().unwrap();
    full_books(dir.path()).await;
    store::tamper(dir.path(), "ledger", "UPDATE lanes SET highest = 3").await;
    let found = audit(dir.path()).await;
    let [difference] = &found.differences[..] else { panic!("{found:#?}") };
    assert!(difference.account.starts_with("lane 0 of "), "{}", difference.account);
    let [log, row] = [&difference.log, &difference.row].map(|text| text.as_deref().unwrap());
    assert!(log.contains("highest nonce 4") && row.contains("highest nonce 3"), "{log} / {row}");
}

#[tokio::test]
async fn log_that_was_changed_is_found() {
    let nonsense = if cfg_postgres() { "'\\xff'" } else { "x'ff'" };
    let nonsense = format!("UPDATE journal SET entries = {nonsense}");
    for sql in ["UPDATE journal SET instance = instance + 1", "DELETE FROM journal WHERE seq = 1", &nonsense]
    {
        let dir = TempDir::new().unwrap();
        full_books(dir.path()).await;
        store::tamper(dir.path(), "ledger", sql).await;
        let found = audit(dir.path()).await;
        assert!(!found.is_clean(), "{sql}");
    }
}

#[tokio::test]
async fn audit_sees_one_moment_while_others_write() {
    let dir = TempDir::new().unwrap();
    full_books(dir.path()).await;
    let ledger = store::open(dir.path(), "ledger").await;
    let mut player = Player { dir: dir.path(), ledger, now_ms: 100_010_000, transactions: 0 };
    let mut inspector = store::inspect(dir.path(), "ledger").await.unwrap();
    let before = inspector.audit().await.unwrap();
    for nonce in 25..40 {
        player.play(Deed::Accept { session: 0, nonces: vec![nonce], wins: false, cost: 0 }).await.unwrap();
        assert_eq!(inspector.audit().await.unwrap(), before);
    }
    assert_clean(&before);
    let after = audit(dir.path()).await;
    assert_clean(&after);
    assert!(after.entries > before.entries);
}

#[tokio::test]
async fn export_tells_every_winner_and_session() {
    let dir = TempDir::new().unwrap();
    full_books(dir.path()).await;
    let mut inspector = store::inspect(dir.path(), "ledger").await.unwrap();
    let winners = inspector.winners(0).await.unwrap();
    assert_eq!(winners.iter().map(|winner| winner.nonce).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(inspector.winners(winners[3].id).await.unwrap().is_empty());
    let sessions = inspector.sessions().await.unwrap();
    assert_eq!((sessions[0].credit, sessions[0].held), (Wei::from(8), Wei::from(3)));
    let spendings = inspector.spendings().await.unwrap();
    assert_eq!((spendings[0].sums.paid, spendings[0].sums.verified), (Wei::from(9), Wei::from(5)));
}
