//! Serving quotes.

use libp2p::PeerId;

use crate::quote::{QuoteRequest, SignedQuote};
use crate::wire_error::WireError;

/// Requests for quotes. Dropping it ends the service.
#[derive(Debug)]
pub struct QuoteServer {
    pub(crate) _private: (),
}

/// A request waiting for an answer. Dropping it tells the broadcaster that the node is busy.
#[derive(Debug)]
pub struct IncomingQuote {
    pub(crate) _private: (),
}

impl QuoteServer {
    /// The next request; `None` when the network has been shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<IncomingQuote> {
        todo!()
    }
}

impl IncomingQuote {
    /// Who asks; authenticated by the connection.
    pub fn peer(&self) -> PeerId {
        todo!()
    }

    /// What is asked for, within the protocol's bounds.
    pub fn request(&self) -> &QuoteRequest {
        todo!()
    }

    /// Answers the request. Does not wait for the peer: the answer is sent in the background.
    pub fn respond(self, answer: Result<SignedQuote, WireError>) {
        let _ = answer;
        todo!()
    }
}
