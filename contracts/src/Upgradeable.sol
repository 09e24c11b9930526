// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {Managed} from "./Managed.sol";

/// @title A managed contract behind a proxy whose code the owner can replace while its state stays
/// @dev Siblings are immutables of the implementation: reading one costs no storage access.
abstract contract Upgradeable is Managed, Initializable, UUPSUpgradeable {
    constructor(address controller_) Managed(controller_) {
        _disableInitializers();
    }

    function _authorizeUpgrade(address) internal view override onlyOwner {}
}
