//! SIGKILL at random moments: what was acknowledged is there, nothing counts twice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use probabilistic_ticket::ledger::WinnerState;
use probabilistic_ticket::memory::{ManualClock, MemoryBroker};
use probabilistic_ticket::{
    Ledger, LedgerError, Reason, Recipient, RecipientError, RedeemPolicy, Redeemer, Sender, SenderConfig,
    SenderFunds, SqliteLedger, TicketBatch, Wei,
};
use tempfile::TempDir;

use crate::common::{
    SESSION, TICKET, domain, key, payment, recipient_address, recipient_config, sender_session,
};

/// Tells the test binary to be the process that is killed, and where its ledgers are.
const CHILD_DIR: &str = "PROBABILISTIC_TICKET_CHILD_DIR";
const KILLS: usize = 20;
/// Payments in flight in the child, so that a kill meets a group commit in every phase.
const PARALLEL: usize = 8;

fn broker() -> Arc<MemoryBroker> {
    let broker = MemoryBroker::new(domain(), recipient_address());
    let endless = SenderFunds { deposit: Wei::new(u128::MAX), ..SenderFunds::default() };
    broker.fund(key("sender").address(), endless);
    Arc::new(broker)
}

async fn recipient(dir: &Path, broker: Arc<MemoryBroker>) -> (SqliteLedger, Recipient) {
    let ledger = SqliteLedger::open(dir.join("recipient.db")).await.unwrap();
    let clock = Arc::new(ManualClock::default());
    let recipient =
        Recipient::open(recipient_config(true), Arc::new(ledger.clone()), broker, clock).await.unwrap();
    (ledger, recipient)
}

/// Not a test of its own: the body of the process that the tests below start and kill.
#[test]
fn child_pays_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(pay_forever(Path::new(&dir)));
}

async fn pay_forever(dir: &Path) {
    let broker = broker();
    let (_, recipient) = recipient(dir, broker.clone()).await;
    let ledger = Arc::new(SqliteLedger::open(dir.join("sender.db")).await.unwrap());
    let mut config = SenderConfig::new(domain());
    config.caps.session = Wei::MAX;
    config.caps.stream_hour = Wei::MAX;
    let clock = Arc::new(ManualClock::default());
    let sender = Sender::open(key("sender"), config, ledger, broker, clock).await.unwrap();
    let endless = probabilistic_ticket::SenderSession { max_outstanding: Wei::MAX, ..sender_session() };
    sender.open_session(endless).await.unwrap();
    let params = recipient.open_session(sender.address(), SESSION).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..PARALLEL {
        let (sender, recipient) = (sender.clone(), recipient.clone());
        tasks.spawn(async move {
            loop {
                let cost = Wei::from(2 * TICKET);
                let payment = sender.pay(SESSION, &params, cost).await.unwrap();
                say("sent", &payment.bytes);
                recipient.accept(SESSION, &payment.bytes, Wei::ZERO).await.unwrap();
                say("ack", &payment.bytes);
            }
        });
    }
    tasks.join_all().await;
}

/// One line in one write, so that a kill cannot mix two.
fn say(what: &str, payment: &[u8]) {
    let nonces: Vec<_> =
        TicketBatch::decode(payment).unwrap().tickets.iter().map(|ticket| ticket.nonce.to_string()).collect();
    let line = format!("\n{what} {}\n", nonces.join(","));
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

#[derive(Default)]
struct Said {
    sent: Vec<u64>,
    acknowledged: Vec<u64>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let Some((what, nonces)) = line.split_once(' ') else { return };
        let nonces = nonces.split(',').filter_map(|nonce| nonce.parse::<u64>().ok());
        match what {
            "sent" => self.sent.extend(nonces),
            "ack" => self.acknowledged.extend(nonces),
            _ => {}
        }
    }
}

/// Starts the child, kills it after some acknowledgements, and returns all it said.
fn run_and_kill(dir: &Path, acknowledgements: usize) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child_pays_until_killed", "--exact", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Said::default();
    let mut killed = false;
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines() {
        said.hear(&line.unwrap());
        if !killed && said.acknowledged.len() >= acknowledgements {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_acknowledged_is_lost_or_counted_twice() {
    let dir = TempDir::new().unwrap();
    let chain = broker();
    let mut acknowledged = BTreeSet::new();
    let mut sent = BTreeSet::new();
    for round in 0..KILLS {
        let after = rand::random_range(1..200);
        println!("kill {round} after {after} acknowledgements");
        let said = run_and_kill(dir.path(), after);
        for nonce in said.sent {
            assert!(sent.insert(nonce), "nonce {nonce} was given out twice");
        }
        acknowledged.extend(said.acknowledged);

        let (ledger, recipient) = recipient(dir.path(), chain.clone()).await;
        let kept = all_winners(&ledger).await;
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert_eq!(recipient.credit(SESSION).await.unwrap(), Wei::from(kept.len() as u64 * TICKET));
        assert_replays_are_refused(&recipient, &kept).await;
        redeem_some(&ledger, &chain).await;
        ledger.close().await;
    }
    redeem_all(dir.path(), &chain).await;
}

async fn all_winners(ledger: &SqliteLedger) -> BTreeSet<u64> {
    let winners = ledger.winners_of(key("sender").address(), u32::MAX).await.unwrap();
    let nonces: BTreeSet<_> = winners.iter().map(|winner| winner.nonce).collect();
    assert_eq!(nonces.len(), winners.len(), "a nonce was accepted twice");
    nonces
}

async fn assert_replays_are_refused(recipient: &Recipient, kept: &BTreeSet<u64>) {
    let params = recipient.params(SESSION).await.unwrap();
    let latest: Vec<_> = kept.iter().rev().take(100).copied().collect();
    let replay = payment(&params, &key("sender"), &latest);
    let outcome = recipient.accept(SESSION, &replay, Wei::MAX).await;
    let Err(RecipientError::Refused(refusal)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refusal.refused.len(), latest.len());
    assert!(refusal.refused.iter().all(|ticket| ticket.reason == Reason::Replayed));
}

fn redeemer(ledger: &SqliteLedger, chain: &Arc<MemoryBroker>) -> Redeemer {
    let policy = RedeemPolicy { max_batch: 1000, confirmations: 1, ..RedeemPolicy::default() };
    Redeemer::new(policy, Arc::new(ledger.clone()), chain.clone(), Arc::new(ManualClock::default()))
}

/// Leaves a redemption in the air for the next process to follow up.
async fn redeem_some(ledger: &SqliteLedger, chain: &Arc<MemoryBroker>) {
    redeemer(ledger, chain).flush().await.unwrap();
    if rand::random() {
        chain.mine();
    }
}

async fn redeem_all(dir: &Path, chain: &Arc<MemoryBroker>) {
    let (ledger, _) = recipient(dir, chain.clone()).await;
    let redeemer = redeemer(&ledger, chain);
    let kept = all_winners(&ledger).await;
    while chain.paid().len() < kept.len() {
        let before = chain.paid().len();
        redeemer.flush().await.unwrap();
        chain.mine();
        assert!(chain.paid().len() > before, "redemption stands still");
    }
    redeemer.turn().await.unwrap();
    let paid: Vec<_> = chain.paid().iter().map(|(_, nonce)| *nonce).collect();
    assert_eq!(paid, kept.into_iter().collect::<Vec<_>>(), "each winner once, in order");
    let winners = ledger.winners_of(key("sender").address(), u32::MAX).await.unwrap();
    assert!(winners.iter().all(|winner| matches!(winner.state, WinnerState::Paid(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_of_a_living_process_is_refused_to_a_second() {
    let dir = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["kill::child_pays_until_killed", "--exact", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines();
    lines.find(|line| line.as_ref().unwrap().starts_with("ack")).unwrap().unwrap();
    let second = SqliteLedger::open(dir.path().join("recipient.db")).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(&second, Err(LedgerError::Locked(_))), "{second:?}");
    SqliteLedger::open(dir.path().join("recipient.db")).await.unwrap();
}
