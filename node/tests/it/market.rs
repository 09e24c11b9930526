//! A market with stakers for the binary's commands.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Output},
};

use alloy_primitives::{Address, U256};
use framemill::keystore;
use framemill_contracts::{
    Anvil, AnvilConfig, ChainClient, ChainConfig, CourtParams, DeployParams, Registration, deploy, dev_key,
};
use framemill_network::SigningDomain;
use serde_json::Value;
use tempfile::TempDir;

use super::{clean, framemill, stderr, stdout};

/// Base units of one token.
const UNIT: u64 = 1_000_000_000_000_000_000;
/// Rounds of unbonding here: the court needs as many for its longest dispute.
pub(super) const UNBONDING: u64 = 7;

/// Serves evidence at a port of this machine, which goes into the registry.
pub(super) const SERVE: [&str; 5] =
    ["dispute", "serve", "--register", "--set", "network.listen=/ip4/127.0.0.1/tcp/0"];

/// A market with two active orchestrators, and a staker with a keystore and ten tokens.
pub(super) struct Market {
    pub(super) anvil: Anvil,
    pub(super) dir: TempDir,
    pub(super) owner: ChainClient,
    pub(super) orchestrators: Vec<ChainClient>,
    pub(super) staker: Address,
}

pub(super) fn tokens(count: u64) -> U256 {
    U256::from(count) * U256::from(UNIT)
}

impl Market {
    pub(super) async fn open() -> Self {
        let anvil = Anvil::start(AnvilConfig::default()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = ChainConfig { rpc_url: anvil.endpoint().to_owned(), ..ChainConfig::default() };
        let params = DeployParams {
            unbonding_rounds: UNBONDING,
            voting_period_rounds: 2,
            proposal_threshold: tokens(1),
            quorum_percent: 1,
            timelock_seconds: 60,
            court: CourtParams { jail_rounds: 0, ..CourtParams::devnet() },
            ..DeployParams::devnet()
        };
        let deployment = deploy(&config, &anvil.keys()[0], &params).await.unwrap();
        deployment.save(&dir.path().join("deployment.json")).unwrap();
        let mut clients = Vec::new();
        for index in [0, 1, 2] {
            let key = Some(anvil.keys()[index].clone());
            clients.push(ChainClient::connect(config.clone(), deployment, key).await.unwrap());
        }
        let owner = clients.remove(0);
        let staker = dev_key(5).unwrap();
        owner.transfer_tokens(staker.address(), tokens(10)).await.unwrap();
        let password = dir.path().join("password");
        std::fs::write(&password, "correct horse\n").unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        keystore::store_at(&dir.path().join("keystore.json"), staker.to_bytes(), "correct horse").unwrap();
        let market = Self { anvil, dir, owner, orchestrators: clients, staker: staker.address() };
        for (index, orchestrator) in market.orchestrators.iter().enumerate() {
            let stake = tokens(100 - index as u64);
            market.owner.transfer_tokens(orchestrator.address().unwrap(), stake).await.unwrap();
            orchestrator.register_orchestrator(&registration(stake)).await.unwrap();
        }
        market.next_round().await;
        market
    }

    pub(super) async fn next_round(&self) {
        let round = self.owner.round_info().await.unwrap();
        let height = self.owner.block_number().await.unwrap();
        self.anvil.mine(round.start_block + round.length - height).await.unwrap();
        self.owner.initialize_round().await.unwrap();
    }

    pub(super) async fn rounds(&self, count: u64) {
        for _ in 0..count {
            self.next_round().await;
        }
    }

    pub(super) fn orchestrator(&self, index: usize) -> String {
        self.orchestrators[index].address().unwrap().to_string()
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command line printed that a shell ran, with the binary in its `PATH`.
    pub(super) fn typed(&self, line: &str, orchestrator: &str) -> String {
        let programs = std::path::Path::new(env!("CARGO_BIN_EXE_framemill")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut shell = clean("sh");
        shell.args(["-euc", line]).env("PATH", path).env("ORCHESTRATOR", orchestrator);
        let output = self.configured(shell).output().unwrap();
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        stdout(&output)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.configured(framemill(arguments))
    }

    fn configured(&self, mut command: Command) -> Command {
        command
            .env("FRAMEMILL_DATA_DIR", self.dir.path())
            .env("FRAMEMILL_WALLET_PASSWORD_FILE", self.dir.path().join("password"))
            .env("FRAMEMILL_CHAIN_RPC", self.anvil.endpoint())
            .env("FRAMEMILL_CHAIN_DEPLOYMENT", self.dir.path().join("deployment.json"))
            .stdin(std::process::Stdio::null());
        command
    }

    /// What receipts are signed for.
    pub(super) fn domain(&self) -> SigningDomain {
        let deployment = self.owner.deployment();
        SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller }
    }

    /// Makes empty blocks up to a height.
    pub(super) async fn reach(&self, height: u64) {
        let now = self.owner.block_number().await.unwrap();
        if height > now {
            self.anvil.mine(height - now).await.unwrap();
        }
    }

    /// A process that serves the staker's evidence at an address that is in the registry.
    pub(super) async fn serve(&self) -> Serving {
        let mut child = self
            .command(&[&SERVE[..], &["--yes"]].concat())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::task::spawn_blocking(move || {
            let serving =
                lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("serving evidence at"));
            serving.expect("it serves");
            // The pipe has to be read for as long as the process writes to it.
            std::thread::spawn(move || lines.for_each(drop));
        })
        .await
        .unwrap();
        Serving(child)
    }

    /// A role that runs until what is returned is dropped.
    pub(super) fn start(&self, arguments: &[&str]) -> Serving {
        let mut command = self.command(arguments);
        Serving(
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap(),
        )
    }

    /// What a successful command printed.
    pub(super) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Exit code and standard error of a command that fails.
    pub(super) fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{}", stdout(&output));
        (output.status.code().unwrap(), stderr(&output))
    }
}

pub(super) fn registration(stake: U256) -> Registration {
    Registration {
        stake,
        reward_cut_ppm: 100_000,
        fee_share_ppm: 500_000,
        service_uri:
            "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooWGrxL4x8eXgZEfzBo2iDkoTBKmqpTYpVUeyqeD8gjmnSo"
                .to_owned(),
        signing_key: Address::ZERO,
        redeemer: Address::ZERO,
    }
}

/// A process that ends when this is dropped.
pub(super) struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
