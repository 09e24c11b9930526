//! Futures dropped at any point: nothing is half done, and nothing goes on behind the caller's back.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use framemill_broadcaster::{Broadcaster, ObjectStorage, Pace, StreamConfig, StreamError};
use framemill_network::{Network, NetworkConfig};
use tokio::runtime::Runtime;

use crate::support::{Act, Peer, Rig, clip, segments, stream_config};

const PATIENCE: Duration = Duration::from_secs(60);

/// Polls a future whenever it asks for it, so many times at most, and drops it.
async fn polled<F: Future>(future: F, mut times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if times == 0 {
            return Poll::Ready(None);
        }
        times -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if times == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_dropped_at_any_point_has_taken_its_segment_whole_or_not_at_all() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    for (times, segment) in segments(4).into_iter().enumerate() {
        let sequence = segment.sequence;
        // The channel is full from the second segment on, so that a push waits in it.
        let first = polled(stream.push_bytes(sequence, segment.data.clone()), times + 1).await;
        let again = stream.push_bytes(sequence, segment.data).await;
        match first {
            Some(pushed) => {
                drop(pushed.unwrap());
                assert!(matches!(again, Err(StreamError::OutOfOrder { .. })), "taken twice: {again:?}");
            }
            None => drop(again.expect("a dropped push has taken nothing")),
        }
    }
    let summary = stream.finish().await;
    assert_eq!((summary.totals.segments, summary.totals.published), (4, 4));
    let listed = rig.read("cam/144p/index.m3u8");
    assert_eq!((listed.matches("#EXTINF").count(), listed.matches("GAP").count()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_outcome_nobody_waits_for_is_published() {
    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
    for (times, segment) in segments(2).into_iter().enumerate() {
        let pending = stream.push(segment).await.unwrap();
        assert!(polled(pending.outcome(), times).await.is_none());
    }
    assert_eq!(stream.finish().await.totals.published, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_dropped_at_its_first_poll_ends_the_stream_even_while_a_push_waits() {
    let peer = Peer::start(Act::Silent).await;
    let rig = Rig::new(&[&peer]).await;
    let stream = rig.broadcaster.stream(StreamConfig { in_flight: 1, ..stream_config("cam") }).unwrap();
    let mut segments = segments(3).into_iter();
    let first = stream.push(segments.next().unwrap()).await.unwrap();
    let second = stream.push(segments.next().unwrap()).await.unwrap();
    let third = stream.push(segments.next().unwrap());
    let mut third = pin!(third);
    assert!(polled(third.as_mut(), 1).await.is_none(), "there is no room");
    assert!(polled(stream.finish(), 1).await.is_none());
    assert!(matches!(third.await, Err(StreamError::Ended(_))));
    polled(stream.abort(), 1).await;
    let summary = stream.finish().await;
    assert_eq!(summary.totals.published, 0);
    assert!(first.outcome().await.is_err() && second.outcome().await.is_err());
    assert!(rig.broadcaster.streams().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_let_go_when_the_call_that_reads_it_is_dropped() {
    /// Tells when it is dropped.
    struct Watched(std::io::Cursor<bytes::Bytes>, Option<tokio::sync::oneshot::Sender<()>>);

    impl std::io::Read for Watched {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            std::io::Read::read(&mut self.0, buffer)
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            let _ = self.1.take().map(|gone| gone.send(()));
        }
    }

    let peer = Peer::start(Act::Honest).await;
    let rig = Rig::new(&[&peer]).await;
    for times in [1, 2, 3] {
        let stream = rig.broadcaster.stream(stream_config("cam")).unwrap();
        let (sender, gone) = tokio::sync::oneshot::channel();
        let reader = Watched(std::io::Cursor::new(clip(3)), Some(sender));
        let left = polled(stream.push_reader(reader, Pace::Realtime), times).await;
        assert!(left.is_none(), "it lasts for seconds");
        tokio::time::timeout(PATIENCE, gone).await.expect("the reader stays").unwrap();
        let summary = stream.finish().await;
        assert_eq!(summary.totals.published, summary.totals.segments);
    }
}

/// Everything that a broadcaster does, each part dropped after some polls.
async fn a_life(service: framemill_network::ServiceAddress, folder: std::path::PathBuf, times: usize) {
    let network = Network::start(NetworkConfig::loopback()).await.unwrap();
    let build = || {
        let config = framemill_broadcaster::BroadcasterConfig {
            orchestrators: vec![service.clone().into()],
            ..Default::default()
        };
        let store = Arc::new(ObjectStorage::folder(&folder).unwrap());
        let copy = Arc::new(ObjectStorage::folder(folder.join("copy")).unwrap());
        Broadcaster::builder()
            .network(network.clone())
            .config(config)
            .store(store)
            .copy_to("copy", copy)
            .build()
    };
    drop(polled(build(), times).await);
    let broadcaster = build().await.unwrap();
    let stream = broadcaster.stream(stream_config("cam")).unwrap();
    drop(polled(stream.push_reader(std::io::Cursor::new(clip(2)), Pace::Fast), times).await);
    drop(polled(stream.finish(), times).await);
    polled(broadcaster.shutdown(PATIENCE), times).await;
    broadcaster.shutdown(PATIENCE).await;
    drop(stream);
    drop(broadcaster);
    network.shutdown().await;
}

#[test]
fn no_task_is_left_after_a_shutdown_whatever_was_dropped_before() {
    let elsewhere = Runtime::new().unwrap();
    let peer = elsewhere.block_on(Peer::start(Act::Honest));
    for times in [0, 1, 2, 5] {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(a_life(peer.service(), folder.path().to_owned(), times));
        // A task that was told to end still has to be polled once more by its runtime.
        let end = Instant::now() + PATIENCE;
        while runtime.metrics().num_alive_tasks() > 0 && Instant::now() < end {
            runtime.block_on(tokio::task::yield_now());
        }
        assert_eq!(runtime.metrics().num_alive_tasks(), 0, "after {times} polls");
    }
}
