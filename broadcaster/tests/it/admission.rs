//! Who may push into a stream that is open, and what of the hook that decides on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use framemill_broadcaster::{AuthDenied, AuthGrant, AuthRequest, PushAuth, PushConfig, StreamEvent};
use futures::StreamExt;
use reqwest::StatusCode;

use crate::push::Ingest;
use crate::support::{Act, Peer, Rig, segments};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A platform with a key for each stream, `?key=NAME` for that of the path, which looks at nothing but the address. A director's key
/// opens the show from everywhere, one of a guest the stream that is asked for.
#[derive(Default)]
struct Keys {
    asked: AtomicUsize,
    away: AtomicBool,
}

impl Keys {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn leave(&self) {
        self.away.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl PushAuth for Keys {
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let named = request.url.strip_prefix("/live/").and_then(|rest| rest.split('/').next()).unwrap();
        let manifest = match request.url.split_once("?key=") {
            _ if self.away.load(Ordering::SeqCst) => return Err(AuthDenied("nobody answers".into())),
            Some((_, key)) if key == named => None,
            Some((_, "director")) => Some("show".to_owned()),
            Some((_, "guest")) => Some(request.manifest.clone()),
            _ => return Err(AuthDenied("wrong key".into())),
        };
        Ok(AuthGrant { manifest, ..AuthGrant::default() })
    }
}

struct Stage {
    keys: Arc<Keys>,
    peer: Arc<Peer>,
    ingest: Ingest,
    bodies: Vec<Bytes>,
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut PushConfig)) -> Self {
        let (keys, peer) = (Arc::new(Keys::default()), Peer::start(Act::Honest).await);
        let auth = Arc::clone(&keys) as Arc<dyn PushAuth>;
        let ingest = Ingest::at(Rig::new(&[&peer]).await, Some(auth), change).await;
        let bodies = segments(3).into_iter().map(|segment| segment.data).collect();
        Self { keys, peer, ingest, bodies }
    }

    /// Pushes the segment of this number.
    async fn push(&self, number: usize, folder: &str, query: &str) -> StatusCode {
        let path = format!("/live/{folder}/{number}.ts{query}");
        self.ingest.post(&path, self.bodies[number].clone()).await.0
    }

    async fn push_as(&self, manifest: &str, number: usize, folder: &str, query: &str) -> StatusCode {
        let path = format!("/live/{folder}/{number}.ts{query}");
        self.ingest.post_as(manifest, &path, self.bodies[number].clone()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_name_of_an_open_stream_pushes_nothing_into_it() {
    let stage = Stage::new().await;
    assert_eq!(stage.push(0, "cam", "?key=cam").await, StatusCode::OK);
    for query in ["", "?key=wrong", "?key=cam&key=wrong"] {
        assert_eq!(stage.push(1, "cam", query).await, StatusCode::FORBIDDEN, "{query}");
    }
    assert_eq!(stage.push_as("cam", 1, "other", "").await, StatusCode::FORBIDDEN);
    // A key of one's own opens no other door.
    assert_eq!(stage.push_as("cam", 1, "other", "?key=other").await, StatusCode::FORBIDDEN);
    assert_eq!(stage.peer.offered(), 1, "nothing of it was bought");
    assert_eq!(stage.push(1, "cam", "?key=cam").await, StatusCode::OK);
    assert_eq!(stage.ingest.rig.broadcaster.streams(), ["cam"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_when_its_hook_is_away_also_under_another_name() {
    let stage = Stage::new().await;
    assert_eq!(stage.push(0, "cam", "?key=cam").await, StatusCode::OK);
    assert_eq!(stage.push(0, "studio", "?key=director").await, StatusCode::OK);
    stage.keys.leave();
    assert_eq!(stage.push(1, "cam", "?key=cam").await, StatusCode::OK);
    assert_eq!(stage.push(1, "studio", "?key=director").await, StatusCode::OK);
    assert_eq!(stage.keys.asked(), 2, "once for each stream");
    assert_eq!(stage.push(2, "cam", "?key=director").await, StatusCode::FORBIDDEN);
    assert_eq!(stage.push(0, "new", "?key=new").await, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_another_way_joins_an_open_stream_where_the_hook_names_it() {
    let stage = Stage::new().await;
    assert_eq!(stage.push(0, "one", "?key=director").await, StatusCode::OK);
    assert_eq!(stage.push(1, "two", "?key=director").await, StatusCode::OK);
    assert_eq!(stage.push_as("show", 2, "three", "?key=guest").await, StatusCode::OK);
    assert_eq!(stage.ingest.rig.broadcaster.streams(), ["show"]);
    assert_eq!(stage.keys.asked(), 3, "once for each way");
    stage.keys.leave();
    // Whoever lost the answer asks for it again: all three are known.
    assert_eq!(stage.push(1, "two", "?key=director").await, StatusCode::OK);
    assert_eq!(stage.push_as("show", 2, "three", "?key=guest").await, StatusCode::OK);
    assert_eq!(stage.push_as("show", 2, "three", "?key=guests").await, StatusCode::FORBIDDEN);
    assert_eq!(stage.push_as("other", 2, "three", "?key=guest").await, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_only_a_header_asks_for_has_to_come_back_from_the_hook() {
    let stage = Stage::new().await;
    assert_eq!(stage.push_as("cam", 0, "other", "?key=other").await, StatusCode::FORBIDDEN);
    assert!(stage.ingest.rig.broadcaster.streams().is_empty(), "nobody takes a name before its owner comes");
    assert_eq!(stage.push_as("other", 0, "other", "?key=other").await, StatusCode::OK);
    assert_eq!(stage.push_as("cam", 0, "other", "?key=guest").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_again_is_asked_about_again() {
    let stage = Stage::with(|config| config.idle_timeout = Duration::from_millis(100)).await;
    let mut events = stage.ingest.rig.broadcaster.events();
    assert_eq!(stage.push(0, "cam", "?key=cam").await, StatusCode::OK);
    let ended = async { while !matches!(events.next().await, Some((_, StreamEvent::Ended(_)))) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("an idle stream ends");
    stage.keys.leave();
    assert_eq!(stage.push(1, "cam", "?key=cam").await, StatusCode::FORBIDDEN);
}
