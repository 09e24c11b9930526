//! The description of all that a node answers over HTTP, as OpenAPI 3.1, made from the tables that its routers are made from.

use framemill_broadcaster::endpoint::{
    Answer, Endpoint, Operation, PUBLISHED, PUSH, Parameter, Place, answer,
};
use serde_json::{Map, Value, json};

use super::{GUARDED, OPEN};
use crate::dashboard::routes::ROUTES;

/// What the guard before everything but health may answer.
static BY_THE_GUARD: [Answer; 2] = [
    answer(403, "At `http.listen`: asked by a page of another origin"),
    answer(421, "At `http.listen`: asked under a name that is not known here; see `http.hosts`"),
];

/// Where packages and examples have a broadcaster's `http.listen`: unset, it is a free port, which nobody can ask.
const NODE_EXAMPLE: &str = "127.0.0.1:7935";

/// What a node answers at `http.listen`, and what its guard may answer instead.
pub(crate) fn endpoints() -> impl Iterator<Item = (&'static Endpoint, &'static [Answer])> {
    let open = OPEN.iter().map(|route| (&route.endpoint, [].as_slice()));
    open.chain(GUARDED.iter().chain(ROUTES).map(|route| (&route.endpoint, BY_THE_GUARD.as_slice())))
}

/// The OpenAPI document of this version.
pub fn openapi() -> Value {
    let (node, ingest) =
        (server("http.listen", NODE_EXAMPLE), server("broadcaster.ingest", "127.0.0.1:8935"));
    let mut paths = Map::new();
    let mut add = |path: &str, endpoint: &Endpoint, server: &Value, more: &[Answer]| {
        let path = path.replace("{*", "{");
        let item = paths.entry(path).or_insert_with(|| described(endpoint, more));
        match item["servers"].as_array_mut() {
            Some(servers) => servers.push(server.clone()),
            None => item["servers"] = json!([server]),
        }
    };
    for (endpoint, by_the_guard) in endpoints() {
        add(endpoint.path, endpoint, &node, by_the_guard);
    }
    add(PUSH.path, &PUSH, &ingest, &[]);
    add(&format!("/hls{}", PUBLISHED.path), &PUBLISHED, &ingest, &[]);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Framemill",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT or Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
            "description": "What a node answers: pushed segments and published files at `broadcaster.ingest`, metrics, health and the \
                            dashboard's questions at `http.listen`. Nothing at `http.listen` changes anything.",
        },
        "paths": paths,
    })
}

fn server(key: &str, default: &str) -> Value {
    json!({ "url": "http://{address}", "description": key, "variables": { "address": { "default": default, "description": key } } })
}

fn described(endpoint: &Endpoint, more: &[Answer]) -> Value {
    let operations = endpoint.operations.iter();
    operations.map(|operation| (operation.method.as_str().to_owned(), asked(operation, more))).collect()
}

fn asked(operation: &Operation, more: &[Answer]) -> Value {
    let answers = operation.answers.iter().chain(more);
    let answers: Map<String, Value> = answers.map(|given| (given.status.to_string(), said(given))).collect();
    let mut asked = json!({ "summary": operation.summary, "responses": answers });
    if !operation.parameters.is_empty() {
        asked["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if !operation.body.is_empty() {
        asked["requestBody"] = json!({ "required": true, "content": content(operation.body) });
    }
    asked
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "required": parameter.place == Place::Path,
        "description": parameter.about,
        "schema": { "type": "string" },
        "example": parameter.example,
    })
}

fn said(answer: &Answer) -> Value {
    match answer.body.is_empty() {
        true => json!({ "description": answer.about }),
        false => json!({ "description": answer.about, "content": content(answer.body) }),
    }
}

fn content(types: &[&str]) -> Value {
    types.iter().map(|media_type| ((*media_type).to_owned(), json!({}))).collect()
}
