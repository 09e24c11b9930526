// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBondingTypes} from "../src/interfaces/IBondingTypes.sol";
import {ITicketBroker} from "../src/interfaces/ITicketBroker.sol";
import {Market} from "./Market.sol";

/// @dev Every state-changing function of the stake contracts, called in any order by a few accounts, with the court, the
/// owner and time taking part. The first half of the accounts tries to be orchestrators, the other half delegates to
/// them. Refused calls are part of the game. What only a single step can show is noted in `broken`.
contract StakeHandler is Market {
    uint256 public constant ACTORS = 8;
    uint160 internal constant FIRST = 0xA000;
    address internal constant COURT = address(0xC0);
    address internal constant FINDER = address(0xF1);
    address internal constant TREASURY = address(0x7E);
    /// @dev Stake that becomes shares loses at most what one share is worth: far below this after 64 steps of reward.
    uint256 private constant ROUNDING = 1e6;
    uint256 private constant FUNDS = 1e7 * TOKENS;

    string public broken;
    uint256 public paid;
    uint256 public withdrawnFees;
    uint256 internal _mintedInRound;
    uint256 internal _supplyOfRound;
    uint256 internal _mintRound;
    uint64 private _nonce;
    mapping(uint256 round => mapping(uint256 who => uint256 votes)) internal _seenVotes;
    /// @dev What slashes have taken of bonds that were moved, until the account acts: at least so much is still held.
    mapping(uint256 who => uint256 tokens) internal _due;

    /// @dev Nobody loses stake or fees by what another does, except by a slash.
    modifier harmless(address acting, bool slashes) {
        IBondingTypes.Delegator[ACTORS] memory before;
        for (uint256 i; i < ACTORS; ++i) {
            before[i] = bonding.getDelegator(actor(i));
        }
        _;
        for (uint256 i; i < ACTORS; ++i) {
            if (actor(i) == acting) {
                _due[i] = 0;
                continue;
            }
            IBondingTypes.Delegator memory d = bonding.getDelegator(actor(i));
            if (!slashes && d.bondedAmount + ROUNDING < before[i].bondedAmount) broken = "another lost stake";
            if (d.fees + ROUNDING < before[i].fees) broken = "another lost fees";
        }
    }

    constructor() {
        _stage();
        bonding.setCourt(COURT);
        minter.setTreasury(TREASURY);
        minter.setTreasuryRewardCutRate(50_000);
        minter.setTreasuryBalanceCeiling(FUNDS);
        for (uint256 i; i < ACTORS; ++i) {
            address account = actor(i);
            token.transfer(account, FUNDS);
            vm.prank(account);
            token.approve(address(bonding), type(uint256).max);
            vm.prank(account);
            bonding.bond(FUNDS / 10, i < ACTORS / 2 ? account : actor(i - ACTORS / 2));
            if (i >= ACTORS / 2) continue;
            vm.prank(account);
            bonding.transcoder(100_000, 500_000);
        }
        fund(500 ether, 5 ether);
        _advance(1);
    }

    function actor(uint256 seed) public pure returns (address) {
        return address(FIRST + uint160(seed % ACTORS));
    }

    function stake(uint256 who, uint256 to, uint256 amount, uint256 hint) external harmless(actor(who), false) {
        address account = actor(who);
        amount = bound(amount, 0, token.balanceOf(account));
        vm.prank(account);
        bonding.bondWithHint(amount, _delegateFor(who, to), actor(hint), actor(hint >> 8));
    }

    /// @dev A delegator, or an orchestrator that has left, goes to another orchestrator or becomes one.
    function move(uint256 who, uint256 to, uint256 amount) external harmless(actor(who), false) {
        address account = actor(who);
        address from = bonding.getDelegator(account).delegateAddress;
        address target = to % 8 == 0 ? account : actor((to >> 8) % (ACTORS / 2));
        if (target == from) target = actor((uint160(from) - FIRST + 1) % (ACTORS / 2));
        (,, uint256 until) = bonding.getRedelegation(account);
        uint256 stake_ = bonding.pendingStake(account);
        amount = bound(amount, 0, token.balanceOf(account) / 100);
        vm.prank(account);
        bonding.bond(amount, target);
        if (from == address(0) || stake_ == 0) return;
        if (until > rounds.lastInitializedRound()) broken = "a bond moved twice";
        (address left, uint256 answers,) = bonding.getRedelegation(account);
        if (left != from || answers != stake_) broken = "a moved bond does not answer";
    }

    function settle(uint256 who) external harmless(address(0), false) {
        who %= ACTORS;
        IBondingTypes.Delegator memory d = bonding.getDelegator(actor(who));
        uint256 held = token.balanceOf(address(minter));
        uint256 supply = token.totalSupply();
        uint256 pool = bonding.transcoderTotalStake(d.delegateAddress);
        bonding.settleRedelegation(actor(who));
        uint256 burned = supply - token.totalSupply();
        if (burned + ROUNDING < _due[who]) broken = "a moved bond keeps what it lost";
        if (held - token.balanceOf(address(minter)) != burned) broken = "a moved bond's loss is not burned";
        if (pool - bonding.transcoderTotalStake(d.delegateAddress) != burned) broken = "a pool lost something else";
        if (bonding.pendingStake(actor(who)) != d.bondedAmount) broken = "settling changed a stake";
        _due[who] = 0;
        bonding.settleRedelegation(actor(who));
        if (supply - token.totalSupply() != burned) broken = "a loss was taken twice";
    }

    function dust(uint256 who, uint256 to) external harmless(actor(who), false) {
        vm.prank(actor(who));
        bonding.bond(1, _delegateFor(who, to));
    }

    function terms(uint256 who, uint256 rewardCut, uint256 feeShare, uint256 hint)
        external
        harmless(actor(who), false)
    {
        who %= ACTORS / 2;
        vm.prank(actor(who));
        bonding.transcoderWithHint(bound(rewardCut, 0, 1e6), bound(feeShare, 0, 1e6), actor(hint));
    }

    function unbond(uint256 who, uint256 amount, uint256 hint) external harmless(actor(who), false) {
        address account = actor(who);
        amount = bound(amount, 1, bonding.pendingStake(account));
        vm.prank(account);
        bonding.unbondWithHint(amount, actor(hint));
    }

    function unbondAll(uint256 who) external harmless(actor(who), false) {
        address account = actor(who);
        uint256 amount = bonding.pendingStake(account);
        vm.prank(account);
        bonding.unbond(amount);
        if (bonding.getDelegator(account).delegateAddress != address(0)) broken = "all stake left and some is there";
    }

    function rebond(uint256 who, uint256 seed, uint256 hint) external {
        _rebond(_holder(who, true), seed, hint);
    }

    function rebondFromUnbonded(uint256 who, uint256 to, uint256 seed) external {
        _rebondFromUnbonded(_holder(who, false), to, seed);
    }

    function withdrawStake(uint256 who, uint256 seed) external {
        _withdrawStake(_holder(who, seed % 2 == 0), seed);
    }

    function withdrawFees(uint256 who) external harmless(actor(who), false) {
        address account = actor(who);
        uint256 amount = bonding.pendingFees(account);
        vm.prank(account);
        bonding.withdrawFees(payable(account), amount);
        withdrawnFees += amount;
    }

    function claim(uint256 who) external harmless(address(0), false) {
        vm.prank(actor(who));
        bonding.claimEarnings();
        _due[who % ACTORS] = 0;
    }

    function transferBond(uint256 who, uint32 to, uint256 amount) external harmless(actor(who), false) {
        address account = actor(who);
        address delegate = bonding.getDelegator(account).delegateAddress;
        for (uint256 i; i < ACTORS && bonding.getDelegator(actor(to)).delegateAddress != delegate; ++i) {
            ++to;
        }
        amount = bound(amount, 1, bonding.pendingStake(account));
        vm.prank(account);
        bonding.transferBond(actor(to), amount);
        _due[to % ACTORS] = 0;
    }

    function reward(uint256 who) external harmless(address(0), false) {
        who %= ACTORS / 2;
        uint256 supply = token.totalSupply();
        uint256 held = bonding.transcoderTotalStake(actor(who));
        uint256 owed = minter.treasuryOwed();
        vm.prank(actor(who));
        bonding.reward();
        uint256 made = token.totalSupply() - supply;
        if (bonding.transcoderTotalStake(actor(who)) - held + minter.treasuryOwed() - owed != made) {
            broken = "a reward is not what was made";
        }
        uint256 round = rounds.lastInitializedRound();
        if (_mintRound != round) (_mintRound, _mintedInRound, _supplyOfRound) = (round, 0, supply);
        _mintedInRound += made;
        _due[who] = 0;
    }

    function win(uint256 who, uint256 faceValue) external harmless(address(0), false) {
        ITicketBroker.Ticket memory ticket = winner(actor(who % (ACTORS / 2)), ++_nonce);
        ticket.faceValue = bound(faceValue, 1, 2 ether);
        redeem(ticket);
        paid += ticket.faceValue;
    }

    function slash(uint256 who, uint256 amount, uint256 fee) external harmless(address(0), true) {
        // Whole and near-whole slashes are as likely as usual ones.
        uint256 ppm = amount % 4 == 0 ? 1e6 : amount % 4 == 1 ? 1e6 - (amount >> 8) % 10 : (amount >> 8) % 3e5;
        _slashWithMoved(actor(who % (ACTORS / 2)), ppm, fee % (1e6 + 1));
    }

    function jail(uint256 who, uint256 count) external harmless(address(0), false) {
        vm.prank(COURT);
        bonding.jailTranscoder(actor(who % (ACTORS / 2)), count % 4);
    }

    function govern(uint256 what, uint256 value) external harmless(address(0), false) {
        what %= 8;
        if (what == 0) bonding.setUnbondingPeriod(bound(value, 1, 12));
        if (what == 1) bonding.setNumActiveTranscoders(bound(value, 1, SET_SIZE));
        if (what == 2) minter.setTreasuryRewardCutRate(bound(value, 0, 250_000));
        if (what == 3) minter.setTreasuryBalanceCeiling(bound(value, 0, FUNDS));
        if (what == 4) minter.setInflationChange(bound(value, 0, 500));
        if (what == 5) rounds.setRoundLock(bound(value, 0, 300_000));
        if (what == 6) rounds.setRoundLength(bound(value, 10, 100));
        if (what == 7) minter.payTreasury();
    }

    function burn(uint256 who, uint256 amount) external harmless(actor(who), false) {
        address account = actor(who);
        amount = bound(amount, 0, token.balanceOf(account) / 100);
        vm.prank(account);
        token.burn(amount);
    }

    function passRounds(uint256 count) external harmless(address(0), false) {
        for (count = bound(count, 1, 4); count > 0; --count) {
            _advance(1);
        }
    }

    function skipRounds(uint256 count) external harmless(address(0), false) {
        _advance(bound(count, 2, 6));
    }

    function passBlocks(uint256 count) external {
        vm.roll(block.number + bound(count, 1, 30));
    }

    function _slashWithMoved(address account, uint256 ppm, uint256 fee) private {
        uint256[ACTORS] memory bonded;
        uint256[ACTORS] memory answers;
        for (uint256 i; i < ACTORS; ++i) {
            bonded[i] = bonding.pendingStake(actor(i));
            (address from, uint256 amount, uint256 until) = bonding.getRedelegation(actor(i));
            if (from == account && rounds.lastInitializedRound() < until) answers[i] = amount;
        }
        _slash(account, ppm, fee);
        for (uint256 i; i < ACTORS; ++i) {
            IBondingTypes.Delegator memory d = bonding.getDelegator(actor(i));
            uint256 loss = answers[i] * ppm / 1e6;
            if (loss > bonded[i]) loss = bonded[i];
            if (d.bondedAmount + loss > bonded[i] + ROUNDING) broken = "a moved bond escaped";
            if (d.delegateAddress == account) {
                if (d.bondedAmount == 0) _due[i] = 0;
            } else if (d.bondedAmount + ROUNDING < bonded[i]) {
                _due[i] += bonded[i] - d.bondedAmount - ROUNDING;
            }
        }
    }

    function _slash(address account, uint256 ppm, uint256 fee) private {
        uint256 held = token.balanceOf(address(minter));
        uint256 supply = token.totalSupply();
        uint256 found = token.balanceOf(FINDER);
        uint256 pool = bonding.transcoderTotalStake(account);
        vm.prank(COURT);
        uint256 taken = bonding.slashTranscoder(account, FINDER, ppm, fee);
        if (held - token.balanceOf(address(minter)) != taken) broken = "a slash takes other tokens than it says";
        if (supply - token.totalSupply() + token.balanceOf(FINDER) - found != taken) {
            broken = "slashed tokens are neither burned nor paid";
        }
        uint256 left = bonding.transcoderTotalStake(account);
        if (pool - left > taken) broken = "a slash says too little";
        // Earning stake rounds down, waiting stake up.
        if (left > pool - pool * ppm / 1e6 + 1) broken = "a slash leaves too much";
    }

    function _advance(uint256 count) private {
        vm.roll(rounds.currentRoundStartBlock() + count * rounds.roundLength());
        rounds.initializeRound();
        uint256 round = rounds.lastInitializedRound();
        for (uint256 i; i < ACTORS; ++i) {
            (, uint256 bonded, uint256 delegated) = bonding.getBondingStateAt(actor(i), round);
            _seenVotes[round][i] = bonded + (delegated << 128);
        }
    }

    function _delegateFor(uint256 who, uint256 to) private pure returns (address) {
        // Now and then who was an orchestrator delegates, where it may.
        bool own = who % ACTORS < ACTORS / 2 && (to >> 16) % 8 != 0;
        return own ? actor(who) : actor(to % (ACTORS / 2));
    }

    function _rebond(uint256 who, uint256 seed, uint256 hint) private harmless(actor(who), false) {
        uint256 id = _lock(actor(who), seed);
        vm.prank(actor(who));
        bonding.rebondWithHint(id, actor(hint));
    }

    function _rebondFromUnbonded(uint256 who, uint256 to, uint256 seed) private harmless(actor(who), false) {
        uint256 id = _lock(actor(who), seed);
        address back = bonding.getDelegatorUnbondingLock(actor(who), id).delegate;
        vm.prank(actor(who));
        bonding.rebondFromUnbonded(to % 2 == 0 ? back : _delegateFor(who, to), id);
    }

    function _withdrawStake(uint256 who, uint256 seed) private harmless(actor(who), false) {
        uint256 id = _lock(actor(who), seed);
        vm.prank(actor(who));
        bonding.withdrawStake(id);
    }

    /// @dev Somebody with a lock, bonded or not, if there is one.
    function _holder(uint256 seed, bool bonded) private view returns (uint256) {
        for (uint256 i; i < ACTORS; ++i) {
            uint256 who = (seed % ACTORS + i) % ACTORS;
            IBondingTypes.Delegator memory d = bonding.getDelegator(actor(who));
            bool holds = bonding.getDelegatorUnbondingLock(actor(who), _lock(actor(who), seed)).withdrawRound != 0;
            if (holds && (d.delegateAddress != address(0)) == bonded) return who;
        }
        return seed % ACTORS;
    }

    /// @dev A lock that is there, if there is one.
    function _lock(address account, uint256 seed) private view returns (uint256) {
        uint256 count = bonding.getDelegator(account).nextUnbondingLockId;
        for (uint256 i; i < count; ++i) {
            uint256 id = (seed % count + i) % count;
            if (bonding.getDelegatorUnbondingLock(account, id).withdrawRound != 0) return id;
        }
        return 0;
    }
}
