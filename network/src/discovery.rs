//! Where peers are found: a static list, or the service address in the chain's registry.

use std::fmt;
use std::str::FromStr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Longest service address read, in bytes: more would not pay its gas in the registry.
pub const MAX_SERVICE_BYTES: usize = 2_048;
/// Most addresses of one peer.
pub const MAX_ADDRESSES: usize = 16;

/// A service address that names no reachable peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceAddressError {
    /// Longer than [`MAX_SERVICE_BYTES`].
    #[error("service address has {bytes} bytes: at most {MAX_SERVICE_BYTES} are read")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// No address, or more than [`MAX_ADDRESSES`].
    #[error("service address lists {count} addresses: give 1 to {MAX_ADDRESSES}, separated by commas")]
    AddressCount {
        /// Number found.
        count: usize,
    },
    /// Not a multiaddr.
    #[error(
        "address {position} of the service address is no multiaddr: write it like /ip4/203.0.113.7/udp/4433/quic-v1/p2p/<peer id>"
    )]
    Malformed {
        /// Position in the list, from 1.
        position: usize,
    },
    /// Does not end in `/p2p/<peer id>`.
    #[error("address {position} of the service address does not end in /p2p/<peer id>")]
    NoPeer {
        /// Position in the list, from 1.
        position: usize,
    },
    /// Names another peer than the first address, or nothing but a peer.
    #[error("address {position} of the service address must lead to the same peer as the first")]
    OtherPeer {
        /// Position in the list, from 1.
        position: usize,
    },
}

/// One peer and the addresses it can be dialed at, without the `/p2p` suffix.
///
/// As text: multiaddrs separated by commas, each ending in `/p2p/<peer id>` of the same peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    peer: PeerId,
    addresses: Vec<Multiaddr>,
}

impl ServiceAddress {
    /// A peer at 1 to [`MAX_ADDRESSES`] addresses; a `/p2p` suffix is taken off and must name `peer`.
    ///
    /// # Errors
    /// When the count is out of bounds or an address leads to another peer.
    pub fn new(peer: PeerId, addresses: Vec<Multiaddr>) -> Result<Self, ServiceAddressError> {
        if addresses.is_empty() || addresses.len() > MAX_ADDRESSES {
            return Err(ServiceAddressError::AddressCount { count: addresses.len() });
        }
        let stripped =
            addresses.into_iter().enumerate().map(|(index, address)| match split_peer(address.clone()) {
                Some((found, bare)) if found == peer => Ok(bare),
                Some(_) => Err(ServiceAddressError::OtherPeer { position: index + 1 }),
                None => Ok(address),
            });
        Ok(Self { peer, addresses: stripped.collect::<Result<_, _>>()? })
    }

    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its addresses, never none.
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }
}

impl FromStr for ServiceAddress {
    type Err = ServiceAddressError;

    fn from_str(text: &str) -> Result<Self, ServiceAddressError> {
        if text.len() > MAX_SERVICE_BYTES {
            return Err(ServiceAddressError::TooLong { bytes: text.len() });
        }
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() || parts.len() > MAX_ADDRESSES {
            return Err(ServiceAddressError::AddressCount { count: parts.len() });
        }
        let mut peer = None;
        let mut addresses = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            let position = index + 1;
            let address: Multiaddr = part.parse().map_err(|_| ServiceAddressError::Malformed { position })?;
            let (found, bare) = split_peer(address).ok_or(ServiceAddressError::NoPeer { position })?;
            if *peer.get_or_insert(found) != found || bare.is_empty() {
                return Err(ServiceAddressError::OtherPeer { position });
            }
            addresses.push(bare);
        }
        let peer = peer.expect("at least one address was read");
        Ok(Self { peer, addresses })
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.addresses.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{address}/p2p/{}", self.peer)?;
        }
        Ok(())
    }
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

fn split_peer(mut address: Multiaddr) -> Option<(PeerId, Multiaddr)> {
    match address.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer() -> PeerId {
        PeerId::random()
    }

    #[test]
    fn reads_several_addresses_of_one_peer() {
        let peer = peer();
        let text = format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{peer}, /dns4/example.org/tcp/2/p2p/{peer}");
        let service: ServiceAddress = text.parse().unwrap();
        assert_eq!((service.peer(), service.addresses().len()), (peer, 2));
        assert_eq!(service.to_string().parse::<ServiceAddress>().unwrap(), service);
    }

    #[test]
    fn refuses_addresses_of_two_peers() {
        let text = format!("/ip4/127.0.0.1/tcp/1/p2p/{},/ip4/127.0.0.1/tcp/2/p2p/{}", peer(), peer());
        assert_eq!(text.parse::<ServiceAddress>(), Err(ServiceAddressError::OtherPeer { position: 2 }));
    }

    #[test]
    fn refuses_an_address_without_a_peer() {
        assert_eq!(
            "/ip4/127.0.0.1/tcp/1".parse::<ServiceAddress>(),
            Err(ServiceAddressError::NoPeer { position: 1 })
        );
    }

    #[test]
    fn refuses_more_addresses_than_the_bound() {
        let one = format!("/ip4/1.2.3.4/tcp/1/p2p/{}", peer());
        let many = vec![one; MAX_ADDRESSES + 1].join(",");
        assert!(many.parse::<ServiceAddress>().is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let _ = text.parse::<ServiceAddress>();
        }
    }
}
