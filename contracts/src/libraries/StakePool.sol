// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Ppm} from "./Ppm.sol";
import {StakeHistory} from "./StakeHistory.sol";
import {Timeline} from "./Timeline.sol";

/// @title The stake behind one orchestrator, as shares of a pool
/// @dev Rewards raise what a share is worth, fees raise what a share has earned, a slash lowers what a share is worth:
/// a claim over any number of rounds costs the same, and so does a slash of any number of accounts. Stake that arrives
/// in a round waits until the next one: it becomes shares at the first touch of the pool in a later round, at a price
/// that is kept for its owners. Waiting and unbonding stake is no part of the shares; a slash reaches it by a factor
/// that its owners compare with the one they came in at. Rounding favours the pool throughout.
library StakePool {
    using StakeHistory for StakePool.Pool;
    using StakeHistory for StakePool.Account;

    /// @dev Unit of a price, shares per base unit of stake. Below 2^20 shares per unit it fits with room to spare.
    uint256 internal constant PRICE = 1 << 96;
    /// @dev Unit of fees per share. A pool of one whole token overflows at 3e35 wei, more than there will be.
    uint256 internal constant FEE = 1e21;
    /// @dev Unit of the slash factor; 0 in storage means this too, so that who was never slashed pays for no slot.
    uint256 internal constant FACTOR = 1e18;
    /// @dev Below a millionth of what it was worth, a pool begins anew: figures keep their precision.
    uint256 internal constant MIN_FACTOR = FACTOR / 1e6;
    uint256 internal constant MAX_SHARES_PER_STAKE = 1 << 20;
    /// @dev Base units that a share may be worth for stake to arrive: by leaving all but one share in a pool its owner could make it
    /// worth any amount, and take what others bring by rounding.
    uint256 internal constant MAX_STAKE_PER_SHARE = 1 << 20;

    /// @param stake Earning stake; `shares` are what it is divided into.
    /// @param waiting Stake that arrived in `waitingRound`, which is 0 once it has become shares.
    /// @param ready The orchestrator has set terms.
    /// @param unbonding Stake in locks that left this pool and was not paid out yet.
    /// @param changeRound Last round in which stake or shares changed; the history holds what was before.
    /// @param activeFrom First round of its present membership in the active set, and
    /// @param activeUntil the first after it; `activeFrom` 0 means never a member.
    /// @param fees Fees not yet divided.
    /// @param dueRound Round from which a touch must come before anything else: stake waits or terms change.
    /// @param commission Fees that belong to the orchestrator alone.
    /// @param epoch How often the pool was wiped out.
    /// @param marked It was slashed or jailed: the slot of `factor` must be read.
    /// @param factor What is left of a unit that has waited or unbonded since the epoch's begin.
    /// @param termsRound Round from which the next terms hold, or 0.
    /// @param slashes Factor and epoch by the rounds of slashes, for stake that was moved away.
    struct Pool {
        uint96 stake;
        uint96 waiting;
        uint32 waitingRound;
        bool ready;
        uint24 slashCount;
        uint120 shares;
        uint96 unbonding;
        uint32 changeRound;
        uint32 activeFrom;
        uint32 activeUntil;
        uint32 rewardRound;
        uint24 rewardCut;
        uint24 feeShare;
        uint80 fees;
        uint32 dueRound;
        uint128 feesPerShare;
        uint96 commission;
        uint16 epoch;
        bool marked;
        uint64 factor;
        uint32 jailUntil;
        uint32 termsRound;
        uint24 nextRewardCut;
        uint24 nextFeeShare;
        mapping(uint256 round => Conversion conversion) conversions;
        mapping(uint256 epoch => Wipe wipe) wipes;
        mapping(uint256 place => PoolState state) history;
        mapping(uint256 index => Timeline.Entry left) slashes;
    }

    /// @dev How stake that arrived in a round became shares: shares per unit that came in at the full factor, and what
    /// a share had earned by then.
    struct Conversion {
        uint128 price;
        uint128 feesPerShare;
    }

    /// @dev The end of an epoch: what its shares had earned.
    struct Wipe {
        uint128 feesPerShare;
        uint32 round;
    }

    /// @dev A pool as `round` began.
    struct PoolState {
        uint24 round;
        uint96 stake;
        uint120 shares;
        uint16 epoch;
    }

    /// @dev A staker's part of a pool. Orchestrators are numbered, so that a staker fits into few slots.
    /// @param ownId The number of its own pool, or 0.
    /// @param changeRound Last round in which delegate or shares changed; the history holds what was before.
    /// @param redelegated It moved its stake: the slot of `moved` must be read.
    /// @param mark Factor of the pool that `waiting` is stated at; 0 means the full one.
    /// @param epoch Epoch of the pool that `shares` and `waiting` belong to.
    /// @param moved Stake that it took out of another pool and answers for there until `withdrawRound`.
    struct Account {
        uint32 delegateId;
        uint32 ownId;
        uint32 waitingRound;
        uint24 changeRound;
        bool redelegated;
        uint32 nextLockId;
        uint96 waiting;
        uint120 shares;
        uint128 fees;
        uint128 feesPerShare;
        uint64 mark;
        uint16 epoch;
        mapping(uint256 place => AccountState state) history;
        Lock moved;
    }

    /// @dev An account as every round in `(from, round]` began.
    struct AccountState {
        uint24 round;
        uint24 from;
        uint32 delegateId;
        uint120 shares;
        uint16 epoch;
    }

    /// @dev Stake that has left a pool, or is on its way out, and answers for it.
    struct Lock {
        uint96 amount;
        uint32 delegateId;
        uint32 withdrawRound;
        uint64 mark;
        uint16 epoch;
    }

    /// @dev What a touch in some round makes of a pool.
    struct Touched {
        uint256 stake;
        uint256 shares;
        uint256 waiting;
        uint256 commission;
        uint256 feesPerShare;
        uint256 price;
        uint256 factor;
        uint256 epoch;
    }

    /// @dev What settling makes of an account.
    struct Settled {
        uint256 shares;
        uint256 fees;
        uint256 waiting;
        bool converted;
        bool wiped;
        uint256 lost;
    }

    /// @dev Divides the fees among the shares that earned them, then turns waiting stake into shares.
    function preview(Pool storage pool, uint256 round) internal view returns (Touched memory t) {
        t.stake = pool.stake;
        t.shares = pool.shares;
        t.waiting = pool.waiting;
        t.commission = pool.commission;
        t.feesPerShare = pool.feesPerShare;
        t.epoch = pool.epoch;
        t.factor = factorOf(pool);
        uint256 fees = pool.fees;
        if (fees != 0) _divide(t, fees, pool.feeShare);
        if (t.waiting != 0 && pool.waitingRound < round) {
            t.price = t.shares == 0 || t.stake == 0 ? PRICE : Math.max(t.shares * PRICE / t.stake, 1);
            t.shares += t.waiting * t.price / PRICE;
            t.stake += t.waiting;
            t.waiting = 0;
        }
    }

    /// @dev Casts are of sums that the token's supply, the ether that exists and the bound on shares keep in range.
    function touch(Pool storage pool, uint256 round) internal returns (Touched memory t) {
        t = preview(pool, round);
        if (pool.fees != 0) {
            pool.fees = 0;
            pool.feesPerShare = uint128(t.feesPerShare);
            pool.commission = uint96(t.commission);
        }
        uint256 due = pool.dueRound;
        if (due == 0 || due > round) return t;
        if (t.price != 0) _convert(pool, t);
        uint32 termsRound = pool.termsRound;
        if (termsRound != 0 && termsRound <= round) {
            (pool.rewardCut, pool.feeShare) = (pool.nextRewardCut, pool.nextFeeShare);
            pool.termsRound = termsRound = 0;
        }
        pool.dueRound = termsRound;
    }

    /// @dev An account of a pool that a touch in `round` has brought to `t`.
    function settle(Pool storage pool, Touched memory t, Account storage account, uint256 round)
        internal
        view
        returns (Settled memory s)
    {
        (s.shares, s.fees, s.waiting) = (account.shares, account.fees, account.waiting);
        if (s.shares == 0 && s.waiting == 0) return s;
        uint256 epoch = t.epoch == 0 ? 0 : account.epoch;
        if (epoch != t.epoch) {
            _settleWiped(pool, account, s, pool.wipes[epoch]);
            return s;
        }
        // Without shares the account's mark is of a pool that it has left.
        if (s.shares != 0) s.fees += s.shares * (t.feesPerShare - account.feesPerShare) / FEE;
        if (s.waiting == 0) return s;
        if (account.waitingRound >= round) {
            uint256 mark = pool.marked ? full(account.mark) : FACTOR;
            if (mark != t.factor) s.waiting = s.waiting * t.factor / mark;
            return s;
        }
        (uint256 converted, uint256 feesPerShare) = conversionOf(pool, t, account);
        s.fees += converted * (t.feesPerShare - feesPerShare) / FEE;
        (s.shares, s.waiting, s.converted) = (s.shares + converted, 0, true);
    }

    /// @dev The shares that an account's waiting stake has become, and what a share had earned by then.
    function conversionOf(Pool storage pool, Touched memory t, Account storage account)
        internal
        view
        returns (uint256 shares, uint256 feesPerShare)
    {
        Conversion memory c = pool.conversions[account.waitingRound];
        // A preview has not stored the conversion that it made.
        if (c.price == 0) c = Conversion(uint128(t.price * t.factor / FACTOR), uint128(t.feesPerShare));
        shares = uint256(account.waiting) * c.price;
        // In one step: what slashes have left of a unit may be small, and rounding would count in such units.
        if (pool.marked && account.mark != 0) shares = Math.mulDiv(shares, FACTOR, PRICE * account.mark);
        else shares /= PRICE;
        feesPerShare = c.feesPerShare;
    }

    /// @dev Writes what changed of an account that was settled.
    function store(Account storage account, Touched memory t, Settled memory s, uint256 round) internal {
        if (s.converted && account.changeRound < account.waitingRound) account.recordAccount(account.waitingRound);
        if (s.wiped) {
            // Until the wipe they counted, what had just become shares among them.
            account.shares = uint120(s.lost);
            account.recordAccount(round);
        }
        if (s.shares != account.shares || s.fees != account.fees) {
            account.shares = uint120(s.shares);
            account.fees = uint128(s.fees);
        }
        if (s.waiting != account.waiting) account.waiting = uint96(s.waiting);
        if (s.shares == 0 && s.waiting == 0) return;
        uint64 mark = t.factor == FACTOR ? 0 : uint64(t.factor);
        // Only the fees per share of a settled account without shares may stay behind.
        if (s.shares == 0 && account.epoch == t.epoch && account.mark == mark) return;
        account.feesPerShare = uint128(t.feesPerShare);
        account.mark = mark;
        account.epoch = uint16(t.epoch);
    }

    /// @dev Books stake that arrives in a pool touched in this round. The account is settled.
    function addWaiting(Pool storage pool, Account storage account, Touched memory t, uint256 amount, uint256 round)
        internal
    {
        pool.waiting = uint96(t.waiting + amount);
        pool.waitingRound = uint32(round);
        if (pool.dueRound != round + 1) pool.dueRound = uint32(round + 1);
        _mark(account, t);
        account.waiting = uint96(account.waiting + amount);
        account.waitingRound = uint32(round);
    }

    /// @dev Takes `amount` of a settled account's stake out of its pool: waiting stake first, it has earned nothing.
    /// @return earning What was taken of the earning stake, and the shares that it was.
    function take(
        Pool storage pool,
        Account storage account,
        Touched memory t,
        Settled memory s,
        uint256 amount,
        uint256 round
    ) internal returns (uint256 earning, uint256 burnt) {
        uint256 waiting;
        (waiting, earning, burnt) = _parts(t, s, amount);
        if (waiting != 0) {
            pool.waiting = uint96(t.waiting = t.waiting - waiting);
            account.waiting = uint96(s.waiting - waiting);
        }
        if (burnt == 0 && earning == 0) return (0, 0);
        pool.recordPool(round);
        account.recordAccount(round);
        pool.stake = uint96(t.stake - earning);
        pool.shares = uint120(t.shares - burnt);
        account.shares = uint120(s.shares - burnt);
    }

    /// @dev Gives `amount` of a settled account's stake to another settled account of its pool, which stays as it is:
    /// waiting stake waits on, earning stake earns on.
    function move(
        Account storage account,
        Account storage receiver,
        Touched memory t,
        Settled memory s,
        uint256 amount,
        uint256 round
    ) internal {
        (uint256 waiting,, uint256 moved) = _parts(t, s, amount);
        if (waiting != 0) {
            account.waiting = uint96(s.waiting - waiting);
            _mark(receiver, t);
            receiver.waiting = uint96(receiver.waiting + waiting);
            receiver.waitingRound = uint32(round);
        }
        if (moved == 0) return;
        account.recordAccount(round);
        account.shares = uint120(s.shares - moved);
        receiver.recordAccount(round);
        addShares(receiver, t, moved);
    }

    /// @dev Gives shares of a pool to a settled account.
    function addShares(Account storage account, Touched memory t, uint256 shares) internal {
        account.shares = uint120(account.shares + shares);
        account.feesPerShare = uint128(t.feesPerShare);
        account.mark = t.factor == FACTOR ? 0 : uint64(t.factor);
        account.epoch = uint16(t.epoch);
    }

    /// @dev Takes `ppm` of all stake: earning, waiting and unbonding.
    function slash(Pool storage pool, uint256 ppm, uint256 round) internal returns (uint256 slashed) {
        Touched memory t = touch(pool, round);
        uint256 stake = t.stake * (Ppm.ONE - ppm) / Ppm.ONE;
        uint256 factor = t.factor * (Ppm.ONE - ppm) / Ppm.ONE;
        slashed = _held(pool);
        pool.recordPool(round);
        if (factor < MIN_FACTOR || stake * MAX_SHARES_PER_STAKE < t.shares) {
            pool.wipes[t.epoch] = Wipe(uint128(t.feesPerShare), uint32(round));
            pool.epoch = uint16(t.epoch + 1);
            (pool.stake, pool.waiting, pool.shares) = (0, 0, 0);
            (pool.unbonding, pool.factor) = (0, 0);
        } else {
            pool.stake = uint96(stake);
            // Owners round down, the sum rounds up: it never falls short of them.
            pool.waiting = uint96(Math.ceilDiv(t.waiting * factor, t.factor));
            pool.unbonding = uint96(Math.ceilDiv(pool.unbonding * factor, t.factor));
            pool.factor = uint64(factor);
            pool.marked = true;
        }
        slashed -= _held(pool);
    }

    function factorOf(Pool storage pool) internal view returns (uint256) {
        return pool.marked ? full(pool.factor) : FACTOR;
    }

    /// @dev What is left of a lock.
    function lockValue(Pool storage pool, Lock memory lock) internal view returns (uint256) {
        if (lock.epoch != pool.epoch) return 0;
        return lock.amount * factorOf(pool) / full(lock.mark);
    }

    function stakeOf(Touched memory t, Settled memory s) internal pure returns (uint256) {
        return s.waiting + (t.shares == 0 ? 0 : s.shares * t.stake / t.shares);
    }

    /// @dev An account's stake as it will be without `amount` of it.
    function stakeWithout(Touched memory t, Settled memory s, uint256 amount) internal pure returns (uint256) {
        (uint256 waiting, uint256 earning, uint256 burnt) = _parts(t, s, amount);
        uint256 shares = t.shares - burnt;
        return s.waiting - waiting + (shares == 0 ? 0 : (s.shares - burnt) * (t.stake - earning) / shares);
    }

    /// @dev A factor as it is stored.
    function full(uint256 factor) internal pure returns (uint256) {
        return factor == 0 ? FACTOR : factor;
    }

    /// @dev What `amount` of an account's stake is made of: waiting stake, earning stake and the shares that it is.
    function _parts(Touched memory t, Settled memory s, uint256 amount)
        private
        pure
        returns (uint256 waiting, uint256 earning, uint256 shares)
    {
        waiting = Math.min(amount, s.waiting);
        earning = amount - waiting;
        shares = amount == stakeOf(t, s) ? s.shares : earning == 0 ? 0 : Math.ceilDiv(earning * t.shares, t.stake);
    }

    function _held(Pool storage pool) private view returns (uint256) {
        return uint256(pool.stake) + pool.waiting + pool.unbonding;
    }

    function _divide(Touched memory t, uint256 fees, uint256 feeShare) private pure {
        uint256 shared = t.shares == 0 ? 0 : Ppm.share(fees, feeShare);
        if (shared != 0) {
            uint256 sum = t.feesPerShare + shared * FEE / t.shares;
            // What a pool of dust cannot count per share is the orchestrator's: no fee blocks a redemption.
            if (sum > type(uint128).max) shared = 0;
            else t.feesPerShare = sum;
        }
        t.commission += fees - shared;
    }

    /// @dev States at which factor and in which epoch an account's waiting stake came in.
    function _mark(Account storage account, Touched memory t) private {
        uint64 mark = t.factor == FACTOR ? 0 : uint64(t.factor);
        // The slot of an account without a past is empty: nothing to read.
        if (account.changeRound == 0 && mark == 0 && t.epoch == 0) return;
        if (account.mark == mark && account.epoch == t.epoch) return;
        (account.mark, account.epoch) = (mark, uint16(t.epoch));
    }

    function _convert(Pool storage pool, Touched memory t) private {
        uint32 round = pool.waitingRound;
        pool.recordPool(round);
        pool.conversions[round] = Conversion(uint128(t.price * t.factor / FACTOR), uint128(t.feesPerShare));
        (pool.stake, pool.waiting, pool.waitingRound) = (uint96(t.stake), 0, 0);
        pool.shares = uint120(t.shares);
    }

    /// @dev What an account of an epoch that is over had earned by its end. Stake that had not become shares by then
    /// was lost with the rest.
    function _settleWiped(Pool storage pool, Account storage account, Settled memory s, Wipe memory wipe) private view {
        if (s.shares != 0) s.fees += s.shares * (wipe.feesPerShare - account.feesPerShare) / FEE;
        if (s.waiting != 0 && account.waitingRound < wipe.round) {
            Touched memory none;
            (uint256 converted, uint256 feesPerShare) = conversionOf(pool, none, account);
            s.fees += converted * (wipe.feesPerShare - feesPerShare) / FEE;
            (s.shares, s.converted) = (s.shares + converted, true);
        }
        (s.lost, s.shares, s.waiting, s.wiped) = (s.shares, 0, 0, true);
    }
}
