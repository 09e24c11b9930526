//! The page itself, as `node/dashboard` builds it. Every file is named here, so no request names one.

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// Browsers keep the files and ask whether they are still right.
const CACHE: HeaderValue = HeaderValue::from_static("no-cache");

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|| file("text/html; charset=utf-8", include_bytes!("bundle/index.html"))))
        .route("/index.js", get(|| file("text/javascript; charset=utf-8", include_bytes!("bundle/index.js"))))
        .route("/index.css", get(|| file("text/css; charset=utf-8", include_bytes!("bundle/index.css"))))
        .route(
            "/hls.light.js",
            get(|| file("text/javascript; charset=utf-8", include_bytes!("bundle/hls.light.js"))),
        )
        .route(
            "/licenses.md",
            get(|| file("text/plain; charset=utf-8", include_bytes!("bundle/licenses.md"))),
        )
}

async fn file(kind: &'static str, bytes: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, CACHE)], bytes)
        .into_response()
}
