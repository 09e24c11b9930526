// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITicketBroker} from "../interfaces/ITicketBroker.sol";

/// @title The EIP-712 struct hash of a ticket
library TicketHash {
    bytes32 internal constant TICKET_TYPEHASH = keccak256(
        "Ticket(address recipient,address sender,uint256 faceValue,uint256 winProb,uint64 lane,uint64 senderNonce,bytes32 salt,bytes32 recipientRandHash,uint64 creationRound,bytes32 creationRoundBlockHash)"
    );

    /// @dev `keccak256(abi.encode(TYPEHASH, ticket))` with the two hashes put in, about 400 gas cheaper: a ticket is one run
    /// of words in the calldata, in the order of its type. `test_TheTicketHashIsThatOfTheEncoder` compares them. The words are
    /// taken as they are: who calls has read each short field, which refuses dirty upper bits.
    function structHash(ITicketBroker.Ticket calldata ticket, bytes32 randHash, bytes32 blockHash)
        internal
        pure
        returns (bytes32 hash)
    {
        bytes32 typeHash = TICKET_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), ticket, 0x140)
            mstore(add(free, 0x100), randHash)
            mstore(add(free, 0x140), blockHash)
            hash := keccak256(free, 0x160)
        }
    }
}
