// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "./IBondingTypes.sol";

/// @title Stake: bonds to orchestrators, the active set, and what both earn. What stakers and the market do, over and over
/// @dev Invariants:
/// - stakes of an orchestrator's delegators, rounded down, sum to at most its pool's stake;
/// - the next round's active stake is the sum over the set;
/// - stake that arrives in a round neither earns nor counts in that round;
/// - claims of all accounts sum to at most the fees booked;
/// - a slash takes exactly the tokens that it burns and pays, and reaches stake that waits or unbonds;
/// - a bond that was moved loses what it would have lost in an unbonding lock, and not more than its owner still has.
///
/// An orchestrator becomes active so: it bonds to itself, calls `transcoder` with its terms, and the next round is
/// initialized. Nobody can act for another account: there is no bond on behalf, because whoever can change another's
/// account can change its delegate, its history or its earnings; who wants to give stake sends tokens, or a bond that
/// the receiver has agreed to by bonding to the same orchestrator (`transferBond`).
interface IBondingStake is IBondingTypes {
    /// @notice Bonds `amount` tokens of the caller, and all it has bonded, to `to`. Takes an allowance.
    /// @dev What moves from another orchestrator (not `amount`) answers for its faults as a lock does, for an unbonding
    /// period: slashes of those rounds take their share of it out of the caller's bond, wherever that is. Until then it
    /// moves no second time, and cannot be unbonded or given away (`getRedelegation`).
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

    /// @notice Gives `amount` of the caller's bond to another delegator of the same orchestrator.
    /// @dev It stays in its pool: it keeps earning, and it keeps answering for the orchestrator. So there is no place
    /// in the set to find. The receiver agrees by being bonded there: nobody sets another's delegate. An orchestrator's
    /// own stake cannot be given away.
    function transferBond(address receiver, uint256 amount) external;

    /// @notice Pays a lock's stake out.
    function withdrawStake(uint256 lockId) external;

    /// @notice Pays `amount` of the caller's fees to `to`.
    function withdrawFees(address payable to, uint256 amount) external;

    /// @notice Books the caller's earnings up to now. Every other call does so too; it is never needed.
    function claimEarnings() external;

    /// @notice Calls for the caller's share of this round's new tokens.
    function reward() external;

    /// @notice As `reward`, with a neighbour that the caller will have.
    function rewardWithHint(address hint) external;

    /// @notice Books fees; ticket broker only, which has checked that they were earned while active.
    function updateTranscoderWithFees(address transcoder, uint256 fees) external;

    /// @notice Begins a round; rounds manager only.
    /// @return The number of orchestrators that are active in it.
    function onRoundInitialized(uint256 round) external returns (uint256);

    /// @notice First round of an orchestrator's present or last membership, and the first after it.
    function activeRounds(address transcoder) external view returns (uint256 from, uint256 until);
}

/// @title What is rare, and what only reads
interface IBondingExtension is IBondingTypes {
    /// @notice Sets the caller's terms, parts per million: the share of rewards it keeps, the share of fees its
    /// delegators (itself among them) get. The caller must be bonded to itself.
    /// @dev After the first call, what is worse for delegators holds only when an unbonding period has passed, so that
    /// they can leave first; what is better holds at once. A new call replaces terms that are waiting.
    function transcoder(uint256 rewardCut, uint256 feeShare) external;

    /// @notice As `transcoder`, with a neighbour that the caller will have.
    function transcoderWithHint(uint256 rewardCut, uint256 feeShare, address hint) external;

    /// @notice Takes stake of an orchestrator for a proven fault; court only.
    /// @dev Reaches its own stake and its delegators' pro rata: stake that earns, stake that waits for the next round
    /// and stake in every lock that left it and was not paid out. A pool worth less than a millionth is wiped out.
    /// Stake that was moved away loses its share later (`settleRedelegation`); no finder is paid of that.
    /// @param slashAmount Share of the stake, parts per million.
    /// @param finderFee Share of what is taken that `finder` gets, parts per million; the rest is burned.
    /// @return slashed Tokens taken.
    function slashTranscoder(address transcoder, address finder, uint256 slashAmount, uint256 finderFee)
        external
        returns (uint256 slashed);

    /// @notice Takes an orchestrator out of the set and keeps it out for `rounds`; court only.
    /// @dev It gets no reward any more, not even this round's. Tickets that it won while active are paid.
    function jailTranscoder(address transcoder, uint256 rounds) external;

    /// @notice Takes what an account's moved bond has lost for the orchestrator that it left, and burns it.
    /// @dev By anybody: every action of the account does so too, before it does anything else. Nothing happens to an
    /// account that owes nothing. A loss that sends its orchestrator too far down the set costs it its place there.
    function settleRedelegation(address account) external;

    /// @notice What of an account's bond answers for an orchestrator that it left: for slashes of rounds before `until`.
    /// @dev `amount` is what is left of it, once the losses up to now are taken. Kept past `until` while nobody touches
    /// the account; all zero if there is none.
    function getRedelegation(address account) external view returns (address from, uint256 amount, uint256 until);

    /// @notice Names the contract that may slash and jail; owner only. The zero address: nobody.
    function setCourt(address court) external;

    /// @notice The contract that may slash and jail.
    function court() external view returns (address);

    /// @notice Sets the unbonding period in rounds; owner only. Present locks keep theirs.
    function setUnbondingPeriod(uint256 rounds) external;

    /// @notice Sets how many orchestrators can be active; owner only. A smaller set takes effect as members leave.
    function setNumActiveTranscoders(uint256 count) external;

    /// @notice An account as `round` began: its delegate, its stake, and the whole stake behind it if it was an
    /// orchestrator then.
    /// @dev Of an initialized round only, and not of one older than StakeHistory.ROUNDS: what counts is final.
    function getBondingStateAt(address account, uint256 round)
        external
        view
        returns (address delegate, uint256 bonded, uint256 delegated);

    /// @notice Stake of the active set as `round` began.
    function getTotalActiveStakeAt(uint256 round) external view returns (uint256);

    /// @notice Whether an orchestrator is active in the last initialized round.
    function isActiveTranscoder(address transcoder) external view returns (bool);

    /// @notice An account's stake, with everything earned and without what its moved bond has lost.
    function pendingStake(address delegator) external view returns (uint256);

    /// @notice An account's fees, with everything earned.
    function pendingFees(address delegator) external view returns (uint256);

    /// @notice All stake behind an orchestrator, arriving stake included.
    function transcoderTotalStake(address transcoder) external view returns (uint256);

    /// @notice The same and what is unbonding from it: everything that a slash takes its share of at once.
    function slashableStake(address transcoder) external view returns (uint256);

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

/// @title The bonding manager as its callers see it: both parts at one address
interface IBondingManager is IBondingStake, IBondingExtension {}
