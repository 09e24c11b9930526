//! Asking for quotes and serving them: one message each way on a stream of its own.

use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{NetworkError, ProtocolError};
use crate::node::{Admitted, Context, QUOTE_PROTOCOL, StreamPermit};
use crate::quote::{QuoteRequest, SignedQuote};
use crate::wire::{
    MAX_SMALL_MESSAGE, MessageWriter, QuoteReply, Remote, Wait, WireMessage, open_with, split,
};
use crate::wire_error::{WireCode, WireError};

/// Requests for quotes. Dropping it ends the service.
#[derive(Debug)]
pub struct QuoteServer {
    queue: mpsc::Receiver<IncomingQuote>,
    patience: Duration,
}

/// A request waiting for an answer. Dropping it tells the broadcaster that the node is busy.
#[derive(Debug)]
pub struct IncomingQuote {
    peer: PeerId,
    request: QuoteRequest,
    received: Instant,
    answer: Option<Answer>,
}

/// The way back of a protocol with one message each way.
#[derive(Debug)]
pub(crate) struct Answer {
    context: Context,
    writer: MessageWriter,
    pub(crate) permit: StreamPermit,
}

impl QuoteServer {
    pub(crate) fn new(queue: mpsc::Receiver<IncomingQuote>, patience: Duration) -> Self {
        Self { queue, patience }
    }

    /// The next request; `None` when the network has been shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<IncomingQuote> {
        loop {
            let incoming = self.queue.recv().await?;
            // A request that waited too long is dropped, which answers it with busy.
            if incoming.received.elapsed() < self.patience {
                return Some(incoming);
            }
        }
    }
}

impl IncomingQuote {
    /// Who asks; authenticated by the connection.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What is asked for, within the protocol's bounds.
    pub fn request(&self) -> &QuoteRequest {
        &self.request
    }

    /// Answers the request. Does not wait for the peer: the answer is sent in the background.
    pub fn respond(mut self, answer: Result<SignedQuote, WireError>) {
        self.send(match answer {
            Ok(quote) => QuoteReply::Quote(Box::new(quote)),
            Err(error) => QuoteReply::Error(error),
        });
    }

    fn send(&mut self, reply: QuoteReply) {
        if let Some(answer) = self.answer.take() {
            answer.send(reply);
        }
    }
}

impl Drop for IncomingQuote {
    fn drop(&mut self) {
        self.send(QuoteReply::Error(WireError::new(WireCode::Busy, "too many requests are waiting")));
    }
}

impl Answer {
    pub(crate) fn new(context: Context, writer: MessageWriter, permit: StreamPermit) -> Self {
        Self { context, writer, permit }
    }

    /// Sends the reply in the background.
    pub(crate) fn send<M: WireMessage + Send + Sync + 'static>(mut self, reply: M) {
        let context = self.context.clone();
        context.spawn(async move {
            let deadline = self.context.answer_deadline();
            let sent = match self.writer.write(&reply, deadline).await {
                Ok(()) => self.writer.close(deadline).await,
                failed => failed,
            };
            if let Err(error) = sent {
                tracing::debug!(%error, reply = M::NAME, "an answer could not be delivered");
            }
            drop(self.permit);
        });
    }
}

/// Reads one request and hands it to the application.
pub(crate) async fn serve(context: Context, admitted: Admitted) {
    let Admitted { peer, stream, permit, .. } = admitted;
    let remote = Remote { peer, protocol: QUOTE_PROTOCOL };
    let (mut reader, writer) = split(stream, remote, context.timeouts.message);
    let request = reader.expect(MAX_SMALL_MESSAGE, context.opening("a quote request")).await;
    let answer = Answer::new(context.clone(), writer, permit);
    match request {
        Ok(request) => {
            let incoming = IncomingQuote { peer, request, received: Instant::now(), answer: Some(answer) };
            let queue = context.shared.services().quotes.clone();
            // Dropping what the queue does not take answers it with busy.
            if let Some(queue) = queue {
                drop(queue.try_send(incoming));
            }
        }
        Err(error) => {
            answer.permit.blame(&error);
            answer.send(QuoteReply::Error(error.to_wire()));
        }
    }
}

/// Asks one orchestrator.
pub(crate) async fn request(
    context: &Context,
    peer: PeerId,
    request: &QuoteRequest,
    deadline: Duration,
) -> Result<SignedQuote, NetworkError> {
    request
        .ladder
        .ensure_concrete()
        .map_err(|error| NetworkError::Unsendable { what: "a quote request", reason: error.to_string() })?;
    let until = Instant::now() + deadline;
    let within = deadline.min(context.timeouts.dial);
    let (_, stream) = context.opener.open(peer, None, QUOTE_PROTOCOL, within).await?;
    let remote = Remote { peer, protocol: QUOTE_PROTOCOL };
    let (mut reader, mut writer) = split(stream, remote, context.timeouts.message);
    open_with((&mut reader, &mut writer), request, until).await?;
    let wait = Wait::until("a quote", until, context.timeouts.message);
    match reader.expect(MAX_SMALL_MESSAGE, wait).await? {
        QuoteReply::Error(error) => Err(error.into()),
        QuoteReply::Quote(signed) => {
            let checked = signed.quote.check_answers(request, peer, context.local);
            checked.map_err(ProtocolError::from)?;
            Ok(*signed)
        }
    }
}
