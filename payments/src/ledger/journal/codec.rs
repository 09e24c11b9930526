//! Values in as few bytes as they need, in an order that is theirs: smaller numbers sort before larger ones.

use alloy_primitives::{Address, B256, U256};

use crate::ledger::LaneId;
use crate::units::Wei;

/// Something the log holds.
pub(crate) trait Pack: Sized {
    /// Appends it.
    fn pack(&self, out: &mut Vec<u8>);

    /// Takes it off the front; `None` when it is not there.
    fn unpack(from: &mut &[u8]) -> Option<Self>;

    /// Itself alone.
    fn packed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.pack(&mut out);
        out
    }

    /// What `bytes` hold, and nothing else.
    fn unpacked(mut bytes: &[u8]) -> Option<Self> {
        let value = Self::unpack(&mut bytes)?;
        bytes.is_empty().then_some(value)
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

/// A number: how many bytes it has, then those from the highest on.
impl Pack for U256 {
    fn pack(&self, out: &mut Vec<u8>) {
        let length = self.byte_len();
        // A word has at most 32 bytes.
        out.push(length as u8);
        out.extend_from_slice(&self.to_be_bytes::<32>()[32 - length..]);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        let [length] = take(from)?;
        let (digits, rest) = from.split_at_checked(usize::from(length))?;
        *from = rest;
        // One number has one form.
        (digits.first() != Some(&0)).then(|| Self::try_from_be_slice(digits)).flatten()
    }
}

impl Pack for u64 {
    fn pack(&self, out: &mut Vec<u8>) {
        U256::from(*self).pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        U256::unpack(from)?.try_into().ok()
    }
}

impl Pack for Wei {
    fn pack(&self, out: &mut Vec<u8>) {
        self.0.pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        U256::unpack(from).map(Self)
    }
}

impl Pack for B256 {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_slice());
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        take(from).map(Self::new)
    }
}

impl Pack for Address {
    fn pack(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_slice());
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        take(from).map(Self::new)
    }
}

impl Pack for LaneId {
    fn pack(&self, out: &mut Vec<u8>) {
        self.sender.pack(out);
        self.recipient.pack(out);
        self.lane.pack(out);
    }

    fn unpack(from: &mut &[u8]) -> Option<Self> {
        Some(Self { sender: Pack::unpack(from)?, recipient: Pack::unpack(from)?, lane: Pack::unpack(from)? })
    }
}

/// An enum whose variants are packed as a number and their fields. Numbers are never given to another variant.
macro_rules! packed {
    ($(#[$meta:meta])* enum $name:ident { $($(#[$doc:meta])* $tag:literal => $variant:ident { $($field:ident: $type:ty),* $(,)? }),* $(,)? }) => {
        $(#[$meta])*
        pub(crate) enum $name { $($(#[$doc])* $variant { $($field: $type),* }),* }

        impl Pack for $name {
            fn pack(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        out.push($tag);
                        $($field.pack(out);)*
                    })*
                }
            }

            fn unpack(from: &mut &[u8]) -> Option<Self> {
                let (tag, rest) = from.split_first()?;
                *from = rest;
                Some(match tag {
                    $($tag => Self::$variant { $($field: Pack::unpack(from)?),* },)*
                    _ => return None,
                })
            }
        }
    };
}
pub(super) use packed;
