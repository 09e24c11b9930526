// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title A contract that obeys the Controller's fuse
interface IManaged {
    /// @notice The caller is not the one that may call this.
    error Unauthorized(address caller);
    /// @notice The Controller has paused the protocol.
    error Paused();
    /// @notice An address that must be set is zero.
    error ZeroAddress();
    /// @notice A parameter is outside its bounds.
    error OutOfBounds(uint256 value, uint256 min, uint256 max);

    /// @notice Takes the fuse's state; Controller only.
    function setPaused(bool paused) external;

    /// @notice Whether this contract is paused.
    function paused() external view returns (bool);
}
