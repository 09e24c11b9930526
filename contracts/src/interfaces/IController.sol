// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Registry of the protocol's contracts, its owner, and the emergency fuse
/// @dev Invariant: every managed contract's pause flag equals `paused()` after each call that ends here.
interface IController {
    /// @notice A contract was registered under an id, replacing the one before.
    event ContractSet(bytes32 indexed id, address indexed target, bool managed);
    /// @notice The fuse was blown or mended.
    event PausedSet(bool paused);

    /// @notice Another account may pause.
    event GuardianSet(address indexed guardian);

    /// @notice The guardian has used its pause and can pause again at `ready`.
    error GuardianRests(uint256 ready);
    /// @notice The zero address cannot be registered.
    error ZeroAddress(bytes32 id);
    /// @notice More managed contracts than one transaction can surely pause.
    error TooManyManaged(uint256 count, uint256 bound);

    /// @notice Registers `target` under `id`.
    /// @param id keccak256 of the contract's name.
    /// @param target The contract; a proxy where it has one.
    /// @param managed Whether it obeys the fuse: it gets the present state at once and every change later.
    function setContract(bytes32 id, address target, bool managed) external;

    /// @notice Stops every managed contract's state-changing functions, withdrawals included. Owner or guardian.
    /// @dev Nobody can vote meanwhile, so a pause must not need a vote to end: after `MAX_PAUSE` anybody can end it, and
    /// the guardian cannot begin the next one before `GUARDIAN_REST` is over, in which voters can replace it.
    function pause() external;

    /// @notice Lets them go on. Owner or guardian; anybody when the pause has lasted `MAX_PAUSE`.
    function unpause() external;

    /// @notice Names who may pause besides the owner; owner only. The zero address: nobody.
    function setGuardian(address guardian) external;

    /// @notice Who may pause besides the owner.
    function guardian() external view returns (address);

    /// @notice When anybody may end the present or last pause, in seconds of Unix time.
    function pauseEnds() external view returns (uint64);

    /// @notice Seconds after which anybody may end a pause.
    function MAX_PAUSE() external view returns (uint256);

    /// @notice Seconds after the end of its pause in which the guardian cannot pause again.
    function GUARDIAN_REST() external view returns (uint256);

    /// @notice The contract registered under `id`, or zero.
    function getContract(bytes32 id) external view returns (address);

    /// @notice Whether the fuse is blown.
    function paused() external view returns (bool);
}
