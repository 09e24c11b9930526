// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title How many seats of a jury a draw gives to a stake
library Sortition {
    /// @dev `size * stake / eligible` seats in expectation: the whole part for sure, the rest by lot. Splitting a stake
    /// over several accounts changes nothing in expectation. The product stays far below 2^256: stakes are below 2^128.
    function seats(bytes32 seed, address account, uint256 stake, uint256 eligible, uint256 size)
        internal
        pure
        returns (uint256 count)
    {
        if (eligible == 0) return 0;
        uint256 scaled = size * stake;
        count = scaled / eligible;
        uint256 lot = uint256(keccak256(abi.encode(seed, account))) % eligible;
        if (lot < scaled % eligible) ++count;
        // Stake that grew by this round's reward must not make a jury of one.
        return count > size ? size : count;
    }
}
