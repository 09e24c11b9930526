// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {Sortition} from "../src/libraries/Sortition.sol";
import {CourtMarket} from "./CourtMarket.sol";

/// @dev Disputes with juries, and appeals.
contract CourtJuryTest is CourtMarket {
    uint256 private constant BOND = 100 * TOKENS;
    ICourtTypes.Verdict private constant NONE = ICourtTypes.Verdict.None;
    ICourtTypes.Verdict private constant GUILTY = ICourtTypes.Verdict.Guilty;
    ICourtTypes.Verdict private constant NOT_GUILTY = ICourtTypes.Verdict.NotGuilty;
    ICourtTypes.Verdict private constant UNAVAILABLE = ICourtTypes.Verdict.Unavailable;
    address private constant APPELLANT = address(0xA99);

    function setUp() public {
        _stageCourt();
    }

    function test_GuiltyIsSlashedAfterTheWindowForAppeals() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        assertEq(bonding.transcoderTotalStake(accused), STAKE, "nothing is taken yet");
        uint256 until = court.getDispute(id).appealUntil;
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, block.number, until + 1, type(uint256).max)
        );
        court.execute(id);
        executeLater(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
        assertEq(bonding.getTranscoder(accused).jailedUntil, rounds.lastInitializedRound() + 7, "jailed");
    }

    function test_GuiltyPaysTheChallengerAndTheJurors() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        executeLater(id);
        settleAll(1);
        // A tenth of a tenth of the stake each: the jury's share is below its fee, which the challenger tops up.
        uint256 share = STAKE / 100;
        uint256 fee = 6 * TOKENS;
        assertEq(court.pending(CHALLENGER), BOND + 2 * share - fee, "challenger");
        assertEq(court.pending(jurors[0]), fee / 3, "juror");
        uint256 held = token.balanceOf(address(court));
        vm.prank(CHALLENGER);
        court.withdraw();
        assertEq(held - token.balanceOf(address(court)), BOND + 2 * share - fee, "withdrawn");
    }

    function test_AWrongAccusationCostsTheBond() public {
        uint256 id = open(1);
        judge(id, NOT_GUILTY);
        executeLater(id);
        settleAll(1);
        assertEq(court.pending(CHALLENGER), 0, "challenger");
        assertEq(court.pending(accused), BOND / 2, "accused");
        assertEq(court.pending(jurors[2]), BOND / 2 / 3, "juror");
        assertEq(bonding.transcoderTotalStake(accused), STAKE, "not slashed");
    }

    function test_EvidenceThatCannotBeHadCostsTheBond() public {
        uint256 id = open(1);
        judge(id, UNAVAILABLE);
        executeLater(id);
        assertEq(court.pending(CHALLENGER), 0, "challenger");
        assertEq(court.pending(accused), BOND / 2, "accused");
        assertTrue(court.getDispute(id).verdict == UNAVAILABLE, "verdict");
    }

    function test_AJurorThatDoesNotRevealLosesALittle() public {
        uint256 id = open(1);
        vote(id, [GUILTY, GUILTY, NONE]);
        court.advance(id);
        executeLater(id);
        vm.prank(address(0x5E7));
        court.settleJuror(1, jurors[2]);
        assertEq(bonding.transcoderTotalStake(jurors[2]), STAKE - STAKE / 1_000, "fined");
        assertEq(token.balanceOf(address(0x5E7)), STAKE / 10_000, "settler");
        assertEq(court.pending(jurors[2]), 0, "unpaid");
    }

    function test_AFalseVoteLosesMoreThanAbsence() public {
        uint256 id = open(1);
        vote(id, [GUILTY, GUILTY, NOT_GUILTY]);
        court.advance(id);
        executeLater(id);
        settleAll(1);
        assertEq(bonding.transcoderTotalStake(jurors[2]), STAKE - STAKE / 100, "fined");
    }

    function test_AVoteThatFilesWereMissingIsNoFalseVote() public {
        uint256 id = open(1);
        vote(id, [GUILTY, GUILTY, UNAVAILABLE]);
        court.advance(id);
        executeLater(id);
        settleAll(1);
        assertEq(bonding.transcoderTotalStake(jurors[2]), STAKE, "not fined");
        assertEq(court.pending(jurors[2]), 0, "unpaid");
    }

    function test_RevertWhen_AJurorIsSettledTwice() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        executeLater(id);
        court.settleJuror(1, jurors[0]);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.AlreadyDone.selector, 1, jurors[0]));
        court.settleJuror(1, jurors[0]);
    }

    function test_ATieIsDrawnAgainAndEndsWithoutAVerdict() public {
        uint256 id = open(1);
        vote(id, [GUILTY, NOT_GUILTY, UNAVAILABLE]);
        court.advance(id);
        assertEq(court.getDispute(id).jury, 2, "second jury");
        schedule(id);
        vote(id, [GUILTY, NOT_GUILTY, NONE]);
        court.advance(id);
        ICourtTypes.Dispute memory d = court.getDispute(id);
        assertTrue(d.status == ICourtTypes.Status.Closed && d.verdict == NONE, "closed");
        assertEq(court.pending(CHALLENGER), BOND, "bond");
        settleAll(1);
        settleAll(2);
        assertEq(bonding.transcoderTotalStake(jurors[0]), STAKE, "votes are not fined");
        assertEq(bonding.transcoderTotalStake(jurors[2]), STAKE - STAKE / 1_000, "absence is");
    }

    function test_TooFewClaimsAreDrawnAgainAndFineNobody() public {
        uint256 id = open(1);
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        vm.prank(jurors[0]);
        court.claimSeat(id);
        vm.roll(uint256(juryOf(id).claimUntil) + 1);
        court.advance(id);
        assertEq(court.getDispute(id).jury, 2, "second jury");
        vm.roll(uint256(juryOf(id).claimUntil) + 1);
        court.advance(id);
        assertTrue(court.getDispute(id).status == ICourtTypes.Status.Closed, "closed");
        court.settleJuror(1, jurors[0]);
        assertEq(bonding.transcoderTotalStake(jurors[0]), STAKE, "not fined");
    }

    function test_AMissedDrawTakesTheHashOfAnotherBlock() public {
        uint256 id = open(1);
        uint256 seedBlock = juryOf(id).seedBlock;
        vm.roll(seedBlock + 300);
        while (!rounds.currentRoundInitialized()) {
            rounds.initializeRound();
        }
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, block.number, seedBlock + 1, seedBlock + 10)
        );
        vm.prank(jurors[0]);
        court.claimSeat(id);
        court.advance(id);
        schedule(id);
        assertTrue(juryOf(id).seedBlock > seedBlock + 300, "another block");
        judge(id, GUILTY);
        assertTrue(court.getDispute(id).verdict == GUILTY, "verdict");
    }

    function test_ADrawThatTheRoundHasNoRoomForWaitsForTheNext() public {
        uint256 end = rounds.currentRoundStartBlock() + ROUND;
        vm.roll(end - 12);
        uint256 id = open(1);
        assertEq(juryOf(id).seedBlock, 0, "no block yet");
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.RoundEnding.selector, end));
        court.advance(id);
        vm.roll(end);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.RoundEnding.selector, end + ROUND));
        court.advance(id);
        rounds.initializeRound();
        court.advance(id);
        assertEq(juryOf(id).seedBlock, end + 2, "named when the round had begun");
    }

    function test_RevertWhen_SeatsAreClaimedBeforeTheSeedIsKnown() public {
        uint256 id = open(1);
        uint256 seedBlock = juryOf(id).seedBlock;
        assertTrue(seedBlock > block.number, "in the future");
        vm.roll(seedBlock);
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, seedBlock, seedBlock + 1, seedBlock + 10)
        );
        vm.prank(jurors[0]);
        court.claimSeat(id);
    }

    function test_RevertWhen_APartyWantsToSit() public {
        uint256 id = open(1);
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        address[2] memory parties = [accused, CHALLENGER];
        for (uint256 i; i < parties.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ICourtTypes.PartyToDispute.selector, parties[i]));
            vm.prank(parties[i]);
            court.claimSeat(id);
            assertEq(court.seatsOf(id, parties[i]), 0, "no seat");
        }
        assertEq(court.seatsOf(id, jurors[0]), 1, "a juror's seat");
    }

    function test_RevertWhen_AnAccountWithoutActiveStakeWantsToSit() public {
        address late = address(0xB0B9);
        bond(late, 50 * TOKENS, late);
        uint256 id = open(1);
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.NotEligible.selector, late));
        vm.prank(late);
        court.claimSeat(id);
    }

    function test_StakeThatArrivesInSightOfTheSeedDoesNotCount() public {
        uint256 id = open(1);
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        bond(address(0xD1), 100 * STAKE, jurors[0]);
        assertEq(court.seatsOf(id, jurors[0]), 1, "seats");
        vm.roll(rounds.currentRoundStartBlock() + ROUND);
        rounds.initializeRound();
        assertEq(court.seatsOf(id, jurors[0]), 0, "after the round");
    }

    function test_RevertWhen_ARevealedVoteIsAnother() public {
        uint256 id = open(1);
        claimAll(id);
        bytes32 hash = court.voteHash(1, jurors[0], GUILTY, SALT);
        vm.prank(jurors[0]);
        court.commitVote(id, hash);
        vm.prank(jurors[1]);
        court.commitVote(id, hash);
        vm.roll(uint256(juryOf(id).commitUntil) + 1);
        bytes32 other = court.voteHash(1, jurors[0], NOT_GUILTY, SALT);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.WrongCommitment.selector, other, hash));
        vm.prank(jurors[0]);
        court.revealVote(id, NOT_GUILTY, SALT);
        // A commitment that was copied from another juror opens to nothing.
        bytes32 own = court.voteHash(1, jurors[1], GUILTY, SALT);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.WrongCommitment.selector, own, hash));
        vm.prank(jurors[1]);
        court.revealVote(id, GUILTY, SALT);
    }

    function test_RevertWhen_AVoteIsRevealedWhileOthersCommit() public {
        uint256 id = open(1);
        claimAll(id);
        bytes32 hash = court.voteHash(1, jurors[0], GUILTY, SALT);
        vm.prank(jurors[0]);
        court.commitVote(id, hash);
        ICourtTypes.Jury memory jury = juryOf(id);
        vm.expectRevert(
            abi.encodeWithSelector(
                ICourtTypes.OutsideWindow.selector, block.number, uint256(jury.commitUntil) + 1, jury.revealUntil
            )
        );
        vm.prank(jurors[0]);
        court.revealVote(id, GUILTY, SALT);
    }

    function test_RevertWhen_CommittedLateOrTwice() public {
        uint256 id = open(1);
        claimAll(id);
        vm.prank(jurors[0]);
        court.commitVote(id, bytes32(uint256(1)));
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.AlreadyDone.selector, 1, jurors[0]));
        vm.prank(jurors[0]);
        court.commitVote(id, bytes32(uint256(2)));
        uint256 until = juryOf(id).commitUntil;
        vm.roll(until + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, until + 1, 0, until));
        vm.prank(jurors[1]);
        court.commitVote(id, bytes32(uint256(1)));
    }

    function test_AnAppealReverses() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        appealBy(APPELLANT, id);
        assertEq(juryOf(id).size, 7, "2n + 1");
        judge(id, NOT_GUILTY);
        executeLater(id);
        settleAll(1);
        settleAll(2);
        assertEq(bonding.transcoderTotalStake(accused), STAKE, "not slashed");
        assertEq(court.pending(APPELLANT), 2 * BOND, "appeal bond");
        assertEq(court.pending(accused), BOND / 2, "accused");
        assertEq(court.pending(CHALLENGER), 0, "challenger");
        // Those that swore the opposite in the first instance lose, and the whole jury pot is the second jury's.
        assertEq(bonding.transcoderTotalStake(jurors[0]), STAKE - STAKE / 100, "first jury");
        uint256 paid = court.pending(jurors[0]) + court.pending(jurors[1]) + court.pending(jurors[2]);
        assertLe(BOND / 2 - 7, paid, "second jury");
    }

    function test_AnAppealThatFailsCostsItsBond() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        appealBy(APPELLANT, id);
        judge(id, GUILTY);
        executeLater(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
        assertEq(court.pending(APPELLANT), 0, "appellant");
        assertEq(court.getJury(2).pot, BOND + 3 * TOKENS, "half of the appeal bond and of the fee");
        assertEq(court.getJury(1).pot, 3 * TOKENS, "half of the fee");
        assertEq(court.pending(CHALLENGER), BOND + 2 * TOKENS - 6 * TOKENS + BOND, "challenger");
    }

    function test_AChallengerWinsOnAppeal() public {
        uint256 id = open(1);
        judge(id, NOT_GUILTY);
        appealBy(CHALLENGER, id);
        judge(id, GUILTY);
        executeLater(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
        assertEq(court.pending(CHALLENGER), 3 * BOND + 2 * TOKENS - 6 * TOKENS, "challenger");
    }

    function test_AnAppealThatNobodyDecidesLeavesTheFirstVerdict() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        appealBy(APPELLANT, id);
        for (uint256 i; i < 2; ++i) {
            vm.roll(uint256(juryOf(id).claimUntil) + 1);
            if (!rounds.currentRoundInitialized()) rounds.initializeRound();
            court.advance(id);
            schedule(id);
        }
        executeLater(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
        assertEq(court.pending(APPELLANT), 2 * BOND, "appeal bond");
    }

    function test_RevertWhen_AppealedTwiceOrLate() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        appealBy(APPELLANT, id);
        judge(id, GUILTY);
        uint256 now_ = block.number;
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, now_, 0, 0));
        vm.prank(APPELLANT);
        court.appeal(id);
    }

    function test_AReceiptIsPunishedOnceForAFault() public {
        uint256 first = openWith(1, "one bundle");
        uint256 second = openWith(1, "another bundle");
        claimAll(first);
        _voteWithoutClaims(first, second);
        court.advance(first);
        court.advance(second);
        executeLater(first);
        executeLater(second);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed once");
        // The second jury has worked all the same: its fee comes out of the second bond.
        assertEq(court.pending(CHALLENGER), 2 * BOND + 2 * TOKENS - 2 * 6 * TOKENS, "challenger");
        bytes32 digest = court.receiptDigest(receiptOf(1));
        ICourtTypes.SignedReceipt[] memory receipts = new ICourtTypes.SignedReceipt[](1);
        receipts[0] = signedReceipt(1);
        if (receipts[0].receipt.round == court.getJury(1).round) {
            vm.expectRevert(
                abi.encodeWithSelector(ICourtTypes.AlreadyPunished.selector, digest, ICourtTypes.Fault.FalseFeatures)
            );
            vm.prank(CHALLENGER);
            court.openDispute(accused, ICourtTypes.Fault.FalseFeatures, receipts, new bytes32[](1));
        }
    }

    function test_RevertWhen_OneBundleIsInDisputeTwice() public {
        uint256 id = openWith(1, "bundle");
        ICourtTypes.SignedReceipt[] memory receipts = new ICourtTypes.SignedReceipt[](1);
        receipts[0] = signedReceipt(1);
        bytes32[] memory bundles = new bytes32[](1);
        bundles[0] = "bundle";
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.EvidenceInDispute.selector, bundles[0], id));
        vm.prank(CHALLENGER);
        court.openDispute(accused, ICourtTypes.Fault.FalseFeatures, receipts, bundles);
    }

    function test_WrongContentTakesTwoSegments() public {
        ICourtTypes.SignedReceipt[] memory one = new ICourtTypes.SignedReceipt[](1);
        one[0] = signedReceipt(1);
        _expectBadAccusation(ICourtTypes.Fault.Unfaithful, one);
        ICourtTypes.SignedReceipt[] memory twice = new ICourtTypes.SignedReceipt[](2);
        (twice[0], twice[1]) = (one[0], one[0]);
        _expectBadAccusation(ICourtTypes.Fault.Unfaithful, twice);
        _expectBadAccusation(ICourtTypes.Fault.Equivocation, twice);
        twice[1] = signedReceipt(2);
        vm.prank(CHALLENGER);
        uint256 id = court.openDispute(accused, ICourtTypes.Fault.Unfaithful, twice, new bytes32[](2));
        judge(id, GUILTY);
        executeLater(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed once for both");
        for (uint256 i; i < 2; ++i) {
            bytes32 digest = court.receiptDigest(twice[i].receipt);
            assertTrue(court.isPunished(accused, ICourtTypes.Fault.Unfaithful, digest), "punished");
        }
    }

    function test_RevertWhen_TheAccusedNeverWasAnOrchestrator() public {
        ICourtTypes.SignedReceipt[] memory receipts = new ICourtTypes.SignedReceipt[](1);
        receipts[0] = signedReceipt(1);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.NotOrchestrator.selector, address(0x99)));
        vm.prank(CHALLENGER);
        court.openDispute(address(0x99), ICourtTypes.Fault.FalseFeatures, receipts, new bytes32[](1));
    }

    function test_RevertWhen_WithdrawnTwice() public {
        uint256 id = open(1);
        judge(id, NOT_GUILTY);
        executeLater(id);
        vm.prank(accused);
        court.withdraw();
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.NothingToWithdraw.selector, accused));
        vm.prank(accused);
        court.withdraw();
    }

    /// @dev Seats in expectation, over many seeds, are proportional to stake, however it is split.
    function testFuzz_SeatsFollowStake(uint256 stake) public pure {
        uint256 eligible = 1_000 * TOKENS;
        stake = bound(stake, TOKENS, eligible / 2);
        uint256 whole;
        uint256 split;
        uint256 draws = 400;
        for (uint256 i; i < draws; ++i) {
            bytes32 seed = keccak256(abi.encode(i));
            whole += Sortition.seats(seed, address(1), stake, eligible, 15);
            split += Sortition.seats(seed, address(2), stake / 2, eligible, 15)
            + Sortition.seats(seed, address(3), stake - stake / 2, eligible, 15);
        }
        uint256 expected = 15 * stake * draws / eligible;
        // Six standard deviations of a sum of `draws` coins, at most.
        assertLe(whole, expected + 61, "too many");
        assertLe(expected, whole + 61, "too few");
        assertLe(split, expected + 86, "too many when split");
        assertLe(expected, split + 86, "too few when split");
    }

    function _expectBadAccusation(ICourtTypes.Fault fault, ICourtTypes.SignedReceipt[] memory receipts) private {
        bool same = receipts.length == 2 && fault == ICourtTypes.Fault.Unfaithful;
        uint256 shown = same ? 1 : receipts.length;
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.BadAccusation.selector, fault, shown, shown));
        vm.prank(CHALLENGER);
        court.openDispute(accused, fault, receipts, new bytes32[](receipts.length));
    }

    /// @dev The second dispute's jurors claim, then all vote guilty in both.
    function _voteWithoutClaims(uint256 first, uint256 second) private {
        claimAll(second);
        uint256[2] memory ids = [first, second];
        for (uint256 d; d < 2; ++d) {
            for (uint256 i; i < jurors.length; ++i) {
                bytes32 hash = court.voteHash(court.getDispute(ids[d]).jury, jurors[i], GUILTY, SALT);
                vm.prank(jurors[i]);
                court.commitVote(ids[d], hash);
            }
        }
        vm.roll(uint256(juryOf(second).commitUntil) + 1);
        for (uint256 d; d < 2; ++d) {
            for (uint256 i; i < jurors.length; ++i) {
                vm.prank(jurors[i]);
                court.revealVote(ids[d], GUILTY, SALT);
            }
        }
        vm.roll(uint256(juryOf(second).revealUntil) + 1);
    }
}
