// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {IOwned} from "./Managed.sol";

/// @title FramemillToken; its contract is IFramemillToken
contract FramemillToken is IFramemillToken, ERC20Permit, ERC20Burnable {
    /// @inheritdoc IFramemillToken
    uint256 public constant MAX_SUPPLY = type(uint96).max;

    IOwned public immutable controller;

    address public minter;

    constructor(IOwned controller_, address holder, uint256 supply)
        ERC20("Framemill Token", "MILL")
        ERC20Permit("Framemill Token")
    {
        controller = controller_;
        _make(holder, supply);
    }

    /// @inheritdoc IFramemillToken
    function setMinter(address minter_) external {
        if (msg.sender != controller.owner()) revert Unauthorized(msg.sender);
        minter = minter_;
        emit MinterSet(minter_);
    }

    /// @inheritdoc IFramemillToken
    function mint(address to, uint256 amount) external {
        if (msg.sender != minter) revert Unauthorized(msg.sender);
        _make(to, amount);
    }

    /// @inheritdoc IFramemillToken
    function burn(uint256 amount) public override(IFramemillToken, ERC20Burnable) {
        super.burn(amount);
    }

    function _make(address to, uint256 amount) private {
        uint256 supply = totalSupply();
        if (amount > MAX_SUPPLY - supply) revert SupplyExceeded(amount, MAX_SUPPLY - supply);
        _mint(to, amount);
    }
}
