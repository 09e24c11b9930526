// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {IRoundsManager} from "./interfaces/IRoundsManager.sol";
import {ITicketBroker} from "./interfaces/ITicketBroker.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title RoundsManager; its contract is IRoundsManager
contract RoundsManager is IRoundsManager, Upgradeable {
    using SafeCast for uint256;

    uint256 private constant MAX_ROUND_LENGTH = 1_000_000;
    /// @dev Beginning a round at another broker costs about 30,000 gas, which whoever begins it pays.
    uint256 private constant MAX_MORE_BROKERS = 8;

    IBondingManager public immutable bondingManager;
    ITicketBroker public immutable ticketBroker;

    uint32 private _roundLength;
    uint32 private _lastInitializedRound;
    /// @dev Round and block from which the present length counts.
    uint32 private _originRound;
    uint64 private _originBlock;
    uint32 private _lockPpm;
    mapping(uint256 round => bytes32 blockHash) private _blockHash;
    ITicketBroker[] private _moreBrokers;
    uint256[47] private __gap;

    constructor(address controller_, IBondingManager bondingManager_, ITicketBroker ticketBroker_)
        Upgradeable(controller_)
    {
        bondingManager = bondingManager_;
        ticketBroker = ticketBroker_;
    }

    /// @notice Begins round 1 at this block.
    function initialize(uint256 length, uint256 lockPpm) external initializer {
        _originRound = 1;
        _originBlock = block.number.toUint64();
        _roundLength = _bounded(length, 1, MAX_ROUND_LENGTH).toUint32();
        _lockPpm = _bounded(lockPpm, 0, Ppm.ONE).toUint32();
    }

    /// @inheritdoc IRoundsManager
    function initializeRound() external whenNotPaused {
        uint256 round = currentRound();
        if (round == _lastInitializedRound) revert RoundAlreadyInitialized(round);
        bytes32 hash = blockhash(block.number - 1);
        _lastInitializedRound = round.toUint32();
        _blockHash[round] = hash;
        emit NewRound(round, hash);
        uint256 activeSetSize = bondingManager.onRoundInitialized(round);
        ticketBroker.onRoundInitialized(round, hash, activeSetSize);
        uint256 count = _moreBrokers.length;
        for (uint256 i; i < count; ++i) {
            _moreBrokers[i].onRoundInitialized(round, hash, activeSetSize);
        }
    }

    /// @inheritdoc IRoundsManager
    function setTicketBrokers(ITicketBroker[] calldata brokers) external onlyOwner {
        _bounded(brokers.length, 0, MAX_MORE_BROKERS);
        _moreBrokers = brokers;
        emit TicketBrokersSet(brokers);
    }

    /// @inheritdoc IRoundsManager
    function getTicketBrokers() external view returns (ITicketBroker[] memory) {
        return _moreBrokers;
    }

    /// @inheritdoc IRoundsManager
    function setRoundLength(uint256 blocks) external onlyOwner {
        uint256 round = currentRound();
        _originBlock = currentRoundStartBlock().toUint64();
        _originRound = round.toUint32();
        // A shorter length must not make the blocks already passed in this round count as several rounds.
        if (block.number - _originBlock >= blocks) {
            _originRound = (round + 1).toUint32();
            _originBlock = block.number.toUint64();
        }
        _roundLength = _bounded(blocks, 1, MAX_ROUND_LENGTH).toUint32();
        emit RoundLengthSet(blocks, _originRound);
    }

    /// @inheritdoc IRoundsManager
    function setRoundLock(uint256 ppm) external onlyOwner {
        _lockPpm = _bounded(ppm, 0, Ppm.ONE).toUint32();
        emit RoundLockSet(ppm);
    }

    /// @inheritdoc IRoundsManager
    function roundLength() external view returns (uint256) {
        return _roundLength;
    }

    /// @inheritdoc IRoundsManager
    function lastInitializedRound() external view returns (uint256) {
        return _lastInitializedRound;
    }

    /// @inheritdoc IRoundsManager
    function currentRoundInitialized() external view returns (bool) {
        return _lastInitializedRound == currentRound();
    }

    /// @inheritdoc IRoundsManager
    function currentRoundLocked() external view returns (bool) {
        uint256 lock = Ppm.share(_roundLength, _lockPpm);
        return block.number >= currentRoundStartBlock() + _roundLength - lock;
    }

    /// @inheritdoc IRoundsManager
    function blockHashForRound(uint256 round) external view returns (bytes32) {
        return _blockHash[round];
    }

    /// @inheritdoc IRoundsManager
    function currentRound() public view returns (uint256) {
        return _originRound + (block.number - _originBlock) / _roundLength;
    }

    /// @inheritdoc IRoundsManager
    function currentRoundStartBlock() public view returns (uint256) {
        return block.number - (block.number - _originBlock) % _roundLength;
    }
}
