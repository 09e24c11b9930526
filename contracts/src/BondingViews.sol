// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IBondingExtension} from "./interfaces/IBondingManager.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakeHistory} from "./libraries/StakeHistory.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingState} from "./BondingState.sol";

/// @title What the bonding manager tells
abstract contract BondingViews is IBondingExtension, BondingState {
    using SortedSet for SortedSet.Set;
    using StakeHistory for StakePool.Account;
    using StakeHistory for StakePool.Pool;
    using StakePool for StakePool.Pool;

    /// @inheritdoc IBondingExtension
    function isActiveTranscoder(address account) external view returns (bool) {
        return _isActive(_poolOf(account));
    }

    /// @inheritdoc IBondingExtension
    function pendingStake(address account) external view returns (uint256) {
        return getDelegator(account).bondedAmount;
    }

    /// @inheritdoc IBondingExtension
    function pendingFees(address account) external view returns (uint256) {
        return getDelegator(account).fees;
    }

    /// @inheritdoc IBondingExtension
    function transcoderTotalStake(address account) external view returns (uint256) {
        return _totalStake(_poolOf(account));
    }

    /// @inheritdoc IBondingExtension
    function getDelegatorUnbondingLock(address account, uint256 lockId) external view returns (UnbondingLock memory) {
        StakePool.Lock memory lock = _locks[account][lockId];
        uint256 amount = _pools[lock.delegateId].lockValue(lock);
        return UnbondingLock(_orchestrators[lock.delegateId], uint96(amount), lock.withdrawRound);
    }

    /// @inheritdoc IBondingExtension
    function getTranscoder(address account) external view returns (Transcoder memory t) {
        StakePool.Pool storage pool = _poolOf(account);
        t.totalStake = _totalStake(pool);
        t.earningStake = pool.preview(_round).stake;
        (t.rewardCut, t.feeShare) = (pool.rewardCut, pool.feeShare);
        t.lastRewardRound = pool.rewardRound;
        (t.activationRound, t.deactivationRound) = (pool.activeFrom, pool.activeUntil);
        t.active = _isActive(pool);
        t.candidate = _set.contains(_accounts[account].ownId);
        t.jailedUntil = pool.jailUntil;
    }

    /// @inheritdoc IBondingExtension
    function getTranscoderPool(address start, uint256 limit) external view returns (address[] memory members) {
        members = new address[](Math.min(limit, _set.size));
        uint256 id = start == address(0) ? _set.head : _accounts[start].ownId;
        uint256 count;
        for (; count < members.length && id != 0; ++count) {
            members[count] = _orchestrators[id];
            id = _set.nodes[id].next;
        }
        assembly ("memory-safe") {
            mstore(members, count)
        }
    }

    /// @inheritdoc IBondingExtension
    function getTranscoderPoolSize() external view returns (uint256) {
        return _set.size;
    }

    /// @inheritdoc IBondingExtension
    function getTranscoderPoolMaxSize() external view returns (uint256) {
        return _maxSetSize;
    }

    /// @inheritdoc IBondingExtension
    function currentRoundTotalActiveStake() external view returns (uint256) {
        return _currentTotal;
    }

    /// @inheritdoc IBondingExtension
    function nextRoundTotalActiveStake() external view returns (uint256) {
        return _nextTotal;
    }

    /// @inheritdoc IBondingExtension
    function unbondingPeriod() external view returns (uint256) {
        return _unbondingPeriod;
    }

    /// @inheritdoc IBondingExtension
    function getDelegator(address staker) public view returns (Delegator memory d) {
        StakePool.Account storage account = _accounts[staker];
        StakePool.Pool storage pool = _pools[account.delegateId];
        StakePool.Touched memory t = pool.preview(_round);
        StakePool.Settled memory s = pool.settle(t, account, _round);
        d.bondedAmount = StakePool.stakeOf(t, s);
        d.fees = s.fees;
        if (account.ownId != 0) d.fees += _pools[account.ownId].preview(_round).commission;
        d.delegateAddress = _orchestrators[account.delegateId];
        d.startRound = account.waitingRound + 1;
        d.nextUnbondingLockId = account.nextLockId;
    }

    function _poolOf(address account) internal view returns (StakePool.Pool storage) {
        return _pools[_accounts[account].ownId];
    }
}
