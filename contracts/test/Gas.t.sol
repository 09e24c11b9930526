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
