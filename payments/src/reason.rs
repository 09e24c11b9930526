//! Why a ticket or a payment was refused: one table for logs, metrics and the wire.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $code:literal, $message:literal;)+) => {
        /// Why a ticket was refused. Numbers and codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum Reason {
            $($(#[$doc])* #[error($message)] $name = $number,)+
        }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable text code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

reasons! {
    /// Chain or broker are not ours.
    WrongDomain = 1, "wrong_domain", "ticket is for another chain, broker or scheme; use the domain of the quote";
    /// The recipient is somebody else.
    WrongRecipient = 2, "wrong_recipient", "ticket pays another recipient; use the parameters of this orchestrator";
    /// The sender is not the session's.
    WrongSender = 3, "wrong_sender", "ticket names another sender than the session; open a session of your own";
    /// The signature is malformed or somebody else's.
    WrongSigner = 4, "wrong_signer", "signature is not the sender's over this ticket; sign with the sender's key";
    /// The face value is not what was agreed.
    WrongFaceValue = 5, "wrong_face_value", "face value is not the quoted one; ask for fresh parameters";
    /// The win probability is not what was agreed.
    WrongWinProb = 6, "wrong_win_prob", "win probability is not the quoted one; ask for fresh parameters";
    /// The lane or session is not the one that was assigned.
    WrongLane = 7, "wrong_lane", "lane or session is not the assigned one; ask for fresh parameters";
    /// The commitment is not ours for these parameters.
    WrongRandHash = 8, "wrong_rand_hash", "recipient rand hash is not ours for these parameters; ask for fresh parameters";
    /// The creation round's hash is not the chain's.
    WrongRoundHash = 9, "wrong_round_hash", "creation round or its block hash is not the chain's; ask for fresh parameters";
    /// The parameters have run out.
    Expired = 10, "expired", "parameters have expired; ask for fresh parameters";
    /// The secret behind the parameters is public.
    ParamsRevealed = 11, "params_stale", "recipient rand of these parameters has been revealed; ask for fresh parameters";
    /// The nonce was used.
    Replayed = 12, "nonce_reused", "nonce was used or is too old; continue above the nonce floor";
    /// The nonce lies too far ahead.
    NonceJump = 13, "nonce_jump", "nonce jumps too far ahead; continue right above the nonce floor";
    /// The sender's funds do not cover the face value.
    SenderUnfunded = 14, "sender_unfunded", "deposit and reserve do not cover the face value and pending winners; fund the deposit";
    /// Credit does not cover the work.
    InsufficientCredit = 15, "insufficient_credit", "credit does not cover the segment; send more tickets";
}

impl Reason {
    /// The stable number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The reason with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.number() == number)
    }

    /// Whether the sender should ask for fresh parameters and pay again at once.
    pub fn wants_fresh_params(self) -> bool {
        matches!(
            self,
            Self::WrongFaceValue
                | Self::WrongWinProb
                | Self::WrongLane
                | Self::WrongRandHash
                | Self::WrongRoundHash
                | Self::Expired
                | Self::ParamsRevealed
                | Self::Replayed
                | Self::NonceJump
        )
    }
}
