//! The board as server-sent events: what has changed, as fast as it is read.
//!
//! Nothing is queued for a reader: the next event is made when the last one was taken, of all that has changed since. Who stops
//! to read altogether is dropped by the connection's own limit on writes (`http::patient`).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    http::{HeaderName, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Shown;
use crate::{board::Change, http::Readiness};

/// Readers at a time: a wall of screens. Each costs a connection, and an event's bytes while it is written.
pub(super) const MAX_READERS: usize = 32;
/// Changes within this time are told together.
const TOGETHER: Duration = Duration::from_millis(200);
/// A reader hears something at least so often, so that both sides notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long one who was turned away may wait, in seconds.
const RETRY_S: &str = "5";

/// What a reader knows already.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Known {
    epoch: Option<String>,
    since: Option<u64>,
}

/// A change of the board, with what else the page's head shows.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    change: Change,
    not_ready: Vec<String>,
}

/// `GET /api/board`: everything, once.
pub(super) async fn board(State(shown): State<Shown>) -> Response {
    axum::Json(told(&shown, None)).into_response()
}

fn told(shown: &Shown, known: Option<(&str, u64)>) -> Told {
    Told { change: shown.board.since(known), not_ready: shown.readiness.reasons() }
}

/// `GET /events`: everything or what came after `?epoch=…&since=…`, then what changes.
pub(super) async fn events(State(shown): State<Shown>, Query(known): Query<Known>) -> Response {
    let Ok(permit) = Arc::clone(&shown.readers).try_acquire_owned() else {
        let text = format!("{MAX_READERS} pages follow this node already; close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_S)], text).into_response();
    };
    let stop = shown.stop.clone();
    let events = follow(shown, known, permit).take_until(stop.cancelled_owned());
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

/// A reader.
struct Reader {
    shown: Shown,
    known: Option<(String, u64)>,
    not_ready: Option<Vec<String>>,
    changes: watch::Receiver<u64>,
    _permit: OwnedSemaphorePermit,
}

fn follow(
    shown: Shown,
    known: Known,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let changes = shown.board.changes();
    let known = known.epoch.zip(known.since);
    let reader = Reader { shown, known, not_ready: None, changes, _permit: permit };
    stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        if self.not_ready.is_some() {
            wait(&mut self.changes, &self.shown.readiness, self.not_ready.as_deref()).await?;
        }
        let known = self.known.as_ref().map(|(epoch, revision)| (epoch.as_str(), *revision));
        self.changes.mark_unchanged();
        let told = told(&self.shown, known);
        let event = Event::default().event("board").json_data(&told);
        self.known = Some((told.change.epoch, told.change.revision));
        self.not_ready = Some(told.not_ready);
        // A row is made of strings and numbers: nothing in it cannot be written as JSON.
        event.ok()
    }
}

/// Waits for a change of the board or of the node's readiness; `None` when the board is gone.
async fn wait(
    changes: &mut watch::Receiver<u64>,
    readiness: &Readiness,
    known: Option<&[String]>,
) -> Option<()> {
    let mut ready = readiness.changes();
    loop {
        if Some(readiness.reasons().as_slice()) != known {
            break;
        }
        tokio::select! {
            changed = changes.changed() => { changed.ok()?; break }
            changed = ready.changed() => changed.ok()?,
        }
    }
    tokio::time::sleep(TOGETHER).await;
    Some(())
}
