// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {MarketTest} from "./Market.sol";

/// @dev What a bond that moved to another orchestrator still owes to the one that it left.
contract RedelegationTest is MarketTest {
    address internal constant COURT = address(0xC0);
    address internal constant FINDER = address(0xF1);
    address internal constant MOVER = address(0xD1);
    address internal constant TWIN = address(0xD2);
    address internal constant STRANGER = address(0x5A);
    uint256 internal constant PERIOD = 7;
    address internal left;
    address internal reached;

    function setUp() public override {
        super.setUp();
        bonding.setCourt(COURT);
        left = candidate(0xB0B, 100 * TOKENS);
        reached = candidate(0xB0B2, 100 * TOKENS);
        bond(MOVER, 50 * TOKENS, left);
        bond(TWIN, 50 * TOKENS, left);
        token.transfer(MOVER, 1e7 * TOKENS);
        vm.prank(MOVER);
        token.approve(address(bonding), type(uint256).max);
        nextRound();
    }

    function test_AMoveInSightOfASlashIsNoEscape() public {
        move(0, reached);
        uint256 supply = token.totalSupply();
        assertEq(slash(left, 100_000), 15 * TOKENS, "taken at once, of those who stayed");
        assertEq(stakeOf(MOVER), 45 * TOKENS, "the same share of who moved");
        vm.prank(STRANGER);
        bonding.settleRedelegation(MOVER);
        assertEq(stakeOf(MOVER), 45 * TOKENS, "settled");
        assertEq(supply - token.totalSupply(), 20 * TOKENS, "burned");
        assertEq(bonding.transcoderTotalStake(reached), 145 * TOKENS, "pool");
        assertEq(stakeOf(reached), 100 * TOKENS, "its orchestrator loses nothing");
        assertEq(bonding.nextRoundTotalActiveStake(), (135 + 145) * TOKENS, "set");
        assertEq(token.balanceOf(address(minter)), (135 + 145) * TOKENS, "held");
    }

    function test_WhatLastsForSomeRoundsLastsFromTheRoundOfTheBlock() public {
        vm.roll(block.number + 10 * rounds.roundLength());
        uint256 round = rounds.currentRound();
        vm.prank(MOVER);
        bonding.bond(0, reached);
        vm.prank(TWIN);
        bonding.unbond(TOKENS);
        vm.prank(left);
        bonding.transcoder(1e6, 0);
        vm.prank(COURT);
        bonding.jailTranscoder(left, 3);
        (,, uint256 until) = bonding.getRedelegation(MOVER);
        assertEq(until, round + PERIOD, "record");
        assertEq(bonding.getDelegatorUnbondingLock(TWIN, 0).withdrawRound, round + PERIOD, "lock");
        assertEq(bonding.getTranscoder(left).termsRound, round + PERIOD + 1, "terms");
        assertEq(bonding.getTranscoder(left).jailedUntil, round + 3, "jail");
    }

    function test_BecomingAnOrchestratorIsNoEscape() public {
        move(0, MOVER);
        slash(left, 500_000);
        nextRound();
        claim(MOVER);
        assertEq(stakeOf(MOVER), 25 * TOKENS, "left");
        assertEq(bonding.transcoderTotalStake(MOVER), 25 * TOKENS, "pool");
    }

    function test_TheRecordSaysWhatAnswersWhereAndUntilWhen() public {
        checkRecord(address(0), 0, 0, "none");
        uint256 until = move(5 * TOKENS, reached);
        checkRecord(left, 50 * TOKENS, until, "moved");
        slash(left, 100_000);
        checkRecord(left, 45 * TOKENS, until, "not settled");
        bonding.settleRedelegation(MOVER);
        checkRecord(left, 45 * TOKENS, until, "settled");
        pass(PERIOD);
        checkRecord(left, 45 * TOKENS, until, "over");
        claim(MOVER);
        checkRecord(address(0), 0, 0, "cleared");
    }

    function test_TokensThatCameWithTheMoveDoNotAnswer() public {
        move(30 * TOKENS, reached);
        slash(left, 1_000_000);
        assertEq(stakeOf(MOVER), 30 * TOKENS, "new tokens");
        bond(TOKENS, reached);
        assertEq(stakeOf(MOVER), 31 * TOKENS, "with more");
        unbond(31 * TOKENS);
        assertEq(bonding.transcoderTotalStake(reached), 100 * TOKENS, "pool");
    }

    function test_RevertWhen_MovingASecondTimeBeforeItsTime() public {
        uint256 until = move(0, reached);
        address third = candidate(0xB0B3, 10 * TOKENS);
        pass(PERIOD - 1);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StillLocked.selector, until - 1, until));
        vm.prank(MOVER);
        bonding.bond(0, third);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StillLocked.selector, until - 1, until));
        vm.prank(MOVER);
        bonding.bond(TOKENS, left);
        pass(1);
        uint256 next = move(0, third);
        checkRecord(reached, 50 * TOKENS, next, "a new record");
        slash(left, 1_000_000);
        assertEq(stakeOf(MOVER), 50 * TOKENS, "the first is over");
        slash(reached, 100_000);
        assertEq(stakeOf(MOVER), 45 * TOKENS, "the second is not");
    }

    function test_RevertWhen_UnbondingWhatAnswers() public {
        uint256 until = move(30 * TOKENS, reached);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StakeAnswers.selector, 30 * TOKENS, until));
        vm.prank(MOVER);
        bonding.unbond(30 * TOKENS + 1);
        unbond(30 * TOKENS);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StakeAnswers.selector, 0, until));
        vm.prank(MOVER);
        bonding.unbond(1);
        pass(PERIOD);
        unbond(50 * TOKENS);
        assertEq(bonding.transcoderTotalStake(reached), 100 * TOKENS, "all left");
        checkRecord(address(0), 0, 0, "cleared");
    }

    function test_RevertWhen_GivingAwayWhatAnswers() public {
        bond(STRANGER, TOKENS, reached);
        uint256 until = move(30 * TOKENS, reached);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StakeAnswers.selector, 30 * TOKENS, until));
        vm.prank(MOVER);
        bonding.transferBond(STRANGER, 31 * TOKENS);
        vm.prank(MOVER);
        bonding.transferBond(STRANGER, 30 * TOKENS);
        slash(left, 1_000_000);
        assertEq(stakeOf(STRANGER), 31 * TOKENS, "what was free answers for nobody");
        assertEq(stakeOf(MOVER), 0, "the rest does");
    }

    function test_WhoReceivesABondPaysItsOwnLossFirst() public {
        bond(STRANGER, 10 * TOKENS, reached);
        move(0, reached);
        slash(left, 100_000);
        vm.prank(STRANGER);
        bonding.transferBond(MOVER, 10 * TOKENS);
        assertEq(stakeOf(MOVER), 55 * TOKENS, "stake");
        assertEq(bonding.transcoderTotalStake(reached), 155 * TOKENS, "pool");
    }

    function test_OnlySlashesBeforeItsTimeCountHoweverLateItIsSettled() public {
        move(0, reached);
        pass(PERIOD - 1);
        slash(left, 100_000);
        pass(1);
        slash(left, 500_000);
        pass(40);
        slash(left, 1_000_000);
        assertEq(stakeOf(MOVER), 45 * TOKENS, "by the last slash of its time");
        unbond(45 * TOKENS);
        assertEq(bonding.transcoderTotalStake(reached), 100 * TOKENS, "pool");
    }

    function test_ASlashAtItsEndDoesNotCount() public {
        move(0, reached);
        pass(PERIOD);
        slash(left, 1_000_000);
        assertEq(stakeOf(MOVER), 50 * TOKENS, "stake");
        bonding.settleRedelegation(MOVER);
        assertEq(stakeOf(MOVER), 50 * TOKENS, "settled");
        checkRecord(address(0), 0, 0, "cleared");
    }

    function test_SlashesBeforeTheMoveDoNotCount() public {
        slash(left, 500_000);
        move(0, reached);
        assertEq(stakeOf(MOVER), 25 * TOKENS, "moved");
        slash(left, 200_000);
        assertEq(stakeOf(MOVER), 20 * TOKENS, "a fifth of what moved");
    }

    function test_EachSlashIsTakenOnceHoweverOftenItIsSettled() public {
        move(0, reached);
        slash(left, 100_000);
        for (uint256 i; i < 3; ++i) {
            bonding.settleRedelegation(MOVER);
        }
        nextRound();
        claim(MOVER);
        slash(left, 100_000);
        slash(left, 500_000);
        claim(MOVER);
        bonding.settleRedelegation(MOVER);
        assertEq(stakeOf(MOVER), 20.25 ether, "stake");
        assertEq(bonding.transcoderTotalStake(reached), 120.25 ether, "pool");
    }

    function test_AFullSlashTakesTheRecordWholeAndEndsIt() public {
        uint256 until = move(0, reached);
        slash(left, 1_000_000);
        bond(left, 10 * TOKENS, left);
        bond(5 * TOKENS, reached);
        assertEq(stakeOf(MOVER), 5 * TOKENS, "bonded later");
        checkRecord(left, 0, until, "nothing answers");
        slash(left, 500_000);
        assertEq(stakeOf(MOVER), 5 * TOKENS, "the next epoch is none of its business");
        unbond(5 * TOKENS);
        pass(PERIOD);
        vm.prank(MOVER);
        bonding.rebondFromUnbonded(left, 0);
        checkRecord(address(0), 0, 0, "cleared");
    }

    function test_AnEarlierFullSlashIsNoneOfItsBusiness() public {
        slash(left, 1_000_000);
        bond(left, 10 * TOKENS, left);
        bond(20 * TOKENS, left);
        move(0, reached);
        assertEq(stakeOf(MOVER), 20 * TOKENS, "moved");
        slash(left, 250_000);
        assertEq(stakeOf(MOVER), 15 * TOKENS, "slashed");
    }

    function test_ASlashOfTheNewOrchestratorActsAsAlways() public {
        move(0, reached);
        assertEq(slash(reached, 500_000), 75 * TOKENS, "taken");
        assertEq(stakeOf(MOVER), 25 * TOKENS, "stake");
        slash(left, 200_000);
        assertEq(stakeOf(MOVER), 15 * TOKENS, "a fifth of what was moved");
        slash(left, 800_000);
        assertEq(stakeOf(MOVER), 0, "at most what there is");
        bonding.settleRedelegation(MOVER);
        assertEq(bonding.transcoderTotalStake(reached), 50 * TOKENS, "pool");
        vm.prank(MOVER);
        bonding.unbond(0);
    }

    function test_AFullSlashOfTheNewOrchestratorLeavesNothingToAnswer() public {
        move(0, reached);
        slash(reached, 1_000_000);
        slash(left, 500_000);
        assertEq(stakeOf(MOVER), 0, "stake");
        unbond(0);
        bond(10 * TOKENS, left);
        assertEq(stakeOf(MOVER), 10 * TOKENS, "what came later did not pay for it");
    }

    function test_ALossIsNotTakenFromALockThatComesBack() public {
        unbond(20 * TOKENS);
        uint256 until = move(0, reached);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StillLocked.selector, until - PERIOD, until));
        vm.prank(MOVER);
        bonding.rebond(0);
        slash(left, 100_000);
        assertEq(stakeOf(MOVER), 27 * TOKENS, "moved");
        assertEq(bonding.getDelegatorUnbondingLock(MOVER, 0).amount, 18 * TOKENS, "locked");
        pass(PERIOD);
        vm.prank(MOVER);
        bonding.rebond(0);
        assertEq(stakeOf(MOVER), 45 * TOKENS, "together");
        assertEq(bonding.transcoderTotalStake(reached), 145 * TOKENS, "pool");
    }

    function test_AnOrchestratorPaysBeforeItsReward() public {
        move(150 * TOKENS, MOVER);
        vm.prank(MOVER);
        bonding.transcoder(0, 1_000_000);
        bond(STRANGER, 100 * TOKENS, MOVER);
        nextRound();
        slash(left, 1_000_000);
        vm.prank(MOVER);
        bonding.reward();
        uint256 total = bonding.transcoderTotalStake(MOVER);
        assertLe(stakeOf(MOVER), total * 150 / 250, "rewarded for what is left");
        assertLe(total * 100 / 250, stakeOf(STRANGER) + 1, "its delegator for all");
        assertLe(stakeOf(MOVER) + stakeOf(STRANGER), total, "pool");
    }

    function test_ALossLowersThePlaceInTheSet() public {
        bond(reached, 10 * TOKENS, reached);
        move(0, reached);
        address third = candidate(0xB0B3, 130 * TOKENS);
        address[] memory order = bonding.getTranscoderPool(address(0), 3);
        assertEq(order[0], reached, "first");
        slash(left, 800_000);
        bonding.settleRedelegation(MOVER);
        order = bonding.getTranscoderPool(address(0), 3);
        assertEq(order[0], third, "first then");
        assertEq(order[1], reached, "second then");
        assertEq(bonding.nextRoundTotalActiveStake(), (130 + 120 + 30) * TOKENS, "set");
    }

    function test_ALossIsNoneOfWhatEarlierRoundsBeganWith() public {
        move(0, reached);
        nextRound();
        uint256 round = rounds.currentRound();
        slash(left, 1_000_000);
        claim(MOVER);
        (address delegate, uint256 bonded,) = bonding.getBondingStateAt(MOVER, round);
        assertEq(delegate, reached, "delegate");
        assertEq(bonded, 50 * TOKENS, "as the round began");
        nextRound();
        (, bonded,) = bonding.getBondingStateAt(MOVER, round + 1);
        assertEq(bonded, 0, "as the next began");
        (, bonded,) = bonding.getBondingStateAt(MOVER, round);
        assertEq(bonded, 50 * TOKENS, "and still");
    }

    function test_AShorterPeriodDoesNotEndARecord() public {
        uint256 until = move(0, reached);
        bonding.setUnbondingPeriod(1);
        pass(2);
        checkRecord(left, 50 * TOKENS, until, "as it was");
        slash(left, 100_000);
        assertEq(stakeOf(MOVER), 45 * TOKENS, "slashed");
    }

    function test_SettlingWhoMovedNothingIsNothing() public {
        bonding.settleRedelegation(MOVER);
        bonding.settleRedelegation(address(0x404));
        assertEq(stakeOf(MOVER), 50 * TOKENS, "stake");
    }

    function test_AMoveOfNothingLeavesNoRecord() public {
        slash(left, 1_000_000);
        move(10 * TOKENS, reached);
        checkRecord(address(0), 0, 0, "none");
        unbond(10 * TOKENS);
    }

    function test_RevertWhen_SettlingInAPause() public {
        move(0, reached);
        controller.pause();
        vm.expectRevert(abi.encodeWithSelector(IManaged.Paused.selector));
        bonding.settleRedelegation(MOVER);
    }

    /// @dev Who moves loses what who unbonds loses: the twin takes the other way out in the same round.
    function testFuzz_AMovedBondLosesWhatALockLoses(uint256 amount, uint256 more, uint256[4] memory cuts, uint256 gaps)
        public
    {
        amount = bound(amount, 1, 1e6 * TOKENS);
        bond(amount, left);
        bond(TWIN, amount, left);
        nextRound();
        slash(left, bound(cuts[3], 0, 300_000));
        uint256 stake = stakeOf(TWIN);
        vm.prank(TWIN);
        bonding.unbond(stake);
        more = bound(more, 0, 1e6 * TOKENS);
        move(more, reached);
        for (uint256 i; i < 3; ++i) {
            pass((gaps >> (8 * i)) % 3);
            slash(left, bound(cuts[i], 0, 1_000_000));
            if (gaps % 2 == 0) bonding.settleRedelegation(MOVER);
        }
        uint256 kept = bonding.getDelegatorUnbondingLock(TWIN, 0).amount;
        uint256 had = stakeOf(MOVER);
        // Each settlement rounds by at most a unit of stake, a share and a unit of the record.
        assertLe(had, kept + more + 9, "no less");
        assertLe(kept + more, had + 9, "no more");
        bonding.settleRedelegation(MOVER);
        assertEq(stakeOf(MOVER), had, "as it was shown");
    }

    /// @dev A loss is exactly what is burned and what the pool loses, and nobody else's.
    function testFuzz_ALossIsBurnedAndNobodyElses(uint256 more, uint256 here, uint256 there, bool late) public {
        bond(STRANGER, 33 * TOKENS + 7, reached);
        move(bound(more, 0, 1e6 * TOKENS), reached);
        if (late) nextRound();
        slash(left, bound(here, 0, 1_000_000));
        slash(reached, bound(there, 0, 999_000));
        uint256 shown = stakeOf(MOVER);
        uint256 theirs = stakeOf(STRANGER) + stakeOf(reached);
        uint256 supply = token.totalSupply();
        uint256 held = token.balanceOf(address(minter));
        uint256 pool = bonding.transcoderTotalStake(reached);
        claim(MOVER);
        uint256 burned = supply - token.totalSupply();
        assertEq(held - token.balanceOf(address(minter)), burned, "held");
        assertEq(pool - bonding.transcoderTotalStake(reached), burned, "pool");
        assertEq(stakeOf(MOVER), shown, "as it was shown");
        assertLe(theirs, stakeOf(STRANGER) + stakeOf(reached), "others");
        assertLe(shown + theirs, bonding.transcoderTotalStake(reached), "all of them");
    }

    function slash(address account, uint256 ppm) private returns (uint256) {
        vm.prank(COURT);
        return bonding.slashTranscoder(account, FINDER, ppm, 0);
    }

    /// @return until The end of its record.
    function move(uint256 amount, address to) private returns (uint256 until) {
        bond(amount, to);
        return rounds.currentRound() + PERIOD;
    }

    function bond(uint256 amount, address to) private {
        vm.prank(MOVER);
        bonding.bond(amount, to);
    }

    function unbond(uint256 amount) private {
        vm.prank(MOVER);
        bonding.unbond(amount);
    }

    function claim(address account) private {
        vm.prank(account);
        bonding.claimEarnings();
    }

    function pass(uint256 count) private {
        for (uint256 i; i < count; ++i) {
            nextRound();
        }
    }

    function stakeOf(address account) private view returns (uint256) {
        return bonding.pendingStake(account);
    }

    function checkRecord(address from, uint256 amount, uint256 until, string memory what) private view {
        (address from_, uint256 amount_, uint256 until_) = bonding.getRedelegation(MOVER);
        assertEq(from_, from, what);
        assertEq(amount_, amount, what);
        assertEq(until_, until, what);
    }
}
