//! Turns winners into money: pure decisions and a driver that carries them out.

mod plan;
mod step;

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ledger::{Fate, LaneId, Ledger, LedgerError, LiveSubmission, MAX_VERSIONS, Submission, Winner};
use crate::port::{Broker, BrokerError, Clock, PreparedRedemption, TxStatus};
use crate::units::Wei;
use plan::{Facts, Step, Urgency};
use step::Desk;

pub use step::{RedeemStep, StepGuard};

/// Pending winners looked at in one turn; the rest waits for the next.
const SCAN: u32 = 1024;

/// When and how winners are redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedeemPolicy {
    /// Tickets in one transaction at most.
    pub max_batch: usize,
    /// A batch of this many goes out at once.
    pub min_batch: usize,
    /// A smaller one goes out when its oldest winner has waited this long, in milliseconds.
    pub max_wait_ms: u64,
    /// Before winners go out, tickets made on their secret are taken for this long, in milliseconds, while parameters on
    /// the next one are handed out: a sender that pays within it has no ticket refused. Urgent winners do not wait.
    pub grace_ms: u64,
    /// Above this gas price only urgent winners go out.
    pub max_gas_price: Wei,
    /// A winner with at most this many rounds left is urgent.
    pub urgent_rounds: u64,
    /// Blocks on top of a transaction, its own included, that make it final.
    pub confirmations: u64,
    /// A transaction that is not mined this long after it was offered is offered at a higher fee, in milliseconds.
    pub bump_after_ms: u64,
    /// Failed transactions after which a winner is given up.
    pub max_attempts: u32,
}

impl Default for RedeemPolicy {
    fn default() -> Self {
        Self {
            max_batch: 50,
            min_batch: 10,
            max_wait_ms: 60_000,
            grace_ms: 10_000,
            max_gas_price: Wei::from(100_000_000_000),
            urgent_rounds: 1,
            confirmations: 3,
            bump_after_ms: 30_000,
            max_attempts: 3,
        }
    }
}

/// Why a turn of the redeemer ended early. Nothing is lost: the next turn continues.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// The chain could not be asked.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedeemReport {
    /// Transactions sent.
    pub sent: usize,
    /// Tickets in them.
    pub submitted: usize,
    /// Tickets that became final and paid.
    pub paid: usize,
    /// Their face value.
    pub paid_value: Wei,
    /// Tickets given up.
    pub dead: usize,
}

/// Redeems the winners of one ledger. Several processes that share one may each run one: the ledger elects whose turns do
/// anything ([`Ledger::lead`]).
///
/// The life of a winner: pending → its secret retiring → marked revealed → tied to a signed transaction →
/// sent → mined → final. Each [`RedeemStep`] is on disk before the next begins, and each turn takes up what
/// it finds there, so that a crash needs no recovery of its own. A transaction that a
/// reorganization un-mined is sent again as it is; a slow one is offered at a higher fee under its account nonce, so
/// that the chain takes one version at most; one that can never be mined in any version frees its winners.
pub struct Redeemer {
    policy: RedeemPolicy,
    desk: Desk,
    clock: Arc<dyn Clock>,
    /// The last lane that was looked at, when there were more winners than one look takes in.
    passed: Mutex<Option<LaneId>>,
}

impl Redeemer {
    /// A redeemer over this ledger and broker.
    pub fn new(
        policy: RedeemPolicy,
        ledger: Arc<dyn Ledger>,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { policy, desk: Desk { ledger, broker, guard: None }, clock, passed: Mutex::default() }
    }

    /// Lets somebody see, and stop, each step.
    #[must_use]
    pub fn guarded(mut self, guard: Arc<dyn StepGuard>) -> Self {
        self.desk.guard = Some(guard);
        self
    }

    /// Takes turns until `stop`; a turn that fails is logged and tried again.
    pub async fn run(&self, every: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            match self.turn().await {
                Ok(report) if report == RedeemReport::default() => {}
                Ok(report) => tracing::info!(?report, "redeemed winning tickets"),
                Err(error) => tracing::warn!(%error, "redemption turn ended early; the next continues"),
            }
        }
    }

    /// One turn: follow up on what was sent, then send what is due. Call it every block or so, from
    /// one task.
    ///
    /// Safe to drop at any point and to call again after a crash at any point.
    pub async fn turn(&self) -> Result<RedeemReport, RedeemError> {
        self.turn_with(Urgency::ByPolicy).await
    }

    /// Like [`Redeemer::turn`], but redeems all pending winners now, whatever the policy on batch
    /// size, age and gas price.
    pub async fn flush(&self) -> Result<RedeemReport, RedeemError> {
        self.turn_with(Urgency::Everything).await
    }

    async fn turn_with(&self, urgency: Urgency) -> Result<RedeemReport, RedeemError> {
        let mut report = RedeemReport::default();
        if !self.desk.lead().await? {
            return Ok(report);
        }
        let turn = async {
            let busy = self.follow_up(&mut report).await?;
            self.send_due(&busy, urgency, &mut report).await
        };
        as_leader(turn.await)?;
        Ok(report)
    }

    /// Sends what has become due by the clock alone. What was sent is looked after by [`Redeemer::turn`]: only a new
    /// block can change where it stands.
    ///
    /// Safe to drop at any point.
    pub async fn tick(&self) -> Result<RedeemReport, RedeemError> {
        if !self.desk.lead().await? {
            return Ok(RedeemReport::default());
        }
        let live = self.desk.submissions().await?;
        let busy = live.iter().flat_map(lanes).collect();
        let mut report = RedeemReport::default();
        as_leader(self.send_due(&busy, Urgency::ByPolicy, &mut report).await)?;
        Ok(report)
    }

    /// Returns the lanes that still have a transaction on its way. One that the chain answers nothing sensible about does
    /// not hold up the others.
    async fn follow_up(&self, report: &mut RedeemReport) -> Result<HashSet<LaneId>, RedeemError> {
        let mut busy = HashSet::new();
        for live in self.desk.submissions().await? {
            match self.follow(&live, report).await {
                Ok(true) => {}
                Ok(false) => busy.extend(lanes(&live)),
                Err(RedeemError::Broker(BrokerError::Refused(reason))) => {
                    tracing::warn!(tx = %live.newest().tx, reason, "a redemption cannot be followed; it stays as it is");
                    busy.extend(lanes(&live));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(busy)
    }

    /// Takes a submission as far as the chain lets it; true when it is concluded.
    async fn follow(&self, live: &LiveSubmission, report: &mut RedeemReport) -> Result<bool, RedeemError> {
        let (status, version) = self.status(live).await?;
        match plan::follow(&live.winners, &status, &self.policy) {
            Step::Conclude(fates) => {
                self.desk.conclude(live, version, &fates).await?;
                count(report, &live.winners, &fates);
                return Ok(true);
            }
            Step::SendAgain => {
                // Nodes do not take back what has become too cheap meanwhile.
                if !self.desk.send(RedeemStep::SendAgain, version).await? {
                    self.raise_if_slow(live).await?;
                }
            }
            Step::Wait if status == TxStatus::Pending => self.raise_if_slow(live).await?,
            Step::Wait => {}
        }
        Ok(false)
    }

    /// Where a submission stands, and the version that decides it. Only once the newest has lost its account nonce can
    /// an older one have been mined.
    async fn status<'a>(
        &self,
        live: &'a LiveSubmission,
    ) -> Result<(TxStatus, &'a PreparedRedemption), RedeemError> {
        let newest = live.newest();
        let status = self.desk.status(newest).await?;
        if !matches!(status, TxStatus::Dropped { .. }) {
            return Ok((status, newest));
        }
        let older = live.replacements.iter().rev().skip(1).chain([&live.prepared]);
        for version in older.filter(|version| version.tx != newest.tx) {
            let status = self.desk.status(version).await?;
            if !matches!(status, TxStatus::Dropped { .. }) {
                return Ok((status, version));
            }
        }
        Ok((status, newest))
    }

    async fn raise_if_slow(&self, live: &LiveSubmission) -> Result<(), RedeemError> {
        let now_ms = self.clock.now_ms();
        if !plan::is_slow(live.offered_ms, now_ms, &self.policy)
            || live.replacements.len() + 1 >= MAX_VERSIONS
        {
            return Ok(());
        }
        let Some(raised) = self.desk.raise(live.newest()).await? else { return Ok(()) };
        tracing::info!(slow = %live.newest().tx, tx = %raised.tx, "offering a slow redemption at a higher fee");
        self.desk.store_raised(live, &raised, now_ms).await?;
        self.desk.send(RedeemStep::SendRaised, &raised).await?;
        Ok(())
    }

    async fn send_due(
        &self,
        busy: &HashSet<LaneId>,
        urgency: Urgency,
        report: &mut RedeemReport,
    ) -> Result<(), RedeemError> {
        let pending = self.scan().await?;
        let pending: Vec<_> = pending.into_iter().filter(|winner| !busy.contains(&winner.lane)).collect();
        if pending.is_empty() {
            return Ok(());
        }
        let facts = self.facts(&pending).await?;
        let dead = plan::dead(&pending, &facts, &self.policy);
        if !dead.is_empty() {
            self.desk.bury(&dead).await?;
            report.dead += dead.len();
        }
        let now_ms = self.clock.now_ms();
        let lanes = plan::due(&pending, &facts, &self.policy, now_ms, urgency);
        if lanes.is_empty() {
            return Ok(());
        }
        let complete = self.desk.reveal(&lanes, now_ms).await?;
        for batch in plan::batches(&complete, &facts, &self.policy) {
            self.redeem(batch, report).await?;
        }
        Ok(())
    }

    /// The next winners in the order of their lanes, from the first on again after the last: those that nobody pays for must
    /// not keep others from being seen.
    async fn scan(&self) -> Result<Vec<Winner>, RedeemError> {
        let from = *self.passed();
        let mut pending = self.desk.pending(from, SCAN).await?;
        if pending.is_empty() && from.is_some() {
            pending = self.desk.pending(None, SCAN).await?;
        }
        let more = pending.len() >= SCAN as usize;
        *self.passed() = pending.last().filter(|_| more).map(|last| last.lane);
        Ok(pending)
    }

    fn passed(&self) -> MutexGuard<'_, Option<LaneId>> {
        // It is a place to begin at: any will do.
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn facts(&self, pending: &[Winner]) -> Result<Facts, RedeemError> {
        let mut facts = Facts { chain: self.desk.chain().await?, ..Facts::default() };
        for lane in pending.iter().map(|winner| winner.lane) {
            if let Entry::Vacant(unknown) = facts.lanes.entry(lane) {
                unknown.insert(self.desk.lane_nonce(lane).await?);
            }
            if let Entry::Vacant(unknown) = facts.funds.entry(lane.sender) {
                unknown.insert(self.desk.funds(lane).await?);
            }
        }
        Ok(facts)
    }

    async fn redeem(&self, batch: Vec<Winner>, report: &mut RedeemReport) -> Result<(), RedeemError> {
        let batch = self.payable_now(batch).await?;
        if batch.is_empty() {
            return Ok(());
        }
        let tickets: Vec<_> = batch.iter().map(|winner| winner.ticket).collect();
        let winners: Vec<_> = batch.iter().map(|winner| winner.id).collect();
        let prepared = match self.desk.sign(&tickets).await {
            Ok(prepared) => prepared,
            Err(RedeemError::Broker(BrokerError::Refused(reason))) => {
                tracing::warn!(
                    tickets = batch.len(),
                    reason,
                    "broker refused a redemption; its tickets are tried one by one"
                );
                return self.desk.note_failure(&winners).await;
            }
            Err(error) => return Err(error),
        };
        let offered_ms = self.clock.now_ms();
        self.desk.store(Submission { prepared: prepared.clone(), winners, offered_ms }).await?;
        self.desk.send(RedeemStep::Send, &prepared).await?;
        report.sent += 1;
        report.submitted += batch.len();
        Ok(())
    }

    /// Leaves out what the chain would not pay now but may pay later, so that no gas is spent on it again and again.
    async fn payable_now(&self, batch: Vec<Winner>) -> Result<Vec<Winner>, RedeemError> {
        let tickets: Vec<_> = batch.iter().map(|winner| winner.ticket).collect();
        match self.desk.rehearse(&tickets).await {
            Ok(results) => Ok(plan::without_unpayable(batch, &results)),
            // Whoever signs it will be refused as well, and says why.
            Err(BrokerError::Refused(_)) => Ok(batch),
            Err(error) => Err(error.into()),
        }
    }
}

/// A process that was replaced in the middle of a turn is done with it.
fn as_leader(turn: Result<(), RedeemError>) -> Result<(), RedeemError> {
    match turn {
        Err(RedeemError::Ledger(LedgerError::NotLeader)) => {
            tracing::info!("another process has begun to redeem for this ledger");
            Ok(())
        }
        turn => turn,
    }
}

fn lanes(live: &LiveSubmission) -> impl Iterator<Item = LaneId> {
    live.winners.iter().map(|winner| winner.lane)
}

fn count(report: &mut RedeemReport, winners: &[Winner], fates: &[(i64, Fate)]) {
    for (winner, (_, fate)) in winners.iter().zip(fates) {
        match fate {
            Fate::Paid => {
                report.paid += 1;
                let value = winner.ticket.signed.ticket.face_value;
                report.paid_value = report.paid_value.saturating_add(value);
            }
            Fate::Dead(_) => report.dead += 1,
            Fate::Retry { .. } => {}
        }
    }
}
