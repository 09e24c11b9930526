// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {TokenTicketBroker} from "../src/TokenTicketBroker.sol";
import {IManaged} from "../src/interfaces/IManaged.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {ITokenTicketBroker} from "../src/interfaces/ITokenTicketBroker.sol";
import {MarketTest} from "./Market.sol";

/// @dev A stablecoin as most are: six decimals.
contract Stablecoin is ERC20 {
    constructor(address holder) ERC20("Stablecoin", "USDX") {
        _mint(holder, 1e12);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}

/// @dev Keeps one percent of every transfer.
contract TollCoin is Stablecoin {
    constructor(address holder) Stablecoin(holder) {}

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0)) return super._update(from, to, value);
        super._update(from, address(this), value / 100);
        super._update(from, to, value - value / 100);
    }
}

/// @dev Says no instead of reverting.
contract FalseCoin is Stablecoin {
    bool public closed;

    constructor(address holder) Stablecoin(holder) {}

    function close() external {
        closed = true;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return !closed && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !closed && super.transferFrom(from, to, value);
    }
}

/// @dev Moves tokens and says nothing, as the oldest stablecoin does.
contract SilentCoin {
    mapping(address account => uint256 amount) public balanceOf;

    constructor(address holder) {
        balanceOf[holder] = 1e12;
    }

    function approve(address, uint256) external {}

    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}

contract TokenTicketBrokerTest is MarketTest {
    uint256 private constant COINS = 1e6;
    uint256 private constant PRICE = 2 * COINS;

    Stablecoin private coin;
    TokenTicketBroker private coins;
    address private orch;

    function setUp() public override {
        super.setUp();
        coin = new Stablecoin(sender);
        coins = _brokerOf(IERC20(address(coin)));
        orch = orchestrator(0xB0B, 100 * TOKENS);
    }

    function test_PaysATicketInATokenOfSixDecimals() public {
        _fundWith(coins, IERC20(address(coin)), 10 * COINS, 0);
        _redeemFrom(coins, 1);
        assertEq(coins.getSenderInfo(sender).deposit, 10 * COINS - PRICE, "deposit");
        assertEq(coins.feesOf(orch), PRICE, "fees");
        vm.prank(orch);
        coins.withdrawFees(address(0xCAFE), PRICE);
        assertEq(coin.balanceOf(address(0xCAFE)), PRICE, "withdrawn");
        assertEq(bonding.pendingFees(orch), 0, "no ether is owed");
    }

    function test_TheReserveIsSharedEquallyInEachAsset() public {
        candidate(0xB0B2, 50 * TOKENS);
        nextRound();
        _fundWith(coins, IERC20(address(coin)), 0, 4 * PRICE);
        assertEq(coins.claimableReserve(sender, orch), 2 * PRICE, "half of it");
        _redeemFrom(coins, 1);
        assertEq(coins.claimableReserve(sender, orch), PRICE, "a quarter is left");
    }

    function test_AllOfADepositComesBack() public {
        _fundWith(coins, IERC20(address(coin)), 3 * COINS, 4 * COINS);
        vm.prank(sender);
        coins.unlock();
        for (uint256 i; i < 3; ++i) {
            nextRound();
        }
        vm.prank(sender);
        coins.withdraw();
        assertEq(coin.balanceOf(sender), 1e12, "sender");
        assertEq(coin.balanceOf(address(coins)), 0, "broker");
    }

    function test_BugClass25_ATicketForEtherIsNoneForTokens() public {
        _fundWith(coins, IERC20(address(coin)), 10 * COINS, 0);
        ITicketBroker.Ticket memory ticket = winner(orch, 1);
        bytes memory signature = signed(ticket);
        expectRejected(ITicketBroker.Reason.BadSignature);
        vm.prank(orch);
        coins.redeemWinningTicket(ticket, signature, RAND);
    }

    function test_BugClass27_RevertWhen_TheTokenTakesAFeeOnTransfers() public {
        TollCoin toll = new TollCoin(sender);
        TokenTicketBroker tolls = _brokerOf(IERC20(address(toll)));
        vm.prank(sender);
        toll.approve(address(tolls), 100);
        vm.expectRevert(abi.encodeWithSelector(ITokenTicketBroker.FeeOnTransfer.selector, 99, 100));
        vm.prank(sender);
        tolls.fundDeposit(100);
        assertEq(tolls.getSenderInfo(sender).deposit, 0, "nothing is booked");
    }

    function test_BugClass27_RevertWhen_TheTokenReturnsFalse() public {
        FalseCoin no = new FalseCoin(sender);
        TokenTicketBroker nos = _brokerOf(IERC20(address(no)));
        _fundWith(nos, IERC20(address(no)), 10 * COINS, 0);
        _redeemFrom(nos, 1);
        no.close();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        vm.prank(sender);
        nos.fundReserve(1);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(no)));
        vm.prank(orch);
        nos.withdrawFees(orch, PRICE);
        assertEq(nos.feesOf(orch), PRICE, "still owed");
    }

    function test_BugClass27_ATokenThatReturnsNothingIsTaken() public {
        SilentCoin silent = new SilentCoin(sender);
        TokenTicketBroker silents = _brokerOf(IERC20(address(silent)));
        _fundWith(silents, IERC20(address(silent)), 10 * COINS, 0);
        _redeemFrom(silents, 1);
        vm.prank(orch);
        silents.withdrawFees(orch, PRICE);
        assertEq(silent.balanceOf(orch), PRICE, "withdrawn");
    }

    function test_RevertWhen_MoreFeesAreWithdrawnThanThereAre() public {
        vm.expectRevert(abi.encodeWithSelector(ITokenTicketBroker.BadAmount.selector, 1, 0));
        vm.prank(orch);
        coins.withdrawFees(orch, 1);
    }

    function test_RevertWhen_TheBondingManagerWantsTokens() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, address(bonding)));
        vm.prank(address(bonding));
        coins.payFees(orch, 1);
    }

    function test_RevertWhen_AStrangerNamesBrokers() public {
        vm.expectRevert(abi.encodeWithSelector(IManaged.Unauthorized.selector, orch));
        vm.prank(orch);
        rounds.setTicketBrokers(new ITicketBroker[](0));
    }

    function _brokerOf(IERC20 token_) private returns (TokenTicketBroker made) {
        made = new TokenTicketBroker(address(controller), bonding, address(rounds), token_, 2, 3);
        controller.setContract(keccak256("TokenTicketBroker"), address(made), true);
        ITicketBroker[] memory brokers = new ITicketBroker[](1);
        brokers[0] = made;
        rounds.setTicketBrokers(brokers);
        nextRound();
    }

    function _fundWith(TokenTicketBroker broker_, IERC20 token_, uint256 deposit, uint256 reserve) private {
        vm.prank(sender);
        (bool ok,) = address(token_).call(abi.encodeCall(IERC20.approve, (address(broker_), deposit + reserve)));
        assertTrue(ok, "approved");
        vm.prank(sender);
        broker_.fundDepositAndReserve(deposit, reserve);
    }

    function _redeemFrom(TokenTicketBroker broker_, uint64 nonce) private {
        ITicketBroker.Ticket memory ticket = winner(orch, nonce);
        ticket.faceValue = PRICE;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SENDER_KEY, broker_.ticketDigest(ticket));
        vm.prank(orch);
        broker_.redeemWinningTicket(ticket, abi.encodePacked(r, s, v), RAND);
    }
}
