// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {IMinter} from "./interfaces/IMinter.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title Minter; its contract is IMinter
contract Minter is IMinter, Upgradeable {
    using SafeCast for uint256;
    using SafeERC20 for IFramemillToken;

    /// @dev Half of the supply staked: enough to secure the work, enough left to move.
    uint256 public constant TARGET_BONDING_PPM = 500_000;

    IFramemillToken public immutable token;
    address public immutable bondingManager;

    uint32 private _round;
    uint32 private _inflationPpm;
    uint32 private _inflationChangePpm;
    /// @dev What the round may mint, and what it has left of that.
    uint128 private _mintable;
    uint128 private _left;
    uint256[48] private __gap;

    constructor(address controller_, IFramemillToken token_, address bondingManager_) Upgradeable(controller_) {
        token = token_;
        bondingManager = bondingManager_;
    }

    /// @notice Sets the first inflation and its step per round, both parts per million.
    function initialize(uint256 inflation, uint256 change) external initializer {
        _inflationPpm = _bounded(inflation, 0, Ppm.ONE).toUint32();
        _inflationChangePpm = _bounded(change, 0, Ppm.ONE).toUint32();
    }

    /// @inheritdoc IMinter
    function createReward(uint256 round, uint256 stake, uint256 totalStake)
        external
        only(bondingManager)
        returns (uint256 amount)
    {
        uint256 left = round == _round ? _left : _openRound(round, totalStake);
        amount = totalStake == 0 ? 0 : Math.min(Math.mulDiv(_mintable, stake, totalStake), left);
        _left = (left - amount).toUint128();
        emit RewardMinted(round, amount);
        token.mint(address(this), amount);
    }

    /// @inheritdoc IMinter
    function withdrawTokens(address to, uint256 amount) external only(bondingManager) {
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IMinter
    function burnTokens(uint256 amount) external only(bondingManager) {
        token.burn(amount);
    }

    /// @inheritdoc IMinter
    function inflationPpm() external view returns (uint256) {
        return _inflationPpm;
    }

    /// @dev Moves the inflation one step toward the target bonding rate.
    function _openRound(uint256 round, uint256 totalStake) private returns (uint256 mintable) {
        uint256 supply = token.totalSupply();
        uint256 bondingPpm = supply == 0 ? 0 : totalStake * Ppm.ONE / supply;
        uint256 inflation = _inflationPpm;
        uint256 step = _inflationChangePpm;
        if (bondingPpm < TARGET_BONDING_PPM) inflation = Math.min(inflation + step, Ppm.ONE);
        if (bondingPpm > TARGET_BONDING_PPM) inflation -= Math.min(step, inflation);
        mintable = Ppm.share(supply, inflation);
        _round = round.toUint32();
        _inflationPpm = inflation.toUint32();
        _mintable = mintable.toUint128();
        emit RoundMintable(round, inflation, mintable);
    }
}
