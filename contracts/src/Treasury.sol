// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title Timelock of what voters decided, and holder of the tokens and the ether that they decide about
/// @dev It administrates itself: only a decision that waited can change who may queue or how long it waits.
contract Treasury is TimelockController {
    /// @param minDelay Seconds between a decision's queueing and its execution.
    /// @param proposers Who may queue and cancel: the governor.
    /// @param executors Who may execute what has waited; the zero address: anybody.
    constructor(uint256 minDelay, address[] memory proposers, address[] memory executors)
        TimelockController(minDelay, proposers, executors, address(0))
    {}
}
