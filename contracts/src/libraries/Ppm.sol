// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Shares in parts per million of an amount
/// @dev The only unit in which the protocol's parameters state shares. Accumulators use {Ray}; the two never meet in
/// one expression.
library Ppm {
    uint256 internal constant ONE = 1_000_000;

    /// @dev Rounded down. `amount` must stay below 2^236.
    function share(uint256 amount, uint256 ppm) internal pure returns (uint256) {
        return amount * ppm / ONE;
    }
}
