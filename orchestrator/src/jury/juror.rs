//! The service: follows the chain's events, carries out what [`plan`](super::plan) decides, and judges beside that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use framemill_contracts::{ChainError, Change, CourtDuty, CourtParams, Dispute, EventKind, RoundInfo, Trial};
use framemill_network::{Network, SigningDomain};
use framemill_verification::evidence::Opinion;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::JuryDuty;
use super::book::{Book, Vote};
use super::docket::{Entry, Judged, Judging, label, verdict};
use super::evidence::{Library, MAX_DOWNLOADS};
use super::plan::{self, Round, Sight, Step};
use crate::error::OrchestratorError;
use crate::metrics::{Metrics, level};

/// Disputes that are followed at once; each has cost somebody a bond. Beyond, the newest are left to others.
const MAX_DISPUTES: usize = 4_096;

/// Does jury duty for one account.
pub(crate) struct Juror {
    duty: JuryDuty,
    me: Address,
    metrics: Metrics,
    library: Arc<Library>,
    book: Book,
    height: u64,
    /// `None`: the disputes are to be read.
    docket: Option<BTreeMap<u64, Entry>>,
    /// `None`: to be read.
    round: Option<Round>,
    work: JoinSet<Judged>,
    /// Votes that could not be written to disk.
    unwritten: Vec<Judged>,
    at_risk: BTreeSet<u64>,
    /// The court may owe this account something.
    owed: bool,
    /// Something is due and was not done: it is tried again without waiting for the chain.
    unfinished: bool,
    /// Something was done: what follows from it is looked at now.
    progressed: bool,
}

impl Juror {
    /// Opens the votes; `None` for a client that cannot send.
    ///
    /// # Errors
    /// The folder cannot be used, or its votes are another account's.
    pub(crate) fn open(
        duty: JuryDuty,
        network: Network,
        metrics: Metrics,
    ) -> Result<Option<Self>, OrchestratorError> {
        let Some(me) = duty.client.address() else { return Ok(None) };
        let evidence = duty.evidence();
        std::fs::create_dir_all(&evidence).map_err(|error| OrchestratorError::Votes {
            path: evidence.clone(),
            reason: error.to_string(),
        })?;
        let chain = duty.client.deployment();
        let book = Book::open(&duty.folder.join("votes.json"), chain.chain_id, me)?;
        let library = Library {
            network,
            client: duty.client.clone(),
            domain: SigningDomain { chain_id: chain.chain_id, controller: chain.controller },
            policy: duty.policy,
            folder: evidence,
            cores: Semaphore::new(duty.policy.cores.max(1)),
            downloads: Semaphore::new(MAX_DOWNLOADS),
        };
        Ok(Some(Self {
            duty,
            me,
            metrics,
            library: Arc::new(library),
            book,
            height: 0,
            docket: None,
            round: None,
            work: JoinSet::new(),
            unwritten: Vec::new(),
            at_risk: BTreeSet::new(),
            owed: true,
            unfinished: false,
            progressed: false,
        }))
    }

    /// Does what is due until the feed ends. Cancel safe: votes are on disk, and what was sent is found on the chain.
    pub(crate) async fn run(mut self) {
        loop {
            (self.unfinished, self.progressed) = (false, false);
            if let Err(error) = self.work().await {
                self.unfinished = true;
                match &error {
                    OrchestratorError::Chain(chain) if chain.is_retryable() => {
                        debug!(%error, "the chain is away or gas is dear, jury duty waits");
                    }
                    _ => warn!(%error, "jury duty could not be done, will try again"),
                }
            }
            let pause = if self.progressed { Duration::ZERO } else { self.duty.policy.retry };
            let retry = sleep(pause);
            tokio::select! {
                change = self.duty.changes.next() => match change {
                    Some(change) => self.note(&change),
                    None => return,
                },
                Some(judged) = self.work.join_next(), if !self.work.is_empty() => {
                    self.note_judged(judged);
                }
                () = retry, if self.unfinished || self.progressed => {}
            }
            // One look serves all blocks that queued up.
            while let Some(change) = self.duty.changes.waiting() {
                self.note(&change);
            }
        }
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Head(block) => self.height = block.number,
            Change::Missed | Change::Answers(true) => {
                (self.docket, self.round, self.owed) = (None, None, true);
            }
            other => match other.event().map(|event| &event.kind) {
                Some(EventKind::DisputeChanged { dispute }) => self.touch(*dispute),
                Some(EventKind::JurorSettled { juror, .. }) if *juror == self.me => {
                    self.owed = true;
                    self.touch_all();
                }
                Some(EventKind::RoundStarted { .. }) => {
                    self.round = None;
                    self.touch_all();
                }
                _ => {}
            },
        }
    }

    fn note_judged(&mut self, judged: Result<Judged, JoinError>) {
        match judged {
            Ok(judged) => self.unwritten.push(judged),
            Err(error) if error.is_panic() => {
                error!("judging a dispute panicked, it is begun again; report the log");
                for entry in self.docket.iter_mut().flat_map(|docket| docket.values_mut()) {
                    let over = |judging: &mut Judging| judging.task.is_finished();
                    entry.changed |= entry.judging.take_if(over).is_some();
                }
            }
            // What was judged is not asked any more.
            Err(_) => {}
        }
    }

    fn touch(&mut self, dispute: u64) {
        let Some(docket) = &mut self.docket else { return };
        if docket.len() < MAX_DISPUTES || docket.contains_key(&dispute) {
            docket.entry(dispute).or_default().changed = true;
        }
    }

    fn touch_all(&mut self) {
        self.docket.iter_mut().flat_map(|docket| docket.values_mut()).for_each(|entry| entry.changed = true);
    }

    async fn work(&mut self) -> Result<(), OrchestratorError> {
        if self.docket.is_none() {
            self.read_docket().await?;
        }
        let mut failed = None;
        for judged in std::mem::take(&mut self.unwritten) {
            failed = self.vote(judged).err().or(failed);
        }
        let height = self.height;
        let due = |entry: &Entry| entry.changed || entry.wake.is_some_and(|wake| wake <= height);
        let docket = self.docket.iter().flatten();
        let ids: Vec<u64> = docket.filter(|(_, entry)| due(entry)).map(|(id, _)| *id).collect();
        for id in ids {
            // One dispute that fails does not hold up the others.
            if let Err(error) = self.look(id).await {
                self.touch(id);
                failed = Some(error);
            }
        }
        self.metrics.disputes.set(level(self.docket.as_ref().map_or(0, BTreeMap::len)));
        self.metrics.vote_at_risk.set(i64::from(!self.at_risk.is_empty()));
        match failed {
            Some(error) => Err(error),
            None => self.withdraw().await,
        }
    }

    /// Every dispute that is open, and those closed ones in which this account voted.
    async fn read_docket(&mut self) -> Result<(), OrchestratorError> {
        let disputes = self.duty.client.disputes_from(1).await?;
        self.height = self.height.max(self.duty.client.block_number().await?);
        let book = &self.book;
        let own = |dispute: &Dispute| {
            [dispute.first_jury, dispute.appeal_jury].into_iter().any(|jury| book.knows(jury))
        };
        let followed = disputes.iter().filter(|dispute| !dispute.is_closed() || own(dispute));
        let changed = |dispute: &Dispute| (dispute.id, Entry { changed: true, ..Entry::default() });
        self.docket = Some(followed.take(MAX_DISPUTES).map(changed).collect());
        self.work.abort_all();
        Ok(())
    }

    async fn round(&mut self) -> Result<Round, ChainError> {
        if let Some(round) = self.round {
            return Ok(round);
        }
        let (info, params): (RoundInfo, CourtParams) =
            tokio::try_join!(self.duty.client.round_info(), self.duty.client.court_params())?;
        let (start, end) = (info.start_block, info.start_block + info.length);
        let draw_blocks = u64::from(params.seed_delay) + u64::from(params.claim_blocks);
        Ok(*self.round.insert(Round { start, end, draw_blocks }))
    }

    /// Looks at a dispute and does what is due.
    async fn look(&mut self, id: u64) -> Result<(), OrchestratorError> {
        let Some(trial) = self.duty.client.trial(id).await? else {
            // Its opening was taken back. If it comes again, an event tells.
            self.drop_entry(id).await;
            return Ok(());
        };
        self.height = self.height.max(trial.height);
        let case = plan::case_of(&trial.dispute);
        let round = self.round().await?;
        self.watch(&trial);
        let entry = self.docket.get_or_insert_default().entry(id).or_default();
        entry.evidence.clone_from(&trial.dispute.evidence);
        (entry.changed, entry.wake) = (false, None);
        let other = |judging: &mut Judging| (judging.jury, judging.case) != (trial.jury.id, case);
        if let Some(judging) = entry.judging.take_if(other) {
            judging.task.abort();
        }
        let vote = self.book.vote(trial.jury.id, case);
        let sight = Sight { trial: &trial, me: self.me, vote, round, policy: &self.duty.policy };
        match plan::next(&sight) {
            Step::Wait(wake) => self.wake(id, wake),
            Step::Judge { last_call } => {
                self.judge(&trial, case);
                self.wake(id, Some(last_call));
            }
            Step::GiveUp => {
                let reason = "the evidence could not be had or judged in time";
                let opinion = Opinion::unavailable(reason);
                self.vote(Judged { dispute: id, jury: trial.jury.id, case, opinion })?;
                self.progressed = true;
            }
            Step::Act { duty, urgent } => self.act(&trial, duty, urgent).await?,
            Step::Forget => {
                self.owed |= trial.dispute.is_party(self.me) || !trial.parts.is_empty();
                self.drop_entry(id).await;
            }
        }
        Ok(())
    }

    fn wake(&mut self, id: u64, wake: Option<u64>) {
        if let Some(entry) = self.docket.as_mut().and_then(|docket| docket.get_mut(&id)) {
            entry.wake = wake;
        }
    }

    /// The alert and the count of missed votes.
    fn watch(&mut self, trial: &Trial) {
        let jury = trial.jury.id;
        if plan::is_at_risk(trial) {
            if self.at_risk.insert(trial.dispute.id) {
                let until = if trial.seat.is_some_and(|seat| seat.commitment.is_some()) {
                    trial.jury.reveal_until
                } else {
                    trial.jury.commit_until
                };
                warn!(
                    dispute = trial.dispute.id,
                    blocks_left = until.saturating_sub(trial.height),
                    "a vote is about to be missed, which costs stake; check gas, funds and chain"
                );
            }
        } else {
            self.at_risk.remove(&trial.dispute.id);
        }
        let docket = self.docket.get_or_insert_default();
        let entry = docket.entry(trial.dispute.id).or_default();
        if plan::missed(trial) && entry.missed.replace(jury) != Some(jury) {
            self.metrics.votes_missed.inc();
            warn!(dispute = trial.dispute.id, jury, "a vote was missed: its window ended without it");
        }
    }

    /// Starts to fetch and judge, unless that goes on already.
    fn judge(&mut self, trial: &Trial, case: B256) {
        let (id, jury) = (trial.dispute.id, trial.jury.id);
        let Some(entry) = self.docket.as_mut().and_then(|docket| docket.get_mut(&id)) else { return };
        if entry.judging.is_some() {
            return;
        }
        info!(dispute = id, jury, fault = ?trial.dispute.fault, "this node sits in a jury, fetching the evidence");
        let (library, dispute) = (Arc::clone(&self.library), trial.dispute.clone());
        let task = self.work.spawn(async move {
            let opinion = library.judge(&dispute).await;
            Judged { dispute: id, jury, case, opinion }
        });
        entry.judging = Some(Judging { jury, case, task });
    }

    /// Writes a vote down; it is committed to from there. One that cannot be written is kept in memory and tried again.
    fn vote(&mut self, judged: Judged) -> Result<(), OrchestratorError> {
        let Judged { dispute, jury, case, opinion } = &judged;
        let (verdict, reason) = (verdict(opinion.finding), opinion.reason.clone());
        info!(dispute, jury, ?verdict, reason, "judged a dispute");
        let vote = Vote { jury: *jury, case: *case, verdict, salt: B256::random(), reason };
        let (dispute, about) = (*dispute, (*jury, *case));
        // A small file, a few times a day.
        if let Err(error) = self.book.add(vote) {
            error!(%error, "a vote is not on disk and not sent; free space or check the disk");
            self.unwritten.push(judged);
            return Err(error);
        }
        if let Some(entry) = self.docket.as_mut().and_then(|docket| docket.get_mut(&dispute)) {
            entry.changed = true;
            if let Some(judging) = entry.judging.take_if(|judging| (judging.jury, judging.case) == about) {
                judging.task.abort();
            }
        }
        Ok(())
    }

    /// Sends what is due, unless it has time and gas is dear.
    async fn act(&mut self, trial: &Trial, duty: CourtDuty, urgent: bool) -> Result<(), OrchestratorError> {
        let id = trial.dispute.id;
        if !urgent && self.duty.client.gas_price().await? > self.duty.policy.calm_gas_price {
            debug!(dispute = id, "gas is dear, jury duty waits");
            self.wake(id, Some(trial.height + 1));
            return Ok(());
        }
        // Whatever becomes of it, the next look tells.
        self.touch(id);
        let Some(mined) = self.duty.client.court_duty_once(duty).await? else {
            self.refused(trial, duty).await?;
            return Ok(());
        };
        info!(dispute = id, ?duty, tx = %mined.hash, gas = mined.gas_used, "did jury duty");
        match duty {
            CourtDuty::Claim { .. } => self.metrics.seats.inc_by(u64::from(trial.claimable)),
            CourtDuty::Reveal { verdict, .. } => {
                self.metrics.votes.with_label_values(&[label(verdict)]).inc();
            }
            CourtDuty::Settle { .. } => self.owed = true,
            _ => {}
        }
        self.progressed = true;
        Ok(())
    }

    /// The court does not take it now, or it is on its way already; the next look tells. A jury that cannot go on is moved on.
    async fn refused(&mut self, trial: &Trial, duty: CourtDuty) -> Result<(), OrchestratorError> {
        self.unfinished = true;
        let advance = CourtDuty::Advance { dispute: trial.dispute.id };
        if trial.dispute.is_judged() && duty != advance {
            self.progressed = self.duty.client.court_duty_once(advance).await?.is_some();
        }
        Ok(())
    }

    async fn drop_entry(&mut self, id: u64) {
        let Some(entry) = self.docket.as_mut().and_then(|docket| docket.remove(&id)) else { return };
        self.at_risk.remove(&id);
        if let Some(judging) = entry.judging {
            judging.task.abort();
        }
        let others = self.docket.iter().flat_map(|docket| docket.values());
        let used: BTreeSet<B256> = others.flat_map(|entry| entry.evidence.iter().copied()).collect();
        for bundle in entry.evidence.iter().filter(|bundle| !used.contains(*bundle)) {
            self.library.forget(*bundle).await;
        }
    }

    async fn withdraw(&mut self) -> Result<(), OrchestratorError> {
        if !self.owed {
            return Ok(());
        }
        let owed = self.duty.client.court_pending(self.me).await?;
        if !owed.is_zero() {
            if self.duty.client.gas_price().await? > self.duty.policy.calm_gas_price {
                // It waits for calm gas, and is asked about with each block.
                return Ok(());
            }
            let Some(mined) = self.duty.client.court_duty_once(CourtDuty::Withdraw).await? else {
                return Ok(());
            };
            info!(base_units = %owed, tx = %mined.hash, "took out what the court owed");
        }
        self.owed = false;
        Ok(())
    }
}
