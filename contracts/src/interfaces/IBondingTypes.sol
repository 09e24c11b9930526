// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What the bonding manager's functions share: records, events, errors
interface IBondingTypes {
    /// @notice An orchestrator's place and terms.
    struct Transcoder {
        uint256 totalStake;
        uint256 earningStake;
        uint256 rewardCut;
        uint256 feeShare;
        uint256 lastRewardRound;
        uint256 activationRound;
        uint256 deactivationRound;
        bool active;
        bool candidate;
        uint256 jailedUntil;
        uint256 termsRound;
        uint256 nextRewardCut;
        uint256 nextFeeShare;
    }

    /// @notice A staker's account, settled to the last initialized round.
    struct Delegator {
        uint256 bondedAmount;
        uint256 fees;
        address delegateAddress;
        uint256 startRound;
        uint256 nextUnbondingLockId;
    }

    /// @notice Stake on its way out, and the orchestrator it backed.
    struct UnbondingLock {
        address delegate;
        uint96 amount;
        uint32 withdrawRound;
    }

    /// @notice An orchestrator set its terms.
    event TranscoderUpdate(address indexed transcoder, uint256 rewardCut, uint256 feeShare);
    /// @notice An orchestrator entered the set.
    event TranscoderActivated(address indexed transcoder, uint256 activationRound);
    /// @notice An orchestrator left the set.
    event TranscoderDeactivated(address indexed transcoder, uint256 deactivationRound);
    /// @notice A staker bonded: `amount` more, `total` now, effective in the next round where it is new.
    event Bonded(address indexed delegator, address indexed delegate, uint256 amount, uint256 total);
    /// @notice A staker began to unbond.
    event Unbonded(
        address indexed delegator,
        address indexed delegate,
        uint256 indexed lockId,
        uint256 amount,
        uint256 withdrawRound
    );
    /// @notice A staker put unbonding stake back.
    event Rebonded(address indexed delegator, address indexed delegate, uint256 indexed lockId, uint256 amount);
    /// @notice Unbonded stake left.
    event StakeWithdrawn(address indexed delegator, uint256 indexed lockId, uint256 amount);
    /// @notice Fees left.
    event FeesWithdrawn(address indexed delegator, address indexed to, uint256 amount);
    /// @notice Earnings up to now were booked to an account.
    event EarningsClaimed(address indexed delegator, address indexed delegate, uint256 stake, uint256 fees);
    /// @notice An orchestrator called for its reward.
    event Reward(address indexed transcoder, uint256 amount);
    /// @notice Fees arrived for an orchestrator and its delegators.
    event FeesReceived(address indexed transcoder, uint256 amount);
    /// @notice The court took stake of an orchestrator and of its delegators; `fee` of it went to the finder.
    event TranscoderSlashed(address indexed transcoder, address indexed finder, uint256 slashed, uint256 fee);
    /// @notice The court keeps an orchestrator out of the set before round `until`.
    event TranscoderJailed(address indexed transcoder, uint256 until);
    /// @notice Another contract judges.
    event CourtSet(address indexed court);
    /// @notice Terms that are worse for delegators were set; they hold from `round` on.
    event TermsDelayed(address indexed transcoder, uint256 rewardCut, uint256 feeShare, uint256 round);
    /// @notice A moved bond lost `amount` for a fault of the orchestrator that it left; it was burned.
    event RedelegationSlashed(address indexed delegator, address indexed from, uint256 amount);
    /// @notice A delegator gave bonded stake to another delegator of the same orchestrator.
    event TransferBond(address indexed oldDelegator, address indexed newDelegator, uint256 amount);
    /// @notice A parameter changed.
    event ParameterSet(bytes32 indexed name, uint256 value);

    /// @notice The delegate is neither the caller nor an orchestrator with stake of its own.
    error NotOrchestrator(address delegate);
    /// @notice An orchestrator's own stake stays with itself; unbond it first.
    error OrchestratorCannotDelegate(address orchestrator);
    /// @notice The amount is zero or more than there is.
    error BadAmount(uint256 amount, uint256 available);
    /// @notice The account has no stake.
    error NotBonded(address account);
    /// @notice There is no such lock.
    error NoSuchLock(address account, uint256 lockId);
    /// @notice The stake is bonded still; use `rebond`, or unbond it first.
    error StillBonded(address delegate);
    /// @notice The lock has not run out; or the bond was moved already, and cannot move again before `withdrawRound`.
    error StillLocked(uint256 currentRound, uint256 withdrawRound);
    /// @notice Stake that was moved answers for the orchestrator that it left: before round `until` only `free` may go.
    error StakeAnswers(uint256 free, uint256 until);
    /// @notice A share of this orchestrator's pool is worth so much that what is bonded to it could be lost by rounding.
    error SharesTooDear(address transcoder);
    /// @notice Terms cannot change at the end of a round.
    error RoundLocked(uint256 round);
    /// @notice The orchestrator does not count in this round.
    error NotActive(address orchestrator, uint256 round);
    /// @notice The receiver of a bond is not another delegator of the same orchestrator.
    error NotOfTheSamePool(address receiver, address orchestrator);
    /// @notice The orchestrator is in jail.
    error Jailed(address orchestrator, uint256 until);
    /// @notice This round's reward was called for already.
    error AlreadyRewarded(address orchestrator, uint256 round);
}
