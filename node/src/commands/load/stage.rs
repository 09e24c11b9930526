//! The market that is loaded: a chain with the contracts, orchestrators, echoes behind them, and a broadcaster for each step; all
//! of them processes of this binary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::U256;
use anyhow::Context as _;
use framemill_contracts::{Anvil, AnvilConfig};
use tempfile::TempDir;

use super::gauges::Gauges;
use super::prepared::Prepared;
use super::process::Usage;
use crate::buyer::PRICED_PIXELS;
use crate::cli::LoadArgs;
use crate::devnet::{self, ETHER, Plan, free_port};
use crate::process::{Launcher, Process};

/// What a ticket is worth, in wei, and what the largest segment costs.
const TICKET_VALUE: u64 = 1_000_000_000_000;
/// Share of a face value that its redemption may cost: with the ticket's value it lets some in a few hundred win.
const REDEEM_GAS_SHARE_PPM: u64 = 400_000;
/// Longest that a winner waits for others to be redeemed with.
const REDEEM_WAIT_MS: u64 = 5_000;
/// Bounds on what one peer may do are for strangers; here one broadcaster is all there is.
const PEER_STREAMS: u32 = 10_000;
const PEER_REQUESTS: u32 = 100_000;
const SESSIONS: u32 = 100_000;

/// Everything but the broadcaster. It ends when this is dropped; [`Stage::strike`] ends it in order.
pub(super) struct Stage {
    launcher: Launcher,
    market: devnet::Market,
    orchestrators: Vec<Process>,
    echoes: Vec<Process>,
    echo: Duration,
    _folder: Folder,
    _anvil: Anvil,
}

/// Where everything is written.
enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

/// A broadcaster that is ready to be played at.
pub(super) struct Target {
    /// Host and port of its ingest and playlists.
    pub(super) ingest: String,
    /// Its process, where it is one of ours.
    pub(super) own: Option<Own>,
}

/// A broadcaster's process.
pub(super) struct Own {
    process: Process,
    /// Host and port of its metrics.
    pub(super) http: String,
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl Stage {
    /// Starts chain, orchestrators and echoes; all of them are ready when this returns.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) async fn set(args: &LoadArgs, prepared: &Prepared, media: &Path) -> anyhow::Result<Self> {
        let folder = match &args.dir {
            Some(path) => Folder::Kept(std::path::absolute(path)?),
            None => Folder::Temporary(TempDir::with_prefix("framemill-load-")?),
        };
        println!("load: starting a chain, {} orchestrators, and an echo for each", args.orchestrators);
        let anvil = Anvil::start(AnvilConfig::default()).await?;
        let market = devnet::prepare(&Plan {
            rpc: anvil.endpoint().to_owned(),
            dir: folder.path().join("market"),
            deployer: anvil.keys().first().context("anvil has accounts")?.clone(),
            orchestrators: usize::from(args.orchestrators),
            deposit: U256::from(50) * U256::from(ETHER),
            reserve: U256::from(5) * U256::from(ETHER),
            settings: settings(args, prepared.most_pixels()),
        })
        .await?;
        let binary = std::env::current_exe().context("cannot find this program's own file")?;
        let launcher = Launcher::new(binary, folder.path().join("logs"))?;
        let (orchestrators, echoes) = (Vec::new(), Vec::new());
        let echo = Duration::from_millis(args.echo_ms);
        let mut stage =
            Self { launcher, market, orchestrators, echoes, echo, _folder: folder, _anvil: anvil };
        stage.start(media).await?;
        Ok(stage)
    }

    async fn start(&mut self, media: &Path) -> anyhow::Result<()> {
        let (media, takes) = (media.display().to_string(), self.echo.as_millis().to_string());
        let arguments = ["load", "echo", "--media", &media, "--echo-ms", &takes];
        for (number, seller) in self.market.sellers.iter().enumerate() {
            let member = &seller.orchestrator;
            let mut orchestrator = self.launcher.start(&member.name, &["orchestrator"], &member.config)?;
            let name = format!("echo-{}", number + 1);
            let mut echo = self.launcher.start(&name, &arguments, &seller.transcoder_config)?;
            echo.ready(&seller.transcoder_http).await?;
            orchestrator.ready(&seller.http).await?;
            self.orchestrators.push(orchestrator);
            self.echoes.push(echo);
        }
        Ok(())
    }

    /// Starts a broadcaster with the market's account.
    ///
    /// # Errors
    /// It does not start.
    pub(super) async fn broadcaster(&self) -> anyhow::Result<Target> {
        let (ingest, http) = (local()?, local()?);
        let settings = [format!("broadcaster.ingest={ingest}"), format!("http.listen={http}")];
        let arguments = ["broadcaster", "--set", &settings[0], "--set", &settings[1]];
        let mut process = self.launcher.start("broadcaster", &arguments, &self.market.broadcaster.config)?;
        process.ready(&http).await?;
        Ok(Target { ingest, own: Some(Own { process, http }) })
    }

    /// Process ids of the orchestrators.
    pub(super) fn orchestrators(&self) -> Vec<u32> {
        self.orchestrators.iter().filter_map(Process::id).collect()
    }

    /// Process ids of the echoes.
    pub(super) fn echoes(&self) -> Vec<u32> {
        self.echoes.iter().filter_map(Process::id).collect()
    }

    /// What an echo takes for a segment, at least.
    pub(super) fn echo_time(&self) -> Duration {
        self.echo
    }

    /// The metrics of all orchestrators together.
    pub(super) async fn gauges(&self) -> anyhow::Result<Gauges> {
        let mut sum = Gauges::default();
        for seller in &self.market.sellers {
            sum.add(Gauges::read(&seller.http).await?);
        }
        Ok(sum)
    }

    /// Ends everything in order.
    pub(super) async fn strike(self) {
        for process in self.echoes.into_iter().chain(self.orchestrators) {
            process.stop().await;
        }
    }
}

impl Own {
    /// Its CPU time and memory; none once it has ended.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.process.id().and_then(Usage::of)
    }

    /// Ends it in order.
    pub(super) async fn stop(self) {
        self.process.stop().await;
    }
}

fn local() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}

/// What every process of the market is told, beside what it is anyway. Verification, deadlines, ledgers and fsync stay as they are
/// by default.
fn settings(args: &LoadArgs, most_pixels: u64) -> Vec<(&'static str, String)> {
    let price = U256::from(TICKET_VALUE) * U256::from(PRICED_PIXELS) / U256::from(most_pixels.max(1));
    let price = price.max(U256::from(1));
    let most_streams = args.streams.iter().max().copied().unwrap_or(1);
    vec![
        ("network.max_streams_per_peer", PEER_STREAMS.to_string()),
        ("network.requests_per_second", PEER_REQUESTS.to_string()),
        ("orchestrator.max_sessions", SESSIONS.to_string()),
        ("orchestrator.max_sessions_per_peer", SESSIONS.to_string()),
        ("orchestrator.price_wei", price.to_string()),
        ("orchestrator.ticket_value_wei", TICKET_VALUE.to_string()),
        ("orchestrator.redeem_gas_share_ppm", REDEEM_GAS_SHARE_PPM.to_string()),
        ("orchestrator.redeem_wait_ms", REDEEM_WAIT_MS.to_string()),
        ("orchestrator.confirmations", "1".to_owned()),
        ("broadcaster.max_price_wei", (price * U256::from(2)).to_string()),
        ("broadcaster.ladder", args.ladder.clone()),
        ("broadcaster.max_streams", most_streams.to_string()),
        // Hundreds of streams without an end would fill the disk.
        ("broadcaster.playlist", "sliding".to_owned()),
    ]
}
