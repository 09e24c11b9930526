//! Address records as Kademlia keeps them: each is signed by the peer it is about, so whoever stores one can tell it from a forgery.

use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

use crate::discovery::MAX_ADDRESSES;

/// Largest record in bytes: sixteen long addresses, key and signature.
pub(crate) const MAX_RECORD_BYTES: usize = 2_048;

/// The addresses that a peer signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressRecord {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
    /// The later one wins: seconds since the Unix epoch when it was made.
    pub(crate) sequence: u64,
}

/// Why a record is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRecord {
    #[error("more than {MAX_RECORD_BYTES} bytes")]
    TooLarge,
    #[error("not signed by the peer of its key")]
    Forged,
    #[error("not 1 to {MAX_ADDRESSES} addresses")]
    AddressCount,
    #[error("a newer one is known")]
    Stale,
}

/// What a peer's record lies under.
pub(crate) fn key_of(peer: &PeerId) -> Vec<u8> {
    peer.to_bytes()
}

/// A record of this node's own addresses; none where it has none to tell.
pub(crate) fn make(keypair: &Keypair, addresses: Vec<Multiaddr>) -> Option<Vec<u8>> {
    if addresses.is_empty() {
        return None;
    }
    let addresses = addresses.into_iter().take(MAX_ADDRESSES).collect();
    let record = PeerRecord::new(keypair, addresses).ok()?;
    let bytes = record.into_signed_envelope().into_protobuf_encoding();
    (bytes.len() <= MAX_RECORD_BYTES).then_some(bytes)
}

/// Reads the record that lies under `key`.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<AddressRecord, BadRecord> {
    if value.len() > MAX_RECORD_BYTES {
        return Err(BadRecord::TooLarge);
    }
    let envelope = SignedEnvelope::from_protobuf_encoding(value).map_err(|_| BadRecord::Forged)?;
    let record = PeerRecord::from_signed_envelope(envelope).map_err(|_| BadRecord::Forged)?;
    if key_of(&record.peer_id()) != key {
        return Err(BadRecord::Forged);
    }
    if !(1..=MAX_ADDRESSES).contains(&record.addresses().len()) {
        return Err(BadRecord::AddressCount);
    }
    Ok(AddressRecord {
        peer: record.peer_id(),
        addresses: record.addresses().to_vec(),
        sequence: record.seq(),
    })
}

/// Whether `heard` takes the place of what lies under its key.
pub(crate) fn supersedes(heard: &AddressRecord, known: Option<&[u8]>) -> Result<(), BadRecord> {
    let known = known.and_then(|value| read(&key_of(&heard.peer), value).ok());
    match known.is_some_and(|known| known.sequence > heard.sequence) {
        true => Err(BadRecord::Stale),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{n}").parse().unwrap()
    }

    #[test]
    fn a_record_tells_the_addresses_that_its_peer_signed() {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let value = make(&keypair, vec![address(1), address(2)]).unwrap();
        let record = read(&key_of(&peer), &value).unwrap();
        assert_eq!((record.peer, record.addresses.len()), (peer, 2));
        assert_eq!(supersedes(&record, Some(&value)), Ok(()));
        let older = AddressRecord { sequence: record.sequence - 1, ..record };
        assert_eq!(supersedes(&older, Some(&value)), Err(BadRecord::Stale));
    }

    #[test]
    fn a_record_under_another_peers_key_is_a_forgery() {
        let value = make(&Keypair::generate_ed25519(), vec![address(1)]).unwrap();
        assert_eq!(read(&key_of(&PeerId::random()), &value), Err(BadRecord::Forged));
    }

    #[test]
    fn a_record_that_was_changed_is_a_forgery() {
        let keypair = Keypair::generate_ed25519();
        let value = make(&keypair, vec![address(1)]).unwrap();
        let key = key_of(&keypair.public().to_peer_id());
        for position in 0..value.len() {
            let mut damaged = value.clone();
            damaged[position] ^= 1;
            assert!(read(&key, &damaged).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_record_has_a_bounded_number_of_addresses() {
        let keypair = Keypair::generate_ed25519();
        let key = key_of(&keypair.public().to_peer_id());
        let sign = |count| {
            let addresses = (0..count).map(address).collect();
            PeerRecord::new(&keypair, addresses).unwrap().into_signed_envelope().into_protobuf_encoding()
        };
        assert_eq!(read(&key, &sign(MAX_ADDRESSES + 1)), Err(BadRecord::AddressCount));
        assert_eq!(read(&key, &sign(0)), Err(BadRecord::AddressCount));
        assert_eq!(read(&key, &vec![0; MAX_RECORD_BYTES + 1]), Err(BadRecord::TooLarge));
        assert_eq!(make(&keypair, Vec::new()), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_record(value in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&key_of(&PeerId::random()), &value).is_err());
        }
    }
}
