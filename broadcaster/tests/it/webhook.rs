//! The webhook that decides who may push, asked over HTTP: what it may grant, and that nothing but a grant lets anybody in.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use framemill_broadcaster::{
    AuthRequest, AuthWebhook, BroadcasterConfig, ObjectStorage, PushAuth, SamplingConfig, StreamEvent,
};
use framemill_verification::Policy;
use framemill_verification::policy::attention::AttentionConfig;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::subscriber::DefaultGuard;

use crate::push::Ingest;
use crate::support::{Act, Peer, Rig, segments};

/// Longer than any answer takes on a busy machine, where one is expected.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the platform's service answers.
#[derive(Clone)]
enum Answer {
    Text(u16, Bytes),
    /// To its own door behind, which lets everybody in.
    Redirect(u16),
    /// Never.
    Silence,
    /// It begins to, and does not go on.
    Half,
}

impl Answer {
    fn json(value: Value) -> Self {
        Self::Text(200, value.to_string().into())
    }

    fn text(status: u16, text: &'static str) -> Self {
        Self::Text(status, Bytes::from_static(text.as_bytes()))
    }

    async fn give(self) -> Response {
        match self {
            Self::Text(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
            Self::Redirect(status) => {
                (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, "/open")]).into_response()
            }
            Self::Silence => std::future::pending().await,
            Self::Half => {
                let begun = futures::stream::iter([Ok::<_, std::io::Error>("{")]);
                Body::from_stream(begun.chain(futures::stream::pending())).into_response()
            }
        }
    }
}

/// How a service answers from now on, and what it was asked.
struct Script {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Value>>,
}

async fn hook(State(script): State<Arc<Script>>, Json(asked): Json<Value>) -> Response {
    script.asked.lock().unwrap().push(asked);
    let answer = script.answer.lock().unwrap().clone();
    answer.give().await
}

/// A platform's web service.
struct Service {
    script: Arc<Script>,
    url: String,
    /// It has threads of its own: its connections are served by tasks of theirs, and end with these.
    serving: Option<Runtime>,
}

impl Service {
    fn start(answer: Answer) -> Self {
        let script = Arc::new(Script { answer: Mutex::new(answer), asked: Mutex::default() });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/hook?secret=of-the-platform", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hook", post(hook))
            .route("/open", axum::routing::any(|| async { "{}" }))
            .with_state(Arc::clone(&script));
        let serving =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        serving.spawn(async move {
            axum::serve(TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
        Self { script, url, serving: Some(serving) }
    }

    fn answers(&self, answer: Answer) {
        *self.script.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> Vec<Value> {
        self.script.asked.lock().unwrap().clone()
    }

    fn webhook(&self, patience: Duration) -> Arc<dyn PushAuth> {
        Arc::new(AuthWebhook::new(&self.url).unwrap().patience(patience))
    }

    /// From now on nobody listens at its address, and nobody answers on what connections there are.
    async fn leave(mut self) {
        let serving = self.serving.take();
        tokio::task::spawn_blocking(move || drop(serving)).await.unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.shutdown_background();
        }
    }
}

struct Stage {
    service: Service,
    ingest: Ingest,
    bodies: Vec<Bytes>,
}

impl Stage {
    async fn new(answer: Answer) -> Self {
        let peer = Peer::start(Act::Honest).await;
        Self::on(Rig::new(&[&peer]).await, answer).await
    }

    async fn on(rig: Rig, answer: Answer) -> Self {
        let service = Service::start(answer);
        let ingest = Ingest::at(rig, Some(service.webhook(PATIENCE)), |_| {}).await;
        let bodies = segments(2).into_iter().map(|segment| segment.data).collect();
        Self { service, ingest, bodies }
    }

    /// Pushes the segment of this number; the status and what the pusher reads.
    async fn push(&self, number: usize, folder: &str) -> (u16, String) {
        let path = format!("/live/{folder}/{number}.ts?key=1");
        let (status, text) = self.ingest.post(&path, self.bodies[number].clone()).await;
        (status.as_u16(), text)
    }

    fn published(&self, path: &str) -> bool {
        self.ingest.rig.folder.path().join(path).exists()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_word_lets_in_and_the_question_has_address_and_name() {
    let stage = Stage::new(Answer::text(204, "")).await;
    assert_eq!(stage.push(0, "cam").await.0, 200);
    assert_eq!(stage.push(1, "cam").await.0, 200);
    stage
        .service
        .answers(Answer::json(json!({ "manifestID": "other", "sessionID": "what others make of it" })));
    let status = stage.ingest.post_as("other", "/live/cam/0.ts", stage.bodies[0].clone()).await;
    assert_eq!(status, StatusCode::OK);
    let asked = [
        json!({ "url": "/live/cam/0.ts?key=1", "manifestID": "cam" }),
        json!({ "url": "/live/cam/0.ts", "manifestID": "other" }),
    ];
    assert_eq!(stage.service.asked(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_the_stream_and_sets_its_ladder() {
    let profile = json!({ "name": "tiny", "width": 160, "height": 90, "bitrate": 100_000, "fps": 0 });
    let stage = Stage::new(Answer::json(json!({ "manifestID": "front", "profiles": [profile] }))).await;
    assert_eq!(stage.push(0, "cam").await, (200, String::new()));
    assert!(stage.published("front/tiny/0.ts") && !stage.published("front/144p/0.ts"));
    assert_eq!(stage.ingest.rig.broadcaster.streams(), ["front"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_sets_how_deep_results_are_checked() {
    let peer = Peer::start(Act::Honest).await;
    // Pictures are trusted blindly after a single clean look, so that both ends are seen.
    let attention = AttentionConfig {
        floor: Policy::STRUCTURE_ONLY,
        patience: 1,
        borderline_permille: 1_001,
        ..AttentionConfig::default()
    };
    let config = BroadcasterConfig {
        orchestrators: vec![(peer.account, peer.service()).into()],
        sampling: SamplingConfig { attention, max_waiting: 100, ..SamplingConfig::default() },
        verify_queue: 100,
        ..BroadcasterConfig::default()
    };
    let rig = Rig::with(&[], |builder| builder.config(config)).await;
    let mut events = rig.broadcaster.events();
    let stage = Stage::on(rig, Answer::json(json!({ "verification": "adaptive" }))).await;
    assert_eq!((stage.push(0, "cam").await.0, stage.push(1, "cam").await.0), (200, 200));
    stage.service.answers(Answer::json(json!({ "verification": "full" })));
    assert_eq!(stage.push(0, "studio").await.0, 200);
    let mut tiers = Vec::new();
    while tiers.len() < 3 {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("three segments");
        if let Some((stream, StreamEvent::Segment(report))) = event {
            tiers.push((stream, report.tier));
        }
    }
    let told = |stream: &str, tier| (stream.to_owned(), Some(tier));
    assert_eq!(tiers, [told("cam", 2), told("cam", 0), told("studio", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_chooses_among_the_further_stores() {
    let peer = Peer::start(Act::Honest).await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let store = |index: usize| Arc::new(ObjectStorage::folder(folders[index].path()).unwrap());
    let rig =
        Rig::with(&[&peer], |builder| builder.copy_to("s3", store(0)).copy_to("archive", store(1))).await;
    let stage = Stage::on(rig, Answer::text(200, "")).await;
    for (name, answer) in
        [("all", json!({})), ("kept", json!({ "copyTo": ["archive"] })), ("none", json!({ "copyTo": [] }))]
    {
        stage.service.answers(Answer::json(answer));
        assert_eq!(stage.push(0, name).await, (200, String::new()));
        assert!(stage.published(&format!("{name}/144p/0.ts")), "the first store gets every stream");
    }
    // The ends of the streams wait for what is on its way to a store.
    stage.ingest.ingest.finish().await;
    let there = |index: usize, name: &str| folders[index].path().join(name).join("144p/0.ts").exists();
    let found = ["all", "kept", "none"].map(|name| (there(0, name), there(1, name)));
    assert_eq!(found, [(true, true), (false, true), (false, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_grant_lets_nobody_in_and_tells_the_pusher_nothing_of_the_service() {
    let stage = Stage::new(Answer::text(200, "")).await;
    let padded = |inner: &str| Answer::Text(200, format!("{inner}{}", " ".repeat(64 << 10)).into());
    let refusals = ["not allowed by the auth webhook", "no usable answer"];
    let table = [
        ("refused", Answer::text(403, "you owe us money"), 0),
        ("refused", Answer::text(401, "{\"manifestID\":\"cam\"}"), 0),
        ("no such page", Answer::text(404, "{}"), 1),
        ("broken", Answer::text(500, "{}"), 1),
        ("redirected", Answer::Redirect(302), 1),
        ("redirected with its question", Answer::Redirect(307), 1),
        ("a page", Answer::text(200, "<html>log in</html>"), 1),
        ("cut off", Answer::text(200, "{\"manifestID\":\"cam\""), 1),
        ("a list", Answer::text(200, "[]"), 1),
        ("null", Answer::text(200, "null"), 1),
        ("no text", Answer::Text(200, Bytes::from_static(b"{\"manifestID\":\"\xff\"}")), 1),
        ("a number as name", Answer::json(json!({ "manifestID": 7 })), 1),
        ("a path as name", Answer::json(json!({ "manifestID": "../cam" })), 1),
        ("an unknown preset", Answer::json(json!({ "presets": ["P9999p"] })), 1),
        ("no bit rate", Answer::json(json!({ "profiles": [{ "height": 90 }] })), 1),
        ("an unknown verification", Answer::json(json!({ "verification": "none" })), 1),
        ("an unknown store", Answer::json(json!({ "copyTo": ["s3"] })), 1),
        ("too long", padded("{}"), 1),
        ("too long and empty", padded(""), 1),
    ];
    for (what, answer, refusal) in table {
        stage.service.answers(answer);
        let (status, text) = stage.push(0, "cam").await;
        assert_eq!(status, 403, "{what}: {text}");
        assert!(text.contains(refusals[refusal]), "{what}: {text}");
        assert!(!text.contains("secret") && !text.contains("127.0.0.1"), "{what}: {text}");
    }
    assert!(stage.ingest.rig.broadcaster.streams().is_empty());
    stage.service.answers(Answer::text(200, " \n"));
    assert_eq!(stage.push(0, "cam").await.0, 200, "and it lets in when it answers well again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_slow_or_stops_half_way_lets_nobody_in() {
    let peer = Peer::start(Act::Honest).await;
    let service = Service::start(Answer::Silence);
    let auth = service.webhook(Duration::from_millis(200));
    let ingest = Ingest::at(Rig::new(&[&peer]).await, Some(auth), |_| {}).await;
    let body = segments(1).remove(0).data;
    for answer in [Answer::Silence, Answer::Half] {
        service.answers(answer);
        let (status, text) = ingest.post("/live/cam/0.ts", body.clone()).await;
        assert_eq!(
            (status, text.as_str()),
            (StatusCode::FORBIDDEN, "stream refused: the auth webhook gave no usable answer")
        );
    }
    assert!(ingest.rig.broadcaster.streams().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_lets_nobody_in_and_ends_no_stream_that_runs() {
    let Stage { service, ingest, bodies } = Stage::new(Answer::json(json!({ "manifestID": "front" }))).await;
    assert_eq!(ingest.post("/live/cam/0.ts?key=1", bodies[0].clone()).await.0, StatusCode::OK);
    service.leave().await;
    let (status, text) = ingest.post("/live/new/0.ts?key=1", bodies[0].clone()).await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::FORBIDDEN, "stream refused: the auth webhook gave no usable answer")
    );
    assert_eq!(ingest.post("/live/cam/1.ts?key=1", bodies[1].clone()).await.0, StatusCode::OK);
    assert_eq!(ingest.post("/live/cam/1.ts", bodies[1].clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ingest.rig.broadcaster.streams(), ["front"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_goes_away_ends_no_publisher_and_lets_in_no_other() {
    let peer = Peer::start(Act::Honest).await;
    let service = Service::start(Answer::json(json!({ "manifestID": "front" })));
    let ingest = crate::rtmp::Ingest::start(&peer, Some(service.webhook(PATIENCE))).await;
    let mut events = ingest.rig.broadcaster.events();
    let _publisher = ingest.publish("live/key", "600");
    tokio::time::timeout(PATIENCE, events.next()).await.expect("it is let in");
    assert_eq!(service.asked(), [json!({ "url": "rtmp:///live/key", "manifestID": "key" })]);
    service.leave().await;
    let other = ingest.publish("live/other", "1").wait_with_output();
    assert!(!tokio::time::timeout(PATIENCE, other).await.unwrap().unwrap().status.success());
    let published = async {
        let mut events = ingest.rig.broadcaster.events();
        while !matches!(events.next().await, Some((_, StreamEvent::Segment(_)))) {}
    };
    tokio::time::timeout(PATIENCE, published).await.expect("the first one goes on");
    assert_eq!(ingest.rig.broadcaster.streams(), ["front"]);
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn errors(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// One thread, which the log is taken from.
#[tokio::test]
async fn the_log_says_what_is_wrong_with_the_service_once_and_keeps_its_secrets() {
    let (log, _guard) = Log::begin();
    let service = Service::start(Answer::text(403, ""));
    let webhook = service.webhook(PATIENCE);
    let request = AuthRequest::new("/live/cam/0.ts?key=1", "cam");
    let table = [
        (Answer::text(403, ""), None),
        (Answer::text(500, ""), Some("it answers with status 500")),
        (Answer::Redirect(302), Some("it answers with status 302")),
        (Answer::text(200, "<html>"), Some("neither empty nor a JSON object")),
        (Answer::json(json!({ "verification": "none" })), Some("\"none\" is not adaptive or full")),
        (Answer::Text(200, vec![b' '; 64 << 10].into()), Some("more than 16384 bytes")),
    ];
    let mut told = 0;
    for (answer, words) in table {
        service.answers(answer);
        for _ in 0..3 {
            assert!(webhook.authorize(&request).await.is_err());
        }
        told += usize::from(words.is_some());
        let errors = log.errors();
        assert_eq!(errors.len(), told, "{errors:?}");
        let last = errors.last().map_or("", String::as_str);
        assert!(
            words.is_none_or(|words| last.contains(words) && last.contains("broadcaster.auth_url")),
            "{last}"
        );
    }
    service.leave().await;
    assert!(webhook.authorize(&request).await.is_err());
    let errors = log.errors();
    assert!(errors.last().unwrap().contains("cannot be reached"), "{errors:?}");
    assert!(
        !errors.iter().any(|error| error.contains("of-the-platform") || error.contains("key=1")),
        "{errors:?}"
    );
}

#[test]
fn an_address_that_is_none_is_told_at_the_start() {
    for address in ["", "hook", "127.0.0.1:80", "ftp://example.org/hook"] {
        let error = AuthWebhook::new(address).unwrap_err().to_string();
        assert!(error.contains("write its address like https://"), "{address}: {error}");
    }
}
