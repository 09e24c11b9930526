//! Alerting rules and dashboards, against the metrics that there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use framemill_network::WireCode;
use serde_json::Value;

/// What each role counts, made from the registries.
const METRICS: &str = include_str!("../../../docs/reference/metrics.md");
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
        let mut cells = line.strip_prefix("| `framemill_").map(|_| line.split('|'))?;
        let name = quoted(cells.nth(1)?).next()?;
        Some((name, quoted(cells.nth(2)?).collect()))
    };
    METRICS.lines().filter_map(row).collect()
}

/// Whether a metric's label may have this value.
fn may_be(metric: &str, label: &str, value: &str) -> bool {
    METRICS.lines().any(|line| {
        let cells: Vec<_> = line.split('|').collect();
        let [_, of, metrics, values, _] = cells[..] else { return false };
        let on_the_wire = || WireCode::ALL.iter().any(|code| code.as_str() == value);
        quoted(of).eq([label])
            && quoted(metrics).any(|name| name == metric)
            && (quoted(values).any(|known| known == value) || values.contains("errors.md") && on_the_wire())
    })
}

/// What stands between backticks.
fn quoted(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split('`').skip(1).step_by(2)
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
        let found = [Some(name), histogram].into_iter().flatten().find(|name| known.contains_key(name));
        let metric = found.unwrap_or_else(|| panic!("there is no {name}: {expression}"));
        let labels = &known[metric];
        for matcher in matchers.split(',').map(str::trim).filter(|matcher| !matcher.is_empty()) {
            let label = word(matcher);
            assert!(
                labels.contains(&label) || TARGET_LABELS.contains(&label),
                "{name} has no {label}: {expression}"
            );
            let values = matcher.split('"').nth(1).unwrap();
            let ours = |value: &&str| !value.is_empty() && !value.starts_with('$');
            for value in values.split('|').filter(ours) {
                assert!(may_be(metric, label, value), "{metric} has no {label} of {value}: {expression}");
            }
        }
    }
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
