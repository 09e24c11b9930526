// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {IFramemillToken} from "./interfaces/IFramemillToken.sol";
import {IOwned} from "./Managed.sol";

/// @title FramemillToken; its contract is IFramemillToken
contract FramemillToken is IFramemillToken, ERC20Votes, ERC20Permit, ERC20Burnable {
    IOwned public immutable controller;

    address public minter;

    constructor(IOwned controller_, address holder, uint256 supply)
        ERC20("Framemill Token", "MILL")
        ERC20Permit("Framemill Token")
    {
        controller = controller_;
        _mint(holder, supply);
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
        _mint(to, amount);
    }

    /// @inheritdoc IFramemillToken
    function burn(uint256 amount) public override(IFramemillToken, ERC20Burnable) {
        super.burn(amount);
    }

    /// @dev Both bases define it.
    function nonces(address owner_) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner_);
    }

    /// @dev Both bases define it.
    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Votes) {
        super._update(from, to, amount);
    }
}
