// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {ITicketBroker} from "./interfaces/ITicketBroker.sol";
import {ITokenTicketBroker} from "./interfaces/ITokenTicketBroker.sol";
import {TicketBrokerBase} from "./TicketBrokerBase.sol";

/// @title The broker of a token; its contract is ITokenTicketBroker
contract TokenTicketBroker is ITokenTicketBroker, TicketBrokerBase {
    using SafeERC20 for IERC20;

    /// @inheritdoc ITokenTicketBroker
    IERC20 public immutable token;

    mapping(address recipient => uint256 amount) private _fees;

    constructor(
        address controller_,
        IBondingManager bondingManager_,
        address roundsManager_,
        IERC20 token_,
        uint256 validityRounds,
        uint256 unlockRounds_
    ) TicketBrokerBase(controller_, bondingManager_, roundsManager_, validityRounds, unlockRounds_) {
        if (address(token_) == address(0)) revert ZeroAddress();
        token = token_;
    }

    /// @inheritdoc ITokenTicketBroker
    function fundDeposit(uint256 amount) external whenNotPaused {
        _collect(amount, 0);
    }

    /// @inheritdoc ITokenTicketBroker
    function fundReserve(uint256 amount) external whenNotPaused {
        _collect(0, amount);
    }

    /// @inheritdoc ITokenTicketBroker
    function fundDepositAndReserve(uint256 depositAmount, uint256 reserveAmount) external whenNotPaused {
        _collect(depositAmount, reserveAmount);
    }

    /// @inheritdoc ITokenTicketBroker
    function withdrawFees(address to, uint256 amount) external whenNotPaused {
        if (to == address(0)) revert ZeroAddress();
        uint256 fees = _fees[msg.sender];
        if (amount == 0 || amount > fees) revert BadAmount(amount, fees);
        _fees[msg.sender] = fees - amount;
        emit FeesWithdrawn(msg.sender, to, amount);
        _pay(to, amount);
    }

    /// @inheritdoc ITicketBroker
    function payFees(address, uint256) external view {
        revert Unauthorized(msg.sender);
    }

    /// @inheritdoc ITokenTicketBroker
    function feesOf(address recipient) external view returns (uint256) {
        return _fees[recipient];
    }

    function _collect(uint256 depositAmount, uint256 reserveAmount) private {
        _fund(depositAmount, reserveAmount);
        uint256 amount = depositAmount + reserveAmount;
        uint256 held = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - held;
        if (received != amount) revert FeeOnTransfer(received, amount);
    }

    function _bookFees(address recipient, uint256 amount) internal override {
        _fees[recipient] += amount;
    }

    function _pay(address to, uint256 amount) internal override {
        token.safeTransfer(to, amount);
    }
}
