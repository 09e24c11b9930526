// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {Market} from "./Market.sol";

/// @dev The optimizer takes `block.number` for constant within a call.
interface IHeight {
    function getBlockNumber() external view returns (uint256);
}

/// @dev A market with four orchestrators of equal stake, one of which is going to be accused, and the steps of a dispute.
abstract contract CourtMarket is Market {
    uint256 internal constant ACCUSED_KEY = 0xACC;
    uint256 internal constant STAKE = 100 * TOKENS;
    bytes32 internal constant SALT = "salt";
    address internal constant CHALLENGER = address(0xC4A);

    address internal accused = vm.addr(ACCUSED_KEY);
    address[3] internal jurors = [address(0xB0B1), address(0xB0B2), address(0xB0B3)];

    function _stageCourt() internal {
        _stage();
        candidate(uint160(accused), STAKE);
        for (uint160 i; i < jurors.length; ++i) {
            candidate(uint160(jurors[i]), STAKE);
        }
        nextRound();
        equip(CHALLENGER);
    }

    function height() internal view returns (uint256) {
        return IHeight(address(vm)).getBlockNumber();
    }

    /// @dev Tokens for bonds, and the allowance.
    function equip(address account) internal {
        token.transfer(account, 1_000 * TOKENS);
        vm.prank(account);
        token.approve(address(court), type(uint256).max);
    }

    function receiptOf(uint64 sequence) internal view returns (ICourtTypes.TranscodeReceipt memory) {
        return ICourtTypes.TranscodeReceipt({
            session: keccak256("session"),
            sequence: sequence,
            sourceHash: keccak256("source"),
            ladderHash: keccak256("ladder"),
            renditionsRoot: keccak256("renditions"),
            pixels: 1_000,
            round: uint32(rounds.currentRound())
        });
    }

    function signedBy(uint256 key, ICourtTypes.TranscodeReceipt memory receipt)
        internal
        view
        returns (ICourtTypes.SignedReceipt memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, court.receiptDigest(receipt));
        return ICourtTypes.SignedReceipt(receipt, abi.encodePacked(r, s, v));
    }

    function signedReceipt(uint64 sequence) internal view returns (ICourtTypes.SignedReceipt memory) {
        return signedBy(ACCUSED_KEY, receiptOf(sequence));
    }

    function open(uint64 sequence) internal returns (uint256) {
        return openWith(sequence, keccak256(abi.encode("evidence", sequence)));
    }

    function openWith(uint64 sequence, bytes32 evidence) internal returns (uint256) {
        ICourtTypes.SignedReceipt[] memory receipts = new ICourtTypes.SignedReceipt[](1);
        receipts[0] = signedReceipt(sequence);
        bytes32[] memory bundles = new bytes32[](1);
        bundles[0] = evidence;
        vm.prank(CHALLENGER);
        return court.openDispute(accused, ICourtTypes.Fault.FalseFeatures, receipts, bundles);
    }

    function juryOf(uint256 dispute) internal view returns (ICourtTypes.Jury memory) {
        return court.getJury(court.getDispute(dispute).jury);
    }

    /// @dev All jurors claim, and vote as told; `None` stays away after the claim.
    function vote(uint256 dispute, ICourtTypes.Verdict[3] memory votes) internal {
        claimAll(dispute);
        uint256 jury = court.getDispute(dispute).jury;
        for (uint256 i; i < jurors.length; ++i) {
            if (votes[i] == ICourtTypes.Verdict.None) continue;
            bytes32 hash = court.voteHash(jury, jurors[i], votes[i], SALT);
            vm.prank(jurors[i]);
            court.commitVote(dispute, hash);
        }
        vm.roll(uint256(juryOf(dispute).commitUntil) + 1);
        for (uint256 i; i < jurors.length; ++i) {
            if (votes[i] == ICourtTypes.Verdict.None) continue;
            vm.prank(jurors[i]);
            court.revealVote(dispute, votes[i], SALT);
        }
        vm.roll(uint256(juryOf(dispute).revealUntil) + 1);
    }

    function claimAll(uint256 dispute) internal {
        vm.roll(uint256(juryOf(dispute).seedBlock) + 1);
        for (uint256 i; i < jurors.length; ++i) {
            vm.prank(jurors[i]);
            court.claimSeat(dispute);
        }
    }

    function judge(uint256 dispute, ICourtTypes.Verdict verdict) internal {
        vote(dispute, [verdict, verdict, verdict]);
        court.advance(dispute);
    }

    /// @dev Lets the window for an appeal pass and carries the verdict out.
    function executeLater(uint256 dispute) internal {
        uint256 until = court.getDispute(dispute).appealUntil;
        if (until != 0) vm.roll(until + 1);
        court.execute(dispute);
    }

    function appealBy(address account, uint256 dispute) internal {
        equip(account);
        vm.prank(account);
        court.appeal(dispute);
        schedule(dispute);
    }

    /// @dev Where the round had no room for a draw, the next one has.
    function schedule(uint256 dispute) internal {
        if (juryOf(dispute).seedBlock != 0) return;
        nextRound();
        court.advance(dispute);
    }

    function settleAll(uint256 jury) internal {
        for (uint256 i; i < jurors.length; ++i) {
            court.settleJuror(jury, jurors[i]);
        }
    }
}
