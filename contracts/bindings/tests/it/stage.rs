//! A chain with the contracts on it, and actors.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    signers::SignerSync,
    sol,
    sol_types::{SolStruct, eip712_domain},
};
use framemill_contracts::{
    Anvil, AnvilConfig, ChainClient, ChainConfig, CourtParams, CourtReceipt, DeployParams, Deployment,
    PrivateKeySigner, Redemption, Registration, RoundInfo, deploy,
};

sol! {
    #[allow(missing_docs, reason = "the same fields as in ITicketBroker")]
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

    #[allow(missing_docs, reason = "the same fields as in ICourt")]
    struct TranscodeReceipt {
        bytes32 session;
        uint64 sequence;
        bytes32 sourceHash;
        bytes32 ladderHash;
        bytes32 renditionsRoot;
        uint64 pixels;
        uint32 round;
    }
}

/// Base units of one token, and wei of one ether.
pub(crate) const UNIT: u64 = 1_000_000_000_000_000_000;
/// Wei that a winning ticket pays in these tests.
pub(crate) const FACE_VALUE: u64 = 1_000_000_000_000_000;
/// The secret behind every ticket's commitment.
pub(crate) const RAND: u64 = 4711;

pub(crate) struct Stage {
    pub(crate) anvil: Anvil,
    pub(crate) params: DeployParams,
    pub(crate) deployment: Deployment,
    /// Holds all tokens and owns the contracts.
    pub(crate) owner: ChainClient,
    pub(crate) broadcaster: ChainClient,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(DeployParams::devnet()).await
    }

    pub(crate) async fn set_with(params: DeployParams) -> Self {
        let anvil = Anvil::start(AnvilConfig::default()).await.unwrap();
        let deployment = deploy(&config(&anvil), &anvil.keys()[0], &params).await.unwrap();
        let owner = connect(&anvil, deployment, 0).await;
        let broadcaster = connect(&anvil, deployment, 1).await;
        Self { anvil, params, deployment, owner, broadcaster }
    }

    pub(crate) async fn client(&self, index: usize) -> ChainClient {
        connect(&self.anvil, self.deployment, index).await
    }

    /// Registers the account with a stake and makes it active.
    pub(crate) async fn orchestrator(&self, index: usize, stake: u64) -> ChainClient {
        let client = self.candidate(index, stake).await;
        self.next_round().await;
        client
    }

    pub(crate) async fn candidate(&self, index: usize, stake: u64) -> ChainClient {
        let client = self.client(index).await;
        let stake = U256::from(stake) * U256::from(UNIT);
        self.owner.transfer_tokens(client.address().unwrap(), stake).await.unwrap();
        client.register_orchestrator(&registration(stake)).await.unwrap();
        client
    }

    pub(crate) async fn next_round(&self) -> RoundInfo {
        let round = self.owner.round_info().await.unwrap();
        let height = self.owner.block_number().await.unwrap();
        self.anvil.mine(round.start_block + round.length - height).await.unwrap();
        self.owner.initialize_round().await.unwrap();
        self.owner.round_info().await.unwrap()
    }

    /// A ticket that wins, signed by the broadcaster.
    pub(crate) async fn winner(&self, recipient: &ChainClient, nonce: u64) -> Redemption {
        self.signed(recipient, nonce, |_| ()).await
    }

    /// A winning ticket, changed before it is signed.
    pub(crate) async fn signed(
        &self,
        recipient: &ChainClient,
        nonce: u64,
        change: impl FnOnce(&mut framemill_contracts::Ticket),
    ) -> Redemption {
        let round = self.owner.round_info().await.unwrap();
        let mut ticket = framemill_contracts::Ticket {
            recipient: recipient.address().unwrap(),
            sender: self.broadcaster.address().unwrap(),
            face_value: U256::from(FACE_VALUE),
            win_prob: U256::MAX,
            lane: 0,
            sender_nonce: nonce,
            salt: B256::repeat_byte(7),
            recipient_rand_hash: keccak256(B256::from(U256::from(RAND))),
            creation_round: round.last_initialized,
            creation_round_block_hash: round.block_hash,
        };
        change(&mut ticket);
        let signature = self.sign(&self.anvil.keys()[1], &ticket);
        Redemption { ticket, signature, recipient_rand: U256::from(RAND) }
    }

    pub(crate) fn sign(&self, key: &PrivateKeySigner, ticket: &framemill_contracts::Ticket) -> [u8; 65] {
        let domain = eip712_domain! {
            name: "Framemill TicketBroker",
            version: "1",
            chain_id: self.anvil.chain_id(),
            verifying_contract: self.deployment.ticket_broker,
        };
        let typed = Ticket {
            recipient: ticket.recipient,
            sender: ticket.sender,
            faceValue: ticket.face_value,
            winProb: ticket.win_prob,
            lane: ticket.lane,
            senderNonce: ticket.sender_nonce,
            salt: ticket.salt,
            recipientRandHash: ticket.recipient_rand_hash,
            creationRound: ticket.creation_round,
            creationRoundBlockHash: ticket.creation_round_block_hash,
        };
        key.sign_hash_sync(&typed.eip712_signing_hash(&domain)).unwrap().as_bytes()
    }

    /// What the owner of `key` says about a segment that it transcoded in `round`.
    pub(crate) fn receipt(
        &self,
        key: &PrivateKeySigner,
        round: u64,
        sequence: u64,
        renditions_root: B256,
        pixels: u64,
    ) -> CourtReceipt {
        let typed = TranscodeReceipt {
            session: keccak256("session"),
            sequence,
            sourceHash: keccak256("source"),
            ladderHash: keccak256("ladder"),
            renditionsRoot: renditions_root,
            pixels,
            round: u32::try_from(round).unwrap(),
        };
        let domain = eip712_domain! {
            name: "Framemill",
            version: "1",
            chain_id: self.anvil.chain_id(),
            verifying_contract: self.deployment.controller,
        };
        let digest = typed.eip712_signing_hash(&domain);
        CourtReceipt {
            session: typed.session,
            sequence,
            source_hash: typed.sourceHash,
            ladder_hash: typed.ladderHash,
            renditions_root,
            pixels,
            round: typed.round,
            signature: key.sign_hash_sync(&digest).unwrap().as_bytes(),
        }
    }
}

pub(crate) fn registration(stake: U256) -> Registration {
    Registration {
        stake,
        reward_cut_ppm: 100_000,
        fee_share_ppm: 500_000,
        service_uri:
            "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooWGrxL4x8eXgZEfzBo2iDkoTBKmqpTYpVUeyqeD8gjmnSo"
                .to_owned(),
        signing_key: Address::ZERO,
        redeemer: Address::ZERO,
    }
}

/// Windows of one block, for who does in one all that a window is for: so rounds and unbonding can be short.
pub(crate) fn short_trials() -> CourtParams {
    CourtParams {
        statute_rounds: 1,
        seed_delay: 1,
        claim_blocks: 1,
        commit_blocks: 1,
        reveal_blocks: 1,
        appeal_blocks: 1,
        ..CourtParams::devnet()
    }
}

pub(crate) fn config(anvil: &Anvil) -> ChainConfig {
    ChainConfig {
        rpc_url: anvil.endpoint().to_owned(),
        request_timeout: Duration::from_secs(20),
        poll_interval: Duration::from_millis(10),
        ..ChainConfig::default()
    }
}

async fn connect(anvil: &Anvil, deployment: Deployment, index: usize) -> ChainClient {
    let key = anvil.keys()[index].clone();
    ChainClient::connect(config(anvil), deployment, Some(key)).await.unwrap()
}

pub(crate) fn wei(amount: u64) -> U256 {
    U256::from(amount)
}
