//! What a node answers over HTTP, held against the description that it gives of itself.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, process::Command, sync::Arc, time::Duration};

use axum::Router;
use framemill::{
    dashboard::{Role, Shown, guard::Hosts},
    http::{self, Server},
};
use framemill_broadcaster::{Broadcaster, ObjectStorage, PushConfig, PushIngest};
use framemill_network::{Network, NetworkConfig};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The page itself and its parts, which are for browsers.
const OF_THE_PAGE: &[&str] = &["/", "/index.js", "/index.css", "/hls.light.js", "/licenses.md"];

const PATIENCE: Duration = Duration::from_secs(60);

/// Both servers of a broadcaster that knows no orchestrator.
struct Servers {
    node: Server,
    ingest: Server,
    client: Client,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Servers {
    async fn start() -> Self {
        let stop = CancellationToken::new();
        let shown = Shown::new(Role::Broadcaster, "test", stop.clone());
        let node = http::serve_node("127.0.0.1:0", shown.clone(), Hosts::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let broadcaster = Broadcaster::builder()
            .network(Network::start(NetworkConfig::loopback()).await.unwrap())
            .store(Arc::new(ObjectStorage::folder(folder.path()).unwrap()))
            .build()
            .await
            .unwrap();
        shown.views.show_store(broadcaster.store());
        let push = PushIngest::new(broadcaster.clone(), PushConfig::default(), None);
        let routes = http::ingest_router(&push, &broadcaster);
        let ingest = http::serve("127.0.0.1:0", routes, stop.clone()).await.unwrap();
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        Self { node, ingest, client, stop, _folder: folder }
    }

    fn address(&self, key: &str) -> SocketAddr {
        match key {
            "http.listen" => self.node.address,
            "broadcaster.ingest" => self.ingest.address,
            other => panic!("an unknown server: {other}"),
        }
    }

    async fn status(&self, server: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> StatusCode {
        self.answer(server, method, path, headers).await.status()
    }

    /// The answer's head: one may go on for ever.
    async fn answer(&self, server: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let method: Method = method.to_uppercase().parse().unwrap();
        let mut request =
            self.client.request(method.clone(), format!("http://{}{path}", self.address(server)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method != Method::GET {
            request = request.body("no media at all, but a line of text");
        }
        request.send().await.unwrap()
    }
}

/// Whether an answer has the media type that is described: one of those, or a text for people where there is none.
fn is_described(answer: &Response, described: &Value) -> bool {
    let given = answer.headers().get("content-type").map(|value| value.to_str().unwrap());
    let given = given.map(|value| value.split(';').next().unwrap());
    match described["content"].as_object() {
        // What a push is answered with is asked for, and empty otherwise.
        Some(content) => {
            given.map_or(content.contains_key("multipart/mixed"), |given| content.contains_key(given))
        }
        None => given.is_none_or(|given| given == "text/plain"),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().unwrap().iter()
}

/// The path and the query of a request with every parameter's example.
fn example(path: &str, operation: &Value) -> String {
    let (mut path, mut query) = (path.to_owned(), Vec::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let text = |key: &str| parameter[key].as_str().unwrap();
        match text("in") {
            "path" => path = path.replace(&format!("{{{}}}", text("name")), text("example")),
            "query" => query.push(format!("{}={}", text("name"), text("example"))),
            _ => {}
        }
    }
    assert!(!path.contains('{'), "{path} has a parameter that is not described");
    if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
}

#[tokio::test]
async fn every_address_answers_as_its_description_says() {
    let servers = Servers::start().await;
    let foreign = [("origin", "http://elsewhere.example")];
    for (path, item) in entries(&http::openapi()["paths"]) {
        let listens: Vec<&str> = item["servers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|server| server["description"].as_str().unwrap())
            .collect();
        for (method, operation) in entries(item).filter(|(key, _)| *key != "servers") {
            let path = example(path, operation);
            for server in &listens {
                let mut got = vec![servers.answer(server, method, &path, &[]).await];
                if *server == "http.listen" {
                    got.push(servers.answer(server, method, &path, &foreign).await);
                }
                for answer in got {
                    let described = operation["responses"].get(answer.status().as_str());
                    let told = described.is_some_and(|described| is_described(&answer, described));
                    assert!(
                        told,
                        "{server} {method} {path} is answered with {answer:?}, described as {described:?}"
                    );
                }
            }
        }
    }
    servers.stop.cancel();
}

#[tokio::test]
async fn what_is_wrong_with_a_request_has_the_status_that_is_described() {
    let servers = Servers::start().await;
    let described = |path: &str, method: &str, status: StatusCode| {
        http::openapi()["paths"][path][method]["responses"].get(status.as_str()).is_some()
    };
    let push = "/live/{manifest}/{file}";
    let account = "/api/account/{account}";
    let table = [
        ("broadcaster.ingest", push, "post", "/live/cam/zero.ts", 400),
        ("broadcaster.ingest", push, "put", "/live/.cam/0.ts", 400),
        ("http.listen", "/events", "get", "/events?since=yesterday", 400),
        ("http.listen", account, "get", "/api/account/me", 404),
        ("http.listen", "/api/stake", "get", "/api/stake?amount=all", 404),
        ("broadcaster.ingest", "/hls/{path}", "get", "/hls/cam/secret.txt", 404),
    ];
    for (server, path, method, asked, want) in table {
        let status = servers.status(server, method, asked, &[]).await;
        assert_eq!(status.as_u16(), want, "{asked}");
        assert!(described(path, method, status), "{asked} is answered with {status}");
    }
    for server in ["http.listen", "broadcaster.ingest"] {
        assert_eq!(servers.status(server, "get", "/api/none", &[]).await, StatusCode::NOT_FOUND);
    }
    servers.stop.cancel();
}

/// The paths that a router knows. It tells them to nobody but those who debug it.
fn paths(router: &Router) -> BTreeSet<String> {
    let shown = format!("{router:?}");
    let quoted = shown.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    // What axum calls that which answers all the rest.
    let quoted = quoted.filter(|path| !path.contains("__private__axum_fallback"));
    quoted.map(|path| path.replace("{*", "{")).collect()
}

#[tokio::test]
async fn no_address_is_answered_that_is_not_described() {
    let stop = CancellationToken::new();
    let shown = Shown::new(Role::Broadcaster, "test", stop.clone());
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(ObjectStorage::folder(folder.path()).unwrap());
    let broadcaster = Broadcaster::builder()
        .network(Network::start(NetworkConfig::loopback()).await.unwrap())
        .store(store)
        .build()
        .await
        .unwrap();
    let push = PushIngest::new(broadcaster.clone(), PushConfig::default(), None);
    let routers = [
        ("http.listen", http::router(shown, Hosts::default())),
        ("broadcaster.ingest", http::ingest_router(&push, &broadcaster)),
    ];
    for (server, router) in routers {
        let served: BTreeSet<_> =
            paths(&router).into_iter().filter(|path| !OF_THE_PAGE.contains(&path.as_str())).collect();
        let described: BTreeSet<_> = entries(&http::openapi()["paths"])
            .filter(|(_, item)| {
                item["servers"].as_array().unwrap().iter().any(|of| of["description"] == server)
            })
            .map(|(path, _)| path.clone())
            .collect();
        assert_eq!(served, described, "{server}");
    }
    stop.cancel();
}

#[test]
fn the_description_is_openapi_as_others_read_it() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = crate_folder.join("../tools/node_modules");
    let validator = modules.join("@seriousme/openapi-schema-validator");
    assert!(validator.is_dir(), "no openapi-schema-validator: run scripts/setup chain");
    let judge = |document: &Value| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let output =
            Command::new("node").arg(validator.join("bin/validate-api-cli.js")).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (is_valid, said) = judge(&http::openapi());
    assert!(is_valid, "{said}");
    let mut wrong = http::openapi();
    wrong["paths"]["/healthz"]["get"].as_object_mut().unwrap().remove("responses");
    wrong["paths"]["/healthz"]["get"]["parameters"] = serde_json::json!([{ "name": "nowhere" }]);
    assert!(!judge(&wrong).0, "it takes everything");
}
