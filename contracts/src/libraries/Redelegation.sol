// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {StakePool} from "./StakePool.sol";
import {Timeline} from "./Timeline.sol";

/// @title Stake that was moved to another pool and answers for the one that it left
/// @dev Its record is that of a lock: what was taken out, of which pool, at which factor and epoch, and until when it
/// answers. A pool notes where each round's slashes have left its factor, so that a slash costs the same whatever was
/// moved, and a record that is looked at late is judged by the slashes of its time alone.
library Redelegation {
    using Timeline for mapping(uint256 index => Timeline.Entry left);
    using StakePool for StakePool.Pool;

    uint256 private constant EPOCH_SHIFT = 64;

    /// @dev Keeps what the slashes up to now have left of a pool's unit.
    function note(StakePool.Pool storage pool, uint256 round) internal {
        uint256 left = (uint256(pool.epoch) << EPOCH_SHIFT) | pool.factor;
        pool.slashCount = uint24(pool.slashes.note(pool.slashCount, round, left));
    }

    /// @dev What is left of a record now, and what of `stake`, its owner's, is lost for it.
    /// @param from The pool that the record names.
    function settle(StakePool.Lock memory moved, StakePool.Pool storage from, uint256 stake)
        internal
        view
        returns (StakePool.Lock memory, uint256 loss)
    {
        uint256 state = from.slashes.before(from.slashCount, moved.withdrawRound);
        // Neither a factor nor an epoch: nothing was noted.
        if (state == 0) return (moved, 0);
        (uint64 factor, uint16 epoch) = (uint64(state), uint16(state >> EPOCH_SHIFT));
        uint256 left = moved.epoch == epoch ? moved.amount * StakePool.full(factor) / StakePool.full(moved.mark) : 0;
        loss = Math.min(moved.amount - left, stake);
        (moved.amount, moved.mark, moved.epoch) = (uint96(left), factor, epoch);
        return (moved, loss);
    }
}
