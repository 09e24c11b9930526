//! What every role needs to run: its network node, its web server, and the signals that end it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use framemill_network::{
    DiscoveryConfig, Identity, Multiaddr, Network, NetworkConfig, NetworkError, NetworkLimits, RelayLimits,
    ServiceAddress, SignatureBytes, SigningDomain,
};
use probabilistic_ticket::{Signature, recover};
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Board,
    config::Config,
    dashboard::{Role, Shown, Views, guard::Hosts},
    http::{self, Readiness, Server},
};

/// The parts that all roles share.
#[derive(Debug)]
pub struct Runtime {
    /// Metrics of this node.
    pub metrics: Registry,
    /// Why the node cannot work, if so.
    pub readiness: Readiness,
    /// The dashboard's content.
    pub board: Board,
    /// What else the dashboard may look at.
    pub views: Views,
    stop: CancellationToken,
    server: Server,
}

impl Runtime {
    /// Starts the web server of a role.
    ///
    /// # Errors
    /// `http.listen` cannot be listened on.
    pub async fn start(config: &Config, role: Role, title: &str) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let shown = Shown::new(role, title, stop.clone());
        let Shown { metrics, readiness, board, views, .. } = shown.clone();
        let hosts = Hosts::new(&config.http.hosts);
        let server = http::serve_node(&config.http.listen, shown, hosts).await.context("http.listen")?;
        tracing::info!(address = %server.address, "serving metrics, health and dashboard");
        Ok(Self { metrics, readiness, board, views, stop, server })
    }

    /// Where the dashboard is.
    pub fn dashboard(&self) -> String {
        format!("http://{}/", self.server.address)
    }

    /// Ends the web server.
    pub async fn stop(self) {
        self.stop.cancel();
        self.server.stopped().await;
    }
}

/// Starts the network node of a role that is told whom to talk to; its identity is kept in the data folder.
///
/// # Errors
/// The identity cannot be read, or an address cannot be listened on.
pub async fn network(config: &Config, listen: &[String]) -> anyhow::Result<Network> {
    start(told(config, listen)?).await
}

/// As [`network`], for a role of the market: it finds others by what is signed for `domain`, and where it listens it is found,
/// through its relays where need be.
///
/// # Errors
/// As [`network`], and when an address in the configuration is none.
pub async fn market_network(
    config: &Config,
    listen: &[String],
    domain: SigningDomain,
) -> anyhow::Result<Network> {
    let settings = &config.network;
    let mut node = told(config, listen)?;
    if settings.discovery {
        let bootstrap = services("network.bootstrap", &settings.bootstrap)?;
        node.discovery = Some(DiscoveryConfig { bootstrap, domain, recover: signer_of });
    }
    if !listen.is_empty() {
        node.external = multiaddrs("network.external", &settings.external)?;
        node.relays = services("network.relays", &settings.relays)?;
        node.relay_server = settings.relay_server.then(|| relay_limits(settings));
    }
    start(node).await
}

async fn start(node: NetworkConfig) -> anyhow::Result<Network> {
    Network::start(node).await.map_err(|error| match error {
        NetworkError::Listen { .. } => anyhow::Error::new(error).context("network.listen"),
        other => other.into(),
    })
}

fn told(config: &Config, listen: &[String]) -> anyhow::Result<NetworkConfig> {
    let listen = multiaddrs("network.listen", listen)?;
    let identity = identity(config)?;
    let limits = NetworkLimits {
        max_streams_per_peer: config.network.max_streams_per_peer,
        requests_per_second: config.network.requests_per_second,
        request_burst: config.network.requests_per_second.saturating_mul(2),
        ..NetworkLimits::default()
    };
    Ok(NetworkConfig { listen, limits, ..NetworkConfig::new(identity) })
}

/// Who this node is to its peers; made when it is new.
fn identity(config: &Config) -> anyhow::Result<Identity> {
    make_private_folder(&config.data_dir())?;
    Ok(Identity::load_or_create(&config.data_dir().join("identity"))?)
}

fn relay_limits(settings: &crate::config::Network) -> RelayLimits {
    RelayLimits {
        max_circuits: settings.relay_circuits,
        circuit_bytes: settings.relay_circuit_mib << 20,
        circuit_duration: Duration::from_millis(settings.relay_circuit_ms),
        ..RelayLimits::default()
    }
}

fn signer_of(digest: B256, signature: &SignatureBytes) -> Option<Address> {
    let signature = Signature::from_bytes(*signature).ok()?;
    recover(digest, &signature).ok()
}

/// Reads the multiaddrs of a key.
///
/// # Errors
/// One of them is none.
pub(crate) fn multiaddrs(key: &str, texts: &[String]) -> anyhow::Result<Vec<Multiaddr>> {
    texts.iter().map(|text| multiaddr(key, text)).collect()
}

/// Reads the addresses of nodes of a key.
///
/// # Errors
/// One of them is none.
pub(crate) fn services(key: &str, texts: &[String]) -> anyhow::Result<Vec<ServiceAddress>> {
    texts.iter().map(|text| text.parse().with_context(|| format!("{key}: {text}"))).collect()
}

fn multiaddr(key: &str, text: &str) -> anyhow::Result<Multiaddr> {
    text.parse().map_err(|error| {
        anyhow::anyhow!("{key}: {text}: {error}; write it like /ip4/0.0.0.0/udp/7936/quic-v1")
    })
}

/// The addresses under which others reach this node: as configured, through its relays, or those it listens on.
///
/// # Errors
/// An external address is none, or there is no address at all.
pub fn service_address(config: &Config, network: &Network) -> anyhow::Result<ServiceAddress> {
    let external = external(config)?;
    if external.is_empty() {
        return network
            .service_address()
            .ok_or_else(|| anyhow::anyhow!("this node listens nowhere; set network.listen"));
    }
    Ok(ServiceAddress::new(network.peer_id(), external)?)
}

/// As [`service_address`], of a node that is not started: as configured, or through its relays.
///
/// # Errors
/// An address is none, there is none, or the identity cannot be read.
pub(crate) fn configured_service(config: &Config) -> anyhow::Result<ServiceAddress> {
    let external = external(config)?;
    anyhow::ensure!(
        !external.is_empty(),
        "the configuration does not say where this node is reached; set network.external, network.relays behind NAT, or give the address"
    );
    Ok(ServiceAddress::new(identity(config)?.peer_id(), external)?)
}

/// Where the configuration says that this node is reached.
fn external(config: &Config) -> anyhow::Result<Vec<Multiaddr>> {
    let mut external = multiaddrs("network.external", &config.network.external)?;
    for relay in services("network.relays", &config.network.relays)? {
        let circuits =
            relay.addresses().iter().map(|address| format!("{address}/p2p/{}/p2p-circuit", relay.peer()));
        external.extend(multiaddrs("network.relays", &circuits.collect::<Vec<_>>())?);
    }
    Ok(external)
}

/// Folder of the evidence that this account brings before the court; the roles serve what lies there.
pub fn evidence_folder(config: &Config) -> PathBuf {
    config.data_dir().join("evidence")
}

/// Makes a folder that only its owner can enter.
///
/// # Errors
/// The folder cannot be made.
pub fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| anyhow::anyhow!("cannot make the folder {}: {error}", path.display()))
}

/// Resolves when this process is asked to end: SIGTERM or Ctrl-C.
///
/// # Errors
/// Signals cannot be listened for.
pub async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tracing::info!("asked to stop; draining");
    Ok(())
}
