//! SIGKILL at random moments, of the process that pays, is paid and redeems, and of the server under it: what was
//! acknowledged is there, nothing counts twice, and every balance follows from the log.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use probabilistic_ticket::ledger::WinnerState;
use probabilistic_ticket::memory::ManualClock;
use probabilistic_ticket::{
    Ledger, LedgerError, Reason, Recipient, RecipientError, RedeemError, RedeemPolicy, Redeemer, Sender,
    SenderConfig, SenderError, TicketBatch, Wei, WorkOutcome,
};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::chain::FileChain;
use super::child;
use super::common::{SESSION, TICKET, domain, key, payment, recipient_config, sender_session};
use super::store::{self, Store};

/// Tells the test binary to be the process that is killed, and where its ledgers are.
const CHILD_DIR: &str = "PROBABILISTIC_TICKET_CHILD_DIR";
/// How many kills, in all, of each store; `make crash` sets more.
const KILLS_VARIABLE: &str = "PROBABILISTIC_TICKET_KILLS";
const KILLS: usize = 20;
/// Kills of the same books. Each replays the chain from its beginning, so that more would take long.
const KILLS_PER_BOOKS: usize = 20;
/// Each so many kills the server is killed first, where there is one.
const SERVER_EVERY: usize = 5;
/// Payments in flight in the child, so that a kill meets a group commit in every phase.
const PARALLEL: usize = 8;
/// Payments between two turns of the redeemer.
const TURN_EVERY: usize = 12;

/// The chain of both sides, as it stands.
pub(crate) async fn chain(dir: &Path) -> Arc<FileChain> {
    Arc::new(FileChain::open(&dir.join("chain")).await)
}

pub(crate) async fn recipient(dir: &Path) -> (Store, Recipient, Arc<FileChain>) {
    let chain = chain(dir).await;
    let ledger = store::open(dir, "recipient").await;
    let clock = Arc::new(ManualClock::default());
    let books = Arc::new(ledger.clone());
    let recipient = Recipient::open(recipient_config(true), books, chain.clone(), clock).await.unwrap();
    (ledger, recipient, chain)
}

pub(crate) async fn sender(dir: &Path, chain: Arc<FileChain>) -> Sender {
    let ledger = Arc::new(store::open(dir, "sender").await);
    let mut config = SenderConfig::new(domain());
    config.caps.session = Wei::MAX;
    config.caps.stream_hour = Wei::MAX;
    let clock = Arc::new(ManualClock::default());
    let sender = Sender::open(key("sender"), config, ledger, chain, clock).await.unwrap();
    let endless = probabilistic_ticket::SenderSession { max_outstanding: Wei::MAX, ..sender_session() };
    sender.open_session(endless).await.unwrap();
    sender
}

pub(crate) fn redeemer(ledger: &Store, chain: &Arc<FileChain>) -> Redeemer {
    let policy = RedeemPolicy { max_batch: 1000, confirmations: 1, ..RedeemPolicy::default() };
    Redeemer::new(policy, Arc::new(ledger.clone()), chain.clone(), Arc::new(ManualClock::default()))
}

/// Not a test of its own: the body of the process that the tests below start and kill.
#[test]
fn child_pays_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(pay_forever(Path::new(&dir)));
}

/// The server may be gone for a while: whoever asks is told so.
fn tolerate(error: &LedgerError) {
    assert!(matches!(error, LedgerError::Unreachable(_)), "{error}");
}

#[derive(Clone)]
struct Market {
    sender: Sender,
    recipient: Recipient,
    chain: Arc<FileChain>,
    redeemer: Arc<Mutex<Redeemer>>,
    payments: Arc<AtomicUsize>,
}

async fn pay_forever(dir: &Path) {
    let (ledger, recipient, chain) = recipient(dir).await;
    let sender = sender(dir, chain.clone()).await;
    recipient.open_session(sender.address(), SESSION).await.unwrap();
    let redeemer = Arc::new(Mutex::new(redeemer(&ledger, &chain)));
    let market = Market { sender, recipient, chain, redeemer, payments: Arc::default() };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..PARALLEL {
        let market = market.clone();
        tasks.spawn(async move {
            loop {
                market.pay().await;
            }
        });
    }
    // A panic of one ends all: the parent misses the kill that it did not make.
    tasks.join_next().await.unwrap().unwrap();
}

impl Market {
    /// One segment's payment, and now and then a turn of the redeemer.
    async fn pay(&self) {
        let cost = Wei::from(2 * TICKET);
        let params = match self.recipient.params(SESSION).await {
            Ok(params) => params,
            Err(RecipientError::Ledger(error)) => return tolerate(&error),
            Err(error) => panic!("{error}"),
        };
        let payment = match self.sender.pay(SESSION, &params, cost).await {
            Ok(payment) => payment,
            Err(SenderError::Ledger(error)) => return tolerate(&error),
            Err(error) => panic!("{error}"),
        };
        let nonces = nonces(&payment.bytes);
        say("sent", &nonces);
        let outcome = self.recipient.accept(SESSION, &payment.bytes, cost).await;
        let (refused, settled) = match outcome {
            Ok(accepted) => {
                let settled = self.recipient.settle(SESSION, accepted.held, Wei::from(TICKET)).await;
                (accepted.refused, settled.map(drop))
            }
            Err(RecipientError::Refused(refusal)) => (refusal.refused, Ok(())),
            Err(RecipientError::Ledger(error)) => return tolerate(&error),
            Err(error) => panic!("{error}"),
        };
        let kept =
            nonces.iter().enumerate().filter(|(at, _)| refused.iter().all(|ticket| ticket.index != *at));
        say("ack", &kept.map(|(_, nonce)| *nonce).collect::<Vec<_>>());
        if let Err(RecipientError::Ledger(error)) = settled {
            tolerate(&error);
        }
        let worth = Wei::from(refused.len() as u64 * TICKET);
        let outcome = if refused.is_empty() { WorkOutcome::Verified } else { WorkOutcome::Refused(worth) };
        if let Err(SenderError::Ledger(error)) = self.sender.record(SESSION, cost, outcome).await {
            tolerate(&error);
        }
        if self.payments.fetch_add(1, Ordering::Relaxed) % TURN_EVERY == TURN_EVERY - 1 {
            self.redeem().await;
        }
    }

    async fn redeem(&self) {
        let redeemer = self.redeemer.lock().await;
        match redeemer.flush().await {
            Ok(_) => self.chain.mine(),
            Err(RedeemError::Ledger(error)) => tolerate(&error),
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn nonces(payment: &[u8]) -> Vec<u64> {
    if payment.is_empty() {
        return Vec::new();
    }
    TicketBatch::decode(payment).unwrap().tickets.iter().map(|ticket| ticket.nonce).collect()
}

/// One line in one write, so that a kill cannot mix two.
fn say(what: &str, nonces: &[u64]) {
    let nonces: Vec<_> = nonces.iter().map(u64::to_string).collect();
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

pub(crate) fn start_child(dir: &Path) -> Child {
    let mut command = child::command(module_path!(), "child_pays_until_killed");
    command.env(CHILD_DIR, dir).stdout(Stdio::piped()).spawn().unwrap()
}

/// Starts the child, kills it after some acknowledgements, and returns all it said. When the server is killed, the child
/// has to get over it first.
fn run_and_kill(dir: &Path, acknowledgements: usize, server_too: bool) -> Said {
    let mut child = start_child(dir);
    let mut said = Said::default();
    let mut end = acknowledgements;
    let (mut server_lives, mut killed) = (server_too, false);
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines() {
        said.hear(&line.unwrap());
        if server_lives && said.acknowledged.len() >= end {
            server_lives = false;
            store::kill_server(dir);
            end = said.acknowledged.len() + acknowledgements;
        }
        if !killed && said.acknowledged.len() >= end {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself");
    said
}

/// What the world was told, over all kills of the same books.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) sent: BTreeSet<u64>,
    pub(crate) acknowledged: BTreeSet<u64>,
}

impl Told {
    fn add(&mut self, said: Said) {
        for nonce in said.sent {
            assert!(self.sent.insert(nonce), "nonce {nonce} was given out twice");
        }
        self.acknowledged.extend(said.acknowledged);
    }
}

/// Kills in each test of each store.
pub(crate) fn wanted_kills() -> usize {
    std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_nothing_acknowledged_is_lost_or_counted_twice() {
    let kills = wanted_kills();
    let (mut servers, mut acknowledged, mut redeemed) = (0, 0, 0);
    for first in (0..kills).step_by(KILLS_PER_BOOKS) {
        let dir = TempDir::new().unwrap();
        let _server = store::own_server(dir.path());
        let mut told = Told::default();
        for round in first..kills.min(first + KILLS_PER_BOOKS) {
            let after = rand::random_range(1..80);
            let server_too = store::HAS_SERVER && round % SERVER_EVERY == SERVER_EVERY - 1;
            println!("kill {round} after {after} acknowledgements, server too: {server_too}");
            told.add(run_and_kill(dir.path(), after, server_too));
            servers += usize::from(server_too);
            check(dir.path(), &told).await;
        }
        acknowledged += told.acknowledged.len();
        redeemed += redeem_all(dir.path()).await;
    }
    println!(
        "{kills} kills of the process, {servers} of the server: {acknowledged} winners acknowledged, none lost; \
         {redeemed} redeemed, none twice; every audit clean"
    );
}

/// Opens the books as the next process does, and looks for what is wrong with them.
pub(crate) async fn check(dir: &Path, told: &Told) {
    for side in ["recipient", "sender"] {
        let audit = store::inspect(dir, side).await.unwrap().audit().await.unwrap();
        assert!(audit.is_clean(), "{side}: {audit:#?}");
    }
    let (ledger, recipient, chain) = recipient(dir).await;
    let kept = all_winners(&ledger).await;
    let lost: Vec<_> = told.acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_paid_once(&chain, &kept);
    assert_replays_are_refused(&recipient, &kept).await;
    ledger.close().await;
}

fn assert_paid_once(chain: &FileChain, kept: &BTreeSet<u64>) {
    let paid = chain.paid();
    let unique: BTreeSet<_> = paid.iter().copied().collect();
    assert_eq!(unique.len(), paid.len(), "a winner was paid twice");
    assert!(unique.is_subset(kept), "a winner was paid that is not in the books");
}

async fn all_winners(ledger: &Store) -> BTreeSet<u64> {
    let winners = ledger.winners_of(key("sender").address(), u32::MAX).await.unwrap();
    let nonces: BTreeSet<_> = winners.iter().map(|winner| winner.nonce).collect();
    assert_eq!(nonces.len(), winners.len(), "a nonce was accepted twice");
    let dead = winners.iter().find(|winner| matches!(winner.state, WinnerState::Dead(_)));
    assert!(dead.is_none(), "a good winner was given up: {dead:?}");
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

/// Redeems what is left; how many winners were paid in all.
pub(crate) async fn redeem_all(dir: &Path) -> usize {
    let (ledger, _, chain) = recipient(dir).await;
    let redeemer = redeemer(&ledger, &chain);
    let kept = all_winners(&ledger).await;
    while chain.paid().len() < kept.len() {
        let before = chain.paid().len();
        redeemer.flush().await.unwrap();
        chain.mine();
        assert!(chain.paid().len() > before, "redemption stands still");
    }
    redeemer.turn().await.unwrap();
    assert_eq!(chain.paid(), kept.iter().copied().collect::<Vec<_>>(), "each winner once, in order");
    let winners = ledger.winners_of(key("sender").address(), u32::MAX).await.unwrap();
    assert!(winners.iter().all(|winner| matches!(winner.state, WinnerState::Paid(_))));
    ledger.close().await;
    kept.len()
}
