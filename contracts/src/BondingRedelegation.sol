// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingExtension} from "./interfaces/IBondingManager.sol";
import {Redelegation} from "./libraries/Redelegation.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingState} from "./BondingState.sol";

/// @title What a moved bond owes to the orchestrator that it left
abstract contract BondingRedelegation is IBondingExtension, BondingState {
    using Redelegation for StakePool.Lock;
    using StakePool for StakePool.Pool;

    /// @inheritdoc IBondingExtension
    function settleRedelegation(address account) external whenNotPaused {
        if (_accounts[account].redelegated) _settleRedelegation(account);
    }

    /// @inheritdoc IBondingExtension
    function getRedelegation(address staker) external view returns (address from, uint256 amount, uint256 until) {
        StakePool.Account storage account = _accounts[staker];
        if (!account.redelegated) return (address(0), 0, 0);
        (StakePool.Lock memory moved,) = _moved(account, 0);
        return (_orchestrators[moved.delegateId], moved.amount, moved.withdrawRound);
    }

    function _settleRedelegation(address staker) internal override {
        StakePool.Account storage account = _accounts[staker];
        // What is claimed here must not come back here.
        account.redelegated = false;
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(account, staker);
        (StakePool.Lock memory moved, uint256 loss) = _moved(account, StakePool.stakeOf(t, s));
        if (_round < moved.withdrawRound) (account.redelegated, account.moved) = (true, moved);
        else delete account.moved;
        if (loss == 0) return;
        uint32 id = account.delegateId;
        _pools[id].take(account, t, s, loss, _round);
        emit RedelegationSlashed(staker, _orchestrators[moved.delegateId], loss);
        _demote(id);
        minter.burnTokens(loss);
    }

    /// @dev An account and its pool as they would be settled now.
    function _preview(StakePool.Account storage account)
        internal
        view
        returns (StakePool.Touched memory t, StakePool.Settled memory s)
    {
        StakePool.Pool storage pool = _pools[account.delegateId];
        t = pool.preview(_round);
        s = pool.settle(t, account, _round);
    }

    /// @dev The record of an account with `stake`, brought to now, and what of the stake is lost for it.
    function _moved(StakePool.Account storage account, uint256 stake)
        internal
        view
        returns (StakePool.Lock memory moved, uint256 loss)
    {
        moved = account.moved;
        return moved.settle(_pools[moved.delegateId], stake);
    }
}
