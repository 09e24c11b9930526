//! Every route of the web servers. A test holds the list against the routers.

use super::{code, table};

const INTRODUCTION: &str = "# HTTP

Two servers, and each listens on loopback unless told otherwise.
";

const NODE: &str = "
## Every role, at `http.listen`

Nothing here changes anything. Health answers whoever reaches the address. All else answers `GET` and `HEAD` only (405), by an address,
a name without a dot or a name listed in `http.hosts` (421 for others), and neither pages nor scripts of other origins (403). Any program
that reaches the address may read: put a login in front where it leaves the machine.

";

const INGEST: &str = "
## Broadcaster, at `broadcaster.ingest`

Whoever reaches the address may push: `broadcaster.auth_url` is asked for each new stream where it is set, and everybody may publish
where it is not. Playlists are for players on any origin.

";

/// Whose server a route is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Node,
    Ingest,
}

struct Route {
    door: Door,
    method: &'static str,
    path: &'static str,
    answer: &'static str,
}

const fn node(path: &'static str, answer: &'static str) -> Route {
    Route { door: Door::Node, method: "GET", path, answer }
}

const ROUTES: &[Route] = &[
    node("/healthz", "200 `ok` while the process lives"),
    node("/readyz", "200 `ready`, or 503 with a line for each reason why the role cannot work now"),
    node("/metrics", "the role's metrics as Prometheus' text ([metrics](../metrics.md))"),
    node("/", "the dashboard ([dashboard](../dashboard.md))"),
    node("/index.js", "the dashboard's script"),
    node("/index.css", "the dashboard's style"),
    node("/hls.light.js", "the dashboard's player"),
    node("/licenses.md", "licences of what the dashboard is made of"),
    node("/api/node", "JSON: title, version, pages that this role has, the chain's contracts"),
    node("/api/board", "JSON: streams, segments, orchestrators or work, as the dashboard draws them"),
    node("/events", "the board's changes as server-sent events, for a bounded number of readers (503)"),
    node("/api/figures", "JSON: the metrics that the dashboard shows"),
    node(
        "/api/stake",
        "JSON: the active set and its terms; `?amount=BASE_UNITS` for what that would have earned. 400 for no amount, 404 without a chain, 503 while the chain does not answer",
    ),
    node(
        "/api/account/{account}",
        "JSON: stake, fees and locks of an account. 400 for no address, 404 without a chain, 503 while the chain does not answer",
    ),
    node(
        "/api/disputes",
        "JSON: what is before the court. 404 without a chain, 503 while it does not answer",
    ),
    node(
        "/api/earnings",
        "JSON: tickets and fees of this orchestrator. 404 where no tickets are taken, 503 while the books do not answer",
    ),
    node("/hls/{*path}", "a published playlist or segment, for the dashboard's player; 404 in other roles"),
    Route {
        door: Door::Ingest,
        method: "POST, PUT",
        path: "/live/{manifest}/{file}",
        answer: "`file` is a sequence number with `.ts` or `.mp4`. 200 when every rendition is published: with `Accept: multipart/mixed` a part for each, in ladder order, else empty; `Server-Timing` has the stages. 400 bad input, 403 refused by `broadcaster.auth_url`, 405 wrong method, 413 too large, 422 media that cannot be transcoded, 503 nobody can do it now",
    },
    Route {
        door: Door::Ingest,
        method: "GET",
        path: "/hls/{*path}",
        answer: "`/hls/<manifest>/master.m3u8`, its playlists and their segments; 404 for all else",
    },
];

pub(super) fn markdown() -> String {
    let part = |door| {
        let rows = ROUTES.iter().filter(|route| route.door == door);
        table(
            ["method", "path", "answer"],
            rows.map(|route| [route.method.to_owned(), code(route.path), route.answer.to_owned()]),
        )
    };
    [INTRODUCTION, NODE, &part(Door::Node), INGEST, &part(Door::Ingest)].concat()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// What stands in quotes behind `call` in the sources below a folder, tests left out.
    fn literals(folder: &str, call: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), call, &mut found);
        found
    }

    fn collect(path: &Path, call: &str, found: &mut BTreeSet<String>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).expect("a folder").flatten() {
                collect(&entry.path(), call, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(path).expect("a source");
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            let calls = shipped.split(call).skip(1).map(str::trim_start);
            found.extend(
                calls.filter_map(|rest| rest.strip_prefix('"')?.split('"').next()).map(str::to_owned),
            );
        }
    }

    fn listed(door: Door) -> BTreeSet<String> {
        ROUTES.iter().filter(|route| route.door == door).map(|route| route.path.to_owned()).collect()
    }

    #[test]
    fn every_route_of_a_node_is_listed() {
        let mut routed = literals("src/http", ".route(");
        routed.extend(literals("src/dashboard", ".route("));
        assert_eq!(listed(Door::Node), routed, "put the route into ROUTES of node/src/reference/http.rs");
    }

    #[test]
    fn every_route_of_a_broadcasters_ingest_is_listed() {
        let mut routed = literals("../broadcaster/src/ingest", ".route(");
        let nests = literals("src/commands/broadcaster.rs", ".nest(");
        let served = literals("../broadcaster/src/serve.rs", ".route(");
        routed.extend(nests.iter().flat_map(|nest| served.iter().map(move |path| format!("{nest}{path}"))));
        assert_eq!(listed(Door::Ingest), routed, "put the route into ROUTES of node/src/reference/http.rs");
    }
}
