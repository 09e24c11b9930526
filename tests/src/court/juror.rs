//! A juror's node: an orchestrator as the binary runs it, with jury duty and quick looks at the chain.

use std::{path::PathBuf, time::Duration};

use framemill_contracts::{
    Anvil, ChainClient, ChainConfig, ChainFeed, Deployment, FeedConfig, Follower, PrivateKeySigner, Start,
};
use framemill_network::{Identity, Network, NetworkConfig, SigningDomain, WorkToken};
use framemill_orchestrator::{
    JuryDuty, JuryPolicy, Orchestrator, OrchestratorConfig, OrchestratorDeps, OrchestratorHandle,
};
use probabilistic_ticket::EthKey;
use prometheus::Registry;

use super::chain_config;

/// Looks often: these chains make a block for every transaction.
const LOOK: Duration = Duration::from_millis(20);

/// A running juror. Dropping it ends it as a kill does.
pub struct JurorNode {
    _handle: OrchestratorHandle,
    _feed: ChainFeed,
    network: Network,
    registry: Registry,
}

impl JurorNode {
    pub(super) async fn start(
        anvil: &Anvil,
        deployment: Deployment,
        key: PrivateKeySigner,
        folder: PathBuf,
    ) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let journal = Some(folder.join("transactions.json"));
        let settings = ChainConfig { journal, ..chain_config(anvil) };
        let client = ChainClient::connect(settings, deployment, Some(key.clone())).await.expect("a client");
        let identity = Identity::load_or_create(&folder.join("identity")).expect("an identity");
        let network = NetworkConfig { identity, ..NetworkConfig::loopback() };
        let network = Network::start(network).await.expect("a node on loopback");
        let pace = FeedConfig { interval: LOOK, longest_pause: LOOK };
        let feed = ChainFeed::start(Follower::new(client.clone(), Start::Now), pace);
        let registry = Registry::new();
        let jury = JuryDuty {
            client,
            changes: feed.subscribe(),
            policy: JuryPolicy {
                turn_blocks: 1,
                pause: Duration::from_millis(100),
                longest_pause: Duration::from_millis(500),
                retry: Duration::from_millis(100),
                ..JuryPolicy::default()
            },
            folder: folder.join("jury"),
        };
        let deps = OrchestratorDeps {
            network: network.clone(),
            key: EthKey::from_bytes(&key.to_bytes().0).expect("a key"),
            domain: SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller },
            work_token: WorkToken::generate(),
            payments: None,
            duties: None,
            jury: Some(jury),
            registry: registry.clone(),
        };
        let handle = Orchestrator::start(OrchestratorConfig::default(), deps).await.expect("an orchestrator");
        Self { _handle: handle, _feed: feed, network, registry }
    }

    /// Where it is reached.
    pub fn service(&self) -> String {
        self.network.service_address().expect("it listens").to_string()
    }

    /// A counter or gauge of this node, over all labels.
    pub fn metric(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("framemill_orchestrator_{name}"));
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value().max(metric.get_gauge().get_value()) as u64
        };
        metrics.iter().map(value).sum()
    }
}
