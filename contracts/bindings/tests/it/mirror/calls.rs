//! The contracts' functions that the client has no action for, and those that tell everything.

use alloy::sol;

sol! {
    #[allow(missing_docs, reason = "the same as in the contracts' interfaces")]
    #[derive(Debug)]
    struct Transcoder {
        uint256 totalStake;
        uint256 earningStake;
        uint256 rewardCut;
        uint256 feeShare;
        uint256 lastRewardRound;
        uint256 activationRound;
        uint256 deactivationRound;
        bool active;
        bool candidate;
        uint256 jailedUntil;
        uint256 termsRound;
        uint256 nextRewardCut;
        uint256 nextFeeShare;
    }

    #[allow(missing_docs, reason = "the same as in the contracts' interfaces")]
    #[derive(Debug)]
    struct Delegator {
        uint256 bondedAmount;
        uint256 fees;
        address delegateAddress;
        uint256 startRound;
        uint256 nextUnbondingLockId;
    }

    #[allow(missing_docs, reason = "the same as in the contracts' interfaces")]
    struct UnbondingLock {
        address delegate;
        uint96 amount;
        uint32 withdrawRound;
    }

    #[allow(missing_docs, reason = "the same as in the contracts' interfaces")]
    #[derive(Debug)]
    struct SenderInfo {
        uint256 deposit;
        uint256 reserve;
        uint256 withdrawRound;
        uint256 claimedInCurrentRound;
    }

    #[allow(missing_docs, reason = "the same as in the contracts' interfaces")]
    interface Protocol {
        function approve(address spender, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
        function totalSupply() external view returns (uint256);

        function reward() external;
        function slashTranscoder(address transcoder, address finder, uint256 slashAmount, uint256 finderFee) external returns (uint256);
        function jailTranscoder(address transcoder, uint256 rounds) external;
        function setCourt(address court) external;
        function getDelegator(address delegator) external view returns (Delegator memory);
        function getDelegatorUnbondingLock(address delegator, uint256 lockId) external view returns (UnbondingLock memory);
        function settleRedelegation(address account) external;
        function getRedelegation(address delegator) external view returns (address from, uint256 amount, uint256 until);
        function getTranscoder(address transcoder) external view returns (Transcoder memory);
        function getTranscoderPool(address start, uint256 limit) external view returns (address[] memory);
        function currentRoundTotalActiveStake() external view returns (uint256);
        function nextRoundTotalActiveStake() external view returns (uint256);

        function pause() external;
        function unpause() external;
        function initializeRound() external;
        function payTreasury() external;
        function treasuryOwed() external view returns (uint256);
        function inflationPpm() external view returns (uint256);
        function getSenderInfo(address account) external view returns (SenderInfo memory);

        function claimSeat(uint256 dispute) external returns (uint256);
        function commitVote(uint256 dispute, bytes32 commitment) external;
        function voteHash(uint256 jury, address juror, uint8 verdict, bytes32 salt) external pure returns (bytes32);
        function revealVote(uint256 dispute, uint8 verdict, bytes32 salt) external;
        function advance(uint256 dispute) external;
        function appeal(uint256 dispute) external;
        function execute(uint256 dispute) external;
        function settleJuror(uint256 jury, address juror) external;
        function withdraw() external returns (uint256);
        function pending(address account) external view returns (uint256);
    }
}
