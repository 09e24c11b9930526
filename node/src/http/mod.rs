//! The node's own web server: metrics, health, and the dashboard.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::board::Board;

/// Scripts and styles come from this page alone, so a name that a peer chose can never run.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'";

/// Why a node cannot work at the moment; empty when it can.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<RwLock<Vec<String>>>);

impl Readiness {
    /// A node that is not ready yet for one reason.
    pub fn starting() -> Self {
        Self(Arc::new(RwLock::new(vec!["starting".to_owned()])))
    }

    /// Replaces the reasons.
    pub fn set(&self, reasons: Vec<String>) {
        *self.0.write().expect("no holder of this lock panics") = reasons;
    }

    /// The reasons at this moment.
    pub fn reasons(&self) -> Vec<String> {
        self.0.read().expect("no holder of this lock panics").clone()
    }
}

/// What the server shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Source of `/metrics`.
    pub metrics: Registry,
    /// Source of `/readyz`.
    pub readiness: Readiness,
    /// Source of the dashboard.
    pub board: Board,
}

/// A running server; it stops when its token is cancelled.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Waits until the server has stopped.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "http server ended abnormally; restart the node");
        }
    }
}

/// Starts to serve a router.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(listen: &str, router: Router, stop: CancellationToken) -> anyhow::Result<Server> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {listen}: {error}; choose another address"))?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "http server failed; restart the node");
        }
    });
    Ok(Server { address, task })
}

/// The pages every role has.
pub fn router(shown: Shown) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("../dashboard/index.html")) }))
        .route("/dashboard.js", get(|| asset("text/javascript", include_str!("../dashboard/dashboard.js"))))
        .route("/dashboard.css", get(|| asset("text/css", include_str!("../dashboard/dashboard.css"))))
        .route("/api/board", get(|State(shown): State<Shown>| async move { Json(shown.board.snapshot()) }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .layer(axum::middleware::map_response(guard))
        .with_state(shown)
}

async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}

async fn metrics(State(shown): State<Shown>) -> Result<impl IntoResponse, (StatusCode, String)> {
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    encoder
        .encode(&shown.metrics.gather(), &mut text)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text))
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, String) {
    let reasons = shown.readiness.reasons();
    match reasons.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))),
    }
}
