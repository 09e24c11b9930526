use std::time::Duration;

use framemill_network::{Network, NetworkError, ProtocolError, SegmentHeader, SegmentResult};
use futures::{AsyncWriteExt, StreamExt};
use libp2p::Stream;
use prost::Message;
use proto::reply_frame::Frame;

use crate::raw::*;
use crate::support::*;

/// Buys a segment from a raw peer that answers with `answer` after it accepted, and keeps the stream open.
async fn buy(answer: Vec<u8>) -> Result<SegmentResult, NetworkError> {
    buy_with(answer, |_| {}, false).await
}

async fn buy_with(
    answer: Vec<u8>,
    change: impl FnOnce(&mut SegmentHeader),
    close: bool,
) -> Result<SegmentResult, NetworkError> {
    let seller = RawPeer::start(None).await;
    let mut incoming = seller.accept(SEGMENT);
    let mut config = framemill_network::NetworkConfig::loopback();
    config.timeouts.message = Duration::from_secs(2);
    let buyer = Network::start(config).await.unwrap();
    buyer.add_peer(&seller.service_address()).unwrap();
    let source = source();
    let mut header = header(&source);
    change(&mut header);
    let selling = async {
        let mut stream: Stream = incoming.next().await.unwrap().1;
        let _: proto::SegmentHeader = receive(&mut stream).await;
        send(&mut stream, &reply(Frame::Accept(proto::Accept { ticket_params: None, refused_tickets: 0 })))
            .await;
        try_send(&mut stream, &answer).await;
        if close {
            stream.close().await.unwrap();
        }
        read_to_end(&mut stream).await;
        std::future::pending::<()>().await;
    };
    let buying = async { buyer.open_segment(seller.peer, header).await?.complete(source).await };
    tokio::select! {
        result = buying => result,
        () = selling => unreachable!("the seller never ends"),
    }
}

fn chunk(index: u32, data: &[u8]) -> proto::ReplyFrame {
    reply(Frame::Chunk(proto::RenditionChunk { index, data: data.to_vec().into() }))
}

fn end(index: u32, data: &[u8]) -> proto::ReplyFrame {
    let header = header(b"source");
    reply(Frame::End(proto::RenditionEnd {
        index,
        sha256: sha256(data).to_vec().into(),
        bytes: data.len() as u64,
        pixels: pixels(&header, index),
        frames: header.frames,
        feature_root: vec![0; 32].into(),
        psnr_centi_db: None,
    }))
}

fn joined(frames: &[proto::ReplyFrame]) -> Vec<u8> {
    frames.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn broken(result: Result<SegmentResult, NetworkError>) -> ProtocolError {
    match result {
        Err(NetworkError::Protocol(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_length_of_four_gibibytes_is_refused() {
    let error = broken(buy(FOUR_GIBIBYTES.to_vec()).await);
    assert!(matches!(error, ProtocolError::MessageTooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_rendition_that_was_not_asked_for_is_refused() {
    let error = broken(buy(joined(&[chunk(2, b"x")])).await);
    assert_eq!(error, ProtocolError::RenditionIndex { index: 2, count: 2 });
}

#[tokio::test]
async fn bytes_after_a_renditions_end_are_refused() {
    let error = broken(buy(joined(&[chunk(0, b"x"), end(0, b"x"), chunk(0, b"y")])).await);
    assert_eq!(error, ProtocolError::RenditionEnded { index: 0 });
}

#[tokio::test]
async fn a_second_end_of_a_rendition_is_refused() {
    let error = broken(buy(joined(&[chunk(0, b"x"), end(0, b"x"), end(0, b"x")])).await);
    assert_eq!(error, ProtocolError::RenditionEnded { index: 0 });
}

#[tokio::test]
async fn an_empty_chunk_is_refused() {
    let error = broken(buy(joined(&[chunk(0, b"")])).await);
    assert!(matches!(error, ProtocolError::Field { .. }), "{error}");
}

#[tokio::test]
async fn a_flood_of_rendition_bytes_is_refused() {
    let data = vec![0; 64 * 1024];
    let error = broken(buy(joined(&vec![chunk(1, &data); 100])).await);
    assert!(matches!(error, ProtocolError::RenditionTooLong { index: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_hash_of_other_bytes_is_refused() {
    let error = broken(buy(joined(&[chunk(0, b"x"), end(0, b"y")])).await);
    assert_eq!(error, ProtocolError::RenditionMismatch { index: 0, field: "sha-256" });
}

#[tokio::test]
async fn a_receipt_before_every_rendition_is_refused() {
    let receipt = proto::SignedReceipt {
        session: vec![1; 32].into(),
        sequence: 5,
        source_hash: vec![1; 32].into(),
        ladder_hash: vec![1; 32].into(),
        renditions_root: vec![1; 32].into(),
        pixels: 1,
        round: 1,
        signature: vec![1; 65].into(),
    };
    let frames = [chunk(0, b"x"), end(0, b"x"), reply(Frame::Receipt(receipt))];
    let error = broken(buy(joined(&frames)).await);
    assert_eq!(error, ProtocolError::RenditionsMissing { ended: 1, count: 2 });
}

#[tokio::test]
async fn an_end_without_a_receipt_is_refused() {
    let frames =
        [chunk(0, b"x"), end(0, b"x"), chunk(1, b"y"), end(1, b"y"), reply(Frame::Done(proto::Done {}))];
    let error = broken(buy(joined(&frames)).await);
    assert!(matches!(error, ProtocolError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn a_seller_that_ends_the_stream_early_is_an_error() {
    let result = buy_with(joined(&[chunk(0, b"x")]), |_| {}, true).await;
    assert!(matches!(result, Err(NetworkError::Disconnected { .. })), "{result:?}");
}

#[tokio::test]
async fn a_seller_that_ends_the_stream_inside_a_message_is_an_error() {
    let whole = joined(&[chunk(0, b"rendition")]);
    let result = buy_with(whole[..whole.len() - 1].to_vec(), |_| {}, true).await;
    assert!(matches!(broken(result), ProtocolError::Truncated { .. }));
}

#[tokio::test]
async fn a_seller_that_stops_inside_a_message_is_cut_off_before_the_deadline() {
    let whole = joined(&[chunk(0, b"rendition")]);
    let result = buy(whole[..whole.len() - 1].to_vec()).await;
    assert!(matches!(result, Err(NetworkError::Timeout { what: "renditions", .. })), "{result:?}");
}

#[tokio::test]
async fn a_silent_seller_is_cut_off_at_the_deadline() {
    let result = buy_with(Vec::new(), |header| header.deadline = Duration::from_millis(600), false).await;
    assert!(matches!(result, Err(NetworkError::Timeout { .. })), "{result:?}");
}

#[tokio::test]
async fn endless_restarts_are_refused() {
    let restart = reply(Frame::Restart(proto::RenditionRestart { index: 0 }));
    let error = broken(buy(joined(&vec![restart; 10])).await);
    assert!(matches!(error, ProtocolError::RenditionMismatch { index: 0, .. }), "{error}");
}
