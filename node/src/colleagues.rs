//! Has an orchestrator listen to the others of the market, so that it passes on what they announce and knows where they are.

use std::time::Duration;

use framemill_broadcaster::StaticOrchestrator;
use framemill_contracts::{ChainClient, ChainFeed, Change, Changes, OrchestratorRecord};
use framemill_network::{Author, Network, ServiceAddress};

use crate::{buyer, config::Config};

/// Pause before a registry that could not be read is read again.
const RETRY: Duration = Duration::from_secs(30);

/// Follows the configured orchestrators and those of the chain's active set, for as long as it is polled.
///
/// # Errors
/// A peer in the configuration is none.
pub(crate) fn follow(
    config: &Config,
    network: &Network,
    chain: Option<(&ChainClient, &ChainFeed)>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let configured = config.network.peers.iter().map(|text| buyer::peer(text));
    let configured =
        configured.map(|peer| Ok(configured_author(peer?))).collect::<anyhow::Result<Vec<_>>>()?;
    let chain = chain.map(|(client, feed)| (client.clone(), feed.subscribe()));
    let network = network.clone();
    Ok(async move {
        heed(&network, configured.clone());
        if let Some((client, changes)) = chain {
            keep_following(&network, &configured, client, changes).await;
        }
        std::future::pending().await
    })
}

async fn keep_following(network: &Network, configured: &[Author], client: ChainClient, mut changes: Changes) {
    loop {
        let read = client.active_orchestrators().await;
        let stale = read.is_err();
        match read {
            Ok(mut records) => {
                // Of two accounts that claim one peer the larger stake has it.
                records.sort_by_key(|record| std::cmp::Reverse(record.stake));
                let registered = records.iter().filter_map(registered_author);
                heed(network, registered.chain(configured.iter().cloned()).collect());
            }
            Err(error) => {
                tracing::warn!(%error, "orchestrator registry cannot be read, following the last list")
            }
        }
        tokio::select! {
            changed = changes.until(Change::changes_orchestrators) => if changed.is_none() { return },
            () = tokio::time::sleep(RETRY), if stale => {}
        }
    }
}

fn heed(network: &Network, authors: Vec<Author>) {
    if let Err(error) = network.follow(authors) {
        tracing::warn!(%error, "not every orchestrator can be followed");
    }
}

fn configured_author(peer: StaticOrchestrator) -> Author {
    Author {
        peer: peer.service.peer(),
        addresses: peer.service.addresses().to_vec(),
        account: peer.account,
        signing_key: None,
    }
}

fn registered_author(record: &OrchestratorRecord) -> Option<Author> {
    let service: ServiceAddress = record.service_uri.parse().ok()?;
    Some(Author {
        peer: service.peer(),
        addresses: service.addresses().to_vec(),
        account: Some(record.address),
        signing_key: (!record.signing_key.is_zero()).then_some(record.signing_key),
    })
}
