//! SIGKILL of one side while the other lives, the sender as often as the recipient: no nonce is given out twice, what was
//! acknowledged is there, nothing counts twice.

use std::path::Path;
use std::time::Duration;

use alloy_primitives::hex;
use probabilistic_ticket::{Reason, RecipientError, TicketParams, Wei, WorkOutcome};
use tempfile::TempDir;

use super::child::{self, answer};
use super::common::{SESSION, TICKET, key};
use super::kill::{self, Told};
use super::store;

const CHILD_DIR: &str = "PROBABILISTIC_TICKET_SIDE_DIR";
const CHILD_SIDE: &str = "PROBABILISTIC_TICKET_SIDE";
/// About one question in so many meets a kill of who is asked.
const KILL_ONE_IN: u32 = 6;
/// The latest moment of a kill after the question, in microseconds; most answers take less.
const LATEST_US: u64 = 15_000;
/// Payments between two turns of the redeemer.
const TURN_EVERY: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Sender,
    Recipient,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Recipient => "recipient",
        }
    }
}

/// Not a test of its own: one side, which answers each line with one.
#[test]
fn child_answers_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match std::env::var(CHILD_SIDE).unwrap().as_str() {
        "sender" => runtime.block_on(send(Path::new(&dir))),
        _ => runtime.block_on(receive(Path::new(&dir))),
    }
}

async fn send(dir: &Path) {
    let sender = kill::sender(dir, kill::chain(dir).await).await;
    let cost = Wei::from(2 * TICKET);
    answer("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (what, value) = line.split_once(' ').unwrap();
        if what == "pay" {
            let params = TicketParams::decode(&hex::decode(value).unwrap()).unwrap();
            answer(&hex::encode(sender.pay(SESSION, &params, cost).await.unwrap().bytes));
        } else {
            let outcome = match value {
                "verified" => WorkOutcome::Verified,
                "short" => WorkOutcome::NoCredit,
                refused => WorkOutcome::Refused(Wei::from(refused.parse::<u64>().unwrap() * TICKET)),
            };
            sender.record(SESSION, cost, outcome).await.unwrap();
            answer("recorded");
        }
    }
}

async fn receive(dir: &Path) {
    let (ledger, recipient, chain) = kill::recipient(dir).await;
    recipient.open_session(key("sender").address(), SESSION).await.unwrap();
    let redeemer = kill::redeemer(&ledger, &chain);
    let cost = Wei::from(2 * TICKET);
    answer("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (what, value) = line.split_once(' ').unwrap();
        match what {
            "params" => answer(&hex::encode(recipient.params(SESSION).await.unwrap().encode())),
            "take" => {
                let outcome = recipient.accept(SESSION, &hex::decode(value).unwrap(), cost).await;
                let (short, refused) = match outcome {
                    Ok(accepted) => {
                        recipient.settle(SESSION, accepted.held, cost).await.unwrap();
                        (false, accepted.refused)
                    }
                    Err(RecipientError::Refused(refusal)) => (true, refusal.refused),
                    Err(error) => panic!("{error}"),
                };
                let replayed = refused.iter().filter(|ticket| ticket.reason == Reason::Replayed).count();
                answer(&format!("{short} {replayed} {}", refused.len() - replayed));
            }
            _ => {
                redeemer.flush().await.unwrap();
                chain.mine();
                answer("redeemed");
            }
        }
    }
}

struct Process {
    side: Side,
    child: child::Process,
    kills: usize,
}

impl Process {
    fn start(dir: &Path, side: Side) -> Self {
        let mut command = child::command(module_path!(), "child_answers_until_killed");
        let child = child::Process::start(command.env(CHILD_DIR, dir).env(CHILD_SIDE, side.name()));
        Self { side, child, kills: 0 }
    }

    /// The answer to a question, during or after which the process may have been killed; then another is there.
    fn ask(&mut self, dir: &Path, kill: bool, question: &str) -> Option<String> {
        self.child.ask(question);
        if !kill {
            return Some(self.child.heard().unwrap_or_else(|| panic!("{:?} ended by itself", self.side)));
        }
        std::thread::sleep(Duration::from_micros(rand::random_range(0..LATEST_US)));
        self.child.kill();
        let answer = self.child.heard();
        *self = Self { kills: self.kills + 1, ..Self::start(dir, self.side) };
        answer
    }
}

/// Both sides, and what either was told by the other.
struct Market {
    dir: TempDir,
    sender: Process,
    recipient: Process,
    told: Told,
    kills: usize,
    cut_off: usize,
}

impl Market {
    fn open(kills: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let sender = Process::start(dir.path(), Side::Sender);
        let recipient = Process::start(dir.path(), Side::Recipient);
        Self { dir, sender, recipient, told: Told::default(), kills, cut_off: 0 }
    }

    /// Half of the kills are for either side.
    fn ask(&mut self, side: Side, question: &str) -> Option<String> {
        let process = if side == Side::Sender { &mut self.sender } else { &mut self.recipient };
        let kill = process.kills < self.kills / 2 && rand::random_ratio(1, KILL_ONE_IN);
        let answer = process.ask(self.dir.path(), kill, question);
        self.cut_off += usize::from(answer.is_none());
        answer
    }

    fn ask_until_answered(&mut self, side: Side, question: &str) -> String {
        loop {
            if let Some(answer) = self.ask(side, question) {
                return answer;
            }
        }
    }

    /// One segment: its payment, the work, and what became of it.
    fn pay(&mut self) {
        let params = self.ask_until_answered(Side::Recipient, "params now");
        // Whatever a dead sender has made is lost on the way: what the next one makes has to be new.
        let payment = self.ask_until_answered(Side::Sender, &format!("pay {params}"));
        let nonces = kill::nonces(&hex::decode(&payment).unwrap());
        for nonce in &nonces {
            assert!(self.told.sent.insert(*nonce), "nonce {nonce} was given out twice");
        }
        let question = format!("take {payment}");
        let first = self.ask(Side::Recipient, &question);
        let (again, taken) = match first {
            Some(answer) => (false, answer),
            // Whether it took them nobody has heard: it is asked with the same tickets.
            None => (true, self.ask_until_answered(Side::Recipient, &question)),
        };
        let [short, replayed, refused] = taken.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{taken}");
        };
        assert!(again || replayed == "0", "a fresh ticket was known: {taken}");
        if refused == "0" {
            self.told.acknowledged.extend(nonces);
        }
        let outcome = match (refused, short) {
            ("0", "false") => "verified",
            ("0", _) => "short",
            (refused, _) => refused,
        };
        self.ask_until_answered(Side::Sender, &format!("record {outcome}"));
    }

    fn killed(&self) -> usize {
        self.sender.kills + self.recipient.kills
    }

    async fn assert_audits_are_clean(&self) {
        for side in [Side::Sender, Side::Recipient] {
            let audit = store::inspect(self.dir.path(), side.name()).await.unwrap().audit().await.unwrap();
            assert!(audit.is_clean(), "{side:?}: {audit:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_is_killed_while_the_other_lives_and_no_ticket_is_lost_or_made_twice() {
    let kills = kill::wanted_kills();
    let mut market = Market::open(kills);
    let mut payments = 0;
    while market.killed() < kills / 2 * 2 {
        let before = market.killed();
        tokio::task::block_in_place(|| {
            market.pay();
            payments += 1;
            if payments % TURN_EVERY == 0 {
                market.ask_until_answered(Side::Recipient, "redeem now");
            }
        });
        if market.killed() > before {
            market.assert_audits_are_clean().await;
        }
    }
    let Market { dir, sender, recipient, told, cut_off, .. } = market;
    for process in [sender, recipient] {
        process.child.end();
    }
    kill::check(dir.path(), &told).await;
    let (acknowledged, redeemed) = (told.acknowledged.len(), kill::redeem_all(dir.path()).await);
    println!(
        "{kills} kills, half of them of the sender, {cut_off} before an answer: {payments} payments, {acknowledged} winners \
         acknowledged, none lost; {redeemed} redeemed, none twice; no nonce given out twice; every audit clean"
    );
}
