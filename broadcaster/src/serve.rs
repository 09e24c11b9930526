//! Serves what is published over HTTP, for players.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::watch;
use tower_http::cors::CorsLayer;

use crate::core::parts::numbers_in;
use crate::core::seam::seam;
use crate::editions::{Edition, Editions, NotWaited};
use crate::endpoint::PUBLISHED;
use crate::error::StoreError;
use crate::service::Broadcaster;
use crate::store::{Store, headers_of};

#[derive(Clone)]
struct Published {
    store: Arc<dyn Store>,
    editions: Arc<Editions>,
}

/// A router for `GET /<stream>/…` of everything in the store of `broadcaster`; nest it where it should appear, bind it where you like.
/// Streams in parts ([`StreamConfig::parts_per_segment`](crate::StreamConfig::parts_per_segment)) have their low-latency playlists here,
/// and requests for what is not there yet wait.
///
/// Any origin may read: published segments are public, and players run on other origins.
pub fn hls_router(broadcaster: &Broadcaster) -> Router {
    let editions = Arc::clone(&broadcaster.shared.editions);
    router(broadcaster.store(), editions)
}

/// The same for any store.
pub(crate) fn router(store: Arc<dyn Store>, editions: Arc<Editions>) -> Router {
    Router::new()
        .route(PUBLISHED.path, PUBLISHED.served_by(object))
        .layer(CorsLayer::permissive())
        .with_state(Published { store, editions })
}

async fn object(State(published): State<Published>, Path(path): Path<String>, uri: Uri) -> Response {
    let Published { store, editions } = &published;
    if let Some(playlist) = editions.playlist(&path) {
        return match edition(editions, playlist, &uri).await {
            Ok(edition) => edition.text(&path).map_or_else(not_found, |text| found(&path, text)),
            Err(refused) => refused.into_response(),
        };
    }
    match editions.wait_for_hinted(&path).await {
        Ok(()) => hls_object(&**store, &path).await,
        Err(error) => StatusCode::from(error).into_response(),
    }
}

/// What a player says of the playlist that it waits for.
#[derive(Deserialize)]
struct Directives {
    #[serde(rename = "_HLS_msn")]
    sequence: Option<u64>,
    #[serde(rename = "_HLS_part")]
    part: Option<u64>,
}

/// The edition that a request asks for.
async fn edition(
    editions: &Editions,
    playlist: watch::Receiver<Edition>,
    uri: &Uri,
) -> Result<Edition, StatusCode> {
    let newest = playlist.borrow().clone();
    if newest.is_last() {
        return Ok(newest);
    }
    let asked = Query::<Directives>::try_from_uri(uri).map_err(|_| StatusCode::BAD_REQUEST)?.0;
    match asked {
        Directives { sequence: None, part: None } => Ok(newest),
        Directives { sequence: Some(sequence), part } if !newest.edge.is_far(sequence, part) => {
            Ok(editions.wait(playlist, |edition| edition.edge.has(sequence, part)).await?)
        }
        Directives { .. } => Err(StatusCode::BAD_REQUEST),
    }
}

impl From<NotWaited> for StatusCode {
    fn from(error: NotWaited) -> Self {
        match error {
            NotWaited::Late | NotWaited::Crowded => Self::SERVICE_UNAVAILABLE,
        }
    }
}

/// One published file as it is in the store, or 404: what [`hls_router`] answers but for low-latency playlists, for a
/// router of your own.
pub async fn hls_object(store: &dyn Store, path: &str) -> Response {
    // Only what players ask for: the store may hold more than published files.
    if headers_of(path).is_none() {
        return not_found();
    }
    match read(store, path).await {
        Ok(Some(data)) => found(path, data),
        Ok(None) => not_found(),
        Err(error) => {
            tracing::debug!(%error, "published object could not be read");
            not_found()
        }
    }
}

fn not_found() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

fn found(path: &str, data: Bytes) -> Response {
    let (content_type, cache) = headers_of(path).unwrap_or_default();
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache)], data).into_response()
}

/// What is stored under a path, or the segment of several parts that it names.
async fn read(store: &dyn Store, path: &str) -> Result<Option<Bytes>, StoreError> {
    match store.get(path).await? {
        Some(data) => Ok(Some(data)),
        None => joined(store, path).await,
    }
}

/// The parts of the segment that a path names, one after the other; `None` where it names none, or one is missing. Those of MP4 have one
/// initialization section and nothing between them, since a fragment says by itself when it begins.
async fn joined(store: &dyn Store, path: &str) -> Result<Option<Bytes>, StoreError> {
    let Some((start, extension)) = path.rsplit_once('.') else { return Ok(None) };
    let Some((folder, name)) = start.rsplit_once('/') else { return Ok(None) };
    let Some(numbers) = numbers_in(name) else { return Ok(None) };
    let mut segment = Vec::new();
    for number in numbers {
        let Some(part) = store.get(&format!("{folder}/{number}.{extension}")).await? else { return Ok(None) };
        if !segment.is_empty() {
            segment.extend_from_slice(&seam(&part));
        }
        segment.extend_from_slice(&part);
    }
    Ok(Some(segment.into()))
}
