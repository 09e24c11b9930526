// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {BondingVotes} from "../src/BondingVotes.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {FramemillGovernor} from "../src/FramemillGovernor.sol";
import {Treasury} from "../src/Treasury.sol";
import {IBondingExtension, IBondingManager} from "../src/interfaces/IBondingManager.sol";
import {IController} from "../src/interfaces/IController.sol";
import {StakeHistory} from "../src/libraries/StakeHistory.sol";
import {MarketTest} from "./Market.sol";

/// @dev Votes of stake, and decisions that the timelock executes.
contract GovernanceTest is MarketTest {
    uint256 internal constant DELAY = 2 days;
    address internal constant DELEGATOR = address(0xD1);
    address internal constant COURT = address(0xC0);
    uint8 private constant AGAINST = 0;
    uint8 private constant FOR = 1;

    BondingVotes internal votes;
    Treasury internal treasury;
    FramemillGovernor internal governor;
    address internal orch;
    address internal small;

    function setUp() public override {
        super.setUp();
        _deployGovernance();
        bonding.setCourt(COURT);
        orch = candidate(0xB0B, 100 * TOKENS);
        small = candidate(0xB0B2, 20 * TOKENS);
        bond(DELEGATOR, 60 * TOKENS, orch);
        nextRound();
    }

    function test_AProposalChangesAParameter() public {
        _handOver();
        assertEq(controller.owner(), address(treasury), "owner");
        uint256 id = _decide(address(bonding), abi.encodeCall(IBondingExtension.setUnbondingPeriod, (9)), orch, FOR);
        assertEq(uint256(governor.state(id)), uint256(IGovernor.ProposalState.Executed), "state");
        assertEq(bonding.unbondingPeriod(), 9, "period");
    }

    function test_DelegatorsOverrideAndDefeatTheirOrchestrator() public {
        bond(DELEGATOR, 100 * TOKENS, orch);
        nextRound();
        uint256 id = _propose(address(bonding), abi.encodeCall(IBondingExtension.setUnbondingPeriod, (9)), orch);
        _cast(id, orch, FOR);
        (, uint256 forVotes,) = governor.proposalVotes(id);
        assertEq(forVotes, 260 * TOKENS, "with the whole pool");
        vm.prank(DELEGATOR);
        governor.castOverrideVote(id, AGAINST, "");
        uint256 againstVotes;
        (againstVotes, forVotes,) = governor.proposalVotes(id);
        assertEq(forVotes, 100 * TOKENS, "what is left to the orchestrator");
        assertEq(againstVotes, 160 * TOKENS, "overridden");
        _endVote();
        assertEq(uint256(governor.state(id)), uint256(IGovernor.ProposalState.Defeated), "state");
    }

    function test_AnOverrideBeforeTheOrchestratorVotesCountsToo() public {
        uint256 id = _propose(address(bonding), abi.encodeCall(IBondingExtension.setUnbondingPeriod, (9)), orch);
        vm.prank(DELEGATOR);
        governor.castOverrideVote(id, AGAINST, "");
        _cast(id, orch, FOR);
        (uint256 againstVotes, uint256 forVotes,) = governor.proposalVotes(id);
        assertEq(forVotes, 100 * TOKENS, "for");
        assertEq(againstVotes, 60 * TOKENS, "against");
    }

    function test_RevertWhen_AProposerHasTooFewVotes() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _call(address(bonding), "");
        vm.expectRevert(
            abi.encodeWithSelector(
                IGovernor.GovernorInsufficientProposerVotes.selector, DELEGATOR, uint256(0), 10 * TOKENS
            )
        );
        vm.prank(DELEGATOR);
        governor.propose(targets, values, calls, "");
    }

    function test_ADecisionSpendsTheTreasury() public {
        minter.setTreasury(address(treasury));
        minter.setTreasuryRewardCutRate(100_000);
        minter.setTreasuryBalanceCeiling(1e9 * TOKENS);
        nextRound();
        vm.prank(orch);
        bonding.reward();
        uint256 owed = minter.treasuryOwed();
        minter.payTreasury();
        assertEq(token.balanceOf(address(treasury)), owed, "held");
        _decide(address(token), abi.encodeCall(token.transfer, (address(0xFEE), owed)), orch, FOR);
        assertEq(token.balanceOf(address(0xFEE)), owed, "spent");
    }

    function test_ADecisionCanBeExecutedLongAfterItsSnapshotIsForgotten() public {
        _handOver();
        uint256 id = _propose(address(bonding), abi.encodeCall(IBondingExtension.setUnbondingPeriod, (9)), orch);
        _cast(id, orch, FOR);
        for (uint256 i; i < 2 * StakeHistory.ROUNDS; ++i) {
            nextRound();
        }
        assertEq(uint256(governor.state(id)), uint256(IGovernor.ProposalState.Succeeded), "state");
        _execute(address(bonding), abi.encodeCall(IBondingExtension.setUnbondingPeriod, (9)));
        assertEq(bonding.unbondingPeriod(), 9, "period");
    }

    function test_RevertWhen_AVoteWouldOutliveItsSnapshot() public {
        FramemillGovernor.Settings memory settings = FramemillGovernor.Settings(1, 30, 0, 20);
        vm.expectRevert(abi.encodeWithSelector(FramemillGovernor.VoteTooLong.selector, 31, 30));
        new FramemillGovernor(votes, treasury, settings);
    }

    function test_RevertWhen_VotesWouldCountInTheRoundOfTheProposal() public {
        FramemillGovernor.Settings memory settings = FramemillGovernor.Settings(0, 10, 0, 20);
        vm.expectRevert(abi.encodeWithSelector(FramemillGovernor.NoVotingDelay.selector));
        new FramemillGovernor(votes, treasury, settings);
    }

    function test_StakeThatArrivesInARoundHasNoVoteInIt() public {
        uint256 round = rounds.currentRound();
        bond(DELEGATOR, 40 * TOKENS, orch);
        assertEq(votes.getPastVotes(orch, round), 160 * TOKENS, "now");
        nextRound();
        assertEq(votes.getPastVotes(orch, round), 160 * TOKENS, "then");
        assertEq(votes.getPastVotes(orch, round + 1), 200 * TOKENS, "next");
        assertEq(votes.getPastBalanceOf(DELEGATOR, round), 60 * TOKENS, "part then");
        assertEq(votes.getPastBalanceOf(DELEGATOR, round + 1), 100 * TOKENS, "part next");
    }

    function test_Bug29_SlashedStakeHasNoVote() public {
        uint256 round = rounds.currentRound();
        vm.prank(COURT);
        bonding.slashTranscoder(orch, address(0), 500_000, 0);
        nextRound();
        assertEq(votes.getPastVotes(orch, round), 160 * TOKENS, "before");
        assertEq(votes.getPastVotes(orch, round + 1), 80 * TOKENS, "after");
        assertEq(votes.getPastBalanceOf(DELEGATOR, round + 1), 30 * TOKENS, "part");
        vm.prank(COURT);
        bonding.slashTranscoder(orch, address(0), 1_000_000, 0);
        nextRound();
        assertEq(votes.getPastVotes(orch, round + 1), 80 * TOKENS, "before the full slash");
        assertEq(votes.getPastBalanceOf(DELEGATOR, round + 1), 30 * TOKENS, "part before the full slash");
        assertEq(votes.getPastVotes(orch, round + 2), 0, "after the full slash");
        assertEq(votes.getPastBalanceOf(DELEGATOR, round + 2), 0, "part after the full slash");
    }

    function test_Bug29_WhoseOrchestratorLeftVotesForItself() public {
        uint256 round = rounds.currentRound();
        vm.prank(orch);
        bonding.unbond(100 * TOKENS);
        nextRound();
        assertEq(votes.getPastVotes(orch, round), 160 * TOKENS, "orchestrator then");
        assertEq(votes.getPastVotes(DELEGATOR, round), 0, "delegator then");
        assertEq(votes.getPastVotes(orch, round + 1), 0, "orchestrator now");
        assertEq(votes.getPastVotes(DELEGATOR, round + 1), 60 * TOKENS, "delegator now");
        assertEq(votes.getPastDelegate(DELEGATOR, round + 1), DELEGATOR, "delegate");
        bond(orch, 5 * TOKENS, orch);
        assertEq(votes.getPastVotes(DELEGATOR, round + 1), 60 * TOKENS, "back, but not then");
        nextRound();
        assertEq(votes.getPastVotes(orch, round + 2), 65 * TOKENS, "back");
        assertEq(votes.getPastVotes(DELEGATOR, round + 2), 0, "represented again");
    }

    function test_Bug29_WithdrawingFeesChangesNoVote() public {
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        uint256 round = rounds.currentRound();
        uint256 fees = bonding.pendingFees(DELEGATOR);
        vm.prank(DELEGATOR);
        bonding.withdrawFees(payable(DELEGATOR), fees);
        nextRound();
        assertEq(votes.getPastVotes(orch, round), votes.getPastVotes(orch, round + 1), "orchestrator");
        assertEq(votes.getPastBalanceOf(DELEGATOR, round), votes.getPastBalanceOf(DELEGATOR, round + 1), "part");
    }

    function test_Bug29_LookUpsNeverPanic() public {
        uint256 last = rounds.currentRound();
        for (uint256 round; round <= last; ++round) {
            assertEq(votes.getPastVotes(address(0x99), round), 0, "a stranger");
            assertEq(votes.getPastVotes(address(0), round), 0, "nobody");
        }
        assertEq(votes.getPastVotes(orch, last - 1), 0, "before the first bond");
        assertEq(votes.getPastBalanceOf(DELEGATOR, last - 1), 0, "before the first bond");
        vm.expectRevert(abi.encodeWithSelector(StakeHistory.FutureLookup.selector, last + 1, last));
        votes.getPastVotes(orch, last + 1);
        for (uint256 i; i < StakeHistory.ROUNDS; ++i) {
            nextRound();
        }
        vm.expectRevert(abi.encodeWithSelector(StakeHistory.HistoryGone.selector, last, last + 1));
        votes.getPastVotes(orch, last);
    }

    function test_RoundsThatNobodyInitializedBeganAsTheNext() public {
        uint256 round = rounds.currentRound();
        vm.prank(DELEGATOR);
        bonding.unbond(10 * TOKENS);
        vm.roll(block.number + 3 * ROUND);
        rounds.initializeRound();
        assertEq(votes.getPastTotalSupply(round), 180 * TOKENS, "total then");
        assertEq(votes.getPastTotalSupply(round + 1), 170 * TOKENS, "total of a skipped round");
        assertEq(votes.getPastVotes(orch, round + 1), 150 * TOKENS, "votes of a skipped round");
    }

    function test_RevertWhen_VotesAreDelegatedWithoutStake() public {
        vm.expectRevert(abi.encodeWithSelector(BondingVotes.VotesFollowStake.selector));
        votes.delegate(orch);
    }

    /// @dev What every round began with, against what was seen when it began.
    function testFuzz_HistoryIsWhatWasSeen(uint256 seed) public {
        uint256 first = rounds.currentRound();
        uint256[4][20] memory seen;
        for (uint256 i; i < seen.length; ++i) {
            uint256 round = first + i;
            seen[i] = [
                votes.getPastVotes(orch, round),
                votes.getPastVotes(small, round),
                votes.getPastBalanceOf(DELEGATOR, round),
                votes.getPastTotalSupply(round)
            ];
            for (uint256 n; n < 3; ++n) {
                seed = uint256(keccak256(abi.encode(seed)));
                _act(seed);
            }
            nextRound();
        }
        for (uint256 i; i < seen.length; ++i) {
            uint256 round = first + i;
            assertEq(votes.getPastVotes(orch, round), seen[i][0], "orchestrator");
            assertEq(votes.getPastVotes(small, round), seen[i][1], "other orchestrator");
            assertEq(votes.getPastBalanceOf(DELEGATOR, round), seen[i][2], "delegator");
            assertEq(votes.getPastTotalSupply(round), seen[i][3], "total");
        }
    }

    function test_TheGuardianPausesOnceAndAnybodyEndsALongPause() public {
        controller.setGuardian(address(0x6A));
        vm.prank(address(0x6A));
        controller.pause();
        assertTrue(bonding.paused(), "paused");
        vm.warp(block.timestamp + controller.MAX_PAUSE());
        vm.prank(address(0xBAD));
        controller.unpause();
        assertTrue(!bonding.paused(), "goes on");
        uint256 ready = block.timestamp + controller.GUARDIAN_REST();
        vm.expectRevert(abi.encodeWithSelector(IController.GuardianRests.selector, ready));
        vm.prank(address(0x6A));
        controller.pause();
        vm.warp(ready);
        vm.prank(address(0x6A));
        controller.pause();
    }

    function _act(uint256 seed) private {
        address who = [orch, small, DELEGATOR, DELEGATOR][(seed >> 8) % 4];
        uint256 kind = seed % 8;
        uint256 free = _free(who);
        if (kind == 0) {
            bond(who, 1 + (seed >> 16) % TOKENS, who == DELEGATOR ? _delegateFor(who, seed >> 9) : who);
        } else if (kind == 1 && free > 1) {
            vm.prank(who);
            bonding.unbond(1 + (seed >> 16) % free);
        } else if (kind == 2) {
            vm.prank(COURT);
            bonding.slashTranscoder((seed >> 9) % 2 == 0 ? orch : small, address(0), (seed >> 16) % 300_000, 0);
        } else if (kind == 3) {
            vm.prank(COURT);
            bonding.slashTranscoder(small, address(0), 1_000_000, 0);
        } else if (kind == 4) {
            vm.prank(who);
            bonding.claimEarnings();
        } else if (
            bonding.isActiveTranscoder(who) && bonding.getTranscoder(who).lastRewardRound < rounds.currentRound()
        ) {
            vm.prank(who);
            bonding.reward();
        }
    }

    /// @dev A bond that was moved stays where it is for a while.
    function _delegateFor(address who, uint256 seed) private view returns (address) {
        (,, uint256 until) = bonding.getRedelegation(who);
        address delegate = bonding.getDelegator(who).delegateAddress;
        if (rounds.currentRound() < until && delegate != address(0)) return delegate;
        return seed % 2 == 0 ? orch : small;
    }

    function _free(address who) private view returns (uint256) {
        (, uint256 answers, uint256 until) = bonding.getRedelegation(who);
        uint256 stake = bonding.pendingStake(who);
        if (until <= rounds.currentRound()) return stake;
        return stake > answers ? stake - answers : 0;
    }

    function _deployGovernance() private {
        votes = new BondingVotes(IBondingManager(address(bonding)), rounds);
        address[] memory proposers = new address[](1);
        proposers[0] = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        treasury = new Treasury(DELAY, proposers, new address[](1));
        governor = new FramemillGovernor(votes, treasury, FramemillGovernor.Settings(1, 10, 10 * TOKENS, 33));
    }

    function _handOver() private {
        controller.transferOwnership(address(treasury));
        _decide(address(controller), abi.encodeCall(Ownable2Step.acceptOwnership, ()), orch, FOR);
    }

    function _decide(address target, bytes memory data, address voter, uint8 support) private returns (uint256 id) {
        id = _propose(target, data, voter);
        _cast(id, voter, support);
        _endVote();
        _execute(target, data);
    }

    function _propose(address target, bytes memory data, address proposer) private returns (uint256 id) {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _call(target, data);
        nextRound();
        vm.prank(proposer);
        id = governor.propose(targets, values, calls, "");
        nextRound();
        nextRound();
    }

    function _cast(uint256 id, address voter, uint8 support) private {
        vm.prank(voter);
        governor.castVote(id, support);
    }

    function _endVote() private {
        for (uint256 i; i < 10; ++i) {
            nextRound();
        }
    }

    function _execute(address target, bytes memory data) private {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _call(target, data);
        governor.queue(targets, values, calls, keccak256(""));
        vm.warp(block.timestamp + DELAY + 1);
        governor.execute(targets, values, calls, keccak256(""));
    }

    function _call(address target, bytes memory data)
        private
        pure
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calls)
    {
        (targets, values, calls) = (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], calls[0]) = (target, data);
    }
}
