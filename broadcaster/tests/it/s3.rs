//! Streams in a bucket of a real server, which checks every signature.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use framemill_broadcaster::{
    Broadcaster, ObjectStorage, S3Config, S3Credentials, StreamEvent, StreamHandle, StreamSummary,
};
use framemill_media::SourceSegment;
use futures::StreamExt;

use crate::bucket::{SECRET, Server};
use crate::support::{Act, Peer, Rig, segments, stream_config};

const PATIENCE: Duration = Duration::from_secs(60);

async fn push(stream: &StreamHandle, segment: SourceSegment) {
    assert!(stream.push(segment).await.unwrap().outcome().await.unwrap().report.is_published());
}

/// The files that a playlist asks players to load.
fn asked_for(playlist: &str) -> Vec<&str> {
    let mut gap = false;
    let mut files = Vec::new();
    for line in playlist.lines() {
        gap |= line == "#EXT-X-GAP";
        if !line.starts_with('#') {
            files.extend(Some(line).filter(|_| !gap));
            gap = false;
        }
    }
    files
}

/// Looks at the bucket over and over, as players do, until it has seen the end. Returns the segments that it saw listed.
async fn watch(server: &Server, folder: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    loop {
        let answer = server.get(&format!("{folder}/index.m3u8")).await;
        if answer.status().is_success() {
            let playlist = answer.text().await.unwrap();
            for file in asked_for(&playlist) {
                let status = server.get(&format!("{folder}/{file}")).await.status();
                assert!(status.is_success(), "{file} is listed and answered with {status}");
                seen.insert(file.to_owned());
            }
            if playlist.contains("#EXT-X-ENDLIST") {
                return seen;
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn next_of<T>(broadcaster: &Broadcaster, want: impl Fn(StreamEvent) -> Option<T>) -> T {
    let mut events = broadcaster.events();
    let found = async {
        loop {
            if let Some(found) = want(events.next().await.unwrap().1) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event does not come")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_a_bucket_is_whole_at_every_moment_and_plays() {
    let server = Server::start().await;
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::with(&[&peer], |builder| builder.copy_to("s3", Arc::new(server.storage()))).await;
    let (seen, (summary, _)) = tokio::join!(watch(&server, "cam/144p"), rig.run(stream_config("cam"), 3));
    assert_eq!(seen.len(), 3);
    let copy = &summary.copies[0];
    assert_eq!((copy.store.as_str(), copy.published, copy.missed), ("s3", 3, 0));
    assert_eq!(copy.master_playlist, summary.master_playlist);

    for file in ["cam/master.m3u8", "cam/144p/index.m3u8", "cam/72p/index.m3u8"] {
        let answer = server.get(file).await;
        assert_eq!(answer.headers()["content-type"], "application/vnd.apple.mpegurl", "{file}");
        assert_eq!(answer.headers()["cache-control"], "no-cache", "{file}");
        assert_eq!(answer.text().await.unwrap(), rig.read(file), "{file}");
    }
    let segment = server.get("cam/72p/1.ts").await;
    assert_eq!(segment.headers()["content-type"], "video/mp2t");
    assert_eq!(segment.headers()["cache-control"], "public, max-age=3600, immutable");
    assert_eq!(
        segment.bytes().await.unwrap(),
        std::fs::read(rig.folder.path().join("cam/72p/1.ts")).unwrap()
    );

    let probe = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-select_streams", "v", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=height,nb_read_packets"])
        .arg(server.url(&copy.master_playlist))
        .output();
    let probe = probe.await.unwrap();
    let shown = String::from_utf8_lossy(&probe.stdout);
    let streams: BTreeSet<&str> = shown.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(streams, BTreeSet::from(["144,75", "72,75"]), "{}", String::from_utf8_lossy(&probe.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_is_told_of_without_the_secret_and_costs_the_stream_nothing() {
    let server = Server::start().await;
    let peer = Peer::start(Act::Honest).await;
    let config = server.config();
    let wrong_key = S3Config {
        credentials: S3Credentials::new("AKIDPUBLISHER", SECRET.to_uppercase()),
        ..config.clone()
    };
    let nobody = S3Config { credentials: S3Credentials::new("AKIDNOBODY", SECRET), ..config };
    let open = |config: &S3Config| Arc::new(ObjectStorage::s3(config).unwrap());
    for (config, reason) in [(&wrong_key, "SignatureDoesNotMatch"), (&nobody, "InvalidAccessKeyId")] {
        let error = open(config).probe().await.unwrap_err();
        assert!(error.is_refusal() && error.to_string().contains(reason), "{error}");
    }
    let rig = Rig::with(&[&peer], |builder| builder.copy_to("s3", open(&wrong_key))).await;
    let (summary, events) = rig.run(stream_config("cam"), 2).await;
    assert_eq!((summary.totals.published, summary.totals.lost), (2, 0));
    assert_eq!((summary.copies[0].published, summary.copies[0].missed), (0, 2));
    assert_eq!(rig.read("cam/144p/index.m3u8").matches("#EXTINF").count(), 2);

    let told: Vec<_> =
        events.iter().filter(|event| matches!(event, StreamEvent::StoreFails { .. })).collect();
    assert_eq!(told.len(), 1, "told once");
    let told = format!("{:?}{:?}", told[0], rig.broadcaster.store().locate(""));
    assert!(told.contains("SignatureDoesNotMatch") && !told.to_lowercase().contains(SECRET), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_stream_has_every_segment_once_it_is_back() {
    let mut server = Server::start().await;
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::with(&[&peer], |builder| builder.copy_to("s3", Arc::new(server.storage()))).await;
    let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
    let mut segments = segments(3).into_iter();
    push(&stream, segments.next().unwrap()).await;

    server.kill().await;
    let fails = next_of(&rig.broadcaster, |event| match event {
        StreamEvent::StoreFails { store, reason } => Some((store, reason)),
        _ => None,
    });
    let ((store, reason), ()) = tokio::join!(fails, push(&stream, segments.next().unwrap()));
    assert_eq!(store, "s3");
    println!("while it is away: {reason}");
    let works = next_of(&rig.broadcaster, |event| match event {
        StreamEvent::StoreWorks { missed, .. } => Some(missed),
        _ => None,
    });
    let again = async {
        push(&stream, segments.next().unwrap()).await;
        server.start_again().await;
    };
    let (missed, ()) = tokio::join!(works, again);
    assert_eq!(missed, 0);

    let summary: StreamSummary = stream.finish().await;
    assert_eq!((summary.copies[0].published, summary.copies[0].missed), (3, 0));
    assert_eq!(server.read("cam/144p/index.m3u8").await, rig.read("cam/144p/index.m3u8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_may_be_the_first_store_and_have_a_folder_in_it() {
    let server = Server::start().await;
    let peer = Peer::start(Act::Honest).await;
    let config = S3Config { prefix: "live/tv".into(), ..server.config() };
    let rig =
        Rig::with(&[&peer], |builder| builder.store(Arc::new(ObjectStorage::s3(&config).unwrap()))).await;
    let (summary, _) = rig.run(stream_config("cam"), 1).await;
    assert_eq!(summary.totals.published, 1);
    let store = rig.broadcaster.store();
    assert_eq!(store.locate(&summary.master_playlist), server.url("live/tv/cam/master.m3u8"));
    assert_eq!(store.get("cam/144p/0.ts").await.unwrap().unwrap()[0], 0x47);
    assert!(store.get("cam/144p/1.ts").await.unwrap().is_none());
    assert!(server.read("live/tv/cam/72p/index.m3u8").await.ends_with("#EXT-X-ENDLIST\n"));
}
