//! The server of the dashboard, against programs that mean it ill.

use std::{sync::Arc, time::Duration};

use framemill::{
    board::Board,
    dashboard::{Role, Shown, Views, guard::Hosts},
    http::{self, Server},
};
use framemill_broadcaster::ObjectStorage;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Nothing here takes long; a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pages that follow a node at a time.
const READERS: usize = 32;
/// All that is served beside the page's files.
const ASKED: [&str; 10] = [
    "/api/node",
    "/api/board",
    "/events",
    "/api/figures",
    "/api/stake",
    "/api/account/0x00",
    "/api/disputes",
    "/api/earnings",
    "/metrics",
    "/hls/cam/master.m3u8",
];

struct Node {
    server: Server,
    board: Board,
    views: Views,
    stop: CancellationToken,
}

impl Node {
    async fn start() -> Self {
        let stop = CancellationToken::new();
        let shown = Shown::new(Role::Broadcaster, "test", stop.clone());
        let (board, views) = (shown.board.clone(), shown.views.clone());
        let hosts = Hosts::new(&["dash.example.net".to_owned()]);
        let server = http::serve_node("127.0.0.1:0", shown, hosts).await.unwrap();
        Self { server, board, views, stop }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(self.url(path)).await.unwrap()
    }

    /// The answer to these very bytes, up to its end or to as much as is asked for.
    async fn raw(&self, request: &str, most: u64) -> String {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.take(most).read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn status(&self, method: &str, path: &str, headers: &str) -> u16 {
        let host = self.server.address;
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
        let answer = self.raw(&request, 64).await;
        answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }
}

/// The next event of a stream of them, as JSON.
async fn event(of: &mut reqwest::Response, rest: &mut String) -> Value {
    loop {
        if let Some((found, more)) = rest.split_once("\n\n") {
            let (found, more) = (found.to_owned(), more.to_owned());
            *rest = more;
            if let Some(data) = found.lines().find_map(|line| line.strip_prefix("data: ")) {
                assert!(found.contains("event: board"), "{found}");
                return serde_json::from_str(data).unwrap();
            }
            continue;
        }
        let bytes = timeout(PATIENCE, of.chunk()).await.unwrap().unwrap().expect("the stream goes on");
        rest.push_str(std::str::from_utf8(&bytes).unwrap());
    }
}

#[tokio::test]
async fn every_answer_carries_a_policy_that_lets_nothing_foreign_in() {
    let node = Node::start().await;
    let pages =
        ["/", "/index.js", "/index.css", "/hls.light.js", "/licenses.md", "/healthz", "/readyz", "/nothing"];
    for path in pages.into_iter().chain(ASKED) {
        let answer = node.get(path).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let policy = header("content-security-policy").unwrap_or_default();
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "connect-src 'self';",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
        assert_eq!(header("referrer-policy").as_deref(), Some("no-referrer"), "{path}");
        assert_eq!(header("x-frame-options").as_deref(), Some("DENY"), "{path}");
        assert_eq!(header("access-control-allow-origin"), None, "{path}");
        assert!(header("cache-control").is_some(), "{path}");
    }
}

#[tokio::test]
async fn the_page_has_no_script_or_style_of_its_own() {
    let page = Node::start().await.get("/").await.text().await.unwrap();
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" on"), "{page}");
    assert!(page.split("<script").skip(1).all(|script| script.contains(" src=\"./")), "{page}");
    assert!(!page.contains("http"), "nothing is fetched from elsewhere: {page}");
}

#[tokio::test]
async fn nothing_can_be_changed_from_outside() {
    let node = Node::start().await;
    let before = node.board.snapshot();
    for path in ["/", "/nothing"].into_iter().chain(ASKED) {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            assert_eq!(node.status(method, path, "").await, 405, "{method} {path}");
        }
    }
    assert_eq!(node.board.snapshot(), before);
}

#[tokio::test]
async fn a_name_that_was_pointed_here_reads_nothing() {
    let node = Node::start().await;
    for path in ["/"].into_iter().chain(ASKED) {
        let ask = |host: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = node.raw(&ask("evil.example:7935"), 2_000).await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
        assert!(answer.contains("http.hosts"), "{answer}");
        let listed = node.raw(&ask("dash.example.net"), 64).await;
        assert!(!listed.starts_with("HTTP/1.1 421 "), "{path}: {listed}");
    }
    let absolute =
        "GET http://evil.example/api/board HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
    assert!(node.raw(absolute, 64).await.starts_with("HTTP/1.1 421 "), "the request's own name counts");
    let health = "GET /healthz HTTP/1.1\r\nhost: probe.example\r\nconnection: close\r\n\r\n";
    assert!(node.raw(health, 64).await.starts_with("HTTP/1.1 200 "), "whoever watches over the node may ask");
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing() {
    let node = Node::start().await;
    for path in ASKED {
        for header in
            ["origin: https://evil.example\r\n", "origin: null\r\n", "sec-fetch-site: cross-site\r\n"]
        {
            assert_eq!(node.status("GET", path, header).await, 403, "{path}: {header}");
        }
    }
    let own = format!("origin: {}\r\n", node.url(""));
    assert_eq!(node.status("GET", "/api/board", &own).await, 200);
}

#[tokio::test]
async fn no_path_leads_to_a_file_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret.m3u8"), "secret").unwrap();
    std::fs::create_dir_all(folder.path().join("hls/cam")).unwrap();
    std::fs::write(folder.path().join("hls/cam/master.m3u8"), "#EXTM3U").unwrap();
    std::fs::write(folder.path().join("hls/cam/notes.txt"), "not published").unwrap();
    let node = Node::start().await;
    node.views.show_store(Arc::new(ObjectStorage::folder(folder.path().join("hls")).unwrap()));
    assert_eq!(node.get("/hls/cam/master.m3u8").await.text().await.unwrap(), "#EXTM3U");
    for path in [
        "/hls/../secret.m3u8",
        "/hls/%2e%2e/secret.m3u8",
        "/hls/cam/..%2f..%2fsecret.m3u8",
        "/hls//../secret.m3u8",
        "/hls/cam/%2e%2e/%2e%2e/secret.m3u8",
        "/hls/cam/notes.txt",
        "/hls/",
        "/hls/%2fetc%2fhosts.ts",
        "/../Cargo.toml",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/bundle/index.js",
        "/hls/../../etc/passwd",
        "/hls/..%2f..%2fetc%2fpasswd.ts",
        "/hls/%2e%2e/secret.m3u8",
        "/index.js/..",
        "/index.js%00",
        "/api/account/..%2f..%2fnode",
    ] {
        assert_eq!(node.status("GET", path, "").await, 404, "{path}");
    }
}

#[tokio::test]
async fn a_role_is_asked_only_what_it_knows() {
    let node = Node::start().await;
    let info: Value = node.get("/api/node").await.json().await.unwrap();
    assert_eq!(
        info["pages"],
        serde_json::json!(["streams", "orchestrators"]),
        "without a chain there is no stake"
    );
    for path in ["/api/stake", "/api/disputes", "/api/earnings", "/hls/cam/master.m3u8"] {
        assert_eq!(node.status("GET", path, "").await, 404, "{path}");
    }
}

#[tokio::test]
async fn a_reader_hears_the_whole_board_and_then_what_changes() {
    let node = Node::start().await;
    node.board.draw(|picture| picture.segment("cam", 1).tickets = 1);
    let (mut stream, mut rest) = (node.get("/events").await, String::new());
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = event(&mut stream, &mut rest).await;
    assert_eq!((&first["whole"], &first["not_ready"][0]), (&Value::Bool(true), &Value::from("starting")));
    assert_eq!(first["segments"].as_array().map(Vec::len), Some(1));

    node.board.draw(|picture| picture.segment("cam", 2).tickets = 1);
    node.board.draw(|picture| picture.segment("cam", 3).tickets = 1);
    let second = event(&mut stream, &mut rest).await;
    assert_eq!(second["whole"], Value::Bool(false));
    let told = second["segments"].as_array().unwrap();
    assert!(told.iter().all(|row| row["sequence"] != 1), "{told:?}");

    // Who comes back says what it knows.
    let query = format!("/events?epoch={}&since={}", first["epoch"].as_str().unwrap(), first["revision"]);
    let caught_up = event(&mut node.get(&query).await, &mut String::new()).await;
    assert_eq!(caught_up["whole"], Value::Bool(false));
    assert_eq!(caught_up["segments"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn more_readers_than_there_is_room_for_are_turned_away_and_a_place_comes_free() {
    let node = Node::start().await;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let answer = node.get("/events").await;
        assert_eq!(answer.status(), 200);
        readers.push(answer);
    }
    let turned_away = node.get("/events").await;
    assert_eq!(turned_away.status(), 503);
    assert!(turned_away.headers().contains_key("retry-after"));
    assert_eq!(node.get("/api/board").await.status(), 200, "whoever only asks is answered");
    readers.pop();
    let freed = async {
        // The node notices a closed connection when it writes to it.
        while node.get("/events").await.status() != 200 {
            node.board.draw(|picture| picture.segment("cam", 1).tickets += 1);
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
}

#[tokio::test]
async fn a_node_stops_while_pages_follow_it() {
    let node = Node::start().await;
    let mut stream = node.get("/events").await;
    event(&mut stream, &mut String::new()).await;
    node.stop.cancel();
    timeout(PATIENCE, node.server.stopped()).await.expect("the stream of events ends with the node");
}
