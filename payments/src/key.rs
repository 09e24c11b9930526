//! secp256k1 keys and recoverable signatures as Ethereum writes them.

use std::fmt;

pub use alloy_primitives::keccak256;
use alloy_primitives::{Address, B256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};

/// Half the order of secp256k1, big-endian: a canonical `s` is not above it.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Offset of the recovery id in a signature's last byte.
const V_OFFSET: u8 = 27;

/// Why a key or a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are no secp256k1 secret key.
    #[error("secret key is zero or not below the curve's order; use 32 bytes from a wallet")]
    InvalidSecret,
    /// The last byte of a signature is neither 27 nor 28.
    #[error("signature ends in {0}, want 27 or 28; send 65 bytes r, s, v")]
    RecoveryByte(u8),
    /// `s` lies in the upper half of the order: a second encoding of another signature.
    #[error("signature has a high s; negate it before sending")]
    HighS,
    /// No public key yields this signature.
    #[error("signature recovers to no public key; sign the 32-byte digest with secp256k1")]
    Unrecoverable,
}

/// A secp256k1 secret key with the Ethereum address that belongs to it.
///
/// Its `Debug` output shows the address only; the secret is overwritten on drop as far as the
/// language allows.
pub struct EthKey {
    secret: SecretKey,
    address: Address,
}

impl EthKey {
    /// A key from 32 secret bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_secret_bytes(*bytes).map_err(|_| KeyError::InvalidSecret)?;
        let address = address_of(&PublicKey::from_secret_key(&secret));
        Ok(Self { secret, address })
    }

    /// A fresh key from the thread's cryptographic generator.
    pub fn random() -> Self {
        loop {
            // All but one in 2^128 candidates are valid, so this ends at once.
            if let Ok(key) = Self::from_bytes(&rand::random()) {
                return key;
            }
        }
    }

    /// The address that signatures of this key recover to.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a 32-byte digest as it is: deterministic (RFC 6979), low `s`.
    pub fn sign_digest(&self, digest: B256) -> Signature {
        let message = Message::from_digest(digest.0);
        let signed = RecoverableSignature::sign_ecdsa_recoverable(message, &self.secret);
        let (recovery, compact) = signed.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = V_OFFSET + recovery.to_u8();
        Signature(bytes)
    }
}

impl Drop for EthKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl fmt::Debug for EthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EthKey").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A recoverable signature: `r ‖ s ‖ v`, `v` 27 or 28, `s` in the lower half of the order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 65]);

impl Signature {
    /// Takes 65 bytes of a peer; refuses other encodings of the same signature.
    pub fn from_bytes(bytes: [u8; 65]) -> Result<Self, KeyError> {
        let signature = Self(bytes);
        signature.recovery_id()?;
        Ok(signature)
    }

    /// The 65 bytes as they are signed into a ticket's draw and sent.
    pub fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    fn recovery_id(&self) -> Result<RecoveryId, KeyError> {
        if self.0[32..64] > HALF_ORDER[..] {
            return Err(KeyError::HighS);
        }
        match self.0[64] {
            27 => Ok(RecoveryId::Zero),
            28 => Ok(RecoveryId::One),
            other => Err(KeyError::RecoveryByte(other)),
        }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", alloy_primitives::hex::encode(self.0))
    }
}

/// The address whose key made `signature` over `digest`. Refuses a high `s` and a `v` other than
/// 27 or 28, as the contracts do.
pub fn recover(digest: B256, signature: &Signature) -> Result<Address, KeyError> {
    let recovery = signature.recovery_id()?;
    RecoverableSignature::from_compact(&signature.0[..64], recovery)
        .and_then(|parsed| parsed.recover_ecdsa(Message::from_digest(digest.0)))
        .map(|public| address_of(&public))
        .map_err(|_| KeyError::Unrecoverable)
}

fn address_of(public: &PublicKey) -> Address {
    Address::from_raw_public_key(&public.serialize_uncompressed()[1..])
}
