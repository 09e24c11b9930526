//! The tree explains itself: dependency arrows point down, and every crate is one sentence, told once.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::Value;

/// Which floor each crate stands on; an arrow may only point to a lower one.
const FLOORS: &[(&str, u8)] = &[
    ("framemill-media", 1),
    ("framemill-gpu", 1),
    ("probabilistic-ticket", 1),
    ("framemill-contracts", 1),
    ("framemill-network", 1),
    ("framemill-transcoder", 2),
    ("framemill-verification", 2),
    ("framemill-broadcaster", 3),
    ("framemill-orchestrator", 3),
    ("framemill", 4),
    ("framemill-tests", 5),
];

/// What an embedded broadcaster must not pull in: the command line and the node.
const NOT_IN_AN_EMBEDDED_BROADCASTER: &[&str] = &["clap", "indicatif", "framemill", "framemill-orchestrator"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace")
}

fn metadata(no_deps: bool) -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(["metadata", "--format-version=1", "--locked"]);
    if no_deps {
        command.arg("--no-deps");
    }
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a string in {value}"))
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("packages")
}

#[test]
fn dependency_arrows_point_down() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let metadata = metadata(true);
    let mut upward = Vec::new();
    for package in packages(&metadata) {
        let name = text(package, "name");
        let floor =
            floors.get(name).unwrap_or_else(|| panic!("crate {name} has no floor: give it one in FLOORS"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            // A test may use a neighbour; what is shipped may not.
            if dependency["kind"].as_str() == Some("dev") {
                continue;
            }
            let target = text(dependency, "name");
            if floors.get(target).is_some_and(|below| below >= floor) {
                upward.push(format!("{name} -> {target}"));
            }
        }
    }
    assert!(upward.is_empty(), "these edges do not point down: {upward:?}");
    assert_eq!(packages(&metadata).len(), FLOORS.len(), "FLOORS names a crate that does not exist");
}

#[test]
fn embedding_the_broadcaster_pulls_in_no_command_line() {
    let metadata = metadata(false);
    let names: BTreeMap<_, _> =
        packages(&metadata).iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    let nodes: BTreeMap<_, _> =
        metadata["resolve"]["nodes"].as_array().expect("nodes").iter().map(|n| (text(n, "id"), n)).collect();
    let start = names.iter().find(|(_, name)| **name == "framemill-broadcaster").expect("the broadcaster").0;
    let mut seen = std::collections::BTreeSet::new();
    let mut open = vec![*start];
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in nodes[id]["deps"].as_array().expect("deps") {
            let kinds = dependency["dep_kinds"].as_array().expect("dep_kinds");
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                open.push(text(dependency, "pkg"));
            }
        }
    }
    let found: Vec<_> = seen
        .iter()
        .map(|id| names[id])
        .filter(|name| NOT_IN_AN_EMBEDDED_BROADCASTER.contains(name))
        .collect();
    assert!(found.is_empty(), "an embedded broadcaster pulls in {found:?}");
}

#[test]
fn every_crate_is_one_sentence_told_once() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    for package in packages(&metadata(true)) {
        let name = text(package, "name");
        let sentence = text(package, "description");
        let folder = Path::new(text(package, "manifest_path")).parent().expect("a manifest has a folder");
        let folder =
            folder.strip_prefix(root()).expect("a member lies in the workspace").display().to_string();
        assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{name}: not one sentence: {sentence}");
        let library = package["targets"]
            .as_array()
            .and_then(|targets| targets.iter().find(|t| t["kind"][0] == "lib"))
            .unwrap_or_else(|| panic!("{name} has no library"));
        let source = std::fs::read_to_string(text(library, "src_path")).expect("the library's source");
        assert_eq!(
            source.lines().next(),
            Some(format!("//! {sentence}").as_str()),
            "{name}: first line of its library"
        );
        let row = format!("| `{folder}/` | {sentence} |");
        assert!(readme.contains(&row), "{name}: README.md has no row {row}");
    }
}
