// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IManaged} from "../src/interfaces/IManaged.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {TicketBroker} from "../src/TicketBroker.sol";
import {IEtherTicketBroker} from "../src/interfaces/IEtherTicketBroker.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {TicketHash} from "../src/libraries/TicketHash.sol";
import {MarketTest} from "./Market.sol";

/// @dev Tests named `test_BugClassNN` guard against the class of that number in the history of this kind of contract.
contract TicketBrokerTest is MarketTest {
    address internal orch;

    function setUp() public override {
        super.setUp();
        orch = orchestrator(0xB0B, 100 * TOKENS);
    }

    function test_PaysTheWholeFaceValueFromTheDeposit() public {
        fund(1 ether, 1 ether);
        redeem(winner(orch, 1));
        ITicketBroker.SenderInfo memory info = broker.getSenderInfo(sender);
        assertEq(info.deposit, 1 ether - FACE, "deposit");
        assertEq(info.reserve, 1 ether, "reserve");
        assertEq(bonding.pendingFees(orch), FACE, "fees");
    }

    function test_RevertWhen_ValueIsNotTheSum() public {
        vm.expectRevert(abi.encodeWithSelector(IEtherTicketBroker.ValueMismatch.selector, 3, 5));
        vm.prank(sender);
        broker.fundDepositAndReserve{value: 3}(2, 3);
    }

    function test_RevertWhen_Replayed() public {
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.NonceUsed);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
    }

    function test_RevertWhen_TicketIsOlderThanItsWindow() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        nextRound();
        nextRound();
        nextRound();
        expectRejected(ITicketBroker.Reason.Expired);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
    }

    function test_RevertWhen_RoundOfTheTicketWasNeverInitialized() public {
        fund(1 ether, 0);
        uint64 skipped = uint64(rounds.currentRound()) + 1;
        vm.roll(rounds.currentRoundStartBlock() + 2 * ROUND);
        rounds.initializeRound();
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        ticket.creationRound = skipped;
        ticket.creationRoundBlockHash = 0;
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.Expired);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
    }

    function test_RevertWhen_RandIsAnother() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.BadRecipientRand);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND + 1);
    }

    function test_Bug12_InactiveRecipientGetsNothing() public {
        fund(1 ether, 0);
        address stranger = address(0xDEAD);
        ITicketBroker.Ticket memory ticket = winner(stranger, 1);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.RecipientInactive);
        vm.prank(stranger);
        broker.redeemWinningTicket(ticket, signature, RAND);
    }

    function test_Bug12_TicketWonWhileActiveIsPaidAfterLeaving() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        vm.prank(orch);
        bonding.unbond(100 * TOKENS);
        nextRound();
        redeem(ticket);
        assertEq(bonding.pendingFees(orch), FACE, "fees");
        vm.prank(orch);
        bonding.withdrawFees(payable(orch), FACE);
        assertEq(orch.balance, FACE, "paid");
    }

    function test_BugClass19_ADirtyWordGivesNoSecondDraw() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory data = abi.encodeCall(broker.redeemWinningTicket, (ticket, signed(ticket), RAND));
        // Upper bits of recipient, sender, lane, nonce and round: fields whose type is shorter than their word.
        uint8[5] memory fields = [0, 1, 4, 5, 8];
        for (uint256 i; i < fields.length; ++i) {
            data[4 + 32 * uint256(fields[i])] = 0x01;
            vm.prank(orch);
            (bool ok,) = address(broker).call(data);
            assertTrue(!ok, "refused");
            data[4 + 32 * uint256(fields[i])] = 0x00;
        }
        vm.prank(orch);
        (bool paid,) = address(broker).call(data);
        assertTrue(paid, "clean words are paid");
    }

    function testFuzz_TheTicketHashIsThatOfTheEncoder(ITicketBroker.Ticket calldata ticket) public view {
        bytes32 hash = keccak256(abi.encode(TicketHash.TICKET_TYPEHASH, ticket));
        bytes32 ours = TicketHash.structHash(ticket, ticket.recipientRandHash, ticket.creationRoundBlockHash);
        assertEq(ours, hash, "struct hash");
        assertEq(broker.ticketDigest(ticket), MessageHashUtils.toTypedDataHash(_domain(), hash), "digest");
    }

    function test_HashesThatTheBrokerKnowsMayBeLeftOut() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        (ticket.recipientRandHash, ticket.creationRoundBlockHash) = (0, 0);
        // The hashes are signed all the same: another secret is another ticket.
        expectRejected(ITicketBroker.Reason.BadSignature);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND + 1);
        nextRound();
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
        assertEq(bonding.pendingFees(orch), FACE, "fees");
    }

    function test_BugClass19_OtherEncodingsOfASignatureAreRefused() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SENDER_KEY, broker.ticketDigest(ticket));
        bytes32 compact = bytes32(uint256(s) | (uint256(v - 27) << 255));
        bytes32 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes memory high = abi.encodePacked(r, bytes32(uint256(order) - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        bytes[2] memory encodings = [abi.encodePacked(r, compact), high];
        for (uint256 i; i < encodings.length; ++i) {
            expectRejected(ITicketBroker.Reason.BadSignature);
            vm.prank(orch);
            broker.redeemWinningTicket(ticket, encodings[i], RAND);
        }
    }

    function test_BugClass20_FundingDoesNotCancelAnUnlock() public {
        fund(1 ether, 0);
        vm.prank(sender);
        broker.unlock();
        fund(1, 0);
        assertEq(broker.getSenderInfo(sender).withdrawRound, rounds.currentRound() + 3, "withdraw round");
    }

    function test_BugClass20_OnlyTheSenderCancelsItsUnlock() public {
        fund(1 ether, 0);
        vm.prank(sender);
        broker.unlock();
        vm.expectRevert(abi.encodeWithSelector(ITicketBroker.NotUnlocking.selector, orch));
        vm.prank(orch);
        broker.cancelUnlock();
        vm.prank(sender);
        broker.cancelUnlock();
        assertEq(broker.getSenderInfo(sender).withdrawRound, 0, "withdraw round");
    }

    function test_BugClass21_ShortFundsPayNothingAndKeepTheTicket() public {
        fund(FACE - 1, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.InsufficientFunds);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
        fund(1, 0);
        redeem(ticket);
        assertEq(broker.getSenderInfo(sender).deposit, 0, "deposit");
    }

    function test_BugClass22_SetSizeChangesInARoundDoNotChangeClaims() public {
        fund(0, 12 * FACE);
        assertEq(broker.claimableReserve(sender, orch), 12 * FACE, "alone");
        candidate(0xB0B2, 50 * TOKENS);
        candidate(0xB0B3, 50 * TOKENS);
        assertEq(broker.claimableReserve(sender, orch), 12 * FACE, "joined in this round");
        nextRound();
        assertEq(broker.claimableReserve(sender, orch), 4 * FACE, "share of three");
        vm.prank(address(0xB0B2));
        bonding.unbond(50 * TOKENS);
        assertEq(broker.claimableReserve(sender, orch), 4 * FACE, "left in this round");
    }

    function test_BugClass21_DustInFrontOfARedemptionTakesNothingFromIt() public {
        fund(0, FACE);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        fund(1, 0);
        redeem(ticket);
        assertEq(bonding.pendingFees(orch), FACE, "the whole face value");
        assertEq(broker.getSenderInfo(sender).reserve, 1, "deposit first, reserve for the rest");
    }

    function test_BugClass23_ASybilThatIsNotActiveClaimsNoReserve() public {
        fund(0, 4 * FACE);
        address sybil = candidate(0xB0B2, 50 * TOKENS);
        ITicketBroker.Ticket memory ticket = winner(sybil, 1);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.RecipientInactive);
        vm.prank(sybil);
        broker.redeemWinningTicket(ticket, signature, RAND);
        assertEq(broker.claimableReserve(sender, sybil), 0, "claimable");
    }

    function test_BugClass23_OneRecipientCannotDrainTheReserve() public {
        candidate(0xB0B2, 50 * TOKENS);
        nextRound();
        fund(0, 4 * FACE);
        redeem(winner(orch, 1));
        redeem(winner(orch, 2));
        ITicketBroker.Ticket memory ticket = winner(orch, 3);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.InsufficientFunds);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
        assertEq(broker.claimableReserve(sender, address(0xB0B2)), 2 * FACE, "the other one's share");
    }

    function test_BugClass24_ClaimsEndAtTheWithdrawRound() public {
        fund(0, 10 * FACE);
        vm.prank(sender);
        broker.unlock();
        nextRound();
        nextRound();
        redeem(winner(orch, 1));
        nextRound();
        assertEq(broker.claimableReserve(sender, orch), 0, "claimable while withdrawable");
        vm.prank(sender);
        broker.withdraw();
        fund(0, 10 * FACE);
        assertEq(broker.getSenderInfo(sender).claimedInCurrentRound, 0, "claims of the old reserve");
        assertEq(broker.claimableReserve(sender, orch), 10 * FACE, "claimable of the new reserve");
    }

    function test_BugClass25_ATicketOfAnotherChainIsRefused() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        vm.chainId(99);
        expectRejected(ITicketBroker.Reason.BadSignature);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
    }

    function test_BugClass25_ATicketOfAnotherBrokerIsRefused() public {
        fund(1 ether, 0);
        TicketBroker other = new TicketBroker(address(controller), bonding, address(rounds), 2, 3);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SENDER_KEY, other.ticketDigest(ticket));
        expectRejected(ITicketBroker.Reason.BadSignature);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, abi.encodePacked(r, s, v), RAND);
    }

    function test_BugClass26_EverySkippedTicketHasItsReason() public {
        candidate(0xB0B2, 50 * TOKENS);
        nextRound();
        fund(2 * FACE, 0);
        (ITicketBroker.Ticket[] memory tickets, bytes[] memory signatures, uint256[] memory rands) = batch(orch, 1, 8);
        (tickets[1].recipient, tickets[2].creationRound) = (address(0xB0B2), 99);
        (tickets[3].senderNonce, rands[4], tickets[5].winProb) = (1, RAND + 1, 0);
        signatures[3] = signed(tickets[3]);
        tickets[6].faceValue = 9 * FACE;
        signatures[6] = signed(tickets[6]);
        vm.prank(orch);
        ITicketBroker.Reason[] memory reasons = broker.redeemWinningTickets(tickets, signatures, rands);
        ITicketBroker.Reason[8] memory expected = [
            ITicketBroker.Reason.None,
            ITicketBroker.Reason.NotRedeemer,
            ITicketBroker.Reason.Expired,
            ITicketBroker.Reason.NonceUsed,
            ITicketBroker.Reason.BadRecipientRand,
            ITicketBroker.Reason.NotWinning,
            ITicketBroker.Reason.InsufficientFunds,
            ITicketBroker.Reason.None
        ];
        for (uint256 i; i < expected.length; ++i) {
            assertEq(uint256(reasons[i]), uint256(expected[i]), string.concat("ticket ", vm.toString(i)));
        }
        assertEq(bonding.pendingFees(orch), 2 * FACE, "fees");
    }

    function test_BugClass26_ABatchSkipsTheBadAndPaysTheRest() public {
        fund(1 ether, 0);
        (ITicketBroker.Ticket[] memory tickets, bytes[] memory signatures, uint256[] memory rands) = batch(orch, 1, 4);
        signatures[1] = signatures[0];
        tickets[2].faceValue = 0;
        vm.prank(orch);
        ITicketBroker.Reason[] memory reasons = broker.redeemWinningTickets(tickets, signatures, rands);
        assertTrue(reasons[0] == ITicketBroker.Reason.None, "first");
        assertTrue(reasons[1] == ITicketBroker.Reason.BadSignature, "second");
        assertTrue(reasons[2] == ITicketBroker.Reason.Malformed, "third");
        assertTrue(reasons[3] == ITicketBroker.Reason.None, "fourth");
        assertEq(bonding.pendingFees(orch), 2 * FACE, "fees");
    }

    function test_BugClass26_RevertWhen_BatchLengthsDiffer() public {
        (ITicketBroker.Ticket[] memory tickets, bytes[] memory signatures,) = batch(orch, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(ITicketBroker.LengthMismatch.selector, 2, 2, 1));
        vm.prank(orch);
        broker.redeemWinningTickets(tickets, signatures, new uint256[](1));
    }

    function test_BugClass27_AContractWalletWithAnExpensiveReceiverIsPaid() public {
        fund(1 ether, 0);
        redeem(winner(orch, 1));
        ExpensiveWallet wallet = new ExpensiveWallet();
        vm.prank(orch);
        bonding.withdrawFees(payable(address(wallet)), FACE);
        assertEq(wallet.received(), FACE, "received");
    }

    function test_BugClass28_OnlyTheRecipientOrItsRedeemerSubmits() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        address helper = address(0xCAFE);
        expectRejected(ITicketBroker.Reason.NotRedeemer);
        vm.prank(helper);
        broker.redeemWinningTicket(ticket, signature, RAND);
        vm.prank(orch);
        broker.setRedeemer(helper);
        vm.prank(helper);
        broker.redeemWinningTicket(ticket, signature, RAND);
        assertEq(broker.laneNonce(sender, orch, 0), 1, "nonce");
    }

    function test_BugClass28_AnEarlierWinnerIsLostOnlyByItsOwnRecipient() public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory later = winner(orch, 9);
        bytes memory signature = signed(later);
        expectRejected(ITicketBroker.Reason.NotRedeemer);
        vm.prank(sender);
        broker.redeemWinningTicket(later, signature, RAND);
        redeem(winner(orch, 1));
        redeem(later);
        assertEq(bonding.pendingFees(orch), 2 * FACE, "both are paid");
    }

    function test_LanesCountTheirNoncesApart() public {
        fund(1 ether, 0);
        redeem(winner(orch, 5));
        ITicketBroker.Ticket memory other = winner(orch, 1);
        other.lane = 9;
        redeem(other);
        assertEq(broker.laneNonce(sender, orch, 0), 5, "lane 0");
        assertEq(broker.laneNonce(sender, orch, 9), 1, "lane 9");
        assertTrue(broker.usedTickets(winner(orch, 4)), "overtaken");
    }

    function test_RevertWhen_WithdrawnTooEarly() public {
        fund(1 ether, 1 ether);
        vm.prank(sender);
        broker.unlock();
        uint256 round = rounds.currentRound();
        vm.expectRevert(abi.encodeWithSelector(ITicketBroker.StillLocked.selector, round, round + 3));
        vm.prank(sender);
        broker.withdraw();
    }

    function test_WithdrawsAllAfterTheUnlock() public {
        fund(1 ether, 2 ether);
        vm.prank(sender);
        broker.unlock();
        nextRound();
        nextRound();
        nextRound();
        vm.prank(sender);
        broker.withdraw();
        assertEq(sender.balance, 1_000 ether, "sender");
        assertEq(address(broker).balance, 0, "broker");
    }

    function test_RevertWhen_PausedEverywhere() public {
        controller.pause();
        vm.expectRevert(abi.encodeWithSelector(IManaged.Paused.selector));
        vm.prank(sender);
        broker.fundDeposit{value: 1}();
        controller.unpause();
        fund(1, 0);
    }

    function test_RevertWhen_AStrangerBeginsARound() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(this)));
        broker.onRoundInitialized(9, 0, 0);
    }

    function _domain() private view returns (bytes32) {
        bytes32 typeHash =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        return keccak256(
            abi.encode(typeHash, keccak256("Framemill TicketBroker"), keccak256("1"), block.chainid, address(broker))
        );
    }

    function testFuzz_DrawDecidesAloneWhetherATicketPays(uint256 winProb, bytes32 salt) public {
        fund(1 ether, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        ticket.winProb = winProb;
        ticket.salt = salt;
        bool wins = uint256(keccak256(abi.encode(broker.ticketDigest(ticket), RAND))) < winProb;
        bytes memory signature = signed(ticket);
        if (!wins) expectRejected(ITicketBroker.Reason.NotWinning);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
        assertEq(bonding.pendingFees(orch), wins ? FACE : 0, "fees");
    }

    function testFuzz_ATicketPaysExactlyItsFaceValueOrNothing(uint256 deposit, uint256 reserve, uint256 face) public {
        deposit = bound(deposit, 1, 10 ether);
        reserve = bound(reserve, 0, 10 ether);
        face = bound(face, 1, 30 ether);
        fund(deposit, reserve);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        ticket.faceValue = face;
        bytes memory signature = signed(ticket);
        bool covered = face <= deposit + reserve;
        if (!covered) expectRejected(ITicketBroker.Reason.InsufficientFunds);
        vm.prank(orch);
        broker.redeemWinningTicket(ticket, signature, RAND);
        ITicketBroker.SenderInfo memory info = broker.getSenderInfo(sender);
        assertEq(info.deposit + info.reserve, deposit + reserve - (covered ? face : 0), "what is left");
        assertEq(bonding.pendingFees(orch), covered ? face : 0, "fees");
    }
}

contract ExpensiveWallet {
    uint256 public received;
    uint256 public calls;

    receive() external payable {
        received += msg.value;
        ++calls;
    }
}
