// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IBondingExtension} from "./interfaces/IBondingManager.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakeHistory} from "./libraries/StakeHistory.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingRedelegation} from "./BondingRedelegation.sol";

/// @title What the bonding manager tells
abstract contract BondingViews is BondingRedelegation {
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
    function slashableStake(address account) external view returns (uint256) {
        StakePool.Pool storage pool = _poolOf(account);
        return _totalStake(pool) + pool.unbonding;
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
        (t.termsRound, t.nextRewardCut, t.nextFeeShare) = (pool.termsRound, pool.nextRewardCut, pool.nextFeeShare);
        if (t.termsRound != 0 && t.termsRound <= _round) {
            (t.rewardCut, t.feeShare, t.termsRound) = (t.nextRewardCut, t.nextFeeShare, 0);
        }
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
        (StakePool.Touched memory t, StakePool.Settled memory s) = _preview(account);
        d.bondedAmount = StakePool.stakeOf(t, s);
        if (account.redelegated) {
            (, uint256 loss) = _moved(account, d.bondedAmount);
            d.bondedAmount = StakePool.stakeWithout(t, s, loss);
        }
        d.fees = s.fees;
        if (account.ownId != 0) d.fees += _pools[account.ownId].preview(_round).commission;
        d.delegateAddress = _orchestrators[account.delegateId];
        d.startRound = account.waitingRound + 1;
        d.nextUnbondingLockId = account.nextLockId;
    }

    /// @inheritdoc IBondingExtension
    function getBondingStateAt(address staker, uint256 round)
        external
        view
        returns (address delegate, uint256 bonded, uint256 delegated)
    {
        StakeHistory.check(round, _round);
        StakePool.Account storage account = _accounts[staker];
        uint256 id = account.delegateAt(round);
        if (id == 0) return (address(0), 0, 0);
        StakePool.Pool storage pool = _pools[id];
        delegate = _orchestrators[id];
        bonded = account.stakeAt(pool, round);
        if (id == account.ownId) (delegated,,) = pool.poolAt(round);
    }

    /// @inheritdoc IBondingExtension
    function getTotalActiveStakeAt(uint256 round) external view returns (uint256) {
        StakeHistory.check(round, _round);
        // What nobody initialized began as the next round that somebody did.
        while (_totals[round % StakeHistory.ROUNDS].round != round) {
            ++round;
        }
        return _totals[round % StakeHistory.ROUNDS].total;
    }

    function _poolOf(address account) internal view returns (StakePool.Pool storage) {
        return _pools[_accounts[account].ownId];
    }
}
