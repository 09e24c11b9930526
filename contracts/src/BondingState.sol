// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingTypes} from "./interfaces/IBondingTypes.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {IMinter} from "./interfaces/IMinter.sol";
import {IRoundsManager} from "./interfaces/IRoundsManager.sol";
import {ITicketBroker} from "./interfaces/ITicketBroker.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title What the bonding manager remembers, and the active set
abstract contract BondingState is IBondingTypes, Upgradeable {
    using SafeCast for uint256;
    using SortedSet for SortedSet.Set;
    using StakePool for StakePool.Pool;
    using StakePool for StakePool.Account;

    /// @notice The contracts that this one works with.
    struct Siblings {
        IFramemillToken token;
        IMinter minter;
        IRoundsManager roundsManager;
        ITicketBroker ticketBroker;
    }

    /// @dev Stake of the active set as `round` began.
    struct RoundTotal {
        uint32 round;
        uint96 total;
    }

    uint256 internal constant MAX_SET_SIZE = 10_000;
    uint256 internal constant MAX_UNBONDING_ROUNDS = 1_000;
    /// @dev `activeUntil` of a present member.
    uint32 internal constant OPEN = type(uint32).max;

    IFramemillToken public immutable token;
    IMinter public immutable minter;
    IRoundsManager public immutable roundsManager;
    ITicketBroker public immutable ticketBroker;

    uint32 internal _round;
    uint16 internal _maxSetSize;
    uint16 internal _unbondingPeriod;
    /// @dev Orchestrators are numbered from 1.
    uint32 internal _lastId;
    uint96 internal _nextTotal;
    uint96 internal _currentTotal;
    address internal _court;
    SortedSet.Set internal _set;
    mapping(uint256 id => StakePool.Pool pool) internal _pools;
    mapping(address staker => StakePool.Account account) internal _accounts;
    mapping(address staker => mapping(uint256 lockId => StakePool.Lock lock)) internal _locks;
    mapping(uint256 id => address orchestrator) internal _orchestrators;
    mapping(uint256 place => RoundTotal total) internal _totals;
    uint256[40] internal __gap;

    constructor(address controller_, Siblings memory siblings) Upgradeable(controller_) {
        token = siblings.token;
        minter = siblings.minter;
        roundsManager = siblings.roundsManager;
        ticketBroker = siblings.ticketBroker;
    }

    /// @dev The round by height. Whatever is to last for some rounds lasts from here: nobody may have begun it yet, and who acts
    /// before that must not be done with earlier.
    function _heightRound() internal view returns (uint32) {
        return roundsManager.currentRound().toUint32();
    }

    /// @dev Takes what a moved bond has lost for the orchestrator that it left.
    function _settleRedelegation(address staker) internal virtual;

    /// @dev Brings an account, its pool, and its own commission up to now.
    function _claim(StakePool.Account storage account, address staker)
        internal
        returns (StakePool.Touched memory t, StakePool.Settled memory s)
    {
        if (account.redelegated) _settleRedelegation(staker);
        uint256 id = account.delegateId;
        uint256 ownId = account.ownId;
        uint256 round = _round;
        if (id != 0) {
            StakePool.Pool storage pool = _pools[id];
            t = pool.touch(round);
            s = pool.settle(t, account, round);
            account.store(t, s, round);
        }
        if (ownId == 0) return (t, s);
        StakePool.Pool storage own = _pools[ownId];
        // Who has left its own pool is still owed what was won before.
        if (id != ownId) own.touch(round);
        if (own.commission == 0) return (t, s);
        account.fees = uint128(s.fees = uint256(account.fees) + own.commission);
        own.commission = 0;
    }

    /// @dev Of a settled account's stake, `amount` leaves its owner: what answers for another orchestrator must stay.
    function _checkFree(StakePool.Account storage account, uint256 amount, uint256 stake) internal view {
        if (!account.redelegated) return;
        StakePool.Lock memory moved = account.moved;
        uint256 free = stake - Math.min(moved.amount, stake);
        if (amount > free) revert StakeAnswers(free, moved.withdrawRound);
    }

    /// @dev Gives an orchestrator the place in the set that its stake asks for.
    function _sync(uint32 id, address hint) internal {
        StakePool.Pool storage pool = _pools[id];
        uint256 total = _totalStake(pool);
        if (!_set.contains(id)) return _tryJoin(id, pool, total, hint);
        if (total == 0) return _leave(id);
        _nextTotal = uint96(_nextTotal + total - _set.nodes[id].key);
        _set.update(id, total, _accounts[hint].ownId);
    }

    /// @dev As `_sync`, for stake that was taken: a place too far away is lost rather than the slash.
    function _demote(uint32 id) internal {
        if (!_set.contains(id)) return;
        uint256 total = _totalStake(_pools[id]);
        if (total == 0) return _leave(id);
        uint256 key = _set.nodes[id].key;
        _nextTotal = uint96(_nextTotal + total - key);
        if (_set.tryUpdate(id, total, 0)) return;
        _nextTotal = uint96(_nextTotal - total);
        _close(id);
    }

    function _tryJoin(uint32 id, StakePool.Pool storage pool, uint256 total, address hint) private {
        address account = _orchestrators[id];
        uint256 round = _round;
        if (total == 0 || !pool.ready || _accounts[account].delegateId != id || _isJailed(pool)) return;
        if (_set.size >= _maxSetSize) {
            uint32 last = _set.tail;
            if (total <= _set.nodes[last].key) return;
            _leave(last);
        }
        // Evicted and back within one round: it never stopped being active.
        bool continues = pool.activeFrom != 0 && pool.activeFrom <= round && pool.activeUntil == round + 1;
        if (!continues) pool.activeFrom = uint32(round + 1);
        pool.activeUntil = OPEN;
        _nextTotal = uint96(_nextTotal + total);
        emit TranscoderActivated(account, pool.activeFrom);
        _set.insert(id, total, _accounts[hint].ownId);
    }

    function _leave(uint32 id) internal {
        _nextTotal -= _set.nodes[id].key;
        _set.remove(id);
        _close(id);
    }

    function _close(uint32 id) private {
        uint256 until = uint256(_round) + 1;
        _pools[id].activeUntil = until.toUint32();
        emit TranscoderDeactivated(_orchestrators[id], until);
    }

    /// @dev The number of an orchestrator, which is who stakes on itself.
    function _registeredId(address account) internal view returns (uint32 id) {
        id = _accounts[account].ownId;
        if (id == 0 || _accounts[account].delegateId != id) revert NotOrchestrator(account);
    }

    function _isActive(StakePool.Pool storage pool) internal view returns (bool) {
        return pool.activeFrom != 0 && pool.activeFrom <= _round && _round < pool.activeUntil;
    }

    function _isJailed(StakePool.Pool storage pool) internal view returns (bool) {
        return pool.marked && pool.jailUntil > _round;
    }

    function _totalStake(StakePool.Pool storage pool) internal view returns (uint256) {
        return uint256(pool.stake) + pool.waiting;
    }
}
