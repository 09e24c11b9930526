// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {CourtHandler} from "./CourtHandler.sol";

/// @dev The handler with what must hold after every step, and at the end.
contract CourtChecks is CourtHandler {
    /// @dev Open bonds, what is left of pots, and what accounts can withdraw against the court's tokens.
    function checkTokens() public view {
        uint256 owed;
        for (uint256 i; i < ACTORS; ++i) {
            owed += court.pending(_actor(i));
        }
        for (uint256 id = 1; id <= court.disputeCount(); ++id) {
            ICourtTypes.Dispute memory d = court.getDispute(id);
            if (d.status != ICourtTypes.Status.Closed) owed += d.bond + d.appealBond;
        }
        for (uint256 id = 1; id <= court.juryCount(); ++id) {
            owed += _potLeft(id);
        }
        assertLe(owed, token.balanceOf(address(court)), "tokens owed");
    }

    /// @dev Whatever has happened: anybody can end every dispute in a bounded number of steps, and everybody is paid.
    function finish() external {
        uint256 count = court.disputeCount();
        for (uint256 id = 1; id <= count; ++id) {
            for (uint256 steps; court.getDispute(id).status != ICourtTypes.Status.Closed; ++steps) {
                assertLe(steps, 24, "a dispute is stuck");
                _step(id);
            }
        }
        for (uint256 id = 1; id <= court.juryCount(); ++id) {
            for (uint256 i; i < ACTORS; ++i) {
                ICourtTypes.Seat memory seat = court.getSeat(id, _actor(i));
                if (seat.seats != 0 && !seat.settled) _settle(id, _actor(i));
            }
        }
        checkTokens();
        for (uint256 i; i < ACTORS; ++i) {
            if (court.pending(_actor(i)) == 0) continue;
            vm.prank(_actor(i));
            court.withdraw();
        }
        // What is left is what divisions among jurors left over.
        assertLe(token.balanceOf(address(court)), court.juryCount() * 20, "dust");
    }

    function _step(uint256 id) private {
        if (court.getDispute(id).status == ICourtTypes.Status.Decided) {
            uint256 until = court.appealEnd(id);
            if (block.number <= until) vm.roll(until + 1);
            court.execute(id);
            return;
        }
        uint256 end = juryOf(id).revealUntil;
        if (end == 0) nextRound();
        else if (block.number <= end) vm.roll(end + 1);
        court.advance(id);
    }

    /// @dev What a jury's pot owes: to those of the final verdict that are not settled.
    function _potLeft(uint256 id) private view returns (uint256 left) {
        ICourtTypes.Jury memory jury = court.getJury(id);
        if (jury.pot == 0) return 0;
        ICourtTypes.Verdict verdict = court.getDispute(jury.dispute).verdict;
        uint256 tally = verdict == ICourtTypes.Verdict.Guilty
            ? jury.guilty
            : verdict == ICourtTypes.Verdict.NotGuilty ? jury.notGuilty : jury.unavailable;
        assertTrue(tally != 0, "a pot that nobody can get");
        for (uint256 i; i < ACTORS; ++i) {
            ICourtTypes.Seat memory seat = court.getSeat(id, _actor(i));
            if (seat.vote == verdict && !seat.settled) left += jury.pot * seat.seats / tally;
        }
    }

    function checkSteps() public view {
        assertTrue(bytes(this.broken()).length == 0, this.broken());
    }
}

contract CourtInvariantsTest {
    bool public constant IS_TEST = true;

    CourtChecks private _handler;

    function setUp() public {
        _handler = new CourtChecks();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function afterInvariant() public {
        _handler.finish();
    }

    function invariant_TokensCoverWhatTheCourtOwes() public view {
        _handler.checkTokens();
    }

    function invariant_NoStepBreaksARule() public view {
        _handler.checkSteps();
    }
}
