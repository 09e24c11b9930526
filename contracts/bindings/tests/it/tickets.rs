//! Tickets from signature to payment.

use alloy::primitives::{B256, U256};
use framemill_contracts::{ChainError, DeployParams, PreparedTx, SkipReason, TicketOutcome, TxStatus};

use crate::stage::{FACE_VALUE, Stage, UNIT, wei};

const PAID: TicketOutcome =
    TicketOutcome::Paid { from_deposit: U256::from_limbs([FACE_VALUE, 0, 0, 0]), from_reserve: U256::ZERO };

#[tokio::test]
async fn a_winner_pays_its_face_value_from_the_deposit() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let hash = orchestrator.redeem(&[stage.winner(&orchestrator, 1).await]).await.unwrap();
    orchestrator.wait_mined(hash).await.unwrap();
    assert_eq!(orchestrator.redemption_outcomes(hash).await.unwrap(), Some(vec![PAID]));
    let sender = stage.owner.sender_info(stage.broadcaster.address().unwrap()).await.unwrap();
    assert_eq!((sender.deposit, sender.reserve), (wei(UNIT - FACE_VALUE), wei(UNIT)));
    let fees = orchestrator.pending_fees(orchestrator.address().unwrap()).await.unwrap();
    assert_eq!(fees, wei(FACE_VALUE));
}

#[tokio::test]
async fn fees_can_be_taken_out() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(0)).await.unwrap();
    let hash = orchestrator.redeem(&[stage.winner(&orchestrator, 1).await]).await.unwrap();
    orchestrator.wait_mined(hash).await.unwrap();
    let to = alloy::primitives::Address::repeat_byte(0x77);
    orchestrator.withdraw_fees(to, wei(FACE_VALUE)).await.unwrap();
    assert_eq!(stage.owner.balance(to).await.unwrap(), wei(FACE_VALUE));
}

#[tokio::test]
async fn a_batch_pays_the_good_and_names_what_is_wrong_with_the_bad() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let good = stage.winner(&orchestrator, 1).await;
    let mut forged = stage.winner(&orchestrator, 2).await;
    forged.signature = stage.sign(&stage.anvil.keys()[5], &forged.ticket);
    let loser = stage.signed(&orchestrator, 3, |t| t.win_prob = U256::ZERO).await;
    let stale = stage.signed(&orchestrator, 4, |t| t.creation_round_block_hash = B256::repeat_byte(4)).await;
    let mut wrong_rand = stage.winner(&orchestrator, 5).await;
    wrong_rand.recipient_rand = U256::ONE;
    let huge = stage.signed(&orchestrator, 6, |t| t.face_value = wei(UNIT) * wei(1_000)).await;
    let empty = stage.signed(&orchestrator, 7, |t| t.face_value = U256::ZERO).await;
    let last = stage.winner(&orchestrator, 8).await;
    let batch = [good, forged, loser, stale, wrong_rand, huge, empty, good, last];
    let reasons = [
        None,
        Some(SkipReason::BadSignature),
        Some(SkipReason::NotWinning),
        Some(SkipReason::Expired),
        Some(SkipReason::BadRecipientRand),
        Some(SkipReason::InsufficientFunds),
        Some(SkipReason::Malformed),
        Some(SkipReason::NonceUsed),
        None,
    ];
    let (simulated, gas) = orchestrator.simulate_redemption(&batch).await.unwrap();
    assert_eq!(simulated, reasons);
    let hash = orchestrator.redeem(&batch).await.unwrap();
    let receipt = orchestrator.wait_mined(hash).await.unwrap();
    assert!(receipt.gas_used <= gas);
    let expected = reasons.map(|reason| reason.map_or(PAID, TicketOutcome::Skipped));
    assert_eq!(orchestrator.redemption_outcomes(hash).await.unwrap().unwrap(), expected);
    let (sender, recipient) = (stage.broadcaster.address().unwrap(), orchestrator.address().unwrap());
    assert_eq!(stage.owner.lane_nonce(sender, recipient, 0).await.unwrap(), 8);
}

#[tokio::test]
async fn an_orchestrator_that_is_not_active_is_paid_when_it_is() {
    let stage = Stage::set().await;
    let orchestrator = stage.candidate(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let batch = [stage.winner(&orchestrator, 1).await];
    let (before, _) = orchestrator.simulate_redemption(&batch).await.unwrap();
    assert_eq!(before, [Some(SkipReason::RecipientInactive)]);
    stage.next_round().await;
    let (after, _) = orchestrator.simulate_redemption(&batch).await.unwrap();
    assert_eq!(after, [None]);
}

#[tokio::test]
async fn nobody_else_redeems_for_a_recipient() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let batch = [stage.winner(&orchestrator, 1).await];
    let (reasons, _) = stage.broadcaster.simulate_redemption(&batch).await.unwrap();
    assert_eq!(reasons, [Some(SkipReason::NotRedeemer)]);
}

#[tokio::test]
async fn the_reserve_pays_each_orchestrator_its_share_when_the_deposit_is_gone() {
    let stage = Stage::set().await;
    let first = stage.candidate(2, 100).await;
    stage.orchestrator(3, 100).await;
    let sender = stage.broadcaster.address().unwrap();
    let recipient = first.address().unwrap();
    stage.broadcaster.fund_deposit_and_reserve(wei(0), wei(4 * FACE_VALUE)).await.unwrap();
    assert_eq!(stage.owner.claimable_reserve(sender, recipient).await.unwrap(), wei(2 * FACE_VALUE));
    let mut batch = Vec::new();
    for nonce in 1..=3 {
        batch.push(stage.winner(&first, nonce).await);
    }
    let hash = first.redeem(&batch).await.unwrap();
    first.wait_mined(hash).await.unwrap();
    let reserve = TicketOutcome::Paid { from_deposit: wei(0), from_reserve: wei(FACE_VALUE) };
    let short = TicketOutcome::Skipped(SkipReason::InsufficientFunds);
    assert_eq!(first.redemption_outcomes(hash).await.unwrap().unwrap(), [reserve, reserve, short]);
    assert_eq!(stage.owner.claimable_reserve(sender, recipient).await.unwrap(), wei(0));
    stage.next_round().await;
    assert_eq!(stage.owner.claimable_reserve(sender, recipient).await.unwrap(), wei(FACE_VALUE));
}

#[tokio::test]
async fn a_sender_takes_its_funds_out_after_the_unlock_period() {
    let params = DeployParams { sender_unlock_rounds: 3, ..DeployParams::devnet() };
    let stage = Stage::set_with(params).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    stage.broadcaster.unlock().await.unwrap();
    let error = stage.broadcaster.withdraw().await.unwrap_err();
    assert!(error.to_string().ends_with("reverted: StillLocked(1, 4)"), "{error}");
    for _ in 0..3 {
        stage.next_round().await;
    }
    stage.broadcaster.withdraw().await.unwrap();
    let sender = stage.owner.sender_info(stage.broadcaster.address().unwrap()).await.unwrap();
    assert_eq!((sender.deposit, sender.reserve, sender.withdraw_round), (wei(0), wei(0), 0));
}

#[tokio::test]
async fn a_prepared_redemption_can_be_submitted_again_after_a_restart() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let prepared = orchestrator.prepare_redemption(&[stage.winner(&orchestrator, 1).await]).await.unwrap();
    assert_eq!(orchestrator.tx_status(prepared.hash).await.unwrap(), TxStatus::Dropped);
    let restarted = stage.client(2).await;
    let stored = PreparedTx::from_raw(prepared.raw.clone()).unwrap();
    assert_eq!(stored, prepared);
    restarted.submit(&stored).await.unwrap();
    restarted.submit(&stored).await.unwrap();
    restarted.wait_mined(stored.hash).await.unwrap();
    assert_eq!(restarted.redemption_outcomes(stored.hash).await.unwrap(), Some(vec![PAID]));
}

#[tokio::test]
async fn a_prepared_redemption_whose_nonce_is_used_is_reported_as_lost() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let prepared = orchestrator.prepare_redemption(&[stage.winner(&orchestrator, 1).await]).await.unwrap();
    let other_process = stage.client(2).await;
    other_process.transfer_wei(stage.owner.address().unwrap(), wei(1)).await.unwrap();
    let error = orchestrator.submit(&prepared).await.unwrap_err();
    assert!(matches!(error, ChainError::NonceUsed { hash, .. } if hash == prepared.hash), "{error}");
}

#[tokio::test]
async fn a_redemption_lost_in_a_reorganisation_is_seen_as_not_mined() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(UNIT)).await.unwrap();
    let hash = orchestrator.redeem(&[stage.winner(&orchestrator, 1).await]).await.unwrap();
    orchestrator.wait_mined(hash).await.unwrap();
    stage.anvil.dev_chain().reorganise(1).await.unwrap();
    let status = orchestrator.tx_status(hash).await.unwrap();
    assert!(!matches!(status, TxStatus::Mined { .. }), "{status:?}");
    assert_eq!(orchestrator.redemption_outcomes(hash).await.unwrap(), None);
}
