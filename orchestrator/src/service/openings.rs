//! Answers questions about what was committed to.

use std::sync::Arc;
use std::time::Instant;

use framemill_network::{IncomingOpening, OpeningAnswer, OpeningServer};
use tokio::task::JoinSet;
use tracing::debug;

use super::{Shared, locked};
use crate::openings::Unanswered;

/// Questions answered at once: each may take a core for as long as decoding a rendition takes.
const MAX_ANSWERS: usize = 2;

/// Answers until the network ends.
pub(crate) async fn serve(shared: Arc<Shared>, mut server: OpeningServer) {
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            question = server.next(), if answers.len() < MAX_ANSWERS => match question {
                Some(question) => { answers.spawn(respond(shared.clone(), question)); }
                None => break,
            },
            Some(_) = answers.join_next() => {}
        }
    }
}

async fn respond(shared: Arc<Shared>, incoming: IncomingOpening) {
    let answered = answer(&shared, &incoming).await;
    shared.metrics.openings.count(answered.as_ref().map(drop).map_err(|refused| refused.to_wire().code));
    if let Err(refused) = &answered {
        debug!(peer = %incoming.peer(), ?refused, "question about a commitment refused");
    }
    incoming.respond(answered.map_err(Unanswered::to_wire));
}

async fn answer(shared: &Shared, incoming: &IncomingOpening) -> Result<OpeningAnswer, Unanswered> {
    let request = *incoming.request();
    let rendition = locked(&shared.openings).find(Instant::now(), incoming.peer(), &request)?;
    let answered = tokio::task::spawn_blocking(move || rendition.answer(request.question.into())).await;
    answered.unwrap_or(Err(Unanswered::Unreadable)).map(OpeningAnswer::from)
}
