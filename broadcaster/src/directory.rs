//! Who sells transcoding: the configured list and the chain's registry.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::{Address, U256};
use framemill_contracts::{ChainClient, OrchestratorRecord};
use framemill_network::{Author, Multiaddr, Network, PeerId, ServiceAddress};

use crate::config::StaticOrchestrator;

/// Orchestrators held at most: several times the largest active set; those with the least stake are left out.
const MAX_ORCHESTRATORS: usize = 512;

/// What an orchestrator is remembered by. With a registry it is the account, so that a new peer id does not wipe a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrchestratorId {
    /// An account of the registry or of the configuration.
    Account(Address),
    /// A configured peer whose account is not known before its first quote.
    Peer(PeerId),
}

/// One orchestrator that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Orchestrator {
    /// What it is remembered by.
    pub id: OrchestratorId,
    /// Its network identity.
    pub peer: PeerId,
    /// Where it is reached.
    pub addresses: Vec<Multiaddr>,
    /// The account its quotes must name; `None` takes the account of the quote.
    pub account: Option<Address>,
    /// Keys other than the account's that may sign for it.
    pub signing_key: Option<Address>,
    /// Its stake, 0 where unknown.
    pub stake: U256,
}

impl Orchestrator {
    /// A configured orchestrator.
    fn configured(entry: &StaticOrchestrator) -> Self {
        let service = &entry.service;
        Self {
            id: entry.account.map_or(OrchestratorId::Peer(service.peer()), OrchestratorId::Account),
            peer: service.peer(),
            addresses: service.addresses().to_vec(),
            account: entry.account,
            signing_key: None,
            stake: U256::ZERO,
        }
    }

    /// An orchestrator of the registry; `None` when its service address leads nowhere.
    fn registered(record: &OrchestratorRecord) -> Option<Self> {
        let service: ServiceAddress = match record.service_uri.parse() {
            Ok(service) => service,
            Err(error) => {
                tracing::debug!(orchestrator = %record.address, %error, "registered service address is not usable");
                return None;
            }
        };
        Some(Self {
            id: OrchestratorId::Account(record.address),
            peer: service.peer(),
            addresses: service.addresses().to_vec(),
            account: Some(record.address),
            signing_key: (record.signing_key != Address::ZERO).then_some(record.signing_key),
            stake: record.stake,
        })
    }

    /// As one whose announcements are listened to.
    pub(crate) fn author(&self) -> Author {
        Author {
            peer: self.peer,
            addresses: self.addresses.clone(),
            account: self.account,
            signing_key: self.signing_key,
        }
    }

    /// Whether a quote or receipt of `account` may be signed by `signer`.
    pub(crate) fn may_sign(&self, account: Address, signer: Address) -> bool {
        self.account.is_none_or(|expected| expected == account)
            && (signer == account || self.signing_key == Some(signer))
    }
}

/// The present list; replaced as a whole when the registry is read.
pub(crate) struct Directory {
    configured: Vec<Orchestrator>,
    known: Mutex<Arc<Vec<Orchestrator>>>,
}

impl Directory {
    pub(crate) fn new(entries: &[StaticOrchestrator]) -> Self {
        let configured: Vec<_> = entries.iter().map(Orchestrator::configured).collect();
        let known = Mutex::new(Arc::new(merge(&configured, Vec::new())));
        Self { configured, known }
    }

    /// Everybody known now.
    pub(crate) fn list(&self) -> Arc<Vec<Orchestrator>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the network listen to everybody known now, and look for who has moved.
    pub(crate) fn follow_on(&self, network: &Network) {
        let authors = self.list().iter().map(Orchestrator::author).collect();
        if let Err(error) = network.follow(authors) {
            tracing::warn!(%error, "not every orchestrator can be followed");
        }
    }

    /// Takes over what the registry says. An unreachable chain leaves the list as it is, and gives false.
    pub(crate) async fn refresh(&self, chain: &ChainClient) -> bool {
        match chain.active_orchestrators().await {
            Ok(records) => {
                let registered = records.iter().filter_map(Orchestrator::registered).collect();
                let merged = Arc::new(merge(&self.configured, registered));
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = merged;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "orchestrator registry cannot be read, keeping the last list");
                false
            }
        }
    }
}

/// Registered ones first by stake; a configured one that is registered too keeps its configured addresses beside.
fn merge(configured: &[Orchestrator], mut registered: Vec<Orchestrator>) -> Vec<Orchestrator> {
    registered.sort_by(|a, b| b.stake.cmp(&a.stake).then(a.id.cmp(&b.id)));
    let mut peers = HashSet::new();
    // Two accounts that claim one peer: the larger stake has it, or a copycat could ride on another's record.
    registered.retain(|entry| peers.insert(entry.peer));
    for entry in configured {
        let twin = registered.iter_mut().find(|known| {
            known.peer == entry.peer || (entry.account.is_some() && known.account == entry.account)
        });
        match twin {
            Some(known) if known.peer == entry.peer => {
                let extra = entry.addresses.iter().filter(|a| !known.addresses.contains(a)).cloned();
                let extra: Vec<_> = extra.collect();
                known.addresses.extend(extra);
            }
            Some(known) => {
                *known = Orchestrator { stake: known.stake, signing_key: known.signing_key, ..entry.clone() }
            }
            None => registered.push(entry.clone()),
        }
    }
    registered.truncate(MAX_ORCHESTRATORS);
    registered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{n}").parse().unwrap()
    }

    fn registered(account: u8, peer: PeerId, stake: u64) -> Orchestrator {
        Orchestrator {
            id: OrchestratorId::Account(Address::repeat_byte(account)),
            peer,
            addresses: vec![address(account)],
            account: Some(Address::repeat_byte(account)),
            signing_key: None,
            stake: U256::from(stake),
        }
    }

    #[test]
    fn a_configured_address_of_a_registered_peer_is_added_to_it() {
        let peer = PeerId::random();
        let service = ServiceAddress::new(peer, vec![address(9)]).unwrap();
        let configured = [Orchestrator::configured(&StaticOrchestrator::from(service))];
        let list = merge(&configured, vec![registered(1, peer, 5)]);
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].addresses, [address(1), address(9)]);
        assert_eq!(list[0].account, Some(Address::repeat_byte(1)));
    }

    #[test]
    fn a_second_account_on_one_peer_is_left_out() {
        let peer = PeerId::random();
        let list = merge(&[], vec![registered(2, peer, 1), registered(1, peer, 5)]);
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].account, Some(Address::repeat_byte(1)));
    }

    #[test]
    fn only_the_account_and_its_registered_key_may_sign() {
        let (account, key, other) =
            (Address::repeat_byte(1), Address::repeat_byte(2), Address::repeat_byte(3));
        let orchestrator = Orchestrator { signing_key: Some(key), ..registered(1, PeerId::random(), 1) };
        assert!(orchestrator.may_sign(account, account) && orchestrator.may_sign(account, key));
        assert!(!orchestrator.may_sign(account, other) && !orchestrator.may_sign(other, other));
    }
}
