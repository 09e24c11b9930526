//! What was earned, and what an action would cost, before anything is signed.

use alloy::primitives::{Address, U256};
use framemill_contracts::{Action, ChainError};

use crate::stage::{FACE_VALUE, Stage, UNIT, wei};

#[tokio::test]
async fn earnings_of_past_rounds_are_told_apart_by_orchestrator_and_missed_calls_are_counted() {
    let stage = Stage::set().await;
    let diligent = stage.candidate(2, 100).await;
    let lazy = stage.candidate(3, 100).await;
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(0)).await.unwrap();
    for round in 2..=4 {
        stage.next_round().await;
        diligent.reward().await.unwrap();
        if round == 3 {
            lazy.reward().await.unwrap();
            let hash = lazy.redeem(&[stage.winner(&lazy, 1).await]).await.unwrap();
            lazy.wait_mined(hash).await.unwrap();
        }
    }
    stage.next_round().await;
    let history = stage.owner.history(10).await.unwrap();
    let addresses = [diligent.address().unwrap(), lazy.address().unwrap()];
    let members = stage.owner.memberships(&addresses).await.unwrap();
    assert_eq!(members[0].from, 2);
    assert_eq!(members[0].missed(&history, history.earned.get(&addresses[0])), 0);
    assert_eq!(members[1].missed(&history, history.earned.get(&addresses[1])), 2);
    assert_eq!(history.earned[&addresses[1]].fees, wei(FACE_VALUE));
    assert!(history.earned[&addresses[0]].rewards > history.earned[&addresses[1]].rewards);
    let recent = stage.owner.history(1).await.unwrap();
    assert_eq!(recent.rounds.into_iter().collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn a_preview_signs_nothing_and_fails_as_the_action_would() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let (me, other) = (orchestrator.address().unwrap(), stage.client(3).await);
    let before = stage.owner.block_number().await.unwrap();
    let preview = orchestrator.preview(&Action::Unbond { amount: wei(UNIT) }).await.unwrap();
    assert_eq!(preview.steps.len(), 1);
    assert!(preview.gas_cost() > U256::ZERO && preview.most_gas_cost() >= preview.gas_cost());
    let error = other.preview(&Action::Unbond { amount: wei(UNIT) }).await.unwrap_err();
    assert!(
        matches!(error, ChainError::Reverted { ref revert, .. } if revert.name == "NotBonded"),
        "{error}"
    );
    assert_eq!(stage.owner.block_number().await.unwrap(), before);
    assert_eq!(stage.owner.delegator(me).await.unwrap().stake, wei(UNIT) * wei(100));
}

#[tokio::test]
async fn a_bond_approves_what_it_takes_in_a_step_of_its_own() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let delegator = stage.client(4).await;
    stage.owner.transfer_tokens(delegator.address().unwrap(), wei(UNIT)).await.unwrap();
    let bond = Action::Bond { amount: wei(UNIT), delegate: orchestrator.address().unwrap() };
    let preview = delegator.preview(&bond).await.unwrap();
    let simulated: Vec<_> = preview.steps.iter().map(|step| step.simulated).collect();
    assert_eq!(simulated, [true, false]);
    let receipts = delegator.perform(&bond).await.unwrap();
    assert_eq!(receipts.len(), 2);
    assert!(receipts[1].gas_used <= preview.steps[1].gas);
    let account = stage.owner.delegator(delegator.address().unwrap()).await.unwrap();
    assert_eq!((account.stake, account.delegate), (wei(UNIT), orchestrator.address().unwrap()));
}

#[tokio::test]
async fn every_lock_of_an_account_is_found_until_it_is_paid_out() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let me = orchestrator.address().unwrap();
    for amount in [1, 2, 3] {
        orchestrator.perform(&Action::Unbond { amount: wei(UNIT) * wei(amount) }).await.unwrap();
    }
    orchestrator.perform(&Action::Rebond { lock: 1 }).await.unwrap();
    let locks = stage.owner.locks(me).await.unwrap();
    let found: Vec<_> = locks.iter().map(|(id, lock)| (*id, lock.amount / wei(UNIT))).collect();
    assert_eq!(found, [(0, wei(1)), (2, wei(3))]);
    assert_eq!(stage.owner.locks(Address::repeat_byte(1)).await.unwrap(), []);
}

#[tokio::test]
async fn the_pace_of_the_chain_is_measured() {
    let stage = Stage::set().await;
    stage.anvil.dev_chain().mine_every(100, 12).await.unwrap();
    let ms = stage.owner.block_time_ms().await.unwrap().unwrap();
    assert!((8_000..=12_000).contains(&ms), "{ms} ms");
    assert_eq!(stage.owner.token_symbol().await.unwrap(), "MILL");
}
