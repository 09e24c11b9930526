// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {
    GovernorCountingOverridable
} from "@openzeppelin/contracts/governance/extensions/GovernorCountingOverridable.sol";
import {GovernorSettings} from "@openzeppelin/contracts/governance/extensions/GovernorSettings.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {
    GovernorVotesQuorumFraction
} from "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {StakeHistory} from "./libraries/StakeHistory.sol";
import {BondingVotes} from "./BondingVotes.sol";

/// @title Decisions by votes of stake, executed by the treasury's timelock
/// @dev Delay and period are rounds. Every vote must be over while its snapshot can still be looked up.
contract FramemillGovernor is
    GovernorSettings,
    GovernorVotesQuorumFraction,
    GovernorCountingOverridable,
    GovernorTimelockControl
{
    /// @notice What the governor begins with.
    /// @param votingDelay Rounds between a proposal and the round whose stake counts.
    /// @param votingPeriod Rounds of voting after that.
    /// @param proposalThreshold Votes that a proposer needs.
    /// @param quorumPercent Share of the active stake that must vote for or abstain.
    struct Settings {
        uint48 votingDelay;
        uint32 votingPeriod;
        uint256 proposalThreshold;
        uint256 quorumPercent;
    }

    /// @dev The active stake of a snapshot cannot be looked up for ever: what a vote needs is kept with its first ballot.
    mapping(uint256 proposalId => uint256 votes) private _quorumOf;

    /// @notice Most rounds from a proposal to its end.
    uint256 public constant MAX_VOTING_ROUNDS = StakeHistory.ROUNDS - 2;

    /// @notice The stake of the snapshot could not be looked up until the vote's end.
    error VoteTooLong(uint256 rounds, uint256 bound);
    /// @notice Stake could still move after a snapshot in the round of the proposal.
    error NoVotingDelay();

    constructor(BondingVotes votes, TimelockController timelock, Settings memory s)
        Governor("Framemill Governor")
        GovernorSettings(s.votingDelay, s.votingPeriod, s.proposalThreshold)
        GovernorVotes(votes)
        GovernorVotesQuorumFraction(s.quorumPercent)
        GovernorTimelockControl(timelock)
    {}

    /// @dev Both bases define it.
    function proposalThreshold() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.proposalThreshold();
    }

    /// @dev Both bases define it.
    function state(uint256 proposalId) public view override(Governor, GovernorTimelockControl) returns (ProposalState) {
        return super.state(proposalId);
    }

    /// @dev Both bases define it.
    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    function _setVotingDelay(uint48 delay) internal override {
        if (delay == 0) revert NoVotingDelay();
        _checkLength(delay + votingPeriod());
        super._setVotingDelay(delay);
    }

    function _setVotingPeriod(uint32 period) internal override {
        _checkLength(votingDelay() + period);
        super._setVotingPeriod(period);
    }

    /// @dev Before the first ballot there is no quorum to reach.
    function _quorumReached(uint256 proposalId)
        internal
        view
        override(Governor, GovernorCountingOverridable)
        returns (bool)
    {
        uint256 needed = _quorumOf[proposalId];
        (, uint256 forVotes, uint256 abstainVotes) = proposalVotes(proposalId);
        return needed != 0 && needed <= forVotes + abstainVotes;
    }

    function _tallyUpdated(uint256 proposalId) internal override {
        if (_quorumOf[proposalId] == 0) _quorumOf[proposalId] = quorum(proposalSnapshot(proposalId));
    }

    /// @dev Both bases define it.
    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    /// @dev Both bases define it.
    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    /// @dev Both bases define it.
    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    /// @dev Both bases define it.
    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }

    function _checkLength(uint256 rounds) private pure {
        if (rounds > MAX_VOTING_ROUNDS) revert VoteTooLong(rounds, MAX_VOTING_ROUNDS);
    }
}
