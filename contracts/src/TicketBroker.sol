// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {IEtherTicketBroker} from "./interfaces/IEtherTicketBroker.sol";
import {ITicketBroker} from "./interfaces/ITicketBroker.sol";
import {TicketBrokerBase} from "./TicketBrokerBase.sol";

/// @title The broker of ether; its contract is IEtherTicketBroker
contract TicketBroker is IEtherTicketBroker, TicketBrokerBase {
    constructor(
        address controller_,
        IBondingManager bondingManager_,
        address roundsManager_,
        uint256 validityRounds,
        uint256 unlockRounds_
    ) TicketBrokerBase(controller_, bondingManager_, roundsManager_, validityRounds, unlockRounds_) {}

    /// @inheritdoc IEtherTicketBroker
    function fundDeposit() external payable whenNotPaused {
        _fund(msg.value, 0);
    }

    /// @inheritdoc IEtherTicketBroker
    function fundReserve() external payable whenNotPaused {
        _fund(0, msg.value);
    }

    /// @inheritdoc IEtherTicketBroker
    function fundDepositAndReserve(uint256 depositAmount, uint256 reserveAmount) external payable whenNotPaused {
        if (msg.value != depositAmount + reserveAmount) revert ValueMismatch(msg.value, depositAmount + reserveAmount);
        _fund(depositAmount, reserveAmount);
    }

    /// @inheritdoc ITicketBroker
    function payFees(address to, uint256 amount) external only(address(bondingManager)) whenNotPaused {
        emit FeesPaid(to, amount);
        _pay(to, amount);
    }

    /// @dev They are divided among the orchestrator and its delegators, and come back through `payFees`.
    function _bookFees(address recipient, uint256 amount) internal override {
        bondingManager.updateTranscoderWithFees(recipient, amount);
    }

    function _pay(address to, uint256 amount) internal override {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert PaymentFailed(to, amount);
    }
}
