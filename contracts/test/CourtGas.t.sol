// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {CourtMarket} from "./CourtMarket.sol";

/// @dev What whole transactions to the court cost. The figures land in snapshots/.
contract CourtGasTest is CourtMarket {
    ICourtTypes.Verdict private constant GUILTY = ICourtTypes.Verdict.Guilty;

    function setUp() public {
        _stageCourt();
    }

    function test_Report() public {
        ICourtTypes.TranscodeReceipt memory other = receiptOf(1);
        other.renditionsRoot = keccak256("other renditions");
        ICourtTypes.SignedReceipt memory first = signedReceipt(1);
        ICourtTypes.SignedReceipt memory second = signedBy(ACCUSED_KEY, other);
        court.reportEquivocation(accused, first, second);
        vm.snapshotGasLastCall("report equivocation");
        ICourtTypes.RenditionClaim[] memory claims = new ICourtTypes.RenditionClaim[](1);
        other.renditionsRoot = keccak256(abi.encodePacked(uint8(0), new bytes(80)));
        ICourtTypes.SignedReceipt memory counted = signedBy(ACCUSED_KEY, other);
        court.reportPixels(accused, counted, claims, new ICourtTypes.Rung[](0));
        vm.snapshotGasLastCall("report pixels, one rendition, later fault");
    }

    function test_Dispute() public {
        uint256 id = open(1);
        vm.snapshotGasLastCall("open dispute, first of a challenger (cold)");
        open(2);
        vm.snapshotGasLastCall("open dispute, later (warm)");
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        _claim(id, 0, "claim seat, first of a jury (cold)");
        _claim(id, 1, "claim seat, later (warm)");
        _claim(id, 2, "");
        for (uint256 i; i < jurors.length; ++i) {
            bytes32 hash = court.voteHash(1, jurors[i], GUILTY, SALT);
            vm.prank(jurors[i]);
            court.commitVote(id, hash);
        }
        vm.snapshotGasLastCall("commit vote");
        vm.roll(uint256(juryOf(id).commitUntil) + 1);
        for (uint256 i; i < jurors.length; ++i) {
            vm.prank(jurors[i]);
            court.revealVote(id, GUILTY, SALT);
        }
        vm.snapshotGasLastCall("reveal vote");
        court.advance(id);
        vm.snapshotGasLastCall("count votes");
        executeLater(id);
        vm.snapshotGasLastCall("execute, guilty");
        court.settleJuror(1, jurors[0]);
        vm.snapshotGasLastCall("settle juror, first payment (cold)");
        vm.prank(CHALLENGER);
        court.withdraw();
        vm.snapshotGasLastCall("withdraw from the court");
    }

    function test_AppealAndAcquittal() public {
        uint256 id = open(1);
        judge(id, GUILTY);
        equip(address(0xA99));
        vm.prank(address(0xA99));
        court.appeal(id);
        vm.snapshotGasLastCall("appeal");
        schedule(id);
        judge(id, ICourtTypes.Verdict.NotGuilty);
        executeLater(id);
        vm.snapshotGasLastCall("execute, acquitted on appeal");
        court.settleJuror(1, jurors[0]);
        vm.snapshotGasLastCall("settle juror, false oath");
    }

    /// @dev A claim costs the same before a set of a hundred as before one of four.
    function test_ClaimInALargeSet() public {
        bonding.setNumActiveTranscoders(200);
        for (uint160 i; i < 96; ++i) {
            candidate(0xC000 + i, STAKE);
        }
        nextRound();
        ICourtTypes.Parameters memory p = courtParameters();
        p.jurySize = 99;
        court.setParameters(p);
        uint256 id = open(1);
        vm.roll(uint256(juryOf(id).seedBlock) + 1);
        _claim(id, 0, "claim seat, first of a jury, set of 100 (cold)");
        _claim(id, 1, "claim seat, later, set of 100 (warm)");
    }

    function _claim(uint256 id, uint256 juror, string memory name) private {
        vm.prank(jurors[juror]);
        court.claimSeat(id);
        if (bytes(name).length != 0) vm.snapshotGasLastCall(name);
    }
}
