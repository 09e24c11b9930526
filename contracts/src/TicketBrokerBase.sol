// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {EfficientHashLib} from "solady/utils/EfficientHashLib.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {ITicketBroker} from "./interfaces/ITicketBroker.sol";
import {TicketHash} from "./libraries/TicketHash.sol";
import {Managed} from "./Managed.sol";

/// @title What the brokers of all assets share: deposits, reserves, tickets; its contract is ITicketBroker
/// @dev EIP712 comes first: its two variables would part the pause flag from those that share its slot.
abstract contract TicketBrokerBase is ITicketBroker, EIP712, Managed {
    using SafeCast for uint256;

    /// @dev Deposit and reserve of all ether that exists fit with room to spare; one slot.
    struct Sender {
        uint96 deposit;
        uint96 reserve;
        uint32 withdrawRound;
    }

    /// @dev Reserve paid out in `round`, by a sender in all or to one recipient. Another round's entry counts as zero.
    struct Claim {
        uint96 amount;
        uint32 round;
    }

    /// @dev Fees of consecutive tickets of one recipient, booked by one call.
    struct Run {
        address recipient;
        uint256 activeFrom;
        uint256 activeUntil;
        uint256 fees;
    }

    /// @dev Block hashes kept; a ticket's validity must be shorter.
    uint256 private constant HASH_RING = 8;
    uint256 private constant MAX_UNLOCK_ROUNDS = 1_000;

    IBondingManager public immutable bondingManager;
    address public immutable roundsManager;
    /// @inheritdoc ITicketBroker
    uint256 public immutable ticketValidityRounds;
    /// @inheritdoc ITicketBroker
    uint256 public immutable unlockRounds;

    /// @dev One slot with the pause flag, read by every redemption: the current round, the size that the set had at its
    /// beginning, and the head of its block hash. Nobody finds another hash with the same 20 bytes.
    uint32 private _round;
    uint32 private _activeSetSize;
    bytes20 private _roundHashHead;
    bytes32[HASH_RING] private _roundHash;
    mapping(address account => Sender funds) private _senders;
    mapping(address sender => Claim total) private _claimedTotal;
    mapping(address sender => mapping(address recipient => Claim share)) private _claimed;
    mapping(bytes32 laneKey => uint256 nonce) private _laneNonce;
    mapping(address recipient => address redeemer) private _redeemer;

    constructor(
        address controller_,
        IBondingManager bondingManager_,
        address roundsManager_,
        uint256 validityRounds,
        uint256 unlockRounds_
    ) Managed(controller_) EIP712("Framemill TicketBroker", "1") {
        bondingManager = bondingManager_;
        roundsManager = roundsManager_;
        ticketValidityRounds = _bounded(validityRounds, 1, HASH_RING - 1);
        unlockRounds = _bounded(unlockRounds_, ticketValidityRounds + 1, MAX_UNLOCK_ROUNDS);
    }

    /// @inheritdoc ITicketBroker
    function redeemWinningTicket(Ticket calldata ticket, bytes calldata signature, uint256 recipientRand)
        external
        whenNotPaused
    {
        Run memory run = _beginRun(ticket.recipient);
        Reason reason = _redeem(ticket, signature, recipientRand, run);
        if (reason != Reason.None) revert TicketRejected(reason);
        _endRun(run);
    }

    /// @inheritdoc ITicketBroker
    function redeemWinningTickets(
        Ticket[] calldata tickets,
        bytes[] calldata signatures,
        uint256[] calldata recipientRands
    ) external whenNotPaused returns (Reason[] memory reasons) {
        uint256 count = tickets.length;
        if (count != signatures.length || count != recipientRands.length) {
            revert LengthMismatch(count, signatures.length, recipientRands.length);
        }
        reasons = new Reason[](count);
        Run memory run;
        for (uint256 i; i < count; ++i) {
            Ticket calldata ticket = tickets[i];
            if (run.recipient != ticket.recipient) {
                _endRun(run);
                run = _beginRun(ticket.recipient);
            }
            Reason reason = _redeem(ticket, signatures[i], recipientRands[i], run);
            if (reason == Reason.None) continue;
            reasons[i] = reason;
            emit WinningTicketSkipped(ticket.sender, ticket.recipient, ticket.lane, ticket.senderNonce, i, reason);
        }
        _endRun(run);
    }

    /// @inheritdoc ITicketBroker
    function unlock() external whenNotPaused {
        Sender storage sender = _senders[msg.sender];
        if (sender.deposit == 0 && sender.reserve == 0) revert NoFunds(msg.sender);
        if (sender.withdrawRound != 0) revert AlreadyUnlocking(sender.withdrawRound);
        uint256 withdrawRound = _round + unlockRounds;
        sender.withdrawRound = withdrawRound.toUint32();
        emit Unlocked(msg.sender, withdrawRound);
    }

    /// @inheritdoc ITicketBroker
    function cancelUnlock() external whenNotPaused {
        Sender storage sender = _senders[msg.sender];
        if (sender.withdrawRound == 0) revert NotUnlocking(msg.sender);
        sender.withdrawRound = 0;
        emit UnlockCancelled(msg.sender);
    }

    /// @inheritdoc ITicketBroker
    function withdraw() external whenNotPaused {
        Sender memory sender = _senders[msg.sender];
        if (sender.withdrawRound == 0) revert NotUnlocking(msg.sender);
        if (_round < sender.withdrawRound) revert StillLocked(_round, sender.withdrawRound);
        uint256 amount = uint256(sender.deposit) + sender.reserve;
        if (amount == 0) revert NoFunds(msg.sender);
        delete _senders[msg.sender];
        emit Withdrawn(msg.sender, sender.deposit, sender.reserve);
        _pay(msg.sender, amount);
    }

    /// @inheritdoc ITicketBroker
    function setRedeemer(address redeemer) external whenNotPaused {
        _redeemer[msg.sender] = redeemer;
        emit RedeemerSet(msg.sender, redeemer);
    }

    /// @inheritdoc ITicketBroker
    function onRoundInitialized(uint256 round, bytes32 blockHash, uint256 activeSetSize) external only(roundsManager) {
        // A round that nobody initialized must not answer for an older round's hash.
        uint256 skipped = Math.min(round - _round - 1, HASH_RING - 1);
        for (uint256 i = 1; i <= skipped; ++i) {
            delete _roundHash[(round - i) % HASH_RING];
        }
        _roundHash[round % HASH_RING] = blockHash;
        _round = round.toUint32();
        _activeSetSize = activeSetSize.toUint32();
        _roundHashHead = bytes20(blockHash);
    }

    /// @inheritdoc ITicketBroker
    function getSenderInfo(address account) external view returns (SenderInfo memory) {
        Sender memory sender = _senders[account];
        return
            SenderInfo(sender.deposit, sender.reserve, sender.withdrawRound, _inRound(_claimedTotal[account], _round));
    }

    /// @inheritdoc ITicketBroker
    function claimableReserve(address sender, address recipient) external view returns (uint256) {
        (uint256 from, uint256 until) = bondingManager.activeRounds(recipient);
        if (_round < from || _round >= until) return 0;
        return _claimable(_senders[sender], sender, recipient, _round, _activeSetSize);
    }

    /// @inheritdoc ITicketBroker
    function laneNonce(address sender, address recipient, uint64 lane) external view returns (uint256) {
        return _laneNonce[_laneKey(sender, recipient, lane)];
    }

    /// @inheritdoc ITicketBroker
    function usedTickets(Ticket calldata ticket) external view returns (bool) {
        return ticket.senderNonce <= _laneNonce[_laneKey(ticket.sender, ticket.recipient, ticket.lane)];
    }

    /// @inheritdoc ITicketBroker
    function ticketDigest(Ticket calldata ticket) external view returns (bytes32) {
        return _digest(ticket, ticket.recipientRandHash, ticket.creationRoundBlockHash);
    }

    /// @inheritdoc ITicketBroker
    function redeemerOf(address recipient) external view returns (address) {
        return _redeemer[recipient];
    }

    function _fund(uint256 depositAmount, uint256 reserveAmount) internal {
        if (depositAmount + reserveAmount == 0) revert NothingToFund();
        Sender storage sender = _senders[msg.sender];
        if (depositAmount != 0) {
            sender.deposit = (sender.deposit + depositAmount).toUint96();
            emit DepositFunded(msg.sender, depositAmount);
        }
        if (reserveAmount != 0) {
            sender.reserve = (sender.reserve + reserveAmount).toUint96();
            emit ReserveFunded(msg.sender, reserveAmount);
        }
    }

    function _beginRun(address recipient) private view returns (Run memory run) {
        run.recipient = recipient;
        (run.activeFrom, run.activeUntil) = bondingManager.activeRounds(recipient);
    }

    function _endRun(Run memory run) private {
        if (run.fees != 0) _bookFees(run.recipient, run.fees);
    }

    /// @dev Books one ticket, or changes nothing and says why.
    function _redeem(Ticket calldata ticket, bytes calldata signature, uint256 recipientRand, Run memory run)
        private
        returns (Reason)
    {
        uint256 round = _round;
        Reason reason = _checkTerms(ticket, recipientRand, run, round);
        if (reason != Reason.None) return reason;
        bytes32 laneKey = _laneKey(ticket.sender, ticket.recipient, ticket.lane);
        if (ticket.senderNonce <= _laneNonce[laneKey]) return Reason.NonceUsed;
        reason = _checkDraw(ticket, signature, recipientRand);
        if (reason != Reason.None) return reason;
        (bool paid, uint256 fromReserve) = _take(ticket, run, round);
        if (!paid) return Reason.InsufficientFunds;
        _laneNonce[laneKey] = ticket.senderNonce;
        run.fees += ticket.faceValue;
        emit WinningTicketRedeemed(
            ticket.sender,
            ticket.recipient,
            ticket.lane,
            ticket.senderNonce,
            ticket.faceValue,
            fromReserve,
            recipientRand
        );
        return Reason.None;
    }

    function _checkTerms(Ticket calldata ticket, uint256 recipientRand, Run memory run, uint256 round)
        private
        view
        returns (Reason)
    {
        if (
            ticket.recipient == address(0) || ticket.sender == address(0) || ticket.faceValue == 0
                || ticket.faceValue > type(uint96).max
        ) return Reason.Malformed;
        if (msg.sender != ticket.recipient && msg.sender != _redeemer[ticket.recipient]) return Reason.NotRedeemer;
        uint256 created = ticket.creationRound;
        if (created == 0 || created > round || round - created > ticketValidityRounds) return Reason.Expired;
        if (!_isHashOf(created, round, ticket.creationRoundBlockHash)) return Reason.Expired;
        // What was won while active is not lost by leaving the set before the redemption.
        if (!_activeIn(run, created) && !_activeIn(run, round)) return Reason.RecipientInactive;
        bytes32 randHash = ticket.recipientRandHash;
        if (randHash != 0 && EfficientHashLib.hash(recipientRand) != randHash) return Reason.BadRecipientRand;
        return Reason.None;
    }

    /// @dev A hash that was left out is filled in when the digest is made.
    function _isHashOf(uint256 created, uint256 round, bytes32 hash) private view returns (bool) {
        if (hash != 0 && created == round) return bytes20(hash) == _roundHashHead;
        bytes32 known = _roundHash[created % HASH_RING];
        return known != 0 && (hash == 0 || hash == known);
    }

    /// @dev The draw hangs on the digest, not on the signature: another encoding of it gives no second chance.
    function _checkDraw(Ticket calldata ticket, bytes calldata signature, uint256 recipientRand)
        private
        view
        returns (Reason)
    {
        bytes32 blockHash = ticket.creationRoundBlockHash;
        if (blockHash == 0) blockHash = _roundHash[ticket.creationRound % HASH_RING];
        bytes32 digest = _digest(ticket, EfficientHashLib.hash(recipientRand), blockHash);
        if (uint256(EfficientHashLib.hash(digest, bytes32(recipientRand))) >= ticket.winProb) return Reason.NotWinning;
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (failure != ECDSA.RecoverError.NoError || signer != ticket.sender) return Reason.BadSignature;
        return Reason.None;
    }

    /// @dev Takes the whole face value, from the deposit first, or nothing.
    function _take(Ticket calldata ticket, Run memory run, uint256 round) private returns (bool, uint256 fromReserve) {
        Sender storage sender = _senders[ticket.sender];
        uint256 deposit = sender.deposit;
        uint256 faceValue = ticket.faceValue;
        if (faceValue <= deposit) {
            unchecked {
                sender.deposit = uint96(deposit - faceValue);
            }
            return (true, 0);
        }
        fromReserve = faceValue - deposit;
        if (!_activeIn(run, round)) return (false, 0);
        if (fromReserve > _claimable(sender, ticket.sender, ticket.recipient, round, _activeSetSize)) {
            return (false, 0);
        }
        sender.deposit = 0;
        sender.reserve = (sender.reserve - fromReserve).toUint96();
        _addClaim(_claimedTotal[ticket.sender], fromReserve, round);
        _addClaim(_claimed[ticket.sender][ticket.recipient], fromReserve, round);
        return (true, fromReserve);
    }

    function _addClaim(Claim storage claim, uint256 amount, uint256 round) private {
        claim.amount = (_inRound(claim, round) + amount).toUint96();
        claim.round = round.toUint32();
    }

    /// @dev Pays out of what the broker holds.
    function _pay(address to, uint256 amount) internal virtual;

    /// @dev Books what an orchestrator has won.
    function _bookFees(address recipient, uint256 amount) internal virtual;

    /// @dev An equal share of what the reserve was when the round began, by the size the set had then.
    function _claimable(Sender storage sender, address account, address recipient, uint256 round, uint256 setSize)
        private
        view
        returns (uint256)
    {
        uint256 withdrawRound = sender.withdrawRound;
        if (setSize == 0 || (withdrawRound != 0 && withdrawRound <= round)) return 0;
        uint256 share = (sender.reserve + _inRound(_claimedTotal[account], round)) / setSize;
        uint256 claimed = _inRound(_claimed[account][recipient], round);
        return share > claimed ? share - claimed : 0;
    }

    function _inRound(Claim storage claim, uint256 round) private view returns (uint256) {
        return claim.round == round ? claim.amount : 0;
    }

    function _digest(Ticket calldata ticket, bytes32 randHash, bytes32 blockHash) private view returns (bytes32) {
        return _hashTypedDataV4(TicketHash.structHash(ticket, randHash, blockHash));
    }

    function _activeIn(Run memory run, uint256 round) private pure returns (bool) {
        return run.activeFrom <= round && round < run.activeUntil;
    }

    function _laneKey(address sender, address recipient, uint64 lane) private pure returns (bytes32) {
        return EfficientHashLib.hash(
            bytes32(uint256(uint160(sender))), bytes32(uint256(uint160(recipient))), bytes32(uint256(lane))
        );
    }
}
