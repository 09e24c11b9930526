// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITicketBroker} from "./ITicketBroker.sol";

/// @title The protocol's clock: rounds of a number of blocks
/// @dev Rounds count from 1, so that 0 always means "never". Invariant: `lastInitializedRound() <= currentRound()`,
/// and every contract that counts rounds counts the last initialized one.
interface IRoundsManager {
    /// @notice A round was initialized with the hash of the block before.
    event NewRound(uint256 indexed round, bytes32 blockHash);
    /// @notice Rounds have another length from the current one on.
    event RoundLengthSet(uint256 length, uint256 fromRound);
    /// @notice The lock period has another length.
    event RoundLockSet(uint256 ppm);

    /// @notice Other brokers than that of ether are told of new rounds.
    event TicketBrokersSet(ITicketBroker[] brokers);

    /// @notice The current round is initialized already.
    error RoundAlreadyInitialized(uint256 round);

    /// @notice Begins the current round for all contracts. Anybody may call it, once per round.
    function initializeRound() external;

    /// @notice Changes the length of rounds; owner only.
    function setRoundLength(uint256 blocks) external;

    /// @notice Changes the lock period, parts per million of a round; owner only.
    function setRoundLock(uint256 ppm) external;

    /// @notice Names the brokers, besides that of ether, that are told of new rounds; owner only. One that is new pays from
    /// the next round on.
    function setTicketBrokers(ITicketBroker[] calldata brokers) external;

    /// @notice The brokers besides that of ether.
    function getTicketBrokers() external view returns (ITicketBroker[] memory);

    /// @notice Blocks per round.
    function roundLength() external view returns (uint256);

    /// @notice The round in which the chain's height lies.
    function currentRound() external view returns (uint256);

    /// @notice The last initialized round.
    function lastInitializedRound() external view returns (uint256);

    /// @notice Whether the current round is initialized.
    function currentRoundInitialized() external view returns (bool);

    /// @notice First block of the current round.
    function currentRoundStartBlock() external view returns (uint256);

    /// @notice Whether orchestrators cannot change their terms until the next round.
    function currentRoundLocked() external view returns (bool);

    /// @notice Hash recorded when `round` was initialized, or zero.
    function blockHashForRound(uint256 round) external view returns (bytes32);
}
