use std::time::Duration;

use framemill_network::{NetworkError, ProtocolError, WireCode, WireError};

use crate::support::*;

#[tokio::test]
async fn a_quote_makes_one_round_trip() {
    let orchestrator = node().await;
    let mut quotes = orchestrator.serve_quotes(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let serving = async {
        let incoming = quotes.next().await.unwrap();
        assert_eq!(incoming.peer(), broadcaster.peer_id());
        let quote = quote_for(&orchestrator, &incoming);
        incoming.respond(Ok(quote));
    };
    let request = quote_request();
    let asking = broadcaster.request_quote(orchestrator.peer_id(), &request, LONG);
    let (quote, ()) = tokio::join!(asking, serving);
    assert_eq!(quote.unwrap().quote.ladder_hash, ladder().hash());
}

#[tokio::test]
async fn a_refusal_arrives_with_its_code_advice_and_details() {
    let orchestrator = node().await;
    let mut quotes = orchestrator.serve_quotes(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let refusal = WireError::new(WireCode::Busy, "no capacity")
        .with_retry_after(Duration::from_millis(1_500))
        .with_details(bytes::Bytes::from_static(b"more"));
    let serving = async { quotes.next().await.unwrap().respond(Err(refusal.clone())) };
    let request = quote_request();
    let asking = broadcaster.request_quote(orchestrator.peer_id(), &request, LONG);
    match tokio::join!(asking, serving).0 {
        Err(NetworkError::Refused(error)) => assert_eq!(error, refusal),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_quote_for_something_else_is_refused() {
    let orchestrator = node().await;
    let mut quotes = orchestrator.serve_quotes(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let serving = async {
        let incoming = quotes.next().await.unwrap();
        let mut quote = quote_for(&orchestrator, &incoming);
        quote.quote.ladder_hash = Default::default();
        incoming.respond(Ok(quote));
    };
    let request = quote_request();
    let asking = broadcaster.request_quote(orchestrator.peer_id(), &request, LONG);
    let result = tokio::join!(asking, serving).0;
    assert!(matches!(result, Err(NetworkError::Protocol(ProtocolError::Quote(_)))), "{result:?}");
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends_at_its_deadline() {
    let orchestrator = node().await;
    let _quotes = orchestrator.serve_quotes(4).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let deadline = Duration::from_millis(300);
    let result = broadcaster.request_quote(orchestrator.peer_id(), &quote_request(), deadline).await;
    assert!(matches!(result, Err(NetworkError::Timeout { .. })), "{result:?}");
}

#[tokio::test]
async fn further_requests_are_busy_while_the_application_is_slow() {
    let orchestrator = node().await;
    let _quotes = orchestrator.serve_quotes(1).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let request = quote_request();
    let ask = || broadcaster.request_quote(orchestrator.peer_id(), &request, Duration::from_secs(2));
    let results = tokio::join!(ask(), ask(), ask());
    let busy = [results.0, results.1, results.2]
        .iter()
        .filter(|result| result.as_ref().is_err_and(|error| error.wire_code() == Some(WireCode::Busy)))
        .count();
    assert_eq!(busy, 2);
}

#[tokio::test]
async fn a_dropped_request_is_answered_with_busy() {
    let orchestrator = node().await;
    let mut quotes = orchestrator.serve_quotes(1).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let request = quote_request();
    let asking = broadcaster.request_quote(orchestrator.peer_id(), &request, LONG);
    let serving = async { drop(quotes.next().await.unwrap()) };
    let error = tokio::join!(asking, serving).0.unwrap_err();
    assert_eq!(error.wire_code(), Some(WireCode::Busy));
}

#[tokio::test]
async fn a_burst_of_requests_on_one_connection_is_served_whole() {
    let orchestrator = node().await;
    let mut quotes = orchestrator.serve_quotes(64).unwrap();
    let broadcaster = client_of(&orchestrator).await;
    let serving = async {
        for _ in 0..40 {
            let incoming = quotes.next().await.unwrap();
            let quote = quote_for(&orchestrator, &incoming);
            incoming.respond(Ok(quote));
        }
    };
    let request = quote_request();
    let asking = futures::future::join_all(
        (0..40).map(|_| broadcaster.request_quote(orchestrator.peer_id(), &request, LONG)),
    );
    let (results, ()) = tokio::join!(asking, serving);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}
