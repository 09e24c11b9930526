// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {MarketTest} from "./Market.sol";

/// @dev What whole transactions cost, base fee and calldata included: run with `--isolate`, which makes a transaction
/// of every call. The figures land in snapshots/.
contract GasTest is MarketTest {
    address internal orch;

    function setUp() public override {
        super.setUp();
        candidate(0xB0B2, 50 * TOKENS);
        orch = orchestrator(0xB0B, 100 * TOKENS);
        fund(10 ether, 1 ether);
    }

    function test_RedeemOne() public {
        redeem(winner(orch, 1));
        vm.snapshotGasLastCall("redeem one, first ever of an orchestrator");
        redeem(winner(orch, 2));
        vm.snapshotGasLastCall("redeem one, later");
        nextRound();
        redeem(winner(orch, 3));
        vm.snapshotGasLastCall("redeem one, first of a round");
        ITicketBroker.Ticket memory other = winner(orch, 1);
        other.lane = 1;
        redeem(other);
        vm.snapshotGasLastCall("redeem one, new lane");
    }

    function test_RedeemBatches() public {
        redeem(winner(orch, 1));
        _redeemBatch(2, 10);
        vm.snapshotGasLastCall("redeem batch of 10, whole");
        _redeemBatch(12, 50);
        vm.snapshotGasLastCall("redeem batch of 50, whole");
    }

    function test_Stake() public {
        address staker = address(0xD1);
        token.transfer(staker, 30 * TOKENS);
        vm.prank(staker);
        token.approve(address(bonding), type(uint256).max);
        vm.prank(staker);
        bonding.bond(10 * TOKENS, orch);
        vm.snapshotGasLastCall("bond, new delegator");
        nextRound();
        vm.prank(staker);
        bonding.bond(10 * TOKENS, orch);
        vm.snapshotGasLastCall("bond, more in a later round");
        nextRound();
        vm.prank(staker);
        bonding.unbond(TOKENS);
        vm.snapshotGasLastCall("unbond");
        nextRound();
        vm.prank(staker);
        bonding.rebond(0);
        vm.snapshotGasLastCall("rebond");
    }

    function test_Earnings() public {
        bond(address(0xD1), 10 * TOKENS, orch);
        nextRound();
        vm.prank(orch);
        bonding.reward();
        vm.snapshotGasLastCall("reward, pool has waiting stake");
        nextRound();
        vm.prank(orch);
        bonding.reward();
        vm.snapshotGasLastCall("reward");
        redeem(winner(orch, 1));
        nextRound();
        vm.prank(address(0xD1));
        bonding.claimEarnings();
        vm.snapshotGasLastCall("claim earnings, first");
        redeem(winner(orch, 2));
        nextRound();
        vm.prank(address(0xD1));
        bonding.claimEarnings();
        vm.snapshotGasLastCall("claim earnings, later");
        vm.prank(address(0xD1));
        bonding.withdrawFees(payable(address(0xD1)), 1);
        vm.snapshotGasLastCall("withdraw fees");
    }

    function test_Round() public {
        for (uint256 i; i < 8; ++i) {
            nextRound();
        }
        vm.roll(rounds.currentRoundStartBlock() + ROUND);
        rounds.initializeRound();
        vm.snapshotGasLastCall("initialize round");
    }

    /// @dev As redeemers send it: hashes that the broker knows are left out.
    function _redeemBatch(uint64 first, uint256 count) private {
        (ITicketBroker.Ticket[] memory tickets, bytes[] memory signatures, uint256[] memory rands) =
            batch(orch, first, count);
        for (uint256 i; i < count; ++i) {
            (tickets[i].recipientRandHash, tickets[i].creationRoundBlockHash) = (0, 0);
        }
        vm.prank(orch);
        broker.redeemWinningTickets(tickets, signatures, rands);
    }
}
