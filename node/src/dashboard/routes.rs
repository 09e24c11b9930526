//! What the page asks for, as a table: the router is made from it, and so is the description of it for programs.

use axum::{Json, Router, extract::State, routing::MethodRouter};
use framemill_broadcaster::endpoint::{
    Answer, Endpoint, Method, Operation, PUBLISHED, Parameter, Place, answer,
};

use super::{Shown, account, disputes, earnings, figures, live, node, published, stake};

/// One address of the node's own server.
pub(crate) struct Route {
    /// What it is.
    pub(crate) endpoint: Endpoint,
    /// What answers it.
    pub(crate) handler: fn(&Endpoint) -> MethodRouter<Shown>,
}

/// The router of a table.
pub(crate) fn router_of(routes: &[Route]) -> Router<Shown> {
    let add = |router: Router<Shown>, Route { endpoint, handler }: &Route| {
        router.route(endpoint.path, handler(endpoint))
    };
    routes.iter().fold(Router::new(), add)
}

const JSON: &[&str] = &["application/json"];
const UNKNOWN: Answer =
    answer(404, "This node does not know: its role has no such view, or it is not up yet");
const MALFORMED: Answer = answer(400, "The question cannot be read");
const AWAY: Answer = answer(503, "The chain or the ledger does not answer now");

const fn found(about: &'static str) -> Answer {
    Answer { status: 200, about, body: JSON }
}

/// A question without a body.
pub(crate) const fn get(
    summary: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Answer],
) -> Operation {
    Operation { method: Method::Get, summary, parameters, body: &[], answers }
}

/// All questions of the page.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        endpoint: Endpoint {
            path: "/api/node",
            operations: &[get(
                "What this node is and what its page may ask",
                &[],
                &[found("Title, version, pages, facts of the chain, and whether there is a player")],
            )],
        },
        handler: |endpoint| endpoint.served_by(node),
    },
    Route {
        endpoint: Endpoint {
            path: "/api/board",
            operations: &[get(
                "Everything on the board, once",
                &[],
                &[found("The board, with the reasons why the node is not ready")],
            )],
        },
        handler: |endpoint| endpoint.served_by(live::board),
    },
    Route {
        endpoint: Endpoint {
            path: "/events",
            operations: &[get(
                "The board as server-sent events: everything, or what came after a known revision, then each change",
                &[
                    Parameter {
                        name: "epoch",
                        place: Place::Query,
                        about: "Epoch of the revision that is known",
                        example: "0",
                    },
                    Parameter {
                        name: "since",
                        place: Place::Query,
                        about: "The revision that is known",
                        example: "0",
                    },
                ],
                &[
                    Answer {
                        status: 200,
                        about: "Events named `board`, for as long as they are read",
                        body: &["text/event-stream"],
                    },
                    MALFORMED,
                    answer(503, "Too many follow this node already; `Retry-After` says when to come again"),
                ],
            )],
        },
        handler: |endpoint| endpoint.served_by(live::events),
    },
    Route {
        endpoint: Endpoint {
            path: "/api/figures",
            operations: &[get("The node's metrics as the page shows them", &[], &[found("Figures by name")])],
        },
        handler: |endpoint| {
            endpoint.served_by(|State(shown): State<Shown>| async move { Json(figures::of(&shown.metrics)) })
        },
    },
    Route {
        endpoint: Endpoint {
            path: "/api/stake",
            operations: &[get(
                "The active set with terms, and what a delegation would have earned",
                &[Parameter {
                    name: "amount",
                    place: Place::Query,
                    about: "Delegation in base units of the token; a thousand tokens where it is left out",
                    example: "1000000000000000000",
                }],
                &[found("The active set"), MALFORMED, UNKNOWN, AWAY],
            )],
        },
        handler: |endpoint| endpoint.served_by(stake),
    },
    Route {
        endpoint: Endpoint {
            path: "/api/account/{account}",
            operations: &[get(
                "What an account has at stake",
                &[Parameter {
                    name: "account",
                    place: Place::Path,
                    about: "Its address: 0x and 40 hex digits",
                    example: "0x0000000000000000000000000000000000000001",
                }],
                &[found("Stake, unbonding locks and balances"), MALFORMED, UNKNOWN, AWAY],
            )],
        },
        handler: |endpoint| endpoint.served_by(account),
    },
    Route {
        endpoint: Endpoint {
            path: "/api/disputes",
            operations: &[get("Disputes before the court", &[], &[found("The disputes"), UNKNOWN, AWAY])],
        },
        handler: |endpoint| endpoint.served_by(disputes),
    },
    Route {
        endpoint: Endpoint {
            path: "/api/earnings",
            operations: &[get(
                "Tickets taken, won and redeemed",
                &[],
                &[found("The books of this account"), UNKNOWN, AWAY],
            )],
        },
        handler: |endpoint| endpoint.served_by(earnings),
    },
    Route {
        endpoint: Endpoint { path: "/hls/{*path}", operations: PUBLISHED.operations },
        handler: |endpoint| endpoint.served_by(published),
    },
];
