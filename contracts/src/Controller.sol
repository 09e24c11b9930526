// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IController} from "./interfaces/IController.sol";
import {IManaged} from "./interfaces/IManaged.sol";

/// @title Controller; its contract is IController
contract Controller is IController, Ownable2Step {
    /// @dev Each push costs about 10,000 gas; the fuse must fit into any block.
    uint256 public constant MAX_MANAGED = 32;
    /// @inheritdoc IController
    uint256 public constant MAX_PAUSE = 14 days;
    /// @inheritdoc IController
    uint256 public constant GUARDIAN_REST = 28 days;

    bool public override paused;
    /// @inheritdoc IController
    uint64 public pauseEnds;
    uint64 private _guardianReady;
    /// @inheritdoc IController
    address public guardian;
    address[] private _managed;
    mapping(address target => bool known) private _isManaged;
    mapping(bytes32 id => address target) private _registry;

    constructor(address owner_) Ownable(owner_) {}

    /// @inheritdoc IController
    function setContract(bytes32 id, address target, bool managed) external onlyOwner {
        if (target == address(0)) revert ZeroAddress(id);
        _registry[id] = target;
        emit ContractSet(id, target, managed);
        if (!managed || _isManaged[target]) return;
        if (_managed.length == MAX_MANAGED) revert TooManyManaged(_managed.length + 1, MAX_MANAGED);
        _managed.push(target);
        _isManaged[target] = true;
        IManaged(target).setPaused(paused);
    }

    /// @inheritdoc IController
    function pause() external {
        if (msg.sender == guardian) {
            if (block.timestamp < _guardianReady) revert GuardianRests(_guardianReady);
            _guardianReady = uint64(block.timestamp + MAX_PAUSE + GUARDIAN_REST);
        } else {
            _checkOwner();
        }
        pauseEnds = uint64(block.timestamp + MAX_PAUSE);
        _setPaused(true);
    }

    /// @inheritdoc IController
    function unpause() external {
        if (msg.sender != guardian && block.timestamp < pauseEnds) _checkOwner();
        _setPaused(false);
    }

    /// @inheritdoc IController
    function setGuardian(address guardian_) external onlyOwner {
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// @inheritdoc IController
    function getContract(bytes32 id) external view returns (address) {
        return _registry[id];
    }

    function _setPaused(bool paused_) private {
        paused = paused_;
        emit PausedSet(paused_);
        uint256 count = _managed.length;
        for (uint256 i; i < count; ++i) {
            IManaged(_managed[i]).setPaused(paused_);
        }
    }
}
