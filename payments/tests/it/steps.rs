//! A redeemer that dies, or fails, at each of its steps, on a chain that misbehaves meanwhile: each winner is paid once or
//! dead for a reason, and no ticket ever has two live transactions. On either store; a server takes several times as long as a file,
//! and is spared most of the weather, which is the chain's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256};
use async_trait::async_trait;
use probabilistic_ticket::ledger::{CheckedTicket, DeadReason, NewWinner, WinnerState};
use probabilistic_ticket::memory::MemoryBroker;
use probabilistic_ticket::{
    BrokerError, Ledger, LedgerError, RedeemError, RedeemPolicy, RedeemStep, Redeemer, Round, SenderFunds,
    Signature, StepGuard, TicketParams, Wei,
};
use tokio::sync::Notify;

use super::common::{TICKET, World, domain, key, payment, recipient_config, rich};
use super::store;

/// Blocks that a reorganization undoes at most: less than what makes a transaction final.
const DEEPEST: usize = 2;
/// Series of lives under changing weather.
const STORMS: u64 = if store::HAS_SERVER { 6 } else { 60 };
/// Makes every transaction revert that carries it.
const POISONED: u64 = 2;
/// Its signature is somebody else's.
const FORGED: u64 = 13;

/// What happens to a redeemer at one passage of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    DiesBefore,
    DiesAfter,
    FailsBefore,
    FailsAfter,
}

impl Blow {
    fn is_after(self) -> bool {
        matches!(self, Self::DiesAfter | Self::FailsAfter)
    }

    fn kills(self) -> bool {
        matches!(self, Self::DiesBefore | Self::DiesAfter)
    }
}

/// What the chain does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Calm,
    /// Blocks are undone and their transactions forgotten.
    ReorgForgets(usize),
    /// Blocks are undone and their transactions wait again.
    ReorgKeeps(usize),
    PoolForgets,
    /// Somebody else with the key uses the next account nonce.
    NonceTaken,
    /// The chain is away for a turn.
    Away,
    /// What waits becomes too cheap to be mined or sent again.
    GasSpike,
    /// Validity ends.
    RoundsPass,
}

impl Weather {
    const ALL: [Self; 10] = [
        Self::Calm,
        Self::ReorgForgets(1),
        Self::ReorgForgets(DEEPEST),
        Self::ReorgKeeps(1),
        Self::ReorgKeeps(DEEPEST),
        Self::PoolForgets,
        Self::NonceTaken,
        Self::Away,
        Self::GasSpike,
        Self::RoundsPass,
    ];

    /// What every passage is seen under. With a server: what pays the winners, and what buries them.
    const EVERY_PASSAGE: &[Self] =
        if store::HAS_SERVER { &[Self::Calm, Self::RoundsPass] } else { &Self::ALL };

    fn strike(self, broker: &MemoryBroker) {
        match self {
            Self::Calm => {}
            Self::ReorgForgets(blocks) => broker.reorganize(blocks),
            Self::ReorgKeeps(blocks) => broker.reorganize_into_pool(blocks),
            Self::PoolForgets => broker.forget_pool(),
            Self::NonceTaken => broker.spend_account_nonce(),
            Self::Away => broker.set_online(false),
            Self::GasSpike => broker.set_lowest_fee(3),
            Self::RoundsPass => broker.set_round(Round(4)),
        }
    }
}

/// Strikes at the `left`th passage; looks at each passage whether a ticket has two live transactions.
struct Fate {
    left: AtomicUsize,
    blow: Blow,
    broker: Arc<MemoryBroker>,
    struck: Notify,
    at: Mutex<Option<RedeemStep>>,
}

impl Fate {
    fn new(broker: Arc<MemoryBroker>, passage: usize, blow: Blow) -> Arc<Self> {
        let left = AtomicUsize::new(passage);
        Arc::new(Self { left, blow, broker, struck: Notify::new(), at: Mutex::new(None) })
    }

    fn struck_at(&self) -> Option<RedeemStep> {
        *self.at.lock().unwrap()
    }

    async fn pass(&self, step: RedeemStep) -> Result<(), RedeemError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) != 0 {
            return Ok(());
        }
        *self.at.lock().unwrap() = Some(step);
        if self.blow.kills() {
            self.struck.notify_one();
            pending::<()>().await;
        }
        Err(failure_of(step))
    }
}

/// Durable writes fail as a full disk does, the rest as an endpoint that cannot be reached.
fn failure_of(step: RedeemStep) -> RedeemError {
    match step {
        RedeemStep::Conclude
        | RedeemStep::StoreRaised
        | RedeemStep::Bury
        | RedeemStep::Reveal
        | RedeemStep::NoteFailure
        | RedeemStep::Store => LedgerError::Store("no space left".to_owned()).into(),
        RedeemStep::SendAgain
        | RedeemStep::Raise
        | RedeemStep::SendRaised
        | RedeemStep::Sign
        | RedeemStep::Send => BrokerError::Unavailable("connection reset".to_owned()).into(),
    }
}

#[async_trait]
impl StepGuard for Fate {
    async fn before(&self, step: RedeemStep) -> Result<(), RedeemError> {
        if self.blow.is_after() { Ok(()) } else { self.pass(step).await }
    }

    async fn after(&self, step: RedeemStep) -> Result<(), RedeemError> {
        assert_eq!(self.broker.live_twice(), [], "after {step:?}");
        if self.blow.is_after() { self.pass(step).await } else { Ok(()) }
    }
}

fn session(number: u8) -> B256 {
    B256::repeat_byte(number)
}

/// Six good winners of two senders in three lanes, one that reverts, one that is forged; the second sender's deposit
/// covers one of its two.
async fn world_of_winners() -> World {
    let world = World::without_syncs(recipient_config(true)).await;
    world.broker.set_largest_batch(6);
    world.broker.poison(POISONED);
    world.broker.fund(key("poor").address(), rich());
    let first = open(&world, "sender", 1).await;
    let second = open(&world, "sender", 2).await;
    let poor = open(&world, "poor", 3).await;
    take(&world, &first, "sender", &[1, POISONED, 3]).await;
    take(&world, &second, "sender", &[11, 12]).await;
    take(&world, &poor, "poor", &[21, 22]).await;
    take_forged(&world, &second).await;
    world.broker.fund(key("poor").address(), one_face());
    world
}

fn one_face() -> SenderFunds {
    SenderFunds { deposit: Wei::from(TICKET), ..SenderFunds::default() }
}

async fn open(world: &World, sender: &str, number: u8) -> TicketParams {
    world.recipient.open_session(key(sender).address(), session(number)).await.unwrap()
}

async fn take(world: &World, params: &TicketParams, sender: &str, nonces: &[u64]) {
    let bytes = payment(params, &key(sender), nonces);
    let accepted = world.recipient.accept(params.session, &bytes, Wei::ZERO).await.unwrap();
    assert_eq!(accepted.winners, nonces.len() as u64);
}

/// The recipient would not have taken it: it is written into its books.
async fn take_forged(world: &World, params: &TicketParams) {
    let secret = world.ledger.secret().await.unwrap();
    let recipient_rand = probabilistic_ticket::params::RecipientSecret::from_bytes(secret).rand(params);
    let ticket = params.ticket(FORGED, B256::ZERO);
    let signed = probabilistic_ticket::SignedTicket { ticket, signature: Signature([1; 65]) };
    let ticket = probabilistic_ticket::WinningTicket { signed, recipient_rand };
    let winner = NewWinner { scheme: params.scheme, domain: domain(), ticket };
    let acceptance = probabilistic_ticket::ledger::Acceptance {
        session: params.session,
        serial: params.serial,
        ticket_value: params.ticket_value(),
        tickets: vec![CheckedTicket { index: 0, nonce: FORGED, winner: Some(winner) }],
        cost: Wei::ZERO,
        max_nonce_jump: 100,
        now_ms: 1_000_000,
    };
    assert_eq!(world.ledger.accept(acceptance).await.unwrap().winners, 1);
}

fn policy() -> RedeemPolicy {
    RedeemPolicy { confirmations: 3, ..RedeemPolicy::default() }
}

fn redeemer(world: &World) -> Redeemer {
    let ledger = Arc::new(world.ledger.clone());
    Redeemer::new(policy(), ledger, world.broker.clone(), world.clock.clone())
}

/// Turns and blocks. A failed turn is followed by the next.
async fn live(world: &World, redeemer: &Redeemer, weather: Weather) {
    for turn in 0..7 {
        let _ = redeemer.flush().await;
        match turn {
            // What was sent is slow, and raised; then it is lost, and sent again.
            1 => world.clock.advance(policy().bump_after_ms),
            2 => world.broker.forget_pool(),
            3 => weather.strike(&world.broker),
            _ => {}
        }
        let _ = redeemer.flush().await;
        world.broker.set_online(true);
        if turn > 1 {
            world.broker.mine();
        }
    }
}

/// Turns and blocks until nothing is on its way and what is pending cannot be paid.
async fn settle(world: &World, redeemer: &Redeemer) {
    let mut quiet = 0;
    for turn in 0.. {
        assert!(turn < 60, "the redeemer does not come to rest: {:?}", states(world).await);
        let report = redeemer.flush().await.unwrap();
        world.broker.mine();
        world.clock.advance(policy().bump_after_ms);
        let idle = report == probabilistic_ticket::RedeemReport::default();
        let all_final = world.ledger.submissions().await.unwrap().is_empty();
        quiet = if idle && all_final { quiet + 1 } else { 0 };
        // A refused batch is taken apart in the turn after.
        if quiet == 3 {
            return;
        }
    }
}

async fn states(world: &World) -> BTreeMap<(Address, u64), WinnerState> {
    let mut states = BTreeMap::new();
    for sender in ["sender", "poor"] {
        for winner in world.ledger.winners_of(key(sender).address(), 100).await.unwrap() {
            states.insert((winner.lane.sender, winner.nonce), winner.state);
        }
    }
    states
}

/// Every winner is paid once on the chain and in the books, or dead for the reason that it has.
async fn check(world: &World, expires: bool, trace: &str) {
    let paid = world.broker.paid();
    let on_chain: BTreeSet<_> = paid.iter().map(|(lane, nonce)| (lane.sender, *nonce)).collect();
    assert_eq!(on_chain.len(), paid.len(), "{trace}: a ticket was paid twice: {paid:?}");
    let states = states(world).await;
    assert_eq!(states.len(), 8, "{trace}: {states:?}");
    for ((sender, nonce), state) in &states {
        let is_bad = [POISONED, FORGED].contains(nonce);
        match state {
            WinnerState::Paid(_) => {
                assert!(!is_bad && on_chain.contains(&(*sender, *nonce)), "{trace}: {nonce}")
            }
            WinnerState::Dead(DeadReason::Poisoned) => assert!(is_bad, "{trace}: {nonce} was given up"),
            WinnerState::Dead(DeadReason::Expired) => {
                assert!(expires && !on_chain.contains(&(*sender, *nonce)), "{trace}: {nonce} expired");
            }
            other => panic!("{trace}: {nonce} ended as {other:?}"),
        }
    }
    let won = states.values().filter(|state| matches!(state, WinnerState::Paid(_))).count();
    assert_eq!(won, on_chain.len(), "{trace}: books and chain differ");
    let earned = Wei::from(TICKET).saturating_mul(won as u64);
    assert_eq!(world.broker.earned(), earned, "{trace}");
    assert_eq!(world.broker.live_twice(), [], "{trace}");
}

/// One life with a blow, its successor's life, a top-up, the end. Returns where the blow fell.
async fn run(passage: usize, blow: Blow, weather: Weather) -> Option<RedeemStep> {
    let trace = format!("{blow:?} at passage {passage}, {weather:?}");
    let mut world = world_of_winners().await;
    let fate = Fate::new(world.broker.clone(), passage, blow);
    let struck = {
        let redeemer = redeemer(&world).guarded(fate.clone());
        tokio::select! {
            () = live(&world, &redeemer, weather) => {}
            () = fate.struck.notified() => {}
        }
        fate.struck_at()
    };
    if blow.kills() && struck.is_some() {
        world.restart().await;
        weather.strike(&world.broker);
        world.broker.mine();
        world.broker.set_online(true);
    }
    end(world, weather == Weather::RoundsPass, &trace).await;
    struck
}

/// What is left comes to its end.
async fn end(world: World, expires: bool, trace: &str) {
    let watch = Fate::new(world.broker.clone(), usize::MAX, Blow::FailsAfter);
    let redeemer = redeemer(&world).guarded(watch);
    settle(&world, &redeemer).await;
    world.broker.fund(key("poor").address(), one_face());
    settle(&world, &redeemer).await;
    check(&world, expires, trace).await;
    world.remove().await;
}

/// Numbers below a bound, the same for the same seed.
struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.thrown += 1;
        let bytes = [self.seed.to_be_bytes(), self.thrown.to_be_bytes()].concat();
        let word = alloy_primitives::keccak256(bytes).0;
        let number = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) as usize;
        number % bound
    }
}

/// One life after the other under changing weather, each ended, or disturbed, at some passage.
async fn storm(seed: u64) {
    const BLOWS: [Blow; 4] = [Blow::DiesBefore, Blow::DiesAfter, Blow::FailsBefore, Blow::FailsAfter];
    let mut dice = Dice { seed, thrown: 0 };
    let mut world = world_of_winners().await;
    let mut trace = format!("seed {seed}");
    let mut expires = false;
    for _ in 0..=dice.below(6) {
        let (blow, passage) = (BLOWS[dice.below(4)], dice.below(30));
        let weather = Weather::ALL[dice.below(Weather::ALL.len())];
        expires |= weather == Weather::RoundsPass;
        trace += &format!(", {blow:?} at {passage} under {weather:?}");
        let fate = Fate::new(world.broker.clone(), passage, blow);
        let redeemer = redeemer(&world).guarded(fate.clone());
        tokio::select! {
            () = live(&world, &redeemer, weather) => {}
            () = fate.struck.notified() => {}
        }
        drop(redeemer);
        world.restart().await;
        world.broker.set_online(true);
        // What must not be undone any more is what the ledger has called final.
        for _ in 0..policy().confirmations {
            world.broker.mine();
        }
    }
    end(world, expires, &trace).await;
}

#[tokio::test]
async fn any_series_of_deaths_and_reorganizations_pays_every_winner_once() {
    for seed in 0..STORMS {
        storm(seed).await;
    }
}

/// Every passage of every step, under every weather.
async fn every_passage(blow: Blow) {
    let mut struck = BTreeSet::new();
    let mut runs = 0;
    for weather in Weather::EVERY_PASSAGE {
        for passage in 0.. {
            runs += 1;
            match run(passage, blow, *weather).await {
                Some(step) => struck.insert(step),
                None => break,
            };
        }
    }
    println!("{blow:?}: {runs} runs");
    let all: BTreeSet<_> = RedeemStep::ALL.iter().copied().collect();
    assert_eq!(struck, all, "a step was never struck");
}

#[tokio::test]
async fn death_before_any_step_pays_every_winner_once() {
    every_passage(Blow::DiesBefore).await;
}

#[tokio::test]
async fn death_after_any_step_pays_every_winner_once() {
    every_passage(Blow::DiesAfter).await;
}

#[tokio::test]
async fn failure_before_any_step_pays_every_winner_once() {
    every_passage(Blow::FailsBefore).await;
}

#[tokio::test]
async fn failure_after_any_step_pays_every_winner_once() {
    every_passage(Blow::FailsAfter).await;
}
