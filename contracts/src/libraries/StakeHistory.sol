// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StakePool} from "./StakePool.sol";

/// @title What pools and accounts were as earlier rounds began: whose stake votes count
/// @dev The present state stands for itself; what was before is kept by the first change of a round, in a ring of one
/// slot per round. Who changes in every round pays for an overwritten slot, not for a new one; what is older than the
/// ring cannot be asked for. Arriving stake is no change until it becomes shares.
library StakeHistory {
    using StakePool for StakePool.Pool;

    /// @dev Rounds that can be looked back; a vote must be over by then.
    uint256 internal constant ROUNDS = 32;

    /// @dev The round is not initialized yet: what counts in it can still change.
    error FutureLookup(uint256 round, uint256 current);
    /// @dev The round is older than the history.
    error HistoryGone(uint256 round, uint256 oldest);

    /// @dev Keeps a pool as `round` began, before its first change in it.
    function recordPool(StakePool.Pool storage pool, uint256 round) internal {
        if (pool.changeRound >= round) return;
        pool.changeRound = uint32(round);
        pool.history[round % ROUNDS] = StakePool.PoolState(uint24(round), pool.stake, pool.shares, pool.epoch);
    }

    /// @dev Keeps an account as `round` began, before its first change in it.
    function recordAccount(StakePool.Account storage account, uint256 round) internal {
        uint256 from = account.changeRound;
        if (from >= round) return;
        account.changeRound = uint24(round);
        if (account.delegateId == 0) return;
        account.history[round % ROUNDS] =
            StakePool.AccountState(uint24(round), uint24(from), account.delegateId, account.shares, account.epoch);
    }

    function check(uint256 round, uint256 current) internal pure {
        if (round > current) revert FutureLookup(round, current);
        if (round + ROUNDS <= current) revert HistoryGone(round, current + 1 - ROUNDS);
    }

    /// @dev A pool as `round` began.
    function poolAt(StakePool.Pool storage pool, uint256 round)
        internal
        view
        returns (uint256 stake, uint256 shares, uint256 epoch)
    {
        uint256 changed = pool.changeRound;
        for (uint256 r = round; r <= changed; ++r) {
            StakePool.PoolState memory state = pool.history[r % ROUNDS];
            if (state.round == r) return (state.stake, state.shares, state.epoch);
        }
        StakePool.Touched memory t = pool.preview(round);
        return (t.stake, t.shares, t.epoch);
    }

    /// @dev The orchestrator that an account had as `round` began.
    function delegateAt(StakePool.Account storage account, uint256 round) internal view returns (uint256) {
        (bool past, StakePool.AccountState memory state) = _pastState(account, round);
        return past ? state.delegateId : account.delegateId;
    }

    /// @dev The stake that an account of `pool`, its delegate in `round`, had as `round` began.
    function stakeAt(StakePool.Account storage account, StakePool.Pool storage pool, uint256 round)
        internal
        view
        returns (uint256)
    {
        (uint256 stake, uint256 total, uint256 epoch) = poolAt(pool, round);
        (bool past, StakePool.AccountState memory state) = _pastState(account, round);
        if (!past) {
            state.epoch = account.epoch;
            state.shares = account.shares;
            if (account.waiting != 0 && account.waitingRound < round && account.epoch == epoch) {
                StakePool.Touched memory t = pool.preview(round);
                (uint256 converted,) = pool.conversionOf(t, account);
                state.shares = uint120(state.shares + converted);
            }
        }
        return total == 0 || state.epoch != epoch ? 0 : state.shares * stake / total;
    }

    function _pastState(StakePool.Account storage account, uint256 round)
        private
        view
        returns (bool past, StakePool.AccountState memory state)
    {
        uint256 changed = account.changeRound;
        if (round > changed) return (false, state);
        for (uint256 r = round; r <= changed; ++r) {
            StakePool.AccountState memory found = account.history[r % ROUNDS];
            if (found.round != r) continue;
            return (true, round > found.from ? found : state);
        }
        return (true, state);
    }
}
