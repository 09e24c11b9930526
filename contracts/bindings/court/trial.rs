//! What a juror sees of a dispute, and what it sends, once whoever else holds its key.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::{SolCall, SolValue as _},
};

use super::{Dispute, DisputeStatus, Jury, Seat, Verdict};
use crate::{
    ChainClient, ChainError, TxReceipt,
    abi::{Court, ServiceRegistry},
    client::small,
    rpc::decode,
};

/// Disputes that are read with one request.
const READ_AT_ONCE: u64 = 100;

/// What a juror commits to.
pub fn vote_hash(jury: u64, juror: Address, verdict: Verdict, salt: B256) -> B256 {
    keccak256((U256::from(jury), juror, U256::from(verdict as u8), salt).abi_encode())
}

/// An account's part in a jury that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPart {
    /// The jury.
    pub jury: Jury,
    /// The account's seats and vote in it.
    pub seat: Seat,
}

/// A dispute as one of its jurors sees it, all read in the same block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// That block.
    pub height: u64,
    /// The dispute.
    pub dispute: Dispute,
    /// Last block in which its verdict can be appealed, as [`ChainClient::appeal_end`] tells.
    pub appeal_end: u64,
    /// Its present jury.
    pub jury: Jury,
    /// A pause of the contracts has kept that jury from its work, as [`ChainClient::is_void`] tells.
    pub is_void: bool,
    /// The account's part in that jury.
    pub seat: Option<Seat>,
    /// Seats that the account could claim in that block; 0 outside of the window for claims.
    pub claimable: u32,
    /// The account's parts in the juries that decided.
    pub parts: Vec<OwnPart>,
}

/// What a juror sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CourtDuty {
    /// Take the account's seats.
    Claim {
        /// The dispute.
        dispute: u64,
    },
    /// Commit to a vote.
    Commit {
        /// The dispute.
        dispute: u64,
        /// As [`vote_hash`] makes it.
        commitment: B256,
    },
    /// Show the vote.
    Reveal {
        /// The dispute.
        dispute: u64,
        /// The vote.
        verdict: Verdict,
        /// What it was hidden with.
        salt: B256,
    },
    /// Move a dispute on.
    Advance {
        /// The dispute.
        dispute: u64,
    },
    /// Carry a final verdict out.
    Execute {
        /// The dispute.
        dispute: u64,
    },
    /// Have the account paid for its part in a jury.
    Settle {
        /// The jury.
        jury: u64,
    },
    /// Take out what the court owes the account.
    Withdraw,
}

impl ChainClient {
    /// Does a duty of this account as a juror, unless that is done or on its way already, or the court would refuse it now:
    /// then `None`.
    pub async fn court_duty_once(&self, duty: CourtDuty) -> Result<Option<TxReceipt>, ChainError> {
        let court = self.deployment().court;
        let id = U256::from;
        let sent = match duty {
            CourtDuty::Claim { dispute } => {
                self.send_once(court, Court::claimSeatCall { dispute: id(dispute) }).await
            }
            CourtDuty::Commit { dispute, commitment } => {
                self.send_once(court, Court::commitVoteCall { dispute: id(dispute), commitment }).await
            }
            CourtDuty::Reveal { dispute, verdict, salt } => {
                let call = Court::revealVoteCall { dispute: id(dispute), verdict: verdict as u8, salt };
                self.send_once(court, call).await
            }
            CourtDuty::Advance { dispute } => {
                self.send_once(court, Court::advanceCall { dispute: id(dispute) }).await
            }
            CourtDuty::Execute { dispute } => {
                self.send_once(court, Court::executeCall { dispute: id(dispute) }).await
            }
            CourtDuty::Settle { jury } => {
                let juror = self.sender(Court::settleJurorCall::SIGNATURE)?.address();
                self.send_once(court, Court::settleJurorCall { id: id(jury), juror }).await
            }
            CourtDuty::Withdraw => self.send_once(court, Court::withdrawCall {}).await,
        };
        match sent {
            // Another account did it in the same block, or a window closed: the next look tells.
            Err(ChainError::MinedReverted { .. }) => Ok(None),
            other => other,
        }
    }

    /// A dispute as this account sees it; `None` when there is none of that number.
    pub async fn trial(&self, dispute: u64) -> Result<Option<Trial>, ChainError> {
        let me = self.sender("trial")?.address();
        let court = self.deployment().court;
        let height = self.block_number().await?;
        let ask = Court::getDisputeCall { dispute: U256::from(dispute) }.abi_encode();
        let found = self.rpc().calls(height, vec![(court, ask)]).await?;
        let found = decode::<Court::getDisputeCall>(found.first().map_or(&[], |answer| answer.as_ref()))?;
        let Some(dispute) = Dispute::from_abi(dispute, &found)? else { return Ok(None) };

        let mut juries = vec![dispute.jury];
        juries.extend([dispute.first_jury, dispute.appeal_jury].into_iter().filter(|jury| *jury != 0));
        let seats_of = Court::seatsOfCall { dispute: U256::from(dispute.id), account: me }.abi_encode();
        let appeal_end = Court::appealEndCall { dispute: U256::from(dispute.id) }.abi_encode();
        let is_void = Court::isVoidCall { jury: U256::from(dispute.jury) }.abi_encode();
        let mut calls = vec![(court, seats_of), (court, appeal_end), (court, is_void)];
        for jury in juries.iter().copied().map(U256::from) {
            calls.push((court, Court::getJuryCall { jury }.abi_encode()));
            calls.push((court, Court::getSeatCall { jury, juror: me }.abi_encode()));
        }
        let answers = self.rpc().calls(height, calls).await?;
        let missing = || ChainError::BadAnswer { call: "trial", reason: "an answer is missing".to_owned() };
        let ([seats_of, appeal_end, is_void], rest) = answers.split_first_chunk().ok_or_else(missing)?;
        let claimable = small("seatsOf", decode::<Court::seatsOfCall>(seats_of)?)?;
        let appeal_end = decode::<Court::appealEndCall>(appeal_end)?.saturating_to();
        let is_void = decode::<Court::isVoidCall>(is_void)?;
        let mut seen = Vec::with_capacity(juries.len());
        for (id, pair) in juries.iter().zip(rest.chunks_exact(2)) {
            let jury = Jury::from_abi(*id, &decode::<Court::getJuryCall>(&pair[0])?)?;
            let seat = Seat::from_abi(&decode::<Court::getSeatCall>(&pair[1])?)?;
            seen.push((jury.ok_or_else(missing)?, seat));
        }
        let mut seen = seen.into_iter();
        let (jury, seat) = seen.next().ok_or_else(missing)?;
        let parts = seen.filter_map(|(jury, seat)| Some(OwnPart { jury, seat: seat? })).collect();
        Ok(Some(Trial { height, dispute, appeal_end, jury, is_void, seat, claimable, parts }))
    }

    /// How many disputes were opened so far; their numbers begin with 1.
    pub async fn dispute_count(&self) -> Result<u64, ChainError> {
        small("disputeCount", self.rpc().call(self.deployment().court, Court::disputeCountCall {}).await?)
    }

    /// All disputes from one number on, oldest first, read in the same block.
    pub async fn disputes_from(&self, first: u64) -> Result<Vec<Dispute>, ChainError> {
        let (height, count) = (self.block_number().await?, self.dispute_count().await?);
        let court = self.deployment().court;
        let mut found = Vec::new();
        let mut next = first.max(1);
        while next <= count {
            let last = count.min(next + READ_AT_ONCE - 1);
            let ask = |id: u64| (court, Court::getDisputeCall { dispute: U256::from(id) }.abi_encode());
            let answers = self.rpc().calls(height, (next..=last).map(ask).collect()).await?;
            for (id, answer) in (next..=last).zip(&answers) {
                found.extend(Dispute::from_abi(id, &decode::<Court::getDisputeCall>(answer)?)?);
            }
            next = last + 1;
        }
        Ok(found)
    }

    /// Where accounts say that they are reached, whether they are orchestrators or not; empty where one says nothing.
    pub async fn service_uris(&self, accounts: &[Address]) -> Result<Vec<String>, ChainError> {
        let registry = self.deployment().service_registry;
        let ask = |account: &Address| {
            (registry, ServiceRegistry::getServiceURICall { account: *account }.abi_encode())
        };
        let height = self.block_number().await?;
        let answers = self.rpc().calls(height, accounts.iter().map(ask).collect()).await?;
        answers.iter().map(|answer| decode::<ServiceRegistry::getServiceURICall>(answer)).collect()
    }
}

impl Dispute {
    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.status == DisputeStatus::Closed
    }

    /// Whether a jury is to judge it now.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        matches!(self.status, DisputeStatus::Judging | DisputeStatus::Appealed)
    }

    /// Whether an account is a party, which can have no seat.
    #[must_use]
    pub fn is_party(&self, account: Address) -> bool {
        account == self.accused || account == self.challenger || Some(account) == self.appellant
    }
}

impl Jury {
    /// The last block before it can be moved on, unless a pause has made it void; then it can be at once.
    #[must_use]
    pub fn advance_due(&self) -> u64 {
        let votes: u32 = self.votes.iter().copied().map(u32::from).sum();
        if 2 * u32::from(self.seats) <= u32::from(self.size) {
            // Too few claimed; more may, up to then.
            self.claim_until
        } else if votes == u32::from(self.seats) {
            self.commit_until
        } else {
            self.reveal_until
        }
    }
}
