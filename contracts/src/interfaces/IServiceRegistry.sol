// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Where orchestrators are reached, and with which key they sign receipts
/// @dev Every account writes only its own record; readers look only at accounts of the active set. Invariant: what an
/// account answers for never shrinks for rounds that have begun, whatever keys it names later.
interface IServiceRegistry {
    /// @notice An account published its service addresses.
    event ServiceURISet(address indexed account, string serviceURI);
    /// @notice An account named the key that signs its receipts.
    event SigningKeySet(address indexed account, address indexed key);

    /// @notice The record is longer than readers accept.
    error ServiceURITooLong(uint256 length, uint256 bound);

    /// @notice Publishes the caller's addresses: comma-separated multiaddrs, each ending in `/p2p/<peer id>`.
    function setServiceURI(string calldata uri) external;

    /// @notice Names the key that signs the caller's receipts; zero for the caller's own.
    function setSigningKey(address key) external;

    /// @notice An account's service addresses, or the empty string.
    function getServiceURI(address account) external view returns (string memory);

    /// @notice The key that signs an account's receipts: the one it named, or its own.
    function signingKey(address account) external view returns (address);

    /// @notice Whether an account answers for what a key signed in a round: its own key always, another one from the
    /// round before the one in which it was named to the round after the one in which it was replaced. Of the two the first
    /// counts in rounds that were begun, as receipts do.
    function isSigner(address account, address key, uint256 round) external view returns (bool);
}
