//! Why a client's request is refused, and how that reads on the wire.

use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_network::{PricePerPixel, WireCode, WireError};
use probabilistic_ticket::Reason;
use thiserror::Error;

/// A request that is answered with a typed error instead of work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("all capacity is taken; ask again after the wait or ask another orchestrator")]
    Busy { retry_after: Duration },
    #[error("no transcoder is connected; ask another orchestrator")]
    NoTranscoder,
    #[error("this node drains; ask another orchestrator")]
    ShuttingDown,
    #[error("this peer has {held} sessions, the limit is {bound}; use or close them first")]
    TooManySessions { held: usize, bound: usize, retry_after: Duration },
    #[error("the session has {bound} segments in work, which is the limit; wait for one to end")]
    TooManySegments { bound: usize, retry_after: Duration },
    #[error("price is {price}, above the asked ceiling of {ceiling}")]
    PriceTooLow { price: PricePerPixel, ceiling: PricePerPixel },
    #[error("session {session} is not known here; ask for a quote")]
    UnknownSession { session: B256 },
    #[error("session {session} has ended; ask for a quote")]
    SessionExpired { session: B256 },
    #[error("segment {sequence} was already served or is in work")]
    Replayed { sequence: u64 },
    #[error("sequence {sequence} is the last number there is; start a new session")]
    SequenceOutOfRange { sequence: u64 },
    #[error("ladder {sent} is not the quoted {quoted}; ask for a quote on it")]
    LadderChanged { quoted: B256, sent: B256 },
    #[error("{what} is {value}, the limit is {bound}")]
    TooLarge { what: &'static str, value: u64, bound: u64 },
    #[error("{0}")]
    BadRequest(String),
    #[error("source is refused: {0}")]
    BadMedia(String),
    #[error("source {what} is {found}, announced was {announced}")]
    SourceMismatch { what: &'static str, announced: u64, found: u64 },
    #[error("{0}")]
    Wire(WireError),
    #[error("segment was not done at its deadline")]
    Late,
    #[error("the segment failed on {attempts} transcoders and no other is left")]
    TranscoderFailed { attempts: usize },
    #[error("payment cannot be read: {0}")]
    PaymentMalformed(String),
    #[error("payment refused: {text}")]
    Payment { reason: Reason, text: String, fresh_params: Option<Bytes> },
    #[error("sender cannot pay here: {text}")]
    Sender { unlocking: bool, text: String },
    #[error("this node failed inside; its operator's log says why")]
    Internal,
}

impl Refusal {
    /// The stable code on the wire, also the metrics' label.
    pub(crate) fn code(&self) -> WireCode {
        match self {
            Self::Busy { .. } => WireCode::Busy,
            Self::NoTranscoder => WireCode::NoTranscoder,
            Self::ShuttingDown => WireCode::ShuttingDown,
            Self::TooManySessions { .. } | Self::TooManySegments { .. } => WireCode::RateLimited,
            Self::PriceTooLow { .. } => WireCode::PriceTooLow,
            Self::UnknownSession { .. } => WireCode::UnknownSession,
            Self::SessionExpired { .. } => WireCode::SessionExpired,
            Self::Replayed { .. } => WireCode::ReplayedSegment,
            Self::LadderChanged { .. } => WireCode::LadderMismatch,
            Self::TooLarge { .. } => WireCode::TooLarge,
            Self::SequenceOutOfRange { .. } | Self::BadRequest(_) => WireCode::BadRequest,
            Self::BadMedia(_) => WireCode::BadMedia,
            Self::SourceMismatch { .. } => WireCode::SourceMismatch,
            Self::Wire(error) => error.code,
            Self::Late => WireCode::DeadlineExceeded,
            Self::TranscoderFailed { .. } => WireCode::TranscoderFailed,
            Self::PaymentMalformed(_) => WireCode::PaymentMalformed,
            Self::Payment { reason, .. } => payment_code(*reason),
            Self::Sender { unlocking: true, .. } => WireCode::PaymentUnlocking,
            Self::Sender { unlocking: false, .. } => WireCode::PaymentUnfunded,
            Self::Internal => WireCode::Internal,
        }
    }

    /// As it is sent.
    pub(crate) fn to_wire(&self) -> WireError {
        let wire = WireError::new(self.code(), self.to_string());
        match self {
            Self::Wire(error) => error.clone(),
            Self::Busy { retry_after }
            | Self::TooManySessions { retry_after, .. }
            | Self::TooManySegments { retry_after, .. } => wire.with_retry_after(*retry_after),
            Self::Payment { fresh_params: Some(params), .. } => wire.with_details(params.clone()),
            _ => wire,
        }
    }
}

fn payment_code(reason: Reason) -> WireCode {
    match reason {
        Reason::WrongRecipient => WireCode::PaymentRecipient,
        Reason::WrongSender | Reason::WrongSigner => WireCode::PaymentSigner,
        Reason::WrongFaceValue => WireCode::PaymentFaceValue,
        Reason::WrongWinProb => WireCode::PaymentWinProb,
        Reason::WrongRandHash => WireCode::PaymentRandHash,
        Reason::WrongRoundHash | Reason::Expired => WireCode::PaymentExpired,
        Reason::Replayed => WireCode::PaymentNonceReused,
        Reason::NonceJump => WireCode::PaymentNonceJump,
        Reason::SenderUnfunded => WireCode::PaymentUnfunded,
        Reason::InsufficientCredit => WireCode::PaymentInsufficient,
        // Another domain or lane, a revealed secret, or a reason newer than this table: whatever it
        // is, parameters that were just issued cure it.
        _ => WireCode::PaymentParamsStale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payment_reason_has_a_payment_code() {
        for reason in Reason::ALL {
            assert!(payment_code(*reason).as_str().starts_with("payment_"), "{reason:?}");
        }
    }

    #[test]
    fn a_reason_that_fresh_parameters_cure_asks_for_a_new_payment() {
        for reason in Reason::ALL.iter().filter(|reason| reason.wants_fresh_params()) {
            assert_eq!(payment_code(*reason).retry(), framemill_network::Retry::Repay, "{reason:?}");
        }
    }

    #[test]
    fn fresh_parameters_travel_with_the_refusal() {
        let params = Bytes::from_static(b"parameters");
        let refusal = Refusal::Payment {
            reason: Reason::Expired,
            text: "expired".to_owned(),
            fresh_params: Some(params.clone()),
        };
        assert_eq!(refusal.to_wire().details, Some(params));
    }

    #[test]
    fn busy_says_when_to_come_back() {
        let retry_after = Duration::from_millis(700);
        assert_eq!(Refusal::Busy { retry_after }.to_wire().retry_after, retry_after);
    }

    #[test]
    fn a_peers_own_error_is_passed_on_as_it_is() {
        let wire = WireError::new(WireCode::TooSlow, "3 bytes in 9 s");
        assert_eq!(Refusal::Wire(wire.clone()).to_wire(), wire);
    }
}
