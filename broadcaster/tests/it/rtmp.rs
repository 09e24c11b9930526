//! Streams published over RTMP by FFmpeg, and connections that are none of a publisher.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use framemill_broadcaster::{
    AuthDenied, AuthGrant, AuthRequest, PushAuth, PushConfig, PushIngest, RtmpConfig, RtmpIngest,
    StreamEvent, StreamSummary,
};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Ingest {
    pub(crate) rig: Rig,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Ingest {
    pub(crate) async fn start(peer: &Arc<Peer>, auth: Option<Arc<dyn PushAuth>>) -> Self {
        Self::with(peer, auth, |_| {}).await
    }

    pub(crate) async fn with(
        peer: &Arc<Peer>,
        auth: Option<Arc<dyn PushAuth>>,
        change: impl FnOnce(&mut RtmpConfig),
    ) -> Self {
        let rig = Rig::with(&[peer], |builder| builder).await;
        let mut config = RtmpConfig { stream: stream_config("rtmp"), ..RtmpConfig::default() };
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let ingest = RtmpIngest::new(rig.broadcaster.clone(), config, auth);
        let serving = tokio::spawn(ingest.serve(listener, stop.clone()));
        Self { rig, address, stop, serving }
    }

    /// FFmpeg, publishing some seconds of picture and sound in segments of a second.
    pub(crate) fn publish(&self, path: &str, seconds: &str) -> Child {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"]);
        ffmpeg.args(["-f", "lavfi", "-i", "sine", "-t", seconds, "-pix_fmt", "yuv420p"]);
        ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-c:a", "aac", "-f", "flv"]);
        ffmpeg.arg(format!("rtmp://{}/{path}", self.address));
        ffmpeg.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        ffmpeg.spawn().unwrap()
    }

    /// Waits for the end of the next stream.
    pub(crate) async fn ended(
        &self,
        mut events: impl futures::Stream<Item = (String, StreamEvent)> + Unpin,
    ) -> StreamSummary {
        let ended = async {
            while let Some((_, event)) = events.next().await {
                if let StreamEvent::Ended(summary) = event {
                    return summary;
                }
            }
            unreachable!("the broadcaster outlives the test")
        };
        timeout(PATIENCE, ended).await.expect("the stream ends")
    }
}

async fn output(child: Child) -> (bool, String) {
    let output = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Knows one key.
#[derive(Default)]
struct Door(Mutex<Vec<String>>);

#[async_trait]
impl PushAuth for Door {
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied> {
        self.0.lock().unwrap().push(request.url.clone());
        match request.url.ends_with("/live/secret?token=7") {
            true => Ok(AuthGrant { manifest: Some("front".to_owned()), ..AuthGrant::default() }),
            false => Err(AuthDenied("nobody knows this key".to_owned())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ffmpeg_publishes_is_cut_bought_and_published() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&peer, None).await;
    let events = ingest.rig.broadcaster.events();
    let publisher = ingest.publish("live/cam", "3");
    let (summary, (success, told)) = tokio::join!(ingest.ended(events), output(publisher));
    assert!(success, "{told}");
    assert_eq!((summary.stream.as_str(), summary.totals.published, summary.totals.lost), ("cam", 3, 0));
    assert!((269_000..=271_000).contains(&summary.duration_90k), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_decides_by_key_and_names_the_stream() {
    let (peer, door) = (Peer::start(Act::Honest).await, Arc::new(Door::default()));
    let ingest = Ingest::start(&peer, Some(Arc::clone(&door) as Arc<dyn PushAuth>)).await;
    let (success, _) = output(ingest.publish("live/guessed", "1")).await;
    assert!(!success);
    assert!(ingest.rig.broadcaster.streams().is_empty());

    let events = ingest.rig.broadcaster.events();
    let publisher = ingest.publish("live/secret?token=7", "1");
    let (summary, (success, told)) = tokio::join!(ingest.ended(events), output(publisher));
    assert!(success, "{told}");
    assert_eq!((summary.stream.as_str(), summary.totals.published), ("front", 1));
    assert_eq!(*door.0.lock().unwrap(), ["rtmp:///live/guessed", "rtmp:///live/secret?token=7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_applications_and_names_that_are_paths_are_refused() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&peer, None).await;
    for path in ["other/cam", "live/..", "live/a/b"] {
        let (success, _) = output(ingest.publish(path, "1")).await;
        assert!(!success, "{path}");
    }
    assert!(ingest.rig.broadcaster.streams().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_is_killed_leaves_what_it_sent_and_its_name_is_free_again() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&peer, None).await;
    let mut events = ingest.rig.broadcaster.events();
    let mut publisher = ingest.publish("live/cam", "600");
    let published = async {
        while let Some((_, event)) = events.next().await {
            if matches!(event, StreamEvent::Segment(_)) {
                return;
            }
        }
    };
    timeout(PATIENCE, published).await.expect("a first segment");
    publisher.kill().await.unwrap();
    let summary = ingest.ended(events).await;
    assert!(summary.totals.published >= 1 && summary.totals.lost == 0, "{summary:?}");

    let events = ingest.rig.broadcaster.events();
    let (summary, (success, told)) =
        tokio::join!(ingest.ended(events), output(ingest.publish("live/cam", "1")));
    assert!(success && summary.totals.published == 1, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_has_one_publisher() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&peer, None).await;
    let mut events = ingest.rig.broadcaster.events();
    let _first = ingest.publish("live/cam", "600");
    timeout(PATIENCE, events.next()).await.expect("the first one is there");
    let (success, _) = output(ingest.publish("live/cam", "1")).await;
    assert!(!success);
    assert_eq!(ingest.rig.broadcaster.streams(), ["cam"]);
    ingest.stop.cancel();
    timeout(PATIENCE, ingest.serving).await.expect("the first one's stream is ended in order").unwrap();
    assert!(ingest.rig.broadcaster.streams().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_is_asked_about_and_gets_no_name_that_is_open() {
    let (peer, door) = (Peer::start(Act::Honest).await, Arc::new(Door::default()));
    let ingest = Ingest::start(&peer, Some(Arc::clone(&door) as Arc<dyn PushAuth>)).await;
    let mut events = ingest.rig.broadcaster.events();
    let _first = ingest.publish("live/secret?token=7", "600");
    timeout(PATIENCE, events.next()).await.expect("the first one is there");
    // By the public name, by a wrong key, and by the right one a second time.
    for path in ["live/front", "live/secret?token=8", "live/secret?token=7"] {
        let (success, _) = output(ingest.publish(path, "1")).await;
        assert!(!success, "{path}");
    }
    assert_eq!(door.0.lock().unwrap().len(), 4, "everybody is asked about");
    assert_eq!(ingest.rig.broadcaster.streams(), ["front"]);
    let published = async {
        let mut events = ingest.rig.broadcaster.events();
        while !matches!(events.next().await, Some((_, StreamEvent::Segment(_)))) {}
    };
    timeout(PATIENCE, published).await.expect("the first one goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_get_into_no_stream_of_a_publisher() {
    let (peer, door) = (Peer::start(Act::Honest).await, Arc::new(Door::default()));
    let ingest = Ingest::start(&peer, Some(Arc::clone(&door) as Arc<dyn PushAuth>)).await;
    let mut events = ingest.rig.broadcaster.events();
    let _first = ingest.publish("live/secret?token=7", "600");
    timeout(PATIENCE, events.next()).await.expect("the first one is there");
    for auth in [Some(door as Arc<dyn PushAuth>), None] {
        let config = PushConfig { stream: stream_config("push"), ..PushConfig::default() };
        let pushes = PushIngest::new(ingest.rig.broadcaster.clone(), config, auth);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/live/front/0.ts", listener.local_addr().unwrap());
        let router = pushes.router();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let answer = reqwest::Client::new().post(url).body(segments(1)[0].data.clone()).send().await.unwrap();
        assert!(!answer.status().is_success(), "{}", answer.status());
        serving.abort();
    }
    assert_eq!(ingest.rig.broadcaster.streams(), ["front"]);
}

/// Writes some bytes and gives what comes back until the other side hangs up.
async fn spoken(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // It may have hung up half way.
    let _ = socket.write_all(bytes).await;
    let mut heard = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut heard)).await.expect("it hangs up");
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_no_rtmp_or_says_nothing_is_hung_up_on() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::with(&peer, None, |config| config.greeting = Duration::from_millis(200)).await;
    assert_eq!(spoken(ingest.address, b"GET / HTTP/1.1\r\n\r\n").await, b"");
    assert_eq!(spoken(ingest.address, b"").await, b"");
    // A greeting, and then nothing.
    let hello = [&[3][..], &[1; 1536]].concat();
    assert_eq!(spoken(ingest.address, &hello).await.len(), 1 + 2 * 1536);
}

#[tokio::test(flavor = "multi_thread")]
async fn greetings_beyond_the_bound_are_hung_up_on_and_those_that_leave_make_room() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::with(&peer, None, |config| config.max_greetings = 1).await;
    let hello = [&[3][..], &[1; 1536]].concat();
    let mut first = TcpStream::connect(ingest.address).await.unwrap();
    first.write_all(&hello).await.unwrap();
    first.read_exact(&mut [0; 1 + 2 * 1536]).await.unwrap();
    assert_eq!(spoken(ingest.address, &hello).await, b"");
    drop(first);
    let served = async {
        loop {
            let mut next = TcpStream::connect(ingest.address).await.unwrap();
            let _ = next.write_all(&hello).await;
            if next.read_exact(&mut [0; 1 + 2 * 1536]).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, served).await.expect("a place is free again");
}
