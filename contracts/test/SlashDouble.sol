// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BondingManager} from "../src/BondingManager.sol";
import {ISlasher} from "../src/interfaces/ISlasher.sol";
import {Ppm} from "../src/libraries/Ppm.sol";
import {SortedSet} from "../src/libraries/SortedSet.sol";
import {StakePool} from "../src/libraries/StakePool.sol";

/// @dev A double of the two functions that the court calls, over the real stakes: bonded stake alone, jail as a note.
contract SlashingBondingManager is BondingManager, ISlasher {
    using SortedSet for SortedSet.Set;

    address public court;
    mapping(address transcoder => uint256 rounds) public jailed;

    constructor(address controller_, Siblings memory siblings) BondingManager(controller_, siblings) {}

    function setCourt(address court_) external {
        court = court_;
    }

    function slashTranscoder(address transcoder, address finder, uint256 slashAmountPpm, uint256 finderFeePpm)
        external
        only(court)
        returns (uint256 slashed)
    {
        StakePool.Pool storage pool = _pools[transcoder];
        uint256 earning = Ppm.share(pool.stake, slashAmountPpm);
        uint256 waiting = Ppm.share(pool.waiting, slashAmountPpm);
        pool.stake -= uint128(earning);
        pool.waiting -= uint128(waiting);
        slashed = earning + waiting;
        if (_set.contains(transcoder)) {
            _nextTotal -= uint128(slashed);
            _set.update(transcoder, _set.nodes[transcoder].key - slashed, address(0));
        }
        uint256 fee = Ppm.share(slashed, finderFeePpm);
        if (slashed == 0) return 0;
        minter.withdrawTokens(finder, fee);
        minter.withdrawTokens(address(0xdead), slashed - fee);
    }

    function jailTranscoder(address transcoder, uint256 rounds) external only(court) {
        jailed[transcoder] = rounds;
    }
}
