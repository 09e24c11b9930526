//! The service: follows the chain's events, carries out what [`plan`] decides, and judges beside that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use framemill_contracts::{
    ChainError, Change, CourtDuty, CourtParams, Dispute, EventKind, OrchestratorRecord, RoundInfo, Trial,
};
use framemill_network::{Network, SigningDomain};
use framemill_verification::evidence::Opinion;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::book::{Book, Vote};
use super::docket::{Docket, Judged, Judging, verdict};
use super::evidence::{Library, MAX_DOWNLOADS};
use super::plan::{self, Round, Sight, Step};
use super::store::Store;
use super::{Colleagues, JuryDuty};
use crate::error::OrchestratorError;
use crate::metrics::{Metrics, level};

/// Does jury duty for one account.
pub(crate) struct Juror {
    duty: JuryDuty,
    me: Address,
    metrics: Metrics,
    colleagues: Colleagues,
    library: Arc<Library>,
    book: Book,
    /// The file of the book, for people.
    votes: PathBuf,
    height: u64,
    docket: Docket,
    /// Disputes may have come or gone unseen: they are to be read.
    stale: bool,
    /// `None`: to be read.
    round: Option<Round>,
    work: JoinSet<Judged>,
    /// Votes that are not on disk yet, by jury and case.
    unwritten: BTreeMap<(u64, B256), Judged>,
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
        let votes = duty.folder.join("votes.json");
        let book = Book::open(&votes, chain.chain_id, me)?;
        let library = Library {
            network,
            client: duty.client.clone(),
            domain: SigningDomain { chain_id: chain.chain_id, controller: chain.controller },
            policy: duty.policy,
            store: Store::new(evidence),
            cores: Arc::new(Semaphore::new(duty.policy.cores.max(1))),
            downloads: Semaphore::new(MAX_DOWNLOADS),
        };
        Ok(Some(Self {
            duty,
            me,
            metrics,
            colleagues: Colleagues::default(),
            library: Arc::new(library),
            book,
            votes,
            height: 0,
            docket: Docket::new(),
            stale: true,
            round: None,
            work: JoinSet::new(),
            unwritten: BTreeMap::new(),
            at_risk: BTreeSet::new(),
            owed: true,
            unfinished: false,
            progressed: false,
        }))
    }

    /// The peers of other jurors, read with each round.
    pub(crate) fn colleagues(&self) -> Colleagues {
        self.colleagues.clone()
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
                (self.stale, self.round, self.owed) = (true, None, true);
            }
            other => match other.event().map(|event| &event.kind) {
                Some(EventKind::DisputeChanged { dispute }) => {
                    self.docket.follow(*dispute);
                }
                Some(EventKind::JurorSettled { juror, .. }) if *juror == self.me => {
                    self.owed = true;
                    self.docket.touch_all();
                }
                Some(EventKind::RoundStarted { .. }) => {
                    self.round = None;
                    self.docket.touch_all();
                }
                _ => {}
            },
        }
    }

    fn note_judged(&mut self, judged: Result<Judged, JoinError>) {
        match judged {
            // The first stays: it may be on disk.
            Ok(judged) => {
                self.unwritten.entry((judged.jury, judged.case)).or_insert(judged);
            }
            Err(error) if error.is_panic() => {
                error!("judging a dispute panicked; report the log");
                self.docket.panicked(error.id());
            }
            // What was judged is not asked any more.
            Err(_) => {}
        }
    }

    async fn work(&mut self) -> Result<(), OrchestratorError> {
        let mut failed = self.write_votes().err();
        if self.stale {
            self.read_docket().await?;
        }
        for id in self.docket.due(self.height) {
            // One dispute that fails does not hold up the others.
            if let Err(error) = self.look(id).await {
                self.docket.follow(id);
                failed = Some(error);
            }
        }
        self.metrics.disputes.set(level(self.docket.len()));
        self.metrics.vote_at_risk.set(i64::from(!self.at_risk.is_empty()));
        match failed {
            Some(error) => Err(error),
            None => self.withdraw().await,
        }
    }

    /// Puts on disk what was judged since; what is too late is dropped.
    fn write_votes(&mut self) -> Result<(), OrchestratorError> {
        while let Some(judged) = self.work.try_join_next() {
            self.note_judged(judged);
        }
        let mut written = Ok(());
        for judged in std::mem::take(&mut self.unwritten).into_values() {
            if judged.until > self.height {
                written = self.vote(judged).and(written);
            }
        }
        written
    }

    /// Every dispute that is open, and those closed ones in which this account voted. What goes on for them goes on.
    async fn read_docket(&mut self) -> Result<(), OrchestratorError> {
        let disputes = self.duty.client.disputes_from(self.docket.first_to_read()).await?;
        self.height = self.height.max(self.duty.client.block_number().await?);
        let book = &self.book;
        let own = |dispute: &Dispute| {
            [dispute.first_jury, dispute.appeal_jury].into_iter().any(|jury| book.knows(jury))
        };
        self.docket.take_in(&disputes, own);
        self.stale = false;
        self.library.store.keep_only(self.docket.evidence()).await;
        Ok(())
    }

    async fn round(&mut self) -> Result<Round, ChainError> {
        if let Some(round) = self.round {
            return Ok(round);
        }
        let client = &self.duty.client;
        let (info, params, registered): (RoundInfo, CourtParams, Vec<OrchestratorRecord>) =
            tokio::try_join!(client.round_info(), client.court_params(), client.candidate_orchestrators())?;
        self.colleagues.are(registered.iter().map(|other| other.service_uri.as_str()));
        let (start, end) = (info.start_block, info.start_block + info.length);
        let draw_blocks = u64::from(params.seed_delay) + u64::from(params.claim_blocks);
        Ok(*self.round.insert(Round { start, end, draw_blocks }))
    }

    /// Looks at a dispute and does what is due.
    async fn look(&mut self, id: u64) -> Result<(), OrchestratorError> {
        let Some(trial) = self.duty.client.trial(id).await? else {
            // Its opening was taken back. If it comes again, an event tells.
            self.docket.vanished(id);
            self.drop_entry(id).await;
            return Ok(());
        };
        self.height = self.height.max(trial.height);
        let case = plan::case_of(&trial.dispute);
        let round = self.round().await?;
        self.watch(&trial);
        let Some(entry) = self.docket.get_mut(id) else { return Ok(()) };
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
            Step::GiveUp => self.give_up(&trial, case)?,
            Step::Lost(until) => {
                self.lost(&trial);
                self.wake(id, Some(until));
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
        if let Some(entry) = self.docket.get_mut(id) {
            entry.wake = wake;
        }
    }

    /// There is no more time to judge. A verdict that has just come is the vote, or else that the evidence could not be had.
    fn give_up(&mut self, trial: &Trial, case: B256) -> Result<(), OrchestratorError> {
        let (dispute, jury) = (trial.dispute.id, trial.jury.id);
        let written = self.write_votes();
        if self.book.vote(jury, case).is_none() && !self.unwritten.contains_key(&(jury, case)) {
            let opinion = Opinion::unavailable("the evidence could not be had or judged in time");
            self.vote(Judged { dispute, jury, case, until: trial.jury.commit_until, opinion })?;
        }
        self.progressed = written.is_ok();
        written
    }

    /// Somebody should know of a vote that cannot be shown.
    fn lost(&mut self, trial: &Trial) {
        let (dispute, jury) = (trial.dispute.id, trial.jury.id);
        self.at_risk.insert(dispute);
        let Some(entry) = self.docket.get_mut(dispute) else { return };
        if entry.lost.replace(jury) != Some(jury) {
            error!(
                dispute, jury, votes = %self.votes.display(), reveal_until = trial.jury.reveal_until,
                "this account committed to a vote that is not in its file; bring the file back, or stake is lost"
            );
        }
    }

    /// The alert and the count of missed votes.
    fn watch(&mut self, trial: &Trial) {
        let (jury, until) = (trial.jury.id, plan::own_deadline(trial));
        if plan::is_at_risk(trial) {
            if self.at_risk.insert(trial.dispute.id) {
                warn!(
                    dispute = trial.dispute.id,
                    blocks_left = until.map(|until| until.saturating_sub(trial.height)),
                    "a vote is about to be missed, which costs stake; check gas, funds and chain"
                );
            }
        } else {
            self.at_risk.remove(&trial.dispute.id);
        }
        let Some(entry) = self.docket.get_mut(trial.dispute.id) else { return };
        entry.until = until;
        if plan::missed(trial) && entry.missed.replace(jury) != Some(jury) {
            self.metrics.votes_missed.inc();
            warn!(dispute = trial.dispute.id, jury, "a vote was missed: its window ended without it");
        }
    }

    /// Starts to fetch and judge, unless that goes on already.
    fn judge(&mut self, trial: &Trial, case: B256) {
        let (id, jury, until) = (trial.dispute.id, trial.jury.id, trial.jury.commit_until);
        let Some(entry) = self.docket.get_mut(id).filter(|entry| entry.can_be_judged()) else { return };
        info!(dispute = id, jury, fault = ?trial.dispute.fault, "this node sits in a jury, fetching the evidence");
        let (library, dispute) = (Arc::clone(&self.library), trial.dispute.clone());
        let task = self.work.spawn(async move {
            let opinion = library.judge(&dispute).await;
            Judged { dispute: id, jury, case, until, opinion }
        });
        entry.judging = Some(Judging { jury, case, task });
    }

    /// Writes a vote down; it is committed to from there. One that cannot be written is kept in memory and tried again.
    fn vote(&mut self, judged: Judged) -> Result<(), OrchestratorError> {
        let Judged { dispute, jury, case, opinion, .. } = &judged;
        let (verdict, reason) = (verdict(opinion.finding), opinion.reason.clone());
        let vote = Vote { jury: *jury, case: *case, verdict, salt: B256::random(), reason };
        let (dispute, about) = (*dispute, (*jury, *case));
        // A small file, a few times a day.
        if let Err(error) = self.book.add(vote) {
            error!(%error, "a vote is not on disk and not sent; free space or check the disk");
            self.unwritten.entry(about).or_insert(judged);
            return Err(error);
        }
        // Not which way: logs are read by others, and votes are secret until they are shown.
        info!(dispute, jury = about.0, "judged a dispute");
        if let Some(entry) = self.docket.get_mut(dispute) {
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
        self.docket.follow(id);
        let Some(mined) = self.duty.client.court_duty_once(duty).await? else {
            self.refused(trial, duty).await?;
            return Ok(());
        };
        info!(dispute = id, ?duty, tx = %mined.hash, gas = mined.gas_used, "did jury duty");
        match duty {
            CourtDuty::Claim { .. } => self.metrics.seats.inc_by(u64::from(trial.claimable)),
            CourtDuty::Reveal { verdict, .. } => {
                let vote = self.book.vote(trial.jury.id, plan::case_of(&trial.dispute));
                let reason = vote.map(|vote| vote.reason.as_str());
                info!(dispute = id, ?verdict, reason, "showed a vote");
                self.metrics.voted(verdict);
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
        let Some(entry) = self.docket.remove(id) else { return };
        self.at_risk.remove(&id);
        let used = self.docket.evidence();
        for bundle in entry.evidence.iter().filter(|bundle| !used.contains(*bundle)) {
            self.library.store.forget(*bundle).await;
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
