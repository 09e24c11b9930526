//! Events in order, taken back with the blocks that held them, across restarts.

use alloy::primitives::{B256, U256};
use framemill_contracts::{
    ChainClient, ChainFeed, Change, Cursor, EventKind, FeedConfig, Follower, REORG_WINDOW, Start,
};

use crate::stage::{Stage, wei};

/// What a list of changes says, without the blocks between.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Added(EventKind),
    Removed(EventKind),
    Missed,
}

fn told(changes: Vec<Change>) -> Vec<Told> {
    let say = |change| match change {
        Change::Added(event) => Some(Told::Added(event.kind.clone())),
        Change::Removed(event) => Some(Told::Removed(event.kind.clone())),
        Change::Missed => Some(Told::Missed),
        _ => None,
    };
    changes.into_iter().filter_map(say).collect()
}

/// Takes steps until there is nothing new.
async fn all(follower: &mut Follower) -> Vec<Change> {
    let mut found = Vec::new();
    loop {
        let step = follower.step().await.unwrap();
        if step.is_empty() {
            return found;
        }
        found.extend(step);
    }
}

async fn follower(stage: &Stage) -> Follower {
    let mut follower = Follower::new(stage.owner.clone(), Start::Now);
    assert_eq!(told(all(&mut follower).await), []);
    follower
}

fn funded(client: &ChainClient) -> EventKind {
    EventKind::FundsChanged { sender: client.address().unwrap() }
}

async fn fund(stage: &Stage) {
    stage.broadcaster.fund_deposit_and_reserve(wei(1), wei(0)).await.unwrap();
}

#[tokio::test]
async fn events_are_told_once_and_in_order() {
    let stage = Stage::set().await;
    let mut follower = follower(&stage).await;
    fund(&stage).await;
    stage.next_round().await;
    let expected =
        [Told::Added(funded(&stage.broadcaster)), Told::Added(EventKind::RoundStarted { round: 2 })];
    assert_eq!(told(all(&mut follower).await), expected);
    assert_eq!(told(all(&mut follower).await), []);
}

#[tokio::test]
async fn an_event_in_a_block_that_a_reorganisation_took_back_is_removed() {
    let stage = Stage::set().await;
    let mut follower = follower(&stage).await;
    fund(&stage).await;
    assert_eq!(told(all(&mut follower).await), [Told::Added(funded(&stage.broadcaster))]);
    stage.anvil.dev_chain().reorganise(1).await.unwrap();
    assert_eq!(told(all(&mut follower).await), [Told::Removed(funded(&stage.broadcaster))]);
    let head = stage.owner.block_number().await.unwrap();
    assert_eq!(follower.cursor().tip().unwrap().number, head);
}

#[tokio::test]
async fn removed_events_come_newest_first_and_the_rest_stays() {
    let stage = Stage::set().await;
    let mut follower = follower(&stage).await;
    fund(&stage).await;
    stage.next_round().await;
    stage.broadcaster.unlock().await.unwrap();
    all(&mut follower).await;
    stage.anvil.dev_chain().reorganise(2).await.unwrap();
    let expected =
        [Told::Removed(funded(&stage.broadcaster)), Told::Removed(EventKind::RoundStarted { round: 2 })];
    assert_eq!(told(all(&mut follower).await), expected);
}

#[tokio::test]
async fn a_reorganisation_as_deep_as_the_window_is_undone() {
    let stage = Stage::set().await;
    stage.anvil.mine(10).await.unwrap();
    let mut follower = follower(&stage).await;
    fund(&stage).await;
    all(&mut follower).await;
    for _ in 0..REORG_WINDOW - 2 {
        stage.anvil.mine(1).await.unwrap();
        assert_eq!(told(all(&mut follower).await), []);
    }
    stage.anvil.dev_chain().reorganise(REORG_WINDOW as u64 - 1).await.unwrap();
    assert_eq!(told(all(&mut follower).await), [Told::Removed(funded(&stage.broadcaster))]);
}

#[tokio::test]
async fn a_deeper_one_says_that_changes_are_missing_and_following_goes_on() {
    let stage = Stage::set().await;
    stage.anvil.mine(10).await.unwrap();
    let mut follower = follower(&stage).await;
    for _ in 0..REORG_WINDOW + 4 {
        stage.anvil.mine(1).await.unwrap();
        all(&mut follower).await;
    }
    stage.anvil.dev_chain().reorganise(REORG_WINDOW as u64 + 3).await.unwrap();
    assert_eq!(told(all(&mut follower).await), [Told::Missed]);
    fund(&stage).await;
    assert_eq!(told(all(&mut follower).await), [Told::Added(funded(&stage.broadcaster))]);
}

#[tokio::test]
async fn a_chain_that_became_shorter_is_waited_for() {
    let stage = Stage::set().await;
    let mut follower = follower(&stage).await;
    fund(&stage).await;
    stage.anvil.mine(2).await.unwrap();
    all(&mut follower).await;
    stage.anvil.dev_chain().roll_back(3).await.unwrap();
    assert_eq!(told(all(&mut follower).await), []);
    stage.anvil.mine(3).await.unwrap();
    assert_eq!(told(all(&mut follower).await), [Told::Removed(funded(&stage.broadcaster))]);
}

#[tokio::test]
async fn a_restart_continues_after_the_stored_cursor_and_undoes_what_was_taken_back_meanwhile() {
    let stage = Stage::set().await;
    let file = tempfile::tempdir().unwrap().path().join("cursor.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut killed = follower(&stage).await;
    fund(&stage).await;
    assert_eq!(told(all(&mut killed).await).len(), 1);
    killed.cursor().save(&file).unwrap();
    drop(killed);
    stage.anvil.dev_chain().reorganise(1).await.unwrap();
    stage.broadcaster.fund_deposit_and_reserve(wei(0), wei(1)).await.unwrap();
    let cursor = Cursor::load(&file).unwrap().unwrap();
    let mut restarted = Follower::new(stage.owner.clone(), Start::Cursor(cursor));
    let expected = [Told::Removed(funded(&stage.broadcaster)), Told::Added(funded(&stage.broadcaster))];
    assert_eq!(told(all(&mut restarted).await), expected);
}

#[tokio::test]
async fn the_past_is_read_in_wide_strides() {
    let stage = Stage::set().await;
    fund(&stage).await;
    stage.anvil.mine(2_500).await.unwrap();
    fund(&stage).await;
    let mut follower = Follower::new(stage.owner.clone(), Start::Block(stage.deployment.block));
    let funds = Told::Added(funded(&stage.broadcaster));
    let changes = all(&mut follower).await;
    let heads = changes.iter().filter(|change| matches!(change, Change::Head(_))).count();
    assert!(heads < 70, "{heads} heads for 2,500 blocks");
    assert_eq!(told(changes).into_iter().filter(|change| *change == funds).count(), 2);
}

#[tokio::test]
async fn every_reader_of_a_feed_hears_of_an_event_and_of_an_outage() {
    let stage = Stage::set().await;
    let follower = Follower::new(stage.client(1).await, Start::Now);
    let interval = std::time::Duration::from_millis(5);
    let feed = ChainFeed::start(follower, FeedConfig { interval, longest_pause: interval });
    let (mut one, mut other) = (feed.subscribe(), feed.subscribe());
    while !matches!(one.next().await.unwrap(), Change::Head(_)) {}
    fund(&stage).await;
    let seen = |change: &Change| change.event().is_some_and(|event| event.kind == funded(&stage.broadcaster));
    one.until(seen).await.unwrap();
    other.until(seen).await.unwrap();
    drop(feed);
    assert!(one.until(|_| false).await.is_none());
}

#[tokio::test]
async fn a_log_carries_where_it_was_found() {
    let stage = Stage::set().await;
    let mut follower = follower(&stage).await;
    let receipt = stage.broadcaster.fund_deposit_and_reserve(wei(1), U256::ZERO).await.unwrap();
    let changes = all(&mut follower).await;
    let event = changes.iter().find_map(Change::event).unwrap();
    assert_eq!(event.block(), receipt.block);
    assert_eq!(event.log.transaction_hash, Some(receipt.hash));
    assert_ne!(event.log.block_hash, Some(B256::ZERO));
}
