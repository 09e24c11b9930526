// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {TokenTicketBroker} from "../src/TokenTicketBroker.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {Market} from "./Market.sol";

contract Coin is ERC20 {
    constructor(address holder) ERC20("Coin", "COIN") {
        _mint(holder, 1e12 ether);
    }
}

/// @dev Both brokers, every function that changes them, in any order and by anybody. Refused calls are part of the game.
contract BrokerHandler is Market {
    uint256 private constant SENDERS = 2;
    uint256 private constant RECIPIENTS = 3;
    uint160 private constant FIRST = 0xB0B0;

    Coin private coin;
    TokenTicketBroker private coins;
    ITicketBroker.Ticket[] private _seen;
    mapping(bytes32 digest => uint256 times) private _paidTimes;
    uint64 private _nonce;
    uint256 private _fees;
    uint256 private _feesOut;
    bool public brokeTheRules;

    constructor() {
        _stage();
        coin = new Coin(address(this));
        coins = new TokenTicketBroker(address(controller), bonding, address(rounds), coin, 2, 3);
        ITicketBroker[] memory more = new ITicketBroker[](1);
        more[0] = coins;
        rounds.setTicketBrokers(more);
        for (uint160 i; i < RECIPIENTS; ++i) {
            candidate(FIRST + i, 100 * TOKENS);
        }
        for (uint256 i; i < SENDERS; ++i) {
            vm.deal(_sender(i), 1_000 ether);
            coin.transfer(_sender(i), 1_000 ether);
            vm.prank(_sender(i));
            coin.approve(address(coins), type(uint256).max);
        }
        nextRound();
        fundEther(0, 3 ether, 3 ether);
        fundTokens(1, 3 ether, 3 ether);
    }

    function fundEther(uint256 who, uint256 deposit, uint256 reserve) public {
        (deposit, reserve) = (bound(deposit, 0, 3 ether), bound(reserve, 0, 3 ether));
        vm.prank(_sender(who));
        broker.fundDepositAndReserve{value: deposit + reserve}(deposit, reserve);
    }

    function fundEtherApart(uint256 who, uint256 amount, bool reserve) external {
        amount = bound(amount, 0, 1 ether);
        vm.prank(_sender(who));
        if (reserve) broker.fundReserve{value: amount}();
        else broker.fundDeposit{value: amount}();
    }

    function fundTokens(uint256 who, uint256 deposit, uint256 reserve) public {
        vm.prank(_sender(who));
        coins.fundDepositAndReserve(bound(deposit, 0, 3 ether), bound(reserve, 0, 3 ether));
    }

    function fundTokensApart(uint256 who, uint256 amount, bool reserve) external {
        amount = bound(amount, 0, 1 ether);
        vm.prank(_sender(who));
        if (reserve) coins.fundReserve(amount);
        else coins.fundDeposit(amount);
    }

    function win(bool ether_, uint256 who, uint256 to, uint256 face, uint64 skip) external {
        ITicketBroker.Ticket memory ticket = winner(_recipient(to), _nonce += 1 + skip % 3);
        (ticket.sender, ticket.faceValue) = (_sender(who), bound(face, 1, 4 ether));
        _seen.push(ticket);
        _redeem(ether_, ticket);
    }

    /// @dev A ticket that was seen before, perhaps paid, perhaps overtaken, perhaps for the other asset.
    function replay(bool ether_, uint256 which) external {
        if (_seen.length == 0) return;
        _redeem(ether_, _seen[which % _seen.length]);
    }

    function winMany(bool ether_, uint256 who, uint256 to, uint256 face, uint256 old) external {
        ITicketBroker.Ticket[] memory tickets = new ITicketBroker.Ticket[](3);
        bytes[] memory signatures = new bytes[](3);
        uint256[] memory rands = new uint256[](3);
        for (uint256 i; i < 3; ++i) {
            tickets[i] = winner(_recipient(to), ++_nonce);
            (tickets[i].sender, tickets[i].faceValue) = (_sender(who), bound(face, 1, 2 ether));
            if (i == 1 && _seen.length != 0) tickets[i] = _seen[old % _seen.length];
            signatures[i] = _signature(ether_, tickets[i]);
            rands[i] = RAND;
        }
        ITicketBroker target = _target(ether_);
        uint256 before = _held(ether_);
        vm.prank(_recipient(to));
        ITicketBroker.Reason[] memory reasons = target.redeemWinningTickets(tickets, signatures, rands);
        uint256 paid;
        for (uint256 i; i < 3; ++i) {
            if (reasons[i] != ITicketBroker.Reason.None) continue;
            paid += tickets[i].faceValue;
            _count(target, tickets[i]);
        }
        if (before - _held(ether_) != paid) brokeTheRules = true;
        if (ether_) _fees += paid;
    }

    function unlock(bool ether_, uint256 who) external {
        vm.prank(_sender(who));
        _target(ether_).unlock();
    }

    function cancelUnlock(bool ether_, uint256 who) external {
        vm.prank(_sender(who));
        _target(ether_).cancelUnlock();
    }

    function withdraw(bool ether_, uint256 who) external {
        vm.prank(_sender(who));
        _target(ether_).withdraw();
    }

    function setRedeemer(bool ether_, uint256 who, uint256 redeemer) external {
        vm.prank(_recipient(who));
        _target(ether_).setRedeemer(_recipient(redeemer));
    }

    function withdrawFees(bool ether_, uint256 who, uint256 amount) external {
        address account = _recipient(who);
        uint256 due = ether_ ? bonding.pendingFees(account) : coins.feesOf(account);
        amount = bound(amount, 1, due + 1);
        vm.prank(account);
        if (ether_) bonding.withdrawFees(payable(account), amount);
        else coins.withdrawFees(account, amount);
        if (ether_) _feesOut += amount;
    }

    /// @dev What only siblings may call.
    function trespass(bool ether_, uint256 who, uint256 amount) external {
        vm.prank(_sender(who));
        if (amount % 2 == 0) _target(ether_).payFees(_sender(who), bound(amount, 1, 1 ether));
        else _target(ether_).onRoundInitialized(amount % 100, bytes32(amount), 1);
        brokeTheRules = true;
    }

    function passRounds(uint256 count) external {
        for (count = bound(count, 1, 4); count > 0; --count) {
            nextRound();
        }
    }

    function unbondSome(uint256 who, uint256 amount) external {
        address account = _recipient(who);
        amount = bound(amount, 1, bonding.pendingStake(account) + 1);
        vm.prank(account);
        bonding.unbond(amount);
    }

    function checkMoney() external view {
        uint256 funds = _held(true);
        assertEq(address(broker).balance, funds + _fees - _feesOut, "ether in = ether out");
        uint256 tokens = _held(false);
        for (uint256 i; i < RECIPIENTS; ++i) {
            tokens += coins.feesOf(_recipient(i));
        }
        assertEq(coin.balanceOf(address(coins)), tokens, "tokens in = tokens out");
    }

    function _redeem(bool ether_, ITicketBroker.Ticket memory ticket) private {
        bytes memory signature = _signature(ether_, ticket);
        ITicketBroker target = _target(ether_);
        uint256 before = _held(ether_);
        vm.prank(ticket.recipient);
        target.redeemWinningTicket(ticket, signature, RAND);
        if (before - _held(ether_) != ticket.faceValue) brokeTheRules = true;
        if (ether_) _fees += ticket.faceValue;
        _count(target, ticket);
    }

    function _count(ITicketBroker target, ITicketBroker.Ticket memory ticket) private {
        bytes32 digest = target.ticketDigest(ticket);
        if (++_paidTimes[digest] > 1) brokeTheRules = true;
    }

    /// @dev All deposits and reserves.
    function _held(bool ether_) private view returns (uint256 sum) {
        for (uint256 i; i < SENDERS; ++i) {
            ITicketBroker.SenderInfo memory info = _target(ether_).getSenderInfo(_sender(i));
            sum += info.deposit + info.reserve;
        }
    }

    function _signature(bool ether_, ITicketBroker.Ticket memory ticket) private view returns (bytes memory) {
        uint256 key = ticket.sender == _sender(0) ? SENDER_KEY : SENDER_KEY + 1;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _target(ether_).ticketDigest(ticket));
        return abi.encodePacked(r, s, v);
    }

    function _target(bool ether_) private view returns (ITicketBroker) {
        return ether_ ? ITicketBroker(broker) : ITicketBroker(coins);
    }

    function _sender(uint256 seed) private pure returns (address) {
        return vm.addr(SENDER_KEY + seed % SENDERS);
    }

    function _recipient(uint256 seed) private pure returns (address) {
        return address(FIRST + uint160(seed % RECIPIENTS));
    }
}

contract BrokerInvariantsTest {
    bool public constant IS_TEST = true;

    BrokerHandler private _handler;

    function setUp() public {
        _handler = new BrokerHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function invariant_MoneyInIsMoneyOut() public view {
        _handler.checkMoney();
    }

    function invariant_ATicketPaysItsFaceValueOnceOrNothing() public view {
        require(!_handler.brokeTheRules(), "a ticket paid another sum, or twice, or to a trespasser");
    }
}
