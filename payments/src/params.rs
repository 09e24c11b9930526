//! The terms a recipient offers a sender, and its stateless secret behind them.

use alloy_primitives::{Address, B256, U256};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ticket::{Domain, Scheme, Ticket, rand_hash};
use crate::units::{Round, Wei, WinProb};

/// Separates this use of the recipient's secret from any other.
const RAND_CONTEXT: &[u8] = b"framemill recipient rand 1";

/// What a recipient's tickets must look like: issued with a quote, echoed with every payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketParams {
    /// How tickets are signed and drawn.
    pub scheme: Scheme,
    /// The broker that pays them.
    pub domain: Domain,
    /// Who is paid.
    pub recipient: Address,
    /// Who pays.
    pub sender: Address,
    /// The session the credit goes to.
    pub session: B256,
    /// What a winning ticket pays.
    pub face_value: Wei,
    /// How likely it wins.
    pub win_prob: WinProb,
    /// The nonce sequence the session counts in.
    pub lane: u64,
    /// Generation of the recipient's secret in this lane: grows whenever the secret was revealed.
    pub serial: u64,
    /// The round the parameters were issued in, which is the tickets' creation round.
    pub round: Round,
    /// The block hash the chain recorded for that round.
    pub round_block_hash: B256,
    /// The last round in which the recipient takes tickets on these parameters.
    pub expires: Round,
    /// The highest nonce the recipient has seen in the lane: continue above it. A hint, not signed
    /// into tickets and not covered by the secret.
    pub nonce_floor: u64,
    /// `keccak256` of the recipient's secret for these parameters.
    pub recipient_rand_hash: B256,
}

impl TicketParams {
    /// What one ticket is worth before the draw.
    pub fn ticket_value(&self) -> Wei {
        self.win_prob.expected_value(self.face_value)
    }

    /// Whether tickets made on either are the same tickets: all but the hint agrees.
    pub fn has_terms_of(&self, other: &Self) -> bool {
        Self { nonce_floor: other.nonce_floor, ..*self } == *other
    }

    /// The ticket with this nonce and salt. Livepeer tickets know neither lane nor salt: both are
    /// zero there.
    pub fn ticket(&self, sender_nonce: u64, salt: B256) -> Ticket {
        let native = self.scheme == Scheme::Native;
        Ticket {
            recipient: self.recipient,
            sender: self.sender,
            face_value: self.face_value,
            win_prob: self.win_prob,
            lane: if native { self.lane } else { 0 },
            sender_nonce,
            salt: if native { salt } else { B256::ZERO },
            recipient_rand_hash: self.recipient_rand_hash,
            creation_round: self.round,
            creation_round_block_hash: self.round_block_hash,
        }
    }
}

/// The recipient's persisted secret, from which each parameter set's `recipientRand` is derived:
/// nothing is stored per quote and a restart changes nothing.
#[derive(Clone)]
pub struct RecipientSecret([u8; 32]);

impl RecipientSecret {
    /// A secret read from the ledger.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret draw value behind `params`: HMAC-SHA256 over every field but the hint and the
    /// hash itself.
    pub fn rand(&self, params: &TicketParams) -> U256 {
        let bound = TicketParams { nonce_floor: 0, recipient_rand_hash: B256::ZERO, ..*params };
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("hmac takes a key of any length");
        mac.update(RAND_CONTEXT);
        mac.update(&bound.encode());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        U256::from_be_bytes(digest)
    }

    /// Fills in the hash that belongs to the other fields.
    pub fn seal(&self, params: TicketParams) -> TicketParams {
        TicketParams { recipient_rand_hash: rand_hash(self.rand(&params)), ..params }
    }

    /// The secret behind parameters that this recipient issued; `None` when any field was changed.
    pub fn open(&self, params: &TicketParams) -> Option<U256> {
        let rand = self.rand(params);
        (rand_hash(rand) == params.recipient_rand_hash).then_some(rand)
    }
}

impl std::fmt::Debug for RecipientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecipientSecret(..)")
    }
}
