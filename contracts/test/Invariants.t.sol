// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {Market} from "./Market.sol";

/// @dev Every state-changing function of the market, called in any order by a few accounts. The first half of the
/// accounts tries to be orchestrators, the other half delegates to them. Refused calls are part of the game.
contract MarketHandler is Market {
    uint256 public constant ACTORS = 8;
    uint160 private constant FIRST = 0xA000;

    /// @dev Tickets paid and their value: what the fees must not exceed.
    uint256 public paid;
    uint256 public withdrawnFees;
    uint64 private _nonce;

    constructor() {
        _stage();
        for (uint256 i; i < ACTORS; ++i) {
            address account = actor(i);
            token.transfer(account, 1_000 * TOKENS);
            vm.prank(account);
            token.approve(address(bonding), type(uint256).max);
            vm.prank(account);
            bonding.bond(100 * TOKENS, i < ACTORS / 2 ? account : actor(i - ACTORS / 2));
        }
        fund(5 ether, 5 ether);
        nextRound();
    }

    function actor(uint256 seed) public pure returns (address) {
        return address(FIRST + uint160(seed % ACTORS));
    }

    function stake(uint256 who, uint256 to, uint256 amount) external {
        address account = actor(who);
        bool own = who % ACTORS < ACTORS / 2;
        amount = bound(amount, 0, token.balanceOf(account));
        vm.prank(account);
        bonding.bond(amount, own ? account : actor(to % (ACTORS / 2)));
    }

    function terms(uint256 who, uint256 rewardCut, uint256 feeShare) external {
        vm.prank(actor(who));
        bonding.transcoder(bound(rewardCut, 0, 1e6), bound(feeShare, 0, 1e6));
    }

    function unbond(uint256 who, uint256 amount) external {
        address account = actor(who);
        amount = bound(amount, 1, bonding.pendingStake(account) + 1);
        vm.prank(account);
        bonding.unbond(amount);
    }

    function unbondAll(uint256 who) external {
        address account = actor(who);
        uint256 amount = bonding.pendingStake(account);
        vm.prank(account);
        bonding.unbond(amount);
    }

    function rebond(uint256 who, uint256 lock) external {
        address account = actor(who);
        uint256 id = _lock(account, lock);
        vm.prank(account);
        bonding.rebond(id);
    }

    function rebondFromUnbonded(uint256 who, uint256 to, uint256 lock) external {
        address account = actor(who);
        bool own = who % ACTORS < ACTORS / 2;
        uint256 id = _lock(account, lock);
        vm.prank(account);
        bonding.rebondFromUnbonded(own ? account : actor(to % (ACTORS / 2)), id);
    }

    function withdrawStake(uint256 who, uint256 lock) external {
        address account = actor(who);
        uint256 id = _lock(account, lock);
        vm.prank(account);
        bonding.withdrawStake(id);
    }

    function withdrawFees(uint256 who) external {
        address account = actor(who);
        uint256 amount = bonding.pendingFees(account);
        vm.prank(account);
        bonding.withdrawFees(payable(account), amount);
        withdrawnFees += amount;
    }

    function claim(uint256 who) external {
        vm.prank(actor(who));
        bonding.claimEarnings();
    }

    function reward(uint256 who) external {
        vm.prank(actor(who));
        bonding.reward();
    }

    function fundMore(uint256 deposit, uint256 reserve) external {
        fund(bound(deposit, 0, 1 ether), bound(reserve, 0, 1 ether));
    }

    function win(uint256 who, uint256 faceValue) external {
        ITicketBroker.Ticket memory ticket = winner(actor(who), ++_nonce);
        ticket.faceValue = bound(faceValue, 1, 2 ether);
        redeem(ticket);
        paid += ticket.faceValue;
    }

    function unlock() external {
        vm.prank(sender);
        broker.unlock();
    }

    function cancelUnlock() external {
        vm.prank(sender);
        broker.cancelUnlock();
    }

    function withdraw() external {
        vm.prank(sender);
        broker.withdraw();
    }

    function passRounds(uint256 count) external {
        for (count = bound(count, 1, 4); count > 0; --count) {
            nextRound();
        }
    }

    function _lock(address account, uint256 seed) private view returns (uint256) {
        uint256 count = bonding.getDelegator(account).nextUnbondingLockId;
        return count == 0 ? 0 : seed % count;
    }

    /// @dev Deposits, reserves and fees against the broker's ether.
    function checkEther() external view {
        ITicketBroker.SenderInfo memory info = broker.getSenderInfo(sender);
        uint256 owed = info.deposit + info.reserve;
        uint256 fees;
        for (uint256 i; i < ACTORS; ++i) {
            fees += bonding.pendingFees(actor(i));
        }
        assertLe(owed + fees, address(broker).balance, "ether owed");
        assertLe(fees + withdrawnFees, paid, "fees");
    }

    /// @dev Bonded and unbonding stake against the minter's tokens, and each pool against its delegators.
    function checkTokens() external view {
        uint256 owed;
        uint256[] memory pools = new uint256[](ACTORS);
        for (uint256 i; i < ACTORS; ++i) {
            IBondingTypes.Delegator memory d = bonding.getDelegator(actor(i));
            owed += d.bondedAmount;
            if (d.delegateAddress != address(0)) {
                pools[uint160(d.delegateAddress) - FIRST] += d.bondedAmount;
            }
            for (uint256 lock; lock < d.nextUnbondingLockId; ++lock) {
                owed += bonding.getDelegatorUnbondingLock(actor(i), lock).amount;
            }
        }
        assertLe(owed, token.balanceOf(address(minter)), "tokens owed");
        for (uint256 i; i < ACTORS; ++i) {
            assertLe(pools[i], bonding.transcoderTotalStake(actor(i)), "stakes of a pool");
        }
    }

    function checkSet() external view {
        address[] memory members = bonding.getTranscoderPool(address(0), 100);
        assertLe(members.length, SET_SIZE, "size");
        uint256 total;
        uint256 above = type(uint256).max;
        for (uint256 i; i < members.length; ++i) {
            uint256 stake_ = bonding.transcoderTotalStake(members[i]);
            assertLe(stake_, above, "order");
            above = stake_;
            total += stake_;
        }
        assertEq(total, bonding.nextRoundTotalActiveStake(), "total of the set");
    }
}

contract InvariantsTest {
    bool public constant IS_TEST = true;

    MarketHandler private _handler;

    function setUp() public {
        _handler = new MarketHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_EtherCoversDepositsReservesAndFees() public view {
        _handler.checkEther();
    }

    function invariant_TokensCoverStake() public view {
        _handler.checkTokens();
    }

    function invariant_TheSetIsSortedAndItsTotalExact() public view {
        _handler.checkSet();
    }
}
