//! What a broadcaster asks an orchestrator before a stream, and the signed answer.

use alloy_primitives::{Address, B256, keccak256};
use alloy_sol_types::{SolStruct, sol};
use bytes::Bytes;
use libp2p::PeerId;

use crate::ladder::{Ladder, SourceVideo};
pub use crate::price::{PriceError, PricePerPixel};
use crate::quality::QualityTerms;
use crate::signing::{SignatureBytes, SigningDomain};

/// Most bytes of ticket parameters in a quote, an acceptance or an error's details: payments' parameters are a few hundred.
pub const MAX_TICKET_PARAMS_BYTES: usize = 4 * 1024;

/// What a broadcaster wants to buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteRequest {
    /// Address that will send the tickets.
    pub sender: Address,
    /// The concrete ladder ([`Ladder::resolve`]) of every segment of the session.
    pub ladder: Ladder,
    /// The source's picture and rate.
    pub source: SourceVideo,
    /// Pixels per second that the session needs ([`Ladder::pixels_per_second`]).
    pub pixels_per_second: u64,
    /// Highest price the broadcaster would pay; an orchestrator above it may save its answer.
    pub max_price: Option<PricePerPixel>,
    /// Every rendition must come with a commitment to its features.
    pub commitments: bool,
}

/// An orchestrator's offer for one session with one broadcaster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Random id of the session that segments name.
    pub session: B256,
    /// The orchestrator's Ethereum address, whose key signs this quote.
    pub orchestrator: Address,
    /// The orchestrator's network identity.
    pub orchestrator_peer: PeerId,
    /// The network identity that the session is bound to.
    pub broadcaster_peer: PeerId,
    /// The address whose tickets pay for the session.
    pub sender: Address,
    /// Price of output pixels, fixed for the session.
    pub price: PricePerPixel,
    /// Ticket parameters in the payment crate's codec, at most [`MAX_TICKET_PARAMS_BYTES`].
    pub ticket_params: Bytes,
    /// Pixels per second reserved for the session.
    pub capacity: u64,
    /// When the session ends unless it is used, in milliseconds since the Unix epoch.
    pub expires_at_unix_ms: u64,
    /// Hash of the ladder that the price is for.
    pub ladder_hash: B256,
    /// Version of the feature commitments that the session's receipts carry; 0 when they carry none.
    pub commitment_version: u32,
    /// How the price of a rendition follows the quality that the receipts declare. The whole price for any quality where
    /// they carry no commitments.
    pub quality: QualityTerms,
}

/// A quote with the orchestrator's signature over [`Quote::signing_hash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedQuote {
    /// The offer.
    pub quote: Quote,
    /// Signature by [`Quote::orchestrator`].
    pub signature: SignatureBytes,
}

mod eip712 {
    use super::sol;

    sol! {
        struct Quote {
            bytes32 session;
            address orchestrator;
            bytes orchestratorPeer;
            bytes broadcasterPeer;
            address sender;
            uint256 priceWei;
            uint64 pricePixels;
            bytes32 ticketParamsHash;
            uint64 capacity;
            uint64 expiresAtUnixMs;
            bytes32 ladderHash;
            uint32 commitmentVersion;
            uint32 fullCentiDb;
            uint32 leastCentiDb;
            uint32 leastPpm;
        }
    }
}

impl Quote {
    /// The EIP-712 digest that the orchestrator signs. It binds both network identities, so a quote proves that the peer and the
    /// Ethereum key belong together and cannot be shown to another broadcaster.
    pub fn signing_hash(&self, domain: &SigningDomain) -> B256 {
        eip712::Quote {
            session: self.session,
            orchestrator: self.orchestrator,
            orchestratorPeer: self.orchestrator_peer.to_bytes().into(),
            broadcasterPeer: self.broadcaster_peer.to_bytes().into(),
            sender: self.sender,
            priceWei: self.price.wei(),
            pricePixels: self.price.pixels(),
            ticketParamsHash: keccak256(&self.ticket_params),
            capacity: self.capacity,
            expiresAtUnixMs: self.expires_at_unix_ms,
            ladderHash: self.ladder_hash,
            commitmentVersion: self.commitment_version,
            fullCentiDb: self.quality.full_centi_db,
            leastCentiDb: self.quality.least_centi_db,
            leastPpm: self.quality.least_ppm,
        }
        .eip712_signing_hash(&domain.eip712())
    }

    /// True when the quote has ended at `now_unix_ms`.
    pub fn is_expired(&self, now_unix_ms: u64) -> bool {
        now_unix_ms >= self.expires_at_unix_ms
    }

    /// Checks that this is an answer to `request` between these two peers.
    ///
    /// The signature is not checked here: the role recovers it and compares with [`Quote::orchestrator`].
    ///
    /// # Errors
    /// Names the field that does not fit.
    pub fn check_answers(
        &self,
        request: &QuoteRequest,
        orchestrator: PeerId,
        broadcaster: PeerId,
    ) -> Result<(), QuoteMismatch> {
        let too_dear = request.max_price.is_some_and(|max| self.price.cmp_value(&max).is_gt());
        let mismatch = if self.orchestrator_peer != orchestrator {
            "orchestrator peer"
        } else if self.broadcaster_peer != broadcaster {
            "broadcaster peer"
        } else if self.sender != request.sender {
            "ticket sender"
        } else if self.ladder_hash != request.ladder.hash() {
            "ladder hash"
        } else if self.capacity < request.pixels_per_second {
            "capacity"
        } else if too_dear {
            "price"
        } else if request.commitments && self.commitment_version == 0 {
            "feature commitments"
        } else if self.commitment_version == 0 && !self.quality.is_whole() {
            // Without commitments no quality is declared: such terms would only ever pay the least.
            "quality terms"
        } else {
            return Ok(());
        };
        Err(QuoteMismatch { field: mismatch })
    }
}

/// A quote that does not answer the request it came for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quote's {field} does not fit the request; ask another orchestrator")]
pub struct QuoteMismatch {
    /// The field that differs.
    pub field: &'static str,
}
