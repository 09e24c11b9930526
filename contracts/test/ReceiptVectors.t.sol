// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {Receipts} from "../src/libraries/Receipts.sol";
import {Test} from "./Test.sol";

/// @dev The library under calldata, as the court uses it.
contract ReceiptHashes {
    function digest(ICourtTypes.TranscodeReceipt calldata receipt, address controller) external view returns (bytes32) {
        return Receipts.digest(receipt, Receipts.domainSeparator(controller));
    }

    function root(ICourtTypes.RenditionClaim[] calldata claims) external pure returns (bytes32) {
        return Receipts.renditionsRoot(claims);
    }

    function sum(ICourtTypes.RenditionClaim[] calldata claims) external pure returns (uint256) {
        return Receipts.sumOfPixels(claims);
    }

    function ladder(ICourtTypes.Rung[] calldata rungs) external pure returns (bytes32) {
        return Receipts.ladderHash(rungs);
    }

    function fits(ICourtTypes.RenditionClaim[] calldata claims, ICourtTypes.Rung[] calldata rungs)
        external
        pure
        returns (bool)
    {
        return Receipts.fitsLadder(claims, rungs);
    }
}

/// @dev The vectors that the nodes' crates execute too.
contract ReceiptVectorsTest is Test {
    string private json;
    ReceiptHashes private hashes = new ReceiptHashes();

    function test_DigestsRootsAndLaddersAreTheSharedOnes() public {
        json = vm.readFile("../verification/vectors/receipts.json");
        vm.chainId(vm.parseJsonUint(json, ".domain.chainId"));
        uint256 count = vm.parseJsonUint(json, ".count");
        assertTrue(count > 0, "there are vectors");
        for (uint256 i; i < count; ++i) {
            _check(string.concat(".receipts[", vm.toString(i), "]"));
        }
    }

    function _check(string memory path) private view {
        ICourtTypes.TranscodeReceipt memory receipt = _receipt(path);
        bytes32 digest = hashes.digest(receipt, vm.parseJsonAddress(json, ".domain.verifyingContract"));
        assertEq(digest, _word(path, ".digest"), string.concat(path, " digest"));
        bytes memory signature = vm.parseJsonBytes(json, string.concat(path, ".signature"));
        address signer = vm.parseJsonAddress(json, ".signer");
        assertEq(ECDSA.recover(digest, signature), signer, string.concat(path, " signer"));
        uint256 count = _number(path, ".count");
        ICourtTypes.RenditionClaim[] memory claims = new ICourtTypes.RenditionClaim[](count);
        ICourtTypes.Rung[] memory rungs = new ICourtTypes.Rung[](count);
        for (uint256 i; i < count; ++i) {
            claims[i] = _claim(string.concat(path, ".claims[", vm.toString(i), "]"));
            rungs[i] = _rung(string.concat(path, ".rungs[", vm.toString(i), "]"));
        }
        assertEq(hashes.root(claims), receipt.renditionsRoot, string.concat(path, " root"));
        assertEq(hashes.sum(claims), receipt.pixels, string.concat(path, " pixels"));
        assertEq(hashes.ladder(rungs), receipt.ladderHash, string.concat(path, " ladder"));
        assertTrue(hashes.fits(claims, rungs), string.concat(path, " frames"));
    }

    function _receipt(string memory path) private view returns (ICourtTypes.TranscodeReceipt memory) {
        return ICourtTypes.TranscodeReceipt({
            session: _word(path, ".session"),
            sequence: uint64(_number(path, ".sequence")),
            sourceHash: _word(path, ".sourceHash"),
            ladderHash: _word(path, ".ladderHash"),
            renditionsRoot: _word(path, ".renditionsRoot"),
            pixels: uint64(_number(path, ".pixels")),
            round: uint32(_number(path, ".round"))
        });
    }

    function _claim(string memory path) private view returns (ICourtTypes.RenditionClaim memory) {
        return ICourtTypes.RenditionClaim({
            sha256Hash: _word(path, ".sha256"),
            pixels: uint64(_number(path, ".pixels")),
            featureRoot: _word(path, ".featureRoot"),
            psnrCentiDb: uint32(_number(path, ".psnrCentiDb"))
        });
    }

    function _rung(string memory path) private view returns (ICourtTypes.Rung memory) {
        return ICourtTypes.Rung({
            nameHash: _word(path, ".nameHash"),
            width: uint32(_number(path, ".width")),
            height: uint32(_number(path, ".height")),
            bitrate: uint32(_number(path, ".bitrate")),
            fpsNum: uint32(_number(path, ".fpsNum")),
            fpsDen: uint32(_number(path, ".fpsDen")),
            gopMillis: uint32(_number(path, ".gopMillis")),
            gopKind: uint8(_number(path, ".gopKind")),
            codec: uint8(_number(path, ".codec")),
            profile: uint8(_number(path, ".profile"))
        });
    }

    function _number(string memory path, string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, field));
    }

    function _word(string memory path, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, field));
    }
}
