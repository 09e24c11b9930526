//! Deployment, rounds, and who is active.

use alloy::primitives::{Address, B256, U256};
use framemill_contracts::{ChainClient, ChainError, DeployParams, Deployment, deploy_once, dev_key};

use crate::stage::{Stage, UNIT, config, registration};

#[tokio::test]
async fn deploys_with_the_first_round_initialized() {
    let stage = Stage::set().await;
    let round = stage.owner.round_info().await.unwrap();
    assert!(round.is_initialized());
    assert_eq!((round.current, round.length), (1, stage.params.round_length));
    assert_eq!(stage.owner.round_block_hash(1).await.unwrap(), Some(round.block_hash));
    assert_eq!(stage.owner.round_block_hash(2).await.unwrap(), None);
}

#[tokio::test]
async fn takes_a_standing_deployment_instead_of_a_second_one() {
    let stage = Stage::set().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deployment.json");
    stage.deployment.save(&file).unwrap();
    let params = DeployParams::devnet();
    let again = deploy_once(&config(&stage.anvil), &stage.anvil.keys()[0], &params, &file).await.unwrap();
    assert_eq!(again, stage.deployment);
    assert_eq!(Deployment::load(&file).unwrap(), stage.deployment);
}

#[tokio::test]
async fn refuses_a_deployment_of_another_chain() {
    let stage = Stage::set().await;
    let other = Deployment { chain_id: 1, ..stage.deployment };
    let error = ChainClient::connect(config(&stage.anvil), other, None).await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { expected: 1, found: 31_337 }));
}

#[tokio::test]
async fn three_registered_orchestrators_are_active_from_the_next_round() {
    let stage = Stage::set().await;
    let mut addresses = Vec::new();
    for (index, stake) in [(2, 100), (3, 300), (4, 200)] {
        addresses.push(stage.candidate(index, stake).await.address().unwrap());
    }
    assert_eq!(stage.owner.active_orchestrators().await.unwrap(), []);
    stage.next_round().await;
    let active = stage.owner.active_orchestrators().await.unwrap();
    let order: Vec<Address> = active.iter().map(|record| record.address).collect();
    assert_eq!(order, [addresses[1], addresses[2], addresses[0]]);
    assert!(active.iter().all(|r| r.active && r.fee_share_ppm == 500_000 && r.signing_key == r.address));
    assert_eq!(active[0].service_uri, registration(U256::ZERO).service_uri);
}

#[tokio::test]
async fn registering_twice_changes_nothing() {
    let stage = Stage::set().await;
    let client = stage.candidate(2, 100).await;
    let before = stage.owner.block_number().await.unwrap();
    client.register_orchestrator(&registration(U256::from(100) * U256::from(UNIT))).await.unwrap();
    assert_eq!(stage.owner.block_number().await.unwrap(), before);
}

#[tokio::test]
async fn an_unknown_account_is_no_orchestrator() {
    let stage = Stage::set().await;
    assert_eq!(stage.owner.orchestrator(Address::repeat_byte(9)).await.unwrap(), None);
}

#[tokio::test]
async fn the_second_of_two_keepers_finds_the_round_done() {
    let stage = Stage::set().await;
    stage.next_round().await;
    assert_eq!(stage.broadcaster.initialize_round().await.unwrap(), None);
}

#[tokio::test]
async fn a_client_without_a_key_only_reads() {
    let stage = Stage::set().await;
    let reader = ChainClient::connect(config(&stage.anvil), stage.deployment, None).await.unwrap();
    assert!(reader.round_info().await.is_ok());
    assert!(matches!(reader.unlock().await.unwrap_err(), ChainError::ReadOnly { call: "unlock()" }));
}

#[tokio::test]
async fn a_contracts_error_is_named_with_its_arguments() {
    let stage = Stage::set().await;
    let error = stage.broadcaster.unbond(U256::from(5)).await.unwrap_err();
    let address = stage.broadcaster.address().unwrap();
    assert_eq!(error.to_string(), format!("unbond(uint256) reverted: NotBonded({address})"));
}

#[tokio::test]
async fn many_tasks_send_from_one_account_at_once() {
    let stage = Stage::set().await;
    let to = Address::repeat_byte(3);
    let sends = (0..12).map(|_| stage.owner.transfer_wei(to, U256::ONE));
    futures::future::try_join_all(sends).await.unwrap();
    assert_eq!(stage.owner.balance(to).await.unwrap(), U256::from(12));
}

#[tokio::test]
async fn a_transaction_nobody_sent_is_dropped() {
    let stage = Stage::set().await;
    let status = stage.owner.tx_status(B256::repeat_byte(1)).await.unwrap();
    assert_eq!(status, framemill_contracts::TxStatus::Dropped);
}

#[tokio::test]
async fn development_keys_are_those_that_anvil_funds() {
    let stage = Stage::set().await;
    for (index, key) in stage.anvil.keys().iter().enumerate() {
        assert_eq!(dev_key(index).as_ref(), Some(key));
    }
}
