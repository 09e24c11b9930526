// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What the court speaks of
interface ICourtTypes {
    /// @notice What an orchestrator signed wrongly.
    /// @dev The first two are objective. `Unfaithful` takes two receipts of different segments.
    enum Fault {
        Equivocation,
        ReceiptPixels,
        ClaimedPixels,
        FalseFeatures,
        FalseQuality,
        Unfaithful
    }

    /// @notice What a juror, a jury or the court found. `Unavailable`: the evidence could not be had or judged.
    enum Verdict {
        None,
        Guilty,
        NotGuilty,
        Unavailable
    }

    /// @notice Where a dispute stands.
    enum Status {
        None,
        Judging,
        Decided,
        Appealed,
        Closed
    }

    /// @notice The statement that an orchestrator signs for a segment (EIP-712, in the Controller's domain).
    struct TranscodeReceipt {
        bytes32 session;
        uint64 sequence;
        bytes32 sourceHash;
        bytes32 ladderHash;
        bytes32 renditionsRoot;
        uint64 pixels;
        uint32 round;
    }

    /// @notice A receipt with its signature, `r ‖ s ‖ v`.
    struct SignedReceipt {
        TranscodeReceipt receipt;
        bytes signature;
    }

    /// @notice What a receipt says about the rendition at a place of the ladder.
    struct RenditionClaim {
        bytes32 sha256Hash;
        uint64 pixels;
        bytes32 featureRoot;
        uint32 psnrCentiDb;
    }

    /// @notice An entry of the ladder behind `ladderHash`.
    struct Rung {
        bytes32 nameHash;
        uint32 width;
        uint32 height;
        uint32 bitrate;
        uint32 fpsNum;
        uint32 fpsDen;
        uint32 gopMillis;
        uint8 gopKind;
        uint8 codec;
        uint8 profile;
    }

    /// @notice What the court goes by. Shares are parts per million.
    /// @param bond Tokens a challenger puts up; an appellant twice as many.
    /// @param juryFee Least that a deciding jury shares; taken out of the bond where a slash brings less.
    /// @param jurySize Seats of a first jury in expectation; n. An appeal's jury has 2n+1.
    /// @param maxDraws Juries that an instance tries.
    /// @param statuteRounds Rounds after its own in which a receipt can be accused.
    /// @param jailRounds Rounds that a guilty orchestrator is kept out.
    /// @param seedDelay Blocks from the naming of the seed block to that block.
    /// @param claimBlocks Blocks in which seats are claimed; a block hash must be known at their end.
    /// @param commitBlocks Blocks after that, in which evidence is fetched and judged, and votes are committed.
    /// @param revealBlocks Blocks after that, in which votes are revealed.
    /// @param appealBlocks Blocks after a verdict in which it can be appealed.
    /// @param absencePpm What a juror that does not reveal loses of its stake.
    /// @param dissentPpm What a juror loses that swore the opposite of the final verdict.
    /// @param finderPpm What the finder or challenger gets of a slash.
    /// @param jurorsPpm What the juries get of a slash.
    /// @param slashPpm What a guilty orchestrator loses of its stake, by fault.
    struct Parameters {
        uint96 bond;
        uint96 juryFee;
        uint16 jurySize;
        uint16 maxDraws;
        uint16 statuteRounds;
        uint16 jailRounds;
        uint32 seedDelay;
        uint32 claimBlocks;
        uint32 commitBlocks;
        uint32 revealBlocks;
        uint32 appealBlocks;
        uint24 absencePpm;
        uint24 dissentPpm;
        uint24 finderPpm;
        uint24 jurorsPpm;
        uint24[6] slashPpm;
    }

    /// @notice A dispute.
    /// @param verdict The latest one; final where the dispute is closed.
    /// @param firstVerdict The first instance's, where there was an appeal.
    /// @param draws Juries that the present instance has tried.
    /// @param appealUntil Last block in which the verdict can be appealed; 0 after an appeal.
    /// @param jury The latest jury.
    /// @param firstJury The jury that decided the first instance.
    /// @param appealJury The jury that decided the appeal.
    struct Dispute {
        address challenger;
        Fault fault;
        Status status;
        Verdict verdict;
        Verdict firstVerdict;
        uint16 draws;
        uint48 appealUntil;
        address accused;
        uint96 bond;
        address appellant;
        uint96 appealBond;
        uint64 jury;
        uint64 firstJury;
        uint64 appealJury;
        bytes32[2] receipts;
        bytes32[2] evidence;
    }

    /// @notice A jury.
    /// @param seedBlock Block whose hash draws it; 0 while none is named.
    /// @param eligible Stake that seats are drawn over.
    /// @param seats Seats claimed.
    /// @param pot Tokens that those of the final verdict share by seats.
    struct Jury {
        uint64 dispute;
        uint48 seedBlock;
        uint48 claimUntil;
        uint48 commitUntil;
        uint48 revealUntil;
        uint32 round;
        uint16 size;
        uint16 seats;
        uint16 guilty;
        uint16 notGuilty;
        uint16 unavailable;
        uint96 eligible;
        bytes32 seed;
        uint256 pot;
    }

    /// @notice A juror's seats and vote.
    struct Seat {
        bytes32 commitment;
        uint16 seats;
        Verdict vote;
        bool settled;
    }

    /// @notice An orchestrator lost stake for a fault.
    event FaultPunished(
        address indexed accused, Fault indexed fault, bytes32 indexed receipt, address finder, uint256 slashed
    );
    /// @notice A dispute was opened. `receipts` are EIP-712 digests, `evidence` SHA-256 of bundle manifests.
    event DisputeOpened(
        uint256 indexed dispute,
        address indexed challenger,
        address indexed accused,
        Fault fault,
        bytes32[2] receipts,
        bytes32[2] evidence,
        uint256 bond
    );
    /// @notice A jury is to be drawn by the hash of `seedBlock`; 0: the next round must begin first.
    event JuryScheduled(uint256 indexed dispute, uint256 indexed jury, uint256 seedBlock, uint256 size);
    /// @notice A pause lay in a jury's windows: it is void, and another one is drawn.
    event JuryVoided(uint256 indexed dispute, uint256 indexed jury);
    /// @notice A juror took its seats.
    event SeatClaimed(uint256 indexed dispute, uint256 indexed jury, address indexed juror, uint256 seats);
    /// @notice A juror committed to a vote.
    event VoteCommitted(uint256 indexed dispute, uint256 indexed jury, address indexed juror);
    /// @notice A juror's vote is known.
    event VoteRevealed(uint256 indexed dispute, uint256 indexed jury, address indexed juror, Verdict verdict);
    /// @notice A jury came to a verdict, which can be appealed up to `appealUntil` (0: it is final).
    event VerdictReached(uint256 indexed dispute, uint256 indexed jury, Verdict verdict, uint256 appealUntil);
    /// @notice A verdict was appealed.
    event Appealed(uint256 indexed dispute, address indexed appellant, uint256 bond);
    /// @notice A dispute ended; `None`: no jury could decide it.
    event DisputeClosed(uint256 indexed dispute, Verdict verdict, uint256 slashed);
    /// @notice A juror was paid, or lost stake, for its part in a jury.
    event JurorSettled(uint256 indexed jury, address indexed juror, uint256 paid, uint256 slashed);
    /// @notice Tokens left the court.
    event Withdrawn(address indexed account, uint256 amount);
    /// @notice The court goes by other parameters. Windows that have begun keep their ends.
    event ParametersSet(Parameters parameters);

    /// @notice The signature is not one of the accused's keys for the receipt's round.
    error WrongSigner(address signer, address accused, uint256 round);
    /// @notice The receipt is from a round that has not come, or is too old to be accused.
    error OutsideStatute(uint256 round, uint256 currentRound, uint256 statuteRounds);
    /// @notice The accused never was an orchestrator.
    error NotOrchestrator(address accused);
    /// @notice The receipts do not contradict each other.
    error NoEquivocation();
    /// @notice The pixels of the receipt agree with its claims and its ladder.
    error NoPixelFault();
    /// @notice What was shown does not hash to what was signed.
    error NotSigned(bytes32 found, bytes32 signed);
    /// @notice More claims or rungs than a ladder has.
    error TooMany(uint256 count, uint256 bound);
    /// @notice The receipt has been punished for this fault.
    error AlreadyPunished(bytes32 receipt, Fault fault);
    /// @notice The fault needs no jury, or needs other receipts than were shown.
    error BadAccusation(Fault fault, uint256 receipts, uint256 evidence);
    /// @notice This evidence is in dispute already.
    error EvidenceInDispute(bytes32 evidence, uint256 dispute);
    /// @notice There is no dispute or jury of this number in the state that the call needs.
    error WrongStatus(uint256 dispute, Status status);
    /// @notice The window for this call runs from one block to another.
    error OutsideWindow(uint256 blockNumber, uint256 from, uint256 until);
    /// @notice Too few blocks are left in the round, or the round is not initialized; try again from `retryBlock` on.
    error RoundEnding(uint256 retryBlock);
    /// @notice A party of the dispute cannot sit in its jury.
    error PartyToDispute(address account);
    /// @notice The account is not active, or stake was not fixed before the draw.
    error NotEligible(address account);
    /// @notice The draw gave the account no seat.
    error NoSeat(uint256 jury, address account);
    /// @notice The seats are claimed, the vote is committed, or the juror is settled already.
    error AlreadyDone(uint256 jury, address account);
    /// @notice A pause lay in the jury's windows; `advance` draws another one, and nobody is paid or fined for this one.
    error JuryIsVoid(uint256 jury);
    /// @notice A vote is one of the three verdicts.
    error BadVerdict();
    /// @notice The vote is not the one that was committed to.
    error WrongCommitment(bytes32 found, bytes32 committed);
    /// @notice There is nothing to withdraw.
    error NothingToWithdraw(address account);
    /// @notice The court takes tokens alone.
    error NoEther();
}
