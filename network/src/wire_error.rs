//! Errors as they travel: a stable code, a short message, when to try again.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Longest message in bytes; longer ones are cut when sent and refused when received.
pub const MAX_MESSAGE_BYTES: usize = 512;
/// Most bytes of details: room for fresh ticket parameters.
pub const MAX_DETAILS_BYTES: usize = crate::quote::MAX_TICKET_PARAMS_BYTES;

macro_rules! wire_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $retry:ident;)+) => {
        /// Stable codes of errors on the wire. Numbers are never reused.
        ///
        /// | number | code | the same request may be retried | meaning |
        /// | --- | --- | --- | --- |
        $(#[doc = concat!("| ", $number, " | `", $name, "` | ", wire_codes!(@text $retry), " |", $($doc,)+ " |")])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum WireCode {
            $($(#[doc = $doc])+ $variant,)+
            /// A number that this version does not know; treated as final.
            Unknown(u32),
        }

        impl WireCode {
            /// Every code this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            pub fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Unknown(number) => number,
                }
            }

            /// The stable name, in lower case with underscores.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The code of a number on the wire.
            pub fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }

            /// What it says, as one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                    Self::Unknown(_) => "A number that this version does not know.",
                }
            }

            /// How a client should go on.
            pub fn retry(self) -> Retry {
                match self {
                    $(Self::$variant => Retry::$retry,)+
                    Self::Unknown(_) => Retry::Elsewhere,
                }
            }
        }
    };
    (@text Here) => { "here, after `retry_after_ms`" };
    (@text Repay) => { "here, with a new payment" };
    (@text Requote) => { "here, with a new quote" };
    (@text Elsewhere) => { "with another peer" };
    (@text Never) => { "no: the request itself is wrong" };
}

/// How a client should go on after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// The same request at the same peer, not before the advised time.
    Here,
    /// The same peer with a payment made from the parameters in the details.
    Repay,
    /// The same peer after asking for a new quote.
    Requote,
    /// Another peer.
    Elsewhere,
    /// No peer: the request is wrong.
    Never,
}

impl Retry {
    /// Where the same request may be tried again, in a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Here => wire_codes!(@text Here),
            Self::Repay => wire_codes!(@text Repay),
            Self::Requote => wire_codes!(@text Requote),
            Self::Elsewhere => wire_codes!(@text Elsewhere),
            Self::Never => wire_codes!(@text Never),
        }
    }
}

wire_codes! {
    /// No capacity now; answered before the upload.
    Busy = 1, "busy", Here;
    /// The peer asks more often than it may.
    RateLimited = 2, "rate_limited", Here;
    /// The node drains and takes no new work.
    ShuttingDown = 3, "shutting_down", Elsewhere;
    /// The node failed inside; its log says why.
    Internal = 4, "internal", Elsewhere;
    /// The peer has not proven that it may do this.
    Unauthorized = 5, "unauthorized", Elsewhere;
    /// The price ceiling of the request is below the price.
    PriceTooLow = 6, "price_too_low", Elsewhere;

    /// A message that breaks the protocol or a field out of bounds.
    BadRequest = 20, "bad_request", Never;
    /// More bytes, pixels or entries than allowed.
    TooLarge = 21, "too_large", Never;
    /// The sender fell below the minimum rate or was silent too long.
    TooSlow = 22, "too_slow", Here;
    /// The deadline passed before the work was done.
    DeadlineExceeded = 23, "deadline_exceeded", Elsewhere;
    /// Codec, container or option that this node does not offer.
    Unsupported = 24, "unsupported", Elsewhere;
    /// The source cannot be decoded or has no video.
    BadMedia = 25, "bad_media", Never;
    /// The source's bytes do not have the announced hash.
    SourceMismatch = 26, "source_mismatch", Never;

    /// No such session, or it belongs to another peer.
    UnknownSession = 40, "unknown_session", Requote;
    /// The session's quote has ended.
    SessionExpired = 41, "session_expired", Requote;
    /// This sequence number was already served in this session.
    ReplayedSegment = 42, "replayed_segment", Never;
    /// The ladder is not the one of the session's quote.
    LadderMismatch = 43, "ladder_mismatch", Requote;
    /// No file with this hash is here.
    UnknownBlob = 44, "unknown_blob", Elsewhere;

    /// No transcoder is connected.
    NoTranscoder = 60, "no_transcoder", Elsewhere;
    /// The transcoder went away or failed in the middle of the segment.
    TranscoderFailed = 61, "transcoder_failed", Elsewhere;
    /// Renditions differ from what was asked in count, size or pixels.
    RenditionMismatch = 62, "rendition_mismatch", Elsewhere;

    /// The payment cannot be decoded or breaks a bound.
    PaymentMalformed = 80, "payment_malformed", Never;
    /// The tickets were made with parameters that have been replaced; fresh ones are in the details.
    PaymentParamsStale = 81, "payment_params_stale", Repay;
    /// Tickets and credit do not cover the segment.
    PaymentInsufficient = 82, "payment_insufficient", Repay;
    /// A ticket's face value is not the agreed one.
    PaymentFaceValue = 83, "payment_face_value", Repay;
    /// A ticket's win probability is not the agreed one.
    PaymentWinProb = 84, "payment_win_prob", Repay;
    /// A ticket's hash of the recipient's random number is not ours.
    PaymentRandHash = 85, "payment_rand_hash", Repay;
    /// A ticket is not signed by its sender.
    PaymentSigner = 86, "payment_signer", Never;
    /// A ticket is for another recipient.
    PaymentRecipient = 87, "payment_recipient", Repay;
    /// A ticket's creation round is no longer, or not yet, valid.
    PaymentExpired = 88, "payment_expired", Repay;
    /// A ticket's nonce was used before.
    PaymentNonceReused = 89, "payment_nonce_reused", Repay;
    /// A ticket's nonce is too far ahead.
    PaymentNonceJump = 90, "payment_nonce_jump", Repay;
    /// The sender's deposit and reserve do not back the tickets.
    PaymentUnfunded = 91, "payment_unfunded", Elsewhere;
    /// The sender is unlocking its deposit.
    PaymentUnlocking = 92, "payment_unlocking", Elsewhere;
    /// Too many tickets in one payment.
    PaymentTooManyTickets = 93, "payment_too_many_tickets", Repay;
}

impl fmt::Display for WireCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(number) => write!(f, "unknown_{number}"),
            code => f.write_str(code.as_str()),
        }
    }
}

/// An error that one peer tells another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// What went wrong, for programs.
    pub code: WireCode,
    /// What went wrong, for people; at most [`MAX_MESSAGE_BYTES`].
    pub message: String,
    /// Wait this long before the next try; zero where no wait helps.
    pub retry_after: Duration,
    /// Data that goes with the code, such as fresh ticket parameters; at most [`MAX_DETAILS_BYTES`].
    pub details: Option<Bytes>,
}

impl WireError {
    /// An error without advice when to retry. The message is cut to [`MAX_MESSAGE_BYTES`], line breaks become spaces.
    pub fn new(code: WireCode, message: impl Into<String>) -> Self {
        Self { code, message: printable(&message.into()), retry_after: Duration::ZERO, details: None }
    }

    /// With advice to wait, in whole milliseconds on the wire.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// With details. More than [`MAX_DETAILS_BYTES`] are left out, as the peer would refuse the whole error.
    #[must_use]
    pub fn with_details(mut self, details: Bytes) -> Self {
        self.details = (details.len() <= MAX_DETAILS_BYTES).then_some(details);
        self
    }
}

/// A message as a peer accepts it: short and without control characters.
pub(crate) fn printable(message: &str) -> String {
    let cut = &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)];
    cut.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for &code in WireCode::ALL {
            assert_eq!(WireCode::from_number(code.number()), code);
        }
    }

    #[test]
    fn numbers_and_names_are_distinct() {
        let numbers: std::collections::HashSet<_> = WireCode::ALL.iter().map(|code| code.number()).collect();
        let names: std::collections::HashSet<_> = WireCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!((numbers.len(), names.len()), (WireCode::ALL.len(), WireCode::ALL.len()));
    }

    #[test]
    fn cuts_a_long_message_between_characters() {
        let error = WireError::new(WireCode::Internal, "ä".repeat(MAX_MESSAGE_BYTES));
        assert_eq!(error.message.len(), MAX_MESSAGE_BYTES);
        let odd = WireError::new(WireCode::Internal, format!("a{}", "ä".repeat(MAX_MESSAGE_BYTES)));
        assert_eq!(odd.message.len(), MAX_MESSAGE_BYTES - 1);
    }
}
