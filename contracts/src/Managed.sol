// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IManaged} from "./interfaces/IManaged.sol";

interface IOwned {
    function owner() external view returns (address);
}

/// @title What every contract under the Controller shares
/// @dev The flag is pushed by the Controller, so a paused check costs no call. It is the first variable and small:
/// a contract's own small variables share its slot.
abstract contract Managed is IManaged {
    address public immutable controller;

    bool internal _paused;

    modifier onlyOwner() {
        _onlyOwner();
        _;
    }

    modifier only(address caller) {
        _only(caller);
        _;
    }

    modifier whenNotPaused() {
        _whenNotPaused();
        _;
    }

    constructor(address controller_) {
        if (controller_ == address(0)) revert ZeroAddress();
        controller = controller_;
    }

    /// @inheritdoc IManaged
    function setPaused(bool paused_) public virtual only(controller) {
        _paused = paused_;
    }

    /// @inheritdoc IManaged
    function paused() external view returns (bool) {
        return _paused;
    }

    function _whenNotPaused() internal view {
        if (_paused) revert Paused();
    }

    function _onlyOwner() internal view {
        _only(IOwned(controller).owner());
    }

    function _only(address caller) internal view {
        if (msg.sender != caller) revert Unauthorized(msg.sender);
    }

    function _bounded(uint256 value, uint256 min, uint256 max) internal pure returns (uint256) {
        if (value < min || value > max) revert OutOfBounds(value, min, max);
        return value;
    }
}
