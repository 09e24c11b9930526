//! Stake in and out, and what it earns.

use alloy::primitives::U256;

use crate::stage::{FACE_VALUE, Stage, UNIT, wei};

#[tokio::test]
async fn unbonded_stake_comes_back_after_the_unbonding_period() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let me = orchestrator.address().unwrap();
    let lock = orchestrator.unbond(wei(UNIT) * wei(40)).await.unwrap();
    assert_eq!(orchestrator.locked_stake(me, lock).await.unwrap().withdraw_round, 9);
    assert!(orchestrator.withdraw_stake(lock).await.is_err());
    for _ in 0..stage.params.unbonding_rounds {
        stage.next_round().await;
    }
    orchestrator.withdraw_stake(lock).await.unwrap();
    assert_eq!(stage.owner.token_balance(me).await.unwrap(), wei(UNIT) * wei(40));
    assert_eq!(stage.owner.delegator(me).await.unwrap().stake, wei(UNIT) * wei(60));
}

#[tokio::test]
async fn a_moved_bond_answers_for_the_orchestrator_that_it_left_for_an_unbonding_period() {
    let stage = Stage::set().await;
    let (left, reached) = (stage.orchestrator(2, 100).await, stage.orchestrator(3, 100).await);
    let delegator = stage.client(4).await;
    let me = delegator.address().unwrap();
    stage.owner.transfer_tokens(me, wei(UNIT) * wei(5)).await.unwrap();
    delegator.bond(wei(UNIT) * wei(4), left.address().unwrap()).await.unwrap();
    assert_eq!(stage.owner.redelegation(me).await.unwrap(), None);
    let round = stage.owner.round_info().await.unwrap().last_initialized;
    delegator.bond(wei(UNIT), reached.address().unwrap()).await.unwrap();
    let moved = stage.owner.redelegation(me).await.unwrap().unwrap();
    assert_eq!((moved.from, moved.amount), (left.address().unwrap(), wei(UNIT) * wei(4)));
    assert_eq!(moved.until, round + stage.params.unbonding_rounds);
    let error = delegator.unbond(wei(UNIT) * wei(2)).await.unwrap_err();
    let free = format!("reverted: StakeAnswers({UNIT}, {})", moved.until);
    assert!(error.to_string().ends_with(&free), "{error}");
    for _ in 0..stage.params.unbonding_rounds {
        stage.next_round().await;
    }
    assert_eq!(stage.owner.redelegation(me).await.unwrap(), None);
    delegator.unbond(wei(UNIT) * wei(5)).await.unwrap();
}

#[tokio::test]
async fn rebonded_stake_counts_again() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let me = orchestrator.address().unwrap();
    let lock = orchestrator.unbond(wei(UNIT) * wei(40)).await.unwrap();
    orchestrator.rebond(lock).await.unwrap();
    assert_eq!(stage.owner.orchestrator(me).await.unwrap().unwrap().stake, wei(UNIT) * wei(100));
}

#[tokio::test]
async fn a_delegator_shares_in_fees_from_the_round_after_its_bond() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(0)).await.unwrap();
    let delegator = stage.client(3).await;
    let me = delegator.address().unwrap();
    let stake = wei(UNIT) * wei(100);
    stage.owner.transfer_tokens(me, stake).await.unwrap();
    delegator.bond(stake, orchestrator.address().unwrap()).await.unwrap();
    let early = orchestrator.redeem(&[stage.winner(&orchestrator, 1).await]).await.unwrap();
    orchestrator.wait_mined(early).await.unwrap();
    assert_eq!(stage.owner.pending_fees(me).await.unwrap(), U256::ZERO);
    stage.next_round().await;
    let late = orchestrator.redeem(&[stage.winner(&orchestrator, 2).await]).await.unwrap();
    orchestrator.wait_mined(late).await.unwrap();
    // Half of the fees is for delegators, half of their stake is this one's.
    assert_eq!(stage.owner.pending_fees(me).await.unwrap(), wei(FACE_VALUE / 4));
}

#[tokio::test]
async fn an_active_orchestrator_is_rewarded_once_a_round() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let me = orchestrator.address().unwrap();
    orchestrator.reward().await.unwrap();
    let stake = stage.owner.delegator(me).await.unwrap().stake;
    assert!(stake > wei(UNIT) * wei(100));
    let error = orchestrator.reward().await.unwrap_err();
    assert!(error.to_string().contains("AlreadyRewarded"), "{error}");
}
