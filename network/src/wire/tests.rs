use std::fmt::Debug;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use libp2p::PeerId;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::announcement::{Announcement, MAX_ANNOUNCEMENT_BYTES, SignedAnnouncement};
use crate::blob::BlobRequest;
use crate::ladder::{FrameRate, Ladder, SourceVideo, tests::any_ladder};
use crate::opening::{MAX_OPENED_BYTES, OpeningAnswer, OpeningQuestion, OpeningRequest};
use crate::price::PricePerPixel;
use crate::quality::{MAX_CENTI_DB, PPM, QualityTerms};
use crate::quote::{Quote, QuoteRequest, SignedQuote};
use crate::receipt::{SignedReceipt, TranscodeReceipt};
use crate::segment::{SegmentAccept, SegmentHeader};
use crate::transfer::{RenditionChunk, RenditionEnd};
use crate::wire_error::{WireCode, WireError};
use crate::work::{JobHeader, WorkCapacity, WorkHello};

fn comes_back<M: WireMessage + PartialEq + Debug>(message: &M) {
    let bytes: Bytes = message.to_proto().encode_to_vec().into();
    assert_eq!(&M::decode(bytes).unwrap(), message);
}

fn concrete_ladder() -> impl Strategy<Value = Ladder> {
    let source = SourceVideo { width: 1920, height: 1080, fps: FrameRate::new(30, 1).unwrap() };
    any_ladder().prop_map(move |ladder| ladder.resolve(&source).unwrap())
}

fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}

fn price() -> impl Strategy<Value = PricePerPixel> {
    (any::<u128>(), 1..u64::MAX)
        .prop_map(|(wei, pixels)| PricePerPixel::new(U256::from(wei), pixels).unwrap())
}

fn some_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 1..max).prop_map(Bytes::from)
}

fn signature() -> impl Strategy<Value = [u8; 65]> {
    prop::collection::vec(any::<u8>(), 65).prop_map(|bytes| bytes.try_into().unwrap())
}

fn wire_error() -> impl Strategy<Value = WireError> {
    (any::<u32>(), "[ -~]{0,80}", any::<u32>(), prop::option::of(some_bytes(100))).prop_map(
        |(code, message, millis, details)| WireError {
            code: WireCode::from_number(code),
            message,
            retry_after: Duration::from_millis(millis.into()),
            details,
        },
    )
}

fn end() -> impl Strategy<Value = RenditionEnd> {
    let quality = prop::option::of(0..=MAX_CENTI_DB);
    (0..16_u32, hash(), any::<u64>(), any::<u64>(), any::<u32>(), hash(), quality).prop_map(
        |(index, sha256, bytes, pixels, frames, feature_root, psnr_centi_db)| RenditionEnd {
            index,
            sha256,
            bytes,
            pixels,
            frames,
            feature_root,
            psnr_centi_db,
        },
    )
}

fn terms() -> impl Strategy<Value = QualityTerms> {
    (0..=MAX_CENTI_DB, 0..=MAX_CENTI_DB, 0..=PPM).prop_map(|(one, other, least_ppm)| QualityTerms {
        full_centi_db: one.max(other),
        least_centi_db: one.min(other),
        least_ppm,
    })
}

fn receipt() -> impl Strategy<Value = SignedReceipt> {
    ((hash(), hash(), hash(), hash()), any::<u64>(), any::<u64>(), any::<u32>(), signature()).prop_map(
        |(hashes, sequence, pixels, round, signature)| SignedReceipt {
            receipt: TranscodeReceipt {
                session: hashes.0,
                sequence,
                source_hash: hashes.1,
                ladder_hash: hashes.2,
                renditions_root: hashes.3,
                pixels,
                round,
            },
            signature,
        },
    )
}

fn reply_frame() -> impl Strategy<Value = ReplyFrame> {
    prop_oneof![
        (prop::option::of(some_bytes(100)), any::<u32>()).prop_map(|(ticket_params, refused_tickets)| {
            ReplyFrame::Accept(SegmentAccept { ticket_params, refused_tickets })
        }),
        (0..16_u32, some_bytes(2_000))
            .prop_map(|(index, data)| ReplyFrame::Chunk(RenditionChunk { index, data })),
        end().prop_map(ReplyFrame::End),
        any::<u32>().prop_map(|index| ReplyFrame::Restart { index }),
        receipt().prop_map(ReplyFrame::Receipt),
        (any::<u32>(), signature())
            .prop_map(|(round, signature)| ReplyFrame::BriefReceipt { round, signature }),
        Just(ReplyFrame::Done),
        wire_error().prop_map(ReplyFrame::Error),
    ]
}

fn job() -> impl Strategy<Value = JobHeader> {
    ((any::<u64>(), any::<u64>(), 1..1_000_000_u64), hash(), hash(), concrete_ladder(), any::<u32>())
        .prop_map(|((job, sequence, duration_90k), session, source_sha256, ladder, deadline)| JobHeader {
            job,
            session,
            sequence,
            duration_90k,
            frames: 60,
            source_len: 1_000,
            source_sha256,
            ladder,
            deadline: Duration::from_millis(deadline.into()),
        })
}

fn control_frame() -> impl Strategy<Value = ControlFrame> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(|nonce| ControlFrame::Challenge { nonce }),
        any::<[u8; 32]>().prop_map(|mac| ControlFrame::Proof { mac }),
        (any::<[u8; 32]>(), any::<u32>())
            .prop_map(|(mac, keep_alive_ms)| ControlFrame::Welcome(Welcome { mac, keep_alive_ms })),
        Just(ControlFrame::KeepAlive),
        (any::<u64>(), any::<u32>()).prop_map(|(pixels_per_second, max_sessions)| {
            ControlFrame::Capacity(WorkCapacity { pixels_per_second, max_sessions })
        }),
        Just(ControlFrame::Drain),
        wire_error().prop_map(ControlFrame::Error),
    ]
}

/// A reply with these terms, and nothing else of interest.
fn offer(quality: QualityTerms) -> QuoteReply {
    let quote = Quote {
        session: B256::ZERO,
        orchestrator: Address::ZERO,
        orchestrator_peer: PeerId::random(),
        broadcaster_peer: PeerId::random(),
        sender: Address::ZERO,
        price: PricePerPixel::new(U256::from(1), 1).unwrap(),
        ticket_params: Bytes::new(),
        capacity: 1,
        expires_at_unix_ms: 1,
        ladder_hash: B256::ZERO,
        commitment_version: 1,
        quality,
    };
    QuoteReply::Quote(Box::new(SignedQuote { quote, signature: [0; 65] }))
}

#[test]
fn quality_terms_that_cannot_be_computed_with_are_refused() {
    let sound = QualityTerms { full_centi_db: 4_000, least_centi_db: 3_000, least_ppm: 500_000 };
    comes_back(&offer(sound));
    let wrong = [
        QualityTerms { full_centi_db: MAX_CENTI_DB + 1, ..sound },
        QualityTerms { least_centi_db: 4_001, ..sound },
        QualityTerms { least_ppm: PPM + 1, ..sound },
    ];
    for terms in wrong {
        assert!(QuoteReply::decode(offer(terms).to_proto().encode_to_vec().into()).is_err(), "{terms:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_quote_request_comes_back(
        sender in address(), ladder in concrete_ladder(), pixels in any::<u64>(), max_price in prop::option::of(price()),
        commitments in any::<bool>(),
    ) {
        let source = SourceVideo { width: 1920, height: 1080, fps: FrameRate::new(30_000, 1_001).unwrap() };
        comes_back(&QuoteRequest { sender, ladder, source, pixels_per_second: pixels, max_price, commitments });
    }

    #[test]
    fn a_quote_comes_back(
        (session, ladder_hash) in (hash(), hash()), (orchestrator, sender) in (address(), address()), price in price(),
        ticket_params in some_bytes(500), numbers in any::<(u64, u64, u32)>(), signature in signature(),
        quality in prop_oneof![terms(), Just(QualityTerms::WHOLE)],
    ) {
        let quote = Quote {
            session, orchestrator, orchestrator_peer: PeerId::random(), broadcaster_peer: PeerId::random(), sender, price,
            ticket_params, capacity: numbers.0, expires_at_unix_ms: numbers.1, ladder_hash,
            commitment_version: numbers.2, quality,
        };
        comes_back(&QuoteReply::Quote(Box::new(SignedQuote { quote, signature })));
    }

    #[test]
    fn an_announcement_comes_back(
        orchestrator in address(), price in price(), committed_price in prop::option::of(price()),
        ports in prop::collection::vec(1..u16::MAX, 0..=8), numbers in any::<(u64, u64, u64)>(), signature in signature(),
    ) {
        let address = |port: u16| format!("/ip6/2001:db8::{port:x}/udp/{port}/quic-v1").parse().unwrap();
        let announcement = Announcement {
            orchestrator, peer: PeerId::random(), addresses: ports.into_iter().map(address).collect(), price, committed_price,
            capacity: numbers.0, sequence: numbers.1, expires_at_unix_ms: numbers.2,
        };
        let signed = SignedAnnouncement { announcement, signature };
        comes_back(&signed);
        prop_assert!(signed.to_proto().encoded_len() <= MAX_ANNOUNCEMENT_BYTES);
    }

    #[test]
    fn an_error_comes_back(error in wire_error()) {
        comes_back(&QuoteReply::Error(error));
    }

    #[test]
    fn a_segment_header_comes_back(job in job(), payment in some_bytes(2_000), commitment in prop::option::of(hash())) {
        comes_back(&SegmentHeader {
            session: job.session, sequence: job.sequence, duration_90k: job.duration_90k, frames: job.frames,
            source_len: job.source_len, source_sha256: job.source_sha256, ladder: job.ladder, deadline: job.deadline, payment,
            sampling_commitment: commitment,
        });
    }

    #[test]
    fn a_question_comes_back(session in hash(), numbers in any::<(u64, u32, u32, u32, u32)>()) {
        let (sequence, rendition, frame, level, index) = numbers;
        let questions = [
            OpeningQuestion::Root,
            OpeningQuestion::FramesNode { level, index },
            OpeningQuestion::Frame { index },
            OpeningQuestion::BlocksNode { frame, level, index },
            OpeningQuestion::Block { frame, index },
        ];
        for question in questions {
            comes_back(&OpeningRequest { session, sequence, rendition, question });
        }
    }

    #[test]
    fn an_opening_comes_back((left, right) in (hash(), hash()), (width, height, frames) in any::<(u32, u32, u32)>(), data in some_bytes(MAX_OPENED_BYTES), error in wire_error()) {
        let answers = [
            OpeningAnswer::Root { width, height, frames, frames_root: left },
            OpeningAnswer::Children { left, right },
            OpeningAnswer::Frame { bytes: width, blocks_root: right },
            OpeningAnswer::Block { data },
        ];
        for answer in answers {
            comes_back(&OpeningReply::Answer(answer));
        }
        comes_back(&OpeningReply::Error(error));
    }

    #[test]
    fn a_request_for_a_file_and_its_bytes_come_back(sha256 in hash(), max_bytes: u64, data in some_bytes(500), error in wire_error()) {
        comes_back(&BlobRequest { sha256, max_bytes });
        for frame in [BlobFrame::Bytes(max_bytes), BlobFrame::Data(data), BlobFrame::Error(error)] {
            comes_back(&frame);
        }
    }

    #[test]
    fn a_reply_frame_comes_back(frame in reply_frame()) {
        comes_back(&frame);
    }

    #[test]
    fn a_job_comes_back(job in job()) {
        comes_back(&WorkOpen::Job(job));
    }

    #[test]
    fn a_hello_comes_back(name in "[ -~]{1,64}", engines in prop::collection::vec("[a-z0-9]{1,20}", 0..8), nonce in any::<[u8; 32]>()) {
        let hello = WorkHello { name, engines, capacity: WorkCapacity { pixels_per_second: 1, max_sessions: 2 } };
        comes_back(&WorkOpen::Hello(WorkHelloFrame { hello, nonce, keep_alive_ms: 5_000 }));
    }

    #[test]
    fn a_control_frame_comes_back(frame in control_frame()) {
        comes_back(&frame);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decode_all(&bytes.into());
    }

    #[test]
    fn damaged_messages_never_panic(frame in reply_frame(), job in job(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for mut bytes in [frame.to_proto().encode_to_vec(), WorkOpen::Job(job).to_proto().encode_to_vec()] {
            let position = at.index(bytes.len());
            bytes[position] = byte;
            decode_all(&bytes.into());
        }
    }

    #[test]
    fn the_largest_ladder_fits_its_bound(ladder in any_ladder()) {
        let source = SourceVideo { width: 8_192, height: 8_192, fps: FrameRate::SOURCE };
        let request = QuoteRequest {
            sender: Address::ZERO, ladder: ladder.resolve(&source).unwrap(), source, pixels_per_second: 0, max_price: None,
            commitments: false,
        };
        prop_assert!(request.to_proto().ladder.len() <= MAX_LADDER_BYTES);
    }
}

#[test]
fn an_open_ladder_is_refused() {
    let source = SourceVideo { width: 1920, height: 1080, fps: FrameRate::SOURCE };
    let request = QuoteRequest {
        sender: Address::ZERO,
        ladder: Ladder::default(),
        source,
        pixels_per_second: 0,
        max_price: None,
        commitments: false,
    };
    assert!(QuoteRequest::decode(request.to_proto().encode_to_vec().into()).is_err());
}

#[test]
fn an_error_with_control_characters_is_refused() {
    let mut bytes = ReplyFrame::Error(WireError::new(WireCode::Busy, "plain")).to_proto().encode_to_vec();
    let position = bytes.windows(5).position(|window| window == b"plain").unwrap();
    bytes[position] = 0x1b;
    assert!(ReplyFrame::decode(bytes.into()).is_err());
}
