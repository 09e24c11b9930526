//! HTTP push, status by status, through a real HTTP client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use framemill_broadcaster::{
    AuthDenied, AuthGrant, AuthRequest, DeadlinePolicy, PushAuth, PushConfig, PushIngest, StreamConfig,
    StreamEvent,
};
use framemill_media::{ClipSpec, MediaLimits, OutputFormat, Rational, generate_clip};
use futures::StreamExt;
use reqwest::{Client, Method, StatusCode};
use tokio::io::AsyncWriteExt;

use crate::support::{Act, Peer, Rig, segments, stream_config};

const MAX_BODY: usize = 4 << 20;

pub(crate) struct Ingest {
    pub(crate) address: SocketAddr,
    client: Client,
    pub(crate) ingest: PushIngest,
    pub(crate) rig: Rig,
}

/// Lets in what has the right key.
struct KeyAuth;

#[async_trait]
impl PushAuth for KeyAuth {
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied> {
        if request.url.ends_with("?key=right") {
            return Ok(AuthGrant { manifest: Some("granted".into()), ..AuthGrant::default() });
        }
        Err(AuthDenied("wrong key".into()))
    }
}

impl Ingest {
    async fn start(peers: &[&Arc<Peer>], auth: Option<Arc<dyn PushAuth>>) -> Self {
        Self::at(Rig::new(peers).await, auth, |_| {}).await
    }

    pub(crate) async fn at(
        rig: Rig,
        auth: Option<Arc<dyn PushAuth>>,
        change: impl FnOnce(&mut PushConfig),
    ) -> Self {
        let stream = StreamConfig {
            deadline: DeadlinePolicy { factor: 1, floor: Duration::from_secs(20) },
            ..stream_config("push")
        };
        let mut config = PushConfig { stream, max_body_bytes: MAX_BODY, ..PushConfig::default() };
        change(&mut config);
        let ingest = PushIngest::new(rig.broadcaster.clone(), config, auth);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = ingest.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, client: Client::new(), ingest, rig }
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> (StatusCode, String) {
        let url = format!("http://{}{path}", self.address);
        let response = self.client.request(method, url).body(body).send().await.unwrap();
        let status = response.status();
        (status, String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
    }

    /// Pushes with a header that asks for another name than the path's.
    pub(crate) async fn post_as(&self, manifest: &str, path: &str, body: Bytes) -> StatusCode {
        let url = format!("http://{}{path}", self.address);
        let configuration = format!(r#"{{"manifestID":"{manifest}"}}"#);
        let request = self.client.post(url).header("livepeer-transcode-configuration", configuration);
        request.body(body).send().await.unwrap().status()
    }

    pub(crate) async fn post(&self, path: &str, body: Bytes) -> (StatusCode, String) {
        self.send(Method::POST, path, body).await
    }
}

fn audio_only() -> Bytes {
    // The sound of a clip, taken out by the tool that real users have at hand.
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.ts"), folder.path().join("out.ts"));
    std::fs::write(&input, &segments(1)[0].data).unwrap();
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&input)
        .args(["-vn", "-c", "copy", "-f", "mpegts"])
        .arg(&output)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(output).unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_segment_comes_back_as_multipart_in_ladder_order() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let url = format!("http://{}/live/cam/0.ts", ingest.address);
    let request = ingest
        .client
        .put(url)
        .header("accept", "multipart/mixed")
        .header("content-resolution", "320x180")
        .header("content-duration", "1000");
    let response = request.body(segments(1)[0].data.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").expect("a boundary").to_owned();
    let body = response.bytes().await.unwrap();
    let text = String::from_utf8_lossy(&body);
    let first = text.find("Rendition-Name: 144p").expect("the first rung");
    assert!(first < text.find("Rendition-Name: 72p").expect("the second rung"));
    assert!(text.contains("Content-Type: video/mp2t; name=\"144p_0.ts\""));
    assert!(text.ends_with(&format!("--{boundary}--\r\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_multipart_the_answer_is_empty_and_the_segment_published() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let (status, body) = ingest.post("/live/cam/0.ts", segments(1)[0].data.clone()).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    assert!(ingest.rig.folder.path().join("cam/144p/0.ts").exists());
    ingest.ingest.finish().await;
    assert!(ingest.rig.read("cam/72p/index.m3u8").ends_with("#EXT-X-ENDLIST\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_after_the_last_byte_has_its_segment_published() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let mut events = ingest.rig.broadcaster.events();
    let body = segments(1).remove(0).data;
    let head = format!("POST /live/gone/0.ts HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut connection = tokio::net::TcpStream::connect(ingest.address).await.unwrap();
    connection.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    drop(connection);
    let published = async {
        loop {
            if let (stream, StreamEvent::Segment(segment)) = events.next().await.unwrap() {
                return (stream, segment.is_published());
            }
        }
    };
    let published = tokio::time::timeout(Duration::from_secs(60), published).await;
    assert_eq!(published, Ok(("gone".to_owned(), true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_the_status_that_says_what_is_wrong() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let good = segments(1)[0].data.clone();
    let table = [
        ("/live/cam/0.ts", Bytes::new(), 400, "no bytes"),
        (
            "/live/cam/0.ts",
            Bytes::from_static(b"this is a text file, not a segment of video\n"),
            400,
            "not media",
        ),
        ("/live/cam/0.ts", audio_only(), 422, "no video"),
        ("/live/cam/zero.ts", good.clone(), 400, "/live/<manifest>/<sequence>"),
        ("/live/cam/0.mkv", good.clone(), 400, "/live/<manifest>/<sequence>"),
        ("/live/..cam/0.ts", good.clone(), 400, "name"),
        ("/live/cam/0.ts", Bytes::from(vec![0x47; MAX_BODY + 1]), 413, "larger"),
    ];
    for (path, body, status, words) in table {
        let (got, message) = ingest.post(path, body).await;
        assert_eq!(got.as_u16(), status, "{path}: {message}");
        assert!(message.contains(words), "{path}: {message}");
    }
    let (status, _) = ingest.send(Method::DELETE, "/live/cam/0.ts", Bytes::new()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    // None of it has opened a stream or hurt the node.
    assert!(ingest.rig.broadcaster.streams().is_empty());
    assert_eq!(ingest.post("/live/cam/0.ts", good).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_headers_are_bad_requests() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let headers = [
        ("content-resolution", "wide"),
        ("content-duration", "-1"),
        ("livepeer-transcode-configuration", "{"),
        ("livepeer-transcode-configuration", "{\"profiles\":[{\"width\":1,\"height\":99999,\"bitrate\":5}]}"),
    ];
    for (name, value) in headers {
        let url = format!("http://{}/live/cam/0.ts", ingest.address);
        let request = ingest.client.post(url).header(name, value).body(segments(1)[0].data.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_names_manifest_and_ladder() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let url = format!("http://{}/live/cam/5.ts", ingest.address);
    let configuration = r#"{"manifestID":"other","profiles":[{"name":"tiny","width":160,"height":90,"bitrate":100000,"fps":0}]}"#;
    let request = ingest.client.post(url).header("livepeer-transcode-configuration", configuration);
    let response = request.body(segments(1)[0].data.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(ingest.rig.folder.path().join("other/tiny/5.ts").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp4_segment_without_sound_is_taken() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let spec = ClipSpec {
        format: OutputFormat::FragmentedMp4,
        audio: None,
        ..ClipSpec::new(320, 180, Rational::new(25, 1), 1)
    };
    let clip = generate_clip(&spec, &MediaLimits::default()).unwrap();
    let (status, message) = ingest.post("/live/cam/0.mp4", clip).await;
    assert_eq!(status, StatusCode::OK, "{message}");
}

/// What was cut inside open groups, as others cut it, loses the few pictures that need the segment before, and is published.
#[tokio::test(flavor = "multi_thread")]
async fn segments_cut_inside_open_groups_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=3", "-pix_fmt", "yuv420p"])
        .args([
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=none:keyint=30:open-gop=1",
        ])
        .args(["-f", "segment", "-segment_time", "1", "-segment_format", "mpegts"])
        .arg(folder.path().join("%d.ts"))
        .status()
        .unwrap();
    assert!(made.success());
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    for number in 0..3 {
        let segment = std::fs::read(folder.path().join(format!("{number}.ts"))).unwrap();
        let info = framemill_media::segment_info(&segment.clone().into(), &MediaLimits::default()).unwrap();
        assert_eq!(info.video.unwrap().leading > 0, number > 0, "segment {number}");
        let (status, message) = ingest.post(&format!("/live/cam/{number}.ts"), segment.into()).await;
        assert_eq!(status, StatusCode::OK, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_manifests_are_two_streams() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let data = segments(1)[0].data.clone();
    let (one, two) = tokio::join!(
        ingest.post("/live/one/0.ts", data.clone()),
        ingest.post("/live/two/0.ts", data.clone())
    );
    assert_eq!((one.0, two.0), (StatusCode::OK, StatusCode::OK));
    let mut open = ingest.rig.broadcaster.streams();
    open.sort();
    assert_eq!(open, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_without_buying_again() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let data = segments(1)[0].data.clone();
    assert_eq!(ingest.post("/live/cam/3.ts", data.clone()).await.0, StatusCode::OK);
    assert_eq!(ingest.post("/live/cam/3.ts", data).await.0, StatusCode::OK);
    assert_eq!(peer.offered(), 1);
    let other = segments(2)[1].data.clone();
    assert_eq!(ingest.post("/live/cam/3.ts", other).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn auth_refuses_and_renames() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], Some(Arc::new(KeyAuth))).await;
    let data = segments(1)[0].data.clone();
    let (status, message) = ingest.post("/live/cam/0.ts?key=wrong", data.clone()).await;
    assert_eq!((status, message.as_str()), (StatusCode::FORBIDDEN, "stream refused: wrong key"));
    assert_eq!(ingest.post("/live/cam/0.ts?key=right", data).await.0, StatusCode::OK);
    assert_eq!(ingest.rig.broadcaster.streams(), ["granted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_spends_nothing_unless_a_hook_lets_it_in() {
    let peer = Peer::start(Act::Honest).await;
    let data = segments(1)[0].data.clone();
    let page = async |ingest: &Ingest, path: &str, origin: &str| {
        let request = ingest.client.post(format!("http://{}{path}", ingest.address)).header("origin", origin);
        request.body(data.clone()).send().await.unwrap().status()
    };
    let open = Ingest::start(&[&peer], None).await;
    // The last is a page whose own name was pointed here.
    let own = format!("http://{}", open.address);
    for origin in ["https://evil.example", "null", own.as_str()] {
        assert_eq!(page(&open, "/live/cam/0.ts", origin).await, StatusCode::FORBIDDEN, "{origin}");
    }
    assert_eq!((open.rig.broadcaster.streams().len(), peer.offered()), (0, 0));

    let keys = Ingest::start(&[&peer], Some(Arc::new(KeyAuth))).await;
    assert_eq!(page(&keys, "/live/cam/0.ts", "https://evil.example").await, StatusCode::FORBIDDEN);
    assert_eq!(page(&keys, "/live/cam/0.ts?key=right", "https://studio.example").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_orchestrators_a_push_is_answered_with_503() {
    let ingest = Ingest::start(&[], None).await;
    let (status, message) = ingest.post("/live/cam/0.ts", segments(1)[0].data.clone()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("no orchestrator"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_after_the_end_begins_no_stream_in_the_place_of_the_recording() {
    let peer = Peer::start(Act::Honest).await;
    let ingest = Ingest::start(&[&peer], None).await;
    let [first, second] = [0, 1].map(|index| segments(2)[index].data.clone());
    assert_eq!(ingest.post("/live/cam/0.ts", first).await.0, StatusCode::OK);
    ingest.ingest.finish().await;
    let (status, message) = ingest.post("/live/cam/1.ts", second).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("about to end; push to another"), "{message}");
    assert!(ingest.rig.broadcaster.streams().is_empty());
}
