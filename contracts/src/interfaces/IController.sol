// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Registry of the protocol's contracts, its owner, and the emergency fuse
/// @dev Invariant: every managed contract's pause flag equals `paused()` after each call that ends here.
interface IController {
    /// @notice A contract was registered under an id, replacing the one before.
    event ContractSet(bytes32 indexed id, address indexed target, bool managed);
    /// @notice The fuse was blown or mended.
    event PausedSet(bool paused);

    /// @notice The zero address cannot be registered.
    error ZeroAddress(bytes32 id);
    /// @notice More managed contracts than one transaction can surely pause.
    error TooManyManaged(uint256 count, uint256 bound);

    /// @notice Registers `target` under `id`.
    /// @param id keccak256 of the contract's name.
    /// @param target The contract; a proxy where it has one.
    /// @param managed Whether it obeys the fuse: it gets the present state at once and every change later.
    function setContract(bytes32 id, address target, bool managed) external;

    /// @notice Stops every managed contract's state-changing functions, withdrawals included.
    function pause() external;

    /// @notice Lets them go on.
    function unpause() external;

    /// @notice The contract registered under `id`, or zero.
    function getContract(bytes32 id) external view returns (address);

    /// @notice Whether the fuse is blown.
    function paused() external view returns (bool);
}
