//! What the court's functions take and give back.

use alloy::primitives::{Address, B256, Bytes, U256, aliases::U24};
use serde::{Deserialize, Serialize};

use crate::{ChainError, abi::Court};

/// Base units of one token.
const UNIT: u128 = 1_000_000_000_000_000_000;

/// Parts per million.
const PPM: u32 = 1_000_000;

/// What an orchestrator signed wrongly, in the contract's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Fault {
    /// Two different receipts for one session and sequence.
    Equivocation,
    /// The receipt's pixels contradict its claims, or those its ladder.
    ReceiptPixels,
    /// A rendition holds other pixels than were claimed.
    ClaimedPixels,
    /// The signed feature root is not that of the bytes.
    FalseFeatures,
    /// A rendition is worse than was declared for it.
    FalseQuality,
    /// No faithful encode of the source, in two segments.
    Unfaithful,
}

impl Fault {
    /// All of them, in the contract's order.
    pub const ALL: [Self; 6] = [
        Self::Equivocation,
        Self::ReceiptPixels,
        Self::ClaimedPixels,
        Self::FalseFeatures,
        Self::FalseQuality,
        Self::Unfaithful,
    ];
}

/// What a juror, a jury or the court found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Verdict {
    /// The fault is proven.
    Guilty = 1,
    /// The evidence was judged and shows no fault.
    NotGuilty,
    /// The evidence could not be had, or not be judged.
    Unavailable,
}

impl Verdict {
    /// `None` for the contract's `None`.
    fn from_abi(code: u8) -> Result<Option<Self>, ChainError> {
        match code {
            0 => Ok(None),
            1 => Ok(Some(Self::Guilty)),
            2 => Ok(Some(Self::NotGuilty)),
            3 => Ok(Some(Self::Unavailable)),
            other => Err(unknown("verdict", other)),
        }
    }
}

/// Where a dispute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    /// Before its first jury.
    Judging,
    /// There is a verdict.
    Decided,
    /// Before the appeal's jury.
    Appealed,
    /// Carried out, or given up.
    Closed,
}

/// A receipt as its orchestrator signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CourtReceipt {
    /// Session of the quote.
    pub session: B256,
    /// Number of the segment.
    pub sequence: u64,
    /// SHA-256 of the source.
    pub source_hash: B256,
    /// Hash of the ladder.
    pub ladder_hash: B256,
    /// Root over the renditions' claims.
    pub renditions_root: B256,
    /// Output pixels.
    pub pixels: u64,
    /// Protocol round of the work.
    pub round: u32,
    /// `r ‖ s ‖ v`.
    pub signature: [u8; 65],
}

impl CourtReceipt {
    pub(super) fn signed(&self) -> Court::SignedReceipt {
        let receipt = Court::TranscodeReceipt {
            session: self.session,
            sequence: self.sequence,
            sourceHash: self.source_hash,
            ladderHash: self.ladder_hash,
            renditionsRoot: self.renditions_root,
            pixels: self.pixels,
            round: self.round,
        };
        Court::SignedReceipt { receipt, signature: Bytes::copy_from_slice(&self.signature) }
    }
}

/// What a receipt says about the rendition at a place of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelClaim {
    /// SHA-256 of the rendition.
    pub sha256: B256,
    /// Its pixels.
    pub pixels: u64,
    /// Root over its features; zero where none are committed.
    pub feature_root: B256,
    /// Luma PSNR in hundredths of a decibel, where it is declared.
    pub psnr_centi_db: Option<u32>,
}

impl PixelClaim {
    pub(super) fn to_abi(self) -> Court::RenditionClaim {
        Court::RenditionClaim {
            sha256Hash: self.sha256,
            pixels: self.pixels,
            featureRoot: self.feature_root,
            psnrCentiDb: self.psnr_centi_db.unwrap_or(u32::MAX),
        }
    }
}

/// An entry of a ladder, as it goes into the ladder's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CourtRung {
    /// Keccak-256 of the name.
    pub name_hash: B256,
    /// Width and height in pixels.
    pub size: [u32; 2],
    /// Bits per second.
    pub bitrate: u32,
    /// Frame rate: numerator and denominator.
    pub fps: [u32; 2],
    /// Milliseconds between key frames, for kind 2.
    pub gop_millis: u32,
    /// 0: one per segment, 1: every frame, 2: in milliseconds.
    pub gop_kind: u8,
    /// Codec, in wire order.
    pub codec: u8,
    /// Profile, in wire order.
    pub profile: u8,
}

impl CourtRung {
    pub(super) fn to_abi(self) -> Court::Rung {
        Court::Rung {
            nameHash: self.name_hash,
            width: self.size[0],
            height: self.size[1],
            bitrate: self.bitrate,
            fpsNum: self.fps[0],
            fpsDen: self.fps[1],
            gopMillis: self.gop_millis,
            gopKind: self.gop_kind,
            codec: self.codec,
            profile: self.profile,
        }
    }
}

/// What the court goes by. Shares are parts per million, windows are blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CourtParams {
    /// Base units that a challenger puts up; an appellant twice as many.
    pub bond: u128,
    /// Base units that a deciding jury shares at least.
    pub jury_fee: u128,
    /// Seats of a first jury in expectation.
    pub jury_size: u16,
    /// Juries that an instance tries.
    pub max_draws: u16,
    /// Rounds after its own in which a receipt can be accused.
    pub statute_rounds: u16,
    /// Rounds that a guilty orchestrator is kept out of the set.
    pub jail_rounds: u16,
    /// From the naming of the seed block to that block.
    pub seed_delay: u32,
    /// In which seats are claimed.
    pub claim_blocks: u32,
    /// After that, in which votes are committed.
    pub commit_blocks: u32,
    /// After that, in which votes are revealed.
    pub reveal_blocks: u32,
    /// After a verdict, in which it can be appealed.
    pub appeal_blocks: u32,
    /// What a juror that does not reveal loses of its stake.
    pub absence_ppm: u32,
    /// What a juror loses that swore the opposite of the final verdict.
    pub dissent_ppm: u32,
    /// What the finder or challenger gets of a slash.
    pub finder_ppm: u32,
    /// What the juries get of a slash.
    pub jurors_ppm: u32,
    /// What a guilty orchestrator loses of its stake, in the order of [`Fault::ALL`].
    pub slash_ppm: [u32; 6],
}

impl Default for CourtParams {
    /// For blocks of twelve seconds and rounds of a day: an hour for claims, two to judge, one to reveal, five to appeal.
    fn default() -> Self {
        Self {
            bond: 100 * UNIT,
            jury_fee: 30 * UNIT,
            jury_size: 15,
            max_draws: 3,
            statute_rounds: 3,
            jail_rounds: 14,
            seed_delay: 10,
            claim_blocks: 240,
            commit_blocks: 600,
            reveal_blocks: 300,
            appeal_blocks: 1_440,
            absence_ppm: 1_000,
            dissent_ppm: 20_000,
            finder_ppm: 100_000,
            jurors_ppm: 100_000,
            slash_ppm: [100_000, 100_000, 100_000, 200_000, 100_000, 200_000],
        }
    }
}

impl CourtParams {
    /// For rounds of 50 blocks.
    #[must_use]
    pub fn devnet() -> Self {
        Self {
            jury_size: 3,
            max_draws: 2,
            statute_rounds: 2,
            seed_delay: 2,
            claim_blocks: 10,
            commit_blocks: 10,
            reveal_blocks: 10,
            appeal_blocks: 10,
            ..Self::default()
        }
    }

    pub(super) fn from_abi(found: &Court::Parameters) -> Result<Self, ChainError> {
        Ok(Self {
            bond: found.bond.to(),
            jury_fee: found.juryFee.to(),
            jury_size: found.jurySize,
            max_draws: found.maxDraws,
            statute_rounds: found.statuteRounds,
            jail_rounds: found.jailRounds,
            seed_delay: found.seedDelay,
            claim_blocks: found.claimBlocks,
            commit_blocks: found.commitBlocks,
            reveal_blocks: found.revealBlocks,
            appeal_blocks: found.appealBlocks,
            absence_ppm: found.absencePpm.to(),
            dissent_ppm: found.dissentPpm.to(),
            finder_ppm: found.finderPpm.to(),
            jurors_ppm: found.jurorsPpm.to(),
            slash_ppm: found.slashPpm.map(|ppm| ppm.to()),
        })
    }
}

/// Shares above the whole are cut to it, which the contract refuses or takes as such.
fn share(ppm: u32) -> U24 {
    U24::from(ppm.min(PPM))
}

impl From<&CourtParams> for Court::Parameters {
    fn from(params: &CourtParams) -> Self {
        let amount = |tokens: u128| alloy::primitives::aliases::U96::saturating_from(tokens);
        Self {
            bond: amount(params.bond),
            juryFee: amount(params.jury_fee),
            jurySize: params.jury_size,
            maxDraws: params.max_draws,
            statuteRounds: params.statute_rounds,
            jailRounds: params.jail_rounds,
            seedDelay: params.seed_delay,
            claimBlocks: params.claim_blocks,
            commitBlocks: params.commit_blocks,
            revealBlocks: params.reveal_blocks,
            appealBlocks: params.appeal_blocks,
            absencePpm: share(params.absence_ppm),
            dissentPpm: share(params.dissent_ppm),
            finderPpm: share(params.finder_ppm),
            jurorsPpm: share(params.jurors_ppm),
            slashPpm: params.slash_ppm.map(share),
        }
    }
}

/// A dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// Its number.
    pub id: u64,
    /// Who accuses.
    pub challenger: Address,
    /// Who is accused.
    pub accused: Address,
    /// Who appealed, if anybody did.
    pub appellant: Option<Address>,
    /// Of what.
    pub fault: Fault,
    /// Where it stands.
    pub status: DisputeStatus,
    /// The latest verdict; final where the dispute is closed, none where no jury could decide.
    pub verdict: Option<Verdict>,
    /// The verdict that was appealed.
    pub first_verdict: Option<Verdict>,
    /// Base units that the challenger put up.
    pub bond: U256,
    /// Base units that the appellant put up.
    pub appeal_bond: U256,
    /// Last block in which the verdict can be appealed, unless a pause lay in that time and started it again; 0 after an appeal.
    pub appeal_until: u64,
    /// The latest jury.
    pub jury: u64,
    /// The jury that decided the first instance; 0 before.
    pub first_jury: u64,
    /// The jury that decided the appeal; 0 before, and where none could.
    pub appeal_jury: u64,
    /// EIP-712 digests of the receipts.
    pub receipts: Vec<B256>,
    /// SHA-256 of the bundles' manifests.
    pub evidence: Vec<B256>,
}

impl Dispute {
    pub(super) fn from_abi(id: u64, found: &Court::Dispute) -> Result<Option<Self>, ChainError> {
        let status = match found.status {
            0 => return Ok(None),
            1 => DisputeStatus::Judging,
            2 => DisputeStatus::Decided,
            3 => DisputeStatus::Appealed,
            4 => DisputeStatus::Closed,
            other => return Err(unknown("status", other)),
        };
        let fault = *Fault::ALL.get(usize::from(found.fault)).ok_or_else(|| unknown("fault", found.fault))?;
        let count = if found.receipts[1].is_zero() { 1 } else { 2 };
        Ok(Some(Self {
            id,
            challenger: found.challenger,
            accused: found.accused,
            appellant: (!found.appellant.is_zero()).then_some(found.appellant),
            fault,
            status,
            verdict: Verdict::from_abi(found.verdict)?,
            first_verdict: Verdict::from_abi(found.firstVerdict)?,
            bond: U256::from(found.bond),
            appeal_bond: U256::from(found.appealBond),
            appeal_until: found.appealUntil.to(),
            jury: found.jury,
            first_jury: found.firstJury,
            appeal_jury: found.appealJury,
            receipts: found.receipts[..count].to_vec(),
            evidence: found.evidence[..count].to_vec(),
        }))
    }
}

/// A jury. The last block of a window belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jury {
    /// Its number.
    pub id: u64,
    /// Number of its dispute.
    pub dispute: u64,
    /// Block whose hash draws it; 0 while none is named.
    pub seed_block: u64,
    /// Last block for claims, which begin after the seed block.
    pub claim_until: u64,
    /// Last block for commitments.
    pub commit_until: u64,
    /// Last block for votes, which begin after `commit_until`.
    pub reveal_until: u64,
    /// Seats in expectation.
    pub size: u16,
    /// Seats claimed.
    pub seats: u16,
    /// Votes by seats: guilty, not guilty, unavailable.
    pub votes: [u16; 3],
    /// Base units that those of the final verdict share.
    pub pot: U256,
}

impl Jury {
    pub(super) fn from_abi(id: u64, found: &Court::Jury) -> Result<Option<Self>, ChainError> {
        if found.dispute == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            id,
            dispute: found.dispute,
            seed_block: found.seedBlock.to(),
            claim_until: found.claimUntil.to(),
            commit_until: found.commitUntil.to(),
            reveal_until: found.revealUntil.to(),
            size: found.size,
            seats: found.seats,
            votes: [found.guilty, found.notGuilty, found.unavailable],
            pot: found.pot,
        }))
    }
}

/// A juror's part in a jury.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Its seats.
    pub seats: u16,
    /// What it committed to, if it did.
    pub commitment: Option<B256>,
    /// The vote, once it is revealed.
    pub vote: Option<Verdict>,
    /// Whether it was paid or fined.
    pub settled: bool,
}

impl Seat {
    pub(super) fn from_abi(found: &Court::Seat) -> Result<Option<Self>, ChainError> {
        if found.seats == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            seats: found.seats,
            commitment: (!found.commitment.is_zero()).then_some(found.commitment),
            vote: Verdict::from_abi(found.vote)?,
            settled: found.settled,
        }))
    }
}

fn unknown(what: &'static str, code: u8) -> ChainError {
    ChainError::BadAnswer { call: "the court", reason: format!("{code} is no {what}") }
}
