//! Once a round, whoever else holds the key.

use std::time::Duration;

use alloy::primitives::U256;
use framemill_contracts::{
    ChainClient, ChainConfig, ChainError, ChainFeed, FeedConfig, Follower, Start, TicketView,
};

use crate::{
    proxy::Proxy,
    stage::{Stage, UNIT, config, wei},
};

async fn twin(stage: &Stage, index: usize) -> ChainClient {
    stage.client(index).await
}

async fn begin_round(stage: &Stage) {
    let round = stage.owner.round_info().await.unwrap();
    let height = stage.owner.block_number().await.unwrap();
    stage.anvil.mine(round.start_block + round.length - height).await.unwrap();
}

/// Mined transactions of an account.
async fn mined(stage: &Stage, client: &ChainClient) -> u64 {
    stage.owner.account_nonces(client.address().unwrap()).await.unwrap().mined
}

#[tokio::test]
async fn of_two_processes_with_one_key_one_calls_for_the_reward() {
    let stage = Stage::set().await;
    let one = stage.orchestrator(2, 100).await;
    let other = twin(&stage, 2).await;
    let before = mined(&stage, &one).await;
    let (first, second) = tokio::join!(one.reward_once(), other.reward_once());
    let called = [first.unwrap(), second.unwrap()];
    assert_eq!(called.iter().flatten().count(), 1, "{called:?}");
    assert_eq!(mined(&stage, &one).await, before + 1);
    assert_eq!(one.reward_once().await.unwrap(), None);
}

/// An orchestrator that was killed while its call for a reward waits to be mined; the calls that were mined before.
async fn killed_in_its_call() -> (Stage, u64) {
    let stage = Stage::set().await;
    let killed = stage.orchestrator(2, 100).await;
    let before = mined(&stage, &killed).await;
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let address = killed.address().unwrap();
    let call = tokio::spawn(async move { killed.reward_once().await });
    while stage.owner.account_nonces(address).await.unwrap().pending == before {
        tokio::task::yield_now().await;
    }
    call.abort();
    (stage, before)
}

#[tokio::test]
async fn a_restarted_process_leaves_a_call_that_waits_to_be_mined_alone() {
    let (stage, before) = killed_in_its_call().await;
    let restarted = twin(&stage, 2).await;
    assert_eq!(restarted.reward_once().await.unwrap(), None);
    stage.anvil.mine(1).await.unwrap();
    assert_eq!(restarted.reward_once().await.unwrap(), None);
    assert_eq!(mined(&stage, &restarted).await, before + 1);
    assert_eq!(restarted.duty_state().await.unwrap().last_reward_round, 2);
}

#[tokio::test]
async fn a_call_that_the_node_lost_is_made_again() {
    let (stage, _) = killed_in_its_call().await;
    stage.anvil.dev_chain().drop_all_transactions().await.unwrap();
    stage.anvil.dev_chain().set_automine(true).await.unwrap();
    assert!(twin(&stage, 2).await.reward_once().await.unwrap().is_some());
}

/// Looks that suffice to raise a call above a fee that is fifty times as high.
const LOOKS: usize = 5;

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_raised_by_later_looks() {
    let stage = Stage::set().await;
    stage.orchestrator(2, 100).await;
    let settings =
        ChainConfig { bump_after: Duration::ZERO, mining_timeout: Duration::ZERO, ..config(&stage.anvil) };
    let key = stage.anvil.keys()[2].clone();
    let caller = ChainClient::connect(settings, stage.deployment, Some(key)).await.unwrap();
    let before = mined(&stage, &caller).await;
    stage.anvil.dev_chain().set_automine(false).await.unwrap();
    let error = caller.reward_once().await.unwrap_err();
    assert!(matches!(error, ChainError::NotMined { .. }), "{error}");

    stage.anvil.dev_chain().set_next_base_fee(50_000_000_000).await.unwrap();
    stage.anvil.mine(1).await.unwrap();
    assert_eq!(mined(&stage, &caller).await, before, "it is too cheap");
    for _ in 0..LOOKS {
        assert_eq!(caller.reward_once().await.unwrap(), None);
        stage.anvil.mine(1).await.unwrap();
    }
    assert_eq!(mined(&stage, &caller).await, before + 1);
    assert_eq!(caller.duty_state().await.unwrap().last_reward_round, 2);
}

#[tokio::test]
async fn who_is_not_active_calls_for_nothing() {
    let stage = Stage::set().await;
    let candidate = stage.candidate(2, 100).await;
    assert_eq!(candidate.reward_once().await.unwrap(), None);
    assert!(!candidate.duty_state().await.unwrap().active);
}

#[tokio::test]
async fn a_round_is_initialized_once_by_many_keepers() {
    let stage = Stage::set().await;
    begin_round(&stage).await;
    let (one, other, stranger) = (twin(&stage, 3).await, twin(&stage, 3).await, twin(&stage, 4).await);
    let (a, b, c) = tokio::join!(
        one.initialize_round_once(),
        other.initialize_round_once(),
        stranger.initialize_round_once()
    );
    let done = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(done.iter().flatten().count(), 1, "{done:?}");
    assert!(stage.owner.round_info().await.unwrap().is_initialized());
    assert_eq!(one.initialize_round_once().await.unwrap(), None);
}

#[tokio::test]
async fn what_no_event_has_changed_is_not_asked_again() {
    let stage = Stage::set().await;
    let orchestrator = stage.orchestrator(2, 100).await;
    let proxy = Proxy::to(stage.anvil.endpoint()).await;
    let settings = ChainConfig { rpc_url: proxy.url().to_owned(), ..config(&stage.anvil) };
    let client = ChainClient::connect(settings, stage.deployment, None).await.unwrap();
    let interval = Duration::from_millis(5);
    let feed = ChainFeed::start(
        Follower::new(stage.owner.clone(), Start::Now),
        FeedConfig { interval, longest_pause: interval },
    );
    let view = TicketView::following(client, feed.subscribe());
    let mut changes = feed.subscribe();
    changes.until(|_| true).await.unwrap();
    let (sender, recipient) = (stage.broadcaster.address().unwrap(), orchestrator.address().unwrap());
    assert_eq!(view.funds(sender, recipient).await.unwrap().deposit, U256::ZERO);
    assert_eq!(view.lane_nonce(sender, recipient, 0).await.unwrap(), 0);
    view.context().await.unwrap();
    let asked = proxy.requests();
    for _ in 0..10 {
        view.funds(sender, recipient).await.unwrap();
        view.lane_nonce(sender, recipient, 0).await.unwrap();
        view.context().await.unwrap();
    }
    assert_eq!(proxy.requests(), asked);
    stage.broadcaster.fund_deposit_and_reserve(wei(UNIT), wei(0)).await.unwrap();
    changes.until(|change| change.event().is_some()).await.unwrap();
    assert_eq!(view.funds(sender, recipient).await.unwrap().deposit, wei(UNIT));
    assert!(proxy.requests() > asked);
}
