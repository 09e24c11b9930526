//! A raw transaction in memory: the account in 20 bytes, its nonce in 8, the fee in 1, then the tickets.

use alloy_primitives::Address;

use crate::codec::{WINNING_BYTES, decode_winning, encode_winning};
use crate::key::keccak256;
use crate::port::{BrokerError, PreparedRedemption, WinningTicket};

const NONCE_AT: usize = 20;
const FEE_AT: usize = NONCE_AT + 8;
const TICKETS_AT: usize = FEE_AT + 1;

/// Who sent it, with which nonce, at which fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) account: Address,
    pub(super) nonce: u64,
    pub(super) fee: u8,
}

pub(super) fn signed(head: Head, tickets: &[WinningTicket]) -> PreparedRedemption {
    let mut raw = head.account.to_vec();
    raw.extend_from_slice(&head.nonce.to_be_bytes());
    raw.push(head.fee);
    for ticket in tickets {
        raw.extend_from_slice(&encode_winning(ticket));
    }
    PreparedRedemption { tx: keccak256(&raw), raw }
}

pub(super) fn head(raw: &[u8]) -> Result<Head, BrokerError> {
    let found = raw.split_at_checked(NONCE_AT).and_then(|(account, rest)| {
        let (nonce, rest) = rest.split_first_chunk()?;
        let account = Address::from_slice(account);
        Some(Head { account, nonce: u64::from_be_bytes(*nonce), fee: *rest.first()? })
    });
    found.ok_or_else(|| BrokerError::Refused("transaction does not decode".to_owned()))
}

pub(super) fn tickets(raw: &[u8]) -> Vec<WinningTicket> {
    raw.get(TICKETS_AT..).unwrap_or_default().chunks(WINNING_BYTES).filter_map(decode_winning).collect()
}
