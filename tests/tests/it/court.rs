//! Disputes to their end: real receipts about real media, before juries of real orchestrators on a real chain.

use alloy_primitives::{B256, U256, keccak256};
use bytes::Bytes;
use framemill_contracts::{DisputeStatus, Fault, PixelClaim, Verdict};
use framemill_orchestrator::court_receipt;
use framemill_tests::court::{Bench, Court, Statement, UNIT};
use framemill_verification::evidence::Bundle;

/// Jurors; each has one of the three seats of a first jury.
const JURORS: usize = 3;
/// Base units that divisions may lose in a whole story.
const DUST: u64 = 100;

fn tokens(count: u64) -> U256 {
    U256::from(count) * U256::from(UNIT)
}

/// As much, but for what divisions lose.
fn is_about(found: U256, wanted: U256) -> bool {
    found.abs_diff(wanted) <= U256::from(DUST)
}

/// The bundles of one story.
struct Files {
    false_pixels: Bundle,
    false_features: Bundle,
    wrong_content: [Bundle; 2],
    withheld_first: Bundle,
    withheld: Bundle,
    honest: Bundle,
}

impl Files {
    async fn of(court: &Court, bench: &Bench) -> Self {
        let [first, second] = &bench.segments[..] else { panic!("two segments") };
        let truth = |sequence| Statement::honest(sequence, &first.source, &first.honest);
        let lie = |sequence| {
            let (root, opening) = bench.bisected(&first.honest, &first.wrong);
            Statement { feature_root: Some(root), opening: Some(opening), ..truth(sequence) }
        };
        let other = |sequence, source, rendition| Statement::honest(sequence, source, rendition);
        Self {
            false_pixels: bench.bundle(court, Statement { more_pixels: 1_000, ..truth(11) }).await,
            false_features: bench.bundle(court, lie(12)).await,
            wrong_content: [
                bench.bundle(court, other(13, &first.source, &first.wrong)).await,
                bench.bundle(court, other(14, &second.source, &second.wrong)).await,
            ],
            withheld_first: bench.bundle(court, lie(15)).await,
            withheld: bench.bundle(court, lie(16)).await,
            honest: bench.bundle(court, truth(17)).await,
        }
    }

    fn all(&self) -> [&Bundle; 7] {
        let [one, two] = &self.wrong_content;
        [
            &self.false_pixels,
            &self.false_features,
            one,
            two,
            &self.withheld_first,
            &self.withheld,
            &self.honest,
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_dispute_ends_as_the_evidence_says_and_is_paid_for() {
    let (court, bench) = tokio::join!(Court::open(JURORS), Bench::set());
    let stake = court.stake_of_accused().await;

    let files = Files::of(&court, &bench).await;
    files.all().into_iter().for_each(|bundle| court.publish(bundle));
    court.withhold(files.withheld_first.id(), true);
    court.withhold(files.withheld.id(), true);

    // Those that wait the longest come first: the votes of others make blocks.
    let appealed = court.accuse(Fault::FalseFeatures, &[&files.withheld_first]).await;
    let unavailable = court.accuse(Fault::FalseFeatures, &[&files.withheld]).await;
    let false_pixels = court.accuse(Fault::ClaimedPixels, &[&files.false_pixels]).await;
    let false_features = court.accuse(Fault::FalseFeatures, &[&files.false_features]).await;
    let [one, two] = &files.wrong_content;
    let wrong_content = court.accuse(Fault::Unfaithful, &[one, two]).await;
    let wrong_accusation = court.accuse(Fault::FalseFeatures, &[&files.honest]).await;
    let guilty = [false_pixels, false_features, wrong_content];
    let fetched = [false_pixels, false_features, wrong_content, wrong_accusation];
    let all = [appealed, unavailable, false_pixels, false_features, wrong_content, wrong_accusation];

    for id in all {
        court.draw(id).await;
    }
    for id in fetched {
        court.committed(id).await;
    }
    assert_eq!(court.commitment(unavailable, 0).await, None, "jurors try until the window is nearly over");
    court.reach(court.jury(appealed).await.commit_until - 8).await;
    for id in [appealed, unavailable] {
        court.committed(id).await;
    }
    for id in [appealed, unavailable] {
        court.voted(id, [0, 0, 3]).await;
    }
    for id in guilty {
        court.voted(id, [3, 0, 0]).await;
    }
    court.voted(wrong_accusation, [0, 3, 0]).await;

    // The challenger's node is there again, and a second jury finds what the first could not look at.
    court.moved(appealed, DisputeStatus::Decided).await;
    court.withhold(files.withheld_first.id(), false);
    court.challenger.appeal_dispute(appealed).await.expect("a chain");
    court.draw(appealed).await;
    court.committed(appealed).await;
    let seats = court.jury(appealed).await.seats;
    court.voted(appealed, [seats, 0, 0]).await;

    for id in all {
        court.moved(id, DisputeStatus::Closed).await;
    }
    for (id, verdict) in [
        (false_pixels, Verdict::Guilty),
        (false_features, Verdict::Guilty),
        (wrong_content, Verdict::Guilty),
        (appealed, Verdict::Guilty),
        (unavailable, Verdict::Unavailable),
        (wrong_accusation, Verdict::NotGuilty),
    ] {
        assert_eq!(court.dispute(id).await.verdict, Some(verdict), "dispute {id}");
    }
    assert_eq!(court.dispute(appealed).await.first_verdict, Some(Verdict::Unavailable));
    everybody_has_what_is_due(&court, stake).await;
    // Reported before, they would have put the accused in jail, and its part of the round's stake would draw no seats.
    two_receipts_for_one_segment_cost_stake_at_once(&court, &bench).await;
    pixels_that_are_no_sum_cost_stake_at_once(&court, &bench).await;
}

/// Stake of the accused, and what jurors have taken out without being told to.
async fn everybody_has_what_is_due(court: &Court, stake: U256) {
    // A tenth for pixels, a fifth for each of the others.
    let left = stake * U256::from(9 * 8 * 8 * 8) / U256::from(10 * 10 * 10 * 10);
    assert!(is_about(court.stake_of_accused().await, left), "{} of {left}", court.stake_of_accused().await);
    // Half of two bonds is the accused's.
    assert_eq!(court.owner.court_pending(court.accused.address()).await.expect("a chain"), tokens(100));
    // The jury's fee of four convictions, and half of two bonds.
    let due = tokens(4 * 30 + 2 * 50);
    let taken = async || {
        let mut taken = U256::ZERO;
        for number in 0..JURORS {
            taken += court.owner.token_balance(court.juror_account(number)).await.expect("a chain");
        }
        taken
    };
    court.mine_until("jurors are paid", async || is_about(taken().await, due)).await;
    for number in 0..JURORS {
        let juror = court.juror(number);
        assert_eq!((juror.metric("jury_votes_total"), juror.metric("jury_votes_missed_total")), (7, 0));
        let staked = court
            .owner
            .orchestrator(court.juror_account(number))
            .await
            .expect("a chain")
            .expect("an orchestrator")
            .stake;
        assert_eq!(staked, tokens(framemill_tests::court::JUROR_STAKE), "nobody is fined");
        court.until("nothing is followed any more", async || juror.metric("disputes") == 0).await;
    }
}

async fn two_receipts_for_one_segment_cost_stake_at_once(court: &Court, bench: &Bench) {
    let made = &bench.segments[0];
    let bundle =
        async |rendition: &Bytes| bench.bundle(court, Statement::honest(1, &made.source, rendition)).await;
    let (one, other) = (bundle(&made.honest).await, bundle(&made.wrong).await);
    let [one, other] = [one, other].map(|bundle| court_receipt(&bundle.manifest().case.receipt));
    let finder = court.challenger.address().expect("a key");
    let before = court.owner.token_balance(finder).await.expect("a chain");
    let stake = court.stake_of_accused().await;
    court.challenger.report_equivocation(court.accused.address(), &one, &other).await.expect("a chain");
    assert!(is_about(court.stake_of_accused().await, stake * U256::from(9) / U256::from(10)));
    let found = court.owner.token_balance(finder).await.expect("a chain") - before;
    assert!(is_about(found, stake / U256::from(100)));
    let segment = keccak256([one.session.0, U256::from(one.sequence).to_be_bytes()].concat());
    let accused = court.accused.address();
    assert!(court.owner.is_punished(accused, Fault::Equivocation, segment).await.expect("a chain"));
}

async fn pixels_that_are_no_sum_cost_stake_at_once(court: &Court, bench: &Bench) {
    let made = &bench.segments[0];
    let statement = Statement::honest(2, &made.source, &made.honest);
    let bundle = bench.bundle(court, Statement::honest(2, &made.source, &made.honest)).await;
    let claim = bundle.manifest().case.claims[0];
    let signed = bench.sign(court, &statement, &[(&claim).into()], claim.pixels + 1).await;
    let claim = PixelClaim {
        sha256: claim.sha256,
        pixels: claim.pixels,
        feature_root: claim.feature_root,
        psnr_centi_db: claim.psnr_centi_db,
    };
    let before = court.stake_of_accused().await;
    let signed = court_receipt(&(&signed).into());
    court.challenger.report_pixels(court.accused.address(), &signed, &[claim], &[]).await.expect("a chain");
    assert!(is_about(court.stake_of_accused().await, before * U256::from(9) / U256::from(10)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_juror_that_is_killed_again_and_again_votes_once_and_is_paid() {
    let (mut court, bench) = tokio::join!(Court::open(JURORS), Bench::set());
    let made = &bench.segments[0];
    let statement = Statement { more_pixels: 1_000, ..Statement::honest(1, &made.source, &made.honest) };
    let bundle = bench.bundle(&court, statement).await;
    court.publish(&bundle);
    court.withhold(bundle.id(), true);
    let id = court.accuse(Fault::ClaimedPixels, &[&bundle]).await;
    court.draw(id).await;

    // With a seat, before it could judge.
    court.kill_juror(0);
    court.withhold(bundle.id(), false);
    court.start_juror(0).await;
    court.committed(id).await;
    let committed = court.commitment(id, 0).await;

    // Between commitment and vote.
    court.kill_juror(0);
    court.voted(id, [2, 0, 0]).await;
    court.start_juror(0).await;
    court.voted(id, [3, 0, 0]).await;
    assert_eq!(court.commitment(id, 0).await, committed);

    // After its vote: the others end the dispute, and it finds what it is owed.
    court.kill_juror(0);
    court.moved(id, DisputeStatus::Closed).await;
    court.start_juror(0).await;
    let account = court.juror_account(0);
    let paid = async || court.owner.token_balance(account).await.expect("a chain") == tokens(10);
    court.mine_until("the juror is paid", paid).await;
    assert_eq!(court.dispute(id).await.verdict, Some(Verdict::Guilty));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reorganisation_took_back_is_done_again_with_the_same_salt() {
    let (court, bench) = tokio::join!(Court::open(JURORS), Bench::set());
    let made = &bench.segments[0];
    let statement = Statement { more_pixels: 1_000, ..Statement::honest(1, &made.source, &made.honest) };
    let bundle = bench.bundle(&court, statement).await;
    court.publish(&bundle);

    // A dispute that vanishes is forgotten.
    let before = court.height().await;
    court.accuse(Fault::ClaimedPixels, &[&bundle]).await;
    for number in 0..JURORS {
        court.until("followed", async || court.juror(number).metric("disputes") == 1).await;
    }
    court.anvil.dev_chain().reorganise(court.height().await - before).await.expect("a chain");
    for number in 0..JURORS {
        court.until("forgotten", async || court.juror(number).metric("disputes") == 0).await;
    }

    // One that is opened again is considered again, and commitments that were taken back are the same ones afterwards.
    let id = court.accuse(Fault::ClaimedPixels, &[&bundle]).await;
    court.draw(id).await;
    let claimed = court.height().await;
    court.committed(id).await;
    let commitments = async || {
        let mut all: Vec<Option<B256>> = Vec::new();
        for number in 0..JURORS {
            all.push(court.commitment(id, number).await);
        }
        all
    };
    let committed = commitments().await;
    court.anvil.dev_chain().reorganise(court.height().await - claimed).await.expect("a chain");
    court.committed(id).await;
    assert_eq!(commitments().await, committed);
    court.voted(id, [3, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_one_key_pay_for_each_step_once() {
    let (mut court, bench) = tokio::join!(Court::open(1), Bench::set());
    let made = &bench.segments[0];
    let statement = Statement { more_pixels: 1_000, ..Statement::honest(1, &made.source, &made.honest) };
    let bundle = bench.bundle(&court, statement).await;
    court.publish(&bundle);
    let twin = court.twin_of_juror(0).await;
    let account = court.juror_account(0);
    let mined = async || court.owner.account_nonces(account).await.expect("a chain").mined;
    let before = mined().await;

    let id = court.accuse(Fault::ClaimedPixels, &[&bundle]).await;
    court.draw(id).await;
    court.committed(id).await;
    let seats = court.jury(id).await.seats;
    court.voted(id, [seats, 0, 0]).await;
    court.moved(id, DisputeStatus::Closed).await;
    let paid = async || court.owner.token_balance(account).await.expect("a chain") == tokens(30);
    court.mine_until("the juror is paid", paid).await;
    // Claim, commit, reveal, advance, execute, settle, withdraw.
    assert_eq!(mined().await, before + 7);
    let both = twin.metric("jury_votes_total") + court.juror(0).metric("jury_votes_total");
    assert_eq!(both, 1);
    court.kill_juror(0);
}
