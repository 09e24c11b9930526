// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {IFramemillToken} from "../src/interfaces/IFramemillToken.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {MarketTest} from "./Market.sol";

/// @dev Commissions, the treasury's share, and bonds that change hands.
contract TermsTest is MarketTest {
    address internal constant DELEGATOR = address(0xD1);
    address internal constant OTHER = address(0xD2);
    address internal constant TREASURY = address(0x7E);
    address internal orch;

    function setUp() public override {
        super.setUp();
        orch = candidate(0xB0B, 100 * TOKENS);
        bond(DELEGATOR, 100 * TOKENS, orch);
        nextRound();
    }

    function test_ARaiseOfTheRewardCutWaitsUntilDelegatorsCanHaveLeft() public {
        setTerms(900_000, 500_000);
        assertEq(bonding.getTranscoder(orch).rewardCut, 100_000, "now");
        vm.prank(DELEGATOR);
        bonding.unbond(10 * TOKENS);
        uint256 withdrawRound = bonding.getDelegatorUnbondingLock(DELEGATOR, 0).withdrawRound;
        uint256 termsRound = bonding.getTranscoder(orch).termsRound;
        assertTrue(termsRound > withdrawRound, "later than who leaves now");
        while (rounds.currentRound() < termsRound - 1) {
            nextRound();
        }
        assertEq(bonding.getTranscoder(orch).rewardCut, 100_000, "still");
        uint256 own = bonding.pendingStake(orch);
        nextRound();
        assertEq(bonding.getTranscoder(orch).rewardCut, 900_000, "then");
        uint256 supply = token.totalSupply();
        vm.prank(orch);
        bonding.reward();
        uint256 made = token.totalSupply() - supply;
        assertTrue(bonding.pendingStake(orch) - own >= made * 9 / 10, "and it is taken");
    }

    function test_ACutOfTheFeeShareWaitsAndWhatComesBeforeIsSharedAsBefore() public {
        setTerms(100_000, 0);
        fund(1 ether, 0);
        for (uint256 i; i < 7; ++i) {
            nextRound();
        }
        redeem(winner(orch, 1));
        assertEq(bonding.pendingFees(DELEGATOR), FACE / 4, "before");
        nextRound();
        redeem(winner(orch, 2));
        assertEq(bonding.pendingFees(DELEGATOR), FACE / 4, "after");
        assertEq(bonding.pendingFees(orch), 2 * FACE - FACE / 4, "orchestrator");
    }

    function test_WhatIsBetterForDelegatorsHoldsAtOnce() public {
        setTerms(0, 1_000_000);
        assertEq(bonding.getTranscoder(orch).rewardCut, 0, "cut");
        assertEq(bonding.getTranscoder(orch).feeShare, 1_000_000, "share");
        assertEq(bonding.getTranscoder(orch).termsRound, 0, "nothing waits");
    }

    function test_ALoweredCutCannotBeRaisedAgainAtOnce() public {
        setTerms(0, 500_000);
        setTerms(100_000, 500_000);
        assertEq(bonding.getTranscoder(orch).rewardCut, 0, "cut");
    }

    function test_NewTermsReplaceThoseThatWait() public {
        setTerms(900_000, 500_000);
        nextRound();
        setTerms(50_000, 500_000);
        for (uint256 i; i < 10; ++i) {
            nextRound();
        }
        assertEq(bonding.getTranscoder(orch).rewardCut, 50_000, "cut");
    }

    function test_OldTermsDivideWhatWasEarnedUnderThem() public {
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        setTerms(100_000, 1_000_000);
        assertEq(bonding.pendingFees(DELEGATOR), FACE / 4, "fees");
    }

    function test_TheTreasuryGetsItsShareOfEveryReward() public {
        treasuryShare(100_000, type(uint96).max);
        nextRound();
        uint256 supply = token.totalSupply();
        uint256 stake = bonding.transcoderTotalStake(orch);
        vm.prank(orch);
        bonding.reward();
        uint256 made = token.totalSupply() - supply;
        assertEq(minter.treasuryOwed(), made / 10, "owed");
        assertEq(bonding.transcoderTotalStake(orch) - stake, made - made / 10, "stakers");
        minter.payTreasury();
        assertEq(token.balanceOf(TREASURY), made / 10, "paid");
        assertEq(minter.treasuryOwed(), 0, "settled");
    }

    function test_AboveItsCeilingTheTreasuryTakesNothing() public {
        treasuryShare(100_000, 1);
        nextRound();
        vm.prank(orch);
        bonding.reward();
        assertTrue(minter.treasuryOwed() > 0, "below");
        uint256 owed = minter.treasuryOwed();
        nextRound();
        vm.prank(orch);
        bonding.reward();
        assertEq(minter.treasuryOwed(), owed, "above");
    }

    function test_RevertWhen_TheTreasuryShareIsAboveItsBound() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.OutOfBounds.selector, 250_001, 0, 250_000));
        minter.setTreasuryRewardCutRate(250_001);
    }

    function test_RevertWhen_AStrangerSetsTheTreasury() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(0xBAD)));
        vm.prank(address(0xBAD));
        minter.setTreasury(address(0xBAD));
    }

    function test_RevertWhen_MoreTokensAreMadeThanMayExist() public {
        token.setMinter(address(this));
        uint256 left = token.MAX_SUPPLY() - token.totalSupply();
        vm.expectRevert(abi.encodeWithSelector(IFramemillToken.SupplyExceeded.selector, left + 1, left));
        token.mint(address(this), left + 1);
    }

    function test_Bug08_ATransferredBondEarnsOnAndSumsStayEqual() public {
        bond(OTHER, 50 * TOKENS, orch);
        nextRound();
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        uint256 total = bonding.transcoderTotalStake(orch);
        uint256 fees = bonding.pendingFees(DELEGATOR);
        uint256 otherFees = bonding.pendingFees(OTHER);
        vm.prank(DELEGATOR);
        bonding.transferBond(OTHER, 40 * TOKENS);
        assertEq(bonding.pendingStake(DELEGATOR), 60 * TOKENS, "giver");
        assertEq(bonding.pendingStake(OTHER), 90 * TOKENS, "receiver");
        assertEq(bonding.pendingFees(DELEGATOR), fees, "fees of the giver");
        assertEq(bonding.pendingFees(OTHER), otherFees, "fees of the receiver");
        assertEq(bonding.transcoderTotalStake(orch), total, "pool");
        redeem(winner(orch, 2));
        assertEq(bonding.pendingFees(OTHER) - otherFees, FACE / 2 * 90 / 250, "earns at once");
    }

    function test_Bug08_WaitingStakeWaitsOnWhenTransferred() public {
        bond(OTHER, TOKENS, orch);
        nextRound();
        bond(DELEGATOR, 30 * TOKENS, orch);
        vm.prank(DELEGATOR);
        bonding.transferBond(OTHER, 30 * TOKENS);
        fund(1 ether, 0);
        uint256 fees = bonding.pendingFees(OTHER);
        redeem(winner(orch, 1));
        assertEq(bonding.pendingFees(OTHER) - fees, FACE / 2 / 201, "earns with its old stake alone");
        nextRound();
        assertEq(bonding.pendingStake(OTHER), 31 * TOKENS, "stake");
    }

    function test_Bug08_AWholeBondTransferredLeavesItsOwnerFree() public {
        bond(OTHER, TOKENS, orch);
        vm.prank(DELEGATOR);
        bonding.transferBond(OTHER, 100 * TOKENS);
        assertEq(bonding.getDelegator(DELEGATOR).delegateAddress, address(0), "free");
        nextRound();
        assertEq(bonding.pendingStake(OTHER), 101 * TOKENS, "receiver");
        vm.prank(OTHER);
        bonding.unbond(101 * TOKENS);
        assertEq(bonding.transcoderTotalStake(orch), 100 * TOKENS, "pool");
    }

    function test_Bug08_RevertWhen_MoreIsTransferredThanThereIs() public {
        bond(OTHER, TOKENS, orch);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.BadAmount.selector, 101 * TOKENS, 100 * TOKENS));
        vm.prank(DELEGATOR);
        bonding.transferBond(OTHER, 101 * TOKENS);
    }

    function test_Bug09_RevertWhen_ABondIsForcedOnWhoDidNotBond() public {
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NotOfTheSamePool.selector, OTHER, orch));
        vm.prank(DELEGATOR);
        bonding.transferBond(OTHER, 1);
    }

    function test_Bug09_RevertWhen_ABondIsTransferredToAnotherPool() public {
        address second = orchestrator(0xB0B2, 50 * TOKENS);
        bond(OTHER, TOKENS, second);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.NotOfTheSamePool.selector, OTHER, orch));
        vm.prank(DELEGATOR);
        bonding.transferBond(OTHER, 1);
    }

    function test_Bug01_RevertWhen_AnOrchestratorGivesItsOwnStakeAway() public {
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.OrchestratorCannotDelegate.selector, orch));
        vm.prank(orch);
        bonding.transferBond(DELEGATOR, 1);
    }

    function test_Bug10_ATransferBeforeTheRewardDoesNotLoseIt() public {
        bond(OTHER, 100 * TOKENS, orch);
        nextRound();
        vm.prank(OTHER);
        bonding.transferBond(DELEGATOR, 1);
        vm.prank(orch);
        bonding.reward();
        assertTrue(bonding.pendingStake(DELEGATOR) > 100 * TOKENS + 1, "rewarded");
    }

    function setTerms(uint256 cut, uint256 share) private {
        vm.prank(orch);
        bonding.transcoder(cut, share);
    }

    function treasuryShare(uint256 ppm, uint256 ceiling) private {
        minter.setTreasury(TREASURY);
        minter.setTreasuryRewardCutRate(ppm);
        minter.setTreasuryBalanceCeiling(ceiling);
    }
}
