use alloy_primitives::B256;
use framemill_media::MediaLimits;
use framemill_network::{
    NetworkError, OpeningAnswer, OpeningRequest, SegmentHeader, SigningDomain, WireCode, renditions_root,
};
use framemill_orchestrator::OrchestratorConfig;
use framemill_verification::policy::journal::Entry;
use framemill_verification::{COMMITMENT_VERSION, Question, Shape, Verdict, check_claim, open_frame};
use probabilistic_ticket::{Signature, recover};

use crate::support::*;

#[tokio::test]
async fn a_quote_is_signed_by_the_orchestrator_for_this_peer() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let signed = market.quote().await.expect("a quote");
    let digest = signed.quote.signing_hash(&SigningDomain::default());
    let signature = Signature::from_bytes(signed.signature).expect("a signature");
    assert_eq!(recover(digest, &signature), Ok(market.orchestrator.address()));
    assert_eq!(signed.quote.broadcaster_peer, market.client.peer_id());
}

#[tokio::test]
async fn delivers_the_whole_ladder_with_a_receipt_it_vouches_for() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let header = header(&quote, 0);
    let result = market.send(header.clone(), clip()).await.expect("a result");
    assert_whole(&result);

    let receipt = result.receipt.receipt;
    assert_eq!(receipt.renditions_root, renditions_root(&result.claims()));
    assert_eq!((receipt.source_hash, receipt.pixels), (header.source_sha256, PIXELS));
    let signature = Signature::from_bytes(result.receipt.signature).expect("a signature");
    let signer = recover(receipt.signing_hash(&SigningDomain::default()), &signature);
    assert_eq!(signer, Ok(market.orchestrator.address()));
    let kept = market.orchestrator.receipt(quote.quote.session, 0).expect("kept evidence");
    assert_eq!((kept.signed, kept.claims.len()), (result.receipt, 2));
}

#[tokio::test]
async fn commits_to_the_features_of_what_it_returns_where_the_quote_says_so() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let asked = market.quote_for(&market.client, |request| request.commitments = true).await;
    let quote = asked.expect("a quote");
    assert_eq!(quote.quote.commitment_version, u32::from(COMMITMENT_VERSION));
    let result = market.send(header(&quote, 0), clip()).await.expect("a result");
    for (rendition, claim) in result.renditions.iter().zip(result.claims()) {
        let report = check_claim(rendition, &claim, &MediaLimits::segment()).expect("it decodes");
        assert!(report.committed && report.verdict == Verdict::Pass, "{report:?}");
    }
    let kept = market.orchestrator.receipt(quote.quote.session, 0).expect("kept evidence");
    assert_eq!(kept.claims, result.claims());
}

#[tokio::test]
async fn opens_what_it_committed_to_for_its_client_and_for_nobody_else() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let asked = market.quote_for(&market.client, |request| request.commitments = true).await;
    let quote = asked.expect("a quote");
    let result = market.send(header(&quote, 0), clip()).await.expect("a result");
    let (orchestrator, stranger) = (market.network.peer_id(), client_of(&market.network).await);
    let request = |question: Question, sequence| OpeningRequest {
        session: quote.quote.session,
        sequence,
        rendition: 1,
        question: question.into(),
    };
    let root = request(Question::Root, 0);
    let told = market.client.request_opening(orchestrator, &root, PATIENCE).await.expect("an opening");
    let OpeningAnswer::Root { width, height, frames, frames_root } = told else { panic!("{told:?}") };
    let shape = Shape { width, height, frames };
    assert_eq!((width, height, frames), (64, 36, 30));
    assert_eq!(shape.root(frames_root), result.claims()[1].feature_root);

    let block = request(Question::Block { frame: 29, index: 0 }, 0);
    let told = market.client.request_opening(orchestrator, &block, PATIENCE).await.expect("an opening");
    let truth = open_frame(&result.renditions[1], 29, &MediaLimits::segment()).expect("a frame");
    assert!(matches!(&told, OpeningAnswer::Block { data } if Some(&data[..]) == truth.block(0)), "{told:?}");

    let refused = |answer: Result<OpeningAnswer, NetworkError>| answer.expect_err("a refusal").wire_code();
    let answer = stranger.request_opening(orchestrator, &root, PATIENCE).await;
    assert_eq!(refused(answer), Some(WireCode::UnknownSession));
    let other = request(Question::Root, 1);
    let answer = market.client.request_opening(orchestrator, &other, PATIENCE).await;
    assert_eq!(refused(answer), Some(WireCode::UnknownSession));
}

#[tokio::test]
async fn notes_the_sampling_commitment_that_came_with_what_it_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told.jsonl");
    let config = OrchestratorConfig { told: Some(told.clone()), ..OrchestratorConfig::default() };
    let mut market = Market::free_with(config).await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let commitment = B256::repeat_byte(8);
    let with = SegmentHeader { sampling_commitment: Some(commitment), ..header(&quote, 0) };
    let result = market.send(with, clip()).await.expect("a result");
    market.send(header(&quote, 1), clip()).await.expect("a result");
    market.orchestrator.shutdown().await.expect("it ends");

    let text = std::fs::read_to_string(told).expect("notes");
    let digest = result.receipt.receipt.signing_hash(&SigningDomain::default());
    let notes: Vec<Entry> = text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect();
    let [Entry::Told { commitment: noted, session, sequence: 0, result, .. }] = notes[..] else {
        panic!("{notes:?}")
    };
    assert_eq!((noted, session, result), (commitment, quote.quote.session, digest));
}

#[tokio::test]
async fn commits_to_nothing_unless_asked() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    assert_eq!(quote.quote.commitment_version, 0);
    let result = market.send(header(&quote, 0), clip()).await.expect("a result");
    assert!(result.claims().iter().all(|claim| claim.feature_root.is_zero()));
}

#[tokio::test]
async fn refuses_to_quote_commitments_it_does_not_offer() {
    let config = OrchestratorConfig { commitments: None, ..OrchestratorConfig::default() };
    let mut market = Market::free_with(config).await;
    let _worker = market.software().await;
    let quote = market.quote_for(&market.client, |request| request.commitments = true).await;
    assert_eq!(code(quote), Some(WireCode::BadRequest));
}

#[tokio::test]
async fn serves_segments_of_one_session_at_the_same_time() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let (first, second) =
        tokio::join!(market.send(header(&quote, 0), clip()), market.send(header(&quote, 1), clip()));
    assert_whole(&first.expect("a result"));
    assert_whole(&second.expect("a result"));
}

#[tokio::test]
async fn refuses_a_segment_of_an_unknown_session() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let mut quote = market.session().await;
    quote.quote.session = B256::repeat_byte(1);
    assert_eq!(code(market.send(header(&quote, 0), clip()).await), Some(WireCode::UnknownSession));
}

#[tokio::test]
async fn refuses_a_segment_in_the_session_of_another_peer() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let thief = client_of(&market.network).await;
    let stolen = market.send_from(&thief, header(&quote, 0), clip()).await;
    assert_eq!(code(stolen), Some(WireCode::UnknownSession));
}

#[tokio::test]
async fn refuses_a_segment_that_was_served_before() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    market.send(header(&quote, 5), clip()).await.expect("a result");
    assert_eq!(code(market.send(header(&quote, 5), clip()).await), Some(WireCode::ReplayedSegment));
    assert_eq!(market.orchestrator.receipts().len(), 1);
}

#[tokio::test]
async fn refuses_a_ladder_other_than_the_quoted_one() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.session().await;
    let mut header = header(&quote, 0);
    header.ladder = r#"[{"name":"a","width":64,"height":36,"bitrate":100000}]"#.parse().expect("a ladder");
    assert_eq!(code(market.send(header, clip()).await), Some(WireCode::LadderMismatch));
}

#[tokio::test]
async fn has_no_quote_without_a_transcoder() {
    let market = Market::free().await;
    assert_eq!(code(market.quote().await), Some(WireCode::NoTranscoder));
    assert!(!market.orchestrator.readiness().is_empty());
}

#[tokio::test]
async fn says_that_no_transcoder_is_there_before_the_upload() {
    let mut market = Market::free().await;
    let worker = market.software().await;
    let quote = market.session().await;
    worker.vanish().await;
    market
        .until(|event| matches!(event, framemill_orchestrator::OrchestratorEvent::TranscoderLeft { .. }))
        .await;
    let opened = market.client.open_segment(market.network.peer_id(), header(&quote, 0)).await;
    assert_eq!(code(opened), Some(WireCode::NoTranscoder));
}

#[tokio::test]
async fn refuses_a_price_ceiling_below_its_price() {
    let mut market = Market::paid(1_000).await;
    let _worker = market.software().await;
    let ceiling = framemill_network::PricePerPixel::new(alloy_primitives::U256::from(1), 2).expect("a price");
    let quote = market.quote_for(&market.client, |request| request.max_price = Some(ceiling)).await;
    assert_eq!(code(quote), Some(WireCode::PriceTooLow));
}

#[tokio::test]
async fn refuses_a_ladder_with_open_sizes() {
    let mut market = Market::free().await;
    let _worker = market.software().await;
    let quote = market.quote_for(&market.client, |request| request.ladder = Default::default()).await;
    assert!(quote.is_err());
}
