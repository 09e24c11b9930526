//! The steps of a redeemer by name, and the only way to its ledger and its chain: looks pass freely, each durable write
//! and each effect on the chain is a step.

use std::sync::Arc;

use async_trait::async_trait;

use super::RedeemError;
use crate::ledger::{
    DeadReason, Fate, LaneId, Ledger, LedgerError, LiveSubmission, Retirement, Submission, Winner,
};
use crate::port::{
    Broker, BrokerError, ChainView, PreparedRedemption, SenderFunds, TicketResult, TxStatus, WinningTicket,
};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// One durable write or one effect on the chain. A redeemer may be killed before and after each of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RedeemStep {
            $($(#[$doc])* $name,)+
        }

        impl RedeemStep {
            /// Every step, in the order in which a turn takes them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

steps! {
    /// A submission whose fate is final is forgotten, and its winners become paid, dead or pending again.
    Conclude,
    /// A transaction that the chain does not know is sent again as it was.
    SendAgain,
    /// A version at a higher fee is signed.
    Raise,
    /// It is written down.
    StoreRaised,
    /// It is sent.
    SendRaised,
    /// Winners that no transaction can carry are given up.
    Bury,
    /// The secrets of lanes to be redeemed are replaced, and marked as revealed when their grace is over.
    Reveal,
    /// A transaction is signed, which uses an account nonce.
    Sign,
    /// Winners for which none can be signed count a failure.
    NoteFailure,
    /// The transaction is written down, and its winners are tied to it.
    Store,
    /// It is sent.
    Send,
}

/// Stands beside a redeemer and sees each step before it is taken and after it took effect. An error ends the turn as if
/// the step had failed with it; the next turn continues.
#[async_trait]
pub trait StepGuard: Send + Sync {
    /// Before the step: on an error it is not taken.
    async fn before(&self, step: RedeemStep) -> Result<(), RedeemError>;

    /// After the step, whatever came of it.
    async fn after(&self, step: RedeemStep) -> Result<(), RedeemError>;
}

/// The redeemer's hands.
pub(super) struct Desk {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) broker: Arc<dyn Broker>,
    pub(super) guard: Option<Arc<dyn StepGuard>>,
}

impl Desk {
    async fn step<T, E>(
        &self,
        step: RedeemStep,
        call: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, RedeemError>
    where
        RedeemError: From<E>,
    {
        let Some(guard) = &self.guard else { return Ok(call.await?) };
        guard.before(step).await?;
        let outcome = call.await;
        guard.after(step).await?;
        Ok(outcome?)
    }

    pub(super) async fn lead(&self) -> Result<bool, LedgerError> {
        self.ledger.lead().await
    }

    pub(super) async fn submissions(&self) -> Result<Vec<LiveSubmission>, LedgerError> {
        self.ledger.submissions().await
    }

    pub(super) async fn pending(
        &self,
        after: Option<LaneId>,
        limit: u32,
    ) -> Result<Vec<Winner>, LedgerError> {
        self.ledger.pending_winners(after, limit).await
    }

    pub(super) async fn chain(&self) -> Result<ChainView, BrokerError> {
        self.broker.chain().await
    }

    pub(super) async fn lane_nonce(&self, lane: LaneId) -> Result<u64, BrokerError> {
        self.broker.lane_nonce(lane.sender, lane.lane).await
    }

    pub(super) async fn funds(&self, lane: LaneId) -> Result<SenderFunds, BrokerError> {
        self.broker.funds(lane.sender, lane.recipient).await
    }

    pub(super) async fn status(&self, version: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        self.broker.status(version).await
    }

    pub(super) async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError> {
        self.broker.rehearse(tickets).await
    }

    pub(super) async fn conclude(
        &self,
        live: &LiveSubmission,
        mined: &PreparedRedemption,
        fates: &[(i64, Fate)],
    ) -> Result<(), RedeemError> {
        self.step(RedeemStep::Conclude, self.ledger.conclude(live.prepared.tx, mined.tx, fates)).await
    }

    pub(super) async fn raise(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, RedeemError> {
        self.step(RedeemStep::Raise, self.broker.replacement(slow)).await
    }

    pub(super) async fn store_raised(
        &self,
        live: &LiveSubmission,
        raised: &PreparedRedemption,
        offered_ms: u64,
    ) -> Result<(), RedeemError> {
        let stored = self.ledger.replace(live.prepared.tx, raised.clone(), offered_ms);
        self.step(RedeemStep::StoreRaised, stored).await
    }

    pub(super) async fn bury(&self, dead: &[(i64, DeadReason)]) -> Result<(), RedeemError> {
        self.step(RedeemStep::Bury, self.ledger.bury(dead)).await
    }

    pub(super) async fn reveal(&self, lanes: &[Retirement], now_ms: u64) -> Result<Vec<Winner>, RedeemError> {
        self.step(RedeemStep::Reveal, self.ledger.reveal(lanes, now_ms)).await
    }

    pub(super) async fn sign(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, RedeemError> {
        self.step(RedeemStep::Sign, self.broker.prepare(tickets)).await
    }

    pub(super) async fn note_failure(&self, winners: &[i64]) -> Result<(), RedeemError> {
        self.step(RedeemStep::NoteFailure, self.ledger.note_failure(winners)).await
    }

    pub(super) async fn store(&self, submission: Submission) -> Result<(), RedeemError> {
        self.step(RedeemStep::Store, self.ledger.submit(submission)).await
    }

    /// Whether the chain took it. A refusal is no error: what became of the transaction shows in its status. A process that was
    /// replaced leaves sending to its successor, which finds the transaction in the ledger.
    pub(super) async fn send(
        &self,
        step: RedeemStep,
        version: &PreparedRedemption,
    ) -> Result<bool, RedeemError> {
        if !self.lead().await? {
            return Err(LedgerError::NotLeader.into());
        }
        match self.step(step, self.broker.send(version)).await {
            Err(RedeemError::Broker(BrokerError::Refused(reason))) => {
                tracing::warn!(tx = %version.tx, reason, "chain refused a redemption; its status decides");
                Ok(false)
            }
            sent => sent.map(|()| true),
        }
    }
}
