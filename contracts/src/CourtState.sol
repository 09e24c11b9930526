// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {IBondingTypes} from "./interfaces/IBondingTypes.sol";
import {ICourtTypes} from "./interfaces/ICourtTypes.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {IRoundsManager} from "./interfaces/IRoundsManager.sol";
import {IServiceRegistry} from "./interfaces/IServiceRegistry.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {Receipts} from "./libraries/Receipts.sol";
import {Timeline} from "./libraries/Timeline.sol";
import {Managed} from "./Managed.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title What the court remembers, and what both of its parts do with it
abstract contract CourtState is ICourtTypes, Upgradeable {
    using Receipts for TranscodeReceipt;
    using SafeCast for uint256;
    using Timeline for mapping(uint256 index => Timeline.Entry end);

    /// @notice The contracts that this one works with.
    struct Siblings {
        IFramemillToken token;
        IBondingManager bondingManager;
        IRoundsManager roundsManager;
        IServiceRegistry serviceRegistry;
    }

    IFramemillToken public immutable token;
    IBondingManager public immutable bondingManager;
    IRoundsManager public immutable roundsManager;
    IServiceRegistry public immutable serviceRegistry;

    uint64 internal _disputeCount;
    uint64 internal _juryCount;
    uint32 private _pauseCount;
    Parameters internal _parameters;
    mapping(uint256 id => Dispute dispute) internal _disputes;
    mapping(uint256 id => Jury jury) internal _juries;
    mapping(uint256 jury => mapping(address juror => Seat seat)) internal _seats;
    mapping(bytes32 evidenceKey => uint256 dispute) internal _inDispute;
    mapping(bytes32 faultKey => bool punished) internal _punished;
    mapping(address account => uint256 amount) internal _pending;
    /// @dev Juries that a pause has kept from their work.
    mapping(uint256 jury => bool voided) internal _void;
    /// @dev By the blocks in which pauses began: those in which they ended, the largest number while one lasts.
    mapping(uint256 index => Timeline.Entry end) private _pauses;
    uint256[38] private __gap;

    constructor(address controller_, Siblings memory siblings) Upgradeable(controller_) {
        token = siblings.token;
        bondingManager = siblings.bondingManager;
        roundsManager = siblings.roundsManager;
        serviceRegistry = siblings.serviceRegistry;
    }

    /// @notice Takes the fuse's state, and notes when it changes: windows that it cuts off are opened again.
    function setPaused(bool paused_) public override {
        bool changes = paused_ != _paused;
        super.setPaused(paused_);
        if (!changes) return;
        uint256 count = _pauseCount;
        // Code that keeps no notes may have begun the pause.
        uint256 from = paused_ || count == 0 ? block.number : _pauses[count - 1].time;
        _pauseCount = uint32(_pauses.note(count, from, paused_ ? type(uint208).max : block.number));
    }

    /// @dev The end of the last pause that began in block `until` or before; 0: there was none.
    function _lastPause(uint256 until) internal view returns (uint256) {
        return _pauses.before(_pauseCount, until + 1);
    }

    /// @dev A pause has lain in a jury's windows, or still does. Once all votes are shown, none takes the verdict away.
    function _isCutOff(Jury storage jury) internal view returns (bool) {
        uint256 seedBlock = jury.seedBlock;
        uint256 votes = _votes(jury);
        bool complete = votes != 0 && votes == jury.seats;
        return seedBlock != 0 && _lastPause(complete ? jury.commitUntil : jury.revealUntil) > seedBlock;
    }

    function _votes(Jury storage jury) internal view returns (uint256) {
        return uint256(jury.guilty) + jury.notGuilty + jury.unavailable;
    }

    /// @dev Last block in which a verdict can be appealed: a pause in the window starts it again. 0: it is final.
    function _appealEnd(Dispute storage d) internal view returns (uint256 end) {
        end = d.appealUntil;
        if (end == 0) return 0;
        uint256 length = _parameters.appealBlocks;
        uint256 again = _lastPause(end) + length;
        while (again > end) {
            end = again;
            again = _lastPause(end) + length;
        }
    }

    /// @dev What a juror commits to.
    function _voteHash(uint256 jury, address juror, Verdict verdict, bytes32 salt) internal pure returns (bytes32) {
        return keccak256(abi.encode(jury, juror, verdict, salt));
    }

    /// @dev The receipt's digest, once it is sure that the accused answers for it.
    function _checkReceipt(address accused, SignedReceipt calldata signed) internal view returns (bytes32 digest) {
        uint256 round = signed.receipt.round;
        uint256 current = roundsManager.currentRound();
        uint256 statute = _parameters.statuteRounds;
        if (round == 0 || round > current || round + statute < current) {
            revert OutsideStatute(round, current, statute);
        }
        digest = signed.receipt.digest(Receipts.domainSeparator(controller));
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signed.signature);
        if (failure != ECDSA.RecoverError.NoError || !serviceRegistry.isSigner(accused, signer, round)) {
            revert WrongSigner(signer, accused, round);
        }
    }

    /// @dev Marks a fault as punished.
    function _useUp(address accused, Fault fault, bytes32 receipt) internal {
        bytes32 key = _faultKey(accused, fault, receipt);
        if (_punished[key]) revert AlreadyPunished(receipt, fault);
        _punished[key] = true;
    }

    /// @dev What a finder gets of a slash. Never more than half of what the accused loses itself: with little stake of its own
    /// it would otherwise accuse itself to be paid out of its delegators' stake.
    function _finderPpm(address accused) internal view returns (uint256) {
        IBondingTypes.Delegator memory own = bondingManager.getDelegator(accused);
        // Unbonding stake is slashed as well.
        uint256 total = bondingManager.slashableStake(accused);
        if (own.delegateAddress != accused || total == 0) return 0;
        return Math.min(_parameters.finderPpm, own.bondedAmount * (Ppm.ONE / 2) / total);
    }

    function _credit(address account, uint256 amount) internal {
        _pending[account] += amount;
    }

    /// @dev Votes of a jury for a verdict, by seats.
    function _tally(Jury storage jury, Verdict verdict) internal view returns (uint256) {
        if (verdict == Verdict.Guilty) return jury.guilty;
        if (verdict == Verdict.NotGuilty) return jury.notGuilty;
        return verdict == Verdict.Unavailable ? jury.unavailable : 0;
    }

    /// @dev A jury with less than more than half of its expected seats decides nothing.
    function _isQuorate(uint256 seats, uint256 size) internal pure returns (bool) {
        return 2 * seats > size;
    }

    function _window(uint256 from, uint256 until) internal view {
        if (block.number < from || block.number > until) revert OutsideWindow(block.number, from, until);
    }

    function _faultKey(address accused, Fault fault, bytes32 receipt) internal pure returns (bytes32) {
        return keccak256(abi.encode(accused, fault, receipt));
    }

    function _evidenceKey(Dispute storage dispute) internal view returns (bytes32) {
        return keccak256(abi.encode(dispute.accused, dispute.fault, dispute.evidence));
    }

    function _punish(address accused, Fault fault, bytes32 receipt, address finder, uint256 finderPpm)
        internal
        returns (uint256 slashed)
    {
        slashed = bondingManager.slashTranscoder(accused, finder, _parameters.slashPpm[uint256(fault)], finderPpm);
        bondingManager.jailTranscoder(accused, _parameters.jailRounds);
        emit FaultPunished(accused, fault, receipt, finder, slashed);
    }
}
