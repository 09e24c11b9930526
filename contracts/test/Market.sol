// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BondingExtension} from "../src/BondingExtension.sol";
import {BondingManager} from "../src/BondingManager.sol";
import {BondingState} from "../src/BondingState.sol";
import {Controller} from "../src/Controller.sol";
import {Court} from "../src/Court.sol";
import {CourtRecords} from "../src/CourtRecords.sol";
import {CourtState} from "../src/CourtState.sol";
import {FramemillToken} from "../src/FramemillToken.sol";
import {Minter} from "../src/Minter.sol";
import {Proxy} from "../src/Proxy.sol";
import {RoundsManager} from "../src/RoundsManager.sol";
import {ServiceRegistry} from "../src/ServiceRegistry.sol";
import {TicketBroker} from "../src/TicketBroker.sol";
import {IBondingManager} from "../src/interfaces/IBondingManager.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {ICourtTypes} from "../src/interfaces/ICourtTypes.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {IMinter} from "../src/interfaces/IMinter.sol";
import {IRoundsManager} from "../src/interfaces/IRoundsManager.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {Test} from "./Test.sol";

/// @dev The bonding manager with everything that stands at its address.
interface IBonding is IBondingManager, IManaged {}

/// @dev All contracts, wired as in production, and the steps that tests share. Their code is taken from the compiler's output: by `new`
/// each test would carry all of it, and compiling that again for each took most of the time.
abstract contract Market is Test {
    uint256 internal constant ROUND = 50;
    uint256 internal constant SET_SIZE = 4;
    uint256 internal constant SENDER_KEY = 0xA11CE;
    uint256 internal constant RAND = 4711;
    uint256 internal constant FACE = 1e15;
    uint256 internal constant TOKENS = 1e18;

    Controller internal controller;
    FramemillToken internal token;
    IBonding internal bonding;
    Minter internal minter;
    RoundsManager internal rounds;
    ServiceRegistry internal registry;
    TicketBroker internal broker;
    ICourt internal court;
    address internal sender = vm.addr(SENDER_KEY);

    function _stage() internal {
        vm.roll(1_000);
        _deploy();
        vm.deal(sender, 1_000 ether);
        rounds.initializeRound();
    }

    function _deploy() private {
        uint256 nonce = vm.getNonce(address(this));
        address bonding_ = vm.computeCreateAddress(address(this), nonce + 8);
        address minter_ = vm.computeCreateAddress(address(this), nonce + 9);
        address rounds_ = vm.computeCreateAddress(address(this), nonce + 10);
        controller = Controller(vm.deployCode("Controller", abi.encode(address(this))));
        bytes memory arguments = abi.encode(controller, address(this), 1e9 * TOKENS);
        token = FramemillToken(vm.deployCode("FramemillToken", arguments));
        arguments = abi.encode(controller, bonding_, rounds_, 2, 3);
        broker = TicketBroker(payable(vm.deployCode("TicketBroker", arguments)));
        BondingState.Siblings memory siblings =
            BondingState.Siblings(token, IMinter(minter_), IRoundsManager(rounds_), broker);
        address extension = vm.deployCode("BondingExtension", abi.encode(controller, siblings));
        address bondingCode = vm.deployCode("BondingManager", abi.encode(controller, siblings, extension));
        address minterCode = vm.deployCode("Minter", abi.encode(controller, token, bonding_));
        address roundsCode = vm.deployCode("RoundsManager", abi.encode(controller, bonding_, broker));
        address registryCode = vm.deployCode("ServiceRegistry", abi.encode(controller, rounds_));
        bonding = IBonding(_proxy(bondingCode, abi.encodeCall(BondingManager.initialize, (7, SET_SIZE))));
        minter = Minter(_proxy(minterCode, abi.encodeCall(Minter.initialize, (250, 1))));
        rounds = RoundsManager(_proxy(roundsCode, abi.encodeCall(RoundsManager.initialize, (ROUND, 0))));
        registry = ServiceRegistry(_proxy(registryCode, abi.encodeCall(ServiceRegistry.initialize, ())));
        token.setMinter(minter_);
        controller.setContract(keccak256("BondingManager"), bonding_, true);
        controller.setContract(keccak256("Minter"), minter_, true);
        controller.setContract(keccak256("RoundsManager"), rounds_, true);
        controller.setContract(keccak256("ServiceRegistry"), address(registry), true);
        controller.setContract(keccak256("TicketBroker"), address(broker), true);
        _deployCourt();
    }

    function _deployCourt() private {
        CourtState.Siblings memory siblings = CourtState.Siblings(token, bonding, rounds, registry);
        address records = vm.deployCode("CourtRecords", abi.encode(controller, siblings));
        address code = vm.deployCode("Court", abi.encode(controller, siblings, records));
        court = ICourt(_proxy(code, abi.encodeCall(CourtRecords.initialize, (courtParameters()))));
        controller.setContract(keccak256("Court"), address(court), true);
        bonding.setCourt(address(court));
    }

    function courtParameters() internal pure returns (ICourtTypes.Parameters memory) {
        return ICourtTypes.Parameters({
            bond: uint96(100 * TOKENS),
            juryFee: uint96(6 * TOKENS),
            jurySize: 3,
            maxDraws: 2,
            statuteRounds: 2,
            jailRounds: 7,
            seedDelay: 2,
            claimBlocks: 10,
            commitBlocks: 10,
            revealBlocks: 10,
            appealBlocks: 10,
            absencePpm: 1_000,
            dissentPpm: 10_000,
            finderPpm: 100_000,
            jurorsPpm: 100_000,
            slashPpm: [uint24(100_000), 100_000, 100_000, 100_000, 50_000, 100_000]
        });
    }

    function _proxy(address code, bytes memory initialization) private returns (address) {
        return address(new Proxy(code, initialization));
    }

    function nextRound() internal {
        vm.roll(rounds.currentRoundStartBlock() + ROUND);
        rounds.initializeRound();
    }

    function bond(address staker, uint256 amount, address to) internal {
        token.transfer(staker, amount);
        vm.prank(staker);
        token.approve(address(bonding), amount);
        vm.prank(staker);
        bonding.bond(amount, to);
    }

    /// @dev An orchestrator of the next round, with half of the fees shared and a tenth of rewards kept.
    function candidate(uint160 id, uint256 stake) internal returns (address account) {
        account = address(id);
        bond(account, stake, account);
        vm.prank(account);
        bonding.transcoder(100_000, 500_000);
    }

    function orchestrator(uint160 id, uint256 stake) internal returns (address account) {
        account = candidate(id, stake);
        nextRound();
    }

    function fund(uint256 deposit, uint256 reserve) internal {
        vm.prank(sender);
        broker.fundDepositAndReserve{value: deposit + reserve}(deposit, reserve);
    }

    /// @dev A ticket that wins.
    function winner(address recipient, uint64 nonce) internal view returns (ITicketBroker.Ticket memory) {
        uint64 round = uint64(rounds.lastInitializedRound());
        return ITicketBroker.Ticket({
            recipient: recipient,
            sender: sender,
            faceValue: FACE,
            winProb: type(uint256).max,
            lane: 0,
            senderNonce: nonce,
            salt: keccak256("salt"),
            recipientRandHash: keccak256(abi.encode(RAND)),
            creationRound: round,
            creationRoundBlockHash: rounds.blockHashForRound(round)
        });
    }

    function signed(ITicketBroker.Ticket memory ticket) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SENDER_KEY, broker.ticketDigest(ticket));
        return abi.encodePacked(r, s, v);
    }

    function redeem(ITicketBroker.Ticket memory ticket) internal {
        bytes memory signature = signed(ticket);
        vm.prank(ticket.recipient);
        broker.redeemWinningTicket(ticket, signature, RAND);
    }

    function expectRejected(ITicketBroker.Reason reason) internal {
        vm.expectRevert(abi.encodeWithSelector(ITicketBroker.TicketRejected.selector, reason));
    }

    function batch(address recipient, uint64 first, uint256 count)
        internal
        view
        returns (ITicketBroker.Ticket[] memory tickets, bytes[] memory signatures, uint256[] memory rands)
    {
        tickets = new ITicketBroker.Ticket[](count);
        signatures = new bytes[](count);
        rands = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            tickets[i] = winner(recipient, first + uint64(i));
            signatures[i] = signed(tickets[i]);
            rands[i] = RAND;
        }
    }
}

/// @dev A market for each test.
abstract contract MarketTest is Market {
    function setUp() public virtual {
        _stage();
    }
}
