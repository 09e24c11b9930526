//! A chain on this machine: starts Foundry's `anvil` and ends it when dropped.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{Provider, ProviderBuilder, RootProvider},
    signers::local::PrivateKeySigner,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Anvil needs well under a second; a loaded machine gets this long.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// A control call is answered at once, unless thousands of blocks are mined by it.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);
/// Keys of the accounts that every development chain funds. They are public knowledge.
const DEV_KEYS: [&str; 10] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// Key of the `index`th account that a development chain funds, 0 to 9. Never use one elsewhere.
pub fn dev_key(index: usize) -> Option<PrivateKeySigner> {
    DEV_KEYS.get(index).map(|key| key.parse().expect("the table holds valid keys"))
}

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
    #[error("anvil was found neither in $FRAMEMILL_TOOLS nor in .tools/bin nor in $PATH; run scripts/setup")]
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
    control: DevChain,
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
        let control = DevChain::connect(&endpoint)?;
        Ok(Self { child, endpoint, chain_id: config.chain_id, keys: banner.keys, control })
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

    /// Control over the chain.
    pub fn dev_chain(&self) -> DevChain {
        self.control.clone()
    }

    /// Adds `blocks` empty blocks at once.
    pub async fn mine(&self, blocks: u64) -> Result<(), AnvilError> {
        self.control.mine(blocks).await
    }

    /// Stops the process in its tracks: it keeps its sockets and answers nothing.
    pub async fn pause(&self) -> Result<(), AnvilError> {
        self.signal("-STOP").await
    }

    /// Lets a paused process go on.
    pub async fn resume(&self) -> Result<(), AnvilError> {
        self.signal("-CONT").await
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

/// The control calls of a development chain, whoever started it.
#[derive(Clone, Debug)]
pub struct DevChain {
    provider: RootProvider,
}

impl DevChain {
    /// Takes the address of a chain's JSON-RPC endpoint. Nothing is sent yet.
    pub fn connect(rpc_url: &str) -> Result<Self, AnvilError> {
        let url = rpc_url.parse().map_err(|_| AnvilError::Control {
            method: "connect",
            reason: format!("{rpc_url} is no http or https address"),
        })?;
        Ok(Self { provider: ProviderBuilder::default().connect_http(url) })
    }

    /// Adds `blocks` empty blocks at once.
    pub async fn mine(&self, blocks: u64) -> Result<(), AnvilError> {
        self.call("anvil_mine", json!([U256::from(blocks)])).await
    }

    /// Adds `blocks` empty blocks whose times are `seconds` apart.
    pub async fn mine_every(&self, blocks: u64, seconds: u64) -> Result<(), AnvilError> {
        self.call("anvil_mine", json!([U256::from(blocks), U256::from(seconds)])).await
    }

    /// Sets what an account holds, in wei.
    pub async fn set_balance(&self, account: Address, wei: U256) -> Result<(), AnvilError> {
        self.call("anvil_setBalance", json!([account, wei])).await
    }

    /// Turns the making of a block for each transaction on or off.
    pub async fn set_automine(&self, on: bool) -> Result<(), AnvilError> {
        self.call("evm_setAutomine", json!([on])).await
    }

    /// Sets the base fee of the next block, in wei per unit of gas.
    pub async fn set_next_base_fee(&self, wei: u128) -> Result<(), AnvilError> {
        self.call("anvil_setNextBlockBaseFeePerGas", json!([U256::from(wei)])).await
    }

    /// Sets the gas that a block can hold from the next one on.
    pub async fn set_block_gas_limit(&self, gas: u64) -> Result<(), AnvilError> {
        self.call("evm_setBlockGasLimit", json!([U256::from(gas)])).await
    }

    /// Remembers the whole state; returns the name to go [`back_to`](Self::back_to) it by.
    pub async fn snapshot(&self) -> Result<U256, AnvilError> {
        self.ask("evm_snapshot", json!([])).await
    }

    /// Goes back to a remembered state, which is forgotten by that.
    pub async fn back_to(&self, snapshot: U256) -> Result<(), AnvilError> {
        let method = "evm_revert";
        let found: bool = self.ask(method, json!([snapshot])).await?;
        let gone = || AnvilError::Control { method, reason: format!("there is no snapshot {snapshot}") };
        found.then_some(()).ok_or_else(gone)
    }

    /// Forgets a transaction that waits to be mined.
    pub async fn drop_transaction(&self, hash: B256) -> Result<(), AnvilError> {
        self.call("anvil_dropTransaction", json!([hash])).await
    }

    /// Forgets every transaction that waits to be mined.
    pub async fn drop_all_transactions(&self) -> Result<(), AnvilError> {
        self.call("anvil_dropAllTransactions", json!([])).await
    }

    /// Replaces the last `depth` blocks by empty ones.
    pub async fn reorganise(&self, depth: u64) -> Result<(), AnvilError> {
        self.call("anvil_reorg", json!([depth, []])).await
    }

    /// Takes the last `depth` blocks away.
    pub async fn roll_back(&self, depth: u64) -> Result<(), AnvilError> {
        self.call("anvil_rollback", json!([depth])).await
    }

    async fn call(&self, method: &'static str, params: Value) -> Result<(), AnvilError> {
        self.ask::<Value>(method, params).await.map(drop)
    }

    async fn ask<T>(&self, method: &'static str, params: Value) -> Result<T, AnvilError>
    where
        T: DeserializeOwned + std::fmt::Debug + Send + Sync + Unpin + 'static,
    {
        let failed = |reason: String| AnvilError::Control { method, reason };
        let request = self.provider.raw_request::<_, T>(method.into(), params);
        timeout(CONTROL_TIMEOUT, request)
            .await
            .map_err(|_| failed(format!("no answer within {CONTROL_TIMEOUT:?}")))?
            .map_err(|e| failed(e.to_string()))
    }
}

/// States of past blocks that are kept, in memory: twice what a reorganisation may undo. Anvil writes the rest to its user's home
/// folder otherwise, gigabytes in an hour, and leaves them there when it is killed.
const KEPT_STATES: usize = 2 * crate::follow::REORG_WINDOW;

/// Gas of a block. What does not fit in the block that a transaction makes waits for the next transaction: of contracts that are
/// deployed all at once the last would wait for ever.
const BLOCK_GAS: u64 = 1_000_000_000;

fn command(path: &Path, config: &AnvilConfig) -> Command {
    let mut command = Command::new(path);
    command
        .args(["--host", "127.0.0.1", "--port", &config.port.to_string()])
        .args(["--chain-id", &config.chain_id.to_string()])
        .args(["--accounts", &config.accounts.to_string()])
        .args(["--balance", &config.balance_ether.to_string()])
        .args(["--prune-history", &KEPT_STATES.to_string()])
        .args(["--gas-limit", &BLOCK_GAS.to_string()])
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

/// `$FRAMEMILL_TOOLS`, then the tools folder of the checkout that this program was built in or is run in, then `$PATH`.
fn find_binary() -> Option<PathBuf> {
    let configured = env::var_os("FRAMEMILL_TOOLS").map(PathBuf::from);
    let program = env::current_exe().ok();
    let folder = env::current_dir().ok();
    let checkouts =
        program.iter().chain(&folder).flat_map(|path| path.ancestors()).map(|path| path.join(".tools/bin"));
    let path = env::var_os("PATH");
    let path = path.iter().flat_map(env::split_paths);
    configured
        .into_iter()
        .chain(checkouts)
        .chain(path)
        .map(|dir| dir.join("anvil"))
        .find(|file| file.is_file())
}
