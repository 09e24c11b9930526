// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {TicketBroker} from "../src/TicketBroker.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {MarketTest} from "./Market.sol";

/// @dev The vectors that the payments crate executes too.
contract TicketVectorsTest is MarketTest {
    string private json;

    function test_DigestsSignaturesAndDrawsAreTheSharedOnes() public {
        json = vm.readFile("../payments/vectors/native.json");
        address place = vm.parseJsonAddress(json, ".domain.verifyingContract");
        vm.chainId(vm.parseJsonUint(json, ".domain.chainId"));
        vm.etch(place, address(broker).code);
        uint256 count = vm.parseJsonUint(json, ".count");
        assertTrue(count > 0, "there are vectors");
        for (uint256 i; i < count; ++i) {
            _check(TicketBroker(place), string.concat(".tickets[", vm.toString(i), "]"));
        }
    }

    function _check(TicketBroker at_, string memory path) private view {
        ITicketBroker.Ticket memory ticket = _ticket(path);
        bytes32 digest = at_.ticketDigest(ticket);
        assertEq(digest, _word(path, ".digest"), string.concat(path, " digest"));
        bytes memory signature = vm.parseJsonBytes(json, string.concat(path, ".signature"));
        assertEq(ECDSA.recover(digest, signature), ticket.sender, string.concat(path, " signer"));
        uint256 rand = _number(path, ".recipientRand");
        assertEq(keccak256(abi.encode(rand)), ticket.recipientRandHash, string.concat(path, " rand"));
        uint256 draw = uint256(keccak256(abi.encode(digest, rand)));
        assertEq(draw, _number(path, ".draw"), string.concat(path, " draw"));
        bool wins = vm.parseJsonBool(json, string.concat(path, ".wins"));
        assertTrue((draw < ticket.winProb) == wins, string.concat(path, " wins"));
    }

    function _ticket(string memory path) private view returns (ITicketBroker.Ticket memory) {
        return ITicketBroker.Ticket({
            recipient: vm.parseJsonAddress(json, string.concat(path, ".recipient")),
            sender: vm.parseJsonAddress(json, string.concat(path, ".sender")),
            faceValue: _number(path, ".faceValue"),
            winProb: _number(path, ".winProb"),
            lane: uint64(_number(path, ".lane")),
            senderNonce: uint64(_number(path, ".senderNonce")),
            salt: _word(path, ".salt"),
            recipientRandHash: _word(path, ".recipientRandHash"),
            creationRound: uint64(_number(path, ".creationRound")),
            creationRoundBlockHash: _word(path, ".creationRoundBlockHash")
        });
    }

    function _number(string memory path, string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, field));
    }

    function _word(string memory path, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, field));
    }
}
