//! Stuck, lost and contested account nonces, and fees that rise.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use framemill_contracts::{ChainClient, ChainConfig, ChainError, TxStatus};

use crate::stage::{FACE_VALUE, Stage, config};

const GWEI: u128 = 1_000_000_000;

/// Raises at every look.
fn eager(stage: &Stage) -> ChainConfig {
    ChainConfig { bump_after: Duration::ZERO, ..config(&stage.anvil) }
}

async fn client(stage: &Stage, settings: ChainConfig) -> ChainClient {
    let key = stage.anvil.keys()[1].clone();
    ChainClient::connect(settings, stage.deployment, Some(key)).await.unwrap()
}

/// Makes what waits too cheap for the next blocks.
async fn raise_base_fee(stage: &Stage) {
    stage.anvil.dev_chain().set_next_base_fee(50 * GWEI).await.unwrap();
    stage.anvil.mine(1).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_became_too_cheap_is_raised_until_it_is_mined_once() {
    let stage = Stage::set().await;
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let sender = client(&stage, eager(&stage)).await;
    let me = sender.address().unwrap();
    let first = stage.owner.account_nonces(me).await.unwrap().mined;
    let to = Address::repeat_byte(4);
    let sending = tokio::spawn({
        let sender = sender.clone();
        async move { sender.transfer_wei(to, U256::ONE).await }
    });
    while stage.owner.account_nonces(me).await.unwrap().pending == first {
        tokio::task::yield_now().await;
    }
    raise_base_fee(&stage).await;
    while stage.owner.balance(to).await.unwrap().is_zero() {
        stage.anvil.mine(1).await.unwrap();
    }
    sending.await.unwrap().unwrap();
    assert_eq!(stage.owner.balance(to).await.unwrap(), U256::ONE);
    assert_eq!(stage.owner.account_nonces(me).await.unwrap().mined, first + 1);
}

#[tokio::test]
async fn a_transaction_that_the_node_lost_is_sent_again() {
    let stage = Stage::set().await;
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let sender = client(&stage, eager(&stage)).await;
    let me = sender.address().unwrap();
    let first = stage.owner.account_nonces(me).await.unwrap().pending;
    let to = Address::repeat_byte(4);
    let sending = tokio::spawn(async move { sender.transfer_wei(to, U256::ONE).await });
    while stage.owner.account_nonces(me).await.unwrap().pending == first {
        tokio::task::yield_now().await;
    }
    stage.anvil.dev_chain().drop_all_transactions().await.unwrap();
    while stage.owner.balance(to).await.unwrap().is_zero() {
        stage.anvil.mine(1).await.unwrap();
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_nonce_that_was_given_out_and_never_sent_is_filled() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(1, 100).await;
    drop(orchestrator);
    let sender = client(&stage, eager(&stage)).await;
    let redemption = [stage.winner(&sender, 1).await];
    let never_sent = sender.prepare_redemption(&redemption).await.unwrap();
    let to = Address::repeat_byte(4);
    sender.transfer_wei(to, U256::ONE).await.unwrap();
    assert_eq!(stage.owner.balance(to).await.unwrap(), U256::ONE);
    let error = sender.submit(&never_sent).await.unwrap_err();
    assert!(matches!(error, ChainError::NonceUsed { .. }), "{error}");
}

#[tokio::test]
async fn a_restarted_process_gets_what_the_one_before_it_sent_mined() {
    let stage = Stage::set().await;
    let dir = tempfile::tempdir().unwrap();
    let journal = Some(dir.path().join("transactions.json"));
    let settings = ChainConfig { journal, ..eager(&stage) };
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let killed = client(&stage, settings.clone()).await;
    let me = killed.address().unwrap();
    let first = stage.owner.account_nonces(me).await.unwrap().pending;
    let to = Address::repeat_byte(4);
    let sending = tokio::spawn(async move { killed.transfer_wei(to, U256::ONE).await });
    while stage.owner.account_nonces(me).await.unwrap().pending == first {
        tokio::task::yield_now().await;
    }
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    stage.anvil.dev_chain().drop_all_transactions().await.unwrap();
    let restarted = client(&stage, settings).await;
    assert_eq!(stage.owner.account_nonces(me).await.unwrap().pending, first + 1);
    stage.anvil.dev_chain().set_automine(true).await.unwrap();
    restarted.transfer_wei(to, U256::ONE).await.unwrap();
    assert_eq!(stage.owner.balance(to).await.unwrap(), U256::from(2));
}

#[tokio::test]
async fn a_journal_of_another_account_is_refused() {
    let stage = Stage::set().await;
    let dir = tempfile::tempdir().unwrap();
    let journal = Some(dir.path().join("transactions.json"));
    let settings = ChainConfig { journal, ..config(&stage.anvil) };
    client(&stage, settings.clone()).await.transfer_wei(Address::repeat_byte(4), U256::ONE).await.unwrap();
    let other = stage.anvil.keys()[2].clone();
    let error = ChainClient::connect(settings, stage.deployment, Some(other)).await.unwrap_err();
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[tokio::test]
async fn a_replacement_keeps_nonce_and_call_and_only_one_of_both_is_mined() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(U256::from(10).pow(U256::from(18)), U256::ZERO).await.unwrap();
    let batch = [stage.winner(&orchestrator, 1).await];
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let slow = orchestrator.prepare_redemption(&batch).await.unwrap();
    orchestrator.submit(&slow).await.unwrap();
    let fast = orchestrator.replacement(&slow).await.unwrap().unwrap();
    assert_eq!((fast.nonce, fast.gas_limit), (slow.nonce, slow.gas_limit));
    assert!(fast.fees.max_fee * 8 >= slow.fees.max_fee * 9, "{fast:?}");
    assert!(fast.fees.priority * 8 >= slow.fees.priority * 9, "{fast:?}");
    orchestrator.submit(&fast).await.unwrap();
    stage.anvil.mine(1).await.unwrap();
    assert!(matches!(
        orchestrator.tx_status(fast.hash).await.unwrap(),
        TxStatus::Mined { success: true, .. }
    ));
    assert_eq!(orchestrator.tx_status(slow.hash).await.unwrap(), TxStatus::Dropped);
}

#[tokio::test]
async fn a_redemption_behind_a_nonce_that_was_never_sent_is_not_raised_and_the_nonce_is_filled() {
    let stage = Stage::set().await;
    drop(stage.orchestrator(1, 100).await);
    stage.broadcaster.fund_deposit_and_reserve(U256::from(FACE_VALUE * 2), U256::ZERO).await.unwrap();
    let sender = client(&stage, eager(&stage)).await;
    let winner = [stage.winner(&sender, 1).await];
    sender.prepare_redemption(&winner).await.unwrap();
    let waiting = sender.prepare_redemption(&winner).await.unwrap();
    sender.submit(&waiting).await.unwrap();
    assert_eq!(sender.replacement(&waiting).await.unwrap(), None);
    sender.wait_mined(waiting.hash).await.unwrap();
    assert_eq!(sender.redemption_outcomes(waiting.hash).await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redemption_that_the_node_dropped_as_too_cheap_is_refused_until_it_is_raised() {
    let stage = Stage::set().await;
    drop(stage.orchestrator(1, 100).await);
    stage.broadcaster.fund_deposit_and_reserve(U256::from(FACE_VALUE), U256::ZERO).await.unwrap();
    let sender = client(&stage, eager(&stage)).await;
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let slow = sender.prepare_redemption(&[stage.winner(&sender, 1).await]).await.unwrap();
    sender.submit(&slow).await.unwrap();
    raise_base_fee(&stage).await;
    stage.anvil.dev_chain().drop_all_transactions().await.unwrap();
    assert!(!sender.submit(&slow).await.unwrap_err().is_retryable());
    let raised = sender.replacement(&slow).await.unwrap().unwrap();
    assert_eq!(raised.nonce, slow.nonce);
    sender.submit(&raised).await.unwrap();
    stage.anvil.mine(1).await.unwrap();
    assert!(matches!(sender.tx_status(raised.hash).await.unwrap(), TxStatus::Mined { success: true, .. }));
}

#[tokio::test]
async fn a_transaction_that_fees_do_not_stand_against_is_not_raised() {
    let stage = Stage::set().await;
    drop(stage.orchestrator(1, 100).await);
    let sender = client(&stage, eager(&stage)).await;
    let unsent = sender.prepare_redemption(&[stage.winner(&sender, 1).await]).await.unwrap();
    assert_eq!(sender.replacement(&unsent).await.unwrap(), None, "no node has it, at fees that would do");
}

#[tokio::test]
async fn an_account_nonce_is_used_for_as_long_as_blocks_are_on_top_of_it() {
    let stage = Stage::set().await;
    let me = stage.broadcaster.address().unwrap();
    let nonce = stage.owner.account_nonces(me).await.unwrap().mined;
    let depth = || stage.owner.nonce_used_for(me, nonce);
    assert_eq!(depth().await.unwrap(), 0);
    stage.broadcaster.transfer_wei(Address::repeat_byte(4), U256::ONE).await.unwrap();
    assert_eq!(depth().await.unwrap(), 1);
    stage.anvil.mine(6).await.unwrap();
    assert_eq!(depth().await.unwrap(), 4, "of seven, in powers of two");
    stage.anvil.dev_chain().reorganise(7).await.unwrap();
    assert_eq!(depth().await.unwrap(), 0);
}

#[tokio::test]
async fn gas_above_the_cap_is_not_paid() {
    let stage = Stage::set().await;
    let sender = client(&stage, ChainConfig { max_fee_per_gas: 10, ..config(&stage.anvil) }).await;
    let error = sender.transfer_wei(Address::repeat_byte(4), U256::ONE).await.unwrap_err();
    assert!(matches!(error, ChainError::FeesAboveCap { cap: 10, .. }), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn two_processes_with_one_key_both_get_their_transactions_mined() {
    let stage = Stage::set().await;
    let (one, other) = (client(&stage, eager(&stage)).await, client(&stage, eager(&stage)).await);
    let to = Address::repeat_byte(4);
    let sends =
        (0..6).map(|turn| if turn % 2 == 0 { &one } else { &other }).map(|c| c.transfer_wei(to, U256::ONE));
    futures::future::try_join_all(sends).await.unwrap();
    assert_eq!(stage.owner.balance(to).await.unwrap(), U256::from(6));
}
