//! The node's metrics as JSON, for the page to pick from.

use prometheus::{Registry, proto::MetricType};
use serde_json::{Map, Value, json};

/// Every counter and gauge, and sum and count of every histogram. Their labels are closed sets, so they are few.
pub(super) fn of(registry: &Registry) -> Value {
    let mut found = Vec::new();
    for family in registry.gather() {
        for metric in family.get_metric() {
            let labels = metric.get_label().iter();
            let labels: Map<_, _> =
                labels.map(|label| (label.name().to_owned(), json!(label.value()))).collect();
            let mut put = |suffix: &str, value: f64| {
                found.push(json!({
                    "name": format!("{}{suffix}", family.name()),
                    "help": family.help(),
                    "labels": labels,
                    "value": value,
                }));
            };
            match family.get_field_type() {
                MetricType::COUNTER => put("", metric.get_counter().get_value()),
                MetricType::GAUGE => put("", metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => {
                    put("_sum", metric.get_histogram().get_sample_sum());
                    put("_count", metric.get_histogram().get_sample_count() as f64);
                }
                _ => {}
            }
        }
    }
    found.into()
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts};

    use super::*;

    #[test]
    fn counters_keep_their_labels_and_histograms_come_as_sum_and_count() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("made_total", "Made."), &["how"]).unwrap();
        let histogram = Histogram::with_opts(HistogramOpts::new("seconds", "Took.")).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        counter.with_label_values(&["well"]).inc_by(3);
        histogram.observe(1.5);
        let found = of(&registry);
        let named =
            |name: &str| found.as_array().unwrap().iter().find(|metric| metric["name"] == name).cloned();
        let made = named("made_total").unwrap();
        assert_eq!((&made["labels"]["how"], &made["value"]), (&json!("well"), &json!(3.0)));
        assert_eq!(named("seconds_sum").unwrap()["value"], json!(1.5));
        assert_eq!(named("seconds_count").unwrap()["value"], json!(1.0));
    }
}
