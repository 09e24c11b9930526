// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {MarketTest} from "./Market.sol";

/// @dev What the court does to an orchestrator, its delegators and their locks.
contract SlashingTest is MarketTest {
    address internal constant COURT = address(0xC0);
    address internal constant FINDER = address(0xF1);
    address internal constant DELEGATOR = address(0xD1);
    address internal orch;

    function setUp() public override {
        super.setUp();
        bonding.setCourt(COURT);
        orch = candidate(0xB0B, 100 * TOKENS);
        bond(DELEGATOR, 50 * TOKENS, orch);
        nextRound();
    }

    function test_RevertWhen_NoCourtIsSet() public {
        bonding.setCourt(address(0));
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, COURT));
        vm.prank(COURT);
        bonding.slashTranscoder(orch, FINDER, 1, 0);
    }

    function test_RevertWhen_AStrangerSlashesOrJails() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(this)));
        bonding.slashTranscoder(orch, FINDER, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(this)));
        bonding.jailTranscoder(orch, 1);
    }

    function test_RevertWhen_AStrangerNamesTheCourt() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(0xBAD)));
        vm.prank(address(0xBAD));
        bonding.setCourt(address(0xBAD));
    }

    function test_RevertWhen_SlashingMoreThanAll() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.OutOfBounds.selector, 1_000_001, 0, 1_000_000));
        vm.prank(COURT);
        bonding.slashTranscoder(orch, FINDER, 1_000_001, 0);
    }

    function test_RevertWhen_SlashingWhoNeverStakedOnItself() public {
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NotOrchestrator.selector, DELEGATOR));
        vm.prank(COURT);
        bonding.slashTranscoder(DELEGATOR, FINDER, 1, 0);
    }

    function test_Bug18_OwnAndDelegatedStakeIsTakenProRata() public {
        assertEq(slash(orch, 100_000), 15 * TOKENS, "taken");
        assertEq(bonding.pendingStake(orch), 90 * TOKENS, "own stake");
        assertEq(bonding.pendingStake(DELEGATOR), 45 * TOKENS, "delegator");
        assertEq(bonding.transcoderTotalStake(orch), 135 * TOKENS, "pool");
        assertEq(bonding.nextRoundTotalActiveStake(), 135 * TOKENS, "set");
    }

    function test_Bug18_TheFinderIsPaidAndTheRestIsBurned() public {
        uint256 supply = token.totalSupply();
        vm.prank(COURT);
        bonding.slashTranscoder(orch, FINDER, 100_000, 200_000);
        assertEq(token.balanceOf(FINDER), 3 * TOKENS, "fee");
        assertEq(supply - token.totalSupply(), 12 * TOKENS, "burned");
        assertEq(token.balanceOf(address(minter)), 135 * TOKENS, "held");
    }

    function test_WithoutAFinderEverythingIsBurned() public {
        uint256 supply = token.totalSupply();
        vm.prank(COURT);
        bonding.slashTranscoder(orch, address(0), 100_000, 200_000);
        assertEq(supply - token.totalSupply(), 15 * TOKENS, "burned");
    }

    function test_Bug18_WaitingStakeDoesNotEscape() public {
        bond(DELEGATOR, 50 * TOKENS, orch);
        assertEq(slash(orch, 200_000), 40 * TOKENS, "taken");
        assertEq(bonding.pendingStake(DELEGATOR), 80 * TOKENS, "while it waits");
        nextRound();
        assertEq(bonding.pendingStake(DELEGATOR), 80 * TOKENS, "when it earns");
        vm.prank(DELEGATOR);
        bonding.unbond(80 * TOKENS);
        assertEq(bonding.transcoderTotalStake(orch), 80 * TOKENS, "left");
    }

    function test_WaitingStakeThatCameAfterTheSlashIsWhole() public {
        bond(DELEGATOR, 50 * TOKENS, orch);
        slash(orch, 200_000);
        bond(address(0xD2), 30 * TOKENS, orch);
        nextRound();
        assertEq(bonding.pendingStake(address(0xD2)), 30 * TOKENS, "new");
        assertEq(bonding.pendingStake(DELEGATOR), 80 * TOKENS, "old");
        assertEq(bonding.transcoderTotalStake(orch), 190 * TOKENS, "pool");
    }

    function test_Bug18_UnbondingStakeDoesNotEscape() public {
        vm.prank(DELEGATOR);
        bonding.unbond(50 * TOKENS);
        assertEq(slash(orch, 500_000), 75 * TOKENS, "taken");
        bond(DELEGATOR, 10 * TOKENS, orch);
        vm.prank(DELEGATOR);
        bonding.unbond(10 * TOKENS);
        passUnbonding();
        vm.prank(DELEGATOR);
        bonding.withdrawStake(0);
        assertEq(token.balanceOf(DELEGATOR), 25 * TOKENS, "lock before the slash");
        vm.prank(DELEGATOR);
        bonding.withdrawStake(1);
        assertEq(token.balanceOf(DELEGATOR), 35 * TOKENS, "lock after the slash");
    }

    function test_Bug18_AnOrchestratorThatLeftIsSlashedStill() public {
        vm.prank(orch);
        bonding.unbond(100 * TOKENS);
        assertEq(slash(orch, 1_000_000), 150 * TOKENS, "taken");
        passUnbonding();
        vm.prank(orch);
        bonding.withdrawStake(0);
        assertEq(token.balanceOf(orch), 0, "withdrawn");
        assertEq(bonding.pendingStake(DELEGATOR), 0, "delegator");
    }

    function test_Bug18_RevertWhen_UnbondingStakeFleesToAnotherOrchestrator() public {
        address second = orchestrator(0xB0B2, 50 * TOKENS);
        vm.prank(orch);
        bonding.unbond(100 * TOKENS);
        uint256 round = rounds.currentRound();
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.StillLocked.selector, round, round + 7));
        vm.prank(orch);
        bonding.rebondFromUnbonded(second, 0);
        passUnbonding();
        vm.prank(orch);
        bonding.rebondFromUnbonded(second, 0);
        assertEq(bonding.pendingStake(orch), 100 * TOKENS, "after its time");
    }

    function test_RebondPutsBackWhatTheSlashLeft() public {
        vm.prank(DELEGATOR);
        bonding.unbond(20 * TOKENS);
        slash(orch, 500_000);
        vm.prank(DELEGATOR);
        bonding.rebond(0);
        assertEq(bonding.pendingStake(DELEGATOR), 25 * TOKENS, "stake");
        assertEq(bonding.transcoderTotalStake(orch), 75 * TOKENS, "pool");
    }

    function test_Bug18_AFullSlashLeavesNothing() public {
        bond(DELEGATOR, 50 * TOKENS, orch);
        vm.prank(orch);
        bonding.unbond(30 * TOKENS);
        assertEq(slash(orch, 1_000_000), 200 * TOKENS, "taken");
        assertEq(bonding.transcoderTotalStake(orch), 0, "pool");
        assertEq(bonding.nextRoundTotalActiveStake(), 0, "set");
        assertTrue(!bonding.getTranscoder(orch).candidate, "candidate");
        nextRound();
        assertEq(bonding.pendingStake(orch) + bonding.pendingStake(DELEGATOR), 0, "stakes");
        assertEq(bonding.getDelegatorUnbondingLock(orch, 0).amount, 0, "lock");
    }

    function test_StakeBondedAfterAFullSlashIsWhole() public {
        bond(DELEGATOR, 50 * TOKENS, orch);
        slash(orch, 1_000_000);
        bond(address(0xD2), 30 * TOKENS, orch);
        bond(DELEGATOR, 10 * TOKENS, orch);
        nextRound();
        assertEq(bonding.pendingStake(address(0xD2)), 30 * TOKENS, "another's");
        assertEq(bonding.pendingStake(DELEGATOR), 10 * TOKENS, "its own");
        vm.prank(DELEGATOR);
        bonding.unbond(10 * TOKENS);
        assertEq(bonding.transcoderTotalStake(orch), 30 * TOKENS, "pool");
    }

    function test_WhoLostEverythingCanLeave() public {
        slash(orch, 1_000_000);
        vm.prank(orch);
        bonding.unbond(0);
        vm.prank(DELEGATOR);
        bonding.unbond(0);
        assertEq(bonding.getDelegator(DELEGATOR).delegateAddress, address(0), "delegate");
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NotOrchestrator.selector, orch));
        vm.prank(DELEGATOR);
        bonding.bond(TOKENS, orch);
    }

    function test_FeesEarnedBeforeAFullSlashArePaid() public {
        bond(address(0xD2), 50 * TOKENS, orch);
        nextRound();
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        uint256 old = bonding.pendingFees(DELEGATOR);
        uint256 young = bonding.pendingFees(address(0xD2));
        assertTrue(old > 0 && young > 0, "earned");
        slash(orch, 1_000_000);
        bond(DELEGATOR, TOKENS, orch);
        nextRound();
        redeem(winner(orch, 2));
        assertEq(bonding.pendingFees(address(0xD2)), young, "kept");
        assertEq(bonding.pendingFees(DELEGATOR), old + FACE / 2, "kept, and alone with the new stake");
        vm.prank(address(0xD2));
        bonding.withdrawFees(payable(address(0xD2)), young);
    }

    function test_Bug18_RewardAfterASlashIsThatOfTheStakeLeft() public {
        candidate(0xB0B2, 150 * TOKENS);
        nextRound();
        uint256 supply = token.totalSupply();
        slash(orch, 500_000);
        uint256 before = token.totalSupply();
        vm.prank(orch);
        bonding.reward();
        uint256 minted = token.totalSupply() - before;
        assertLe(minted, supply * 251 / 1e6 / 4, "a quarter of the round's stake");
    }

    function test_Bug18_AJailedOrchestratorIsOutOfTheSet() public {
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 3);
        assertTrue(bonding.isActiveTranscoder(orch), "until the round ends");
        assertTrue(!bonding.getTranscoder(orch).candidate, "candidate");
        assertEq(bonding.nextRoundTotalActiveStake(), 0, "total");
        nextRound();
        assertTrue(!bonding.isActiveTranscoder(orch), "next round");
    }

    function test_Bug18_RevertWhen_AJailedOrchestratorCallsForItsReward() public {
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 3);
        uint256 until = rounds.currentRound() + 3;
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.Jailed.selector, orch, until));
        vm.prank(orch);
        bonding.reward();
    }

    function test_Bug18_NoBondRevivesAJailedOrchestrator() public {
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 3);
        bond(address(0xD2), 1, orch);
        bond(orch, 100 * TOKENS, orch);
        vm.prank(orch);
        bonding.transcoder(0, 1_000_000);
        assertTrue(!bonding.getTranscoder(orch).candidate, "jailed");
        for (uint256 i; i < 3; ++i) {
            nextRound();
        }
        vm.prank(orch);
        bonding.transcoder(0, 1_000_000);
        assertTrue(bonding.getTranscoder(orch).candidate, "free");
    }

    function test_AShorterSentenceDoesNotEndALongerOne() public {
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 10);
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 1);
        assertEq(bonding.getTranscoder(orch).jailedUntil, rounds.currentRound() + 10, "until");
        vm.prank(COURT);
        bonding.jailTranscoder(orch, type(uint256).max);
        assertEq(bonding.getTranscoder(orch).jailedUntil, type(uint32).max, "for ever");
    }

    function test_Bug12_WhatAJailedOrchestratorWonWhileActiveIsPaid() public {
        fund(1 ether, 0);
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 3);
        redeem(winner(orch, 1));
        assertEq(bonding.pendingFees(orch) + bonding.pendingFees(DELEGATOR), FACE - 1, "fees, rounded");
    }

    function test_DelegatorsOfAJailedOrchestratorCanLeave() public {
        address second = orchestrator(0xB0B2, 50 * TOKENS);
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 3);
        vm.prank(DELEGATOR);
        bonding.bond(0, second);
        assertEq(bonding.transcoderTotalStake(second), 100 * TOKENS, "moved");
    }

    function test_ASlashInALargeSetIsNeverLost() public {
        bonding.setNumActiveTranscoders(200);
        for (uint160 i; i < 140; ++i) {
            address account = address(0xE000 + i);
            token.transfer(account, 60 * TOKENS);
            vm.prank(account);
            token.approve(address(bonding), 60 * TOKENS);
            vm.prank(account);
            bonding.bond(60 * TOKENS, account);
            vm.prank(account);
            bonding.transcoder(0, 0);
        }
        assertEq(slash(orch, 900_000), 135 * TOKENS, "taken");
        assertEq(bonding.nextRoundTotalActiveStake(), 140 * 60 * TOKENS + candidateStake(orch), "total");
    }

    function testFuzz_ASlashTakesExactlyWhatEverybodyLoses(uint256 own, uint256 waiting, uint256 locked, uint256 ppm)
        public
    {
        bond(orch, bound(own, 1, 1e6 * TOKENS), orch);
        nextRound();
        bond(DELEGATOR, bound(waiting, 1, 1e6 * TOKENS), orch);
        locked = bound(locked, 1, bonding.pendingStake(orch) - 1);
        vm.prank(orch);
        bonding.unbond(locked);
        uint256 held = token.balanceOf(address(minter));
        uint256 taken = slash(orch, bound(ppm, 1, 1_000_000));
        assertEq(held - token.balanceOf(address(minter)), taken, "tokens");
        uint256 left = bonding.pendingStake(orch) + bonding.pendingStake(DELEGATOR)
            + bonding.getDelegatorUnbondingLock(orch, 0).amount;
        assertLe(left, held - taken, "owed");
        // Each of earning, waiting and locked stake rounds by at most one unit for each owner.
        assertLe(held - taken, left + 6, "lost by rounding");
    }

    function slash(address account, uint256 ppm) internal returns (uint256) {
        vm.prank(COURT);
        return bonding.slashTranscoder(account, FINDER, ppm, 0);
    }

    function candidateStake(address account) private view returns (uint256) {
        return bonding.getTranscoder(account).candidate ? bonding.transcoderTotalStake(account) : 0;
    }

    function passUnbonding() private {
        for (uint256 i; i < 7; ++i) {
            nextRound();
        }
    }
}
