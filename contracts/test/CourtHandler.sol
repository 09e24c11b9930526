// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {CourtMarket} from "./CourtMarket.sol";

/// @dev Every function that changes the court, in any order and by anybody, with pauses, and with the same receipts
/// accused again by every path. Refused calls are part of the game. What only a single step can show is noted in
/// `broken`, by what the handler itself has seen: the court's own notes are among what is tested.
contract CourtHandler is CourtMarket {
    uint256 internal constant ACTORS = 6;
    uint256 private constant SEGMENTS = 3;

    string public broken;
    uint256 private _receiptRound;
    mapping(bytes32 faultKey => bool slashed) private _slashed;
    mapping(bytes32 evidenceKey => uint256 dispute) private _disputed;
    mapping(uint256 jury => mapping(address juror => bool settled)) private _settled;

    constructor() {
        _stageCourt();
        for (uint256 i; i < ACTORS; ++i) {
            if (_actor(i) != CHALLENGER) equip(_actor(i));
        }
        _receiptRound = rounds.currentRound();
        open(1);
    }

    function reportEquivocation(uint256 who, uint64 segment, bytes32 root) external {
        ICourtTypes.TranscodeReceipt memory receipt = _receipt(segment);
        ICourtTypes.SignedReceipt memory first = signedBy(ACCUSED_KEY, receipt);
        receipt.renditionsRoot = root;
        ICourtTypes.SignedReceipt memory second = signedBy(ACCUSED_KEY, receipt);
        uint256 stake = bonding.transcoderTotalStake(accused);
        vm.prank(_actor(who));
        court.reportEquivocation(accused, first, second);
        bytes32 key = keccak256(abi.encode(receipt.session, receipt.sequence));
        _noteSlash(stake, ICourtTypes.Fault.Equivocation, key, 0);
    }

    function reportPixels(uint256 who, uint64 segment, uint64 pixels) external {
        ICourtTypes.RenditionClaim[] memory claims = new ICourtTypes.RenditionClaim[](1);
        claims[0].pixels = 1_000;
        ICourtTypes.TranscodeReceipt memory receipt = _receipt(segment);
        receipt.pixels = 1_000 + pixels % 2;
        receipt.renditionsRoot = keccak256(
            abi.encodePacked(uint8(0), uint32(0), claims[0].sha256Hash, claims[0].pixels, bytes32(0), uint32(0))
        );
        ICourtTypes.SignedReceipt memory signed = signedBy(ACCUSED_KEY, receipt);
        uint256 stake = bonding.transcoderTotalStake(accused);
        vm.prank(_actor(who));
        court.reportPixels(accused, signed, claims, new ICourtTypes.Rung[](0));
        _noteSlash(stake, ICourtTypes.Fault.ReceiptPixels, court.receiptDigest(receipt), 0);
    }

    function openDispute(uint256 who, uint64 segment, uint256 fault, uint256 evidence) external {
        ICourtTypes.Fault wanted = ICourtTypes.Fault(2 + fault % 4);
        uint256 count = wanted == ICourtTypes.Fault.Unfaithful ? 2 : 1;
        ICourtTypes.SignedReceipt[] memory receipts = new ICourtTypes.SignedReceipt[](count);
        bytes32[] memory bundles = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            receipts[i] = signedBy(ACCUSED_KEY, _receipt(uint64(segment % SEGMENTS + i)));
            bundles[i] = bytes32(1 + evidence % 4);
        }
        vm.prank(_actor(who));
        uint256 id = court.openDispute(accused, wanted, receipts, bundles);
        bytes32 key = keccak256(abi.encode(wanted, bundles));
        uint256 other = _disputed[key];
        if (other != 0 && court.getDispute(other).status != ICourtTypes.Status.Closed) broken = "in dispute twice";
        _disputed[key] = id;
        for (uint256 i; i < count; ++i) {
            if (_slashed[_faultKey(wanted, court.getDispute(id).receipts[i])]) broken = "accused after its punishment";
        }
    }

    function claimSeat(uint256 who, uint256 dispute) external {
        _claimSeat(_actor(who), _dispute(dispute));
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

    /// @dev A dispute that goes its way: what is accused twice is convicted twice, if the court lets it.
    function convict(uint256 dispute) external {
        uint256 id = _dispute(dispute);
        schedule(id);
        ICourtTypes.Jury memory jury = juryOf(id);
        uint256[3] memory times = [uint256(jury.seedBlock), jury.claimUntil, jury.commitUntil];
        for (uint256 t; t < times.length; ++t) {
            if (height() <= times[t]) vm.roll(times[t] + 1);
            for (uint256 i; i < jurors.length; ++i) {
                _serve(id, i, ICourtTypes.Verdict.Guilty);
            }
        }
        court.advance(id);
    }

    function commitVote(uint256 who, uint256 dispute, uint256 vote_) external {
        uint256 id = _dispute(dispute);
        address account = _actor(who);
        bytes32 hash = court.voteHash(court.getDispute(id).jury, account, _vote(vote_), SALT);
        _commitVote(account, id, hash);
    }

    function revealVote(uint256 who, uint256 dispute, uint256 vote_) external {
        _revealVote(_actor(who), _dispute(dispute), _vote(vote_));
    }

    function advance(uint256 dispute) external {
        uint256 id = _dispute(dispute);
        ICourtTypes.Dispute memory before = court.getDispute(id);
        ICourtTypes.Jury memory jury = juryOf(id);
        bool void = court.isVoid(before.jury);
        court.advance(id);
        ICourtTypes.Dispute memory d = court.getDispute(id);
        if (void && (d.jury == before.jury || d.draws != before.draws)) broken = "a pause cost a draw";
        bool counted = d.jury != before.jury || d.status != before.status;
        bool complete = uint256(jury.guilty) + jury.notGuilty + jury.unavailable == jury.seats && jury.seats != 0;
        bool short = 2 * uint256(jury.seats) <= jury.size && block.number > jury.claimUntil;
        if (counted && !void && !short && !complete && block.number <= jury.revealUntil) broken = "counted early";
    }

    function appeal(uint256 who, uint256 dispute) external {
        uint256 id = _dispute(dispute);
        uint256 end = court.appealEnd(id);
        vm.prank(_actor(who));
        court.appeal(id);
        if (block.number > end) broken = "appealed late";
    }

    function execute(uint256 dispute) external {
        uint256 id = _dispute(dispute);
        uint256 end = court.appealEnd(id);
        uint256 stake = bonding.transcoderTotalStake(accused);
        court.execute(id);
        if (block.number <= end) broken = "executed before its time for an appeal was over";
        ICourtTypes.Dispute memory d = court.getDispute(id);
        _noteSlash(stake, d.fault, d.receipts[0], d.receipts[1]);
    }

    function settleJuror(uint256 jury, uint256 who) external {
        _settle(1 + jury % court.juryCount(), _actor(who));
    }

    function withdraw(uint256 who) external {
        vm.prank(_actor(who));
        court.withdraw();
        if (court.pending(_actor(who)) != 0) broken = "withdrawn and still there";
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

    function pause(uint256 count) external {
        controller.pause();
        vm.roll(block.number + bound(count, 0, 30));
        controller.unpause();
        if (!rounds.currentRoundInitialized()) rounds.initializeRound();
    }

    function _settle(uint256 jury, address juror) internal {
        if (court.isVoid(jury)) {
            try court.settleJuror(jury, juror) {
                broken = "settled for a void jury";
            } catch {}
            return;
        }
        court.settleJuror(jury, juror);
        if (_settled[jury][juror]) broken = "settled twice";
        _settled[jury][juror] = true;
    }

    function _claimSeat(address account, uint256 id) private {
        ICourtTypes.Dispute memory d = court.getDispute(id);
        ICourtTypes.Jury memory jury = court.getJury(d.jury);
        bool sits = court.getSeat(d.jury, account).seats != 0;
        bool void = court.isVoid(d.jury);
        vm.prank(account);
        court.claimSeat(id);
        if (sits) broken = "claimed twice";
        if (account == d.accused || account == d.challenger || account == d.appellant) broken = "a party sits";
        _served(void, uint256(jury.seedBlock) + 1, jury.claimUntil);
    }

    function _commitVote(address account, uint256 id, bytes32 hash) private {
        ICourtTypes.Jury memory jury = juryOf(id);
        bool void = court.isVoid(court.getDispute(id).jury);
        vm.prank(account);
        court.commitVote(id, hash);
        _served(void, 0, jury.commitUntil);
    }

    function _revealVote(address account, uint256 id, ICourtTypes.Verdict verdict) private {
        uint256 juryId = court.getDispute(id).jury;
        ICourtTypes.Jury memory jury = court.getJury(juryId);
        bool committed = court.getSeat(juryId, account).commitment == court.voteHash(juryId, account, verdict, SALT);
        bool void = court.isVoid(juryId);
        vm.prank(account);
        court.revealVote(id, verdict, SALT);
        if (!committed) broken = "revealed what was not committed to";
        _served(void, uint256(jury.commitUntil) + 1, jury.revealUntil);
    }

    /// @dev What a juror may do now, it does; what it must not, it tries.
    function _serve(uint256 id, uint256 i, ICourtTypes.Verdict verdict) private {
        uint256 jury = court.getDispute(id).jury;
        ICourtTypes.Jury memory j = court.getJury(jury);
        bytes32 hash = court.voteHash(jury, jurors[i], verdict, SALT);
        bool void = court.isVoid(jury);
        vm.prank(jurors[i]);
        try court.claimSeat(id) {
            _served(void, uint256(j.seedBlock) + 1, j.claimUntil);
        } catch {}
        vm.prank(jurors[i]);
        try court.commitVote(id, hash) {
            _served(void, 0, j.commitUntil);
        } catch {}
        for (uint256 v = 1; v < 4; ++v) {
            vm.prank(jurors[i]);
            try court.revealVote(id, ICourtTypes.Verdict(v), SALT) {
                _served(void, uint256(j.commitUntil) + 1, j.revealUntil);
            } catch {}
        }
    }

    function _served(bool void, uint256 from, uint256 until) private {
        if (void) broken = "served in a void jury";
        if (height() < from || height() > until) broken = "served out of its window";
    }

    /// @dev A fault that has cost the accused stake must not do so again.
    function _noteSlash(uint256 stake, ICourtTypes.Fault fault, bytes32 first, bytes32 second) private {
        if (bonding.transcoderTotalStake(accused) >= stake) return;
        bytes32[2] memory receipts = [first, second];
        for (uint256 i; i < receipts.length && receipts[i] != 0; ++i) {
            bytes32 key = _faultKey(fault, receipts[i]);
            if (_slashed[key]) broken = "punished twice";
            _slashed[key] = true;
        }
    }

    function _faultKey(ICourtTypes.Fault fault, bytes32 receipt) private pure returns (bytes32) {
        return keccak256(abi.encode(fault, receipt));
    }

    /// @dev The same few receipts over and over, as long as they can be accused.
    function _receipt(uint64 segment) private returns (ICourtTypes.TranscodeReceipt memory receipt) {
        uint256 round = rounds.currentRound();
        if (round > _receiptRound + courtParameters().statuteRounds) _receiptRound = round;
        receipt = receiptOf(segment % uint64(SEGMENTS + 1));
        receipt.round = uint32(_receiptRound);
    }

    function _vote(uint256 seed) private pure returns (ICourtTypes.Verdict) {
        return ICourtTypes.Verdict(1 + seed % 3);
    }

    function _dispute(uint256 seed) private view returns (uint256) {
        return 1 + seed % court.disputeCount();
    }

    function _actor(uint256 seed) internal view returns (address) {
        seed %= ACTORS;
        if (seed < 3) return jurors[seed];
        return seed == 3 ? accused : seed == 4 ? CHALLENGER : address(0xA99);
    }
}
