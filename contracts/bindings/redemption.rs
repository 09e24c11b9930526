//! Winning tickets on their way to the broker, and what became of each.

use alloy::primitives::{Address, B256, U256};

/// A ticket as the broker's EIP-712 type names its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Orchestrator that gets the face value.
    pub recipient: Address,
    /// Broadcaster that pays.
    pub sender: Address,
    /// Wei paid when the ticket wins.
    pub face_value: U256,
    /// The ticket wins when its draw is below this.
    pub win_prob: U256,
    /// The lane whose nonces this ticket's belongs to.
    pub lane: u64,
    /// Rises with each ticket of the lane.
    pub sender_nonce: u64,
    /// Unpredictable part of the sender.
    pub salt: B256,
    /// Commitment of the recipient.
    pub recipient_rand_hash: B256,
    /// Round in which the ticket was made.
    pub creation_round: u64,
    /// Block hash recorded for that round.
    pub creation_round_block_hash: B256,
}

/// A winning ticket with what proves that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The ticket.
    pub ticket: Ticket,
    /// The sender's signature `r ‖ s ‖ v` over the ticket's digest, low s.
    pub signature: [u8; 65],
    /// Preimage of the ticket's `recipient_rand_hash`.
    pub recipient_rand: U256,
}

/// What the broker did with one ticket of a redemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketOutcome {
    /// The whole face value was credited to the recipient.
    Paid {
        /// Wei taken from the sender's deposit.
        from_deposit: U256,
        /// Wei taken from the sender's reserve.
        from_reserve: U256,
    },
    /// Nothing was paid.
    Skipped(SkipReason),
}

/// Why the broker paid nothing for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The nonce is not above the last one redeemed in its lane: paid before, or overtaken.
    #[error("the nonce is not above the last redeemed one of the lane")]
    NonceUsed,
    /// The creation round is outside the validity window, or its block hash is another.
    #[error("the ticket is outside its validity window")]
    Expired,
    /// The signature is not the sender's.
    #[error("the signature is not the sender's")]
    BadSignature,
    /// The revealed rand does not hash to the ticket's commitment.
    #[error("the revealed rand does not match the ticket's commitment")]
    BadRecipientRand,
    /// The ticket does not win.
    #[error("the ticket does not win")]
    NotWinning,
    /// Deposit and the recipient's share of the reserve do not cover the face value. Try again
    /// when the sender has funded or the next round has begun.
    #[error("the sender's funds do not cover the face value")]
    InsufficientFunds,
    /// The recipient is not in the active set of this round.
    #[error("the recipient is not active in this round")]
    RecipientInactive,
    /// The account that submitted is neither the recipient nor its registered redeemer.
    #[error("the submitting account may not redeem for the recipient")]
    NotRedeemer,
    /// Recipient, sender or face value is zero, or the face value exceeds what the broker counts.
    #[error("the ticket has a field out of bounds")]
    Malformed,
    /// A reason that this build does not know, as the selector the broker gave.
    #[error("the broker gave the unknown reason {0:02x?}")]
    Unknown([u8; 4]),
}

impl SkipReason {
    /// Whether the same ticket can be paid later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::InsufficientFunds | Self::RecipientInactive | Self::NotRedeemer)
    }
}
