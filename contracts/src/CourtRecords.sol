// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ICourtRecords} from "./interfaces/ICourt.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {Receipts} from "./libraries/Receipts.sol";
import {CourtState} from "./CourtState.sol";

/// @title The court's objective faults, parameters and records; its contract is ICourtRecords
/// @dev Code for the court's storage: alone it is good for nothing.
contract CourtRecords is ICourtRecords, CourtState {
    using Receipts for TranscodeReceipt;

    /// @dev Seats in expectation: beyond, gas of a whole jury would not fit into a few blocks.
    uint256 private constant MAX_JURY_SIZE = 99;
    uint256 private constant MAX_DRAWS = 10;
    /// @dev A chain knows 256 block hashes; the seed is read by the last claim at the latest.
    uint256 private constant MAX_CLAIM_BLOCKS = 240;
    uint256 private constant MAX_WINDOW_BLOCKS = 100_000;

    constructor(address controller_, Siblings memory siblings) CourtState(controller_, siblings) {}

    /// @notice Sets the first parameters.
    function initialize(Parameters calldata parameters) external initializer {
        _setParameters(parameters);
    }

    /// @inheritdoc ICourtRecords
    function reportEquivocation(address accused, SignedReceipt calldata first, SignedReceipt calldata second)
        external
        whenNotPaused
        returns (uint256)
    {
        bytes32 digest = _checkReceipt(accused, first);
        bool same = first.receipt.session == second.receipt.session && first.receipt.sequence == second.receipt.sequence;
        if (_checkReceipt(accused, second) == digest || !same) revert NoEquivocation();
        bytes32 segment = keccak256(abi.encode(first.receipt.session, first.receipt.sequence));
        return _punishObjective(accused, Fault.Equivocation, segment);
    }

    /// @inheritdoc ICourtRecords
    function reportPixels(
        address accused,
        SignedReceipt calldata signed,
        RenditionClaim[] calldata claims,
        Rung[] calldata ladder
    ) external whenNotPaused returns (uint256) {
        bytes32 digest = _checkReceipt(accused, signed);
        _checkSigned(Receipts.renditionsRoot(claims), signed.receipt.renditionsRoot);
        bool wrong = Receipts.sumOfPixels(claims) != signed.receipt.pixels;
        if (!wrong && ladder.length != 0) {
            _checkSigned(Receipts.ladderHash(ladder), signed.receipt.ladderHash);
            wrong = !Receipts.fitsLadder(claims, ladder);
        }
        if (!wrong) revert NoPixelFault();
        return _punishObjective(accused, Fault.ReceiptPixels, digest);
    }

    /// @inheritdoc ICourtRecords
    function setParameters(Parameters calldata parameters) external onlyOwner {
        _setParameters(parameters);
    }

    /// @inheritdoc ICourtRecords
    function getParameters() external view returns (Parameters memory) {
        return _parameters;
    }

    /// @inheritdoc ICourtRecords
    function getDispute(uint256 dispute) external view returns (Dispute memory) {
        return _disputes[dispute];
    }

    /// @inheritdoc ICourtRecords
    function getJury(uint256 jury) external view returns (Jury memory) {
        return _juries[jury];
    }

    /// @inheritdoc ICourtRecords
    function getSeat(uint256 jury, address juror) external view returns (Seat memory) {
        return _seats[jury][juror];
    }

    /// @inheritdoc ICourtRecords
    function isVoid(uint256 jury) external view returns (bool) {
        Jury storage j = _juries[jury];
        Dispute storage d = _disputes[j.dispute];
        bool sits = d.jury == jury && (d.status == Status.Judging || d.status == Status.Appealed);
        return _void[jury] || (sits && _isCutOff(j));
    }

    /// @inheritdoc ICourtRecords
    function appealEnd(uint256 dispute) external view returns (uint256) {
        return _appealEnd(_disputes[dispute]);
    }

    /// @inheritdoc ICourtRecords
    function disputeCount() external view returns (uint256) {
        return _disputeCount;
    }

    /// @inheritdoc ICourtRecords
    function juryCount() external view returns (uint256) {
        return _juryCount;
    }

    /// @inheritdoc ICourtRecords
    function pending(address account) external view returns (uint256) {
        return _pending[account];
    }

    /// @inheritdoc ICourtRecords
    function isPunished(address accused, Fault fault, bytes32 receipt) external view returns (bool) {
        return _punished[_faultKey(accused, fault, receipt)];
    }

    /// @inheritdoc ICourtRecords
    function receiptDigest(TranscodeReceipt calldata receipt) external view returns (bytes32) {
        return receipt.digest(Receipts.domainSeparator(controller));
    }

    /// @inheritdoc ICourtRecords
    function voteHash(uint256 jury, address juror, Verdict verdict, bytes32 salt) external pure returns (bytes32) {
        return _voteHash(jury, juror, verdict, salt);
    }

    function _punishObjective(address accused, Fault fault, bytes32 receipt) private returns (uint256 slashed) {
        _useUp(accused, fault, receipt);
        slashed = _punish(accused, fault, receipt, msg.sender, _finderPpm(accused));
    }

    function _setParameters(Parameters calldata p) private {
        _bounded(p.juryFee, 0, p.bond);
        _bounded(p.jurySize, 1, MAX_JURY_SIZE);
        _bounded(p.maxDraws, 1, MAX_DRAWS);
        _bounded(p.seedDelay, 1, MAX_WINDOW_BLOCKS);
        _bounded(p.claimBlocks, 1, MAX_CLAIM_BLOCKS);
        _bounded(p.commitBlocks, 1, MAX_WINDOW_BLOCKS);
        _bounded(p.revealBlocks, 1, MAX_WINDOW_BLOCKS);
        _bounded(p.appealBlocks, 1, MAX_WINDOW_BLOCKS);
        _bounded(p.absencePpm, 0, Ppm.ONE);
        _bounded(p.dissentPpm, 0, Ppm.ONE);
        _bounded(uint256(p.finderPpm) + p.jurorsPpm, 0, Ppm.ONE / 2);
        for (uint256 i; i < p.slashPpm.length; ++i) {
            _bounded(p.slashPpm[i], 0, Ppm.ONE);
        }
        _checkDurations(p);
        _parameters = p;
        emit ParametersSet(p);
    }

    /// @dev Whoever begins to unbond right after the offence must still be there when the last appeal ends.
    function _checkDurations(Parameters calldata p) private view {
        uint256 length = roundsManager.roundLength();
        uint256 draw = uint256(p.seedDelay) + p.claimBlocks;
        // A draw waits for the next round where the present one has too few blocks left.
        _bounded(draw + 1, 1, length);
        uint256 instance = p.maxDraws * (2 * draw + p.commitBlocks + p.revealBlocks);
        uint256 rounds = Math.ceilDiv(2 * instance + p.appealBlocks, length);
        _bounded(p.statuteRounds + rounds, 1, bondingManager.unbondingPeriod() - 1);
    }

    function _checkSigned(bytes32 found, bytes32 signed) private pure {
        if (found != signed) revert NotSigned(found, signed);
    }
}
