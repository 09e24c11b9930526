//! Against the contracts on a real chain.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use framemill_contracts::{
    Anvil, AnvilConfig, ChainClient, ChainConfig, DeployParams, Deployment, PrivateKeySigner, Registration,
    deploy,
};
use framemill_network::{SegmentHeader, SigningDomain};
use framemill_orchestrator::{ChainBroker, OrchestratorEvent};
use probabilistic_ticket::{
    Broker, BrokerView, EthKey, RecipientConfig, Round, Scheme, SignedTicket, Ticket, TicketResult, TxStatus,
    Wei, WinProb, WinningTicket, rand_hash,
};

use crate::support::*;

/// Wei in one ether, and base units in one token.
const UNIT: u64 = 1_000_000_000_000_000_000;

/// What a ticket is worth and pays: every ticket wins.
pub(crate) const FACE_VALUE: u64 = 50_000_000_000_000;

/// The secret behind the commitment of hand-made tickets.
pub(crate) const RAND: U256 = U256::from_limbs([4711, 0, 0, 0]);

/// A chain with the contracts, a funded sender and the market's orchestrator in the active set.
pub(crate) struct Stage {
    pub(crate) anvil: Anvil,
    pub(crate) deployment: Deployment,
    sender: ChainClient,
    pub(crate) orchestrator: ChainClient,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let anvil = Anvil::start(AnvilConfig::default()).await.expect("anvil; run scripts/setup");
        let deployed = deploy(&config(&anvil), &anvil.keys()[0], &DeployParams::devnet()).await;
        let deployment = deployed.expect("deployed contracts");
        let owner = connect(&anvil, deployment, anvil.keys()[0].clone()).await;
        let sender = connect(&anvil, deployment, anvil.keys()[1].clone()).await;
        let key = PrivateKeySigner::from_bytes(&B256::from(ORCHESTRATOR_KEY)).expect("a key");
        let orchestrator = connect(&anvil, deployment, key).await;

        let account = orchestrator.address().expect("an account");
        owner.transfer_wei(account, U256::from(UNIT)).await.expect("money for gas");
        owner.transfer_tokens(account, U256::from(UNIT)).await.expect("tokens for stake");
        orchestrator.register_orchestrator(&registration()).await.expect("a registration");
        sender.fund_deposit_and_reserve(U256::from(UNIT), U256::from(UNIT)).await.expect("a deposit");
        let stage = Self { anvil, deployment, sender, orchestrator };
        stage.next_rounds(1).await;
        stage
    }

    pub(crate) async fn next_rounds(&self, rounds: u64) {
        for _ in 0..rounds {
            let round = self.sender.round_info().await.expect("a round");
            let height = self.sender.block_number().await.expect("a height");
            self.anvil.mine(round.start_block + round.length - height).await.expect("blocks");
            self.sender.initialize_round().await.expect("a new round");
        }
    }

    pub(crate) fn broker(&self) -> ChainBroker {
        ChainBroker::new(self.orchestrator.clone(), orchestrator_key().address())
    }

    pub(crate) fn sender_key(&self) -> EthKey {
        EthKey::from_bytes(&self.anvil.keys()[1].to_bytes().0).expect("a key")
    }

    /// A ticket that wins whatever is drawn.
    async fn winner(&self, nonce: u64) -> WinningTicket {
        WinningTicket { signed: self.signed(nonce, |_| ()).await, recipient_rand: RAND }
    }

    /// A winner, changed before it is signed.
    async fn signed(&self, nonce: u64, change: impl FnOnce(&mut Ticket)) -> SignedTicket {
        let chain = self.broker().chain().await.expect("a chain");
        let key = self.sender_key();
        let mut ticket = Ticket {
            recipient: orchestrator_key().address(),
            sender: key.address(),
            face_value: Wei::from(FACE_VALUE),
            win_prob: WinProb::MAX,
            lane: 0,
            sender_nonce: nonce,
            salt: B256::repeat_byte(7),
            recipient_rand_hash: rand_hash(RAND),
            creation_round: chain.round,
            creation_round_block_hash: chain.round_block_hash,
        };
        change(&mut ticket);
        Scheme::Native.sign(ticket, &self.broker().recipient_config().domain, &key)
    }
}

pub(crate) fn config(anvil: &Anvil) -> ChainConfig {
    ChainConfig { rpc_url: anvil.endpoint().to_owned(), ..ChainConfig::default() }
}

async fn connect(anvil: &Anvil, deployment: Deployment, key: PrivateKeySigner) -> ChainClient {
    ChainClient::connect(config(anvil), deployment, Some(key)).await.expect("a client")
}

fn registration() -> Registration {
    Registration {
        stake: U256::from(UNIT),
        reward_cut_ppm: 0,
        fee_share_ppm: 0,
        service_uri:
            "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooWGrxL4x8eXgZEfzBo2iDkoTBKmqpTYpVUeyqeD8gjmnSo"
                .to_owned(),
        signing_key: Address::ZERO,
        redeemer: Address::ZERO,
    }
}

/// The status of a transaction as soon as it is mined.
async fn mined(broker: &ChainBroker, prepared: &probabilistic_ticket::PreparedRedemption) -> TxStatus {
    let look = async {
        loop {
            match broker.status(prepared).await.expect("a chain") {
                TxStatus::Pending => tokio::task::yield_now().await,
                status => return status,
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("mined in time")
}

#[tokio::test]
async fn winning_tickets_are_paid_to_the_orchestrator_by_the_contracts() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    let config = RecipientConfig {
        ticket_value: Wei::from(FACE_VALUE),
        redemption_gas: 1,
        ..broker.recipient_config()
    };
    let deployment = stage.sender.deployment();
    let domain = SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller };
    let ours = ChainBroker::new(stage.sender.clone(), orchestrator_key().address());
    let (bank, payments) = open_bank(config, Arc::new(broker), stage.sender_key(), Arc::new(ours)).await;
    let mut market = Market::with_bank(bank, payments, domain, Duration::from_millis(50)).await;
    let _worker = market.software().await;

    let quote = market.session().await;
    let header = SegmentHeader { payment: market.pay(&quote).await, ..header(&quote, 0) };
    let result = market.send(header, clip()).await.expect("a result");
    assert_whole(&result);
    let paid = market.until(|event| matches!(event, OrchestratorEvent::RedemptionPaid { .. })).await;
    assert_eq!(paid, OrchestratorEvent::RedemptionPaid { tickets: 1, value: Wei::from(FACE_VALUE) });
    let fees = stage.orchestrator.pending_fees(market.orchestrator.address()).await.expect("fees");
    assert_eq!(fees, U256::from(FACE_VALUE));
    let round = stage.orchestrator.round_info().await.expect("a round").last_initialized;
    assert_eq!(u64::from(result.receipt.receipt.round), round);
}

#[tokio::test]
async fn sees_the_round_and_what_stands_behind_a_sender() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    let chain = broker.chain().await.expect("a chain");
    let round = stage.orchestrator.round_info().await.expect("a round");
    assert_eq!((chain.round, chain.round_block_hash), (Round(round.last_initialized), round.block_hash));
    let funds =
        broker.funds(stage.sender_key().address(), orchestrator_key().address()).await.expect("funds");
    assert_eq!((funds.deposit, funds.withdraw_round), (Wei::from(UNIT), None));
    assert!(!funds.claimable_reserve.is_zero());
}

#[tokio::test]
async fn a_transaction_that_was_lost_on_the_way_is_unknown_until_it_is_sent_again() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    let prepared = broker.prepare(&[stage.winner(1).await]).await.expect("a transaction");
    assert_eq!(broker.status(&prepared).await, Ok(TxStatus::Unknown));
    broker.send(&prepared).await.expect("sent");
    let status = mined(&broker, &prepared).await;
    assert!(
        matches!(&status, TxStatus::Mined { results, .. } if results[..] == [TicketResult::Paid]),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_transaction_whose_account_nonce_was_used_by_another_is_dropped() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    let prepared = broker.prepare(&[stage.winner(1).await]).await.expect("a transaction");
    let key = PrivateKeySigner::from_bytes(&B256::from(ORCHESTRATOR_KEY)).expect("a key");
    let elsewhere = connect(&stage.anvil, stage.deployment, key).await;
    elsewhere.transfer_wei(Address::repeat_byte(1), U256::from(1)).await.expect("another transaction");
    assert_eq!(broker.status(&prepared).await, Ok(TxStatus::Dropped { confirmations: 1 }));
    stage.anvil.mine(4).await.expect("blocks");
    assert_eq!(broker.status(&prepared).await, Ok(TxStatus::Dropped { confirmations: 4 }), "of five");
}

#[tokio::test]
async fn a_ticket_that_was_paid_before_is_passed_and_the_next_one_is_paid() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    let first = stage.winner(1).await;
    let prepared = broker.prepare(&[first, first, stage.winner(2).await]).await.expect("a transaction");
    broker.send(&prepared).await.expect("sent");
    let expected = [TicketResult::Paid, TicketResult::NoncePassed, TicketResult::Paid];
    let status = mined(&broker, &prepared).await;
    assert!(matches!(&status, TxStatus::Mined { results, .. } if results[..] == expected), "{status:?}");
    assert_eq!(broker.lane_nonce(stage.sender_key().address(), 0).await, Ok(2));
}

#[tokio::test]
async fn a_redemption_rehearses_without_being_sent() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    let good = stage.winner(1).await;
    let dear = WinningTicket {
        signed: stage.signed(2, |ticket| ticket.face_value = Wei::new(10 * u128::from(UNIT))).await,
        ..good
    };
    let forged = WinningTicket { recipient_rand: U256::from(1), ..stage.winner(3).await };
    let results = broker.rehearse(&[good, dear, forged]).await.expect("a rehearsal");
    assert_eq!(results, [TicketResult::Paid, TicketResult::Unfunded, TicketResult::Invalid]);
    assert_eq!(broker.lane_nonce(stage.sender_key().address(), 0).await, Ok(0));
}

#[tokio::test]
async fn a_redemption_of_another_key_is_never_raised() {
    let stage = Stage::set().await;
    let broker = stage.broker();
    stage.anvil.dev_chain().set_automine(false).await.expect("no blocks");
    let prepared = broker.prepare(&[stage.winner(1).await]).await.expect("a transaction");
    broker.send(&prepared).await.expect("sent");
    let other = ChainBroker::new(stage.sender.clone(), orchestrator_key().address());
    assert_eq!(other.replacement(&prepared).await, Ok(None));
    assert!(broker.replacement(&prepared).await.expect("a chain").is_some());
}

#[tokio::test]
async fn a_chain_that_is_away_is_unavailable_and_not_a_refusal() {
    let stage = Stage::set().await;
    let config =
        ChainConfig { request_timeout: Duration::from_millis(100), retries: 0, ..config(&stage.anvil) };
    let client = ChainClient::connect(config, stage.deployment, None).await.expect("a client");
    stage.anvil.pause().await.expect("a paused chain");
    let broker = ChainBroker::new(client, orchestrator_key().address());
    let seen = broker.chain().await;
    stage.anvil.resume().await.expect("a resumed chain");
    assert!(matches!(seen, Err(probabilistic_ticket::BrokerError::Unavailable(_))), "{seen:?}");
}
