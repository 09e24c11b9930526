// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IRoundsManager} from "./interfaces/IRoundsManager.sol";
import {IServiceRegistry} from "./interfaces/IServiceRegistry.sol";
import {Upgradeable} from "./Upgradeable.sol";

/// @title ServiceRegistry; its contract is IServiceRegistry
contract ServiceRegistry is IServiceRegistry, Upgradeable {
    using SafeCast for uint256;

    /// @dev Rounds, the last one included, in which an account answers for what a key signed.
    struct Term {
        uint32 from;
        uint32 until;
    }

    /// @dev Eight multiaddrs of the longest usual form; bounds what a reader has to fetch and parse.
    uint256 public constant MAX_URI_LENGTH = 1024;

    mapping(address account => string uri) private _uri;
    /// @dev `until` of the present key.
    uint32 private constant OPEN = type(uint32).max;
    /// @dev Rounds before it was named and after its replacement in which a key counts as well: readers of the record may
    /// not know better, and take receipts of the rounds beside their own.
    uint256 private constant GRACE_ROUNDS = 1;

    IRoundsManager public immutable roundsManager;

    mapping(address account => address key) private _signingKey;
    mapping(address account => mapping(address key => Term term)) private _terms;
    uint256[47] private __gap;

    constructor(address controller_, IRoundsManager roundsManager_) Upgradeable(controller_) {
        roundsManager = roundsManager_;
    }

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
        uint256 round = roundsManager.currentRound();
        address old = _signingKey[msg.sender];
        if (old != address(0)) _terms[msg.sender][old].until = (round + GRACE_ROUNDS).toUint32();
        if (key != address(0)) {
            Term storage term = _terms[msg.sender][key];
            // A key that comes back was never away: what it signed in between counts.
            if (term.from == 0) term.from = _firstRound(round).toUint32();
            term.until = OPEN;
        }
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

    /// @inheritdoc IServiceRegistry
    function isSigner(address account, address key, uint256 round) external view returns (bool) {
        if (key == address(0)) return false;
        if (key == account) return true;
        Term memory term = _terms[account][key];
        return term.from != 0 && term.from <= round && round <= term.until;
    }

    /// @dev Receipts are dated with the last round that was begun, which may be an earlier one.
    function _firstRound(uint256 round) private view returns (uint256) {
        uint256 begun = Math.min(round, roundsManager.lastInitializedRound());
        return Math.max(begun, GRACE_ROUNDS + 1) - GRACE_ROUNDS;
    }
}
