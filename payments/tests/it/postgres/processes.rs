//! Two recipients, each a process of its own, on one database: paid in turns while either is killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::hex;
use probabilistic_ticket::memory::ManualClock;
use probabilistic_ticket::{Ledger, Reason, Recipient, RecipientError, Wei};
use tempfile::TempDir;

use super::chain::FileChain;
use super::child::{self, Process, answer};
use super::common::{SESSION, TICKET, key, payment, recipient_config};
use super::store::{self, Store};

const CHILD_DIR: &str = "PROBABILISTIC_TICKET_RECIPIENT_DIR";
const PAYMENTS: u64 = 120;
/// About one payment in so many meets a kill.
const KILL_ONE_IN: u32 = 6;
/// How often the server is asked whether it has noticed a death, and the pause between.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

async fn recipient(dir: &Path) -> (Store, Recipient) {
    let ledger = store::open(dir, "recipient").await;
    let chain = Arc::new(FileChain::open(&dir.join("chain")).await);
    let clock = Arc::new(ManualClock::default());
    let books = Arc::new(ledger.clone());
    let recipient = Recipient::open(recipient_config(true), books, chain, clock).await.unwrap();
    (ledger, recipient)
}

/// Not a test of its own: a recipient that takes a payment from each line, holds a ticket's worth, and says how many
/// tickets were new to it. It never settles: what it held is free again once it is dead.
#[test]
fn child_takes_payments() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_ledger, recipient) = runtime.block_on(recipient(Path::new(&dir)));
    answer("ready");
    for line in std::io::stdin().lines() {
        let payment = hex::decode(line.unwrap()).unwrap();
        let taken = match runtime.block_on(recipient.accept(SESSION, &payment, Wei::from(TICKET))) {
            Ok(accepted) => accepted.tickets,
            Err(RecipientError::Refused(refusal)) => {
                assert!(refusal.refused.iter().all(|ticket| ticket.reason == Reason::Replayed), "{refusal}");
                0
            }
            Err(error) => panic!("{error}"),
        };
        answer(&taken.to_string());
    }
}

fn start(dir: &Path) -> Process {
    Process::start(child::command(module_path!(), "child_takes_payments").env(CHILD_DIR, dir))
}

#[tokio::test]
async fn two_processes_take_each_payment_once_while_either_is_killed() {
    let dir = TempDir::new().unwrap();
    let (ledger, opener) = recipient(dir.path()).await;
    let params = opener.open_session(key("sender").address(), SESSION).await.unwrap();
    let mut processes = [start(dir.path()), start(dir.path())];
    let (mut kills, mut unanswered, mut taken) = (0, 0, 0);
    for nonce in 1..=PAYMENTS {
        let question = hex::encode(payment(&params, &key("sender"), &[nonce]));
        let turn = usize::try_from(nonce % 2).unwrap();
        processes[turn].ask(&question);
        if rand::random_range(0..KILL_ONE_IN) == 0 {
            kills += 1;
            processes[turn].kill();
        }
        match processes[turn].heard() {
            Some(new) => taken += new.parse::<u64>().unwrap(),
            None => {
                // Nobody knows whether it was taken: the other is asked, which takes it if nobody has.
                unanswered += 1;
                processes[1 - turn].ask(&question);
                processes[1 - turn].heard().unwrap();
                processes[turn] = start(dir.path());
            }
        }
    }
    println!("{kills} kills, {unanswered} payments unanswered, {taken} answered");
    processes.iter_mut().for_each(Process::kill);
    let all = Wei::from(PAYMENTS * TICKET);
    let mut open = ledger.session(SESSION).await.unwrap().unwrap();
    for _ in 0..TRIES {
        // The server takes a moment to notice that a process is gone.
        ledger.release_holds().await.unwrap();
        open = ledger.session(SESSION).await.unwrap().unwrap();
        if open.state.credit == all {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(open.state.tickets, PAYMENTS, "each payment counts once");
    assert_eq!(open.state.credit, all, "what the dead held is free again");
    let winners = ledger.winners_of(key("sender").address(), u32::MAX).await.unwrap();
    assert_eq!(
        winners.iter().map(|winner| winner.nonce).collect::<Vec<_>>(),
        (1..=PAYMENTS).collect::<Vec<_>>()
    );
    ledger.close().await;
    let audit = store::inspect(dir.path(), "recipient").await.unwrap().audit().await.unwrap();
    assert!(audit.is_clean(), "{audit:#?}");
}
