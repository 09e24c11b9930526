use std::time::Duration;

use alloy_primitives::B256;
use framemill_network::{NetworkError, OpeningAnswer, OpeningQuestion, OpeningRequest, WireCode, WireError};

use crate::support::*;

fn question() -> OpeningRequest {
    OpeningRequest {
        session: B256::repeat_byte(1),
        sequence: 2,
        rendition: 3,
        question: OpeningQuestion::BlocksNode { frame: 4, level: 5, index: 6 },
    }
}

#[tokio::test]
async fn a_question_is_answered_to_who_asks() {
    let orchestrator = node().await;
    let mut openings = orchestrator.serve_openings(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let opened = OpeningAnswer::Children { left: B256::repeat_byte(7), right: B256::repeat_byte(8) };
    let serving = async {
        let incoming = openings.next().await.unwrap();
        assert_eq!((incoming.peer(), incoming.request()), (broadcaster.peer_id(), &question()));
        incoming.respond(Ok(opened.clone()));
    };
    let asked = question();
    let asking = broadcaster.request_opening(orchestrator.peer_id(), &asked, LONG);
    assert_eq!(tokio::join!(asking, serving).0.unwrap(), opened);
}

#[tokio::test]
async fn a_question_that_is_refused_says_why() {
    let orchestrator = node().await;
    let mut openings = orchestrator.serve_openings(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let refusal = WireError::new(WireCode::UnknownSession, "not kept any more");
    let serving = async { openings.next().await.unwrap().respond(Err(refusal.clone())) };
    let asked = question();
    let asking = broadcaster.request_opening(orchestrator.peer_id(), &asked, LONG);
    match tokio::join!(asking, serving).0 {
        Err(NetworkError::Refused(error)) => assert_eq!(error, refusal),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_question_that_is_dropped_is_answered_with_busy_and_one_that_hangs_ends_at_its_deadline() {
    let orchestrator = node().await;
    let mut openings = orchestrator.serve_openings(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let asked = question();
    let dropping = async { drop(openings.next().await) };
    let asking = broadcaster.request_opening(orchestrator.peer_id(), &asked, LONG);
    let error = tokio::join!(asking, dropping).0.unwrap_err();
    assert_eq!(error.wire_code(), Some(WireCode::Busy));
    let deadline = Duration::from_millis(300);
    let hung = broadcaster.request_opening(orchestrator.peer_id(), &asked, deadline).await;
    assert!(matches!(hung, Err(NetworkError::Timeout { .. })), "{hung:?}");
}
