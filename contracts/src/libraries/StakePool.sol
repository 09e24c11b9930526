// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Ppm} from "./Ppm.sol";

/// @title The stake behind one orchestrator, as shares of a pool
/// @dev Rewards raise what a share is worth, fees raise what a share has earned: a claim over any number of rounds
/// costs the same. Stake that arrives in a round waits until the next one: it becomes shares at the first touch of the
/// pool in a later round, at a price that is kept for its owners. Rounding favours the pool throughout.
library StakePool {
    /// @dev Unit of the two accumulators (price and fees per share).
    uint256 internal constant RAY = 1e27;

    /// @param stake Earning stake; `shares` are what it is divided into.
    /// @param waiting Stake that arrived in `waitingRound`, which is 0 once it has become shares.
    /// @param commission Fees that belong to the orchestrator alone.
    /// @param activeFrom First round of its present membership in the active set, and
    /// @param activeUntil the first after it; `activeFrom` 0 means never a member.
    /// @param fees Fees not yet divided.
    struct Pool {
        uint128 stake;
        uint128 waiting;
        uint128 shares;
        uint128 commission;
        uint32 waitingRound;
        uint32 activeFrom;
        uint32 activeUntil;
        uint32 rewardRound;
        uint24 rewardCut;
        uint24 feeShare;
        uint80 fees;
        uint256 feesPerShare;
        mapping(uint256 round => Conversion conversion) conversions;
    }

    /// @dev How stake that arrived in a round became shares: shares per unit, and what a share had earned by then.
    struct Conversion {
        uint256 price;
        uint256 feesPerShare;
    }

    /// @dev A staker's part of a pool.
    struct Account {
        uint128 shares;
        uint128 fees;
        address delegate;
        uint32 waitingRound;
        uint32 nextLockId;
        uint256 feesPerShare;
        uint128 waiting;
    }

    /// @dev What a touch in some round makes of a pool.
    struct Touched {
        uint256 stake;
        uint256 shares;
        uint256 waiting;
        uint256 commission;
        uint256 feesPerShare;
        uint256 price;
    }

    /// @dev What settling makes of an account.
    struct Settled {
        uint256 shares;
        uint256 fees;
        uint256 waiting;
    }

    /// @dev Divides the fees among the shares that earned them, then turns waiting stake into shares.
    function preview(Pool storage pool, uint256 round) internal view returns (Touched memory t) {
        t.stake = pool.stake;
        t.shares = pool.shares;
        t.waiting = pool.waiting;
        t.commission = pool.commission;
        t.feesPerShare = pool.feesPerShare;
        uint256 fees = pool.fees;
        if (fees != 0) {
            uint256 shared = t.shares == 0 ? 0 : Ppm.share(fees, pool.feeShare);
            if (shared != 0) t.feesPerShare += shared * RAY / t.shares;
            t.commission += fees - shared;
        }
        if (t.waiting != 0 && pool.waitingRound < round) {
            t.price = t.shares == 0 || t.stake == 0 ? RAY : Math.max(t.shares * RAY / t.stake, 1);
            t.shares += t.waiting * t.price / RAY;
            t.stake += t.waiting;
            t.waiting = 0;
        }
    }

    function touch(Pool storage pool, uint256 round) internal returns (Touched memory t) {
        t = preview(pool, round);
        if (pool.fees != 0) {
            pool.fees = 0;
            pool.feesPerShare = t.feesPerShare;
            pool.commission = uint128(t.commission);
        }
        if (t.price != 0) {
            pool.stake = uint128(t.stake);
            pool.shares = uint128(t.shares);
            pool.waiting = 0;
            pool.conversions[pool.waitingRound] = Conversion(t.price, t.feesPerShare);
            pool.waitingRound = 0;
        }
    }

    /// @dev An account of a pool that a touch in `round` has brought to `t`.
    function settle(Pool storage pool, Touched memory t, Account storage account, uint256 round)
        internal
        view
        returns (Settled memory s)
    {
        s.shares = account.shares;
        s.fees = account.fees;
        // Without shares the account's mark is of a pool that it has left.
        if (s.shares != 0) s.fees += s.shares * (t.feesPerShare - account.feesPerShare) / RAY;
        s.waiting = account.waiting;
        if (s.waiting == 0 || account.waitingRound >= round) return s;
        Conversion memory c = pool.conversions[account.waitingRound];
        // A preview has not stored the conversion that it made.
        if (c.price == 0) c = Conversion(t.price, t.feesPerShare);
        uint256 converted = s.waiting * c.price / RAY;
        s.fees += converted * (t.feesPerShare - c.feesPerShare) / RAY;
        s.shares += converted;
        s.waiting = 0;
    }

    function stakeOf(Touched memory t, Settled memory s) internal pure returns (uint256) {
        return s.waiting + (t.shares == 0 ? 0 : s.shares * t.stake / t.shares);
    }
}
