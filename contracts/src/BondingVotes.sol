// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {IBondingManager} from "./interfaces/IBondingManager.sol";
import {IRoundsManager} from "./interfaces/IRoundsManager.sol";

/// @title Stake as votes: who votes with how much of it, by rounds
/// @dev An orchestrator votes with everything that is bonded to it; a delegator has no vote of its own but may override
/// its part of the orchestrator's. A delegator of somebody who is no orchestrator any more votes for itself. Time is
/// counted in rounds, and a round's votes are the stake as it began: final once the round is initialized.
contract BondingVotes is IERC5805 {
    IBondingManager public immutable bondingManager;
    IRoundsManager public immutable roundsManager;

    /// @notice Votes follow stake; bond to the orchestrator that should have them.
    error VotesFollowStake();

    constructor(IBondingManager bondingManager_, IRoundsManager roundsManager_) {
        bondingManager = bondingManager_;
        roundsManager = roundsManager_;
    }

    /// @notice Votes of an account as the last initialized round began.
    function getVotes(address account) external view returns (uint256) {
        return getPastVotes(account, roundsManager.lastInitializedRound());
    }

    /// @notice All active stake as `round` began.
    function getPastTotalSupply(uint256 round) external view returns (uint256) {
        return bondingManager.getTotalActiveStakeAt(round);
    }

    /// @notice What an account may override of its delegate's votes in `round`. An orchestrator has nothing to override.
    function getPastBalanceOf(address account, uint256 round) external view returns (uint256) {
        (address delegate_, uint256 bonded,) = bondingManager.getBondingStateAt(account, round);
        return delegate_ == account ? 0 : bonded;
    }

    /// @notice Who votes with an account's stake in `round`.
    function getPastDelegate(address account, uint256 round) public view returns (address) {
        (address delegate_,,) = bondingManager.getBondingStateAt(account, round);
        return _wasOrchestrator(delegate_, round) ? delegate_ : account;
    }

    /// @notice Who votes with an account's stake in the last initialized round.
    function delegates(address account) external view returns (address) {
        return getPastDelegate(account, roundsManager.lastInitializedRound());
    }

    /// @notice Not possible.
    function delegate(address) external pure {
        revert VotesFollowStake();
    }

    /// @notice Not possible.
    function delegateBySig(address, uint256, uint256, uint8, bytes32, bytes32) external pure {
        revert VotesFollowStake();
    }

    /// @notice Votes of an account as `round` began.
    function getPastVotes(address account, uint256 round) public view returns (uint256) {
        (address delegate_, uint256 bonded, uint256 delegated) = bondingManager.getBondingStateAt(account, round);
        if (delegate_ == account) return delegated;
        return _wasOrchestrator(delegate_, round) ? 0 : bonded;
    }

    /// @notice The current round, initialized or not.
    function clock() external view returns (uint48) {
        return uint48(roundsManager.currentRound());
    }

    /// @notice How `clock` counts.
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() external pure returns (string memory) {
        return "mode=framemill_round";
    }

    function _wasOrchestrator(address account, uint256 round) private view returns (bool) {
        if (account == address(0)) return false;
        (address delegate_,,) = bondingManager.getBondingStateAt(account, round);
        return delegate_ == account;
    }
}
