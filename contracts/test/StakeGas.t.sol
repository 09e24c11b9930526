// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StakeHistory} from "../src/libraries/StakeHistory.sol";
import {MarketTest} from "./Market.sol";

/// @dev What whole transactions of stakers cost, base fee and calldata included. A cold case pays for what the protocol
/// has to note once: the first change of a pool in a round, new shares, a history that is not full yet.
contract StakeGasTest is MarketTest {
    address internal constant COURT = address(0xC0);
    address internal constant STAKER = address(0xD1);
    address internal constant OTHER = address(0xD2);
    address internal orch;

    function setUp() public override {
        super.setUp();
        bonding.setCourt(COURT);
        candidate(0xB0B2, 50 * TOKENS);
        orch = candidate(0xB0B, 100 * TOKENS);
        candidate(0xB0B3, 25 * TOKENS);
        fund(10 ether, 1 ether);
        token.transfer(STAKER, 100 * TOKENS);
        vm.prank(STAKER);
        token.approve(address(bonding), type(uint256).max);
        bond(OTHER, TOKENS, orch);
        nextRound();
    }

    function test_Bond() public {
        _bond(10 * TOKENS);
        vm.snapshotGasLastCall("bond, new delegator, pool has waiting stake (cold)");
        _settleIn();
        _bond(10 * TOKENS);
        vm.snapshotGasLastCall("bond, more");
        _bond(10 * TOKENS);
        vm.snapshotGasLastCall("bond, more in the same round");
    }

    function test_BondNewDelegator() public {
        _settleIn();
        _bond(10 * TOKENS);
        vm.snapshotGasLastCall("bond, new delegator");
    }

    function test_BondToItself() public {
        token.transfer(address(0xB0B7), TOKENS);
        vm.prank(address(0xB0B7));
        token.approve(address(bonding), TOKENS);
        vm.prank(address(0xB0B7));
        bonding.bond(TOKENS, address(0xB0B7));
        vm.snapshotGasLastCall("bond, new orchestrator (cold)");
        vm.prank(address(0xB0B7));
        bonding.transcoder(100_000, 500_000);
        vm.snapshotGasLastCall("set first terms, joins the set (cold)");
        vm.prank(address(0xB0B7));
        bonding.transcoder(50_000, 600_000);
        vm.snapshotGasLastCall("set terms");
    }

    function test_Move() public {
        _bonded();
        vm.prank(STAKER);
        bonding.bond(0, address(0xB0B2));
        vm.snapshotGasLastCall("move the bond to another orchestrator (cold)");
    }

    function test_Unbond() public {
        _bonded();
        _unbond(TOKENS);
        vm.snapshotGasLastCall("unbond, pool not rewarded yet (cold)");
        _settleIn();
        _unbond(TOKENS);
        vm.snapshotGasLastCall("unbond");
        vm.prank(STAKER);
        bonding.rebond(0);
        vm.snapshotGasLastCall("rebond");
        nextRound();
        vm.prank(STAKER);
        bonding.rebond(1);
        vm.snapshotGasLastCall("rebond, pool has waiting stake (cold)");
    }

    function test_Withdraw() public {
        _bonded();
        _unbond(20 * TOKENS);
        for (uint256 i; i < 7; ++i) {
            nextRound();
        }
        vm.prank(STAKER);
        bonding.withdrawStake(0);
        vm.snapshotGasLastCall("withdraw stake");
    }

    function test_TransferBond() public {
        _bonded();
        _settleIn();
        vm.prank(STAKER);
        bonding.transferBond(OTHER, TOKENS);
        vm.snapshotGasLastCall("transfer bond (cold)");
    }

    function test_Reward() public {
        _reward();
        vm.snapshotGasLastCall("reward, first ever (cold)");
        _bond(TOKENS);
        nextRound();
        _reward();
        vm.snapshotGasLastCall("reward, pool has waiting stake (cold)");
        nextRound();
        _reward();
        vm.snapshotGasLastCall("reward, history not full (cold)");
        for (uint256 i; i < StakeHistory.ROUNDS; ++i) {
            _settleIn();
        }
        nextRound();
        vm.prank(address(0xB0B2));
        bonding.reward();
        _reward();
        vm.snapshotGasLastCall("reward");
        nextRound();
        _reward();
        vm.snapshotGasLastCall("reward, first of the round");
        minter.setTreasury(address(0x7E));
        minter.setTreasuryRewardCutRate(100_000);
        minter.setTreasuryBalanceCeiling(type(uint96).max);
        nextRound();
        _reward();
        vm.snapshotGasLastCall("reward, first of the round, with a treasury");
    }

    function test_Earnings() public {
        _bond(10 * TOKENS);
        nextRound();
        redeem(winner(orch, 1));
        _settleIn();
        _claim();
        vm.snapshotGasLastCall("claim earnings, first (cold)");
        redeem(winner(orch, 2));
        _settleIn();
        _claim();
        vm.snapshotGasLastCall("claim earnings");
        vm.prank(STAKER);
        bonding.withdrawFees(payable(STAKER), 1);
        vm.snapshotGasLastCall("withdraw fees");
        redeem(winner(orch, 3));
        vm.prank(STAKER);
        bonding.withdrawFees(payable(STAKER), 1);
        vm.snapshotGasLastCall("withdraw fees, with new earnings");
    }

    function test_Court() public {
        _bonded();
        _settleIn();
        vm.prank(COURT);
        bonding.slashTranscoder(orch, OTHER, 100_000, 100_000);
        vm.snapshotGasLastCall("slash, first of an orchestrator (cold)");
        nextRound();
        vm.prank(COURT);
        bonding.slashTranscoder(orch, OTHER, 100_000, 100_000);
        vm.snapshotGasLastCall("slash");
        vm.prank(COURT);
        bonding.jailTranscoder(orch, 10);
        vm.snapshotGasLastCall("jail");
    }

    function test_Round() public {
        nextRound();
        vm.snapshotGasLastCall("initialize round, history not full (cold)");
        for (uint256 i; i < StakeHistory.ROUNDS; ++i) {
            nextRound();
        }
        vm.snapshotGasLastCall("initialize round");
    }

    /// @dev A round in which the orchestrator was rewarded: the usual state of a pool.
    function _settleIn() private {
        nextRound();
        _reward();
    }

    function _bonded() private {
        _bond(20 * TOKENS);
        _settleIn();
        _claim();
        nextRound();
    }

    function _bond(uint256 amount) private {
        vm.prank(STAKER);
        bonding.bond(amount, orch);
    }

    function _unbond(uint256 amount) private {
        vm.prank(STAKER);
        bonding.unbond(amount);
    }

    function _reward() private {
        vm.prank(orch);
        bonding.reward();
    }

    function _claim() private {
        vm.prank(STAKER);
        bonding.claimEarnings();
    }
}
