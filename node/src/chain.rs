//! Opens the chain client that the configuration describes.

use std::{path::Path, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use anyhow::Context as _;
use framemill_contracts::{ChainClient, ChainConfig, Deployment};
use framemill_network::SigningDomain;

use crate::config::Config;

/// File in the data folder of what a service sent and was not mined yet.
const JOURNAL: &str = "transactions.json";

/// The configured chain, or nothing in off-chain mode.
///
/// # Errors
/// The deployment file cannot be read, or the chain is another one.
pub(crate) async fn connect(
    config: &Config,
    key: Option<PrivateKeySigner>,
) -> anyhow::Result<Option<ChainClient>> {
    open(config, key, settings(config)?).await
}

/// As [`connect`], for a process that sends on its own: what it sent and was not mined is taken up when it starts again.
///
/// # Errors
/// As [`connect`], or the file of unmined transactions belongs to another key.
pub(crate) async fn connect_service(
    config: &Config,
    key: PrivateKeySigner,
) -> anyhow::Result<Option<ChainClient>> {
    let settings = settings(config)?;
    let journal = Some(config.data_dir().join(JOURNAL));
    open(config, Some(key), ChainConfig { journal, ..settings }).await
}

/// How the chain is talked to.
///
/// # Errors
/// The cap on fees is beyond any.
pub(crate) fn settings(config: &Config) -> anyhow::Result<ChainConfig> {
    let chain = &config.chain;
    let cap = u128::try_from(chain.max_fee_per_gas_wei)
        .ok()
        .context("chain.max_fee_per_gas_wei is more than gas can cost")?;
    Ok(ChainConfig {
        rpc_url: chain.rpc.clone().unwrap_or_default(),
        fallback_rpc_urls: chain.rpc_fallbacks.clone(),
        max_fee_per_gas: cap,
        bump_after: Duration::from_millis(chain.bump_after_ms),
        ..ChainConfig::default()
    })
}

/// The file with the contracts' addresses; none in off-chain mode.
///
/// # Errors
/// There is a chain and no such file is named.
pub(crate) fn deployment_file(config: &Config) -> anyhow::Result<Option<&Path>> {
    let file = config.chain.rpc.as_ref().map(|_| {
        config.chain.deployment.as_deref().context(
            "chain.rpc is set but chain.deployment is not: name the file with the contracts' addresses",
        )
    });
    file.transpose()
}

async fn open(
    config: &Config,
    key: Option<PrivateKeySigner>,
    settings: ChainConfig,
) -> anyhow::Result<Option<ChainClient>> {
    let Some(file) = deployment_file(config)? else { return Ok(None) };
    let deployment = Deployment::load(file)?;
    Ok(Some(ChainClient::connect(settings, deployment, key).await?))
}

/// The domain that quotes and receipts are signed in.
pub(crate) fn signing_domain(client: &ChainClient) -> SigningDomain {
    SigningDomain { chain_id: client.chain_id(), controller: client.deployment().controller }
}
