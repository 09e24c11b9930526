//! The compose file, as far as it can be checked without containers: its services call the binary as the binary wants to be called,
//! its files exist, and what asks for metrics asks where they are served.

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
use framemill_tests::workspace;
use serde_json::Value;

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
