//! Serves a [`Store`] over HTTP, for players.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::cors::CorsLayer;

use crate::endpoint::PUBLISHED;
use crate::store::{Store, headers_of};

/// A router for `GET /<stream>/…` of everything in `store`; nest it where it should appear, bind it where you like.
///
/// Any origin may read: published segments are public, and players run on other origins.
pub fn hls_router(store: Arc<dyn Store>) -> Router {
    Router::new()
        .route(PUBLISHED.path, PUBLISHED.served_by(object))
        .layer(CorsLayer::permissive())
        .with_state(store)
}

async fn object(State(store): State<Arc<dyn Store>>, Path(path): Path<String>) -> Response {
    hls_object(&*store, &path).await
}

/// One published playlist or segment, or 404: what [`hls_router`] answers, for a router of your own.
pub async fn hls_object(store: &dyn Store, path: &str) -> Response {
    // Only what players ask for: the store may hold more than published files.
    let Some((content_type, cache)) = headers_of(path) else { return StatusCode::NOT_FOUND.into_response() };
    match store.get(path).await {
        Ok(Some(data)) => {
            ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache)], data).into_response()
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::debug!(%error, "published object could not be read");
            StatusCode::NOT_FOUND.into_response()
        }
    }
}
