//! Opens the chain client that the configuration describes.

use alloy::signers::local::PrivateKeySigner;
use anyhow::Context as _;
use framemill_contracts::{ChainClient, ChainConfig, Deployment};
use framemill_network::SigningDomain;

use crate::config::Config;

/// The configured chain, or nothing in off-chain mode.
///
/// # Errors
/// The deployment file cannot be read, or the chain is another one.
pub(crate) async fn connect(
    config: &Config,
    key: Option<PrivateKeySigner>,
) -> anyhow::Result<Option<ChainClient>> {
    let Some(rpc) = &config.chain.rpc else { return Ok(None) };
    let file = config.chain.deployment.as_ref().context(
        "chain.rpc is set but chain.deployment is not: name the file with the contracts' addresses",
    )?;
    let deployment = Deployment::load(file)?;
    let settings = ChainConfig { rpc_url: rpc.clone(), ..ChainConfig::default() };
    let client =
        ChainClient::connect(settings, deployment, key).await.with_context(|| format!("chain at {rpc}"))?;
    Ok(Some(client))
}

/// The domain that quotes and receipts are signed in.
pub(crate) fn signing_domain(client: &ChainClient) -> SigningDomain {
    SigningDomain { chain_id: client.chain_id(), controller: client.deployment().controller }
}
