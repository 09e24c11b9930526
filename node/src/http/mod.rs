//! The node's own web server: metrics, health, and the dashboard.

mod openapi;
mod patient;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware::{from_fn_with_state, map_response},
    response::IntoResponse,
    serve::Listener,
};
use framemill_broadcaster::{
    Broadcaster, PushIngest,
    endpoint::{Answer, Endpoint, answer},
    hls_router,
};
use prometheus::{Encoder as _, TextEncoder};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::dashboard::{
    self, Shown,
    guard::{Hosts, guard},
    routes::{Route, get, router_of},
};
pub(crate) use openapi::endpoints;
pub use openapi::openapi;
use patient::Patient;

/// A page that reads nothing for so long is gone, whatever its connection says.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// Why a node cannot work at the moment; empty when it can.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<Vec<String>>>);

impl Readiness {
    /// A node that is not ready yet for one reason.
    pub fn starting() -> Self {
        Self(Arc::new(watch::Sender::new(vec!["starting".to_owned()])))
    }

    /// Replaces the reasons.
    pub fn set(&self, reasons: Vec<String>) {
        self.0.send_if_modified(|known| {
            let news = *known != reasons;
            *known = reasons;
            news
        });
    }

    /// The reasons at this moment.
    pub fn reasons(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Follows the reasons.
    pub fn changes(&self) -> watch::Receiver<Vec<String>> {
        self.0.subscribe()
    }
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
    run(bind(listen).await?, router, stop)
}

/// Starts to serve what every role has, to browsers that may call this server by one of `hosts`.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve_node(listen: &str, shown: Shown, hosts: Hosts) -> anyhow::Result<Server> {
    let stop = shown.stop.clone();
    run(Patient { inner: bind(listen).await?, limit: WRITE_LIMIT }, router(shown, hosts), stop)
}

/// Listens on an address; who calls says which setting names it.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {listen}: {error}; choose another address, or free the port")
    })
}

fn run<L>(listener: L, router: Router, stop: CancellationToken) -> anyhow::Result<Server>
where
    L: Listener<Addr = SocketAddr>,
{
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "http server failed; restart the node");
        }
    });
    Ok(Server { address, task })
}

/// What every role has. Health is told to whoever asks; the rest is behind the guard.
pub fn router(shown: Shown, hosts: Hosts) -> Router {
    let guarded = dashboard::router()
        .merge(router_of(GUARDED))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .layer(from_fn_with_state(hosts, guard));
    router_of(OPEN).layer(map_response(dashboard::guard::protect)).merge(guarded).with_state(shown)
}

/// Where a broadcaster takes segments, and serves what became of them.
pub fn ingest_router(ingest: &PushIngest, broadcaster: &Broadcaster) -> Router {
    ingest.router().nest("/hls", hls_router(broadcaster))
}

/// Told to whoever asks.
pub(crate) const OPEN: &[Route] = &[
    Route {
        endpoint: Endpoint {
            path: "/healthz",
            operations: &[get("Whether the node is alive", &[], &[TEXT])],
        },
        handler: |endpoint| endpoint.served_by(|| async { "ok\n" }),
    },
    Route {
        endpoint: Endpoint {
            path: "/readyz",
            operations: &[get(
                "Whether the node is able to work",
                &[],
                &[TEXT, answer(503, "It is not; each line of the text is a reason")],
            )],
        },
        handler: |endpoint| endpoint.served_by(ready),
    },
];

/// Told to this node's page and to programs, beside what the page asks for.
pub(crate) const GUARDED: &[Route] = &[
    Route {
        endpoint: Endpoint {
            path: "/metrics",
            operations: &[get(
                "Metrics in Prometheus' text form",
                &[],
                &[METRICS, answer(500, "The metrics cannot be written down")],
            )],
        },
        handler: |endpoint| endpoint.served_by(metrics),
    },
    Route {
        endpoint: Endpoint {
            path: "/api/openapi.json",
            operations: &[get(
                "This description",
                &[],
                &[Answer { status: 200, about: "An OpenAPI document", body: &["application/json"] }],
            )],
        },
        handler: |endpoint| endpoint.served_by(|| async { Json(openapi()) }),
    },
];

const TEXT: Answer = Answer { status: 200, about: "It is so", body: &["text/plain"] };
const METRICS: Answer = Answer { status: 200, about: "Every metric of the role", body: &["text/plain"] };

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
