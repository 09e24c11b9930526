//! What the web servers answer, made from the tables that their routers are made from.

use framemill_broadcaster::endpoint::{Endpoint, Operation, PUBLISHED, PUSH};

use super::{code, table};
use crate::http::endpoints;

const INTRODUCTION: &str = "# HTTP

Two servers, and each listens on loopback unless told otherwise. [openapi.json](openapi.json) says the
same to programs, with every parameter; a node has it at `/api/openapi.json`.
";

const NODE: &str = "
## Every role, at `http.listen`

Nothing here changes anything. Health answers whoever reaches the address. All else answers `GET` and `HEAD` only (405), by an address,
a name without a dot or a name listed in `http.hosts` (421 for others), and neither pages nor scripts of other origins (403). Any program
that reaches the address may read: put a login in front where it leaves the machine.

";

const INGEST: &str = "
## Broadcaster, at `broadcaster.ingest`

Whoever reaches the address may push: `broadcaster.auth_url` is asked about every stream where it is set, and again about whoever pushes
into an open one in another way ([platform.md](../platform.md#who-may-push)); everybody but pages in a browser may publish where it is
not. Playlists are for players on any origin.

";

pub(super) fn markdown() -> String {
    let node = endpoints().map(|(endpoint, _)| row("", endpoint));
    let ingest = [row("", &PUSH), row("/hls", &PUBLISHED)];
    [INTRODUCTION, NODE, &routes(node), INGEST, &routes(ingest)].concat()
}

fn routes(rows: impl IntoIterator<Item = [String; 4]>) -> String {
    table(["method", "path", "what it does", "answers"], rows)
}

/// An address with all that may be asked of it: operations of one address differ in their method only.
fn row(nest: &str, endpoint: &Endpoint) -> [String; 4] {
    let methods: Vec<_> =
        endpoint.operations.iter().map(|operation| operation.method.as_str().to_uppercase()).collect();
    let first = endpoint.operations.first();
    let summary = first.map_or("", |operation| operation.summary);
    let path = code(&format!("{nest}{}", endpoint.path));
    [methods.join(", "), path, summary.to_owned(), first.map(answers).unwrap_or_default()]
}

fn answers(operation: &Operation) -> String {
    let told = operation.answers.iter().map(|answer| format!("{} {}", answer.status, answer.about));
    told.collect::<Vec<_>>().join("<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_row_with_what_is_answered() {
        let page = markdown();
        for (path, status) in
            [("/healthz", "200"), ("/live/{manifest}/{file}", "503"), ("/hls/{*path}", "404")]
        {
            let named = format!("| `{path}` |");
            let row = page.lines().find(|line| line.contains(&named)).expect("a row");
            assert!(row.contains(status), "{row}");
        }
    }

    #[test]
    fn operations_of_one_address_are_answered_alike() {
        for endpoint in endpoints().map(|(endpoint, _)| endpoint).chain([&PUSH, &PUBLISHED]) {
            let told: Vec<_> = endpoint.operations.iter().map(answers).collect();
            assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{}", endpoint.path);
        }
    }
}
