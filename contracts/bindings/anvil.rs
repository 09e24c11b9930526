//! A chain on this machine: starts Foundry's `anvil` and ends it when dropped.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use alloy::{
    primitives::{Address, U256},
    providers::{Provider, ProviderBuilder, RootProvider},
    signers::local::PrivateKeySigner,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Anvil needs well under a second; a loaded machine gets this long.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Where the platform binary lies beside the launcher script that npm links: signals must reach
/// the chain itself, not the script.
const PLATFORM_BINARY: &str = "@foundry-rs/anvil-linux-amd64/bin/anvil";
const PLATFORM_BINARY_ARM: &str = "@foundry-rs/anvil-linux-arm64/bin/anvil";

/// How to start a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnvilConfig {
    /// Id of the new chain.
    pub chain_id: u64,
    /// Port to listen on at the loopback address; 0 takes any free one.
    pub port: u16,
    /// Time between blocks; `None` makes one for each transaction.
    pub block_time: Option<Duration>,
    /// Funded accounts.
    pub accounts: u32,
    /// Ether that each account begins with.
    pub balance_ether: u64,
}

impl Default for AnvilConfig {
    fn default() -> Self {
        Self { chain_id: 31_337, port: 0, block_time: None, accounts: 10, balance_ether: 10_000 }
    }
}

/// Why there is no chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnvilError {
    /// No binary was found.
    #[error(
        "anvil was found neither in $FRAMEMILL_TOOLS nor in .tools/node_modules nor in $PATH; run scripts/setup"
    )]
    NotFound,
    /// The process did not start or ended early.
    #[error("anvil at {path} did not start: {reason}")]
    Start {
        /// The binary.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The chain did not do what it was told.
    #[error("anvil refused {method}: {reason}")]
    Control {
        /// What was asked.
        method: &'static str,
        /// Why.
        reason: String,
    },
}

/// A running chain. Its process is killed when this is dropped.
#[derive(Debug)]
pub struct Anvil {
    child: Child,
    endpoint: String,
    chain_id: u64,
    keys: Vec<PrivateKeySigner>,
    provider: RootProvider,
}

impl Anvil {
    /// Starts a chain and waits until it listens.
    pub async fn start(config: AnvilConfig) -> Result<Self, AnvilError> {
        let path = find_binary().ok_or(AnvilError::NotFound)?;
        let failed = |reason: String| AnvilError::Start { path: path.clone(), reason };
        let mut child = command(&path, &config).spawn().map_err(|e| failed(e.to_string()))?;
        let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let banner = timeout(START_TIMEOUT, read_banner(&mut lines))
            .await
            .map_err(|_| failed(format!("no listening address within {START_TIMEOUT:?}")))?
            .map_err(&failed)?;
        // The pipe has to be read for as long as the chain writes to it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let endpoint = format!("http://{}", banner.address);
        let url = endpoint.parse().map_err(|e| failed(format!("bad address {endpoint}: {e}")))?;
        let provider = ProviderBuilder::default().connect_http(url);
        Ok(Self { child, endpoint, chain_id: config.chain_id, keys: banner.keys, provider })
    }

    /// JSON-RPC endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Keys of the funded accounts.
    pub fn keys(&self) -> &[PrivateKeySigner] {
        &self.keys
    }

    /// The process.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Adds `blocks` empty blocks at once.
    pub async fn mine(&self, blocks: u64) -> Result<(), AnvilError> {
        self.call("anvil_mine", json!([U256::from(blocks)])).await
    }

    /// Sets what an account holds, in wei.
    pub async fn set_balance(&self, account: Address, wei: U256) -> Result<(), AnvilError> {
        self.call("anvil_setBalance", json!([account, wei])).await
    }

    /// Turns the making of a block for each transaction on or off.
    pub async fn set_automine(&self, on: bool) -> Result<(), AnvilError> {
        self.call("evm_setAutomine", json!([on])).await
    }

    /// Stops the process in its tracks: it keeps its sockets and answers nothing.
    pub async fn pause(&self) -> Result<(), AnvilError> {
        self.signal("-STOP").await
    }

    /// Lets a paused process go on.
    pub async fn resume(&self) -> Result<(), AnvilError> {
        self.signal("-CONT").await
    }

    async fn call(&self, method: &'static str, params: Value) -> Result<(), AnvilError> {
        self.provider
            .raw_request::<_, Value>(method.into(), params)
            .await
            .map(drop)
            .map_err(|e| AnvilError::Control { method, reason: e.to_string() })
    }

    async fn signal(&self, signal: &'static str) -> Result<(), AnvilError> {
        let failed = |reason: String| AnvilError::Control { method: signal, reason };
        let id = self.child.id().ok_or_else(|| failed("the process has ended".to_owned()))?;
        let status = Command::new("kill")
            .args([signal, &id.to_string()])
            .status()
            .await
            .map_err(|e| failed(e.to_string()))?;
        status.success().then_some(()).ok_or_else(|| failed(format!("kill ended with {status}")))
    }
}

fn command(path: &Path, config: &AnvilConfig) -> Command {
    let mut command = Command::new(path);
    command
        .args(["--host", "127.0.0.1", "--port", &config.port.to_string()])
        .args(["--chain-id", &config.chain_id.to_string()])
        .args(["--accounts", &config.accounts.to_string()])
        .args(["--balance", &config.balance_ether.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(time) = config.block_time {
        command.args(["--block-time", &time.as_secs_f64().to_string()]);
    }
    command
}

struct Banner {
    address: String,
    keys: Vec<PrivateKeySigner>,
}

/// Anvil lists its keys, then the address it listens on.
async fn read_banner<R>(lines: &mut tokio::io::Lines<R>) -> Result<Banner, String>
where
    R: tokio::io::AsyncBufRead + Unpin,
{
    let mut keys = Vec::new();
    while let Some(line) = lines.next_line().await.map_err(|e| e.to_string())? {
        if let Some(address) = line.strip_prefix("Listening on ") {
            return Ok(Banner { address: address.trim().to_owned(), keys });
        }
        let word = line.split_whitespace().last().unwrap_or_default();
        // Account addresses stand in the same kind of list and are shorter than keys.
        if line.starts_with('(') && word.len() == 66 {
            keys.extend(word.parse::<PrivateKeySigner>().ok());
        }
    }
    Err("it ended before it listened".to_owned())
}

fn find_binary() -> Option<PathBuf> {
    let configured = env::var_os("FRAMEMILL_TOOLS").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(|root| root.join(".tools"));
    configured
        .into_iter()
        .chain(workspace)
        .flat_map(|dir| in_tools(&dir))
        .chain(env::var_os("PATH").into_iter().flat_map(in_path))
        .find(|path| path.is_file())
}

/// The tools folder may be named itself, by its `node_modules`, or by its `.bin`.
fn in_tools(dir: &Path) -> Vec<PathBuf> {
    let modules = [dir.join("node_modules"), dir.to_owned(), dir.join("..")];
    let platform = modules.iter().flat_map(|m| [m.join(PLATFORM_BINARY), m.join(PLATFORM_BINARY_ARM)]);
    platform.chain([dir.join("anvil"), dir.join("node_modules/.bin/anvil")]).collect()
}

fn in_path(path: std::ffi::OsString) -> Vec<PathBuf> {
    env::split_paths(&path).map(|dir| dir.join("anvil")).collect()
}
