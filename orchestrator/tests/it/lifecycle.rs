use alloy_primitives::U256;
use framemill_network::{Network, NetworkConfig, PricePerPixel, SigningDomain, WireCode, WorkToken};
use framemill_orchestrator::{Orchestrator, OrchestratorConfig, OrchestratorDeps, OrchestratorError};
use framemill_transcoder::RenditionSink;
use probabilistic_ticket::EthKey;

use crate::support::*;

async fn deps() -> OrchestratorDeps {
    OrchestratorDeps {
        network: Network::start(NetworkConfig::loopback()).await.expect("a node on loopback"),
        key: EthKey::random(),
        domain: SigningDomain::default(),
        work_token: WorkToken::generate(),
        payments: None,
        duties: None,
        jury: None,
        registry: prometheus::Registry::new(),
    }
}

/// A market with one segment in the hands of a puppet.
async fn with_segment_in_flight(
    config: OrchestratorConfig,
) -> (Market, Worker, RenditionSink, tokio::task::JoinHandle<Option<WireCode>>) {
    let mut market = Market::free_with(config).await;
    let (puppet, mut jobs) = Puppet::new();
    let worker = market.transcoder(puppet, LOTS).await;
    let quote = market.session().await;
    let exchange =
        market.client.open_segment(market.network.peer_id(), header(&quote, 0)).await.expect("accepted");
    let client = tokio::spawn(async move { code(exchange.complete(clip()).await) });
    let sink = next_job(&mut jobs).await;
    (market, worker, sink, client)
}

#[tokio::test]
async fn shutdown_waits_for_the_segment_in_flight() {
    let (market, _worker, sink, client) = with_segment_in_flight(OrchestratorConfig::default()).await;
    let handle = market.orchestrator.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown().await });
    tokio::task::yield_now().await;
    assert!(!shutdown.is_finished());
    // The engine dies; the client hears why, and then nothing is in flight.
    drop(sink);
    assert_eq!(client.await.expect("a client"), Some(WireCode::TranscoderFailed));
    shutdown.await.expect("a task").expect("a clean end");
}

#[tokio::test]
async fn shutdown_cuts_a_hanging_segment_off_at_the_drain_deadline() {
    let config = OrchestratorConfig { drain_deadline: std::time::Duration::ZERO, ..Default::default() };
    let (market, _worker, _sink, client) = with_segment_in_flight(config).await;
    let ended = market.orchestrator.shutdown().await;
    assert!(matches!(ended, Err(OrchestratorError::Drain { segments: 1, .. })), "{ended:?}");
    client.await.expect("a client that was told");
}

#[tokio::test]
async fn a_draining_orchestrator_takes_no_new_work() {
    let (market, _worker, sink, _client) = with_segment_in_flight(OrchestratorConfig::default()).await;
    let handle = market.orchestrator.clone();
    let shutdown = tokio::spawn(async move { handle.shutdown().await });
    while market.orchestrator.readiness().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(market.quote().await), Some(WireCode::ShuttingDown));
    drop(sink);
    shutdown.await.expect("a task").expect("a clean end");
}

#[tokio::test]
async fn a_price_needs_somebody_who_takes_tickets() {
    let price = PricePerPixel::new(U256::from(1), 1).expect("a price");
    let config = OrchestratorConfig { price, ..Default::default() };
    let started = Orchestrator::start(config, deps().await).await;
    assert!(matches!(started, Err(OrchestratorError::PriceWithoutPayments { .. })));
}

#[tokio::test]
async fn refuses_a_configuration_that_cannot_work() {
    let mut config = OrchestratorConfig::default();
    config.sessions.max_in_flight = 0;
    let started = Orchestrator::start(config, deps().await).await;
    assert!(matches!(started, Err(OrchestratorError::Config { field: "sessions.max_in_flight", .. })));
}

#[tokio::test]
async fn two_orchestrators_on_one_node_are_refused() {
    let first = deps().await;
    let second = OrchestratorDeps { network: first.network.clone(), ..deps().await };
    let _running = Orchestrator::start(OrchestratorConfig::default(), first).await.expect("the first");
    let started = Orchestrator::start(OrchestratorConfig::default(), second).await;
    assert!(matches!(started, Err(OrchestratorError::Network(_))));
}
