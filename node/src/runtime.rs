//! What every role needs to run: its network node, its web server, and the signals that end it.

use std::path::{Path, PathBuf};

use framemill_network::{Identity, Multiaddr, Network, NetworkConfig, NetworkLimits, ServiceAddress};
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Board,
    config::Config,
    http::{self, Readiness, Server, Shown},
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
    stop: CancellationToken,
    server: Server,
}

impl Runtime {
    /// Starts the web server of a role.
    ///
    /// # Errors
    /// `http.listen` cannot be listened on.
    pub async fn start(config: &Config, title: &str) -> anyhow::Result<Self> {
        let metrics = Registry::new();
        let readiness = Readiness::starting();
        let board = Board::new(title);
        let stop = CancellationToken::new();
        let shown = Shown { metrics: metrics.clone(), readiness: readiness.clone(), board: board.clone() };
        let server = http::serve(&config.http.listen, http::router(shown), stop.clone()).await?;
        tracing::info!(address = %server.address, "serving metrics, health and dashboard");
        Ok(Self { metrics, readiness, board, stop, server })
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

/// Starts the network node of a role; its identity is kept in the data folder.
///
/// # Errors
/// The identity cannot be read, or an address cannot be listened on.
pub async fn network(config: &Config, listen: &[String]) -> anyhow::Result<Network> {
    let path = config.data_dir().join("identity");
    make_private_folder(&config.data_dir())?;
    let listen = listen.iter().map(|text| multiaddr(text)).collect::<Result<Vec<_>, _>>()?;
    let identity = Identity::load_or_create(&path)?;
    let limits = NetworkLimits {
        max_streams_per_peer: config.network.max_streams_per_peer,
        requests_per_second: config.network.requests_per_second,
        request_burst: config.network.requests_per_second.saturating_mul(2),
        ..NetworkLimits::default()
    };
    Ok(Network::start(NetworkConfig { listen, limits, ..NetworkConfig::new(identity) }).await?)
}

fn multiaddr(text: &str) -> anyhow::Result<Multiaddr> {
    text.parse().map_err(|error| {
        anyhow::anyhow!("network.listen: {text}: {error}; write it like /ip4/0.0.0.0/udp/7936/quic-v1")
    })
}

/// The addresses under which others reach this node.
///
/// # Errors
/// An external address is none, or there is no address at all.
pub fn service_address(config: &Config, network: &Network) -> anyhow::Result<ServiceAddress> {
    if config.network.external.is_empty() {
        return network
            .service_address()
            .ok_or_else(|| anyhow::anyhow!("this node listens nowhere; set network.listen"));
    }
    let external =
        config.network.external.iter().map(|text| multiaddr(text)).collect::<Result<Vec<_>, _>>()?;
    Ok(ServiceAddress::new(network.peer_id(), external)?)
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
