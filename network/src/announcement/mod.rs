//! What orchestrators say of themselves to everybody: where they are, what they ask, how much room they have.
//!
//! An announcement helps to decide whom to ask for a quote and is worth no more than that: money is gated on the signed quote.

mod store;

pub use store::MAX_AUTHORS;
pub(crate) use store::{Announcements, Now, Received, Verdict};

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{SolStruct, sol};
use libp2p::{Multiaddr, PeerId};

use crate::price::PricePerPixel;
use crate::signing::{SignatureBytes, SigningDomain};

/// Largest encoded announcement in bytes, addresses and all.
pub const MAX_ANNOUNCEMENT_BYTES: usize = 2 * 1024;
/// Most addresses in one.
pub const MAX_ANNOUNCED_ADDRESSES: usize = 8;
/// Longest life of an announcement in milliseconds: who has vanished is forgotten by then.
pub const MAX_ANNOUNCEMENT_LIFE_MS: u64 = 3_600_000;
/// How far an announcement may be dated ahead in milliseconds: clocks differ.
pub const MAX_CLOCK_SKEW_MS: u64 = 60_000;

/// What one orchestrator announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The orchestrator's Ethereum address, whose key, or registered signing key, signs this.
    pub orchestrator: Address,
    /// Its network identity, whose key signs the message that this travels in.
    pub peer: PeerId,
    /// Where it is reached, at most [`MAX_ANNOUNCED_ADDRESSES`]; none leaves the registered ones.
    pub addresses: Vec<Multiaddr>,
    /// Price of output pixels.
    pub price: PricePerPixel,
    /// Price where receipts carry feature commitments; none where that is not offered.
    pub committed_price: Option<PricePerPixel>,
    /// Output pixels per second that are free now.
    pub capacity: u64,
    /// The later one wins. By convention the milliseconds since the Unix epoch when it was made, so that it grows over restarts;
    /// at most [`MAX_CLOCK_SKEW_MS`] ahead.
    pub sequence: u64,
    /// When it says nothing any more, in milliseconds since the Unix epoch; at most [`MAX_ANNOUNCEMENT_LIFE_MS`] after
    /// [`Announcement::sequence`].
    pub expires_at_unix_ms: u64,
}

/// An announcement with the signature over [`Announcement::signing_hash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAnnouncement {
    /// What is announced.
    pub announcement: Announcement,
    /// Signature by the orchestrator or its registered signing key.
    pub signature: SignatureBytes,
}

/// Who may announce: an orchestrator of the chain's active set, or a configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The network identity that registry or configuration name.
    pub peer: PeerId,
    /// Where they say it is reached; may be empty.
    pub addresses: Vec<Multiaddr>,
    /// The account that announcements must name; `None` takes the account of the signature.
    pub account: Option<Address>,
    /// A key other than the account's that may sign for it.
    pub signing_key: Option<Address>,
}

impl Author {
    /// Whether `signer` may sign an announcement of `account` for this author.
    fn may_sign(&self, account: Address, signer: Address) -> bool {
        self.account.is_none_or(|expected| expected == account)
            && (signer == account || self.signing_key == Some(signer))
    }
}

/// Recovers the signer of a digest; `None` for what is no signature. Signatures are the roles' business, so they bring this.
pub type Recover = fn(B256, &SignatureBytes) -> Option<Address>;

mod eip712 {
    use super::sol;

    sol! {
        struct Announcement {
            address orchestrator;
            bytes peer;
            bytes32 addressesHash;
            uint256 priceWei;
            uint64 pricePixels;
            bool offersCommitments;
            uint256 committedPriceWei;
            uint64 committedPricePixels;
            uint64 capacity;
            uint64 sequence;
            uint64 expiresAtUnixMs;
        }
    }
}

impl Announcement {
    /// The EIP-712 digest that is signed. Like a quote's it binds the network identity to the Ethereum key.
    pub fn signing_hash(&self, domain: &SigningDomain) -> B256 {
        let committed = self.committed_price;
        eip712::Announcement {
            orchestrator: self.orchestrator,
            peer: self.peer.to_bytes().into(),
            addressesHash: self.addresses_hash(),
            priceWei: self.price.wei(),
            pricePixels: self.price.pixels(),
            offersCommitments: committed.is_some(),
            committedPriceWei: committed.map(|price| price.wei()).unwrap_or_default(),
            committedPricePixels: committed.map(|price| price.pixels()).unwrap_or_default(),
            capacity: self.capacity,
            sequence: self.sequence,
            expiresAtUnixMs: self.expires_at_unix_ms,
        }
        .eip712_signing_hash(&domain.eip712())
    }

    /// True when it says nothing any more at `now_unix_ms`.
    pub fn is_expired(&self, now_unix_ms: u64) -> bool {
        now_unix_ms >= self.expires_at_unix_ms
    }

    /// The hash of each address, hashed together: of fixed lengths, so that no list reads as another.
    fn addresses_hash(&self) -> B256 {
        let hashes: Vec<u8> =
            self.addresses.iter().flat_map(|address| keccak256(address.as_ref() as &[u8]).0).collect();
        keccak256(hashes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloy_primitives::U256;

    use super::*;

    pub(crate) fn announcement(peer: PeerId) -> Announcement {
        Announcement {
            orchestrator: Address::repeat_byte(1),
            peer,
            addresses: vec!["/ip4/203.0.113.7/udp/4433/quic-v1".parse().unwrap()],
            price: PricePerPixel::new(U256::from(1_000), 1_000).unwrap(),
            committed_price: None,
            capacity: 1_000_000,
            sequence: 1_000_000,
            expires_at_unix_ms: 1_600_000,
        }
    }

    #[test]
    fn every_field_is_signed() {
        let domain = SigningDomain { chain_id: 1, ..SigningDomain::default() };
        let base = announcement(PeerId::random());
        let price = PricePerPixel::new(U256::from(2_000), 1_000).unwrap();
        let one: Multiaddr = "/ip4/203.0.113.7/udp/4433/quic-v1".parse().unwrap();
        let changed = [
            Announcement { orchestrator: Address::repeat_byte(2), ..base.clone() },
            Announcement { peer: PeerId::random(), ..base.clone() },
            Announcement { addresses: Vec::new(), ..base.clone() },
            Announcement { addresses: vec![one.clone(), one], ..base.clone() },
            Announcement { price, ..base.clone() },
            Announcement { committed_price: Some(price), ..base.clone() },
            Announcement { capacity: 2, ..base.clone() },
            Announcement { sequence: 2, ..base.clone() },
            Announcement { expires_at_unix_ms: 2, ..base.clone() },
        ];
        let mut hashes: Vec<_> = changed.iter().map(|changed| changed.signing_hash(&domain)).collect();
        hashes.push(base.signing_hash(&domain));
        hashes.push(base.signing_hash(&SigningDomain { chain_id: 2, ..domain }));
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }
}
