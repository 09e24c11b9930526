//! Ways to reach the processes of a market: addresses, a broadcaster with HTTP ingest, what the chain recorded.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

use alloy::{
    providers::{Provider as _, ProviderBuilder},
    rpc::types::Filter,
    sol,
    sol_types::SolEvent as _,
};
use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill::process::{Launcher, Process};
use framemill_network::ServiceAddress;

use crate::Market;

sol! {
    event WinningTicketRedeemed(
        address indexed sender,
        address indexed recipient,
        uint64 indexed lane,
        uint64 senderNonce,
        uint256 faceValue,
        uint256 fromReserve,
        uint256 recipientRand
    );
}

/// A ticket that the chain has paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redeemed {
    /// Whose deposit paid.
    pub sender: Address,
    /// Whose ticket it was.
    pub recipient: Address,
    /// The lane of its nonce.
    pub lane: u64,
    /// Its nonce.
    pub nonce: u64,
    /// What was paid.
    pub face_value: U256,
}

impl Market {
    /// Where an orchestrator listens for TCP. A death shows at once there, while QUIC takes seconds to notice it.
    pub async fn tcp_service(&self, number: usize) -> anyhow::Result<ServiceAddress> {
        let account = self.accounts.sellers[number].orchestrator.address;
        let record =
            self.chain().await?.orchestrator(account).await?.context("the orchestrator is registered")?;
        let service: ServiceAddress = record.service_uri.parse()?;
        let tcp = service.addresses().iter().filter(|address| address.to_string().contains("/tcp/"));
        Ok(ServiceAddress::new(service.peer(), tcp.cloned().collect())?)
    }

    /// Starts a transcoder, in place of the one that runs, that dials this address.
    pub fn start_transcoder_at(&mut self, number: usize, service: &ServiceAddress) -> anyhow::Result<()> {
        // Two of one name and folder must not run at a time.
        self.transcoders[number] = None;
        let target = format!("transcoder.orchestrator={service}");
        let config = &self.accounts.sellers[number].transcoder_config;
        let name = format!("transcoder-{}", number + 1);
        let process = self.launcher.start(&name, &["transcoder", "--set", &target], config)?;
        self.transcoders[number] = Some(process);
        Ok(())
    }

    /// Starts the broadcaster as a process of its own, with more settings of the form `KEY=VALUE`; it is ready when this
    /// returns.
    pub async fn start_broadcaster(&self, settings: &[String]) -> anyhow::Result<BroadcasterProcess> {
        BroadcasterProcess::start(&self.launcher, &self.accounts.broadcaster.config, settings).await
    }

    /// Every redemption that the broker has paid, in order.
    pub async fn redeemed(&self) -> anyhow::Result<Vec<Redeemed>> {
        let provider = ProviderBuilder::new().connect_http(self.anvil.endpoint().parse()?);
        let filter = Filter::new()
            .address(self.accounts.deployment.ticket_broker)
            .event_signature(WinningTicketRedeemed::SIGNATURE_HASH)
            .from_block(0);
        let logs = provider.get_logs(&filter).await?;
        let paid = logs.iter().map(|log| {
            let event = WinningTicketRedeemed::decode_log(&log.inner)?;
            Ok(Redeemed {
                sender: event.sender,
                recipient: event.recipient,
                lane: event.lane,
                nonce: event.senderNonce,
                face_value: event.faceValue,
            })
        });
        paid.collect()
    }
}

/// A broadcaster as a process.
pub struct BroadcasterProcess {
    /// The process.
    pub process: Process,
    /// Host and port of ingest and playlists.
    pub ingest: String,
    /// Host and port of metrics and health.
    pub http: String,
}

impl BroadcasterProcess {
    /// Starts a broadcaster on ports of its own; it is ready when this returns.
    pub async fn start(launcher: &Launcher, config: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let (ingest, http) = (free_address()?, free_address()?);
        let own = [format!("broadcaster.ingest={ingest}"), format!("http.listen={http}")];
        let mut arguments = vec!["broadcaster"];
        for setting in own.iter().chain(settings) {
            arguments.extend(["--set", setting]);
        }
        let mut process = launcher.start("broadcaster", &arguments, config)?;
        process.ready(&http).await?;
        Ok(Self { process, ingest, http })
    }

    /// The address that segment `sequence` of a stream is pushed to.
    pub fn push_url(&self, stream: &str, sequence: u64) -> String {
        format!("http://{}/live/{stream}/{sequence}.ts", self.ingest)
    }

    /// The address of a published file.
    pub fn hls_url(&self, path: &str) -> String {
        format!("http://{}/hls/{path}", self.ingest)
    }
}

/// A host and port that were free a moment ago.
pub fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The addresses named in a playlist: its lines that are no tags.
pub fn playlist_entries(playlist: &str) -> Vec<String> {
    let lines = playlist.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Where npm's packages of this checkout lie; none before `scripts/setup browser`.
pub fn node_modules() -> Option<PathBuf> {
    Some(crate::workspace().join("tools/node_modules")).filter(|folder| folder.is_dir())
}
