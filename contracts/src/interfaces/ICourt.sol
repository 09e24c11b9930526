// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "./ICourtTypes.sol";

/// @title The part of the court that hears disputes
interface ICourtTrials is ICourtTypes {
    /// @notice Opens a dispute and takes the bond, for which the court needs an allowance.
    /// @param receipts One, or two of different segments for `Unfaithful`.
    /// @param evidence SHA-256 of the manifest of each receipt's bundle, which must stay fetchable to the end.
    function openDispute(address accused, Fault fault, SignedReceipt[] calldata receipts, bytes32[] calldata evidence)
        external
        returns (uint256 dispute);

    /// @notice Takes the caller's seats in the dispute's present jury.
    function claimSeat(uint256 dispute) external returns (uint256 seats);

    /// @notice Commits the caller to a vote: `voteHash(jury, caller, verdict, salt)`.
    function commitVote(uint256 dispute, bytes32 commitment) external;

    /// @notice Shows the vote that the caller committed to.
    function revealVote(uint256 dispute, Verdict verdict, bytes32 salt) external;

    /// @notice Moves a dispute on: names a seed block, counts votes, or draws again. Anybody may call it.
    /// @dev A jury with a pause in its windows is void: another one is drawn at once, and the draw does not count.
    function advance(uint256 dispute) external;

    /// @notice Appeals a verdict, once, and takes twice the bond. Anybody may, up to `appealEnd`.
    function appeal(uint256 dispute) external;

    /// @notice Carries a final verdict out. Anybody may call it.
    function execute(uint256 dispute) external;

    /// @notice Pays a juror of a closed dispute, or slashes it for its absence or for a false vote: the caller gets
    /// a tenth of that. Anybody may call it. Jurors of a void jury have nothing to get and nothing to fear.
    function settleJuror(uint256 jury, address juror) external;

    /// @notice Pays out what the caller has to get.
    function withdraw() external returns (uint256 amount);

    /// @notice Seats that an account could claim in a dispute's present jury now; 0 outside of the claim window.
    function seatsOf(uint256 dispute, address account) external view returns (uint256);
}

/// @title The part of the court that needs no jury: objective faults, parameters, records
/// @dev One contract would be larger than chains accept. It is called at the court's address.
interface ICourtRecords is ICourtTypes {
    /// @notice Punishes the signer of two different receipts for one session and sequence. The caller is the finder.
    function reportEquivocation(address accused, SignedReceipt calldata first, SignedReceipt calldata second)
        external
        returns (uint256 slashed);

    /// @notice Punishes the signer of a receipt whose pixels are not the sum of its claims', or whose claims cannot be
    /// those of its ladder: another number of renditions, or no whole number of frames. The caller is the finder.
    /// @param claims All claims under the receipt's root, in order.
    /// @param ladder The ladder behind the receipt's hash; empty where the sum alone is wrong.
    function reportPixels(
        address accused,
        SignedReceipt calldata receipt,
        RenditionClaim[] calldata claims,
        Rung[] calldata ladder
    ) external returns (uint256 slashed);

    /// @notice Sets the parameters; owner only. A dispute must end before stake of its receipt's round is free.
    function setParameters(Parameters calldata parameters) external;

    /// @notice What the court goes by.
    function getParameters() external view returns (Parameters memory);

    /// @notice A dispute; the first one is 1.
    function getDispute(uint256 dispute) external view returns (Dispute memory);

    /// @notice A jury; the first one is 1.
    function getJury(uint256 jury) external view returns (Jury memory);

    /// @notice A juror's part in a jury.
    function getSeat(uint256 jury, address juror) external view returns (Seat memory);

    /// @notice Whether a pause has kept a jury from its work: it takes no claims and votes any more, is neither paid nor
    /// fined, and the next `advance` draws another one.
    function isVoid(uint256 jury) external view returns (bool);

    /// @notice Last block in which a dispute's verdict can be appealed; 0: it cannot. It is the dispute's `appealUntil`
    /// unless a pause lay in the window: that starts it again, in full and by the present parameters.
    function appealEnd(uint256 dispute) external view returns (uint256);

    /// @notice Number of disputes so far.
    function disputeCount() external view returns (uint256);

    /// @notice Number of juries so far.
    function juryCount() external view returns (uint256);

    /// @notice Tokens that an account can withdraw.
    function pending(address account) external view returns (uint256);

    /// @notice Whether a receipt was punished for a fault. For `Equivocation` the receipt is
    /// `keccak256(session ‖ sequence)`, for others its digest.
    function isPunished(address accused, Fault fault, bytes32 receipt) external view returns (bool);

    /// @notice The digest that an orchestrator signs for a receipt.
    function receiptDigest(TranscodeReceipt calldata receipt) external view returns (bytes32);

    /// @notice What a juror commits to.
    function voteHash(uint256 jury, address juror, Verdict verdict, bytes32 salt) external pure returns (bytes32);
}

/// @title Takes stake from orchestrators that signed what is provably wrong
/// @dev Invariants:
/// - the court's tokens >= open bonds + undistributed pots + what accounts can withdraw;
/// - a receipt is punished at most once for a fault;
/// - a dispute ends: each of its draws has a last block, the number of draws is bounded, and anybody can move it on;
/// - nobody is slashed before the verdict is final.
///
/// Two kinds of faults. Objective ones are proven by signatures and sums, here, in one transaction. The others need
/// decoded video: a challenger puts up a bond and names evidence by its hash, a jury drawn by stake fetches it, runs the
/// same integer arithmetic, and votes by commit and reveal.
///
/// The draw. A block that does not exist yet is named; its hash is the seed. Every active orchestrator works out for
/// itself how many seats the seed gives it (`size` in expectation over all stake that is no party's) and claims them: a
/// claim costs the same for any size of the set, and nothing has to be kept up to date when stakes move. Seats are
/// counted by stake that was fixed before the seed block was named, because claims end within the round. A draw
/// that too few claim, or that is not decided by a majority, is repeated with another block.
///
/// Windows are counted in blocks; a window's last block belongs to it. A pause takes nothing from anybody: a jury whose
/// windows it touched is void and another one is drawn, and a window for an appeal begins again. What it does not stop is
/// the count of rounds: receipts age, and stake that unbonds ripens.
interface ICourt is ICourtTrials, ICourtRecords {}
