// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BondingCourt} from "./BondingCourt.sol";
import {BondingState} from "./BondingState.sol";
import {BondingTerms} from "./BondingTerms.sol";
import {BondingViews} from "./BondingViews.sol";

/// @title Code that the bonding manager runs on its own state; its contract is IBondingExtension
contract BondingExtension is BondingCourt, BondingTerms, BondingViews {
    constructor(address controller_, Siblings memory siblings) BondingState(controller_, siblings) {}
}
