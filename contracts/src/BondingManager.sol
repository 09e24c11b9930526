// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingState} from "./BondingState.sol";

/// @title BondingManager; its contract is IBondingManager
contract BondingManager is BondingState {
    using SafeCast for uint256;
    using SafeERC20 for IFramemillToken;
    using SortedSet for SortedSet.Set;
    using StakePool for StakePool.Pool;

    uint256 private constant MAX_SET_SIZE = 10_000;
    uint256 private constant MAX_UNBONDING_ROUNDS = 1_000;
    /// @dev `activeUntil` of a present member.
    uint32 private constant OPEN = type(uint32).max;

    constructor(address controller_, Siblings memory siblings) BondingState(controller_, siblings) {}

    /// @notice Sets the first parameters.
    function initialize(uint256 unbondingRounds, uint256 maxSetSize) external initializer {
        _unbondingPeriod = _bounded(unbondingRounds, 1, MAX_UNBONDING_ROUNDS).toUint32();
        _maxSetSize = _bounded(maxSetSize, 1, MAX_SET_SIZE).toUint32();
    }

    /// @inheritdoc IBondingManager
    function bond(uint256 amount, address to) external whenNotPaused {
        _bond(amount, to, address(0), address(0));
    }

    /// @inheritdoc IBondingManager
    function bondWithHint(uint256 amount, address to, address oldDelegateHint, address newDelegateHint)
        external
        whenNotPaused
    {
        _bond(amount, to, oldDelegateHint, newDelegateHint);
    }

    /// @inheritdoc IBondingManager
    function unbond(uint256 amount) external whenNotPaused {
        _unbond(amount, address(0));
    }

    /// @inheritdoc IBondingManager
    function unbondWithHint(uint256 amount, address hint) external whenNotPaused {
        _unbond(amount, hint);
    }

    /// @inheritdoc IBondingManager
    function rebond(uint256 lockId) external whenNotPaused {
        _rebond(lockId, address(0));
    }

    /// @inheritdoc IBondingManager
    function rebondWithHint(uint256 lockId, address hint) external whenNotPaused {
        _rebond(lockId, hint);
    }

    /// @inheritdoc IBondingManager
    function rebondFromUnbonded(address to, uint256 lockId) external whenNotPaused {
        _rebondFromUnbonded(to, lockId, address(0));
    }

    /// @inheritdoc IBondingManager
    function rebondFromUnbondedWithHint(address to, uint256 lockId, address hint) external whenNotPaused {
        _rebondFromUnbonded(to, lockId, hint);
    }

    /// @inheritdoc IBondingManager
    function withdrawStake(uint256 lockId) external whenNotPaused {
        UnbondingLock memory lock = _locks[msg.sender][lockId];
        if (lock.amount == 0) revert NoSuchLock(msg.sender, lockId);
        if (_round < lock.withdrawRound) revert StillLocked(_round, lock.withdrawRound);
        delete _locks[msg.sender][lockId];
        emit StakeWithdrawn(msg.sender, lockId, lock.amount);
        minter.withdrawTokens(msg.sender, lock.amount);
    }

    /// @inheritdoc IBondingManager
    function withdrawFees(address payable to, uint256 amount) external whenNotPaused {
        if (to == address(0)) revert ZeroAddress();
        _claim(msg.sender);
        StakePool.Account storage account = _accounts[msg.sender];
        uint256 fees = account.fees;
        if (amount == 0 || amount > fees) revert BadAmount(amount, fees);
        account.fees = uint128(fees - amount);
        emit FeesWithdrawn(msg.sender, to, amount);
        ticketBroker.payFees(to, amount);
    }

    /// @inheritdoc IBondingManager
    function claimEarnings() external whenNotPaused {
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(msg.sender);
        emit EarningsClaimed(msg.sender, _accounts[msg.sender].delegate, StakePool.stakeOf(t, s), s.fees);
    }

    /// @inheritdoc IBondingManager
    function transcoder(uint256 rewardCut, uint256 feeShare) external whenNotPaused {
        _setTerms(rewardCut, feeShare, address(0));
    }

    /// @inheritdoc IBondingManager
    function transcoderWithHint(uint256 rewardCut, uint256 feeShare, address hint) external whenNotPaused {
        _setTerms(rewardCut, feeShare, hint);
    }

    /// @inheritdoc IBondingManager
    function reward() external whenNotPaused {
        _reward(address(0));
    }

    /// @inheritdoc IBondingManager
    function rewardWithHint(address hint) external whenNotPaused {
        _reward(hint);
    }

    /// @inheritdoc IBondingManager
    function updateTranscoderWithFees(address account, uint256 fees)
        external
        whenNotPaused
        only(address(ticketBroker))
    {
        StakePool.Pool storage pool = _pools[account];
        // Stake that waits for an earlier round's end has begun to earn: it must share in these fees.
        uint256 total = pool.fees + fees;
        if (pool.waitingRound != 0 && pool.waitingRound < _round || total > type(uint80).max) {
            pool.touch(_round);
            total = fees;
        }
        pool.fees = total.toUint80();
        emit FeesReceived(account, fees);
    }

    /// @inheritdoc IBondingManager
    function onRoundInitialized(uint256 round) external only(address(roundsManager)) returns (uint256) {
        _round = round.toUint32();
        _currentTotal = _nextTotal;
        return _set.size;
    }

    /// @inheritdoc IBondingManager
    function setUnbondingPeriod(uint256 rounds) external onlyOwner {
        _unbondingPeriod = _bounded(rounds, 1, MAX_UNBONDING_ROUNDS).toUint32();
        emit ParameterSet("unbondingPeriod", rounds);
    }

    /// @inheritdoc IBondingManager
    function setNumActiveTranscoders(uint256 count) external onlyOwner {
        _maxSetSize = _bounded(count, 1, MAX_SET_SIZE).toUint32();
        emit ParameterSet("numActiveTranscoders", count);
    }

    function _bond(uint256 amount, address to, address oldHint, address newHint) private {
        if (to == address(0)) revert NotOrchestrator(to);
        StakePool.Account storage account = _accounts[msg.sender];
        address from = account.delegate;
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(msg.sender);
        uint256 total = amount;
        if (from != to) {
            _checkDelegate(from, to);
            uint256 moved = StakePool.stakeOf(t, s);
            if (from != address(0)) {
                _take(account, t, s, moved, moved);
                _sync(from, oldHint);
                total += moved;
            }
            account.delegate = to;
        }
        if (total == 0) revert BadAmount(0, 0);
        emit Bonded(msg.sender, to, amount, from == to ? StakePool.stakeOf(t, s) + amount : total);
        _addWaiting(account, to, total);
        _sync(to, newHint);
        if (amount != 0) token.safeTransferFrom(msg.sender, address(minter), amount);
    }

    function _unbond(uint256 amount, address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        address delegate = account.delegate;
        if (delegate == address(0)) revert NotBonded(msg.sender);
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(msg.sender);
        uint256 stake = StakePool.stakeOf(t, s);
        if (amount == 0 || amount > stake) revert BadAmount(amount, stake);
        _take(account, t, s, amount, stake);
        if (amount == stake) account.delegate = address(0);
        uint256 lockId = account.nextLockId++;
        uint32 withdrawRound = (uint256(_round) + _unbondingPeriod).toUint32();
        _locks[msg.sender][lockId] = UnbondingLock(delegate, amount.toUint96(), withdrawRound);
        emit Unbonded(msg.sender, delegate, lockId, amount, withdrawRound);
        _sync(delegate, hint);
    }

    function _rebond(uint256 lockId, address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        if (account.delegate == address(0)) revert NotBonded(msg.sender);
        _claim(msg.sender);
        _useLock(account, lockId, account.delegate, hint);
    }

    function _rebondFromUnbonded(address to, uint256 lockId, address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        if (account.delegate != address(0)) revert StillBonded(account.delegate);
        _checkDelegate(address(0), to);
        account.delegate = to;
        _useLock(account, lockId, to, hint);
    }

    function _useLock(StakePool.Account storage account, uint256 lockId, address to, address hint) private {
        uint256 amount = _locks[msg.sender][lockId].amount;
        if (amount == 0) revert NoSuchLock(msg.sender, lockId);
        delete _locks[msg.sender][lockId];
        emit Rebonded(msg.sender, to, lockId, amount);
        _addWaiting(account, to, amount);
        _sync(to, hint);
    }

    function _setTerms(uint256 rewardCut, uint256 feeShare, address hint) private {
        if (roundsManager.currentRoundLocked()) revert RoundLocked(_round);
        if (!_isRegistered(msg.sender)) revert NotOrchestrator(msg.sender);
        StakePool.Pool storage pool = _pools[msg.sender];
        // What was earned under the old terms is divided by them.
        pool.touch(_round);
        pool.rewardCut = uint24(_bounded(rewardCut, 0, Ppm.ONE));
        pool.feeShare = uint24(_bounded(feeShare, 0, Ppm.ONE));
        emit TranscoderUpdate(msg.sender, rewardCut, feeShare);
        _sync(msg.sender, hint);
    }

    function _reward(address hint) private {
        StakePool.Pool storage pool = _pools[msg.sender];
        uint256 round = _round;
        if (!_isActive(pool)) revert NotActive(msg.sender, round);
        if (pool.rewardRound == round) revert AlreadyRewarded(msg.sender, round);
        pool.rewardRound = uint32(round);
        _claim(msg.sender);
        StakePool.Touched memory t = pool.preview(round);
        uint256 amount = minter.createReward(round, t.stake, _currentTotal);
        uint256 cut = _isRegistered(msg.sender) ? Ppm.share(amount, pool.rewardCut) : 0;
        uint256 stake = t.stake + amount - cut;
        // The orchestrator's cut buys shares at the price after everybody's reward.
        uint256 bought = stake == 0 ? 0 : cut * t.shares / stake;
        pool.stake = (stake + cut).toUint128();
        pool.shares = (t.shares + bought).toUint128();
        _accounts[msg.sender].shares += uint128(bought);
        emit Reward(msg.sender, amount);
        _sync(msg.sender, hint);
    }

    /// @dev Brings an account, its pool, and its own commission up to now.
    function _claim(address staker) private returns (StakePool.Touched memory t, StakePool.Settled memory s) {
        StakePool.Account storage account = _accounts[staker];
        address delegate = account.delegate;
        uint256 round = _round;
        s.fees = account.fees;
        if (delegate != address(0)) {
            t = _pools[delegate].touch(round);
            s = _pools[delegate].settle(t, account, round);
        }
        StakePool.Pool storage own = _pools[staker];
        if (own.activeFrom != 0) {
            // Who has left its own pool is still owed what was won before.
            if (delegate != staker) own.touch(round);
            s.fees += own.commission;
            own.commission = 0;
        }
        account.shares = uint128(s.shares);
        account.fees = s.fees.toUint128();
        account.waiting = uint128(s.waiting);
        if (s.shares != 0) account.feesPerShare = t.feesPerShare;
    }

    /// @dev Takes `amount` of an account's `stake` out of its pool: waiting stake first, it has earned nothing yet.
    function _take(
        StakePool.Account storage account,
        StakePool.Touched memory t,
        StakePool.Settled memory s,
        uint256 amount,
        uint256 stake
    ) private {
        StakePool.Pool storage pool = _pools[account.delegate];
        uint256 waiting = Math.min(amount, s.waiting);
        uint256 earning = amount - waiting;
        uint256 burnt = amount == stake ? s.shares : earning == 0 ? 0 : Math.ceilDiv(earning * t.shares, t.stake);
        pool.waiting = uint128(t.waiting - waiting);
        pool.stake = uint128(t.stake - earning);
        pool.shares = uint128(t.shares - burnt);
        account.waiting = uint128(s.waiting - waiting);
        account.shares = uint128(s.shares - burnt);
    }

    function _addWaiting(StakePool.Account storage account, address to, uint256 amount) private {
        StakePool.Pool storage pool = _pools[to];
        uint256 round = _round;
        pool.touch(round);
        pool.waiting = (pool.waiting + amount).toUint128();
        pool.waitingRound = uint32(round);
        account.waiting = (account.waiting + amount).toUint128();
        account.waitingRound = uint32(round);
    }

    /// @dev Gives an orchestrator the place in the set that its stake asks for.
    function _sync(address account, address hint) private {
        StakePool.Pool storage pool = _pools[account];
        uint256 total = _totalStake(pool);
        if (!_set.contains(account)) {
            if (_isRegistered(account)) _tryJoin(account, pool, total, hint);
        } else if (!_isRegistered(account)) {
            _leave(account);
        } else {
            _nextTotal = (_nextTotal + total - _set.nodes[account].key).toUint128();
            _set.update(account, total, hint);
        }
    }

    function _tryJoin(address account, StakePool.Pool storage pool, uint256 total, address hint) private {
        if (_set.size >= _maxSetSize) {
            address last = _set.tail;
            if (total <= _set.nodes[last].key) return;
            _leave(last);
        }
        uint256 round = _round;
        // Evicted and back within one round: it never stopped being active.
        bool continues = pool.activeFrom != 0 && pool.activeFrom <= round && pool.activeUntil == round + 1;
        if (!continues) pool.activeFrom = (round + 1).toUint32();
        pool.activeUntil = OPEN;
        _nextTotal = (_nextTotal + total).toUint128();
        emit TranscoderActivated(account, pool.activeFrom);
        _set.insert(account, total, hint);
    }

    function _leave(address account) private {
        StakePool.Pool storage pool = _pools[account];
        uint256 until = uint256(_round) + 1;
        pool.activeUntil = until.toUint32();
        _nextTotal -= _set.nodes[account].key;
        emit TranscoderDeactivated(account, until);
        _set.remove(account);
    }

    function _checkDelegate(address from, address to) private view {
        if (from == msg.sender) revert OrchestratorCannotDelegate(msg.sender);
        if (to != msg.sender && !_isRegistered(to)) revert NotOrchestrator(to);
    }
}
