//! The round keeper and the reward caller, against the contracts on a real chain.

use std::time::Duration;

use alloy_primitives::B256;
use framemill_contracts::{
    ChainClient, ChainConfig, ChainFeed, FeedConfig, Follower, PrivateKeySigner, Start,
};
use framemill_network::{Network, NetworkConfig, SigningDomain, WorkToken};
use framemill_orchestrator::{
    Duties, DutyPolicy, Orchestrator, OrchestratorConfig, OrchestratorDeps, OrchestratorHandle,
};
use prometheus::Registry;

use crate::chain::{Stage, config};
use crate::support::*;

/// Looks often: these chains make a block for every transaction.
const LOOK: Duration = Duration::from_millis(10);

/// A process that does duties, until it is dropped.
struct Process {
    handle: OrchestratorHandle,
    registry: Registry,
    _feed: ChainFeed,
}

impl Process {
    async fn start(stage: &Stage, settings: ChainConfig, policy: DutyPolicy) -> Self {
        let key = PrivateKeySigner::from_bytes(&B256::from(ORCHESTRATOR_KEY)).expect("a key");
        let client = ChainClient::connect(settings, stage.deployment, Some(key)).await.expect("a client");
        let pace = FeedConfig { interval: LOOK, longest_pause: LOOK };
        let feed = ChainFeed::start(Follower::new(client.clone(), Start::Now), pace);
        let registry = Registry::new();
        let deps = OrchestratorDeps {
            network: Network::start(NetworkConfig::loopback()).await.expect("a node on loopback"),
            key: orchestrator_key(),
            domain: SigningDomain::default(),
            work_token: WorkToken::generate(),
            payments: None,
            duties: Some(Duties { client, changes: feed.subscribe(), policy }),
            jury: None,
            registry: registry.clone(),
        };
        let handle = Orchestrator::start(OrchestratorConfig::default(), deps).await.expect("an orchestrator");
        Self { handle, registry, _feed: feed }
    }

    /// The value of a metric, over labels where it has some.
    fn metric(&self, name: &str, outcome: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("framemill_orchestrator_{name}"));
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let wanted = |metric: &&prometheus::proto::Metric| {
            outcome.is_empty() || metric.get_label().iter().any(|label| label.value() == outcome)
        };
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value().max(metric.get_gauge().get_value()) as u64
        };
        metrics.iter().filter(wanted).map(value).sum()
    }

    async fn until(&self, name: &str, outcome: &str, wanted: u64) {
        let look = async {
            while self.metric(name, outcome) != wanted {
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, look).await;
        found.unwrap_or_else(|_| panic!("{name} {outcome} is {}", self.metric(name, outcome)));
    }
}

fn policy() -> DutyPolicy {
    DutyPolicy { turn: Duration::ZERO, retry: LOOK, ..DutyPolicy::default() }
}

fn quick(stage: &Stage) -> ChainConfig {
    ChainConfig { poll_interval: LOOK, ..config(&stage.anvil) }
}

async fn rewarded(stage: &Stage, round: u64) {
    let look = async {
        while stage.orchestrator.duty_state().await.expect("a state").last_reward_round != round {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("rewarded in time");
}

/// Takes the chain to the first block of the next round.
async fn end_round(stage: &Stage) {
    let round = stage.orchestrator.round_info().await.expect("a round");
    let height = stage.orchestrator.block_number().await.expect("a height");
    stage.anvil.mine(round.start_block + round.length - height).await.expect("blocks");
}

async fn mined(stage: &Stage) -> u64 {
    let me = stage.orchestrator.address().expect("an account");
    stage.orchestrator.account_nonces(me).await.expect("nonces").mined
}

#[tokio::test]
async fn every_round_is_initialized_and_rewarded_once() {
    let stage = Stage::set().await;
    let process = Process::start(&stage, quick(&stage), policy()).await;
    rewarded(&stage, 2).await;
    end_round(&stage).await;
    rewarded(&stage, 3).await;
    process.until("rewards_total", "called", 2).await;
    process.until("rounds_initialized_total", "", 1).await;
    assert_eq!(process.metric("reward_at_risk", ""), 0);
    process.handle.shutdown().await.expect("an end");
}

#[tokio::test]
async fn two_processes_with_one_key_pay_for_each_duty_once() {
    let stage = Stage::set().await;
    let before = mined(&stage).await;
    let one = Process::start(&stage, quick(&stage), policy()).await;
    let other = Process::start(&stage, quick(&stage), policy()).await;
    rewarded(&stage, 2).await;
    for round in 3..=5 {
        end_round(&stage).await;
        rewarded(&stage, round).await;
    }
    // Four rewards and three rounds, none of them twice.
    assert_eq!(mined(&stage).await, before + 7);
    let both = |name: &str, outcome: &str| one.metric(name, outcome) + other.metric(name, outcome);
    assert_eq!(both("rewards_total", "failed"), 0);
}

#[tokio::test]
async fn dear_gas_is_waited_out_until_the_round_is_nearly_over() {
    let stage = Stage::set().await;
    let policy = DutyPolicy { calm_gas_price: 0, ..policy() };
    let process = Process::start(&stage, quick(&stage), policy).await;
    stage.anvil.mine(10).await.expect("blocks");
    assert_eq!(stage.orchestrator.duty_state().await.expect("a state").last_reward_round, 0);
    stage.anvil.mine(30).await.expect("blocks");
    rewarded(&stage, 2).await;
    process.until("rewards_total", "called", 1).await;
}

#[tokio::test]
async fn a_reward_that_cannot_be_called_for_raises_the_alert_and_is_counted_when_it_is_lost() {
    let stage = Stage::set().await;
    let settings = ChainConfig { max_fee_per_gas: 1, ..quick(&stage) };
    let process = Process::start(&stage, settings, policy()).await;
    process.until("reward_at_risk", "", 0).await;
    stage.anvil.mine(40).await.expect("blocks");
    process.until("reward_at_risk", "", 1).await;
    end_round(&stage).await;
    stage.orchestrator.initialize_round().await.expect("a round");
    process.until("rewards_total", "missed", 1).await;
    process.until("reward_at_risk", "", 0).await;
}

#[tokio::test]
async fn what_is_not_wanted_is_left_to_others() {
    let stage = Stage::set().await;
    let before = mined(&stage).await;
    let policy = DutyPolicy { keep_rounds: false, call_rewards: false, ..policy() };
    let process = Process::start(&stage, quick(&stage), policy).await;
    end_round(&stage).await;
    process.handle.shutdown().await.expect("an end");
    assert_eq!(mined(&stage).await, before);
}
