// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {RoundsManager} from "../src/RoundsManager.sol";
import {IBondingManager} from "../src/interfaces/IBondingManager.sol";
import {IController} from "../src/interfaces/IController.sol";
import {IFramemillToken} from "../src/interfaces/IFramemillToken.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {IRoundsManager} from "../src/interfaces/IRoundsManager.sol";
import {IServiceRegistry} from "../src/interfaces/IServiceRegistry.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {MarketTest} from "./Market.sol";

/// @dev Controller, token, rounds, service registry and upgrades.
contract ProtocolTest is MarketTest {
    function test_RoundsCountFromOne() public view {
        assertEq(rounds.currentRound(), 1, "first round");
        assertTrue(rounds.currentRoundInitialized(), "initialized");
        assertEq(rounds.blockHashForRound(1), blockhash(block.number - 1), "hash");
    }

    function test_RevertWhen_ARoundIsInitializedTwice() public {
        vm.expectRevert(abi.encodeWithSelector(IRoundsManager.RoundAlreadyInitialized.selector, 1));
        rounds.initializeRound();
    }

    function testFuzz_ANewRoundLengthNeverSkipsOrRepeatsARound(uint256 offset, uint256 length) public {
        offset = bound(offset, 0, 10 * ROUND);
        length = bound(length, 1, 500);
        vm.roll(block.number + offset);
        uint256 before = rounds.currentRound();
        rounds.setRoundLength(length);
        uint256 round = rounds.currentRound();
        assertLe(before, round, "falls");
        assertLe(round, before + 1, "jumps");
        vm.roll(rounds.currentRoundStartBlock() + length);
        assertEq(rounds.currentRound(), round + 1, "next");
    }

    function test_AnUpgradeKeepsTheState() public {
        bytes32 hash = rounds.blockHashForRound(1);
        address code = address(new RoundsManagerNext(address(controller), bonding, broker));
        rounds.upgradeToAndCall(code, "");
        assertEq(RoundsManagerNext(address(rounds)).version(), 2, "new code");
        assertEq(rounds.blockHashForRound(1), hash, "old state");
        nextRound();
        assertEq(rounds.lastInitializedRound(), 2, "goes on");
    }

    function test_RevertWhen_AStrangerUpgrades() public {
        address code = address(new RoundsManagerNext(address(controller), bonding, broker));
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(0xBAD)));
        vm.prank(address(0xBAD));
        rounds.upgradeToAndCall(code, "");
    }

    function test_RevertWhen_AStrangerPauses() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(0xBAD)));
        vm.prank(address(0xBAD));
        controller.pause();
    }

    function test_RevertWhen_AStrangerSetsTheFlagDirectly() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(this)));
        broker.setPaused(true);
    }

    function test_PauseReachesEveryManagedContract() public {
        controller.pause();
        assertTrue(bonding.paused() && minter.paused() && rounds.paused(), "stake");
        assertTrue(registry.paused() && broker.paused(), "market");
    }

    function test_RevertWhen_RegisteringNothing() public {
        vm.expectRevert(abi.encodeWithSelector(IController.ZeroAddress.selector, keccak256("X")));
        controller.setContract(keccak256("X"), address(0), false);
    }

    function test_RevertWhen_AnybodyButTheMinterMints() public {
        vm.expectRevert(abi.encodeWithSelector(IFramemillToken.Unauthorized.selector, address(this)));
        token.mint(address(this), 1);
    }

    function test_PublishesServiceAddressAndSigningKey() public {
        registry.setServiceURI("/ip4/127.0.0.1");
        assertEq(registry.signingKey(address(this)), address(this), "own key");
        registry.setSigningKey(address(7));
        assertEq(registry.signingKey(address(this)), address(7), "named key");
        assertEq(keccak256(bytes(registry.getServiceURI(address(this)))), keccak256("/ip4/127.0.0.1"), "address");
    }

    function test_RevertWhen_TheServiceAddressIsTooLong() public {
        vm.expectRevert(abi.encodeWithSelector(IServiceRegistry.ServiceURITooLong.selector, 1025, 1024));
        registry.setServiceURI(string(new bytes(1025)));
    }
}

contract RoundsManagerNext is RoundsManager {
    uint256 public constant version = 2;

    constructor(address controller_, IBondingManager bonding_, ITicketBroker broker_)
        RoundsManager(controller_, bonding_, broker_)
    {}
}
