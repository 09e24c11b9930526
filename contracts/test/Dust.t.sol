// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {MarketTest} from "./Market.sol";

/// @dev A market in which next to nothing is staked: what the round makes must not go to a few base units at once, or one
/// share would be worth more than those who come can lose by rounding.
contract DustTest is MarketTest {
    uint256 private constant DUST = 3;
    uint256 private constant TOKENS_IN = 1e18 + 1;
    address private constant LATE = address(0xD1);
    address private lone;

    function setUp() public override {
        super.setUp();
        lone = orchestrator(0xB0B9, DUST);
    }

    function test_ARewardAtMostDoublesAPool() public {
        vm.prank(lone);
        bonding.reward();
        assertEq(bonding.transcoderTotalStake(lone), 2 * DUST, "doubled");
    }

    function test_WhoJoinsAPoolOfDustLosesNothingToItsRewards() public {
        for (uint256 i; i < 10; ++i) {
            vm.prank(lone);
            bonding.reward();
            nextRound();
        }
        bond(LATE, TOKENS_IN, lone);
        nextRound();
        assertLe(TOKENS_IN - bonding.pendingStake(LATE), DUST << 10, "lost by rounding");
    }

    function test_RevertWhen_AShareIsWorthSoMuchThatWhoComesWouldLose() public {
        vm.prank(lone);
        bonding.reward();
        nextRound();
        // All but one share go, and each helper leaves most of what it brought to the share that stays.
        vm.prank(lone);
        bonding.unbond(2 * DUST - 2);
        uint256 price = 2;
        for (uint160 i; price <= 1 << 20; ++i) {
            address helper = address(0xE000 + i);
            bond(helper, 2 * price - 1, lone);
            nextRound();
            vm.prank(helper);
            bonding.unbond(1);
            price = bonding.transcoderTotalStake(lone);
        }
        token.transfer(LATE, TOKENS_IN);
        vm.prank(LATE);
        token.approve(address(bonding), TOKENS_IN);
        vm.expectRevert(abi.encodeWithSelector(IBondingTypes.SharesTooDear.selector, lone));
        vm.prank(LATE);
        bonding.bond(TOKENS_IN, lone);
    }
}
