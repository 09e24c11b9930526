// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Proxy} from "@openzeppelin/contracts/proxy/Proxy.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ICourtTrials} from "./interfaces/ICourt.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {CourtJury} from "./CourtJury.sol";

/// @title Court; its contract is ICourt
contract Court is CourtJury, Proxy {
    using SafeCast for uint256;
    using SafeERC20 for IFramemillToken;

    /// @notice The part of the code that needs no jury; it works on this contract's storage. Every function that is not
    /// here is called there.
    address public immutable records;

    constructor(address controller_, Siblings memory siblings, address records_) CourtJury(controller_, siblings) {
        if (records_ == address(0)) revert ZeroAddress();
        records = records_;
    }

    receive() external payable {
        revert NoEther();
    }

    /// @inheritdoc ICourtTrials
    function openDispute(address accused, Fault fault, SignedReceipt[] calldata receipts, bytes32[] calldata evidence)
        external
        whenNotPaused
        returns (uint256 id)
    {
        uint256 count = receipts.length;
        uint256 wanted = fault == Fault.Unfaithful ? 2 : 1;
        if (fault < Fault.ClaimedPixels || count != wanted || evidence.length != wanted) {
            revert BadAccusation(fault, count, evidence.length);
        }
        (uint256 activeFrom,) = bondingManager.activeRounds(accused);
        if (activeFrom == 0) revert NotOrchestrator(accused);
        id = ++_disputeCount;
        Dispute storage d = _disputes[id];
        (d.challenger, d.accused, d.fault, d.status) = (msg.sender, accused, fault, Status.Judging);
        d.bond = _parameters.bond;
        for (uint256 i; i < count; ++i) {
            _accuse(d, i, receipts[i], evidence[i]);
        }
        if (count == 2 && _sameSegment(receipts[0], receipts[1])) revert BadAccusation(fault, 1, 1);
        bytes32 key = _evidenceKey(d);
        if (_inDispute[key] != 0) revert EvidenceInDispute(evidence[0], _inDispute[key]);
        _inDispute[key] = id;
        emit DisputeOpened(id, msg.sender, accused, fault, d.receipts, d.evidence, d.bond);
        _newJury(id, _parameters.jurySize);
        token.safeTransferFrom(msg.sender, address(this), d.bond);
    }

    /// @inheritdoc ICourtTrials
    function advance(uint256 dispute) external whenNotPaused {
        Dispute storage d = _judged(dispute);
        Jury storage jury = _juries[d.jury];
        if (jury.seedBlock == 0) {
            if (!_schedule(dispute, d.jury)) revert RoundEnding(_roundEnd());
            return;
        }
        if (_isCutOff(jury)) {
            _void[d.jury] = true;
            emit JuryVoided(dispute, d.jury);
            // It had no chance: its draw does not count.
            --d.draws;
            _newJury(dispute, jury.size);
            return;
        }
        bool short = block.number > jury.claimUntil && !_isQuorate(jury.seats, jury.size);
        bool all = block.number > jury.commitUntil && _votes(jury) == jury.seats;
        if (!short && !all) _window(uint256(jury.revealUntil) + 1, type(uint256).max);
        Verdict verdict = short ? Verdict.None : _verdictOf(jury);
        if (verdict != Verdict.None) _decide(dispute, d, verdict);
        else if (d.draws < _parameters.maxDraws) _newJury(dispute, jury.size);
        else _giveUp(dispute, d);
    }

    /// @inheritdoc ICourtTrials
    function appeal(uint256 dispute) external whenNotPaused {
        Dispute storage d = _disputes[dispute];
        if (d.status != Status.Decided) revert WrongStatus(dispute, d.status);
        _window(0, _appealEnd(d));
        uint256 bond = 2 * uint256(d.bond);
        (d.appellant, d.appealBond, d.status) = (msg.sender, bond.toUint96(), Status.Appealed);
        (d.firstVerdict, d.appealUntil, d.draws) = (d.verdict, 0, 0);
        emit Appealed(dispute, msg.sender, bond);
        _newJury(dispute, 2 * uint256(_juries[d.firstJury].size) + 1);
        token.safeTransferFrom(msg.sender, address(this), bond);
    }

    /// @inheritdoc ICourtTrials
    function execute(uint256 dispute) external whenNotPaused {
        Dispute storage d = _disputes[dispute];
        if (d.status != Status.Decided) revert WrongStatus(dispute, d.status);
        _window(_appealEnd(d) + 1, type(uint256).max);
        d.status = Status.Closed;
        delete _inDispute[_evidenceKey(d)];
        _payAppeal(d);
        uint256 slashed = d.verdict == Verdict.Guilty ? _convict(d) : _acquit(d);
        emit DisputeClosed(dispute, d.verdict, slashed);
    }

    /// @inheritdoc ICourtTrials
    function withdraw() external whenNotPaused returns (uint256 amount) {
        amount = _pending[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        delete _pending[msg.sender];
        emit Withdrawn(msg.sender, amount);
        token.safeTransfer(msg.sender, amount);
    }

    function _accuse(Dispute storage d, uint256 i, SignedReceipt calldata signed, bytes32 evidence) private {
        bytes32 digest = _checkReceipt(d.accused, signed);
        if (_punished[_faultKey(d.accused, d.fault, digest)]) revert AlreadyPunished(digest, d.fault);
        (d.receipts[i], d.evidence[i]) = (digest, evidence);
    }

    function _decide(uint256 dispute, Dispute storage d, Verdict verdict) private {
        bool first = d.status == Status.Judging;
        (d.verdict, d.status) = (verdict, Status.Decided);
        if (first) {
            d.firstJury = d.jury;
            d.appealUntil = (block.number + _parameters.appealBlocks).toUint48();
        } else {
            d.appealJury = d.jury;
        }
        emit VerdictReached(dispute, d.jury, verdict, d.appealUntil);
    }

    /// @dev No jury could decide. The accused goes free without a verdict; on appeal the first verdict stands.
    function _giveUp(uint256 dispute, Dispute storage d) private {
        if (d.status == Status.Appealed) {
            d.status = Status.Decided;
            emit VerdictReached(dispute, d.jury, d.verdict, 0);
            return;
        }
        d.status = Status.Closed;
        delete _inDispute[_evidenceKey(d)];
        _credit(d.challenger, d.bond);
        emit DisputeClosed(dispute, Verdict.None, 0);
    }

    function _convict(Dispute storage d) private returns (uint256 slashed) {
        uint256 finderPpm = _finderPpm(d.accused);
        uint256 jurorsPpm = _parameters.jurorsPpm;
        uint256 held = token.balanceOf(address(this));
        // Another dispute about the receipt may have come first: the jury has worked all the same.
        if (_useUpAll(d)) slashed = _punish(d.accused, d.fault, d.receipts[0], address(this), finderPpm + jurorsPpm);
        uint256 received = token.balanceOf(address(this)) - held;
        uint256 forJuries = received == 0 ? 0 : received * jurorsPpm / (finderPpm + jurorsPpm);
        uint256 forChallenger = received - forJuries + d.bond;
        uint256 missing = Math.min(Math.saturatingSub(_parameters.juryFee, forJuries), forChallenger);
        _credit(d.challenger, forChallenger - missing);
        _fillPots(d, forJuries + missing);
    }

    function _acquit(Dispute storage d) private returns (uint256) {
        uint256 forAccused = uint256(d.bond) / 2;
        _credit(d.accused, forAccused);
        _fillPots(d, d.bond - forAccused);
        return 0;
    }

    /// @dev An appeal is won when it turns guilty into anything else, or the other way round.
    function _payAppeal(Dispute storage d) private {
        uint256 bond = d.appealBond;
        if (bond == 0) return;
        bool guilty = d.verdict == Verdict.Guilty;
        bool won = (d.firstVerdict == Verdict.Guilty) != guilty;
        if (won || d.appealJury == 0) {
            _credit(d.appellant, bond);
            return;
        }
        _credit(guilty ? d.challenger : d.accused, bond / 2);
        _juries[d.appealJury].pot += bond - bond / 2;
    }

    /// @dev Both juries are paid, if both have jurors that found what the court found.
    function _fillPots(Dispute storage d, uint256 amount) private {
        (uint256 first, uint256 last) = (d.firstJury, d.appealJury);
        uint256 forFirst = last == 0 ? amount : _tally(_juries[first], d.verdict) == 0 ? 0 : amount / 2;
        _juries[first].pot += forFirst;
        if (last != 0) _juries[last].pot += amount - forFirst;
    }

    function _useUpAll(Dispute storage d) private returns (bool) {
        uint256 count = d.receipts[1] == 0 ? 1 : 2;
        for (uint256 i; i < count; ++i) {
            if (_punished[_faultKey(d.accused, d.fault, d.receipts[i])]) return false;
        }
        for (uint256 i; i < count; ++i) {
            _useUp(d.accused, d.fault, d.receipts[i]);
        }
        return true;
    }

    function _sameSegment(SignedReceipt calldata a, SignedReceipt calldata b) private pure returns (bool) {
        return a.receipt.session == b.receipt.session && a.receipt.sequence == b.receipt.sequence;
    }

    function _implementation() internal view override returns (address) {
        return records;
    }
}
