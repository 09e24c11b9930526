// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {CourtMarket} from "./CourtMarket.sol";

/// @dev Every function that changes the court, in any order and by anybody. Refused calls are part of the game.
contract CourtHandler is CourtMarket {
    uint256 private constant ACTORS = 6;

    bool public punishedTwice;
    bool public slashedEarly;

    constructor() {
        _stageCourt();
        for (uint256 i; i < ACTORS; ++i) {
            if (_actor(i) != CHALLENGER) equip(_actor(i));
        }
        open(1);
    }

    function reportEquivocation(uint256 who, uint64 segment, bytes32 root) external {
        ICourtTypes.TranscodeReceipt memory receipt = receiptOf(segment % 3);
        ICourtTypes.SignedReceipt memory first = signedBy(ACCUSED_KEY, receipt);
        receipt.renditionsRoot = root;
        ICourtTypes.SignedReceipt memory second = signedBy(ACCUSED_KEY, receipt);
        bytes32 key = keccak256(abi.encode(receipt.session, receipt.sequence));
        bool before = court.isPunished(accused, ICourtTypes.Fault.Equivocation, key);
        vm.prank(_actor(who));
        if (court.reportEquivocation(accused, first, second) != 0 && before) punishedTwice = true;
    }

    function reportPixels(uint256 who, uint64 pixels) external {
        ICourtTypes.RenditionClaim[] memory claims = new ICourtTypes.RenditionClaim[](1);
        claims[0].pixels = 1_000;
        ICourtTypes.TranscodeReceipt memory receipt = receiptOf(7);
        receipt.pixels = 1_000 + pixels % 2;
        receipt.renditionsRoot = keccak256(
            abi.encodePacked(uint8(0), uint32(0), claims[0].sha256Hash, claims[0].pixels, bytes32(0), uint32(0))
        );
        ICourtTypes.SignedReceipt memory signed = signedBy(ACCUSED_KEY, receipt);
        bool before = court.isPunished(accused, ICourtTypes.Fault.ReceiptPixels, court.receiptDigest(receipt));
        vm.prank(_actor(who));
        uint256 slashed = court.reportPixels(accused, signed, claims, new ICourtTypes.Rung[](0));
        if (slashed != 0 && before) punishedTwice = true;
    }

    function openDispute(uint256 who, uint64 segment, uint256 fault, bytes32 evidence) external {
        ICourtTypes.Fault wanted = ICourtTypes.Fault(2 + fault % 4);
        uint256 count = wanted == ICourtTypes.Fault.Unfaithful ? 2 : 1;
        ICourtTypes.SignedReceipt[] memory receipts = new ICourtTypes.SignedReceipt[](count);
        bytes32[] memory bundles = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            receipts[i] = signedReceipt(uint64(segment % 3 + i));
            bundles[i] = evidence;
        }
        vm.prank(_actor(who));
        court.openDispute(accused, wanted, receipts, bundles);
    }

    function claimSeat(uint256 who, uint256 dispute) external {
        uint256 id = _dispute(dispute);
        vm.prank(_actor(who));
        court.claimSeat(id);
    }

    /// @dev All that is asked of jurors at this time, with one vote that may be another.
    function serve(uint256 dispute, uint256 vote_, uint256 rebel) external {
        uint256 id = _dispute(dispute);
        ICourtTypes.Jury memory jury = juryOf(id);
        if (jury.seedBlock != 0 && block.number <= jury.seedBlock) vm.roll(uint256(jury.seedBlock) + 1);
        for (uint256 i; i < jurors.length; ++i) {
            _serve(id, i, _vote(i == rebel % 5 ? vote_ / 3 : vote_));
        }
    }

    function commitVote(uint256 who, uint256 dispute, uint256 vote_) external {
        uint256 id = _dispute(dispute);
        address account = _actor(who);
        bytes32 hash = court.voteHash(court.getDispute(id).jury, account, _vote(vote_), SALT);
        vm.prank(account);
        court.commitVote(id, hash);
    }

    function revealVote(uint256 who, uint256 dispute, uint256 vote_) external {
        uint256 id = _dispute(dispute);
        vm.prank(_actor(who));
        court.revealVote(id, _vote(vote_), SALT);
    }

    function advance(uint256 dispute) external {
        court.advance(_dispute(dispute));
    }

    function appeal(uint256 who, uint256 dispute) external {
        uint256 id = _dispute(dispute);
        vm.prank(_actor(who));
        court.appeal(id);
    }

    function execute(uint256 dispute) external {
        uint256 id = _dispute(dispute);
        ICourtTypes.Dispute memory d = court.getDispute(id);
        bool before = court.isPunished(accused, d.fault, d.receipts[0])
            || (d.receipts[1] != 0 && court.isPunished(accused, d.fault, d.receipts[1]));
        uint256 stake = bonding.transcoderTotalStake(accused);
        court.execute(id);
        bool slashed = bonding.transcoderTotalStake(accused) < stake;
        if (slashed && before) punishedTwice = true;
        if (slashed && block.number <= d.appealUntil) slashedEarly = true;
    }

    function settleJuror(uint256 jury, uint256 who) external {
        uint256 id = 1 + jury % court.juryCount();
        address juror = _actor(who);
        bool before = court.getSeat(id, juror).settled;
        court.settleJuror(id, juror);
        if (before) punishedTwice = true;
    }

    function withdraw(uint256 who) external {
        vm.prank(_actor(who));
        court.withdraw();
    }

    function setParameters(uint256 bond_, uint256 draws, uint256 size) external {
        ICourtTypes.Parameters memory p = courtParameters();
        p.bond = uint96(bound(bond_, 10 * TOKENS, 200 * TOKENS));
        p.maxDraws = uint16(bound(draws, 1, 2));
        p.jurySize = uint16(bound(size, 1, 9));
        court.setParameters(p);
    }

    function unbondSome(uint256 who, uint256 amount) external {
        address account = _actor(who);
        amount = bound(amount, 1, bonding.pendingStake(account) + 1);
        vm.prank(account);
        bonding.unbond(amount);
    }

    function passBlocks(uint256 count) external {
        vm.roll(block.number + bound(count, 1, 25));
        if (!rounds.currentRoundInitialized()) rounds.initializeRound();
    }

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
                if (seat.seats != 0 && !seat.settled) court.settleJuror(id, _actor(i));
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
            uint256 until = court.getDispute(id).appealUntil;
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

    function _serve(uint256 id, uint256 i, ICourtTypes.Verdict verdict) private {
        uint256 jury = court.getDispute(id).jury;
        bytes32 hash = court.voteHash(jury, jurors[i], verdict, SALT);
        vm.prank(jurors[i]);
        try court.claimSeat(id) {} catch {}
        vm.prank(jurors[i]);
        try court.commitVote(id, hash) {} catch {}
        for (uint256 v = 1; v < 4; ++v) {
            vm.prank(jurors[i]);
            try court.revealVote(id, ICourtTypes.Verdict(v), SALT) {} catch {}
        }
    }

    function _vote(uint256 seed) private pure returns (ICourtTypes.Verdict) {
        return ICourtTypes.Verdict(1 + seed % 3);
    }

    function _dispute(uint256 seed) private view returns (uint256) {
        return 1 + seed % court.disputeCount();
    }

    function _actor(uint256 seed) private view returns (address) {
        seed %= ACTORS;
        if (seed < 3) return jurors[seed];
        return seed == 3 ? accused : seed == 4 ? CHALLENGER : address(0xA99);
    }
}

contract CourtInvariantsTest {
    bool public constant IS_TEST = true;

    CourtHandler private _handler;

    function setUp() public {
        _handler = new CourtHandler();
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

    function invariant_NothingIsPunishedTwiceOrBeforeItIsFinal() public view {
        require(!_handler.punishedTwice() && !_handler.slashedEarly(), "punished twice or early");
    }
}
