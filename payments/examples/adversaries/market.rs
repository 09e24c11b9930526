//! The stage: a chain, honest orchestrators, and broadcasters that do with their key what they like.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256, keccak256};
use probabilistic_ticket::memory::{ManualClock, MemoryBroker};
use probabilistic_ticket::{
    Broker, Domain, EthKey, PaymentTicket, Recipient, RecipientConfig, RecipientError, RedeemPolicy,
    Redeemer, Scheme, SenderFunds, SqliteLedger, Ticket, TicketBatch, TicketParams, Wei, WinProb,
    WinningTicket, rand_hash,
};
use tempfile::TempDir;

/// Wei that one segment costs, one ticket is worth, and a winner pays.
pub(crate) const PRICE: u64 = 1_000_000_000_000;
/// Honest orchestrators of the market.
pub(crate) const HONEST: u64 = 8;
/// Prices of a segment in the adversary's deposit.
pub(crate) const DEPOSIT: u64 = 40;
/// Prices of a segment in its reserve.
pub(crate) const RESERVE: u64 = 80;
/// Rounds from an unlock to the withdrawal: the least that the contract allows at a validity of two rounds.
pub(crate) const UNLOCK_ROUNDS: u64 = 3;

pub(crate) fn domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(0xbb))
}

pub(crate) fn key(label: &str) -> EthKey {
    EthKey::from_bytes(&keccak256(label).0).expect("a hash is a key")
}

pub(crate) fn prices(segments: u64) -> Wei {
    Wei::from(PRICE).saturating_mul(segments)
}

pub(crate) fn segments(value: Wei) -> u64 {
    value.div_ceil(Wei::from(PRICE)).expect("amounts of this market are small")
}

pub(crate) struct Market {
    pub(crate) chain: MemoryBroker,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) folder: TempDir,
    pub(crate) shops: Vec<Shop>,
}

impl Market {
    /// `honest` orchestrators that count on this share of a deposit, beside `strangers` of the adversary in the active set.
    pub(crate) async fn open(honest: u64, strangers: u64, deposit_share_ppm: u64) -> Self {
        // Nothing is killed here, so that nothing has to reach a disk.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder can be made");
        let chain = MemoryBroker::new(domain(), Address::ZERO);
        chain.set_active(honest + strangers);
        let clock = Arc::new(ManualClock::new(1_000_000));
        let mut shops = Vec::new();
        for number in 0..honest {
            shops.push(Shop::open(&chain, &clock, folder.path(), number, deposit_share_ppm).await);
        }
        Self { chain, clock, folder, shops }
    }

    /// Puts the adversary's money behind its tickets.
    pub(crate) fn fund(&self, sender: Address, active: u64) {
        let claimable_reserve = prices(RESERVE / active);
        let funds = SenderFunds { deposit: prices(DEPOSIT), claimable_reserve, withdraw_round: None };
        self.chain.fund(sender, funds);
    }

    /// All shops look at the chain, redeem what they have won, and a block is made.
    pub(crate) async fn block(&self) {
        for shop in &self.shops {
            shop.look().await;
        }
        self.chain.mine();
    }

    /// Blocks until nothing is on its way.
    pub(crate) async fn come_to_rest(&self) {
        for _ in 0..12 {
            self.block().await;
        }
    }

    /// Segments that all shops did, less what they were paid on the chain.
    pub(crate) fn unpaid(&self) -> u64 {
        self.shops.iter().map(Shop::unpaid).sum()
    }
}

/// An honest orchestrator.
pub(crate) struct Shop {
    pub(crate) recipient: Recipient,
    chain: Arc<MemoryBroker>,
    redeemer: Redeemer,
    served: std::sync::atomic::AtomicU64,
}

impl Shop {
    async fn open(
        chain: &MemoryBroker,
        clock: &Arc<ManualClock>,
        folder: &Path,
        number: u64,
        deposit_share_ppm: u64,
    ) -> Self {
        let account = key(&format!("honest orchestrator {number}")).address();
        let chain = Arc::new(chain.beside(account));
        let ledger = SqliteLedger::open(folder.join(format!("{number}.db"))).await.expect("a ledger");
        let ledger = Arc::new(ledger);
        let config = RecipientConfig {
            ticket_value: Wei::from(PRICE),
            redemption_gas: 0,
            deposit_share_ppm,
            ..RecipientConfig::new(account, domain())
        };
        let recipient = Recipient::open(config, ledger.clone(), chain.clone(), clock.clone()).await;
        let recipient = recipient.expect("the books open");
        let redeemer = Redeemer::new(RedeemPolicy::default(), ledger, chain.clone(), clock.clone());
        Self { recipient, chain, redeemer, served: 0.into() }
    }

    /// Takes the payment, does the work, settles. Whether it did.
    pub(crate) async fn serve(&self, session: B256, payment: &[u8]) -> bool {
        match self.recipient.accept(session, payment, Wei::from(PRICE)).await {
            Ok(accepted) => {
                self.recipient.settle(session, accepted.held, Wei::from(PRICE)).await.expect("it settles");
                self.served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                true
            }
            Err(RecipientError::Refused(_) | RecipientError::Malformed(_)) => false,
            Err(error) => panic!("the shop is broken: {error}"),
        }
    }

    pub(crate) async fn look(&self) {
        self.recipient.refresh().await.expect("the chain answers");
        self.redeemer.flush().await.expect("the redeemer works");
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn unpaid(&self) -> u64 {
        self.served().saturating_sub(segments(self.chain.earned()))
    }
}

/// A broadcaster without a conscience: it signs what it likes with a funded key.
pub(crate) struct Rogue {
    pub(crate) key: EthKey,
    nonces: HashMap<B256, u64>,
}

impl Rogue {
    pub(crate) fn new(label: &str) -> Self {
        Self { key: key(label), nonces: HashMap::new() }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// A payment of one ticket with the next nonce of the session.
    pub(crate) fn pay(&mut self, params: &TicketParams) -> Vec<u8> {
        let nonce = self.nonces.entry(params.session).or_default();
        *nonce = params.nonce_floor.max(*nonce) + 1;
        let nonce = *nonce;
        self.pay_with(params, nonce, salt(nonce))
    }

    pub(crate) fn pay_with(&self, params: &TicketParams, nonce: u64, salt: B256) -> Vec<u8> {
        let signed = params.scheme.sign(params.ticket(nonce, salt), &params.domain, &self.key);
        let tickets = vec![PaymentTicket { nonce, salt, signature: signed.signature }];
        TicketBatch { params: *params, tickets }.encode().expect("one ticket fits")
    }

    /// Sends its whole deposit to an orchestrator of its own, in a block before anybody else's.
    pub(crate) async fn drain_to(&self, chain: &MemoryBroker, own: Address) {
        let rand = U256::from(1);
        let view = probabilistic_ticket::BrokerView::chain(chain).await.expect("the chain answers");
        let ticket = Ticket {
            recipient: own,
            sender: self.address(),
            face_value: prices(DEPOSIT),
            win_prob: WinProb::MAX,
            sender_nonce: 1,
            recipient_rand_hash: rand_hash(rand),
            creation_round: view.round,
            creation_round_block_hash: view.round_block_hash,
            ..Ticket::default()
        };
        let signed = Scheme::Native.sign(ticket, &domain(), &self.key);
        let own = chain.beside(own);
        let prepared = own.prepare(&[WinningTicket { signed, recipient_rand: rand }]).await;
        own.send(&prepared.expect("it is signed")).await.expect("it is sent");
        chain.mine();
    }
}

pub(crate) fn salt(seed: u64) -> B256 {
    keccak256(seed.to_be_bytes())
}

pub(crate) fn session(number: u64) -> B256 {
    B256::from(U256::from(number + 1))
}
