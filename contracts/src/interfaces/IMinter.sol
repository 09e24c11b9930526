// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Holds staked tokens and makes the rewards of each round
/// @dev Invariants: tokens held >= all stake, bonded and unbonding, and what the treasury is owed; minted in a round <=
/// mintable in that round, the treasury's share included.
interface IMinter {
    /// @notice A round's rewards were set. `treasuryPpm` of them go to the treasury.
    event RoundMintable(uint256 indexed round, uint256 inflationPpm, uint256 mintable, uint256 treasuryPpm);
    /// @notice Tokens were made and are held for the stakers.
    event RewardMinted(uint256 indexed round, uint256 amount);
    /// @notice The treasury got what it was owed.
    event TreasuryPaid(address indexed treasury, uint256 amount);
    /// @notice The treasury is another contract.
    event TreasurySet(address indexed treasury);
    /// @notice A parameter changed.
    event ParameterSet(bytes32 indexed name, uint256 value);

    /// @notice Makes the reward of a share `stake / totalStake` of the active stake; bonding manager only.
    /// @dev At most `stake`: where next to nothing is staked, a share of a pool would be worth so much at once that
    /// those who come lose by rounding.
    /// @return The tokens made for the stakers, rounded down and never above what the round has left.
    function createReward(uint256 round, uint256 stake, uint256 totalStake) external returns (uint256);

    /// @notice Pays stake out; bonding manager only.
    function withdrawTokens(address to, uint256 amount) external;

    /// @notice Burns slashed stake; bonding manager only.
    function burnTokens(uint256 amount) external;

    /// @notice Pays the treasury what it is owed. Anybody may call it.
    function payTreasury() external;

    /// @notice Names the treasury; owner only. The zero address: no share is taken.
    function setTreasury(address treasury) external;

    /// @notice Sets the treasury's share of every reward from the next round on, parts per million; owner only.
    function setTreasuryRewardCutRate(uint256 ppm) external;

    /// @notice Sets the treasury's balance at which it takes no share any more; owner only.
    function setTreasuryBalanceCeiling(uint256 amount) external;

    /// @notice Sets by how much inflation moves in a round, parts per million of the supply; owner only.
    function setInflationChange(uint256 ppm) external;

    /// @notice The inflation of the last rewarded round, parts per million of the supply.
    function inflationPpm() external view returns (uint256);

    /// @notice The step of the inflation, parts per million of the supply.
    function inflationChange() external view returns (uint256);

    /// @notice The treasury.
    function treasury() external view returns (address);

    /// @notice The treasury's share of rewards, parts per million.
    function treasuryRewardCutRate() external view returns (uint256);

    /// @notice The treasury's balance at which it takes no share any more.
    function treasuryBalanceCeiling() external view returns (uint256);

    /// @notice What the treasury is owed.
    function treasuryOwed() external view returns (uint256);
}
