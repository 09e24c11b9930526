// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {MarketTest} from "./Market.sol";

/// @dev Tests named `test_BugNN` guard against the class of that number in the history of this kind of contract.
contract BondingManagerTest is MarketTest {
    address internal constant DELEGATOR = address(0xD1);
    address internal orch;

    function setUp() public override {
        super.setUp();
        orch = orchestrator(0xB0B, 100 * TOKENS);
    }

    function test_BecomesActiveInTheRoundAfterItsBond() public {
        address second = candidate(0xB0B2, 50 * TOKENS);
        assertTrue(!bonding.isActiveTranscoder(second), "active at once");
        nextRound();
        assertTrue(bonding.isActiveTranscoder(second), "active in the next round");
    }

    function test_Bug01_RevertWhen_AnOrchestratorDelegatesItsOwnStake() public {
        address second = orchestrator(0xB0B2, 50 * TOKENS);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.OrchestratorCannotDelegate.selector, orch));
        vm.prank(orch);
        bonding.bond(0, second);
    }

    function test_Bug02_BondingAgainBeforeWithdrawalKeepsBothStakes() public {
        bond(DELEGATOR, 10 * TOKENS, orch);
        vm.prank(DELEGATOR);
        bonding.unbond(10 * TOKENS);
        bond(DELEGATOR, 5 * TOKENS, orch);
        for (uint256 i; i < 7; ++i) {
            nextRound();
        }
        vm.prank(DELEGATOR);
        bonding.withdrawStake(0);
        assertEq(token.balanceOf(DELEGATOR), 10 * TOKENS, "withdrawn");
        assertEq(bonding.pendingStake(DELEGATOR), 5 * TOKENS, "bonded");
    }

    function test_Bug03_RebondRaisesTheTotal() public {
        vm.prank(orch);
        bonding.unbond(40 * TOKENS);
        assertEq(bonding.nextRoundTotalActiveStake(), 60 * TOKENS, "after unbond");
        vm.prank(orch);
        bonding.rebond(0);
        assertEq(bonding.nextRoundTotalActiveStake(), 100 * TOKENS, "after rebond");
    }

    function test_Bug04_StakeChangesCountFromTheNextRound() public {
        bond(DELEGATOR, 100 * TOKENS, orch);
        assertEq(bonding.currentRoundTotalActiveStake(), 100 * TOKENS, "this round");
        assertEq(bonding.getTranscoder(orch).earningStake, 100 * TOKENS, "earning in this round");
        nextRound();
        assertEq(bonding.currentRoundTotalActiveStake(), 200 * TOKENS, "next round");
        assertEq(bonding.getTranscoder(orch).earningStake, 200 * TOKENS, "earning in the next round");
    }

    function test_Bug05_StakeThatArrivesAfterRewardsIsNotInflated() public {
        for (uint256 i; i < 3; ++i) {
            vm.prank(orch);
            bonding.reward();
            nextRound();
        }
        bond(DELEGATOR, 10 * TOKENS, orch);
        nextRound();
        uint256 stake = bonding.pendingStake(DELEGATOR);
        assertLe(stake, 10 * TOKENS, "stake");
        // At most what one share is worth by then.
        assertLe(10 * TOKENS - 1e6, stake, "lost by rounding");
    }

    function test_Bug05_RebondingFromUnbondedIsNotInflated() public {
        bond(DELEGATOR, 10 * TOKENS, orch);
        vm.prank(DELEGATOR);
        bonding.unbond(10 * TOKENS);
        vm.prank(orch);
        bonding.reward();
        nextRound();
        vm.prank(DELEGATOR);
        bonding.rebondFromUnbonded(orch, 0);
        nextRound();
        assertLe(bonding.pendingStake(DELEGATOR), 10 * TOKENS, "stake");
    }

    function test_Bug06_ClaimingOftenOrOnceGivesTheSame() public {
        bond(DELEGATOR, 10 * TOKENS, orch);
        bond(address(0xD2), 10 * TOKENS, orch);
        fund(10 ether, 0);
        for (uint64 i = 1; i <= 5; ++i) {
            nextRound();
            redeem(winner(orch, i));
            vm.prank(orch);
            bonding.reward();
            vm.prank(DELEGATOR);
            bonding.claimEarnings();
        }
        assertLe(bonding.pendingFees(DELEGATOR), bonding.pendingFees(address(0xD2)), "fees");
        assertLe(bonding.pendingFees(address(0xD2)), bonding.pendingFees(DELEGATOR) + 10, "fees by rounding");
        assertEq(bonding.pendingStake(DELEGATOR), bonding.pendingStake(address(0xD2)), "stake");
    }

    function testFuzz_Bug07_NoStakeOrFeeBlocksARedemption(uint256 stake, uint256 fee) public {
        stake = bound(stake, 1, 1e6 * TOKENS);
        fee = bound(fee, 1, 900 ether);
        address small = orchestrator(0xB0B2, stake);
        fund(fee, 0);
        vm.prank(address(broker));
        bonding.updateTranscoderWithFees(small, fee);
        nextRound();
        uint256 claim = bonding.pendingFees(small);
        assertLe(claim, fee, "claim");
        assertLe(fee - fee / 2, claim, "commission");
    }

    function test_Bug09_NobodyBondsForAnother() public {
        bond(DELEGATOR, 10 * TOKENS, orch);
        bond(address(0xBAD), 1, orch);
        assertEq(bonding.getDelegator(DELEGATOR).delegateAddress, orch, "delegate");
        assertEq(bonding.pendingStake(DELEGATOR), 10 * TOKENS, "stake");
    }

    function test_Bug10_AClaimBeforeTheRewardDoesNotLoseIt() public {
        bond(DELEGATOR, 100 * TOKENS, orch);
        bond(address(0xD2), 100 * TOKENS, orch);
        nextRound();
        vm.prank(DELEGATOR);
        bonding.claimEarnings();
        vm.prank(orch);
        bonding.reward();
        assertTrue(bonding.pendingStake(DELEGATOR) > 100 * TOKENS, "rewarded");
        assertEq(bonding.pendingStake(DELEGATOR), bonding.pendingStake(address(0xD2)), "same reward");
    }

    function test_Bug11_RewardAfterEvictionMultipliesNothing() public {
        _fillSet();
        address last = address(0xB0B2);
        candidate(0xB0B9, 500 * TOKENS);
        assertTrue(!bonding.getTranscoder(last).candidate, "evicted");
        vm.prank(last);
        bonding.reward();
        uint256 reward = bonding.pendingStake(last) - 10 * TOKENS;
        uint256 mintable = token.totalSupply() * 251 / 1e6;
        assertLe(reward, mintable * 10 / 100, "reward");
        nextRound();
        vm.prank(address(broker));
        bonding.updateTranscoderWithFees(last, FACE);
        assertLe(bonding.pendingFees(last), FACE, "fees");
    }

    function test_Bug13_EvictedAndBackInOneRoundStaysActive() public {
        _fillSet();
        address last = address(0xB0B2);
        candidate(0xB0B9, 11 * TOKENS);
        assertTrue(!bonding.getTranscoder(last).candidate, "evicted");
        bond(address(0xD2), 5 * TOKENS, last);
        assertTrue(bonding.isActiveTranscoder(last), "still active");
        vm.prank(last);
        bonding.reward();
        nextRound();
        assertTrue(bonding.isActiveTranscoder(last), "active in the next round");
    }

    function test_Bug14_RewardsOfARoundStayWithinWhatIsMintable() public {
        _fillSet();
        uint256 supply = token.totalSupply();
        for (uint160 i; i < 3; ++i) {
            vm.prank(address(0xB0B2 + i));
            bonding.reward();
        }
        vm.prank(orch);
        bonding.reward();
        assertLe(token.totalSupply() - supply, supply * 251 / 1e6, "minted");
    }

    function test_Bug15_RevertWhen_AnybodyButTheBrokerBooksFees() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(this)));
        bonding.updateTranscoderWithFees(orch, 1);
    }

    function test_Bug16_RevertWhen_BondingToNobody() public {
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NotOrchestrator.selector, address(0)));
        vm.prank(DELEGATOR);
        bonding.bond(TOKENS, address(0));
    }

    function test_Bug16_NeverActiveIsNotActiveInRoundZero() public view {
        (uint256 from, uint256 until) = bonding.activeRounds(DELEGATOR);
        assertEq(from, 0, "from");
        assertEq(until, 0, "until");
        assertTrue(!bonding.isActiveTranscoder(DELEGATOR), "active");
    }

    function testFuzz_Bug17_TheSetStaysSortedWhateverTheHint(uint256 seed) public {
        bonding.setNumActiveTranscoders(12);
        for (uint160 i; i < 11; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            address hint = address(uint160(0xB0B0 + seed % 14));
            address account = address(uint160(0xB0B1 + i));
            uint256 stake = 1 + (seed >> 32) % (200 * TOKENS);
            token.transfer(account, stake);
            vm.prank(account);
            token.approve(address(bonding), stake);
            vm.prank(account);
            bonding.bondWithHint(stake, account, hint, hint);
        }
        _checkSet();
    }

    function test_LowerOfEqualStakesDoesNotEvict() public {
        _fillSet();
        candidate(0xB0B9, 10 * TOKENS);
        assertTrue(bonding.getTranscoder(address(0xB0B2)).candidate, "stays");
        assertTrue(!bonding.getTranscoder(address(0xB0B9)).candidate, "waits");
    }

    function test_MovesTheWholeBondToAnotherOrchestrator() public {
        address second = orchestrator(0xB0B2, 50 * TOKENS);
        bond(DELEGATOR, 10 * TOKENS, orch);
        nextRound();
        vm.prank(DELEGATOR);
        bonding.bond(0, second);
        assertEq(bonding.transcoderTotalStake(orch), 100 * TOKENS, "first");
        assertEq(bonding.transcoderTotalStake(second), 60 * TOKENS, "second");
        assertEq(bonding.pendingStake(DELEGATOR), 10 * TOKENS, "stake");
        _checkSet();
    }

    function test_BondsToAPoolThatHasEarnedLessThanTheOneItLeft() public {
        address second = orchestrator(0xB0B2, 50 * TOKENS);
        bond(DELEGATOR, 10 * TOKENS, orch);
        nextRound();
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        vm.prank(DELEGATOR);
        bonding.bond(0, second);
        uint256 fees = bonding.pendingFees(DELEGATOR);
        nextRound();
        vm.prank(DELEGATOR);
        bonding.claimEarnings();
        assertTrue(fees > 0, "earned before");
        assertEq(bonding.pendingFees(DELEGATOR), fees, "kept");
    }

    function test_OldTermsDivideWhatWasEarnedUnderThem() public {
        bond(DELEGATOR, 100 * TOKENS, orch);
        nextRound();
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        vm.prank(orch);
        bonding.transcoder(100_000, 0);
        assertEq(bonding.pendingFees(DELEGATOR), FACE / 4, "fees");
    }

    function test_RevertWhen_TermsChangeInTheLockPeriod() public {
        rounds.setRoundLock(1_000_000);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.RoundLocked.selector, rounds.currentRound()));
        vm.prank(orch);
        bonding.transcoder(0, 0);
    }

    function test_RevertWhen_StakeIsWithdrawnTwice() public {
        vm.prank(orch);
        bonding.unbond(TOKENS);
        for (uint256 i; i < 7; ++i) {
            nextRound();
        }
        vm.prank(orch);
        bonding.withdrawStake(0);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NoSuchLock.selector, orch, 0));
        vm.prank(orch);
        bonding.withdrawStake(0);
    }

    function test_RevertWhen_DelegatingToAnAccountWithoutStakeOfItsOwn() public {
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NotOrchestrator.selector, address(0x99)));
        vm.prank(DELEGATOR);
        bonding.bond(0, address(0x99));
    }

    function _fillSet() private {
        candidate(0xB0B2, 10 * TOKENS);
        candidate(0xB0B3, 20 * TOKENS);
        candidate(0xB0B4, 30 * TOKENS);
        nextRound();
    }

    function _checkSet() private view {
        address[] memory members = bonding.getTranscoderPool(address(0), 100);
        assertEq(members.length, bonding.getTranscoderPoolSize(), "size");
        uint256 total;
        uint256 above = type(uint256).max;
        for (uint256 i; i < members.length; ++i) {
            uint256 stake = bonding.transcoderTotalStake(members[i]);
            assertLe(stake, above, "order");
            above = stake;
            total += stake;
        }
        assertEq(total, bonding.nextRoundTotalActiveStake(), "total");
    }
}
