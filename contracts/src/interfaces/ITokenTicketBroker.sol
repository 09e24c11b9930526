// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ITicketBroker} from "./ITicketBroker.sol";

/// @title A broker of tickets that pay a token, such as a stablecoin
/// @dev Fees are the orchestrator's alone and are paid out here: stake earns fees in ether only. To divide a second asset among
/// delegators in one step, every change of stake would have to bring a second accumulator up to date, for each asset,
/// whether used or not. An orchestrator that shares such fees pays them on, or sells for ether tickets.
///
/// Invariant: deposits + reserves + fees <= the broker's tokens. A token that takes a fee on transfers or whose balances change
/// by themselves would break it: the former is refused at each funding, the latter must not be given a broker.
interface ITokenTicketBroker is ITicketBroker {
    /// @notice An orchestrator's fees left.
    event FeesWithdrawn(address indexed recipient, address indexed to, uint256 amount);

    /// @notice The token kept a part of what was sent.
    error FeeOnTransfer(uint256 received, uint256 amount);
    /// @notice The amount is zero or more than there is.
    error BadAmount(uint256 amount, uint256 available);

    /// @notice Adds to the caller's deposit. Takes an allowance.
    function fundDeposit(uint256 amount) external;

    /// @notice Adds to the caller's reserve. Takes an allowance.
    function fundReserve(uint256 amount) external;

    /// @notice Adds to both. Takes an allowance. An unlock under way goes on.
    function fundDepositAndReserve(uint256 depositAmount, uint256 reserveAmount) external;

    /// @notice Pays `amount` of the caller's fees to `to`.
    function withdrawFees(address to, uint256 amount) external;

    /// @notice Fees that an orchestrator can withdraw.
    function feesOf(address recipient) external view returns (uint256);

    /// @notice The token that tickets pay.
    function token() external view returns (IERC20);
}
