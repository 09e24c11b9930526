//! Checks of single fields.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use libp2p::PeerId;

use crate::error::ProtocolError;
use crate::signing::SignatureBytes;

/// Longest piece of a peer's text repeated in an error.
const MAX_QUOTED_CHARS: usize = 40;

pub(super) fn hash(field: &'static str, bytes: &[u8]) -> Result<B256, ProtocolError> {
    B256::try_from(bytes).map_err(|_| length(field, bytes.len(), "must have 32 bytes"))
}

pub(super) fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ProtocolError> {
    <[u8; N]>::try_from(bytes).map_err(|_| length(field, bytes.len(), "must have the length of its kind"))
}

pub(super) fn signature(bytes: &[u8]) -> Result<SignatureBytes, ProtocolError> {
    SignatureBytes::try_from(bytes).map_err(|_| length("signature", bytes.len(), "must have 65 bytes"))
}

pub(super) fn address(field: &'static str, bytes: &[u8]) -> Result<Address, ProtocolError> {
    Address::try_from(bytes).map_err(|_| length(field, bytes.len(), "must have 20 bytes"))
}

pub(super) fn peer(field: &'static str, bytes: &[u8]) -> Result<PeerId, ProtocolError> {
    PeerId::from_bytes(bytes).map_err(|_| length(field, bytes.len(), "must be a peer id"))
}

/// A big-endian number of at most 32 bytes without leading zeros, so that a value has one encoding.
pub(super) fn number(field: &'static str, bytes: &[u8]) -> Result<U256, ProtocolError> {
    if bytes.len() > 32 || bytes.first() == Some(&0) {
        return Err(length(field, bytes.len(), "must be at most 32 bytes without leading zeros"));
    }
    Ok(U256::from_be_slice(bytes))
}

pub(super) fn at_most(field: &'static str, bytes: Bytes, max: usize) -> Result<Bytes, ProtocolError> {
    if bytes.len() > max {
        return Err(length(field, bytes.len(), "is longer than allowed"));
    }
    Ok(bytes)
}

/// Printable text of 1 to `max` bytes: it goes into logs and tables.
pub(super) fn text(field: &'static str, text: String, max: usize) -> Result<String, ProtocolError> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        let value = text.chars().filter(|letter| !letter.is_control()).take(MAX_QUOTED_CHARS).collect();
        return Err(ProtocolError::Field { field, value, expected: "must be a short printable text" });
    }
    Ok(text)
}

pub(super) fn present<T>(field: &'static str, value: Option<T>) -> Result<T, ProtocolError> {
    value.ok_or(ProtocolError::Field { field, value: "missing".into(), expected: "must be given" })
}

pub(super) fn in_range(
    field: &'static str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ProtocolError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ProtocolError::Field { field, value: value.to_string(), expected: "is out of its range" })
}

/// Whole milliseconds, saturating.
pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn length(field: &'static str, bytes: usize, expected: &'static str) -> ProtocolError {
    ProtocolError::Field { field, value: format!("of {bytes} bytes"), expected }
}
