//! The redeemer on a real chain: it dies at each of its steps, the chain reorganises, gas becomes dear, an endpoint goes
//! away. In the end each winner is paid once or dead for a reason, and the chain has moved exactly their face values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use async_trait::async_trait;
use framemill_contracts::{ChainClient, ChainConfig, PreparedTx, PrivateKeySigner};
use framemill_orchestrator::ChainBroker;
use probabilistic_ticket::ledger::{
    Acceptance, CheckedTicket, DeadReason, LaneId, NewSession, NewWinner, WinnerState,
};
use probabilistic_ticket::memory::ManualClock;
use probabilistic_ticket::{
    Broker, BrokerError, BrokerView, ChainView, EthKey, Ledger, PreparedRedemption, RedeemError,
    RedeemPolicy, RedeemReport, RedeemStep, Redeemer, Scheme, SenderFunds, SqliteLedger, StepGuard, Ticket,
    TicketResult, TxStatus, Wei, WinProb, WinningTicket, rand_hash,
};
use tokio::sync::Notify;

use crate::chain::{FACE_VALUE, RAND, Stage, config};
use crate::proxy::Proxy;
use crate::support::{ORCHESTRATOR_KEY, orchestrator_key};

const GWEI: u128 = 1_000_000_000;
/// Blocks that make a transaction final here.
const CONFIRMATIONS: u64 = 3;
/// In the middle of a batch, signed by nobody.
const FORGED: u64 = 2;
/// Its validity has ended.
const STALE: u64 = 9;
/// Account of the sender that is funded only in the end.
const POOR: usize = 3;

/// What happens at one passage of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    DiesBefore,
    DiesAfter,
    /// The endpoint that is read from goes away for good.
    EndpointShuts,
}

/// What the chain does after the blow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Calm,
    /// Two blocks are replaced by empty ones.
    Reorganises,
    /// The base fee rises above what waits offers, and the node drops it.
    GasSpike,
}

struct Fate {
    left: AtomicUsize,
    blow: Blow,
    door: Arc<Proxy>,
    struck: Notify,
    at: Mutex<Option<RedeemStep>>,
}

impl Fate {
    async fn pass(&self, step: RedeemStep) {
        if self.left.fetch_sub(1, Ordering::SeqCst) != 0 {
            return;
        }
        *self.at.lock().unwrap() = Some(step);
        match self.blow {
            Blow::EndpointShuts => self.door.shut(),
            Blow::DiesBefore | Blow::DiesAfter => {
                self.struck.notify_one();
                pending::<()>().await;
            }
        }
    }
}

#[async_trait]
impl StepGuard for Fate {
    async fn before(&self, step: RedeemStep) -> Result<(), RedeemError> {
        if self.blow != Blow::DiesAfter {
            self.pass(step).await;
        }
        Ok(())
    }

    async fn after(&self, step: RedeemStep) -> Result<(), RedeemError> {
        if self.blow == Blow::DiesAfter {
            self.pass(step).await;
        }
        Ok(())
    }
}

/// What was signed: account nonce and tickets.
type Signed = Arc<Mutex<HashMap<B256, (u64, Vec<WinningTicket>)>>>;

/// A chain's broker that nobody may give two live transactions for one ticket.
struct Watched {
    inner: ChainBroker,
    client: ChainClient,
    signed: Signed,
    sent: Arc<Mutex<BTreeSet<B256>>>,
}

impl Watched {
    fn note(&self, prepared: &PreparedRedemption, tickets: Vec<WinningTicket>) {
        let tx = PreparedTx::from_raw(prepared.raw.clone().into()).unwrap();
        self.signed.lock().unwrap().insert(prepared.tx, (tx.nonce, tickets));
    }

    fn signed(&self, tx: B256) -> (u64, Vec<WinningTicket>) {
        self.signed.lock().unwrap()[&tx].clone()
    }

    /// Account nonces other than this transaction's under which one of its tickets was sent before.
    fn rivals(&self, tx: B256) -> Vec<u64> {
        let (nonce, tickets) = self.signed(tx);
        let sent = self.sent.lock().unwrap().clone();
        let others = sent.into_iter().map(|other| self.signed(other));
        let shared = |others: &[WinningTicket]| others.iter().any(|ticket| tickets.contains(ticket));
        others.filter(|(other, theirs)| *other != nonce && shared(theirs)).map(|(other, _)| other).collect()
    }

    async fn assert_alone(&self, tx: B256) {
        let account = self.client.address().unwrap();
        for nonce in self.rivals(tx) {
            let depth = self.client.nonce_used_for(account, nonce).await.unwrap();
            assert!(depth >= CONFIRMATIONS, "account nonce {nonce} is used for {depth} blocks only");
        }
    }
}

#[async_trait]
impl BrokerView for Watched {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        self.inner.chain().await
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        self.inner.funds(sender, claimant).await
    }
}

#[async_trait]
impl Broker for Watched {
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError> {
        self.inner.lane_nonce(sender, lane).await
    }

    async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError> {
        self.inner.rehearse(tickets).await
    }

    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError> {
        let prepared = self.inner.prepare(tickets).await?;
        self.note(&prepared, tickets.to_vec());
        Ok(prepared)
    }

    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError> {
        self.assert_alone(prepared.tx).await;
        self.sent.lock().unwrap().insert(prepared.tx);
        self.inner.send(prepared).await
    }

    async fn replacement(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, BrokerError> {
        let raised = self.inner.replacement(slow).await?;
        if let Some(raised) = &raised {
            self.note(raised, self.signed(slow.tx).1);
        }
        Ok(raised)
    }

    async fn status(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        self.inner.status(prepared).await
    }
}

/// A chain to go back to, and the books of a recipient that has not redeemed anything.
struct Scene {
    stage: Stage,
    folder: tempfile::TempDir,
    snapshot: U256,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set().await;
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(folder.path().join("template.db")).await.unwrap();
        let (rich, poor) = (stage.sender_key(), key_of(&stage, POOR));
        let broker = stage.broker();
        let now = broker.chain().await.unwrap();
        // Two rounds more, so that a ticket of the first is stale.
        stage.next_rounds(now.validity_rounds + 1).await;
        let fresh = broker.chain().await.unwrap();
        let good = |key: &EthKey, lane, nonce| winner(&stage, key, lane, nonce, &fresh);
        let forged = WinningTicket {
            signed: probabilistic_ticket::SignedTicket {
                signature: good(&poor, 0, FORGED).signed.signature,
                ..good(&rich, 0, FORGED).signed
            },
            recipient_rand: RAND,
        };
        let stale = winner(&stage, &rich, 1, STALE, &now);
        book(&ledger, 1, &[good(&rich, 0, 1), forged, good(&rich, 0, 3)]).await;
        book(&ledger, 2, &[good(&rich, 1, 1), good(&rich, 1, 2), stale]).await;
        book(&ledger, 3, &[good(&poor, 0, 1)]).await;
        ledger.close().await;
        let dev = stage.anvil.dev_chain();
        dev.set_automine(false).await.unwrap();
        let snapshot = dev.snapshot().await.unwrap();
        Self { stage, folder, snapshot }
    }

    /// The chain as it was, and a copy of the books.
    async fn again(&mut self) -> PathBuf {
        let dev = self.stage.anvil.dev_chain();
        dev.back_to(self.snapshot).await.unwrap();
        dev.drop_all_transactions().await.unwrap();
        dev.set_next_base_fee(GWEI).await.unwrap();
        self.snapshot = dev.snapshot().await.unwrap();
        // A reorganisation must reach neither what is gone back to nor the round's beginning.
        dev.mine(CONFIRMATIONS).await.unwrap();
        let books = self.folder.path().join("books.db");
        std::fs::copy(self.folder.path().join("template.db"), &books).unwrap();
        books
    }

    /// A process: it reads through the door first.
    async fn process(&self, books: &PathBuf, door: &Proxy, run: &Run) -> (SqliteLedger, Redeemer) {
        let settings = ChainConfig {
            rpc_url: door.url().to_owned(),
            fallback_rpc_urls: vec![self.stage.anvil.endpoint().to_owned()],
            request_timeout: Duration::from_secs(20),
            retries: 0,
            retry_backoff: Duration::from_millis(10),
            bump_after: Duration::ZERO,
            ..config(&self.stage.anvil)
        };
        let key = PrivateKeySigner::from_bytes(&B256::from(ORCHESTRATOR_KEY)).unwrap();
        let client = ChainClient::connect(settings, self.stage.deployment, Some(key)).await.unwrap();
        let inner = ChainBroker::new(client.clone(), orchestrator_key().address());
        let (signed, sent) = (run.signed.clone(), run.sent.clone());
        let broker = Arc::new(Watched { inner, client, signed, sent });
        let ledger = SqliteLedger::open(books).await.unwrap();
        let policy = RedeemPolicy { confirmations: CONFIRMATIONS, ..RedeemPolicy::default() };
        let redeemer = Redeemer::new(policy, Arc::new(ledger.clone()), broker, run.clock.clone());
        (ledger, redeemer)
    }

    async fn strike(&self, weather: Weather) {
        let dev = self.stage.anvil.dev_chain();
        match weather {
            Weather::Calm => {}
            Weather::Reorganises => dev.reorganise(2).await.unwrap(),
            Weather::GasSpike => {
                dev.set_next_base_fee(50 * GWEI).await.unwrap();
                dev.mine(1).await.unwrap();
                dev.drop_all_transactions().await.unwrap();
            }
        }
    }

    /// Turns and blocks, with a transaction that is slow and one that is lost.
    async fn live(&self, redeemer: &Redeemer, run: &Run) {
        let dev = self.stage.anvil.dev_chain();
        for turn in 0..5 {
            let _ = redeemer.flush().await;
            match turn {
                0 => run.clock.advance(RedeemPolicy::default().bump_after_ms),
                1 => dev.drop_all_transactions().await.unwrap(),
                _ => {}
            }
            let _ = redeemer.flush().await;
            if turn > 0 {
                dev.mine(1).await.unwrap();
            }
        }
    }

    /// Turns and blocks until nothing is on its way.
    async fn settle(&self, ledger: &SqliteLedger, redeemer: &Redeemer, run: &Run, trace: &str) {
        for turn in 0.. {
            assert!(turn < 40, "{trace}: the redeemer does not come to rest");
            let report = redeemer.flush().await.unwrap();
            if report == RedeemReport::default() && ledger.submissions().await.unwrap().is_empty() {
                return;
            }
            self.stage.anvil.mine(1).await.unwrap();
            run.clock.advance(RedeemPolicy::default().bump_after_ms);
        }
    }

    async fn fund_poor(&self) {
        let dev = self.stage.anvil.dev_chain();
        dev.set_automine(true).await.unwrap();
        let key = self.stage.anvil.keys()[POOR].clone();
        let client =
            ChainClient::connect(config(&self.stage.anvil), self.stage.deployment, Some(key)).await.unwrap();
        client.fund_deposit_and_reserve(U256::from(FACE_VALUE), U256::ZERO).await.unwrap();
        dev.set_automine(false).await.unwrap();
    }

    async fn run(&mut self, passage: usize, blow: Blow, weather: Weather) -> Option<RedeemStep> {
        let trace = format!("{blow:?} at passage {passage}, {weather:?}");
        let books = self.again().await;
        let run = Run::default();
        let door = Arc::new(Proxy::to(self.stage.anvil.endpoint()).await);
        let before = self.money().await;
        let fate = Arc::new(Fate {
            left: AtomicUsize::new(passage),
            blow,
            door: door.clone(),
            struck: Notify::new(),
            at: Mutex::new(None),
        });
        let (ledger, redeemer) = self.process(&books, &door, &run).await;
        let redeemer = redeemer.guarded(fate.clone());
        tokio::select! {
            () = self.live(&redeemer, &run) => {}
            () = fate.struck.notified() => {}
        }
        drop(redeemer);
        ledger.close().await;
        self.strike(weather).await;

        let (ledger, redeemer) = self.process(&books, &door, &run).await;
        self.settle(&ledger, &redeemer, &run, &trace).await;
        self.fund_poor().await;
        self.settle(&ledger, &redeemer, &run, &trace).await;
        self.check(&ledger, before, &trace).await;
        ledger.close().await;
        *fate.at.lock().unwrap()
    }

    /// What the orchestrator has earned, and what both senders have.
    async fn money(&self) -> [U256; 3] {
        let orchestrator = self.stage.orchestrator.address().unwrap();
        let fees = self.stage.orchestrator.pending_fees(orchestrator).await.unwrap();
        let rich = self.stage.orchestrator.sender_info(self.stage.sender_key().address()).await.unwrap();
        let poor = key_of(&self.stage, POOR).address();
        let poor = self.stage.orchestrator.sender_info(poor).await.unwrap();
        [fees, rich.deposit, poor.deposit]
    }

    async fn check(&self, ledger: &SqliteLedger, before: [U256; 3], trace: &str) {
        let mut states = BTreeMap::new();
        for key in [self.stage.sender_key(), key_of(&self.stage, POOR)] {
            for winner in ledger.winners_of(key.address(), 100).await.unwrap() {
                let LaneId { sender, lane, .. } = winner.lane;
                let is_poor = sender != self.stage.sender_key().address();
                states.insert((is_poor, lane, winner.nonce), winner.state);
            }
        }
        for (ticket, state) in &states {
            let (_, _, nonce) = *ticket;
            let wanted = match state {
                WinnerState::Paid(_) => ![FORGED, STALE].contains(&nonce) || *ticket == (false, 1, 2),
                WinnerState::Dead(DeadReason::Poisoned) => *ticket == (false, 0, FORGED),
                WinnerState::Dead(DeadReason::Expired) => nonce == STALE,
                _ => false,
            };
            assert!(wanted, "{trace}: {ticket:?} ended as {state:?}");
        }
        assert_eq!(states.len(), 7, "{trace}");
        let [fees, rich, poor] = self.money().await;
        let face = U256::from(FACE_VALUE);
        let moved = [fees - before[0], before[1] - rich, before[2] + face - poor];
        assert_eq!(moved, [face * U256::from(5), face * U256::from(4), face], "{trace}");
    }

    /// Every passage; all steps but the one that no batch of this size can make the chain's client take.
    async fn every_passage(&mut self, blow: Blow, weather: Weather) {
        let mut struck = BTreeSet::new();
        for passage in 0.. {
            match self.run(passage, blow, weather).await {
                Some(step) => struck.insert(step),
                None => break,
            };
        }
        let all = RedeemStep::ALL.iter().copied();
        assert_eq!(struck, all.filter(|step| *step != RedeemStep::NoteFailure).collect());
    }
}

/// What outlives a process: time, and the memory of what was signed and sent.
#[derive(Default)]
struct Run {
    clock: Arc<ManualClock>,
    signed: Signed,
    sent: Arc<Mutex<BTreeSet<B256>>>,
}

fn key_of(stage: &Stage, index: usize) -> EthKey {
    EthKey::from_bytes(&stage.anvil.keys()[index].to_bytes().0).unwrap()
}

fn winner(stage: &Stage, key: &EthKey, lane: u64, nonce: u64, chain: &ChainView) -> WinningTicket {
    let ticket = Ticket {
        recipient: orchestrator_key().address(),
        sender: key.address(),
        face_value: Wei::from(FACE_VALUE),
        win_prob: WinProb::MAX,
        lane,
        sender_nonce: nonce,
        salt: B256::repeat_byte(7),
        recipient_rand_hash: rand_hash(RAND),
        creation_round: chain.round,
        creation_round_block_hash: chain.round_block_hash,
    };
    let domain = stage.broker().recipient_config().domain;
    WinningTicket { signed: Scheme::Native.sign(ticket, &domain, key), recipient_rand: RAND }
}

/// Writes winners into the books, past a recipient that would refuse some of them.
async fn book(ledger: &SqliteLedger, session: u8, winners: &[WinningTicket]) {
    let first = winners[0].signed.ticket;
    let id = B256::repeat_byte(session);
    let new = NewSession {
        id,
        sender: first.sender,
        recipient: first.recipient,
        face_value: first.face_value,
        win_prob: first.win_prob,
        max_lanes: 64,
        idle_before_ms: 0,
        now_ms: 0,
    };
    assert_eq!(ledger.open_session(new).await.unwrap().lane.lane, first.lane);
    let domain = probabilistic_ticket::Domain::new(31_337, Address::ZERO);
    let tickets = winners.iter().enumerate().map(|(index, ticket)| CheckedTicket {
        index,
        nonce: ticket.signed.ticket.sender_nonce,
        winner: Some(NewWinner { scheme: Scheme::Native, domain, ticket: *ticket }),
    });
    let acceptance = Acceptance {
        session: id,
        serial: 0,
        ticket_value: first.face_value,
        tickets: tickets.collect(),
        cost: Wei::ZERO,
        max_nonce_jump: 100,
        now_ms: 0,
    };
    assert_eq!(ledger.accept(acceptance).await.unwrap().winners, winners.len() as u64);
}

#[tokio::test]
async fn death_before_or_after_any_step_pays_every_winner_once() {
    let mut scene = Scene::set().await;
    scene.every_passage(Blow::DiesBefore, Weather::Calm).await;
    scene.every_passage(Blow::DiesAfter, Weather::Calm).await;
}

#[tokio::test]
async fn death_after_any_step_and_a_reorganisation_pay_every_winner_once() {
    Scene::set().await.every_passage(Blow::DiesAfter, Weather::Reorganises).await;
}

#[tokio::test]
async fn death_after_any_step_and_dear_gas_pay_every_winner_once() {
    Scene::set().await.every_passage(Blow::DiesAfter, Weather::GasSpike).await;
}

#[tokio::test]
async fn endpoint_that_goes_away_at_any_step_is_replaced_by_the_next() {
    Scene::set().await.every_passage(Blow::EndpointShuts, Weather::Calm).await;
}
