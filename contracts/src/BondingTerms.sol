// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
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
        uint256 cut = _bounded(rewardCut, 0, Ppm.ONE);
        uint256 share = _bounded(feeShare, 0, Ppm.ONE);
        emit TranscoderUpdate(msg.sender, cut, share);
        if (pool.ready) _delayWhatIsWorse(pool, cut, share);
        else (pool.rewardCut, pool.feeShare, pool.ready) = (uint24(cut), uint24(share), true);
        _sync(id, hint);
    }

    /// @dev What is better for delegators holds at once, the rest when those who leave now are gone.
    function _delayWhatIsWorse(StakePool.Pool storage pool, uint256 cut, uint256 share) private {
        uint24 cutNow = uint24(Math.min(cut, pool.rewardCut));
        uint24 shareNow = uint24(Math.max(share, pool.feeShare));
        (pool.rewardCut, pool.feeShare) = (cutNow, shareNow);
        if (cutNow == cut && shareNow == share) {
            pool.termsRound = 0;
            return;
        }
        uint32 round = _heightRound() + _unbondingPeriod + 1;
        (pool.termsRound, pool.nextRewardCut, pool.nextFeeShare) = (round, uint24(cut), uint24(share));
        uint256 due = pool.dueRound;
        if (due == 0 || due > round) pool.dueRound = round;
        emit TermsDelayed(msg.sender, cut, share, round);
    }
}
