//! The round that receipts must be dated with.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use framemill_contracts::{ChainClient, Change, Changes, EventKind};

use crate::service::Shared;

/// Rounds that an orchestrator may be behind or ahead of this side, while news of a new one is on its way.
const SLACK: u32 = 1;

/// The same while the chain does not answer: as long as tickets of the last round that was seen are usually taken. A receipt of
/// a far round would be out of the court's reach until then.
const SLACK_BEHIND: u32 = 2;

/// The chain's round as it was last seen. A receipt of another time must not be taken: nobody could accuse its signer.
#[derive(Debug, Default)]
pub(crate) struct RoundClock(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    round: Option<u32>,
    /// The chain does not answer: it may have gone on.
    behind: bool,
}

impl RoundClock {
    /// Rounds that a receipt may name now; `None` before the chain was seen. While the chain does not answer a later one passes as
    /// well, since an orchestrator may see it where this side does not.
    pub(crate) fn accepted(&self) -> Option<RangeInclusive<u32>> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let round = seen.round?;
        let last = round.saturating_add(if seen.behind { SLACK_BEHIND } else { SLACK });
        // Round 0 is before the first: the court hears nothing about it.
        let first = round.saturating_sub(SLACK).max(round.min(1));
        Some(first..=last)
    }

    /// Asks the chain; false when it does not answer.
    pub(crate) async fn look(&self, chain: &ChainClient) -> bool {
        match chain.round_info().await {
            Ok(info) => self.see(info.last_initialized),
            Err(error) => {
                tracing::debug!(%error, "the round cannot be read");
                self.fall_behind();
                return false;
            }
        }
        true
    }

    fn see(&self, round: u64) {
        let round = Some(u32::try_from(round).unwrap_or(u32::MAX));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen { round, behind: false };
    }

    fn fall_behind(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).behind = true;
    }

    /// Takes over what a change says by itself. True when the chain must be asked.
    fn follow(&self, change: &Change) -> bool {
        match change {
            Change::Answers(false) => self.fall_behind(),
            Change::Missed | Change::Answers(true) => return true,
            Change::Added(event) => {
                if let EventKind::RoundStarted { round } = event.kind {
                    self.see(round);
                }
            }
            // The round before it is not named.
            Change::Removed(event) => return matches!(event.kind, EventKind::RoundStarted { .. }),
            _ => {}
        }
        false
    }
}

/// Follows the chain's rounds until the broadcaster ends.
pub(crate) async fn keep_time(shared: Arc<Shared>, chain: ChainClient, mut changes: Changes) {
    let mut ask = true;
    loop {
        if ask {
            ask = !shared.rounds.look(&chain).await;
        }
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            change = changes.next() => match change {
                Some(change) => ask |= shared.rounds.follow(&change),
                None => return,
            },
            () = tokio::time::sleep(shared.config.registry_retry), if ask => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_round_it_saw_and_those_beside() {
        let clock = RoundClock::default();
        assert_eq!(clock.accepted(), None);
        clock.see(0);
        assert_eq!(clock.accepted(), Some(0..=1));
        clock.see(1);
        assert_eq!(clock.accepted(), Some(1..=2));
        clock.see(7);
        assert_eq!(clock.accepted(), Some(6..=8));
    }

    #[test]
    fn one_more_round_passes_while_the_chain_is_silent_and_earlier_ones_never() {
        let clock = RoundClock::default();
        clock.see(7);
        assert!(!clock.follow(&Change::Answers(false)));
        assert_eq!(clock.accepted(), Some(6..=9));
        assert!(clock.follow(&Change::Answers(true)), "the chain is asked where it stands");
        clock.see(9);
        assert_eq!(clock.accepted(), Some(8..=10));
    }
}
