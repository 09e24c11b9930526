//! A chain that goes away and comes back.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use framemill_contracts::{ChainClient, ChainConfig};

use crate::stage::{Stage, config};

/// Gives up quickly: the outage of these tests ends only when they say so.
fn impatient(stage: &Stage) -> ChainConfig {
    ChainConfig {
        request_timeout: Duration::from_millis(200),
        retries: 1,
        retry_backoff: Duration::from_millis(10),
        ..config(&stage.anvil)
    }
}

async fn impatient_client(stage: &Stage) -> ChainClient {
    let key = stage.anvil.keys()[1].clone();
    ChainClient::connect(impatient(stage), stage.deployment, Some(key)).await.unwrap()
}

#[tokio::test]
async fn a_stopped_chain_gives_retryable_errors_until_it_goes_on() {
    let stage = Stage::set().await;
    let client = impatient_client(&stage).await;
    stage.anvil.pause().await.unwrap();
    let error = client.round_info().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let error = client.fund_deposit_and_reserve(U256::ONE, U256::ONE).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    stage.anvil.resume().await.unwrap();
    let patient = stage.client(1).await;
    patient.fund_deposit_and_reserve(U256::ONE, U256::ONE).await.unwrap();
    assert!(client.round_info().await.is_ok());
}

#[tokio::test]
async fn a_transaction_sent_before_an_outage_is_found_after_it() {
    let stage = Stage::set().await;
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let client = stage.client(1).await;
    let sender = client.clone();
    let to = Address::repeat_byte(5);
    let sent = tokio::spawn(async move { sender.transfer_wei(to, U256::ONE).await });
    while stage.owner.balance(to).await.unwrap().is_zero() {
        stage.anvil.pause().await.unwrap();
        stage.anvil.resume().await.unwrap();
        stage.anvil.mine(1).await.unwrap();
    }
    assert!(sent.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_dead_endpoint_is_a_retryable_error() {
    let stage = Stage::set().await;
    let client = impatient_client(&stage).await;
    drop(stage);
    assert!(client.block_number().await.unwrap_err().is_retryable());
}
