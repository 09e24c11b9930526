//! The control stream of a work session after the handshake; the same on both sides.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::WorkCapacity;
use crate::error::{NetworkError, ProtocolError};
use crate::gate::TokenBucket;
use crate::node::{Context, StreamPermit};
use crate::wire::{ControlFrame, MAX_SMALL_MESSAGE, MessageReader, MessageWriter, Wait};
use crate::wire_error::{WireCode, WireError};

/// Keep-alives that may be missed before a peer counts as gone.
const MISSED: u32 = 3;
/// Shortest agreed interval: below it keep-alives would be the load.
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(50);
/// Longest agreed interval.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Frames per second that a peer may send in the long run, and at once.
const FRAME_RATE: u32 = 50;
const FRAME_BURST: u32 = 100;

/// What one side says of itself; only the newest value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Status {
    pub(super) capacity: WorkCapacity,
    pub(super) draining: bool,
}

/// The interval that both sides can keep.
pub(super) fn agree(own: Duration, peer_ms: u32) -> Duration {
    own.min(Duration::from_millis(peer_ms.into())).clamp(MIN_KEEP_ALIVE, MAX_KEEP_ALIVE)
}

/// One side's view of a running session.
#[derive(Debug)]
pub(super) struct Session {
    status: watch::Receiver<Status>,
    seen: Status,
    end: Option<oneshot::Receiver<NetworkError>>,
}

impl Session {
    /// The peer's next news. Cancel safe.
    pub(super) async fn changed(&mut self) -> Result<Change, NetworkError> {
        loop {
            let now = *self.status.borrow_and_update();
            if now.capacity != self.seen.capacity {
                self.seen.capacity = now.capacity;
                return Ok(Change::Capacity(now.capacity));
            }
            if now.draining && !self.seen.draining {
                self.seen.draining = true;
                return Ok(Change::Draining);
            }
            if self.status.changed().await.is_err() {
                return Err(self.end().await);
            }
        }
    }

    async fn end(&mut self) -> NetworkError {
        let Some(end) = &mut self.end else { return NetworkError::ShutDown };
        let error = end.await.unwrap_or(NetworkError::ShutDown);
        self.end = None;
        error
    }
}

/// News of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Capacity(WorkCapacity),
    Draining,
}

/// The stream of a session and what it is driven by.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) reader: MessageReader,
    pub(super) writer: MessageWriter,
    pub(super) keep_alive: Duration,
    /// What the peer was told last.
    pub(super) told: Status,
    /// What the peer said last.
    pub(super) heard: Status,
    pub(super) local: watch::Receiver<Status>,
    /// Cancelled by the side that ends the session, and by the session's end.
    pub(super) closed: CancellationToken,
    pub(super) permit: StreamPermit,
}

impl Control {
    /// Starts the session's task.
    pub(super) fn start(self, context: &Context) -> Session {
        let (remote, status) = watch::channel(self.heard);
        let (ended, end) = oneshot::channel();
        let (seen, message) = (self.heard, context.timeouts.message);
        context.spawn(async move {
            let closed = self.closed.clone().drop_guard();
            let _permit = self.permit.clone();
            // The receiver may be gone, which is how a session is ended from this side.
            let _ = ended.send(self.run(remote, message).await);
            drop(closed);
        });
        Session { status, seen, end: Some(end) }
    }

    async fn run(mut self, remote: watch::Sender<Status>, message: Duration) -> NetworkError {
        let mut beat = interval(self.keep_alive);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut budget = TokenBucket::new(FRAME_RATE, FRAME_BURST, std::time::Instant::now());
        let mut last_heard = Instant::now();
        loop {
            let first = last_heard + self.keep_alive * MISSED;
            let wait = Wait::begun_by("a keep-alive", first, message);
            let result = tokio::select! {
                () = self.closed.cancelled() => return self.close(message).await,
                _ = beat.tick() => self.send(&ControlFrame::KeepAlive, message).await,
                changed = self.local.changed() => match changed {
                    Ok(()) => self.tell(message).await,
                    Err(_) => return self.close(message).await,
                },
                frame = self.reader.expect(MAX_SMALL_MESSAGE, wait) => frame.and_then(|frame| {
                    last_heard = Instant::now();
                    take(&mut budget)?;
                    hear(frame, &remote)
                }),
            };
            if let Err(error) = result {
                self.permit.blame(&error);
                self.writer.fail(error.to_wire(), Instant::now() + message).await;
                return error;
            }
        }
    }

    /// Sends what changed since the peer was told last.
    async fn tell(&mut self, message: Duration) -> Result<(), NetworkError> {
        let now = *self.local.borrow_and_update();
        if now.capacity != self.told.capacity {
            self.send(&ControlFrame::Capacity(now.capacity), message).await?;
        }
        if now.draining && !self.told.draining {
            self.send(&ControlFrame::Drain, message).await?;
        }
        self.told = now;
        Ok(())
    }

    async fn send(&mut self, frame: &ControlFrame, message: Duration) -> Result<(), NetworkError> {
        self.writer.write(frame, Instant::now() + message).await
    }

    async fn close(&mut self, message: Duration) -> NetworkError {
        // A peer that is gone already needs no goodbye.
        let _ = self.writer.close(Instant::now() + message).await;
        NetworkError::Disconnected { what: "working", reason: "this side ended the session".into() }
    }
}

fn take(budget: &mut TokenBucket) -> Result<(), NetworkError> {
    budget.take(std::time::Instant::now()).map_err(|wait| {
        let error = WireError::new(WireCode::RateLimited, "too many control frames").with_retry_after(wait);
        NetworkError::Refused(error)
    })
}

fn hear(frame: ControlFrame, remote: &watch::Sender<Status>) -> Result<(), NetworkError> {
    match frame {
        ControlFrame::KeepAlive => {}
        ControlFrame::Capacity(capacity) => remote.send_modify(|status| status.capacity = capacity),
        ControlFrame::Drain => remote.send_modify(|status| status.draining = true),
        ControlFrame::Error(error) => return Err(error.into()),
        other => return Err(unexpected(&other, "a keep-alive, capacity or drain notice").into()),
    }
    Ok(())
}

pub(super) fn unexpected(frame: &ControlFrame, expected: &'static str) -> ProtocolError {
    ProtocolError::Unexpected { found: frame.name(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_the_shorter_interval_within_bounds() {
        assert_eq!(agree(Duration::from_secs(5), 1_000), Duration::from_secs(1));
        assert_eq!(agree(Duration::from_secs(1), 5_000), Duration::from_secs(1));
        assert_eq!(agree(Duration::from_secs(1), 0), MIN_KEEP_ALIVE);
        assert_eq!(agree(Duration::from_secs(3_600), u32::MAX), MAX_KEEP_ALIVE);
    }
}
