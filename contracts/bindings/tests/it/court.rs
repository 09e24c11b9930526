//! Reports, disputes and appeals before the court.

use alloy::primitives::{Address, B256, U256, keccak256};
use framemill_contracts::{
    Action, ChainClient, ChainError, CourtReceipt, Dispute, DisputeStatus, Fault, Jury, PixelClaim, Verdict,
};

use crate::stage::{Stage, UNIT};

/// Account that is accused, and those of the jurors.
const ACCUSED: usize = 2;
const JURORS: [usize; 3] = [3, 4, 5];
/// Tokens that each of them has at stake.
const STAKE: u64 = 100;

struct Trial {
    stage: Stage,
    accused: Address,
    jurors: Vec<ChainClient>,
}

impl Trial {
    async fn begin() -> Self {
        let stage = Stage::set().await;
        let accused = stage.candidate(ACCUSED, STAKE).await.address().unwrap();
        let mut jurors = Vec::new();
        for index in JURORS {
            jurors.push(stage.candidate(index, STAKE).await);
        }
        stage.next_round().await;
        let challenger = stage.broadcaster.address().unwrap();
        stage.owner.transfer_tokens(challenger, tokens(1_000)).await.unwrap();
        Self { stage, accused, jurors }
    }

    /// A receipt that the accused signed.
    async fn receipt(&self, sequence: u64, renditions: &str) -> CourtReceipt {
        self.receipt_over(sequence, keccak256(renditions), 1_000).await
    }

    async fn receipt_over(&self, sequence: u64, renditions_root: B256, pixels: u64) -> CourtReceipt {
        let round = self.stage.owner.round_info().await.unwrap().last_initialized;
        let key = &self.stage.anvil.keys()[ACCUSED];
        self.stage.receipt(key, round, sequence, renditions_root, pixels)
    }

    async fn open(&self) -> u64 {
        let receipt = self.receipt(1, "renditions").await;
        let evidence = keccak256("the manifest of a bundle");
        let challenger = &self.stage.broadcaster;
        challenger.open_dispute(self.accused, Fault::FalseFeatures, &[receipt], &[evidence]).await.unwrap()
    }

    async fn dispute(&self, id: u64) -> Dispute {
        self.stage.owner.dispute(id).await.unwrap().unwrap()
    }

    async fn jury_of(&self, id: u64) -> Jury {
        let jury = self.dispute(id).await.jury;
        self.stage.owner.jury(jury).await.unwrap().unwrap()
    }

    async fn reach(&self, height: u64) {
        let now = self.stage.owner.block_number().await.unwrap();
        if height > now {
            self.stage.anvil.mine(height - now).await.unwrap();
        }
    }

    /// The dispute's jury, with a seed block in any case.
    async fn drawn(&self, id: u64) -> Jury {
        let jury = self.jury_of(id).await;
        if jury.seed_block != 0 {
            return jury;
        }
        self.stage.next_round().await;
        self.stage.owner.advance_dispute(id).await.unwrap();
        self.jury_of(id).await
    }

    /// Every juror claims, commits and reveals the same verdict, and the votes are counted.
    async fn judge(&self, id: u64, verdict: Verdict) -> Jury {
        let jury = self.drawn(id).await;
        self.reach(jury.seed_block + 1).await;
        for juror in &self.jurors {
            juror.claim_seat(id).await.unwrap();
        }
        for juror in &self.jurors {
            juror.commit_vote(id, verdict, salt(juror)).await.unwrap();
        }
        self.reach(jury.commit_until + 1).await;
        for juror in &self.jurors {
            juror.reveal_vote(id, verdict, salt(juror)).await.unwrap();
        }
        self.stage.owner.advance_dispute(id).await.unwrap();
        self.jury_of(id).await
    }

    async fn execute(&self, id: u64) -> Dispute {
        self.reach(self.dispute(id).await.appeal_until + 1).await;
        self.stage.owner.execute_dispute(id).await.unwrap();
        self.dispute(id).await
    }

    async fn settle(&self, jury: &Jury) {
        for juror in &self.jurors {
            self.stage.owner.settle_juror(jury.id, juror.address().unwrap()).await.unwrap();
        }
    }

    /// The owner lets the contracts pause, or go on.
    async fn tell_controller(&self, signature: &'static str) {
        let (to, data) = (self.stage.deployment.controller, keccak256(signature)[..4].to_vec().into());
        self.stage.owner.perform(&Action::Call { name: signature, to, data }).await.unwrap();
    }

    /// A dispute as the first juror sees it.
    async fn seen(&self, id: u64) -> framemill_contracts::Trial {
        self.jurors[0].trial(id).await.unwrap().unwrap()
    }

    async fn stake_of_accused(&self) -> U256 {
        self.stage.owner.orchestrator(self.accused).await.unwrap().unwrap().stake
    }

    async fn pending(&self, account: Address) -> U256 {
        self.stage.owner.court_pending(account).await.unwrap()
    }
}

fn tokens(amount: u64) -> U256 {
    U256::from(amount) * U256::from(UNIT)
}

fn salt(juror: &ChainClient) -> B256 {
    keccak256(juror.address().unwrap())
}

#[tokio::test]
async fn two_receipts_for_one_segment_cost_stake_at_once() {
    let trial = Trial::begin().await;
    let finder = &trial.stage.broadcaster;
    let before = finder.token_balance(finder.address().unwrap()).await.unwrap();
    let (first, second) = (trial.receipt(1, "renditions").await, trial.receipt(1, "others").await);
    finder.report_equivocation(trial.accused, &first, &second).await.unwrap();
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE - STAKE / 10));
    let after = finder.token_balance(finder.address().unwrap()).await.unwrap();
    assert_eq!(after - before, tokens(STAKE / 100));
    let segment = keccak256([first.session.0, U256::from(1).to_be_bytes()].concat());
    assert!(finder.is_punished(trial.accused, Fault::Equivocation, segment).await.unwrap());
    let again = finder.report_equivocation(trial.accused, &first, &second).await.unwrap_err();
    assert!(matches!(again, ChainError::Reverted { revert, .. } if revert.name == "AlreadyPunished"));
}

#[tokio::test]
async fn pixels_that_are_not_the_sum_of_their_claims_cost_stake_at_once() {
    let trial = Trial::begin().await;
    let claim = PixelClaim {
        sha256: keccak256("rendition"),
        pixels: 999,
        feature_root: B256::ZERO,
        psnr_centi_db: None,
    };
    let leaf = [
        [0_u8; 5].as_slice(),
        claim.sha256.as_slice(),
        &claim.pixels.to_be_bytes(),
        claim.feature_root.as_slice(),
        &u32::MAX.to_be_bytes(),
    ];
    let receipt = trial.receipt_over(1, keccak256(leaf.concat()), 1_000).await;
    trial.stage.broadcaster.report_pixels(trial.accused, &receipt, &[claim], &[]).await.unwrap();
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE - STAKE / 10));
}

#[tokio::test]
async fn a_jury_that_finds_guilty_takes_stake_and_is_paid() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    let open = trial.stage.owner.open_disputes(0).await.unwrap();
    assert_eq!(open.iter().map(|dispute| dispute.id).collect::<Vec<_>>(), [id]);
    let jury = trial.judge(id, Verdict::Guilty).await;
    assert_eq!(jury.votes, [3, 0, 0]);
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE));
    let dispute = trial.execute(id).await;
    assert_eq!((dispute.status, dispute.verdict), (DisputeStatus::Closed, Some(Verdict::Guilty)));
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE - STAKE / 5));
    assert_eq!(trial.stage.owner.open_disputes(0).await.unwrap(), []);
    trial.settle(&jury).await;
    let juror = &trial.jurors[0];
    let owed = trial.pending(juror.address().unwrap()).await;
    assert_eq!(owed, tokens(10));
    let before = juror.token_balance(juror.address().unwrap()).await.unwrap();
    juror.withdraw_from_court().await.unwrap();
    assert_eq!(juror.token_balance(juror.address().unwrap()).await.unwrap() - before, owed);
}

#[tokio::test]
async fn a_wrong_accusation_costs_its_bond() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    let jury = trial.judge(id, Verdict::NotGuilty).await;
    let dispute = trial.execute(id).await;
    trial.settle(&jury).await;
    assert_eq!(dispute.verdict, Some(Verdict::NotGuilty));
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE));
    assert_eq!(trial.pending(trial.stage.broadcaster.address().unwrap()).await, U256::ZERO);
    assert_eq!(trial.pending(trial.accused).await, tokens(50));
    assert_eq!(trial.pending(trial.jurors[1].address().unwrap()).await, tokens(50) / U256::from(3));
}

#[tokio::test]
async fn evidence_that_cannot_be_fetched_is_the_challengers_loss() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    trial.judge(id, Verdict::Unavailable).await;
    let dispute = trial.execute(id).await;
    assert_eq!(dispute.verdict, Some(Verdict::Unavailable));
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE));
    assert_eq!(trial.pending(trial.stage.broadcaster.address().unwrap()).await, U256::ZERO);
}

#[tokio::test]
async fn an_appeal_reverses_a_verdict_before_anything_is_taken() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    let first = trial.judge(id, Verdict::Guilty).await;
    let appellant = trial.stage.client(6).await;
    let account = appellant.address().unwrap();
    trial.stage.owner.transfer_tokens(account, tokens(200)).await.unwrap();
    appellant.appeal_dispute(id).await.unwrap();
    let second = trial.judge(id, Verdict::NotGuilty).await;
    assert_eq!((first.size, second.size), (3, 7));
    let dispute = trial.execute(id).await;
    assert_eq!((dispute.verdict, dispute.first_verdict), (Some(Verdict::NotGuilty), Some(Verdict::Guilty)));
    assert_eq!(trial.stake_of_accused().await, tokens(STAKE));
    assert_eq!(trial.pending(account).await, tokens(200));
}

#[tokio::test]
async fn seats_are_told_before_they_are_claimed() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    let jury = trial.drawn(id).await;
    let juror = trial.jurors[0].address().unwrap();
    trial.reach(jury.seed_block + 1).await;
    assert_eq!(trial.stage.owner.seats_of(id, juror).await.unwrap(), 1);
    assert_eq!(trial.stage.owner.seats_of(id, trial.accused).await.unwrap(), 0);
    assert_eq!(trial.stage.owner.seat(jury.id, juror).await.unwrap(), None);
    trial.jurors[0].claim_seat(id).await.unwrap();
    let seat = trial.stage.owner.seat(jury.id, juror).await.unwrap().unwrap();
    assert_eq!((seat.seats, seat.commitment, seat.vote), (1, None, None));
}

#[tokio::test]
async fn a_jury_that_a_pause_cut_off_is_told_to_be_void_and_another_one_is_drawn() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    let jury = trial.drawn(id).await;
    trial.reach(jury.seed_block + 1).await;
    trial.jurors[0].claim_seat(id).await.unwrap();
    assert!(!trial.seen(id).await.is_void);
    trial.tell_controller("pause()").await;
    assert!(trial.seen(id).await.is_void);
    trial.tell_controller("unpause()").await;
    let seen = trial.seen(id).await;
    assert!(seen.is_void && seen.seat.is_some(), "{seen:?}");
    assert!(trial.stage.owner.is_void(jury.id).await.unwrap());
    trial.stage.owner.advance_dispute(id).await.unwrap();
    let seen = trial.seen(id).await;
    assert!(seen.jury.id > jury.id && !seen.is_void, "{seen:?}");
    assert!(trial.stage.owner.is_void(jury.id).await.unwrap(), "it stays void");
}

#[tokio::test]
async fn the_time_for_an_appeal_starts_again_after_a_pause() {
    let trial = Trial::begin().await;
    let id = trial.open().await;
    trial.judge(id, Verdict::Guilty).await;
    let until = trial.dispute(id).await.appeal_until;
    assert_eq!(trial.seen(id).await.appeal_end, until);
    trial.tell_controller("pause()").await;
    assert_eq!(trial.seen(id).await.appeal_end, u64::MAX);
    trial.tell_controller("unpause()").await;
    let resumed = trial.stage.owner.block_number().await.unwrap();
    let length = u64::from(trial.stage.owner.court_params().await.unwrap().appeal_blocks);
    assert_eq!(trial.seen(id).await.appeal_end, resumed + length);
    assert_eq!(trial.stage.owner.appeal_end(id).await.unwrap(), resumed + length);
    trial.reach(until + 1).await;
    let error = trial.stage.owner.execute_dispute(id).await.unwrap_err();
    assert!(error.to_string().contains("OutsideWindow"), "{error}");
    trial.reach(resumed + length).await;
    trial.stage.owner.execute_dispute(id).await.unwrap();
}
