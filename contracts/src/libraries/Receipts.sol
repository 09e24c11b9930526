// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ICourtTypes} from "../interfaces/ICourtTypes.sol";

/// @title What an orchestrator signs for a segment, hashed as the nodes hash it
library Receipts {
    /// @dev Rungs of a ladder, and so renditions of a segment.
    uint256 internal constant MAX_RUNGS = 16;

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant RECEIPT_TYPEHASH = keccak256(
        "TranscodeReceipt(bytes32 session,uint64 sequence,bytes32 sourceHash,bytes32 ladderHash,bytes32 renditionsRoot,uint64 pixels,uint32 round)"
    );
    bytes private constant LADDER_DOMAIN = "framemill ladder v1";

    /// @dev Quotes and receipts are signed for the deployment's Controller.
    function domainSeparator(address controller) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Framemill"), keccak256("1"), block.chainid, controller));
    }

    function digest(ICourtTypes.TranscodeReceipt calldata receipt, bytes32 domain) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(RECEIPT_TYPEHASH, receipt))));
    }

    /// @dev Merkle root over the claims; a node without a sibling moves up unchanged.
    function renditionsRoot(ICourtTypes.RenditionClaim[] calldata claims) internal pure returns (bytes32) {
        uint256 count = _bounded(claims.length);
        if (count == 0) return 0;
        bytes32[] memory level = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            level[i] = _leaf(uint32(i), claims[i]);
        }
        while (count > 1) {
            uint256 pairs = count / 2;
            for (uint256 i; i < pairs; ++i) {
                level[i] = keccak256(abi.encodePacked(uint8(1), level[2 * i], level[2 * i + 1]));
            }
            if (count % 2 == 1) level[pairs] = level[count - 1];
            count -= pairs;
        }
        return level[0];
    }

    function ladderHash(ICourtTypes.Rung[] calldata rungs) internal pure returns (bytes32) {
        uint256 count = _bounded(rungs.length);
        bytes memory text = abi.encodePacked(LADDER_DOMAIN, uint8(count));
        for (uint256 i; i < count; ++i) {
            ICourtTypes.Rung calldata rung = rungs[i];
            text = abi.encodePacked(text, rung.nameHash, rung.width, rung.height, rung.bitrate);
            text = abi.encodePacked(text, rung.fpsNum, rung.fpsDen, rung.gopMillis);
            text = abi.encodePacked(text, rung.gopKind, rung.codec, rung.profile);
        }
        return keccak256(text);
    }

    /// @dev Pixels of all renditions, saturating as the nodes' sum does.
    function sumOfPixels(ICourtTypes.RenditionClaim[] calldata claims) internal pure returns (uint256 sum) {
        uint256 count = claims.length;
        for (uint256 i; i < count; ++i) {
            sum += claims[i].pixels;
        }
        return Math.min(sum, type(uint64).max);
    }

    /// @dev Whether each claim can be a whole number of frames of its rung.
    function fitsLadder(ICourtTypes.RenditionClaim[] calldata claims, ICourtTypes.Rung[] calldata rungs)
        internal
        pure
        returns (bool)
    {
        uint256 count = claims.length;
        if (count != rungs.length) return false;
        for (uint256 i; i < count; ++i) {
            uint256 frame = uint256(rungs[i].width) * rungs[i].height;
            // A ladder that was signed with a side of zero fixes no size.
            if (frame != 0 && claims[i].pixels % frame != 0) return false;
        }
        return true;
    }

    function _leaf(uint32 index, ICourtTypes.RenditionClaim calldata claim) private pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(uint8(0), index, claim.sha256Hash, claim.pixels, claim.featureRoot, claim.psnrCentiDb)
        );
    }

    function _bounded(uint256 count) private pure returns (uint256) {
        if (count > MAX_RUNGS) revert ICourtTypes.TooMany(count, MAX_RUNGS);
        return count;
    }
}
