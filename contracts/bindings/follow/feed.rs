//! One follower for all readers of a process: each has a bounded queue and is told when it missed something.

use std::time::Duration;

use tokio::{
    sync::broadcast::{
        self, Receiver, Sender,
        error::{RecvError, TryRecvError},
    },
    task::JoinHandle,
    time::sleep,
};

use super::{Change, Follower};

/// Changes that a reader may be behind before it misses some: a full window undone and read again, with room for its events.
const CAPACITY: usize = 4_096;

/// How a feed looks at the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Pause between two looks at the newest block, the one thing that is asked for again and again.
    pub interval: Duration,
    /// Longest pause while the chain does not answer.
    pub longest_pause: Duration,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), longest_pause: Duration::from_secs(15) }
    }
}

/// A follower that runs until this is dropped, and tells every [`Changes`] what it finds.
#[derive(Debug)]
pub struct ChainFeed {
    sender: Sender<Change>,
    task: JoinHandle<()>,
}

impl ChainFeed {
    /// Starts to follow. Subscribe before the first await to miss nothing.
    pub fn start(follower: Follower, config: FeedConfig) -> Self {
        let (sender, _) = broadcast::channel(CAPACITY);
        let task = tokio::spawn(run(follower, config, sender.clone()));
        Self { sender, task }
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> Changes {
        Changes(self.sender.subscribe())
    }
}

impl Drop for ChainFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut follower: Follower, config: FeedConfig, sender: Sender<Change>) {
    let mut pause = config.interval;
    let mut answers = true;
    loop {
        match follower.step().await {
            Ok(changes) => {
                if !answers {
                    tracing::info!("the chain answers again");
                    tell(&sender, Change::Answers(true));
                }
                (answers, pause) = (true, config.interval);
                let idle = changes.is_empty();
                changes.into_iter().for_each(|change| tell(&sender, change));
                if !idle {
                    continue;
                }
            }
            Err(error) => {
                if answers {
                    tracing::warn!(%error, "the chain cannot be followed now");
                    tell(&sender, Change::Answers(false));
                }
                (answers, pause) = (false, pause.saturating_mul(2).min(config.longest_pause));
            }
        }
        sleep(pause).await;
    }
}

/// Nobody has to listen.
fn tell(sender: &Sender<Change>, change: Change) {
    sender.send(change).ok();
}

/// One reader's queue. A reader that is more than 4,096 changes behind gets [`Change::Missed`].
#[derive(Debug)]
pub struct Changes(Receiver<Change>);

impl Changes {
    /// The next change; `None` when the feed has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(RecvError::Lagged(_)) => Some(Change::Missed),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next change that is there already.
    pub fn waiting(&mut self) -> Option<Change> {
        match self.0.try_recv() {
            Ok(change) => Some(change),
            Err(TryRecvError::Lagged(_)) => Some(Change::Missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// Waits for a change that `matters`, and takes all that have queued up behind it: one answer serves them all.
    /// `None` when the feed has ended. Cancel safe but for what was queued.
    pub async fn until(&mut self, matters: impl Fn(&Change) -> bool) -> Option<()> {
        while !matters(&self.next().await?) {}
        while self.waiting().is_some() {}
        Some(())
    }

    /// A second reader of the same feed, from now on.
    #[must_use]
    pub fn resubscribe(&self) -> Self {
        Self(self.0.resubscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_that_it_missed_changes() {
        let (sender, receiver) = broadcast::channel(2);
        let mut changes = Changes(receiver);
        for answers in [true, false, true] {
            tell(&sender, Change::Answers(answers));
        }
        assert_eq!(changes.next().await, Some(Change::Missed));
        assert_eq!(changes.next().await, Some(Change::Answers(false)));
        assert_eq!(changes.waiting(), Some(Change::Answers(true)));
        assert_eq!(changes.waiting(), None);
    }

    #[tokio::test]
    async fn one_answer_serves_all_changes_that_queued_up() {
        let (sender, receiver) = broadcast::channel(8);
        let mut changes = Changes(receiver);
        for _ in 0..3 {
            tell(&sender, Change::Missed);
        }
        assert_eq!(changes.until(Change::changes_orchestrators).await, Some(()));
        assert_eq!(changes.waiting(), None);
    }
}
