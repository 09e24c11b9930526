//! The court: reports, disputes, juries.

mod action;
mod trial;
mod types;

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::{Filter, Log},
    sol_types::{SolCall, SolEvent},
};

pub use action::CourtAction;
pub use trial::{CourtDuty, OwnPart, Trial, vote_hash};
pub use types::{
    CourtParams, CourtReceipt, CourtRung, Dispute, DisputeStatus, Fault, Jury, PixelClaim, Seat, Verdict,
};

use crate::{
    ChainClient, ChainError, TxReceipt,
    abi::{Court, FramemillToken},
    client::small,
};

/// Blocks that one request for events covers: what public endpoints allow at least.
const LOG_BLOCKS: u64 = 10_000;

impl ChainClient {
    /// Reports two different receipts for one session and sequence. The orchestrator is slashed at once, this account
    /// gets the finder's fee.
    pub async fn report_equivocation(
        &self,
        accused: Address,
        first: &CourtReceipt,
        second: &CourtReceipt,
    ) -> Result<TxReceipt, ChainError> {
        let call = Court::reportEquivocationCall { accused, first: first.signed(), second: second.signed() };
        self.send(self.deployment().court, &call).await
    }

    /// Reports a receipt whose pixels contradict the claims under it (all of them, in order), or whose claims contradict
    /// the ladder; an empty ladder where the sum alone is wrong.
    pub async fn report_pixels(
        &self,
        accused: Address,
        receipt: &CourtReceipt,
        claims: &[PixelClaim],
        ladder: &[CourtRung],
    ) -> Result<TxReceipt, ChainError> {
        let call = Court::reportPixelsCall {
            accused,
            signed: receipt.signed(),
            claims: claims.iter().copied().map(PixelClaim::to_abi).collect(),
            ladder: ladder.iter().copied().map(CourtRung::to_abi).collect(),
        };
        self.send(self.deployment().court, &call).await
    }

    /// Opens a dispute, approving the bond first when needed. `evidence` names the bundle of each receipt by the SHA-256
    /// of its manifest. Returns the dispute's number.
    pub async fn open_dispute(
        &self,
        accused: Address,
        fault: Fault,
        receipts: &[CourtReceipt],
        evidence: &[B256],
    ) -> Result<u64, ChainError> {
        let bond = U256::from(self.court_params().await?.bond);
        self.approve_court(bond).await?;
        let call = Court::openDisputeCall {
            accused,
            fault: fault as u8,
            receipts: receipts.iter().map(CourtReceipt::signed).collect(),
            evidence: evidence.to_vec(),
        };
        let receipt = self.mined(self.deployment().court, &call).await?;
        let opened =
            receipt.inner.logs().iter().find_map(|log| Court::DisputeOpened::decode_log(&log.inner).ok());
        let opened = opened.ok_or_else(|| ChainError::BadAnswer {
            call: Court::openDisputeCall::SIGNATURE,
            reason: "it opened no dispute".to_owned(),
        })?;
        small("openDispute", opened.dispute)
    }

    /// Takes this account's seats in the dispute's present jury.
    pub async fn claim_seat(&self, dispute: u64) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().court, &Court::claimSeatCall { dispute: U256::from(dispute) }).await
    }

    /// Commits this account to a vote. Keep `salt`, and keep it secret, until the vote is revealed.
    pub async fn commit_vote(
        &self,
        dispute: u64,
        verdict: Verdict,
        salt: B256,
    ) -> Result<TxReceipt, ChainError> {
        let juror = self.sender("commitVote")?.address();
        let record = self.dispute(dispute).await?.ok_or_else(|| no_dispute(dispute))?;
        let commitment = vote_hash(record.jury, juror, verdict, salt);
        let call = Court::commitVoteCall { dispute: U256::from(dispute), commitment };
        self.send(self.deployment().court, &call).await
    }

    /// Shows the vote that this account committed to.
    pub async fn reveal_vote(
        &self,
        dispute: u64,
        verdict: Verdict,
        salt: B256,
    ) -> Result<TxReceipt, ChainError> {
        let call = Court::revealVoteCall { dispute: U256::from(dispute), verdict: verdict as u8, salt };
        self.send(self.deployment().court, &call).await
    }

    /// Moves a dispute on: names a seed block, counts votes, or draws again.
    pub async fn advance_dispute(&self, dispute: u64) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().court, &Court::advanceCall { dispute: U256::from(dispute) }).await
    }

    /// Appeals a verdict, approving twice the bond first when needed.
    pub async fn appeal_dispute(&self, dispute: u64) -> Result<TxReceipt, ChainError> {
        let record = self.dispute(dispute).await?.ok_or_else(|| no_dispute(dispute))?;
        self.approve_court(record.bond.saturating_mul(U256::from(2))).await?;
        self.send(self.deployment().court, &Court::appealCall { dispute: U256::from(dispute) }).await
    }

    /// Carries a final verdict out.
    pub async fn execute_dispute(&self, dispute: u64) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().court, &Court::executeCall { dispute: U256::from(dispute) }).await
    }

    /// Pays or fines a juror of a closed dispute.
    pub async fn settle_juror(&self, jury: u64, juror: Address) -> Result<TxReceipt, ChainError> {
        let call = Court::settleJurorCall { id: U256::from(jury), juror };
        self.send(self.deployment().court, &call).await
    }

    /// Takes out what the court owes this account.
    pub async fn withdraw_from_court(&self) -> Result<TxReceipt, ChainError> {
        self.send(self.deployment().court, &Court::withdrawCall {}).await
    }

    /// Tokens that the court owes an account.
    pub async fn court_pending(&self, account: Address) -> Result<U256, ChainError> {
        self.rpc().call(self.deployment().court, Court::pendingCall { account }).await
    }

    /// What the court goes by.
    pub async fn court_params(&self) -> Result<CourtParams, ChainError> {
        let found = self.rpc().call(self.deployment().court, Court::getParametersCall {}).await?;
        CourtParams::from_abi(&found)
    }

    /// A dispute; `None` when there is none of that number.
    pub async fn dispute(&self, id: u64) -> Result<Option<Dispute>, ChainError> {
        let call = Court::getDisputeCall { dispute: U256::from(id) };
        Dispute::from_abi(id, &self.rpc().call(self.deployment().court, call).await?)
    }

    /// A jury; `None` when there is none of that number.
    pub async fn jury(&self, id: u64) -> Result<Option<Jury>, ChainError> {
        let call = Court::getJuryCall { jury: U256::from(id) };
        Jury::from_abi(id, &self.rpc().call(self.deployment().court, call).await?)
    }

    /// Last block in which a dispute's verdict can be appealed; 0: it cannot. A pause of the contracts in that time starts
    /// it again: [`u64::MAX`] for as long as it lasts.
    pub async fn appeal_end(&self, dispute: u64) -> Result<u64, ChainError> {
        let call = Court::appealEndCall { dispute: U256::from(dispute) };
        Ok(self.rpc().call(self.deployment().court, call).await?.saturating_to())
    }

    /// Whether a pause of the contracts has kept a jury from its work: it takes no claims and votes any more, is neither paid
    /// nor fined, and the next `advance` draws another one.
    pub async fn is_void(&self, jury: u64) -> Result<bool, ChainError> {
        self.rpc().call(self.deployment().court, Court::isVoidCall { jury: U256::from(jury) }).await
    }

    /// A juror's part in a jury; `None` when it has no seat.
    pub async fn seat(&self, jury: u64, juror: Address) -> Result<Option<Seat>, ChainError> {
        let call = Court::getSeatCall { jury: U256::from(jury), juror };
        Seat::from_abi(&self.rpc().call(self.deployment().court, call).await?)
    }

    /// Seats that an account could claim now; 0 outside of the window for claims.
    pub async fn seats_of(&self, dispute: u64, account: Address) -> Result<u32, ChainError> {
        let call = Court::seatsOfCall { dispute: U256::from(dispute), account };
        small("seatsOf", self.rpc().call(self.deployment().court, call).await?)
    }

    /// Whether an orchestrator was punished for a fault. For [`Fault::Equivocation`] `receipt` is
    /// `keccak256(session ‖ u256 sequence)`, for others the receipt's digest.
    pub async fn is_punished(
        &self,
        accused: Address,
        fault: Fault,
        receipt: B256,
    ) -> Result<bool, ChainError> {
        let call = Court::isPunishedCall { accused, fault: fault as u8, receipt };
        self.rpc().call(self.deployment().court, call).await
    }

    /// Disputes that are not closed, oldest first, as the court's events from `from_block` on tell.
    pub async fn open_disputes(&self, from_block: u64) -> Result<Vec<Dispute>, ChainError> {
        let head = self.block_number().await?;
        let mut open = std::collections::BTreeSet::new();
        let mut from = from_block.max(self.deployment().block);
        while from <= head {
            let to = head.min(from + LOG_BLOCKS - 1);
            let events = vec![Court::DisputeOpened::SIGNATURE_HASH, Court::DisputeClosed::SIGNATURE_HASH];
            let filter = Filter::new()
                .address(self.deployment().court)
                .event_signature(events)
                .from_block(from)
                .to_block(to);
            for log in self.rpc().logs(&[filter]).await?.into_iter().flatten() {
                note(&mut open, &log)?;
            }
            from = to + 1;
        }
        let mut disputes = Vec::new();
        for id in open {
            disputes
                .extend(self.dispute(id).await?.filter(|dispute| dispute.status != DisputeStatus::Closed));
        }
        Ok(disputes)
    }

    async fn approve_court(&self, amount: U256) -> Result<(), ChainError> {
        let owner = self.sender("approve")?.address();
        let (token, spender) = (self.deployment().token, self.deployment().court);
        let allowance = FramemillToken::allowanceCall { owner, spender };
        if self.rpc().call(token, allowance).await? < amount {
            self.send(token, &FramemillToken::approveCall { spender, value: amount }).await?;
        }
        Ok(())
    }
}

fn note(open: &mut std::collections::BTreeSet<u64>, log: &Log) -> Result<(), ChainError> {
    if let Ok(opened) = Court::DisputeOpened::decode_log(&log.inner) {
        open.insert(small("DisputeOpened", opened.dispute)?);
    } else if let Ok(closed) = Court::DisputeClosed::decode_log(&log.inner) {
        open.remove(&small("DisputeClosed", closed.dispute)?);
    }
    Ok(())
}

fn no_dispute(id: u64) -> ChainError {
    ChainError::BadArgument {
        name: "dispute",
        value: id.to_string(),
        bound: "the number of a dispute that was opened".to_owned(),
    }
}
