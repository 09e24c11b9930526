// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingTypes} from "./interfaces/IBondingTypes.sol";
import {ICourtTrials} from "./interfaces/ICourt.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {Sortition} from "./libraries/Sortition.sol";
import {CourtState} from "./CourtState.sol";

/// @title How the court draws juries, takes votes, and settles with jurors
abstract contract CourtJury is ICourtTrials, CourtState {
    using SafeCast for uint256;

    /// @dev What the caller gets of a juror's fine: enough for gas, too little to fine oneself for.
    uint256 private constant SETTLER_PPM = Ppm.ONE / 10;

    constructor(address controller_, Siblings memory siblings) CourtState(controller_, siblings) {}

    /// @inheritdoc ICourtTrials
    function claimSeat(uint256 dispute) external whenNotPaused returns (uint256 seats) {
        Dispute storage d = _judged(dispute);
        uint256 id = d.jury;
        Jury storage jury = _sitting(id);
        _window(uint256(jury.seedBlock) + 1, jury.claimUntil);
        if (_isParty(d, msg.sender)) revert PartyToDispute(msg.sender);
        Seat storage seat = _seats[id][msg.sender];
        if (seat.seats != 0) revert AlreadyDone(id, msg.sender);
        uint256 stake = _countingStake(msg.sender);
        // Stake of a later round could have been moved in sight of the seed.
        if (stake == 0 || roundsManager.lastInitializedRound() != jury.round) revert NotEligible(msg.sender);
        if (jury.seed == 0) {
            (jury.seed, jury.eligible) = (_seedOf(id, jury), _eligible(d).toUint96());
        }
        seats = Sortition.seats(jury.seed, msg.sender, stake, jury.eligible, jury.size);
        if (seats == 0) revert NoSeat(id, msg.sender);
        seat.seats = uint16(seats);
        jury.seats = (jury.seats + seats).toUint16();
        emit SeatClaimed(dispute, id, msg.sender, seats);
    }

    /// @inheritdoc ICourtTrials
    function commitVote(uint256 dispute, bytes32 commitment) external whenNotPaused {
        uint256 id = _judged(dispute).jury;
        _window(0, _sitting(id).commitUntil);
        Seat storage seat = _seat(id, msg.sender);
        if (seat.commitment != 0) revert AlreadyDone(id, msg.sender);
        if (commitment == 0) revert WrongCommitment(0, 0);
        seat.commitment = commitment;
        emit VoteCommitted(dispute, id, msg.sender);
    }

    /// @inheritdoc ICourtTrials
    function revealVote(uint256 dispute, Verdict verdict, bytes32 salt) external whenNotPaused {
        uint256 id = _judged(dispute).jury;
        Jury storage jury = _sitting(id);
        _window(uint256(jury.commitUntil) + 1, jury.revealUntil);
        Seat storage seat = _seat(id, msg.sender);
        if (seat.vote != Verdict.None) revert AlreadyDone(id, msg.sender);
        bytes32 hash = _voteHash(id, msg.sender, verdict, salt);
        if (hash != seat.commitment) revert WrongCommitment(hash, seat.commitment);
        seat.vote = verdict;
        uint16 seats = seat.seats;
        if (verdict == Verdict.Guilty) jury.guilty += seats;
        else if (verdict == Verdict.NotGuilty) jury.notGuilty += seats;
        else if (verdict == Verdict.Unavailable) jury.unavailable += seats;
        else revert BadVerdict();
        emit VoteRevealed(dispute, id, msg.sender, verdict);
    }

    /// @inheritdoc ICourtTrials
    function settleJuror(uint256 id, address juror) external whenNotPaused {
        Jury storage jury = _juries[id];
        Dispute storage d = _disputes[jury.dispute];
        if (d.status != Status.Closed) revert WrongStatus(jury.dispute, d.status);
        if (_void[id]) revert JuryIsVoid(id);
        Seat storage seat = _seat(id, juror);
        if (seat.settled) revert AlreadyDone(id, juror);
        seat.settled = true;
        uint256 paid = _share(jury, seat, d.verdict);
        uint256 fine = _finePpm(jury, seat, d.verdict);
        if (paid != 0) _credit(juror, paid);
        uint256 slashed = fine == 0 ? 0 : bondingManager.slashTranscoder(juror, msg.sender, fine, SETTLER_PPM);
        emit JurorSettled(id, juror, paid, slashed);
    }

    /// @inheritdoc ICourtTrials
    function seatsOf(uint256 dispute, address account) external view returns (uint256) {
        Dispute storage d = _disputes[dispute];
        uint256 id = d.jury;
        Jury storage jury = _juries[id];
        bool open = (d.status == Status.Judging || d.status == Status.Appealed) && !_isCutOff(jury);
        if (!open || block.number <= jury.seedBlock || block.number > jury.claimUntil) return 0;
        if (_isParty(d, account) || roundsManager.lastInitializedRound() != jury.round) return 0;
        bool drawn = jury.seed != 0;
        bytes32 seed = drawn ? jury.seed : _seedOf(id, jury);
        uint256 eligible = drawn ? jury.eligible : _eligible(d);
        return Sortition.seats(seed, account, _countingStake(account), eligible, jury.size);
    }

    /// @dev A new jury for a dispute, scheduled if the round leaves room for it.
    function _newJury(uint256 dispute, uint256 size) internal {
        uint64 id = ++_juryCount;
        Dispute storage d = _disputes[dispute];
        d.jury = id;
        ++d.draws;
        _juries[id].dispute = dispute.toUint64();
        _juries[id].size = size.toUint16();
        _schedule(dispute, id);
    }

    /// @dev Names the seed block, unless claims would not end in this round.
    function _schedule(uint256 dispute, uint256 id) internal returns (bool done) {
        Jury storage jury = _juries[id];
        Parameters storage p = _parameters;
        uint256 seedBlock = block.number + p.seedDelay;
        uint256 claimUntil = seedBlock + p.claimBlocks;
        done = roundsManager.currentRoundInitialized() && claimUntil < _roundEnd();
        if (done) {
            uint256 commitUntil = claimUntil + p.commitBlocks;
            jury.seedBlock = seedBlock.toUint48();
            jury.claimUntil = claimUntil.toUint48();
            jury.commitUntil = commitUntil.toUint48();
            jury.revealUntil = (commitUntil + p.revealBlocks).toUint48();
            jury.round = roundsManager.lastInitializedRound().toUint32();
        }
        emit JuryScheduled(dispute, id, jury.seedBlock, jury.size);
    }

    /// @dev First block of the next round.
    function _roundEnd() internal view returns (uint256) {
        return roundsManager.currentRoundStartBlock() + roundsManager.roundLength();
    }

    /// @dev The verdict of more than half of the votes of a jury that is quorate; `None` where there is none.
    function _verdictOf(Jury storage jury) internal view returns (Verdict) {
        uint256 votes = _votes(jury);
        if (!_isQuorate(votes, jury.size)) return Verdict.None;
        if (2 * uint256(jury.guilty) > votes) return Verdict.Guilty;
        if (2 * uint256(jury.notGuilty) > votes) return Verdict.NotGuilty;
        return 2 * uint256(jury.unavailable) > votes ? Verdict.Unavailable : Verdict.None;
    }

    function _judged(uint256 dispute) internal view returns (Dispute storage d) {
        d = _disputes[dispute];
        if (d.status != Status.Judging && d.status != Status.Appealed) revert WrongStatus(dispute, d.status);
    }

    /// @dev A jury that no pause has cut off.
    function _sitting(uint256 id) private view returns (Jury storage jury) {
        jury = _juries[id];
        if (_isCutOff(jury)) revert JuryIsVoid(id);
    }

    function _seat(uint256 id, address juror) private view returns (Seat storage seat) {
        seat = _seats[id][juror];
        if (seat.seats == 0) revert NoSeat(id, juror);
    }

    /// @dev What a juror gets of its jury's pot: its seats among those that found what the court found.
    function _share(Jury storage jury, Seat storage seat, Verdict verdict) private view returns (uint256) {
        if (seat.vote == Verdict.None || seat.vote != verdict) return 0;
        return jury.pot * seat.seats / _tally(jury, verdict);
    }

    /// @dev Guilty and not guilty are computed from the same bytes by the same arithmetic: one of the two is a false
    /// statement. Whether files could be had may honestly differ. A jury that was never complete owes no vote.
    function _finePpm(Jury storage jury, Seat storage seat, Verdict verdict) private view returns (uint256) {
        if (seat.vote == Verdict.None) return _isQuorate(jury.seats, jury.size) ? _parameters.absencePpm : 0;
        bool judged = verdict == Verdict.Guilty || verdict == Verdict.NotGuilty;
        bool opposed = judged && seat.vote != verdict && seat.vote != Verdict.Unavailable;
        return opposed ? _parameters.dissentPpm : 0;
    }

    /// @dev Known while claims run: they end before the chain forgets the hash.
    function _seedOf(uint256 id, Jury storage jury) private view returns (bytes32) {
        return keccak256(abi.encode(blockhash(jury.seedBlock), id));
    }

    /// @dev Stake of all that are active and no party.
    function _eligible(Dispute storage d) private view returns (uint256 stake) {
        (address accused, address challenger, address appellant) = (d.accused, d.challenger, d.appellant);
        stake = bondingManager.currentRoundTotalActiveStake();
        stake = Math.saturatingSub(stake, _countingStake(accused));
        if (challenger != accused) stake = Math.saturatingSub(stake, _countingStake(challenger));
        if (appellant == address(0) || appellant == accused || appellant == challenger) return stake;
        stake = Math.saturatingSub(stake, _countingStake(appellant));
    }

    function _countingStake(address account) private view returns (uint256) {
        IBondingTypes.Transcoder memory t = bondingManager.getTranscoder(account);
        return t.active ? t.earningStake : 0;
    }

    function _isParty(Dispute storage d, address account) private view returns (bool) {
        return account == d.accused || account == d.challenger || account == d.appellant;
    }
}
