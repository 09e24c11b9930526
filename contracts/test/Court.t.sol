// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {CourtMarket} from "./CourtMarket.sol";

/// @dev Faults that are proven by signatures alone.
contract CourtObjectiveTest is CourtMarket {
    address private constant FINDER = address(0xF1);
    uint256 private constant DELEGATED_KEY = 0xDE1;

    function setUp() public {
        _stageCourt();
    }

    function test_TwoReceiptsForOneSegmentAreSlashedAtOnce() public {
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(ACCUSED_KEY);
        vm.prank(FINDER);
        uint256 slashed = court.reportEquivocation(accused, first, second);
        assertEq(slashed, STAKE / 10, "slashed");
        assertEq(token.balanceOf(FINDER), slashed / 10, "finder");
        assertEq(bonding.getTranscoder(accused).jailedUntil, rounds.lastInitializedRound() + 7, "jailed");
    }

    function test_RevertWhen_OneSegmentIsPunishedTwice() public {
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(ACCUSED_KEY);
        court.reportEquivocation(accused, first, second);
        bytes32 segment = keccak256(abi.encode(first.receipt.session, first.receipt.sequence));
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.AlreadyPunished.selector, segment, ICourtTypes.Fault.Equivocation)
        );
        court.reportEquivocation(accused, second, first);
    }

    function test_RevertWhen_TheReceiptsAreOneAndTheSame() public {
        ICourtTypes.SignedReceipt memory signed = signedReceipt(1);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.NoEquivocation.selector));
        court.reportEquivocation(accused, signed, signed);
    }

    function test_RevertWhen_TheReceiptsAreOfDifferentSegments() public {
        ICourtTypes.SignedReceipt memory first = signedReceipt(1);
        ICourtTypes.SignedReceipt memory second = signedReceipt(2);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.NoEquivocation.selector));
        court.reportEquivocation(accused, first, second);
    }

    function test_RevertWhen_SomebodyElseSigned() public {
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(0xBAD);
        _expectWrongSigner(vm.addr(0xBAD));
        court.reportEquivocation(accused, first, second);
    }

    function test_RevertWhen_SignedForAnotherChain() public {
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(ACCUSED_KEY);
        vm.chainId(99);
        (bool ok, bytes memory data) =
            address(court).call(abi.encodeCall(court.reportEquivocation, (accused, first, second)));
        assertTrue(!ok && bytes4(data) == ICourtTypes.WrongSigner.selector, "refused for its signer");
    }

    function test_ADelegatedKeyBindsItsAccount() public {
        vm.prank(accused);
        registry.setSigningKey(vm.addr(DELEGATED_KEY));
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(DELEGATED_KEY);
        assertEq(court.reportEquivocation(accused, first, second), STAKE / 10, "slashed");
    }

    function test_AKeyChangeDoesNotEraseLiability() public {
        vm.prank(accused);
        registry.setSigningKey(vm.addr(DELEGATED_KEY));
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(DELEGATED_KEY);
        vm.prank(accused);
        registry.setSigningKey(vm.addr(0xDE2));
        nextRound();
        nextRound();
        assertEq(court.reportEquivocation(accused, first, second), STAKE / 10, "slashed");
    }

    function test_RevertWhen_AReplacedKeySignedLater() public {
        vm.prank(accused);
        registry.setSigningKey(vm.addr(DELEGATED_KEY));
        vm.prank(accused);
        registry.setSigningKey(address(0));
        nextRound();
        nextRound();
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(DELEGATED_KEY);
        _expectWrongSigner(vm.addr(DELEGATED_KEY));
        court.reportEquivocation(accused, first, second);
    }

    function test_RevertWhen_AKeySignedBeforeItWasNamed() public {
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(DELEGATED_KEY);
        uint256 round = rounds.currentRound();
        nextRound();
        nextRound();
        vm.prank(accused);
        registry.setSigningKey(vm.addr(DELEGATED_KEY));
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.WrongSigner.selector, vm.addr(DELEGATED_KEY), accused, round)
        );
        court.reportEquivocation(accused, first, second);
    }

    function test_AKeyThatComesBackWasNeverAway() public {
        address key = vm.addr(DELEGATED_KEY);
        uint256 round = rounds.currentRound();
        vm.prank(accused);
        registry.setSigningKey(key);
        vm.prank(accused);
        registry.setSigningKey(address(0));
        for (uint256 i; i < 3; ++i) {
            nextRound();
        }
        assertTrue(!registry.isSigner(accused, key, round + 2), "away");
        vm.prank(accused);
        registry.setSigningKey(key);
        assertTrue(registry.isSigner(accused, key, round + 2), "never away");
        assertTrue(registry.isSigner(accused, key, round - 1), "the round before");
        assertTrue(!registry.isSigner(accused, key, round - 2), "not before");
    }

    function test_AKeyNamedWhileRoundsAreLateAnswersForTheRoundThatWasBegun() public {
        uint256 begun = rounds.lastInitializedRound();
        vm.roll(block.number + 3 * rounds.roundLength());
        vm.prank(accused);
        registry.setSigningKey(vm.addr(DELEGATED_KEY));
        assertTrue(registry.isSigner(accused, vm.addr(DELEGATED_KEY), begun), "the round that was begun");
    }

    function test_RevertWhen_TheReceiptIsTooOldOrOfTheFuture() public {
        ICourtTypes.TranscodeReceipt memory receipt = receiptOf(1);
        uint256 now_ = receipt.round;
        uint32[3] memory bad = [uint32(now_ + 1), uint32(0), uint32(now_)];
        for (uint256 i; i < bad.length; ++i) {
            receipt.round = bad[i];
            ICourtTypes.SignedReceipt memory signed = signedBy(ACCUSED_KEY, receipt);
            if (i == 2) {
                for (uint256 passed; passed < 3; ++passed) {
                    nextRound();
                }
                now_ += 3;
            }
            vm.expectRevert(abi.encodeWithSelector(ICourtTypes.OutsideStatute.selector, bad[i], now_, 2));
            court.reportEquivocation(accused, signed, signed);
        }
    }

    function test_AnOrchestratorLosesByReportingItselfWhenItsDelegatorsAreLeaving() public {
        bond(address(0xD1), 99 * STAKE, accused);
        nextRound();
        vm.prank(address(0xD1));
        bonding.unbond(99 * STAKE);
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(ACCUSED_KEY);
        vm.prank(FINDER);
        court.reportEquivocation(accused, first, second);
        assertLe(token.balanceOf(FINDER), STAKE / 10 / 2, "finder");
    }

    function test_AnOrchestratorLosesByReportingItself() public {
        bond(address(0xD1), 99 * STAKE, accused);
        (ICourtTypes.SignedReceipt memory first, ICourtTypes.SignedReceipt memory second) = _pair(ACCUSED_KEY);
        vm.prank(FINDER);
        court.reportEquivocation(accused, first, second);
        assertLe(token.balanceOf(FINDER), STAKE / 10 / 2, "finder");
        assertTrue(token.balanceOf(FINDER) > 0, "finder gets something");
    }

    function test_PixelsThatAreNotTheSumAreSlashed() public {
        (ICourtTypes.SignedReceipt memory signed, ICourtTypes.RenditionClaim[] memory claims,) = _counted(2, 1);
        assertEq(court.reportPixels(accused, signed, claims, new ICourtTypes.Rung[](0)), STAKE / 10, "slashed");
        assertTrue(
            court.isPunished(accused, ICourtTypes.Fault.ReceiptPixels, court.receiptDigest(signed.receipt)), "punished"
        );
    }

    function test_PixelsThatAreNoWholeFramesOfTheLadderAreSlashed() public {
        (
            ICourtTypes.SignedReceipt memory signed,
            ICourtTypes.RenditionClaim[] memory claims,
            ICourtTypes.Rung[] memory ladder
        ) = _counted(2, 0);
        claims[1].pixels += 1;
        claims[0].pixels -= 1;
        signed.receipt.renditionsRoot = _rootOfTwo(claims);
        signed = signedBy(ACCUSED_KEY, signed.receipt);
        assertEq(court.reportPixels(accused, signed, claims, ladder), STAKE / 10, "slashed");
    }

    function test_RevertWhen_ThePixelsAreRight() public {
        (
            ICourtTypes.SignedReceipt memory signed,
            ICourtTypes.RenditionClaim[] memory claims,
            ICourtTypes.Rung[] memory ladder
        ) = _counted(2, 0);
        vm.expectRevert(abi.encodeWithSelector(ICourtTypes.NoPixelFault.selector));
        court.reportPixels(accused, signed, claims, ladder);
    }

    function test_RevertWhen_TheClaimsAreNotThoseThatWereSigned() public {
        (ICourtTypes.SignedReceipt memory signed, ICourtTypes.RenditionClaim[] memory claims,) = _counted(2, 0);
        claims[0].pixels += 1;
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.NotSigned.selector, _rootOfTwo(claims), signed.receipt.renditionsRoot)
        );
        court.reportPixels(accused, signed, claims, new ICourtTypes.Rung[](0));
    }

    function test_RevertWhen_AParameterIsOutOfBounds() public {
        ICourtTypes.Parameters memory p = courtParameters();
        p.maxDraws = 3;
        vm.expectRevert(abi.encodeWithSelector(IManaged.OutOfBounds.selector, 8, 1, 6));
        court.setParameters(p);
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, FINDER));
        vm.prank(FINDER);
        court.setParameters(p);
    }

    function _pair(uint256 key)
        private
        view
        returns (ICourtTypes.SignedReceipt memory, ICourtTypes.SignedReceipt memory)
    {
        ICourtTypes.TranscodeReceipt memory second = receiptOf(1);
        second.renditionsRoot = keccak256("other renditions");
        return (signedBy(key, receiptOf(1)), signedBy(key, second));
    }

    function _expectWrongSigner(address signer) private {
        vm.expectRevert(
            abi.encodeWithSelector(ICourtTypes.WrongSigner.selector, signer, accused, rounds.currentRound())
        );
    }

    /// @dev Two renditions of whole frames, and a receipt that counts `excess` pixels more.
    function _counted(uint256 frames, uint64 excess)
        private
        view
        returns (
            ICourtTypes.SignedReceipt memory signed,
            ICourtTypes.RenditionClaim[] memory claims,
            ICourtTypes.Rung[] memory ladder
        )
    {
        claims = new ICourtTypes.RenditionClaim[](2);
        ladder = new ICourtTypes.Rung[](2);
        uint256 sum;
        for (uint256 i; i < 2; ++i) {
            ladder[i].width = uint32(640 >> i);
            ladder[i].height = uint32(360 >> i);
            ladder[i].nameHash = keccak256(abi.encode(i));
            claims[i].pixels = uint64(frames * ladder[i].width * ladder[i].height);
            claims[i].sha256Hash = keccak256(abi.encode("rendition", i));
            sum += claims[i].pixels;
        }
        ICourtTypes.TranscodeReceipt memory receipt = receiptOf(1);
        receipt.pixels = uint64(sum) + excess;
        receipt.renditionsRoot = _rootOfTwo(claims);
        receipt.ladderHash = _ladderHash(ladder);
        signed = signedBy(ACCUSED_KEY, receipt);
    }

    function _rootOfTwo(ICourtTypes.RenditionClaim[] memory c) private pure returns (bytes32) {
        bytes32[2] memory leaves;
        for (uint32 i; i < 2; ++i) {
            leaves[i] = keccak256(
                abi.encodePacked(uint8(0), i, c[i].sha256Hash, c[i].pixels, c[i].featureRoot, c[i].psnrCentiDb)
            );
        }
        return keccak256(abi.encodePacked(uint8(1), leaves));
    }

    function _ladderHash(ICourtTypes.Rung[] memory ladder) private pure returns (bytes32) {
        bytes memory text = abi.encodePacked("framemill ladder v1", uint8(ladder.length));
        for (uint256 i; i < ladder.length; ++i) {
            text = abi.encodePacked(text, ladder[i].nameHash, ladder[i].width, ladder[i].height, new bytes(19));
        }
        return keccak256(text);
    }
}
