//! Winning tickets on their way to the broker, and what became of each.

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::TransactionReceipt,
    sol_types::SolEvent,
};

use crate::{
    ChainError,
    abi::{
        ITicketBroker,
        TicketBroker::{self, WinningTicketRedeemed, WinningTicketSkipped},
    },
};

/// Tickets in one transaction: well inside a block's gas at the dearest ticket.
pub const MAX_REDEMPTIONS: usize = 100;

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
    /// A reason that this build does not know, by the broker's number.
    #[error("the broker gave the unknown reason {0}")]
    Unknown(u8),
}

impl SkipReason {
    /// By the number that the broker's interface gives it; `None` for a paid ticket's.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::Malformed,
            2 => Self::NotRedeemer,
            3 => Self::Expired,
            4 => Self::NonceUsed,
            5 => Self::BadRecipientRand,
            6 => Self::BadSignature,
            7 => Self::NotWinning,
            8 => Self::RecipientInactive,
            9 => Self::InsufficientFunds,
            other => Self::Unknown(other),
        })
    }

    /// Whether the same ticket can be paid later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::InsufficientFunds | Self::RecipientInactive | Self::NotRedeemer)
    }
}

/// The broker's call for a batch. It leaves out what cannot be paid instead of reverting.
pub(crate) fn batch_call(
    redemptions: &[Redemption],
) -> Result<TicketBroker::redeemWinningTicketsCall, ChainError> {
    if redemptions.is_empty() || redemptions.len() > MAX_REDEMPTIONS {
        return Err(ChainError::BadArgument {
            name: "redemptions",
            value: redemptions.len().to_string(),
            bound: format!("between 1 and {MAX_REDEMPTIONS}"),
        });
    }
    Ok(TicketBroker::redeemWinningTicketsCall {
        tickets: redemptions.iter().map(|r| abi_ticket(&r.ticket)).collect(),
        signatures: redemptions.iter().map(|r| r.signature.to_vec().into()).collect(),
        recipientRands: redemptions.iter().map(|r| r.recipient_rand).collect(),
    })
}

fn abi_ticket(ticket: &Ticket) -> ITicketBroker::Ticket {
    ITicketBroker::Ticket {
        recipient: ticket.recipient,
        sender: ticket.sender,
        faceValue: ticket.face_value,
        winProb: ticket.win_prob,
        lane: ticket.lane,
        senderNonce: ticket.sender_nonce,
        salt: ticket.salt,
        recipientRandHash: ticket.recipient_rand_hash,
        creationRound: ticket.creation_round,
        creationRoundBlockHash: ticket.creation_round_block_hash,
    }
}

/// Reads from a mined batch what became of each ticket. Paid ones are logged in order and skipped
/// ones name their place, so the two together give the order.
pub(crate) fn outcomes(
    receipt: &TransactionReceipt,
    broker: Address,
) -> Result<Vec<TicketOutcome>, ChainError> {
    let logs = receipt.inner.logs().iter().filter(|log| log.address() == broker);
    let mut paid = Vec::new();
    let mut skipped = Vec::new();
    for log in logs {
        if let Ok(event) = WinningTicketRedeemed::decode_log(&log.inner) {
            let from_reserve = event.fromReserve;
            paid.push(TicketOutcome::Paid {
                from_deposit: event.faceValue.saturating_sub(from_reserve),
                from_reserve,
            });
        } else if let Ok(event) = WinningTicketSkipped::decode_log(&log.inner) {
            skipped.push((event.index, event.reason));
        }
    }
    let total = paid.len() + skipped.len();
    let mut outcomes: Vec<Option<TicketOutcome>> = vec![None; total];
    for (index, code) in skipped {
        let place = usize::try_from(index).ok().and_then(|index| outcomes.get_mut(index));
        let place = place.ok_or_else(|| ChainError::BadAnswer {
            call: "redeemWinningTickets",
            reason: format!("a skipped ticket names place {index} of {total}"),
        })?;
        *place = SkipReason::from_code(code).map(TicketOutcome::Skipped);
    }
    let mut paid = paid.into_iter();
    Ok(outcomes.into_iter().filter_map(|outcome| outcome.or_else(|| paid.next())).collect())
}
