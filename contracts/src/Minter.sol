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
    /// @dev Whatever governance decides, most of what is made goes to those who stake.
    uint256 public constant MAX_TREASURY_PPM = 250_000;

    IFramemillToken public immutable token;
    address public immutable bondingManager;

    uint32 private _round;
    uint24 private _inflationPpm;
    uint24 private _inflationChangePpm;
    uint24 private _treasuryPpm;
    /// @dev The treasury's share in `_round`.
    uint24 private _roundTreasuryPpm;
    /// @dev What the round may mint, and what it has left of that.
    uint96 private _mintable;
    uint96 private _left;
    uint96 private _owed;
    address private _treasury;
    uint96 private _ceiling;
    uint256[47] private __gap;

    constructor(address controller_, IFramemillToken token_, address bondingManager_) Upgradeable(controller_) {
        token = token_;
        bondingManager = bondingManager_;
    }

    /// @notice Sets the first inflation and its step per round, both parts per million.
    function initialize(uint256 inflation, uint256 change) external initializer {
        _inflationPpm = _bounded(inflation, 0, Ppm.ONE).toUint24();
        _inflationChangePpm = _bounded(change, 0, Ppm.ONE).toUint24();
    }

    /// @inheritdoc IMinter
    function createReward(uint256 round, uint256 stake, uint256 totalStake)
        external
        only(bondingManager)
        returns (uint256 amount)
    {
        uint256 left = round == _round ? _left : _openRound(round, totalStake);
        uint256 made = totalStake == 0 ? 0 : Math.min(Math.min(Math.mulDiv(_mintable, stake, totalStake), left), stake);
        uint256 share = Ppm.share(made, _roundTreasuryPpm);
        (_left, _owed) = ((left - made).toUint96(), (_owed + share).toUint96());
        amount = made - share;
        emit RewardMinted(round, amount);
        token.mint(address(this), made);
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
    function payTreasury() external whenNotPaused {
        address to = _treasury;
        if (to == address(0)) revert ZeroAddress();
        uint256 amount = _owed;
        _owed = 0;
        emit TreasuryPaid(to, amount);
        token.safeTransfer(to, amount);
    }

    /// @inheritdoc IMinter
    function setTreasury(address treasury_) external onlyOwner {
        _treasury = treasury_;
        emit TreasurySet(treasury_);
    }

    /// @inheritdoc IMinter
    function setTreasuryRewardCutRate(uint256 ppm) external onlyOwner {
        _treasuryPpm = _bounded(ppm, 0, MAX_TREASURY_PPM).toUint24();
        emit ParameterSet("treasuryRewardCutRate", ppm);
    }

    /// @inheritdoc IMinter
    function setTreasuryBalanceCeiling(uint256 amount) external onlyOwner {
        _ceiling = _bounded(amount, 0, type(uint96).max).toUint96();
        emit ParameterSet("treasuryBalanceCeiling", amount);
    }

    /// @inheritdoc IMinter
    function setInflationChange(uint256 ppm) external onlyOwner {
        _inflationChangePpm = _bounded(ppm, 0, Ppm.ONE).toUint24();
        emit ParameterSet("inflationChange", ppm);
    }

    /// @inheritdoc IMinter
    function inflationPpm() external view returns (uint256) {
        return _inflationPpm;
    }

    /// @inheritdoc IMinter
    function inflationChange() external view returns (uint256) {
        return _inflationChangePpm;
    }

    /// @inheritdoc IMinter
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc IMinter
    function treasuryRewardCutRate() external view returns (uint256) {
        return _treasuryPpm;
    }

    /// @inheritdoc IMinter
    function treasuryBalanceCeiling() external view returns (uint256) {
        return _ceiling;
    }

    /// @inheritdoc IMinter
    function treasuryOwed() external view returns (uint256) {
        return _owed;
    }

    /// @dev Moves the inflation one step toward the target bonding rate.
    function _openRound(uint256 round, uint256 totalStake) private returns (uint256 mintable) {
        uint256 supply = token.totalSupply();
        uint256 bondingPpm = supply == 0 ? 0 : totalStake * Ppm.ONE / supply;
        uint256 inflation = _inflationPpm;
        uint256 step = _inflationChangePpm;
        if (bondingPpm < TARGET_BONDING_PPM) inflation = Math.min(inflation + step, Ppm.ONE);
        if (bondingPpm > TARGET_BONDING_PPM) inflation -= Math.min(step, inflation);
        mintable = Math.min(Ppm.share(supply, inflation), type(uint96).max - supply);
        uint256 treasuryPpm = _takesShare() ? _treasuryPpm : 0;
        _round = round.toUint32();
        _inflationPpm = inflation.toUint24();
        _roundTreasuryPpm = treasuryPpm.toUint24();
        _mintable = mintable.toUint96();
        emit RoundMintable(round, inflation, mintable, treasuryPpm);
    }

    function _takesShare() private view returns (bool) {
        if (_treasuryPpm == 0 || _treasury == address(0)) return false;
        return token.balanceOf(_treasury) + _owed < _ceiling;
    }
}
