// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITicketBroker} from "./ITicketBroker.sol";

/// @title The broker of tickets that pay ether
interface IEtherTicketBroker is ITicketBroker {
    /// @notice The value sent is not what is to be booked.
    error ValueMismatch(uint256 sent, uint256 expected);

    /// @notice Adds the value sent to the caller's deposit.
    function fundDeposit() external payable;

    /// @notice Adds the value sent to the caller's reserve.
    function fundReserve() external payable;

    /// @notice Adds to both; the value sent must be their sum. An unlock under way goes on.
    function fundDepositAndReserve(uint256 depositAmount, uint256 reserveAmount) external payable;
}
