//! Follows the chain block by block: what was said in a block that a reorganisation took back is taken back too.

mod cursor;
mod event;
mod feed;

use std::{ops::RangeInclusive, sync::Arc};

use alloy::{
    primitives::{Address, B256},
    rpc::types::{Block, Filter, Log},
};

use crate::{ChainClient, ChainError};

pub use cursor::{Cursor, REORG_WINDOW};
pub use event::{BlockRef, ChainEvent, EventKind};
pub use feed::{ChainFeed, Changes, FeedConfig};

/// Blocks that one question for logs may span: public endpoints refuse more.
const RANGE: u64 = 1_000;
/// Blocks read in one step, each with a question of its own for its logs.
const STEP: u64 = REORG_WINDOW as u64;

/// What a follower found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// An event happened.
    Added(Arc<ChainEvent>),
    /// An event that was added has been undone by a reorganisation. The newest comes first.
    Removed(Arc<ChainEvent>),
    /// Everything up to this block has been told.
    Head(BlockRef),
    /// Changes are missing: the chain parted below what can be undone, or their reader was too slow. Whatever was
    /// concluded from earlier ones must be read anew.
    Missed,
    /// Whether the chain answers, when that is news.
    Answers(bool),
}

impl Change {
    /// The event that was added or removed.
    pub fn event(&self) -> Option<&ChainEvent> {
        match self {
            Self::Added(event) | Self::Removed(event) => Some(event),
            _ => None,
        }
    }

    /// Whether the list of orchestrators may be another after it.
    pub fn changes_orchestrators(&self) -> bool {
        match self {
            Self::Missed => true,
            other => other.event().is_some_and(|event| event.kind.changes_orchestrators()),
        }
    }
}

/// Where a follower begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// After the present newest block.
    Now,
    /// With the events of this block.
    Block(u64),
    /// After a stored cursor.
    Cursor(Cursor),
}

/// Reads the events of the market's contracts in order. One [`Follower::step`] at a time; the caller sets the pace.
#[derive(Debug)]
pub struct Follower {
    client: ChainClient,
    contracts: Vec<Address>,
    cursor: Cursor,
    /// The next block of the past, while that is not within the window.
    past: Option<u64>,
}

impl Follower {
    /// A follower of the deployment's contracts. Nothing is asked yet.
    pub fn new(client: ChainClient, start: Start) -> Self {
        let contracts = client.deployment().contracts().map(|(_, address)| address).to_vec();
        let (cursor, past) = match start {
            Start::Now => (Cursor::default(), None),
            Start::Block(first) => (Cursor::default(), Some(first)),
            Start::Cursor(cursor) => {
                let past = cursor.tip().map(|tip| tip.number + 1);
                (cursor, past)
            }
        };
        Self { client, contracts, cursor, past }
    }

    /// Follows one more contract.
    #[must_use]
    pub fn with(mut self, contract: Address) -> Self {
        self.contracts.push(contract);
        self
    }

    /// How far everything returned by [`Follower::step`] reaches.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next changes; none when there is nothing new. After an error, the same step can be taken again.
    ///
    /// A step undoes blocks, or reads at most 64 new ones, or the events of at most 1,000 old ones: take steps until
    /// one is empty.
    pub async fn step(&mut self) -> Result<Vec<Change>, ChainError> {
        let Some(head) = self.client.rpc().block(None).await? else { return Ok(Vec::new()) };
        let Some(tip) = self.cursor.tip() else { return self.begin(&head).await };
        if head.header.hash == tip.hash {
            return Ok(Vec::new());
        }
        let undone = self.undo_orphans(tip, head.header.number).await?;
        if !undone.is_empty() || head.header.number <= tip.number {
            return Ok(undone);
        }
        self.advance(tip.number + 1, head.header.number).await
    }

    /// The first step of a follower without a window.
    async fn begin(&mut self, head: &Block) -> Result<Vec<Change>, ChainError> {
        match self.past {
            Some(first) if first <= head.header.number => self.advance(first, head.header.number).await,
            Some(_) => Ok(Vec::new()),
            None => {
                let block = reference(head);
                self.cursor.push(block, head.header.parent_hash, Vec::new());
                Ok(vec![Change::Head(block)])
            }
        }
    }

    /// A head that is lower than ours is waited for: a shorter chain is no better one, its endpoint is behind.
    async fn undo_orphans(&mut self, tip: BlockRef, head: u64) -> Result<Vec<Change>, ChainError> {
        let newest = tip.number.min(head);
        let canonical = self.canonical(newest..=newest).await?;
        let unchanged = |block: &BlockRef| self.cursor.orphans(std::slice::from_ref(block)) as u64;
        match canonical.first() {
            None => return Ok(Vec::new()),
            Some(block) if unchanged(block) == tip.number - newest => return Ok(Vec::new()),
            Some(_) if head < tip.number => return Ok(Vec::new()),
            Some(_) => {}
        }
        let oldest = self.cursor.oldest().map_or(tip.number, |oldest| oldest.number);
        let canonical = self.canonical(oldest..=tip.number).await?;
        let orphans = self.cursor.orphans(&canonical);
        let mut changes = Vec::new();
        for seen in self.cursor.undo(orphans) {
            tracing::info!(block = seen.block.number, "a reorganisation took a block back");
            let removed =
                seen.logs.into_iter().rev().map(|log| Change::Removed(Arc::new(ChainEvent::read(log))));
            changes.extend(removed);
        }
        if self.cursor.tip().is_none() {
            tracing::warn!(oldest, "the chain parted below the followed window; everything is read anew");
            self.past = Some(oldest);
            changes.push(Change::Missed);
        }
        Ok(changes)
    }

    async fn canonical(&self, heights: RangeInclusive<u64>) -> Result<Vec<BlockRef>, ChainError> {
        Ok(self.client.rpc().blocks(heights).await?.iter().map(reference).collect())
    }

    async fn advance(&mut self, next: u64, head: u64) -> Result<Vec<Change>, ChainError> {
        if head - next >= STEP {
            return self.read_past(next, head - STEP).await;
        }
        let blocks = self.client.rpc().blocks(next..=head).await?;
        let filters: Vec<_> =
            blocks.iter().map(|block| self.filter().at_block_hash(block.header.hash)).collect();
        let logs = self.client.rpc().logs(&filters).await?;
        let mut changes = Vec::new();
        for (block, logs) in blocks.iter().zip(logs) {
            // The chain may part between two questions: what follows is the next step's.
            if !self.cursor.push(reference(block), block.header.parent_hash, logs.clone()) {
                break;
            }
            changes.extend(added(logs));
            changes.push(Change::Head(reference(block)));
        }
        self.past = None;
        Ok(changes)
    }

    /// Blocks deeper than the window are read in wide strides. They are not kept: nothing undoes them.
    async fn read_past(&mut self, first: u64, last: u64) -> Result<Vec<Change>, ChainError> {
        let last = last.min(first.saturating_add(RANGE - 1));
        let filter = self.filter().from_block(first).to_block(last);
        let logs = self.client.rpc().logs(&[filter]).await?.pop().unwrap_or_default();
        let Some(block) = self.client.rpc().block(Some(last)).await? else { return Ok(Vec::new()) };
        self.cursor.clear();
        self.cursor.push(reference(&block), block.header.parent_hash, Vec::new());
        let mut changes = added(logs);
        changes.push(Change::Head(reference(&block)));
        Ok(changes)
    }

    fn filter(&self) -> Filter {
        Filter::new().address(self.contracts.clone())
    }
}

impl ChainClient {
    /// The events with one of these first topics that a contract logged in these blocks, oldest first.
    pub(crate) async fn past_logs(
        &self,
        contract: Address,
        topics: &[B256],
        blocks: RangeInclusive<u64>,
    ) -> Result<Vec<Log>, ChainError> {
        let mut found = Vec::new();
        let mut first = *blocks.start();
        while first <= *blocks.end() {
            let last = blocks.end().to_owned().min(first.saturating_add(RANGE - 1));
            let filter = Filter::new().address(contract).event_signature(topics.to_vec());
            let filter = filter.from_block(first).to_block(last);
            found.extend(self.rpc().logs(&[filter]).await?.into_iter().flatten());
            first = last + 1;
        }
        Ok(found)
    }
}

fn added(logs: Vec<Log>) -> Vec<Change> {
    logs.into_iter().map(|log| Change::Added(Arc::new(ChainEvent::read(log)))).collect()
}

fn reference(block: &Block) -> BlockRef {
    BlockRef { number: block.header.number, hash: block.header.hash }
}
