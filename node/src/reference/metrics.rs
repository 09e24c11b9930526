//! What each role counts, from the registries themselves: every series that there may be is made and gathered.

use std::collections::{BTreeMap, BTreeSet};

use framemill_network::WireCode;
use prometheus::{
    Registry,
    proto::{MetricFamily, MetricType},
};

use super::{code, table};
use crate::reload;

const INTRODUCTION: &str = "# Metrics

Each role serves these in Prometheus' text form at `/metrics` of `http.listen`. Names end in their unit, those of counters in `_total`,
and every label has a closed set of values: never a stream, a peer or an address. [operations.md](../operations.md) has alerting rules
and dashboards made of them.
";

/// What a list of columns cannot say.
const EVERY_ROLE: &str = "
A configuration that was `refused` is wrong, and one that asks for a `restart` has changed what only a start can take; of neither
anything was taken, and the log says more ([operations.md](../operations.md)).
";

const BROADCASTER: &str = "
An attempt is `refused` before the upload, `outpaced` when another was faster ([selection.md](../selection.md)), and `rejected` by the
checks. A segment that a further store has `missed` is a gap there ([egress.md](../egress.md)). A rendition that was drawn to be held
against a second encode `met` its quality or is `below` it; it is `skipped` where the machine has better to do.
`framemill_broadcaster_sampling_share_ratio` is 1 unless verification cannot keep up; then it halves step by step, and with it the rates
of adaptive streams; below a sixty-fourth, the floor, too ([economics.md](../economics.md)).
";

const ORCHESTRATOR: &str = "
Tickets that are `won` are counted among the `accepted`, too. A reward `failed` when one attempt did not succeed, which is repeated, and
is `missed` when its round ended before it was called for, and lost.

Alert on `framemill_orchestrator_reward_at_risk == 1`: a quarter of the round or less is left and the call is not mined; look at the
account's balance, the price of gas against `chain.max_fee_per_gas_wei`, and the endpoints. Alert on
`framemill_orchestrator_jury_vote_at_risk == 1`, too: a quarter of the blocks or less are left to commit to a vote or to show it, or the
vote is not in the file of votes, and a seat without a vote loses stake; the log names the dispute and what is left.
";

const TRANSCODER: &str = "
An engine is called by the index of its card; what others made in a card's place counts as the card's. `transcoding_sm` is what
transcoding takes of `sm`. Figures that a card does not tell are not there. [miner.md](../miner.md#mining-beside) has the reasons for
offering less.
";

/// Units by the end of a name, longest first.
const UNITS: [(&str, &str); 7] = [
    ("_pixels_per_second", "pixels per second"),
    ("_seconds", "seconds"),
    ("_pixels", "pixels"),
    ("_bytes", "bytes"),
    ("_celsius", "degrees Celsius"),
    ("_watts", "watts"),
    ("_ratio", "0 to 1"),
];

/// The metrics of one role, or of all.
struct Part {
    title: &'static str,
    series: Registry,
    notes: &'static str,
}

/// Which metrics have a label with exactly these values.
type Labels = BTreeMap<(String, BTreeSet<String>), Vec<String>>;

/// The page.
///
/// # Errors
/// A metric is defined wrongly.
pub(super) fn markdown() -> anyhow::Result<String> {
    Ok(parts()?.iter().fold(INTRODUCTION.to_owned(), |text, part| text + &section(part)))
}

fn parts() -> anyhow::Result<[Part; 4]> {
    Ok([
        Part { title: "Every role", series: reload::every_series()?, notes: EVERY_ROLE },
        Part { title: "Broadcaster", series: framemill_broadcaster::every_series()?, notes: BROADCASTER },
        Part { title: "Orchestrator", series: framemill_orchestrator::every_series()?, notes: ORCHESTRATOR },
        Part { title: "Transcoder", series: framemill_transcoder::every_series()?, notes: TRANSCODER },
    ])
}

fn section(part: &Part) -> String {
    let families = part.series.gather();
    let metrics = table(["metric", "type", "unit", "labels", "meaning"], families.iter().map(row));
    let values = labels(&families).into_iter().map(|((label, values), metrics)| {
        let metrics: Vec<_> = metrics.iter().map(|name| code(name)).collect();
        [code(&label), metrics.join(", "), shown(&values)]
    });
    let values = table(["label", "of", "values"], values);
    format!("\n## {}\n\n{metrics}\n{values}{}", part.title, part.notes)
}

fn row(family: &MetricFamily) -> [String; 5] {
    let first = family.get_metric().first();
    let labels = first.iter().flat_map(|metric| metric.get_label()).map(|label| code(label.name()));
    let labels: Vec<_> = labels.collect();
    [
        code(family.name()),
        kind(family).to_owned(),
        unit(family.name()).to_owned(),
        labels.join(" "),
        family.help().to_owned(),
    ]
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        _ => "other",
    }
}

fn unit(name: &str) -> &'static str {
    let base = name.strip_suffix("_total").unwrap_or(name);
    UNITS.iter().find(|(end, _)| base.ends_with(end)).map_or("", |(_, unit)| unit)
}

fn labels(families: &[MetricFamily]) -> Labels {
    let mut labels = Labels::new();
    for family in families {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for label in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
            values.entry(label.name().to_owned()).or_default().insert(label.value().to_owned());
        }
        for of_one in values {
            labels.entry(of_one).or_default().push(family.name().to_owned());
        }
    }
    labels
}

/// The values of a label; the codes of the wire have a page of their own.
fn shown(values: &BTreeSet<String>) -> String {
    let codes: BTreeSet<_> = WireCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    if !codes.is_subset(values) {
        return values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", ");
    }
    let others: Vec<_> = values.difference(&codes).map(|value| code(value)).collect();
    format!("{}, or the code of the refusal [on the wire](errors.md)", others.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    /// What stands between backticks.
    fn quoted(text: &str) -> impl Iterator<Item = &str> {
        text.split('`').skip(1).step_by(2)
    }

    #[test]
    fn what_is_written_beside_the_tables_names_only_what_is_in_them() {
        for part in parts().expect("every metric can be made") {
            let families = part.series.gather();
            let metrics = families.iter().map(|family| family.name().to_owned());
            let mut known: BTreeSet<_> = metrics.collect();
            known.extend(labels(&families).into_keys().flat_map(|(_, values)| values));
            known.extend(KEYS.iter().map(|key| key.path.to_owned()));
            for name in quoted(part.notes) {
                let name = name.split(' ').next().unwrap_or_default();
                assert!(known.contains(name), "{}: there is no {name}", part.title);
            }
        }
    }

    #[test]
    fn a_metric_has_one_type_and_the_unit_that_its_name_ends_in() {
        assert_eq!(unit("framemill_transcoder_capacity_pixels_per_second"), "pixels per second");
        assert_eq!(unit("framemill_broadcaster_source_bytes_total"), "bytes");
        assert_eq!(unit("framemill_broadcaster_streams"), "");
        for part in parts().expect("every metric can be made") {
            for family in part.series.gather() {
                let counts = family.name().ends_with("_total");
                assert_eq!(kind(&family) == "counter", counts, "{}", family.name());
                assert_ne!(kind(&family), "other", "{}", family.name());
            }
        }
    }
}
