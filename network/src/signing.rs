//! The EIP-712 domain that quotes and receipts are signed in. This crate computes digests; the roles sign and recover.

use std::borrow::Cow;

use alloy_primitives::{Address, U256};
use alloy_sol_types::Eip712Domain;

/// A secp256k1 signature as `r ‖ s ‖ v`.
pub type SignatureBytes = [u8; 65];

/// The chain and the contracts that a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SigningDomain {
    /// Chain id; 0 when there is no chain.
    pub chain_id: u64,
    /// The deployment's `Controller`; zero when there is no chain.
    pub controller: Address,
}

impl SigningDomain {
    /// The EIP-712 domain: name `Framemill`, version `1`, the chain id and the controller as verifying contract.
    pub fn eip712(&self) -> Eip712Domain {
        Eip712Domain {
            name: Some(Cow::Borrowed("Framemill")),
            version: Some(Cow::Borrowed("1")),
            chain_id: Some(U256::from(self.chain_id)),
            verifying_contract: Some(self.controller),
            salt: None,
        }
    }
}
