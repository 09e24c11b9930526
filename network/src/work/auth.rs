//! Proof of the shared token: HMAC-SHA256 over both nonces and both peer ids, so that no proof fits another connection, another
//! pair of peers, or the other side.

use hmac::{Hmac, KeyInit, Mac};
use libp2p::PeerId;
use sha2::Sha256;

use super::WorkToken;

/// Separates these proofs from every other use of the token.
const DOMAIN: &[u8] = b"framemill work v1";

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Worker = 1,
    Orchestrator = 2,
}

/// What both sides of a work session know about it.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) worker: PeerId,
    pub(super) orchestrator: PeerId,
    pub(super) worker_nonce: [u8; 32],
    pub(super) orchestrator_nonce: [u8; 32],
}

impl Handshake {
    pub(super) fn prove(&self, token: &WorkToken, side: Side) -> [u8; 32] {
        self.mac(token, side).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(super) fn verify(&self, token: &WorkToken, side: Side, mac: &[u8; 32]) -> bool {
        self.mac(token, side).verify_slice(mac).is_ok()
    }

    fn mac(&self, token: &WorkToken, side: Side) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&token.0).expect("hmac takes keys of any length");
        mac.update(DOMAIN);
        mac.update(&[side as u8]);
        mac.update(&self.worker_nonce);
        mac.update(&self.orchestrator_nonce);
        for peer in [&self.worker, &self.orchestrator] {
            let bytes = peer.to_bytes();
            mac.update(&(bytes.len() as u64).to_be_bytes());
            mac.update(&bytes);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake() -> Handshake {
        Handshake {
            worker: PeerId::random(),
            orchestrator: PeerId::random(),
            worker_nonce: [1; 32],
            orchestrator_nonce: [2; 32],
        }
    }

    #[test]
    fn accepts_a_proof_made_with_the_same_token() {
        let (handshake, token) = (handshake(), WorkToken::generate());
        let mac = handshake.prove(&token, Side::Worker);
        assert!(handshake.verify(&token, Side::Worker, &mac));
    }

    #[test]
    fn refuses_a_proof_made_with_another_token() {
        let handshake = handshake();
        let mac = handshake.prove(&WorkToken::generate(), Side::Worker);
        assert!(!handshake.verify(&WorkToken::generate(), Side::Worker, &mac));
    }

    #[test]
    fn refuses_the_other_sides_proof() {
        let (handshake, token) = (handshake(), WorkToken::generate());
        let mac = handshake.prove(&token, Side::Worker);
        assert!(!handshake.verify(&token, Side::Orchestrator, &mac));
    }

    #[test]
    fn refuses_a_proof_of_another_connection_or_peer() {
        let (first, token) = (handshake(), WorkToken::generate());
        let mac = first.prove(&token, Side::Worker);
        let later = Handshake { orchestrator_nonce: [3; 32], ..first };
        assert!(!later.verify(&token, Side::Worker, &mac));
        let other = Handshake { worker: PeerId::random(), orchestrator_nonce: [2; 32], ..later };
        assert!(!other.verify(&token, Side::Worker, &mac));
    }
}
