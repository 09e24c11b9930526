//! The round keeper and the reward caller: once a round, by at most one of the processes that hold the key, at a calm
//! price of gas while there is time.

mod plan;

use std::time::Duration;

use alloy_primitives::Address;
use framemill_contracts::{ChainClient, ChainError, Change, Changes, DutyState, EventKind};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::metrics::{Metrics, RewardEnd};
use plan::Step;

/// When duties are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DutyPolicy {
    /// Whether rounds are initialized. Somebody has to, and anybody may.
    pub keep_rounds: bool,
    /// Whether the reward of each round is called for. One that is not called for is lost.
    pub call_rewards: bool,
    /// Above this price of gas, in wei, a reward waits until the round is nearly over.
    pub calm_gas_price: u128,
    /// How much of a round its end is, in parts per million: there a reward is called for at any price that the client may
    /// pay, and one that is still open raises the alert.
    pub urgent_ppm: u32,
    /// How long each keeper waits for the one before it, so that not all of them pay for the same round.
    pub turn: Duration,
    /// Pause before what failed is tried again.
    pub retry: Duration,
}

impl Default for DutyPolicy {
    fn default() -> Self {
        Self {
            keep_rounds: true,
            call_rewards: true,
            calm_gas_price: 50_000_000_000,
            urgent_ppm: 250_000,
            turn: Duration::from_secs(15),
            retry: Duration::from_secs(5),
        }
    }
}

/// What the duties of one orchestrator are done with.
#[derive(Debug)]
pub struct Duties {
    /// Sends with the orchestrator's key.
    pub client: ChainClient,
    /// What happens on the client's chain.
    pub changes: Changes,
    /// When.
    pub policy: DutyPolicy,
}

/// The service.
pub(crate) struct Keeper {
    duties: Duties,
    metrics: Metrics,
    account: Address,
    height: u64,
    /// `None`: to be read.
    state: Option<DutyState>,
    /// The last round seen, and whether its reward was open then.
    seen: Option<(u64, bool)>,
    /// Something is due and was not done: it is tried again without waiting for the chain.
    unfinished: bool,
}

impl Keeper {
    /// `None` for a client that cannot send.
    pub(crate) fn new(duties: Duties, metrics: Metrics) -> Option<Self> {
        let account = duties.client.address()?;
        Some(Self { duties, metrics, account, height: 0, state: None, seen: None, unfinished: false })
    }

    /// Does what is due until the feed ends. Cancel safe: what was sent is found on the chain.
    pub(crate) async fn run(mut self) {
        loop {
            if let Err(error) = self.work().await {
                self.unfinished = true;
                self.state = None;
                match error.is_retryable() {
                    true => debug!(%error, "the chain is away or gas is dear, duties wait"),
                    false => warn!(%error, "a duty could not be done, will try again"),
                }
            }
            let retry = sleep(self.duties.policy.retry);
            tokio::select! {
                change = self.duties.changes.next() => match change {
                    Some(change) => self.note(&change),
                    None => return,
                },
                () = retry, if self.unfinished => {}
            }
            // One look serves all blocks that queued up.
            while let Some(change) = self.duties.changes.waiting() {
                self.note(&change);
            }
        }
    }

    /// Reads the state anew only after what can have changed it.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Head(block) => self.height = block.number,
            Change::Missed | Change::Answers(true) => self.state = None,
            other => {
                let touched = match other.event().map(|event| &event.kind) {
                    Some(EventKind::RoundStarted { .. }) => true,
                    Some(
                        EventKind::Rewarded { orchestrator, .. }
                        | EventKind::OrchestratorChanged { orchestrator },
                    ) => *orchestrator == self.account,
                    Some(EventKind::StakeMoved { delegator, .. }) => *delegator == self.account,
                    _ => false,
                };
                if touched {
                    self.state = None;
                }
            }
        }
    }

    async fn work(&mut self) -> Result<(), ChainError> {
        let state = self.look().await?;
        self.unfinished = false;
        if plan::round_is_due(&state, self.height) {
            return self.keep_round(&state).await;
        }
        self.call_reward(&state).await
    }

    /// The state, and the alert that follows from it.
    async fn look(&mut self) -> Result<DutyState, ChainError> {
        let state = match self.state {
            Some(state) => state,
            None => {
                let fresh = self.duties.client.duty_state().await?;
                self.height = self.height.max(self.duties.client.block_number().await?);
                fresh
            }
        };
        self.count_missed(&state);
        self.seen = Some((state.round.last_initialized, plan::reward_is_open(&state)));
        self.state = Some(state);
        let at_risk =
            self.duties.policy.call_rewards && plan::is_at_risk(&state, self.height, &self.duties.policy);
        if at_risk && self.metrics.reward_at_risk.get() == 0 {
            warn!(
                round = state.round.last_initialized,
                "this round's reward is about to be missed; check gas, funds and chain"
            );
        }
        self.metrics.reward_at_risk.set(i64::from(at_risk));
        Ok(state)
    }

    /// A reward that was open when its round ended is lost.
    fn count_missed(&mut self, fresh: &DutyState) {
        let Some((round, open)) = self.seen else { return };
        if open && fresh.round.last_initialized > round && fresh.last_reward_round < round {
            self.metrics.reward(RewardEnd::Missed);
            warn!(round, "a reward was missed: it was not called for before its round ended");
        }
    }

    async fn keep_round(&mut self, state: &DutyState) -> Result<(), ChainError> {
        if !self.duties.policy.keep_rounds {
            return Ok(());
        }
        let due = state.round.last_initialized + 1;
        let turns = plan::turns_to_wait(self.account, due, state.candidates);
        sleep(self.duties.policy.turn.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX))).await;
        self.state = None;
        match self.duties.client.initialize_round_once().await? {
            Some(mined) => {
                self.metrics.rounds.inc();
                info!(round = due, tx = %mined.hash, gas = mined.gas_used, "initialized round");
            }
            // Done by another, or on its way: its event wakes us.
            None => self.unfinished = !self.duties.client.round_info().await?.is_initialized(),
        }
        Ok(())
    }

    async fn call_reward(&mut self, state: &DutyState) -> Result<(), ChainError> {
        if !self.duties.policy.call_rewards || !plan::reward_is_open(state) {
            return Ok(());
        }
        let price = self.duties.client.gas_price().await?;
        match plan::reward(state, self.height, price, &self.duties.policy) {
            Step::Idle => Ok(()),
            Step::WaitForGas => {
                debug!(price, "gas is dear, the reward waits");
                self.unfinished = true;
                Ok(())
            }
            Step::Act => self.reward(state.round.last_initialized).await,
        }
    }

    async fn reward(&mut self, round: u64) -> Result<(), ChainError> {
        let outcome = self.duties.client.reward_once().await;
        self.state = None;
        match outcome {
            Ok(Some(mined)) => {
                self.metrics.reward(RewardEnd::Called);
                info!(round, tx = %mined.hash, gas = mined.gas_used, "called for the reward");
                Ok(())
            }
            Ok(None) => {
                // On its way from before a restart, or not ours to call: its event or the next look tells.
                self.unfinished = true;
                Ok(())
            }
            Err(error) => {
                self.metrics.reward(RewardEnd::Failed);
                Err(error)
            }
        }
    }
}
