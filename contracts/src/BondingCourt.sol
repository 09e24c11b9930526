// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IBondingExtension} from "./interfaces/IBondingManager.sol";
import {Ppm} from "./libraries/Ppm.sol";
import {Redelegation} from "./libraries/Redelegation.sol";
import {SortedSet} from "./libraries/SortedSet.sol";
import {StakePool} from "./libraries/StakePool.sol";
import {BondingState} from "./BondingState.sol";

/// @title What the court does to an orchestrator
abstract contract BondingCourt is IBondingExtension, BondingState {
    using Redelegation for StakePool.Pool;
    using SortedSet for SortedSet.Set;
    using StakePool for StakePool.Pool;

    /// @inheritdoc IBondingExtension
    function slashTranscoder(address transcoder, address finder, uint256 slashAmount, uint256 finderFee)
        external
        whenNotPaused
        only(_court)
        returns (uint256 slashed)
    {
        _bounded(slashAmount, 0, Ppm.ONE);
        _bounded(finderFee, 0, Ppm.ONE);
        uint32 id = _accounts[transcoder].ownId;
        if (id == 0) revert NotOrchestrator(transcoder);
        StakePool.Pool storage pool = _pools[id];
        slashed = pool.slash(slashAmount, _round);
        pool.note(_round);
        uint256 fee = finder == address(0) ? 0 : Ppm.share(slashed, finderFee);
        emit TranscoderSlashed(transcoder, finder, slashed, fee);
        _demote(id);
        if (fee != 0) minter.withdrawTokens(finder, fee);
        if (slashed != fee) minter.burnTokens(slashed - fee);
    }

    /// @inheritdoc IBondingExtension
    function jailTranscoder(address transcoder, uint256 rounds) external whenNotPaused only(_court) {
        uint32 id = _accounts[transcoder].ownId;
        if (id == 0) revert NotOrchestrator(transcoder);
        StakePool.Pool storage pool = _pools[id];
        // A sentence ends with the count of rounds at the latest, and a shorter one does not end a longer one.
        uint256 round = _heightRound();
        uint256 until = Math.min(rounds, OPEN - round) + round;
        until = Math.max(until, pool.jailUntil);
        pool.jailUntil = uint32(until);
        pool.marked = true;
        emit TranscoderJailed(transcoder, until);
        if (_set.contains(id)) _leave(id);
    }

    /// @inheritdoc IBondingExtension
    function setCourt(address court_) external onlyOwner {
        _court = court_;
        emit CourtSet(court_);
    }

    /// @inheritdoc IBondingExtension
    function court() external view returns (address) {
        return _court;
    }
}
