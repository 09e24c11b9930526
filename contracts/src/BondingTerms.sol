// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IBondingExtension} from "./interfaces/IBondingManager.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingState} from "./BondingState.sol";

/// @title The terms of orchestrators and the parameters of all
abstract contract BondingTerms is IBondingExtension, BondingState {
    using SafeCast for uint256;
    using StakePool for StakePool.Pool;

    /// @inheritdoc IBondingExtension
    function transcoder(uint256 rewardCut, uint256 feeShare) external whenNotPaused {
        _setTerms(rewardCut, feeShare, address(0));
    }

    /// @inheritdoc IBondingExtension
    function transcoderWithHint(uint256 rewardCut, uint256 feeShare, address hint) external whenNotPaused {
        _setTerms(rewardCut, feeShare, hint);
    }

    /// @inheritdoc IBondingExtension
    function setUnbondingPeriod(uint256 rounds) external onlyOwner {
        _unbondingPeriod = _bounded(rounds, 1, MAX_UNBONDING_ROUNDS).toUint16();
        emit ParameterSet("unbondingPeriod", rounds);
    }

    /// @inheritdoc IBondingExtension
    function setNumActiveTranscoders(uint256 count) external onlyOwner {
        _maxSetSize = _bounded(count, 1, MAX_SET_SIZE).toUint16();
        emit ParameterSet("numActiveTranscoders", count);
    }

    function _setTerms(uint256 rewardCut, uint256 feeShare, address hint) private {
        if (roundsManager.currentRoundLocked()) revert RoundLocked(_round);
        uint32 id = _registeredId(msg.sender);
        StakePool.Pool storage pool = _pools[id];
        // What was earned under the old terms is divided by them.
        pool.touch(_round);
        pool.rewardCut = uint24(_bounded(rewardCut, 0, Ppm.ONE));
        pool.feeShare = uint24(_bounded(feeShare, 0, Ppm.ONE));
        pool.ready = true;
        emit TranscoderUpdate(msg.sender, rewardCut, feeShare);
        _sync(id, hint);
    }
}
