//! A market on this machine: a chain, staked orchestrators and transcoders as processes, and a funded broadcaster's account.

use std::path::PathBuf;

use alloy_primitives::U256;
use framemill::{
    config::{Config, Sources},
    devnet::{self, ETHER, Plan},
    process::{Launcher, Process},
};
use framemill_contracts::{Anvil, AnvilConfig, ChainClient, ChainConfig};
use tempfile::TempDir;

use crate::binary;

/// What kind of market to set up.
#[derive(Debug, Clone)]
pub struct MarketPlan {
    /// Orchestrators, each with one transcoder.
    pub sellers: usize,
    /// Settings that every configuration gets.
    pub settings: Vec<(&'static str, String)>,
    /// Arguments of each transcoder, by number from zero.
    pub transcoder_arguments: Vec<(usize, Vec<String>)>,
}

impl Default for MarketPlan {
    /// One seller whose tickets win more often than not and are redeemed within a second or two.
    fn default() -> Self {
        let settings = [
            ("orchestrator.price_wei", "20000000000"),
            ("orchestrator.ticket_value_wei", "100000000000000"),
            ("orchestrator.redeem_gas_share_ppm", "1000000"),
            ("orchestrator.redeem_grace_ms", "200"),
            ("orchestrator.redeem_interval_ms", "200"),
            ("orchestrator.redeem_wait_ms", "300"),
            ("orchestrator.confirmations", "1"),
            ("broadcaster.max_price_wei", "40000000000"),
            ("broadcaster.max_deposit_per_hour_wei", "20000000000000000000"),
            ("broadcaster.deadline_ms", "60000"),
            ("broadcaster.ingest", "127.0.0.1:0"),
            ("log.filter", "info"),
        ];
        let settings = settings.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        Self { sellers: 1, settings, transcoder_arguments: Vec::new() }
    }
}

/// A running market. Everything ends when it is dropped.
pub struct Market {
    /// The chain.
    pub anvil: Anvil,
    /// Accounts, configurations, contracts.
    pub accounts: devnet::Market,
    /// Starts processes of the binary under test.
    pub launcher: Launcher,
    /// The orchestrators' processes; `None` where a test has taken one away.
    pub orchestrators: Vec<Option<Process>>,
    /// The transcoders' processes, likewise.
    pub transcoders: Vec<Option<Process>>,
    plan: MarketPlan,
    folder: TempDir,
}

impl Market {
    /// Sets the market up; every orchestrator is ready when this returns.
    pub async fn start(plan: MarketPlan) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("framemill-market-")?;
        let anvil = Anvil::start(AnvilConfig::default()).await?;
        let accounts = devnet::prepare(&Plan {
            rpc: anvil.endpoint().to_owned(),
            dir: folder.path().join("market"),
            deployer: anvil.keys().first().expect("anvil has accounts").clone(),
            orchestrators: plan.sellers,
            deposit: U256::from(50) * U256::from(ETHER),
            reserve: U256::from(5) * U256::from(ETHER),
            settings: plan.settings.clone(),
        })
        .await?;
        let launcher = Launcher::new(binary(), folder.path().join("logs"))?;
        let mut market =
            Self { anvil, accounts, launcher, orchestrators: vec![], transcoders: vec![], plan, folder };
        for number in 0..market.accounts.sellers.len() {
            market.orchestrators.push(None);
            market.transcoders.push(None);
            market.start_orchestrator(number)?;
            market.start_transcoder(number)?;
        }
        for number in 0..market.accounts.sellers.len() {
            market.wait_ready(number).await?;
        }
        Ok(market)
    }

    /// Starts an orchestrator (again).
    pub fn start_orchestrator(&mut self, number: usize) -> anyhow::Result<()> {
        let member = &self.accounts.sellers[number].orchestrator;
        self.orchestrators[number] =
            Some(self.launcher.start(&member.name, &["orchestrator"], &member.config)?);
        Ok(())
    }

    /// Starts a transcoder (again).
    pub fn start_transcoder(&mut self, number: usize) -> anyhow::Result<()> {
        let own = self.plan.transcoder_arguments.iter().find(|(who, _)| *who == number);
        let mut arguments = vec!["transcoder"];
        arguments.extend(own.iter().flat_map(|(_, own)| own.iter().map(String::as_str)));
        let config = &self.accounts.sellers[number].transcoder_config;
        let name = format!("transcoder-{}", number + 1);
        self.transcoders[number] = Some(self.launcher.start(&name, &arguments, config)?);
        Ok(())
    }

    /// Waits until an orchestrator and its transcoder can work.
    pub async fn wait_ready(&mut self, number: usize) -> anyhow::Result<()> {
        let seller = &self.accounts.sellers[number];
        if let Some(process) = &mut self.transcoders[number] {
            process.ready(&seller.transcoder_http).await?;
        }
        if let Some(process) = &mut self.orchestrators[number] {
            process.ready(&seller.http).await?;
        }
        Ok(())
    }

    /// The configuration of the broadcaster's account.
    pub fn broadcaster_config(&self) -> anyhow::Result<Config> {
        Ok(Sources { file: Some(self.accounts.broadcaster.config.clone()), ..Sources::default() }.load()?)
    }

    /// A client that reads the chain.
    pub async fn chain(&self) -> anyhow::Result<ChainClient> {
        let config = ChainConfig { rpc_url: self.anvil.endpoint().to_owned(), ..ChainConfig::default() };
        Ok(ChainClient::connect(config, self.accounts.deployment, None).await?)
    }

    /// A file or folder of this market.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
