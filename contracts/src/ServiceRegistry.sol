// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IServiceRegistry} from "./interfaces/IServiceRegistry.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title ServiceRegistry; its contract is IServiceRegistry
contract ServiceRegistry is IServiceRegistry, Upgradeable {
    /// @dev Eight multiaddrs of the longest usual form; bounds what a reader has to fetch and parse.
    uint256 public constant MAX_URI_LENGTH = 1024;

    mapping(address account => string uri) private _uri;
    mapping(address account => address key) private _signingKey;
    uint256[48] private __gap;

    constructor(address controller_) Upgradeable(controller_) {}

    /// @notice Marks the proxy as set up; there is nothing to set.
    function initialize() external initializer {}

    /// @inheritdoc IServiceRegistry
    function setServiceURI(string calldata uri) external whenNotPaused {
        uint256 length = bytes(uri).length;
        if (length > MAX_URI_LENGTH) revert ServiceURITooLong(length, MAX_URI_LENGTH);
        _uri[msg.sender] = uri;
        emit ServiceURISet(msg.sender, uri);
    }

    /// @inheritdoc IServiceRegistry
    function setSigningKey(address key) external whenNotPaused {
        _signingKey[msg.sender] = key;
        emit SigningKeySet(msg.sender, key);
    }

    /// @inheritdoc IServiceRegistry
    function getServiceURI(address account) external view returns (string memory) {
        return _uri[account];
    }

    /// @inheritdoc IServiceRegistry
    function signingKey(address account) external view returns (address) {
        address key = _signingKey[account];
        return key == address(0) ? account : key;
    }
}
