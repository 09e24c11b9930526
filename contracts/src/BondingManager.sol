// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingExtension, IBondingStake} from "./interfaces/IBondingManager.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakeHistory} from "./libraries/StakeHistory.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingState} from "./BondingState.sol";

/// @title BondingManager; its contract is IBondingManager
/// @dev What is rare and what only reads is code of its own, which runs on this contract's state: together they are
/// more than one contract's code may be.
contract BondingManager is IBondingStake, BondingState {
    using SafeCast for uint256;
    using SafeERC20 for IFramemillToken;
    using SortedSet for SortedSet.Set;
    using StakeHistory for StakePool.Account;
    using StakeHistory for StakePool.Pool;
    using StakePool for StakePool.Account;
    using StakePool for StakePool.Pool;

    /// @notice Code of IBondingExtension.
    address public immutable extension;

    constructor(address controller_, Siblings memory siblings, address extension_) BondingState(controller_, siblings) {
        if (extension_ == address(0)) revert ZeroAddress();
        extension = extension_;
    }

    /// @notice Runs the extension's code on this contract's state.
    fallback(bytes calldata call) external returns (bytes memory) {
        return Address.functionDelegateCall(extension, call);
    }

    /// @notice Sets the first parameters.
    function initialize(uint256 unbondingRounds, uint256 maxSetSize) external initializer {
        _unbondingPeriod = _bounded(unbondingRounds, 1, MAX_UNBONDING_ROUNDS).toUint16();
        _maxSetSize = _bounded(maxSetSize, 1, MAX_SET_SIZE).toUint16();
    }

    /// @inheritdoc IBondingStake
    function bond(uint256 amount, address to) external whenNotPaused {
        _bond(amount, to, address(0), address(0));
    }

    /// @inheritdoc IBondingStake
    function bondWithHint(uint256 amount, address to, address oldDelegateHint, address newDelegateHint)
        external
        whenNotPaused
    {
        _bond(amount, to, oldDelegateHint, newDelegateHint);
    }

    /// @inheritdoc IBondingStake
    function unbond(uint256 amount) external whenNotPaused {
        _unbond(amount, address(0));
    }

    /// @inheritdoc IBondingStake
    function unbondWithHint(uint256 amount, address hint) external whenNotPaused {
        _unbond(amount, hint);
    }

    /// @inheritdoc IBondingStake
    function rebond(uint256 lockId) external whenNotPaused {
        _rebond(lockId, address(0));
    }

    /// @inheritdoc IBondingStake
    function rebondWithHint(uint256 lockId, address hint) external whenNotPaused {
        _rebond(lockId, hint);
    }

    /// @inheritdoc IBondingStake
    function rebondFromUnbonded(address to, uint256 lockId) external whenNotPaused {
        _rebondFromUnbonded(to, lockId, address(0));
    }

    /// @inheritdoc IBondingStake
    function rebondFromUnbondedWithHint(address to, uint256 lockId, address hint) external whenNotPaused {
        _rebondFromUnbonded(to, lockId, hint);
    }

    /// @inheritdoc IBondingStake
    function transferBond(address receiver, uint256 amount) external whenNotPaused {
        StakePool.Account storage account = _accounts[msg.sender];
        StakePool.Account storage other = _accounts[receiver];
        uint32 id = account.delegateId;
        if (id == 0) revert NotBonded(msg.sender);
        if (id == account.ownId) revert OrchestratorCannotDelegate(msg.sender);
        if (other.delegateId != id || receiver == msg.sender) revert NotOfTheSamePool(receiver, _orchestrators[id]);
        _claim(other, receiver);
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(account, msg.sender);
        uint256 stake = StakePool.stakeOf(t, s);
        if (amount == 0 || amount > stake) revert BadAmount(amount, stake);
        _checkFree(account, amount, stake);
        account.move(other, t, s, amount, _round);
        if (amount == stake) {
            account.recordAccount(_round);
            account.delegateId = 0;
        }
        emit TransferBond(msg.sender, receiver, amount);
    }

    /// @inheritdoc IBondingStake
    function withdrawStake(uint256 lockId) external whenNotPaused {
        uint256 withdrawRound = _locks[msg.sender][lockId].withdrawRound;
        (uint256 amount,) = _openLock(lockId);
        if (_round < withdrawRound) revert StillLocked(_round, withdrawRound);
        emit StakeWithdrawn(msg.sender, lockId, amount);
        minter.withdrawTokens(msg.sender, amount);
    }

    /// @inheritdoc IBondingStake
    function withdrawFees(address payable to, uint256 amount) external whenNotPaused {
        if (to == address(0)) revert ZeroAddress();
        StakePool.Account storage account = _accounts[msg.sender];
        _claim(account, msg.sender);
        uint256 fees = account.fees;
        if (amount == 0 || amount > fees) revert BadAmount(amount, fees);
        account.fees = uint128(fees - amount);
        emit FeesWithdrawn(msg.sender, to, amount);
        ticketBroker.payFees(to, amount);
    }

    /// @inheritdoc IBondingStake
    function claimEarnings() external whenNotPaused {
        StakePool.Account storage account = _accounts[msg.sender];
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(account, msg.sender);
        emit EarningsClaimed(msg.sender, _orchestrators[account.delegateId], StakePool.stakeOf(t, s), s.fees);
    }

    /// @inheritdoc IBondingStake
    function reward() external whenNotPaused {
        _reward(address(0));
    }

    /// @inheritdoc IBondingStake
    function rewardWithHint(address hint) external whenNotPaused {
        _reward(hint);
    }

    /// @inheritdoc IBondingStake
    function updateTranscoderWithFees(address account, uint256 fees)
        external
        whenNotPaused
        only(address(ticketBroker))
    {
        StakePool.Pool storage pool = _pools[_accounts[account].ownId];
        // Stake that waits for an earlier round's end has begun to earn: it must share in these fees.
        uint256 total = pool.fees + fees;
        uint256 due = pool.dueRound;
        if ((due != 0 && due <= _round) || total > type(uint80).max) {
            pool.touch(_round);
            total = fees;
        }
        pool.fees = total.toUint80();
        emit FeesReceived(account, fees);
    }

    /// @inheritdoc IBondingStake
    function onRoundInitialized(uint256 round) external only(address(roundsManager)) returns (uint256) {
        uint96 total = _nextTotal;
        _round = round.toUint32();
        _currentTotal = total;
        _totals[round % StakeHistory.ROUNDS] = RoundTotal(uint32(round), total);
        return _set.size;
    }

    /// @inheritdoc IBondingStake
    function activeRounds(address account) external view returns (uint256, uint256) {
        StakePool.Pool storage pool = _pools[_accounts[account].ownId];
        return (pool.activeFrom, pool.activeUntil);
    }

    /// @dev Rare: the extension does it.
    function _settleRedelegation(address staker) internal override {
        Address.functionDelegateCall(extension, abi.encodeCall(IBondingExtension.settleRedelegation, (staker)));
    }

    function _bond(uint256 amount, address to, address oldHint, address newHint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        uint32 toId = to == msg.sender ? _ownId(account) : _registeredId(to);
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(account, msg.sender);
        uint256 total = amount;
        bool moves = account.delegateId != toId;
        if (moves && account.delegateId != 0) total += _takeAll(account, t, s, oldHint);
        if (total == 0) revert BadAmount(0, 0);
        emit Bonded(msg.sender, to, amount, moves ? total : StakePool.stakeOf(t, s) + amount);
        if (moves) t = _pools[toId].touch(_round);
        _arrive(account, toId, t, total, newHint);
        if (amount != 0) token.safeTransferFrom(msg.sender, address(minter), amount);
    }

    /// @dev Takes a delegator's whole stake out of the pool that it leaves for another.
    function _takeAll(
        StakePool.Account storage account,
        StakePool.Touched memory t,
        StakePool.Settled memory s,
        address hint
    ) private returns (uint256 stake) {
        uint32 id = account.delegateId;
        if (id == account.ownId) revert OrchestratorCannotDelegate(msg.sender);
        if (account.redelegated) revert StillLocked(_round, account.moved.withdrawRound);
        stake = StakePool.stakeOf(t, s);
        _pools[id].take(account, t, s, stake, _round);
        _sync(id, hint);
        if (stake != 0) (account.redelegated, account.moved) = (true, _answering(id, t, stake));
    }

    /// @dev Stake that a pool lets go: it answers for what the pool did before.
    function _answering(uint32 id, StakePool.Touched memory t, uint256 amount)
        private
        view
        returns (StakePool.Lock memory)
    {
        uint64 mark = t.factor == StakePool.FACTOR ? 0 : uint64(t.factor);
        return StakePool.Lock(uint96(amount), id, _heightRound() + _unbondingPeriod, mark, uint16(t.epoch));
    }

    /// @dev Lets stake wait in a pool that a touch has brought to `t`, which becomes the account's.
    function _arrive(
        StakePool.Account storage account,
        uint32 id,
        StakePool.Touched memory t,
        uint256 amount,
        address hint
    ) private {
        // A dear share swallows what is worth less than one: who comes would lose it to those who are there.
        if (t.shares != 0 && t.stake > t.shares * StakePool.MAX_STAKE_PER_SHARE) {
            revert SharesTooDear(_orchestrators[id]);
        }
        _pools[id].addWaiting(account, t, amount, _round);
        if (account.delegateId != id) {
            account.recordAccount(_round);
            account.delegateId = id;
        }
        _sync(id, hint);
    }

    function _unbond(uint256 amount, address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        uint32 id = account.delegateId;
        if (id == 0) revert NotBonded(msg.sender);
        (StakePool.Touched memory t, StakePool.Settled memory s) = _claim(account, msg.sender);
        uint256 stake = StakePool.stakeOf(t, s);
        // Who lost everything may leave with nothing.
        if (amount > stake || (amount == 0 && stake != 0)) revert BadAmount(amount, stake);
        _checkFree(account, amount, stake);
        _pools[id].take(account, t, s, amount, _round);
        _lock(account, id, t, amount);
        if (amount == stake) {
            account.recordAccount(_round);
            account.delegateId = 0;
        }
        if (amount != stake || id != account.ownId) _sync(id, hint);
        else if (_set.contains(id)) _leave(id);
    }

    function _lock(StakePool.Account storage account, uint32 id, StakePool.Touched memory t, uint256 amount) private {
        StakePool.Pool storage pool = _pools[id];
        pool.unbonding = uint96(pool.unbonding + amount);
        uint256 lockId = account.nextLockId++;
        StakePool.Lock memory lock = _answering(id, t, amount);
        _locks[msg.sender][lockId] = lock;
        emit Unbonded(msg.sender, _orchestrators[id], lockId, amount, lock.withdrawRound);
    }

    function _rebond(uint256 lockId, address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        if (account.delegateId == 0) revert NotBonded(msg.sender);
        (StakePool.Touched memory t,) = _claim(account, msg.sender);
        _useLock(account, account.delegateId, t, lockId, hint);
    }

    function _rebondFromUnbonded(address to, uint256 lockId, address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        uint32 id = account.delegateId;
        if (id != 0) revert StillBonded(_orchestrators[id]);
        // What arrives pays for nothing that is due already.
        if (account.redelegated) _settleRedelegation(msg.sender);
        id = to == msg.sender ? _ownId(account) : _registeredId(to);
        _useLock(account, id, _pools[id].touch(_round), lockId, hint);
    }

    function _useLock(
        StakePool.Account storage account,
        uint32 id,
        StakePool.Touched memory t,
        uint256 lockId,
        address hint
    ) private {
        StakePool.Lock storage lock = _locks[msg.sender][lockId];
        // Until its time is over, stake answers for the orchestrator that it backed: it goes back there or nowhere.
        if (lock.delegateId != id && _round < lock.withdrawRound) revert StillLocked(_round, lock.withdrawRound);
        (uint256 amount,) = _openLock(lockId);
        if (amount == 0) revert BadAmount(0, 0);
        emit Rebonded(msg.sender, _orchestrators[id], lockId, amount);
        _arrive(account, id, t, amount, hint);
    }

    /// @dev Deletes a lock of the caller and says what was left of it.
    function _openLock(uint256 lockId) private returns (uint256 amount, uint256 id) {
        StakePool.Lock memory lock = _locks[msg.sender][lockId];
        id = lock.delegateId;
        if (id == 0) revert NoSuchLock(msg.sender, lockId);
        StakePool.Pool storage pool = _pools[id];
        amount = pool.lockValue(lock);
        delete _locks[msg.sender][lockId];
        if (amount != 0) pool.unbonding = uint96(pool.unbonding - amount);
    }

    function _reward(address hint) private {
        StakePool.Account storage account = _accounts[msg.sender];
        uint32 id = account.ownId;
        StakePool.Pool storage pool = _pools[id];
        uint256 round = _round;
        if (!_isActive(pool)) revert NotActive(msg.sender, round);
        if (_isJailed(pool)) revert Jailed(msg.sender, pool.jailUntil);
        if (pool.rewardRound == round) revert AlreadyRewarded(msg.sender, round);
        pool.rewardRound = uint32(round);
        bool registered = account.delegateId == id;
        if (registered) _claim(account, msg.sender);
        StakePool.Touched memory t = pool.touch(round);
        uint256 amount = minter.createReward(round, t.stake, _currentTotal);
        uint256 cut = registered ? Ppm.share(amount, pool.rewardCut) : 0;
        uint256 stake = t.stake + amount - cut;
        // The orchestrator's cut buys shares at the price after everybody's reward.
        uint256 bought = stake == 0 ? 0 : cut * t.shares / stake;
        pool.recordPool(round);
        pool.stake = (stake + cut).toUint96();
        pool.shares = uint120(t.shares + bought);
        if (bought != 0) account.addShares(t, bought);
        emit Reward(msg.sender, amount);
        _sync(id, hint);
    }

    /// @dev The number of the caller as an orchestrator; it gets one with its first bond to itself.
    function _ownId(StakePool.Account storage account) private returns (uint32 id) {
        id = account.ownId;
        if (id != 0) return id;
        id = ++_lastId;
        account.ownId = id;
        _orchestrators[id] = msg.sender;
    }
}
