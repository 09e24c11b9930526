// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What the court asks of the keeper of stakes
interface ISlasher {
    /// @notice Takes a share of an orchestrator's stake, bonded and unbonding, its delegators' included; court only.
    /// @param transcoder Who is slashed.
    /// @param finder Who gets the finder's fee.
    /// @param slashAmountPpm Share that is taken, parts per million.
    /// @param finderFeePpm Share of what is taken that the finder gets, parts per million; the rest is burned.
    /// @return slashed Tokens taken.
    function slashTranscoder(address transcoder, address finder, uint256 slashAmountPpm, uint256 finderFeePpm)
        external
        returns (uint256 slashed);

    /// @notice Keeps an orchestrator out of the active set for a number of rounds; court only.
    function jailTranscoder(address transcoder, uint256 rounds) external;
}
