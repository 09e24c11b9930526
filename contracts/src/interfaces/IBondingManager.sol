// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Stake: bonds to orchestrators, the active set, and what both earn
/// @dev Invariants:
/// - stakes of an orchestrator's delegators, rounded down, sum to at most its pool's stake;
/// - the next round's active stake is the sum over the set;
/// - stake that arrives in a round neither earns nor counts in that round;
/// - claims of all accounts sum to at most the fees booked.
///
/// An orchestrator becomes active so: it bonds to itself, calls `transcoder` with its terms, and the next round is
/// initialized. Nobody can act for another account: there is no bond on behalf.
interface IBondingManager {
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
    /// @notice The lock has not run out.
    error StillLocked(uint256 currentRound, uint256 withdrawRound);
    /// @notice Terms cannot change at the end of a round.
    error RoundLocked(uint256 round);
    /// @notice The orchestrator does not count in this round.
    error NotActive(address orchestrator, uint256 round);
    /// @notice This round's reward was called for already.
    error AlreadyRewarded(address orchestrator, uint256 round);

    /// @notice Bonds `amount` tokens of the caller, and all it has bonded, to `to`. Takes an allowance.
    function bond(uint256 amount, address to) external;

    /// @notice As `bond`, with the neighbours that `to` (and the old delegate) will have in the set.
    function bondWithHint(uint256 amount, address to, address oldDelegateHint, address newDelegateHint) external;

    /// @notice Takes `amount` out of the caller's bond; it can be withdrawn after the unbonding period.
    function unbond(uint256 amount) external;

    /// @notice As `unbond`, with a neighbour that the delegate will have.
    function unbondWithHint(uint256 amount, address hint) external;

    /// @notice Puts a lock's stake back to the caller's delegate.
    function rebond(uint256 lockId) external;

    /// @notice As `rebond`, with a neighbour that the delegate will have.
    function rebondWithHint(uint256 lockId, address hint) external;

    /// @notice Puts a lock's stake of a caller with nothing bonded to `to`.
    function rebondFromUnbonded(address to, uint256 lockId) external;

    /// @notice As `rebondFromUnbonded`, with a neighbour that `to` will have.
    function rebondFromUnbondedWithHint(address to, uint256 lockId, address hint) external;

    /// @notice Pays a lock's stake out.
    function withdrawStake(uint256 lockId) external;

    /// @notice Pays `amount` of the caller's fees to `to`.
    function withdrawFees(address payable to, uint256 amount) external;

    /// @notice Books the caller's earnings up to now. Every other call does so too; it is never needed.
    function claimEarnings() external;

    /// @notice Sets the caller's terms, parts per million: the share of rewards it keeps, the share of fees its
    /// delegators (itself among them) get. The caller must be bonded to itself.
    function transcoder(uint256 rewardCut, uint256 feeShare) external;

    /// @notice As `transcoder`, with a neighbour that the caller will have.
    function transcoderWithHint(uint256 rewardCut, uint256 feeShare, address hint) external;

    /// @notice Calls for the caller's share of this round's new tokens.
    function reward() external;

    /// @notice As `reward`, with a neighbour that the caller will have.
    function rewardWithHint(address hint) external;

    /// @notice Books fees; ticket broker only, which has checked that they were earned while active.
    function updateTranscoderWithFees(address transcoder, uint256 fees) external;

    /// @notice Begins a round; rounds manager only.
    /// @return The number of orchestrators that are active in it.
    function onRoundInitialized(uint256 round) external returns (uint256);

    /// @notice Sets the unbonding period in rounds; owner only. Present locks keep theirs.
    function setUnbondingPeriod(uint256 rounds) external;

    /// @notice Sets how many orchestrators can be active; owner only. A smaller set takes effect as members leave.
    function setNumActiveTranscoders(uint256 count) external;

    /// @notice First round of an orchestrator's present or last membership, and the first after it.
    function activeRounds(address transcoder) external view returns (uint256 from, uint256 until);

    /// @notice Whether an orchestrator is active in the last initialized round.
    function isActiveTranscoder(address transcoder) external view returns (bool);

    /// @notice An account's stake, with everything earned.
    function pendingStake(address delegator) external view returns (uint256);

    /// @notice An account's fees, with everything earned.
    function pendingFees(address delegator) external view returns (uint256);

    /// @notice All stake behind an orchestrator, arriving stake included.
    function transcoderTotalStake(address transcoder) external view returns (uint256);

    /// @notice An account, settled.
    function getDelegator(address delegator) external view returns (Delegator memory);

    /// @notice A lock of an account.
    function getDelegatorUnbondingLock(address delegator, uint256 lockId) external view returns (UnbondingLock memory);

    /// @notice An orchestrator.
    function getTranscoder(address transcoder) external view returns (Transcoder memory);

    /// @notice Up to `limit` members of the next round's set from `start` (zero: the first) on, highest stake first.
    function getTranscoderPool(address start, uint256 limit) external view returns (address[] memory);

    /// @notice Size of the next round's set.
    function getTranscoderPoolSize() external view returns (uint256);

    /// @notice Stake of all that are active in the current round, as it began.
    function currentRoundTotalActiveStake() external view returns (uint256);

    /// @notice Stake of the next round's set.
    function nextRoundTotalActiveStake() external view returns (uint256);

    /// @notice Rounds between unbonding and withdrawal.
    function unbondingPeriod() external view returns (uint256);

    /// @notice How many orchestrators can be active.
    function getTranscoderPoolMaxSize() external view returns (uint256);
}
