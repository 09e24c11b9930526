// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Pays winning lottery tickets out of their senders' deposits and reserves
/// @dev Invariants:
/// - deposits + reserves + unclaimed fees <= the broker's balance;
/// - a ticket pays its exact face value or nothing, and at most once;
/// - a lane's redeemed nonce never falls;
/// - one recipient never gets more than its equal share of a reserve in one round.
///
/// The broker holds its senders' money, so its code cannot be replaced under them: a new version is deployed beside it
/// and senders move when they choose. There is one broker for ether, whose fees are divided among an orchestrator and its
/// delegators, and one for each token that work is paid in.
interface ITicketBroker {
    /// @notice A ticket as its sender signs it (EIP-712).
    /// @param recipient Orchestrator that gets the face value.
    /// @param sender Broadcaster that pays.
    /// @param faceValue Wei, or base units of the token, paid when the ticket wins.
    /// @param winProb The ticket wins when `keccak256(digest ‖ recipientRand) < winProb`.
    /// @param lane The lane whose nonces this ticket's belongs to.
    /// @param senderNonce Above every nonce redeemed in the lane.
    /// @param salt Unpredictable part of the sender, so that the recipient cannot grind its commitment.
    /// @param recipientRandHash keccak256 of the recipient's secret. Signed in any case; a redemption may leave it zero,
    /// because the broker knows it.
    /// @param creationRound Round in which the ticket was made.
    /// @param creationRoundBlockHash Block hash recorded for that round; may be left zero like `recipientRandHash`.
    struct Ticket {
        address recipient;
        address sender;
        uint256 faceValue;
        uint256 winProb;
        uint64 lane;
        uint64 senderNonce;
        bytes32 salt;
        bytes32 recipientRandHash;
        uint64 creationRound;
        bytes32 creationRoundBlockHash;
    }

    /// @notice What a sender holds.
    /// @param deposit Pays tickets first.
    /// @param reserve Pays when the deposit is short.
    /// @param withdrawRound Round from which all of it can be withdrawn; 0 while locked.
    /// @param claimedInCurrentRound Reserve paid out in this round.
    struct SenderInfo {
        uint256 deposit;
        uint256 reserve;
        uint256 withdrawRound;
        uint256 claimedInCurrentRound;
    }

    /// @notice Why a ticket is not paid.
    enum Reason {
        None,
        Malformed,
        NotRedeemer,
        Expired,
        NonceUsed,
        BadRecipientRand,
        BadSignature,
        NotWinning,
        RecipientInactive,
        InsufficientFunds
    }

    /// @notice A sender's deposit grew.
    event DepositFunded(address indexed sender, uint256 amount);
    /// @notice A sender's reserve grew.
    event ReserveFunded(address indexed sender, uint256 amount);
    /// @notice A ticket was paid: `faceValue` in all, `fromReserve` of it from the reserve.
    event WinningTicketRedeemed(
        address indexed sender,
        address indexed recipient,
        uint64 indexed lane,
        uint64 senderNonce,
        uint256 faceValue,
        uint256 fromReserve,
        uint256 recipientRand
    );
    /// @notice The ticket at `index` of a batch was left out.
    event WinningTicketSkipped(
        address indexed sender,
        address indexed recipient,
        uint64 indexed lane,
        uint64 senderNonce,
        uint256 index,
        Reason reason
    );
    /// @notice A sender began to unlock its funds.
    event Unlocked(address indexed sender, uint256 withdrawRound);
    /// @notice A sender took its unlock back.
    event UnlockCancelled(address indexed sender);
    /// @notice A sender took its funds out.
    event Withdrawn(address indexed sender, uint256 deposit, uint256 reserve);
    /// @notice A recipient named the account that may redeem for it.
    event RedeemerSet(address indexed recipient, address indexed redeemer);
    /// @notice Fees left the broker.
    event FeesPaid(address indexed to, uint256 amount);

    /// @notice The ticket is not paid.
    error TicketRejected(Reason reason);
    /// @notice The arrays of a batch differ in length.
    error LengthMismatch(uint256 tickets, uint256 signatures, uint256 rands);
    /// @notice Nothing would be booked.
    error NothingToFund();
    /// @notice There is nothing to unlock or to withdraw.
    error NoFunds(address sender);
    /// @notice An unlock is under way already.
    error AlreadyUnlocking(uint256 withdrawRound);
    /// @notice No unlock is under way.
    error NotUnlocking(address sender);
    /// @notice The unlock is not over.
    error StillLocked(uint256 currentRound, uint256 withdrawRound);
    /// @notice The account did not take the money.
    error PaymentFailed(address to, uint256 amount);

    /// @notice Pays one ticket or reverts with the reason. Recipient or its redeemer only.
    function redeemWinningTicket(Ticket calldata ticket, bytes calldata signature, uint256 recipientRand) external;

    /// @notice Pays those tickets that can be paid, in order, and reports each of the others by an event.
    /// @return reasons One for each ticket; `None` for a paid one.
    function redeemWinningTickets(
        Ticket[] calldata tickets,
        bytes[] calldata signatures,
        uint256[] calldata recipientRands
    ) external returns (Reason[] memory reasons);

    /// @notice Begins to unlock the caller's funds. Tickets are paid until they are withdrawn.
    function unlock() external;

    /// @notice Takes the caller's unlock back.
    function cancelUnlock() external;

    /// @notice Pays the caller's unlocked funds out.
    function withdraw() external;

    /// @notice Names the account that may redeem for the caller; zero for none.
    function setRedeemer(address redeemer) external;

    /// @notice Begins a round; rounds manager only.
    function onRoundInitialized(uint256 round, bytes32 blockHash, uint256 activeSetSize) external;

    /// @notice Pays out fees that the bonding manager has booked off; bonding manager only. A broker that pays its fees out
    /// itself refuses.
    function payFees(address to, uint256 amount) external;

    /// @notice What `sender` holds.
    function getSenderInfo(address sender) external view returns (SenderInfo memory);

    /// @notice Wei of `sender`'s reserve that `recipient` can still claim in this round.
    function claimableReserve(address sender, address recipient) external view returns (uint256);

    /// @notice The highest nonce redeemed in a lane.
    function laneNonce(address sender, address recipient, uint64 lane) external view returns (uint256);

    /// @notice Whether a ticket was paid or overtaken by a later one of its lane.
    function usedTickets(Ticket calldata ticket) external view returns (bool);

    /// @notice The digest that the sender of `ticket` signs.
    function ticketDigest(Ticket calldata ticket) external view returns (bytes32);

    /// @notice The account that may redeem for `recipient`.
    function redeemerOf(address recipient) external view returns (address);

    /// @notice Rounds after its own in which a ticket can be redeemed.
    function ticketValidityRounds() external view returns (uint256);

    /// @notice Rounds between unlock and withdrawal.
    function unlockRounds() external view returns (uint256);
}
