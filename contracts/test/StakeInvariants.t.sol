// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {StakeHandler} from "./StakeHandler.sol";

/// @dev The handler with what must hold after every step.
contract StakeChecks is StakeHandler {
    /// @dev Bonded and unbonding stake and the treasury's share against the minter's tokens, each pool against its
    /// delegators, fees against what was paid.
    function checkMoney() external view {
        uint256 owed = minter.treasuryOwed();
        uint256 fees;
        uint256[ACTORS] memory pools;
        for (uint256 i; i < ACTORS; ++i) {
            IBondingTypes.Delegator memory d = bonding.getDelegator(actor(i));
            // What a moved bond has lost is held until it is burned.
            owed += d.bondedAmount + _due[i];
            fees += d.fees;
            if (d.delegateAddress != address(0)) pools[uint160(d.delegateAddress) - FIRST] += d.bondedAmount + _due[i];
            for (uint256 lock; lock < d.nextUnbondingLockId; ++lock) {
                owed += bonding.getDelegatorUnbondingLock(actor(i), lock).amount;
            }
        }
        assertLe(owed, token.balanceOf(address(minter)), "tokens owed");
        for (uint256 i; i < ACTORS; ++i) {
            assertLe(pools[i], bonding.transcoderTotalStake(actor(i)), "stakes of a pool");
        }
        ITicketBroker.SenderInfo memory info = broker.getSenderInfo(sender);
        assertLe(info.deposit + info.reserve + fees, address(broker).balance, "ether owed");
        assertLe(fees + withdrawnFees, paid, "fees");
        if (_mintRound == rounds.lastInitializedRound()) {
            assertLe(_mintedInRound, _supplyOfRound * minter.inflationPpm() / 1e6, "minted in a round");
        }
    }

    function checkSet() external view {
        address[] memory members = bonding.getTranscoderPool(address(0), 100);
        uint256 round = rounds.lastInitializedRound();
        uint256 total;
        uint256 above = type(uint256).max;
        for (uint256 i; i < members.length; ++i) {
            uint256 stake_ = bonding.transcoderTotalStake(members[i]);
            assertLe(stake_, above, "order of the set");
            above = stake_;
            total += stake_;
            assertTrue(stake_ != 0, "a member without stake");
            assertTrue(bonding.getDelegator(members[i]).delegateAddress == members[i], "a member that left");
            assertLe(bonding.getTranscoder(members[i]).jailedUntil, round, "a member in jail");
        }
        assertEq(members.length, bonding.getTranscoderPoolSize(), "size of the set");
        assertEq(total, bonding.nextRoundTotalActiveStake(), "total of the set");
    }

    /// @dev An orchestrator's votes cover its delegators', and what a round began with stays what it was.
    function checkVotes() external view {
        uint256 last = rounds.lastInitializedRound();
        _checkVotes(last);
        if (last > 2) _checkVotes(last - 2);
        if (last > 9) _checkVotes(last - 9);
    }

    function _checkVotes(uint256 round) private view {
        uint256[ACTORS] memory parts;
        uint256[ACTORS] memory pools;
        for (uint256 i; i < ACTORS; ++i) {
            (address delegate, uint256 bonded, uint256 delegated) = bonding.getBondingStateAt(actor(i), round);
            pools[i] = delegated;
            // A reward gives an orchestrator shares without a new state of its account: it has no part to override.
            bool overrides = delegate != address(0) && delegate != actor(i);
            if (overrides) parts[uint160(delegate) - FIRST] += bonded;
            uint256 seen = _seenVotes[round][i];
            if (seen != 0 && overrides) assertEq(bonded, uint128(seen), "a part of the past");
            if (seen != 0) assertEq(delegated, seen >> 128, "votes of the past");
        }
        for (uint256 i; i < ACTORS; ++i) {
            // Whose orchestrator left votes for itself.
            if (pools[i] != 0) assertLe(parts[i], pools[i], "parts of a vote");
        }
    }

    function checkSteps() external view {
        assertTrue(bytes(this.broken()).length == 0, this.broken());
    }
}

contract StakeInvariantsTest {
    bool public constant IS_TEST = true;

    StakeChecks private _handler;

    function setUp() public {
        _handler = new StakeChecks();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_MoneyCoversWhatIsOwed() public view {
        _handler.checkMoney();
        _handler.checkSteps();
    }

    function invariant_TheSetAndItsVotesAreExact() public view {
        _handler.checkSet();
        _handler.checkVotes();
    }
}
