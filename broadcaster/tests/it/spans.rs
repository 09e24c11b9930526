//! What whoever follows the process by `tracing` learns of each segment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use framemill_broadcaster::{SegmentReport, StreamEvent};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Act, Peer, Rig, stream_config};

/// A span with its values.
#[derive(Debug, Clone)]
struct Seen {
    name: &'static str,
    parent: Option<usize>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let earlier = self.fields.insert(field.name(), format!("{value:?}"));
        assert!(earlier.is_none(), "{} is told twice: {earlier:?}, {value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Every span in the order in which they began.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

/// Where a span stands among them.
struct Place(usize);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.extensions().get::<Place>().unwrap().0);
        let mut seen = Seen { name: span.name(), parent, fields: BTreeMap::new() };
        attributes.record(&mut seen);
        let mut all = self.0.lock().unwrap();
        span.extensions_mut().insert(Place(all.len()));
        all.push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let Place(place) = *span.extensions().get::<Place>().unwrap();
        values.record(&mut self.0.lock().unwrap()[place]);
    }
}

impl Spans {
    /// Follows what runs on this thread.
    fn follow() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let own = Targets::new().with_target("framemill_broadcaster", Level::DEBUG);
        let subscriber = tracing_subscriber::registry().with(spans.clone().with_filter(own));
        (spans, tracing::subscriber::set_default(subscriber))
    }

    fn called(&self, name: &str) -> Vec<Seen> {
        self.0.lock().unwrap().iter().filter(|seen| seen.name == name).cloned().collect()
    }

    fn get(&self, place: usize) -> Seen {
        self.0.lock().unwrap()[place].clone()
    }
}

fn reports(events: &[StreamEvent]) -> Vec<&SegmentReport> {
    let reports = events.iter().filter_map(|event| match event {
        StreamEvent::Segment(report) => Some(report),
        _ => None,
    });
    reports.collect()
}

fn assert_tells(seen: &Seen, report: &SegmentReport) {
    let timeline = report.timeline;
    let wanted = [
        ("stream", Some(report.stream.clone())),
        ("sequence", Some(report.sequence.to_string())),
        ("orchestrator", report.orchestrator.map(|account| account.to_string())),
        ("attempts", Some(report.attempts.len().to_string())),
        ("quote_ms", timeline.quote_ms.map(|at| at.to_string())),
        ("accepted_ms", timeline.accepted_ms.map(|at| at.to_string())),
        ("uploaded_ms", timeline.uploaded_ms.map(|at| at.to_string())),
        ("first_byte_ms", timeline.first_byte_ms.map(|at| at.to_string())),
        ("downloaded_ms", timeline.downloaded_ms.map(|at| at.to_string())),
        ("verified_ms", timeline.verified_ms.map(|at| at.to_string())),
        ("published_ms", timeline.published_ms.map(|at| at.to_string())),
        ("lost", report.lost.clone()),
    ];
    let wanted: BTreeMap<_, _> =
        wanted.into_iter().filter_map(|(field, value)| Some((field, value?))).collect();
    assert_eq!(seen.fields, wanted);
}

#[tokio::test]
async fn each_segment_has_a_span_with_the_stages_of_who_delivered_it() {
    let (spans, _guard) = Spans::follow();
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let (_, events) = rig.run(stream_config("cam"), 4).await;

    let segments = spans.called("segment");
    let reports = reports(&events);
    assert_eq!((segments.len(), reports.len()), (4, 4));
    for report in reports {
        let seen =
            segments.iter().find(|seen| seen.fields["sequence"] == report.sequence.to_string()).unwrap();
        assert!(report.timeline.published_ms.is_some(), "{report:?}");
        assert_tells(seen, report);
    }
    let inside = |seen: &Seen| spans.get(seen.parent.unwrap()).fields["sequence"].clone();
    let attempted: BTreeSet<_> = spans.called("attempt").iter().map(inside).collect();
    assert_eq!(attempted, ["0", "1", "2", "3"].map(str::to_owned).into());
}

#[tokio::test]
async fn attempts_that_fail_have_spans_in_that_of_their_segment() {
    let (spans, _guard) = Spans::follow();
    let peer = Peer::start(Act::FewerRenditions).await;
    let rig = Rig::new(&[&peer]).await;
    let (summary, events) = rig.run(stream_config("cam"), 1).await;
    assert_eq!(summary.totals.lost, 1);

    let segments = spans.called("segment");
    let report = reports(&events)[0];
    assert!(report.lost.is_some(), "{report:?}");
    assert_tells(&segments[0], report);
    let attempts = spans.called("attempt");
    assert_eq!(attempts.len(), report.attempts.len());
    for (seen, attempt) in attempts.iter().zip(&report.attempts) {
        assert_eq!(spans.get(seen.parent.unwrap()).fields["sequence"], "0");
        assert_eq!(seen.fields["orchestrator"], peer.account.to_string());
        assert_eq!(seen.fields["outcome"], attempt.result.summary());
        assert_eq!(
            seen.fields.get("verified_ms").cloned(),
            attempt.timeline.verified_ms.map(|at| at.to_string())
        );
    }
}
