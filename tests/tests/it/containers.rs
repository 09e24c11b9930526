//! The compose file, as far as it can be checked without containers: its services call the binary as the binary wants to be called,
//! its files exist, what asks for metrics asks where they are served, and its commands make a market where they are run in their
//! order, with folders for the volumes and one network for all.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser as _;
use framemill::{
    cli::{Cli, Command as Called},
    config::Sources,
};
use framemill_tests::{skipped, workspace};
use serde_json::Value;

use crate::apart;

/// Ports that programs of others listen on by themselves: Prometheus and Grafana.
const OTHERS: [&str; 2] = ["9090", "3000"];

fn folder() -> PathBuf {
    workspace().join("packaging/docker")
}

/// A YAML file as JSON, read by Debian's parser.
fn yaml(name: &str) -> Value {
    let read = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";
    let file = std::fs::File::open(folder().join(name)).unwrap();
    let output = Command::new("python3").args(["-c", read]).stdin(file).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap().iter()
}

/// The command lines of Framemill's own containers.
fn called(compose: &Value) -> Vec<Cli> {
    let own = services(compose).filter(|(_, service)| service["image"] == "framemill");
    own.map(|(name, service)| {
        let line = std::iter::once("framemill").chain(texts(&service["command"]));
        Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{name}: {error}"))
    })
    .collect()
}

#[test]
fn the_market_of_the_compose_file_has_one_node_of_each_role() {
    let called = called(&yaml("compose.yaml"));
    let is = |role: fn(&Called) -> bool| called.iter().filter(|cli| role(&cli.command)).count();
    assert_eq!(is(|role| matches!(role, Called::Devnet(_))), 1);
    assert_eq!(is(|role| matches!(role, Called::Broadcaster)), 1);
    assert_eq!(is(|role| matches!(role, Called::Orchestrator)), 1);
    assert_eq!(is(|role| matches!(role, Called::Transcoder(_))), 1);
    assert_eq!(called.len(), 4);
}

#[test]
fn what_the_compose_file_sets_exists_and_prometheus_asks_where_metrics_are_served() {
    let mut served = Vec::new();
    for cli in called(&yaml("compose.yaml")) {
        let sources = Sources { flags: cli.common.set, ..Sources::default() };
        let settings = sources.settings().unwrap();
        let listen = settings["http.listen"].value.as_str().unwrap();
        if !matches!(cli.command, Called::Devnet(_)) {
            served.push(listen.replace("0.0.0.0", "127.0.0.1"));
        }
    }
    let prometheus = yaml("prometheus.yaml");
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let mut asked: Vec<_> = jobs.iter().flat_map(|job| texts(&job["static_configs"][0]["targets"])).collect();
    served.sort();
    asked.sort();
    assert_eq!(served, asked);
}

#[test]
fn files_and_ports_that_the_compose_file_names_exist() {
    let compose = yaml("compose.yaml");
    for (name, service) in services(&compose) {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap();
            let exists = match source.starts_with('.') {
                true => folder().join(source).exists(),
                false => compose["volumes"].get(source).is_some(),
            };
            assert!(exists, "{name}: there is no {source}");
        }
        if let Some(build) = service["build"].as_object() {
            let context = folder().join(build["context"].as_str().unwrap());
            assert!(context.join(build["dockerfile"].as_str().unwrap()).is_file(), "{name}");
        }
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to the network");
        }
    }
}

#[test]
fn the_image_calls_scripts_that_exist() {
    let text = std::fs::read_to_string(folder().join("Dockerfile")).unwrap();
    let scripts: Vec<_> = text.split_whitespace().filter(|word| word.starts_with("scripts/")).collect();
    assert!(scripts.contains(&"scripts/package"), "{scripts:?}");
    for script in scripts {
        assert!(Path::new(workspace()).join(script).is_file(), "{script}");
    }
}

fn dockerfile() -> String {
    std::fs::read_to_string(folder().join("Dockerfile")).unwrap()
}

/// What the Dockerfile says by an instruction the last time.
fn instruction<'a>(dockerfile: &'a str, name: &str) -> &'a str {
    dockerfile.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap()
}

#[test]
fn the_image_exposes_what_nodes_listen_on_where_nothing_else_is_set() {
    let settings = Sources::default().settings().unwrap();
    let set = |key: &str| settings[key].value.to_string();
    let text = dockerfile();
    for port in instruction(&text, "EXPOSE").split_whitespace() {
        let (number, kind) = port.split_once('/').unwrap();
        let by_peers = set("network.listen").contains(&format!("/{kind}/{number}"));
        assert!(
            by_peers || set("broadcaster.ingest").contains(&format!(":{number}")),
            "nothing listens on {port}"
        );
    }
}

#[test]
fn tools_of_the_images_are_those_that_tests_use() {
    let compose = yaml("compose.yaml");
    let foundry = compose["services"]["chain"]["image"].as_str().unwrap().rsplit(":v").next().unwrap();
    let tools = std::fs::read(workspace().join("tools/package.json")).unwrap();
    let tools: Value = serde_json::from_slice(&tools).unwrap();
    assert_eq!(tools["dependencies"]["@foundry-rs/anvil-linux-amd64"], foundry);
    let text = dockerfile();
    let rust = text.split("FROM rust:").nth(1).unwrap().split('-').next().unwrap();
    let cargo = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(cargo.contains(&format!("rust-version = \"{rust}")), "the image builds with Rust {rust}");
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The command line of a service, with folders here for its volumes.
fn line(service: &Value, image: &[&str]) -> String {
    let own = texts(&service["entrypoint"]);
    let entrypoint = if own.is_empty() { image.to_vec() } else { own };
    let words = entrypoint.into_iter().chain(texts(&service["command"])).map(|word| {
        let mut word = word.replace("$$", "$");
        for volume in texts(&service["volumes"]).into_iter().filter(|volume| !volume.starts_with('.')) {
            let (name, place) = volume.split_once(':').unwrap();
            word = word.replace(place, &format!("../{name}"));
        }
        quoted(&word)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Names of services, each after those that it waits for.
fn in_order(compose: &Value) -> Vec<&str> {
    let mut order: Vec<&str> = Vec::new();
    let all = compose["services"].as_object().unwrap();
    while order.len() < all.len() {
        let ready = all.iter().find(|(name, service)| {
            let waits = match &service["depends_on"] {
                Value::Object(waits) => waits.keys().map(String::as_str).collect(),
                list => texts(list),
            };
            !order.contains(&name.as_str()) && waits.iter().all(|name| order.contains(name))
        });
        order.push(ready.expect("services wait for each other in a circle").0);
    }
    order
}

/// The services that can be run here, as a script: the chain of Foundry and the node's own.
fn commands(compose: &Value) -> String {
    let text = dockerfile();
    let image: Vec<String> = serde_json::from_str(instruction(&text, "ENTRYPOINT")).unwrap();
    let image: Vec<_> = image.iter().map(String::as_str).collect();
    let mut script =
        "ip link set lo up\nset -euo pipefail\nmkdir ../chain ../market\ncd ../market\n".to_owned();
    for name in in_order(compose) {
        let service = &compose["services"][name];
        let is_ours = service["image"] == "framemill";
        if !is_ours && name != "chain" {
            continue;
        }
        let is_awaited = services(compose)
            .any(|(_, other)| other["depends_on"][name]["condition"] == "service_completed_successfully");
        script += &format!("{}{}\n", line(service, &image), if is_awaited { "" } else { " &" });
        if let [_, test @ ..] = &texts(&service["healthcheck"]["test"])[..] {
            let test: Vec<_> = test.iter().copied().map(quoted).collect();
            script += &format!("until {}; do sleep 0.2; done\n", test.join(" "));
        }
    }
    script
}

#[test]
fn the_commands_of_the_compose_file_make_a_market_that_takes_a_segment() {
    if let Err(reason) = apart::is_possible() {
        return skipped(&format!("no network namespace can be made here: {reason}"));
    }
    let compose = yaml("compose.yaml");
    let published: Vec<_> = services(&compose)
        .flat_map(|(_, service)| texts(&service["ports"]))
        .map(|port| port.rsplit(':').next().unwrap())
        .filter(|port| !OTHERS.contains(port))
        .collect();
    let script = format!(
        "{}
        for port in {}; do
            until ss --no-header --listening --tcp --numeric \"sport = :$port\" | grep --quiet .; do sleep 0.2; done
        done
        for port in 7935 7937 7938; do until curl --fail --silent http://127.0.0.1:$port/readyz; do sleep 0.2; done; done
        ffmpeg -loglevel error -f lavfi -i testsrc2=size=640x360:rate=10 -t 2 -pix_fmt yuv420p -c:v libx264 \
            -preset veryfast -f mpegts 0.ts
        curl --fail --silent --show-error --data-binary @0.ts http://127.0.0.1:8935/live/first/0.ts
        curl --fail --silent --show-error http://127.0.0.1:8935/hls/first/master.m3u8 | grep RESOLUTION
        {}",
        commands(&compose),
        published.join(" "),
        // What was set up stays as it is when all is started again.
        line(&compose["services"]["market"], &["framemill"]),
    );
    apart::run(&script).unwrap_or_else(|why| panic!("{why}\n{script}"));
}
