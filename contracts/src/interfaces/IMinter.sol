// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Holds staked tokens and makes the rewards of each round
/// @dev Invariants: tokens held >= all stake, bonded and unbonding; minted in a round <= mintable in that round.
interface IMinter {
    /// @notice A round's rewards were set.
    event RoundMintable(uint256 indexed round, uint256 inflationPpm, uint256 mintable);
    /// @notice Tokens were made and are held for the stakers.
    event RewardMinted(uint256 indexed round, uint256 amount);

    /// @notice Makes the reward of a share `stake / totalStake` of the active stake; bonding manager only.
    /// @return The tokens made, rounded down and never above what the round has left.
    function createReward(uint256 round, uint256 stake, uint256 totalStake) external returns (uint256);

    /// @notice Pays stake out; bonding manager only.
    function withdrawTokens(address to, uint256 amount) external;

    /// @notice Burns slashed stake; bonding manager only.
    function burnTokens(uint256 amount) external;

    /// @notice The inflation of the last rewarded round, parts per million of the supply.
    function inflationPpm() external view returns (uint256);
}
