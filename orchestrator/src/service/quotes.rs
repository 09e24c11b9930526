//! Answers requests for quotes: checks, admission, an account for the tickets, a signature.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use framemill_network::{IncomingQuote, PeerId, Quote, QuoteRequest, QuoteServer, SignedQuote};
use framemill_verification::COMMITMENT_VERSION;
use tokio::task::JoinSet;
use tracing::debug;

use super::Shared;
use crate::events::OrchestratorEvent;
use crate::gate;
use crate::refusal::Refusal;
use crate::session::{Terms, unused_for};

/// Quotes worked on at once: each may wait for the chain to look at a sender's funds.
const MAX_QUOTES: usize = 128;

/// Answers until the network ends.
pub(crate) async fn serve(shared: Arc<Shared>, mut server: QuoteServer) {
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            request = server.next(), if answers.len() < MAX_QUOTES => match request {
                Some(request) => { answers.spawn(answer(shared.clone(), request)); }
                None => break,
            },
            Some(_) = answers.join_next() => {}
        }
    }
}

async fn answer(shared: Arc<Shared>, incoming: IncomingQuote) {
    let peer = incoming.peer();
    let quoted = quote(&shared, peer, incoming.request()).await;
    shared.metrics.quotes.count(quoted.as_ref().map(drop).map_err(|refusal| refusal.code()));
    if let Err(refusal) = &quoted {
        debug!(%peer, %refusal, "quote refused");
    }
    incoming.respond(quoted.map_err(|refusal| refusal.to_wire()));
}

async fn quote(shared: &Shared, peer: PeerId, request: &QuoteRequest) -> Result<SignedQuote, Refusal> {
    if shared.draining.is_cancelled() {
        return Err(Refusal::ShuttingDown);
    }
    let offered = shared.offered();
    let (pixels_per_second, price) = gate::check_quote(request, &offered)?;
    let admit = |now| shared.sessions().admit(now, peer, pixels_per_second, shared.pool.capacity());
    admit(Instant::now())?;

    let session = B256::from(rand::random::<[u8; 32]>());
    let ticket_params = shared.till.open(request.sender, session).await?;
    let terms = Terms {
        id: session,
        peer,
        ladder_hash: request.ladder.hash(),
        ladder: request.ladder.clone(),
        price,
        commitments: request.commitments,
        quality: offered.quality_for(request.commitments),
        pixels_per_second,
    };
    let (ladder_hash, quality) = (terms.ladder_hash, terms.quality);
    shared.till.share(&terms).await?;
    match open(shared, terms) {
        Ok(None) => {}
        Ok(Some(evicted)) => shared.end(evicted.id).await,
        Err(refusal) => {
            shared.till.close(session).await;
            return Err(refusal);
        }
    }
    shared.events.send(OrchestratorEvent::SessionOpened { session, peer });
    Ok(sign(
        shared,
        Quote {
            session,
            orchestrator: shared.key.address(),
            orchestrator_peer: shared.network.peer_id(),
            broadcaster_peer: peer,
            sender: request.sender,
            price,
            ticket_params,
            capacity: pixels_per_second,
            expires_at_unix_ms: expires_at_unix_ms(shared),
            ladder_hash,
            commitment_version: if request.commitments { COMMITMENT_VERSION.into() } else { 0 },
            quality,
        },
    ))
}

/// Opens the session if it is still admitted: others may have come while the account was opened.
///
/// Returns the session that gave way to it, if one had to.
fn open(shared: &Shared, terms: Terms) -> Result<Option<Terms>, Refusal> {
    let now = Instant::now();
    let capacity = shared.pool.capacity();
    let mut sessions = shared.sessions();
    sessions.admit(now, terms.peer, terms.pixels_per_second, capacity)?;
    Ok(sessions.open(now, terms))
}

fn sign(shared: &Shared, quote: Quote) -> SignedQuote {
    let signature = shared.key.sign_digest(quote.signing_hash(&shared.domain));
    SignedQuote { quote, signature: *signature.as_bytes() }
}

fn expires_at_unix_ms(shared: &Shared) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = since + unused_for(&shared.config.sessions);
    u64::try_from(expires.as_millis()).unwrap_or(u64::MAX)
}
