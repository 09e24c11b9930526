//! Alerting rules and dashboards, against the metrics that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use framemill_network::WireCode;
use serde_json::Value;

/// What each role counts; tests of the roles' crates compare it with their registries.
const METRICS: &str = include_str!("../../../docs/metrics.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const RULES: &str = include_str!("../../alerts/framemill.rules.yml");
/// What Prometheus adds to the name of a histogram.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Labels that Prometheus gives every series.
const TARGET_LABELS: [&str; 3] = ["instance", "job", "le"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every metric with its labels.
fn metrics() -> BTreeMap<&'static str, Vec<&'static str>> {
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("| `framemill_").map(|_| line.split('|').map(str::trim))?;
        let name = cells.nth(1)?.trim_matches('`');
        let labels = cells.next()?.split_whitespace().map(|label| label.trim_matches('`'));
        Some((name, labels.collect()))
    };
    METRICS.lines().filter_map(row).collect()
}

/// The word that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The metrics that an expression names, each with what stands in its braces.
fn named(expression: &str) -> Vec<(&str, &str)> {
    let starts = expression.match_indices("framemill_").map(|(at, _)| at);
    let name = |at| {
        let found = word(&expression[at..]);
        let rest = &expression[at + found.len()..];
        let matchers =
            rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inner, _)| inner);
        (found, matchers)
    };
    starts.map(name).collect()
}

fn assert_known(expression: &str) {
    let known = metrics();
    for (name, matchers) in named(expression) {
        let histogram = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
        let labels = known.get(name).or_else(|| known.get(histogram?));
        let labels = labels.unwrap_or_else(|| panic!("{name} is in no row of docs/metrics.md: {expression}"));
        for matcher in matchers.split(',').map(str::trim).filter(|matcher| !matcher.is_empty()) {
            let label = word(matcher);
            assert!(
                labels.contains(&label) || TARGET_LABELS.contains(&label),
                "{name} has no {label}: {expression}"
            );
            let values = matcher.split('"').nth(1).unwrap();
            let ours = |value: &&str| !value.is_empty() && !value.starts_with('$');
            values.split('|').filter(ours).for_each(|value| assert_value(value, expression));
        }
    }
}

/// Values are those of the page, or codes of the wire, which it refers to.
fn assert_value(value: &str, expression: &str) {
    let on_the_wire = (1..100).any(|number| WireCode::from_number(number).as_str() == value);
    assert!(METRICS.contains(&format!("`{value}`")) || on_the_wire, "there is no {value}: {expression}");
}

fn rules(key: &str) -> Vec<&'static str> {
    let value = |line: &'static str| line.trim().trim_start_matches("- ").strip_prefix(key);
    RULES.lines().filter_map(value).map(|text| text.trim().trim_matches(['\'', '"'])).collect()
}

#[test]
fn rules_ask_for_metrics_labels_and_values_that_there_are() {
    let expressions = rules("expr:");
    assert!(expressions.len() > 20, "{expressions:?}");
    expressions.into_iter().for_each(assert_known);
}

#[test]
fn operations_page_says_of_each_alert_what_to_do_and_of_no_other() {
    let alerts: BTreeSet<_> = rules("alert:").into_iter().collect();
    let sections: BTreeSet<_> = OPERATIONS.lines().filter_map(|line| line.strip_prefix("#### ")).collect();
    assert_eq!(alerts, sections);
    for (alert, anchor) in rules("alert:").into_iter().zip(rules("remedy:")) {
        assert_eq!(anchor, format!("docs/operations.md#{}", alert.to_lowercase()));
    }
}

/// Every query of a dashboard.
fn queries(of: &Value, found: &mut Vec<String>) {
    match of {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| queries(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[test]
fn each_role_has_a_dashboard_of_all_that_it_counts() {
    for role in ["broadcaster", "orchestrator", "transcoder"] {
        let text = std::fs::read_to_string(folder("grafana").join(role).with_extension("json")).unwrap();
        let mut found = Vec::new();
        queries(&serde_json::from_str(&text).unwrap(), &mut found);
        found.iter().for_each(|query| assert_known(query));
        let text = found.join("\n");
        let own = format!("framemill_{role}_");
        for name in
            metrics().keys().filter(|name| name.starts_with(&own) || name.starts_with("framemill_config_"))
        {
            assert!(text.contains(name), "the {role}'s dashboard does not show {name}");
        }
    }
}

/// Prometheus' own tool: of `$FRAMEMILL_TOOLS`, of `scripts/setup prometheus`, or of this machine.
fn promtool() -> PathBuf {
    let configured = std::env::var_os("FRAMEMILL_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH");
    let path = path.iter().flat_map(std::env::split_paths);
    let places = configured.into_iter().chain([folder("../.tools/bin")]).chain(path);
    places
        .map(|place| place.join("promtool"))
        .find(|file| file.is_file())
        .expect("no promtool: run scripts/setup prometheus")
}

#[test]
fn prometheus_takes_the_rules_and_each_alert_fires_when_it_should() {
    for arguments in [["check", "rules", "framemill.rules.yml"], ["test", "rules", "framemill.test.yml"]] {
        let output = Command::new(promtool()).args(arguments).current_dir(folder("alerts")).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
    }
}

#[test]
fn every_alert_has_a_test_of_when_it_fires() {
    let tested = std::fs::read_to_string(folder("alerts/framemill.test.yml")).unwrap();
    for alert in rules("alert:") {
        assert!(tested.contains(&format!("alertname: {alert}\n")), "nothing shows when {alert} fires");
    }
}
