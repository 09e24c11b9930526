// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title The staking token
/// @dev Invariants: only the minter makes tokens, and never more than `MAX_SUPPLY`, so that every amount fits into 96
/// bits; anybody may burn its own. A token that is not staked has no vote: votes are counted by stake.
interface IFramemillToken is IERC20 {
    /// @notice The minter role moved.
    event MinterSet(address indexed minter);

    /// @notice The caller does not hold the role.
    error Unauthorized(address caller);

    /// @notice More tokens than may exist.
    error SupplyExceeded(uint256 amount, uint256 left);

    /// @notice The most tokens that exist at any time.
    function MAX_SUPPLY() external view returns (uint256);

    /// @notice Gives the minter role; owner of the Controller only.
    function setMinter(address minter) external;

    /// @notice Makes tokens; minter only.
    function mint(address to, uint256 amount) external;

    /// @notice Destroys tokens of the caller.
    function burn(uint256 amount) external;
}
