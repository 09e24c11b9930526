// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {IMinter} from "./interfaces/IMinter.sol";
import {IRoundsManager} from "./interfaces/IRoundsManager.sol";
import {ITicketBroker} from "./interfaces/ITicketBroker.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title What the bonding manager remembers, and its views
abstract contract BondingState is IBondingManager, Upgradeable {
    using SortedSet for SortedSet.Set;
    using StakePool for StakePool.Pool;

    /// @notice The contracts that this one works with.
    struct Siblings {
        IFramemillToken token;
        IMinter minter;
        IRoundsManager roundsManager;
        ITicketBroker ticketBroker;
    }

    IFramemillToken public immutable token;
    IMinter public immutable minter;
    IRoundsManager public immutable roundsManager;
    ITicketBroker public immutable ticketBroker;

    uint32 internal _round;
    uint32 internal _maxSetSize;
    uint32 internal _unbondingPeriod;
    uint128 internal _currentTotal;
    uint128 internal _nextTotal;
    SortedSet.Set internal _set;
    mapping(address transcoder => StakePool.Pool pool) internal _pools;
    mapping(address staker => StakePool.Account account) internal _accounts;
    mapping(address staker => mapping(uint256 lockId => UnbondingLock lock)) internal _locks;
    uint256[43] internal __gap;

    constructor(address controller_, Siblings memory siblings) Upgradeable(controller_) {
        token = siblings.token;
        minter = siblings.minter;
        roundsManager = siblings.roundsManager;
        ticketBroker = siblings.ticketBroker;
    }

    /// @inheritdoc IBondingManager
    function activeRounds(address account) external view returns (uint256, uint256) {
        StakePool.Pool storage pool = _pools[account];
        return (pool.activeFrom, pool.activeUntil);
    }

    /// @inheritdoc IBondingManager
    function isActiveTranscoder(address account) external view returns (bool) {
        return _isActive(_pools[account]);
    }

    /// @inheritdoc IBondingManager
    function pendingStake(address account) external view returns (uint256) {
        return getDelegator(account).bondedAmount;
    }

    /// @inheritdoc IBondingManager
    function pendingFees(address account) external view returns (uint256) {
        return getDelegator(account).fees;
    }

    /// @inheritdoc IBondingManager
    function transcoderTotalStake(address account) external view returns (uint256) {
        return _totalStake(_pools[account]);
    }

    /// @inheritdoc IBondingManager
    function getDelegatorUnbondingLock(address account, uint256 lockId) external view returns (UnbondingLock memory) {
        return _locks[account][lockId];
    }

    /// @inheritdoc IBondingManager
    function getTranscoder(address account) external view returns (Transcoder memory) {
        StakePool.Pool storage pool = _pools[account];
        return Transcoder({
            totalStake: _totalStake(pool),
            earningStake: pool.preview(_round).stake,
            rewardCut: pool.rewardCut,
            feeShare: pool.feeShare,
            lastRewardRound: pool.rewardRound,
            activationRound: pool.activeFrom,
            deactivationRound: pool.activeUntil,
            active: _isActive(pool),
            candidate: _set.contains(account)
        });
    }

    /// @inheritdoc IBondingManager
    function getTranscoderPool(address start, uint256 limit) external view returns (address[] memory members) {
        members = new address[](Math.min(limit, _set.size));
        address member = start == address(0) ? _set.head : start;
        uint256 count;
        for (; count < members.length && member != address(0); ++count) {
            members[count] = member;
            member = _set.nodes[member].next;
        }
        assembly ("memory-safe") {
            mstore(members, count)
        }
    }

    /// @inheritdoc IBondingManager
    function getTranscoderPoolSize() external view returns (uint256) {
        return _set.size;
    }

    /// @inheritdoc IBondingManager
    function getTranscoderPoolMaxSize() external view returns (uint256) {
        return _maxSetSize;
    }

    /// @inheritdoc IBondingManager
    function currentRoundTotalActiveStake() external view returns (uint256) {
        return _currentTotal;
    }

    /// @inheritdoc IBondingManager
    function nextRoundTotalActiveStake() external view returns (uint256) {
        return _nextTotal;
    }

    /// @inheritdoc IBondingManager
    function unbondingPeriod() external view returns (uint256) {
        return _unbondingPeriod;
    }

    /// @inheritdoc IBondingManager
    function getDelegator(address staker) public view returns (Delegator memory d) {
        StakePool.Account storage account = _accounts[staker];
        StakePool.Pool storage pool = _pools[account.delegate];
        StakePool.Touched memory t = pool.preview(_round);
        StakePool.Settled memory s = pool.settle(t, account, _round);
        d.bondedAmount = StakePool.stakeOf(t, s);
        d.fees = s.fees + _pools[staker].preview(_round).commission;
        d.delegateAddress = account.delegate;
        d.startRound = account.waitingRound + 1;
        d.nextUnbondingLockId = account.nextLockId;
    }

    /// @dev An orchestrator is who stakes on itself.
    function _isRegistered(address account) internal view returns (bool) {
        return account != address(0) && _accounts[account].delegate == account;
    }

    function _isActive(StakePool.Pool storage pool) internal view returns (bool) {
        return pool.activeFrom != 0 && pool.activeFrom <= _round && _round < pool.activeUntil;
    }

    function _totalStake(StakePool.Pool storage pool) internal view returns (uint256) {
        return uint256(pool.stake) + pool.waiting;
    }
}
