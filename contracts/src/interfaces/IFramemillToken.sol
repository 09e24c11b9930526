// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title The staking token
/// @dev Invariant: only the minter makes tokens; anybody may burn its own.
interface IFramemillToken is IERC20 {
    /// @notice The minter role moved.
    event MinterSet(address indexed minter);

    /// @notice The caller does not hold the role.
    error Unauthorized(address caller);

    /// @notice Gives the minter role; owner of the Controller only.
    function setMinter(address minter) external;

    /// @notice Makes tokens; minter only.
    function mint(address to, uint256 amount) external;

    /// @notice Destroys tokens of the caller.
    function burn(uint256 amount) external;
}
