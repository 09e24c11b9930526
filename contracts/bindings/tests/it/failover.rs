//! Several endpoints: one that fails, one that lags, one of another chain.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use framemill_contracts::{Anvil, AnvilConfig, ChainClient, ChainConfig, ChainError};

use crate::{
    proxy::Proxy,
    stage::{Stage, config},
};

/// Endpoints in this order, quick to give one up.
fn over(urls: &[&str]) -> ChainConfig {
    ChainConfig {
        rpc_url: urls[0].to_owned(),
        fallback_rpc_urls: urls[1..].iter().map(|url| (*url).to_owned()).collect(),
        request_timeout: Duration::from_secs(5),
        retries: 0,
        retry_backoff: Duration::from_millis(10),
        probe_interval: Duration::ZERO,
        poll_interval: Duration::from_millis(10),
        ..ChainConfig::default()
    }
}

#[tokio::test]
async fn reads_and_writes_go_on_when_the_first_endpoint_dies() {
    let stage = Stage::set().await;
    let first = Proxy::to(stage.anvil.endpoint()).await;
    let key = stage.anvil.keys()[1].clone();
    let endpoints = over(&[first.url(), stage.anvil.endpoint()]);
    let client = ChainClient::connect(endpoints, stage.deployment, Some(key)).await.unwrap();
    assert!(first.requests() > 0, "the first endpoint is asked first");
    first.shut();
    assert!(client.round_info().await.unwrap().is_initialized());
    let to = Address::repeat_byte(4);
    client.transfer_wei(to, U256::ONE).await.unwrap();
    assert_eq!(client.balance(to).await.unwrap(), U256::ONE);
}

#[tokio::test]
async fn reads_stay_with_one_endpoint_and_writes_go_to_all() {
    let stage = Stage::set().await;
    let (first, second) = (Proxy::to(stage.anvil.endpoint()).await, Proxy::to(stage.anvil.endpoint()).await);
    let key = stage.anvil.keys()[1].clone();
    let endpoints =
        ChainConfig { probe_interval: Duration::from_secs(3_600), ..over(&[first.url(), second.url()]) };
    let client = ChainClient::connect(endpoints, stage.deployment, Some(key)).await.unwrap();
    client.round_info().await.unwrap();
    client.transfer_wei(Address::repeat_byte(4), U256::ONE).await.unwrap();
    second.seen("eth_sendRawTransaction").await;
    first.seen("eth_sendRawTransaction").await;
    assert_eq!(second.count("eth_call"), 0);
    assert_eq!(first.count("eth_call"), 6, "a round is six reads");
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_left_out_and_named_when_it_is_the_only_one() {
    let stage = Stage::set().await;
    let other = Anvil::start(AnvilConfig { chain_id: 5, ..AnvilConfig::default() }).await.unwrap();
    let endpoints = over(&[other.endpoint(), stage.anvil.endpoint()]);
    let client = ChainClient::connect(endpoints, stage.deployment, None).await.unwrap();
    assert_eq!(client.round_info().await.unwrap().current, 1);
    let alone = over(&[other.endpoint()]);
    let error = ChainClient::connect(alone, stage.deployment, None).await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { expected: 31_337, found: 5 }), "{error}");
}

#[tokio::test]
async fn reads_leave_an_endpoint_that_falls_behind() {
    let stage = Stage::set().await;
    let slow = Anvil::start(AnvilConfig::default()).await.unwrap();
    let endpoints = over(&[slow.endpoint(), stage.anvil.endpoint()]);
    let client = ChainClient::connect(endpoints, stage.deployment, None).await.unwrap();
    // The contracts are on the second chain only, which is ahead by the blocks that deployed them.
    let height = client.block_number().await.unwrap();
    assert_eq!(height, stage.owner.block_number().await.unwrap());
    assert_eq!(client.round_info().await.unwrap().current, 1);
}

#[tokio::test]
async fn all_endpoints_away_is_one_retryable_error_that_names_them_without_their_paths() {
    let stage = Stage::set().await;
    let (first, second) = (Proxy::to(stage.anvil.endpoint()).await, Proxy::to(stage.anvil.endpoint()).await);
    let keyed = format!("{}/v2/secret", first.url());
    let client = ChainClient::connect(over(&[&keyed, second.url()]), stage.deployment, None).await.unwrap();
    first.shut();
    second.shut();
    let error = client.gas_price().await.unwrap_err();
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains(first.url()) && text.contains(second.url()), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_list_of_orchestrators_is_read_in_a_handful_of_requests() {
    let stage = Stage::set().await;
    for index in 2..8 {
        stage.candidate(index, 100 + u64::try_from(index).unwrap()).await;
    }
    stage.next_round().await;
    let proxy = Proxy::to(stage.anvil.endpoint()).await;
    let settings = ChainConfig { rpc_url: proxy.url().to_owned(), ..config(&stage.anvil) };
    let client = ChainClient::connect(settings, stage.deployment, None).await.unwrap();
    let before = proxy.requests();
    assert_eq!(client.active_orchestrators().await.unwrap().len(), 6);
    assert_eq!(proxy.requests() - before, 3, "height, set, and everything about its members");
}

#[tokio::test]
async fn more_endpoints_than_writes_may_go_to_are_refused() {
    let stage = Stage::set().await;
    let nine = vec![stage.anvil.endpoint(); 9];
    let error = ChainClient::connect(over(&nine), stage.deployment, None).await.unwrap_err();
    assert!(error.to_string().contains("at most 7"), "{error}");
}
