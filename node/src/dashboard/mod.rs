//! The page that every node serves: what it is made of, what it asks for, and what keeps others out.
//!
//! Everything here only reads. What a role lets its page look at beyond the board, it says once it is up ([`Views`]).

mod assets;
mod chain;
mod earnings;
mod figures;
mod fresh;
pub mod guard;
mod live;
pub(crate) mod routes;

use std::sync::{Arc, OnceLock};

use alloy_primitives::{Address, U256};
use axum::{
    Json, Router,
    extract::{FromRef, Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use clap::ValueEnum;
use framemill_broadcaster::{Store, hls_object};
use framemill_contracts::ChainClient;
use prometheus::Registry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{board::Board, http::Readiness, ledger::Place};
use chain::ChainDesk;
use earnings::EarningsDesk;
use routes::{ROUTES, router_of};

/// What a delegation's yield is told for where the page names no amount: a thousand tokens.
const REFERENCE_TOKENS: u64 = 1_000;

/// What is said where chain or books do not answer.
const AWAY: &str = "the chain or the ledger does not answer now; the node's log says more\n";

/// What a node does; its page shows what that lets it know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Buys transcoding.
    Broadcaster,
    /// Sells it.
    Orchestrator,
    /// Does it.
    Transcoder,
}

impl Role {
    /// Its name, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcaster => "broadcaster",
            Self::Orchestrator => "orchestrator",
            Self::Transcoder => "transcoder",
        }
    }
}

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Page {
    Streams,
    Orchestrators,
    Work,
    Earnings,
    Stake,
    Disputes,
}

/// What a role lets its page look at once it is up. Cheap to clone.
#[derive(Clone, Default)]
pub struct Views(Arc<Inner>);

#[derive(Default)]
struct Inner {
    store: OnceLock<Arc<dyn Store>>,
    chain: OnceLock<ChainDesk>,
    earnings: OnceLock<EarningsDesk>,
}

impl Views {
    /// Published segments, for the player. The first call counts.
    pub fn show_store(&self, store: Arc<dyn Store>) {
        let _ = self.0.store.set(store);
    }

    /// The chain. The first call counts.
    pub fn show_chain(&self, client: ChainClient) {
        let _ = self.0.chain.set(ChainDesk::new(client));
    }

    /// The books of tickets taken, of one account. The first call counts.
    pub(crate) fn show_books(&self, books: Place, account: Option<Address>) {
        let _ = self.0.earnings.set(EarningsDesk::new(books, account));
    }

    fn pages(&self, role: Role) -> Vec<Page> {
        let own: &[Page] = match role {
            Role::Broadcaster => &[Page::Streams, Page::Orchestrators],
            Role::Orchestrator => &[Page::Work],
            Role::Transcoder => &[Page::Work],
        };
        let mut pages = own.to_vec();
        pages.extend(self.0.earnings.get().map(|_| Page::Earnings));
        if self.0.chain.get().is_some() {
            pages.extend([Page::Stake, Page::Disputes]);
        }
        pages
    }
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

/// What the page shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What the node does.
    pub role: Role,
    /// Source of `/metrics`.
    pub metrics: Registry,
    /// Source of `/readyz`.
    pub readiness: Readiness,
    /// What happened.
    pub board: Board,
    /// What else there is to look at.
    pub views: Views,
    /// Ends the streams of events: a server waits for its answers before it stops.
    pub stop: CancellationToken,
    readers: Arc<Semaphore>,
}

impl Shown {
    /// Something to show, without anything to look at yet.
    pub fn new(role: Role, title: &str, stop: CancellationToken) -> Self {
        Self {
            role,
            metrics: Registry::new(),
            readiness: Readiness::starting(),
            board: Board::new(title),
            views: Views::default(),
            stop,
            readers: Arc::new(Semaphore::new(live::MAX_READERS)),
        }
    }
}

impl FromRef<Shown> for Views {
    fn from_ref(shown: &Shown) -> Self {
        shown.views.clone()
    }
}

/// The page with all that it asks for.
pub(crate) fn router() -> Router<Shown> {
    assets::router().merge(router_of(ROUTES))
}

async fn node(State(shown): State<Shown>) -> Json<Value> {
    let Inner { store, chain, .. } = &*shown.views.0;
    Json(json!({
        "title": shown.board.title(),
        "version": env!("CARGO_PKG_VERSION"),
        "pages": shown.views.pages(shown.role),
        "chain": chain.get().map(ChainDesk::facts),
        "has_player": store.get().is_some(),
    }))
}

/// `GET /hls/…`: for the player. Players of other pages have the ingest's address.
async fn published(State(views): State<Views>, Path(path): Path<String>) -> Response {
    match views.0.store.get() {
        Some(store) => hls_object(&**store, &path).await,
        None => Refusal::Unknown.into_response(),
    }
}

/// Why the page gets no answer.
enum Refusal {
    /// This role does not know.
    Unknown,
    /// The request cannot be read.
    Malformed(&'static str),
    /// The chain or the books do not answer now.
    Away(anyhow::Error),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown => (StatusCode::NOT_FOUND, "this node does not know that\n").into_response(),
            Self::Malformed(hint) => (StatusCode::BAD_REQUEST, format!("{hint}\n")).into_response(),
            Self::Away(error) => {
                // An error may name endpoints and files, which are nobody's business but the operator's.
                tracing::warn!(error = %format!("{error:#}"), "a question of the dashboard could not be answered");
                (StatusCode::SERVICE_UNAVAILABLE, AWAY).into_response()
            }
        }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        Self::Away(error)
    }
}

type Answer = Result<Json<Value>, Refusal>;

#[derive(Debug, Deserialize)]
struct Amount {
    amount: Option<String>,
}

/// `GET /api/stake?amount=BASE_UNITS`
async fn stake(State(views): State<Views>, Query(asked): Query<Amount>) -> Answer {
    let chain = views.0.chain.get().ok_or(Refusal::Unknown)?;
    let hint = "amount: give base units of the token, a decimal number that is not zero";
    let amount = match asked.amount {
        None => U256::from(REFERENCE_TOKENS) * U256::from(crate::devnet::ETHER),
        Some(text) => U256::from_str_radix(&text, 10).map_err(|_| Refusal::Malformed(hint))?,
    };
    if amount.is_zero() {
        return Err(Refusal::Malformed(hint));
    }
    Ok(Json(chain.stake(amount).await?))
}

/// `GET /api/account/0x…`
async fn account(State(views): State<Views>, Path(account): Path<String>) -> Answer {
    let chain = views.0.chain.get().ok_or(Refusal::Unknown)?;
    let account =
        account.parse().map_err(|_| Refusal::Malformed("no address; write 0x and 40 hex digits"))?;
    Ok(Json(chain.account(account).await?))
}

/// `GET /api/disputes`
async fn disputes(State(views): State<Views>) -> Answer {
    let chain = views.0.chain.get().ok_or(Refusal::Unknown)?;
    Ok(Json(chain.disputes().await?))
}

/// `GET /api/earnings`
async fn earnings(State(views): State<Views>) -> Answer {
    let Inner { chain, earnings, .. } = &*views.0;
    let mut value = earnings.get().ok_or(Refusal::Unknown)?.read().await?;
    value["chain"] = match chain.get() {
        // The books answer while the chain does not.
        Some(chain) => json!(chain.earned().await.ok().flatten()),
        None => Value::Null,
    };
    Ok(Json(value))
}
