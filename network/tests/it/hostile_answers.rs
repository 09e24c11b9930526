//! Peers that are asked for a file or an opening and answer with more, less or something else.

use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_network::{
    BlobRequest, Network, NetworkError, OpeningAnswer, OpeningQuestion, OpeningRequest, ProtocolError,
};
use futures::StreamExt;
use prost::Message;
use proto::blob_frame::Frame;
use tokio::time::timeout;

use crate::raw::*;
use crate::support::*;

const TICK: Duration = Duration::from_millis(20);
/// How long a message may take here, and how long a role may take to answer.
const MESSAGE: Duration = Duration::from_millis(500);
const APPLICATION: Duration = Duration::from_millis(700);
/// Most bytes of a file's message, and of an opening's.
const CHUNK_MESSAGE: usize = 64 * 1024 + 64;
const SMALL_MESSAGE: usize = 8 * 1024;
/// What is wanted of a file at most.
const WANTED: u64 = 1 << 20;

/// What a liar does on its stream once it has been asked.
enum Lie {
    /// Says this, and then nothing more.
    Say(Vec<u8>),
    /// Says the first, and then the second again and again.
    Trickle(Vec<u8>, Vec<u8>),
}

/// Somebody who asks a liar, and an honest peer at the same time.
async fn ask<T>(
    protocol: &'static str,
    lie: Lie,
    asking: impl AsyncFnOnce(&Network, framemill_network::PeerId) -> Result<T, NetworkError>,
) -> (Result<T, NetworkError>, Duration) {
    let liar = RawPeer::start(None).await;
    let mut asked = liar.accept(protocol);
    let honest = node().await;
    answer_quotes(&honest);
    let asker = client_with(&honest, |config| {
        config.timeouts.message = MESSAGE;
        config.timeouts.application = APPLICATION;
        config.timeouts.rate_grace = Duration::from_millis(100);
        config.timeouts.dial = LONG;
        config.limits.min_upload_rate = 10_000;
    })
    .await;
    asker.add_peer(&liar.service_address()).unwrap();
    let lying = async {
        let mut stream = asked.next().await.unwrap().1;
        match &lie {
            Lie::Say(words) => drop(try_send(&mut stream, words).await),
            Lie::Trickle(first, again) => {
                try_send(&mut stream, first).await;
                while try_send(&mut stream, again).await {
                    tokio::time::sleep(TICK).await;
                }
            }
        }
        read_to_end(&mut stream).await;
        std::future::pending::<()>().await;
    };
    let request = quote_request();
    let both = async {
        let began = Instant::now();
        let lied_to = async { (asking(&asker, liar.peer).await, began.elapsed()) };
        let (lied_to, quote) = tokio::join!(lied_to, asker.request_quote(honest.peer_id(), &request, LONG));
        quote.unwrap();
        lied_to
    };
    tokio::select! {
        answered = timeout(LONG, both) => answered.expect("a liar is given up"),
        () = lying => unreachable!("the liar never ends"),
    }
}

async fn fetch(lie: Lie) -> (NetworkError, Duration) {
    let request = BlobRequest { sha256: B256::ZERO, max_bytes: WANTED };
    let (result, after) =
        ask(BLOB, lie, async |asker, liar| asker.request_blob(liar, &request, 2 * LONG).await).await;
    (result.unwrap_err(), after)
}

fn frames(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| framed(&proto::BlobFrame { frame: Some(frame.clone()) })).collect()
}

fn data(bytes: usize) -> Frame {
    Frame::Data(vec![1; bytes].into())
}

fn prefix(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encode_length_delimiter(length, &mut bytes).unwrap();
    bytes
}

fn broken((error, _): (NetworkError, Duration)) -> ProtocolError {
    match error {
        NetworkError::Protocol(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_file_that_is_said_to_be_longer_than_wanted_is_refused_before_its_bytes() {
    let error = broken(fetch(Lie::Say(frames(&[Frame::Bytes(WANTED + 1)]))).await);
    assert_eq!(error, ProtocolError::BlobTooLong { max: WANTED });
}

#[tokio::test]
async fn one_byte_more_than_a_file_was_said_to_have_is_refused() {
    let error = broken(fetch(Lie::Say(frames(&[Frame::Bytes(100), data(60), data(41)]))).await);
    assert_eq!(error, ProtocolError::BlobTooLong { max: 100 });
}

#[tokio::test]
async fn a_chunk_of_a_file_above_its_bound_is_refused_from_its_length() {
    let longer = [frames(&[Frame::Bytes(WANTED)]), prefix(CHUNK_MESSAGE + 1)].concat();
    let error = broken(fetch(Lie::Say(longer)).await);
    let length = CHUNK_MESSAGE as u64 + 1;
    assert_eq!(error, ProtocolError::MessageTooLarge { length, max: CHUNK_MESSAGE });
    let error = broken(fetch(Lie::Say(frames(&[Frame::Bytes(WANTED), data(64 * 1024 + 1)]))).await);
    assert!(matches!(error, ProtocolError::Field { .. }), "{error}");
}

#[tokio::test]
async fn a_second_length_of_a_file_is_refused() {
    let error = broken(fetch(Lie::Say(frames(&[Frame::Bytes(100), Frame::Bytes(1)]))).await);
    assert!(matches!(error, ProtocolError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_does_not_begin_is_given_up_when_a_role_should_have_answered() {
    let (error, after) = fetch(Lie::Say(Vec::new())).await;
    assert!(matches!(error, NetworkError::Timeout { what: "a file", .. }), "{error}");
    assert!(after >= APPLICATION, "{after:?}");
}

#[tokio::test]
async fn a_file_that_stops_is_given_up_within_the_time_of_a_message() {
    for begun in [frames(&[Frame::Bytes(100)]), frames(&[Frame::Bytes(100), data(99)])] {
        let (error, after) = fetch(Lie::Say(begun)).await;
        assert!(matches!(error, NetworkError::Timeout { what: "a file", .. }), "{error}");
        assert!(after >= MESSAGE, "{after:?}");
    }
}

#[tokio::test]
async fn a_file_that_comes_byte_by_byte_is_given_up() {
    let trickle = Lie::Trickle(frames(&[Frame::Bytes(WANTED)]), frames(&[data(1)]));
    let error = broken(fetch(trickle).await);
    assert!(matches!(error, ProtocolError::TooSlow { min_rate: 10_000, .. }), "{error}");
}

async fn open(lie: Lie, deadline: Duration) -> (NetworkError, Duration) {
    let question = OpeningQuestion::Block { frame: 0, index: 0 };
    let request = OpeningRequest { session: B256::ZERO, sequence: 0, rendition: 0, question };
    let (result, after) =
        ask(OPENING, lie, async |asker, liar| asker.request_opening(liar, &request, deadline).await).await;
    (result.map(|answer: OpeningAnswer| answer).unwrap_err(), after)
}

fn block(bytes: usize) -> proto::OpeningReply {
    let data = Bytes::from(vec![1; bytes]);
    proto::OpeningReply { reply: Some(proto::opening_reply::Reply::Block(proto::OpenedBlock { data })) }
}

#[tokio::test]
async fn an_opening_above_its_bounds_is_refused() {
    let error = broken(open(Lie::Say(prefix(SMALL_MESSAGE + 1)), LONG).await);
    let length = SMALL_MESSAGE as u64 + 1;
    assert_eq!(error, ProtocolError::MessageTooLarge { length, max: SMALL_MESSAGE });
    let error = broken(open(Lie::Say(block(1024 + 1).encode_length_delimited_to_vec()), LONG).await);
    assert!(matches!(error, ProtocolError::Field { field: "block", .. }), "{error}");
}

#[tokio::test]
async fn an_opening_that_is_not_given_is_given_up_at_the_deadline_and_one_that_stops_within_a_message() {
    let deadline = Duration::from_millis(900);
    let (error, after) = open(Lie::Say(Vec::new()), deadline).await;
    assert!(matches!(error, NetworkError::Timeout { .. }) && after >= deadline, "{error} after {after:?}");
    let (error, after) = open(Lie::Trickle(prefix(1_000), vec![0]), 2 * LONG).await;
    assert!(matches!(error, NetworkError::Timeout { .. }) && after >= MESSAGE, "{error} after {after:?}");
}
