// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Court} from "../src/Court.sol";
import {CourtRecords} from "../src/CourtRecords.sol";
import {CourtState} from "../src/CourtState.sol";
import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {CourtMarket} from "./CourtMarket.sol";

/// @dev What a pause leaves of disputes that are under way; and what an upgrade does.
contract CourtPauseTest is CourtMarket {
    ICourtTypes.Verdict private constant GUILTY = ICourtTypes.Verdict.Guilty;
    ICourtTypes.Verdict private constant NOT_GUILTY = ICourtTypes.Verdict.NotGuilty;
    address private constant APPELLANT = address(0xA99);
    uint256 private constant WINDOW = 10;

    function setUp() public {
        _stageCourt();
    }

    function test_APauseWhileSeatsAreClaimedVoidsTheJury() public {
        uint256 id = open(1);
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        vm.prank(jurors[0]);
        court.claimSeat(id);
        pauseFor(3);
        assertTrue(court.isVoid(1), "void");
        assertEq(court.seatsOf(id, jurors[1]), 0, "no seat any more");
        expectVoid(1);
        vm.prank(jurors[1]);
        court.claimSeat(id);
        checkAnotherJuryJudges(id);
    }

    function test_APauseWhileVotesAreCommittedVoidsTheJury() public {
        uint256 id = open(1);
        claimAll(id);
        vm.roll(uint256(juryOf(id).claimUntil) + 1);
        pauseFor(1);
        expectVoid(1);
        vm.prank(jurors[0]);
        court.commitVote(id, SALT);
        checkAnotherJuryJudges(id);
    }

    function test_APauseWhileVotesAreRevealedVoidsTheJury() public {
        uint256 id = open(1);
        rollToReveals(id);
        vm.prank(jurors[0]);
        court.revealVote(id, GUILTY, SALT);
        pauseFor(0);
        expectVoid(1);
        vm.prank(jurors[1]);
        court.revealVote(id, GUILTY, SALT);
        checkAnotherJuryJudges(id);
    }

    function test_APauseTakesNoVerdictAwayThatEverybodyHasSeen() public {
        uint256 id = open(1);
        rollToReveals(id);
        for (uint256 i; i < jurors.length; ++i) {
            vm.prank(jurors[i]);
            court.revealVote(id, GUILTY, SALT);
        }
        pauseFor(0);
        assertTrue(!court.isVoid(1), "all votes are shown");
        court.advance(id);
        assertTrue(court.getDispute(id).verdict == GUILTY, "verdict");
    }

    function test_APauseOverAllWindowsFinesNobodyForItsAbsence() public {
        uint256 id = open(1);
        claimAll(id);
        pauseFor(100);
        checkAnotherJuryJudges(id);
    }

    function test_DrawsThatPausesVoidDoNotCount() public {
        uint256 id = open(1);
        for (uint256 i; i < 5; ++i) {
            vm.roll(uint256(juryOf(id).seedBlock) + 1);
            pauseFor(1);
            court.advance(id);
            schedule(id);
            assertEq(court.getDispute(id).draws, 1, "draws");
        }
        assertEq(court.getDispute(id).jury, 6, "juries");
        judge(id, GUILTY);
        executeLater(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
    }

    function test_APauseBeforeTheSeedOrAfterTheVoteVoidsNothing() public {
        uint256 id = open(1);
        uint256 seedBlock = juryOf(id).seedBlock;
        controller.pause();
        vm.roll(seedBlock);
        controller.unpause();
        assertTrue(!court.isVoid(1), "before the seed");
        vote(id, [GUILTY, GUILTY, GUILTY]);
        pauseFor(20);
        assertTrue(!court.isVoid(1), "after the vote");
        court.advance(id);
        assertTrue(court.getDispute(id).verdict == GUILTY, "verdict");
    }

    function test_APauseInTheBlockAfterTheSeedOrTheLastOneVoids() public {
        uint256 first = open(1);
        controller.pause();
        vm.roll(uint256(juryOf(first).seedBlock) + 1);
        controller.unpause();
        assertTrue(court.isVoid(1), "first block");
        uint256 second = open(2);
        vm.roll(juryOf(second).revealUntil);
        assertTrue(!court.isVoid(2), "not yet");
        pauseFor(0);
        assertTrue(court.isVoid(2), "last block");
    }

    function test_ALaterPauseDoesNotHideAnEarlierOne() public {
        uint256 id = open(1);
        claimAll(id);
        pauseFor(1);
        vm.roll(uint256(juryOf(id).revealUntil) + 5);
        pauseFor(3);
        assertTrue(court.isVoid(1), "void");
        checkAnotherJuryJudges(id);
    }

    function test_APauseThatIsProlongedIsOne() public {
        uint256 id = open(1);
        vm.roll(juryOf(id).revealUntil);
        controller.pause();
        vm.roll(height() + 20);
        pauseFor(20);
        assertTrue(court.isVoid(1), "void by its beginning");
    }

    function test_AJuryThatHadDecidedIsPaidAndFinedAllTheSame() public {
        uint256 id = open(1);
        rollToReveals(id);
        for (uint256 i; i < jurors.length; ++i) {
            vm.prank(jurors[i]);
            court.revealVote(id, GUILTY, SALT);
        }
        court.advance(id);
        pauseFor(1);
        assertTrue(!court.isVoid(1), "it had decided");
        executeAfterAppealEnd(id);
        settleAll(1);
        assertEq(court.pending(jurors[0]), 2 * TOKENS, "paid");
    }

    function test_AJuryThatIsNotDrawnYetIsNotVoid() public {
        vm.roll(rounds.currentRoundStartBlock() + ROUND - 12);
        uint256 id = open(1);
        assertEq(juryOf(id).seedBlock, 0, "waits for the round");
        pauseFor(5);
        assertTrue(!court.isVoid(1), "nothing was cut off");
        schedule(id);
        judge(id, GUILTY);
        assertEq(court.getDispute(id).jury, 1, "jury");
    }

    function test_AVoidJuryOfAnAppealIsReplacedByAsLargeAOne() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        appealBy(APPELLANT, id);
        claimAll(id);
        pauseFor(30);
        court.advance(id);
        schedule(id);
        assertEq(juryOf(id).size, 7, "size");
        assertEq(court.getDispute(id).draws, 1, "draws");
        judge(id, NOT_GUILTY);
        court.execute(id);
        assertEq(court.getDispute(id).appealJury, 3, "the jury that decided");
        assertEq(bonding.transcoderTotalStake(accused), STAKE, "not slashed");
    }

    function test_ATimeForAnAppealWithAPauseBeginsAgainInFull() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        uint256 until = court.getDispute(id).appealUntil;
        vm.roll(until);
        controller.pause();
        vm.roll(until + 40);
        vm.expectRevert(abi.encodeWithSelector(IManaged.Paused.selector));
        court.execute(id);
        controller.unpause();
        uint256 end = height() + WINDOW;
        assertEq(court.appealEnd(id), end, "end");
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, height(), end + 1, type(uint256).max)
        );
        court.execute(id);
        vm.roll(end);
        rounds.initializeRound();
        appealBy(APPELLANT, id);
        assertTrue(court.getDispute(id).status == ICourtTypes.Status.Appealed, "appealed");
    }

    function test_EachPauseInATimeForAnAppealBeginsItAgain() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        vm.roll(court.getDispute(id).appealUntil);
        pauseFor(3);
        vm.roll(height() + WINDOW);
        pauseFor(4);
        uint256 end = height() + WINDOW;
        assertEq(court.appealEnd(id), end, "end");
        vm.roll(end + 1);
        pauseFor(5);
        assertEq(court.appealEnd(id), end, "a pause after it is none of its business");
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.OutsideWindow.selector, height(), 0, end));
        vm.prank(APPELLANT);
        court.appeal(id);
        court.execute(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
    }

    function test_APauseBeforeTheVerdictLeavesTheTimeForItsAppeal() public {
        uint256 id = open(1);
        vote(id, [GUILTY, GUILTY, GUILTY]);
        pauseFor(2);
        court.advance(id);
        assertEq(court.appealEnd(id), court.getDispute(id).appealUntil, "end");
    }

    function test_AVerdictThatIsFinalStaysSo() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        appealBy(APPELLANT, id);
        judge(id, GUILTY);
        pauseFor(2);
        assertEq(court.appealEnd(id), 0, "no appeal");
        court.execute(id);
        assertEq(bonding.transcoderTotalStake(accused), STAKE - STAKE / 10, "slashed");
    }

    function test_RevertWhen_AStrangerSetsTheFlag() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(this)));
        IManaged(address(court)).setPaused(true);
    }

    function test_AnUpgradeKeepsDisputesJuriesSeatsPaymentsAndPauses() public {
        uint256 closed = open(1);
        judge(closed, GUILTY);
        executeLater(closed);
        uint256 paused = open(2);
        schedule(paused);
        uint256 voided = court.getDispute(paused).jury;
        vm.roll(uint256(juryOf(paused).seedBlock) + 1);
        vm.prank(jurors[1]);
        court.claimSeat(paused);
        pauseFor(1);
        uint256 open_ = open(3);
        schedule(open_);
        claimAll(open_);
        bytes32 before = stateHash(closed, paused, open_);
        uint256 pending = court.pending(CHALLENGER);
        assertTrue(pending != 0, "something is pending");
        CourtState.Siblings memory siblings = CourtState.Siblings(token, bonding, rounds, registry);
        address records = address(new CourtRecords(address(controller), siblings));
        address code = address(new CourtNext(address(controller), siblings, records));
        Court(payable(address(court))).upgradeToAndCall(code, "");
        assertEq(CourtNext(payable(address(court))).version(), 2, "new code");
        assertEq(stateHash(closed, paused, open_), before, "state");
        assertEq(court.pending(CHALLENGER), pending, "pending");
        bytes32 digest = court.getDispute(closed).receipts[0];
        assertTrue(court.isPunished(accused, ICourtTypes.Fault.FalseFeatures, digest), "punished");
        assertTrue(court.isVoid(voided) && !court.isVoid(court.getDispute(open_).jury), "void");
        commitAll(open_);
        vm.roll(uint256(juryOf(open_).commitUntil) + 1);
        for (uint256 i; i < jurors.length; ++i) {
            vm.prank(jurors[i]);
            court.revealVote(open_, GUILTY, SALT);
        }
        court.advance(open_);
        assertTrue(court.getDispute(open_).verdict == GUILTY, "goes on");
        settleAll(1);
        vm.prank(CHALLENGER);
        assertEq(court.withdraw(), pending, "paid");
    }

    function test_RevertWhen_AStrangerUpgrades() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(0xBAD)));
        vm.prank(address(0xBAD));
        Court(payable(address(court))).upgradeToAndCall(address(court), "");
    }

    /// @dev Another jury is drawn at once; who claimed in the first one has nothing to fear and nothing to get.
    function checkAnotherJuryJudges(uint256 id) private {
        court.advance(id);
        ICourtTypes.Dispute memory d = court.getDispute(id);
        assertEq(d.jury, 2, "another jury");
        assertEq(d.draws, 1, "draws");
        schedule(id);
        judge(id, GUILTY);
        executeAfterAppealEnd(id);
        assertTrue(court.isVoid(1) && !court.isVoid(2), "void for good");
        for (uint256 i; i < jurors.length; ++i) {
            expectVoid(1);
            court.settleJuror(1, jurors[i]);
            assertEq(bonding.transcoderTotalStake(jurors[i]), STAKE, "not fined");
        }
        settleAll(2);
        assertEq(court.pending(jurors[0]), 2 * TOKENS, "paid once");
    }

    function executeAfterAppealEnd(uint256 id) private {
        vm.roll(court.appealEnd(id) + 1);
        court.execute(id);
    }

    /// @dev All seats are claimed and all votes committed; the next thing is to reveal them.
    function rollToReveals(uint256 id) private {
        claimAll(id);
        commitAll(id);
        vm.roll(uint256(juryOf(id).commitUntil) + 1);
    }

    function commitAll(uint256 id) private {
        uint256 jury = court.getDispute(id).jury;
        for (uint256 i; i < jurors.length; ++i) {
            bytes32 hash = court.voteHash(jury, jurors[i], GUILTY, SALT);
            vm.prank(jurors[i]);
            court.commitVote(id, hash);
        }
    }

    function pauseFor(uint256 count) private {
        controller.pause();
        vm.roll(height() + count);
        controller.unpause();
        if (!rounds.currentRoundInitialized()) rounds.initializeRound();
    }

    function expectVoid(uint256 jury) private {
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.JuryIsVoid.selector, jury));
    }

    function stateHash(uint256 a, uint256 b, uint256 c) private view returns (bytes32 hash) {
        uint256[3] memory ids = [a, b, c];
        hash = keccak256(abi.encode(court.getParameters(), court.disputeCount(), court.juryCount()));
        for (uint256 i; i < ids.length; ++i) {
            uint256 jury = court.getDispute(ids[i]).jury;
            hash = keccak256(abi.encode(hash, court.getDispute(ids[i]), court.getJury(jury), court.appealEnd(ids[i])));
            for (uint256 j; j < jurors.length; ++j) {
                hash = keccak256(abi.encode(hash, court.getSeat(jury, jurors[j]), court.pending(jurors[j])));
            }
        }
    }
}

contract CourtNext is Court {
    constructor(address controller_, Siblings memory siblings, address records_)
        Court(controller_, siblings, records_)
    {}

    function version() external pure returns (uint256) {
        return 2;
    }
}
