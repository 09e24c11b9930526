//! A sender, a recipient and a chain in memory, over real ledger files.

use std::sync::Arc;

use alloy_primitives::{Address, B256, keccak256};
use probabilistic_ticket::ledger::Retirement;
use probabilistic_ticket::memory::{ManualClock, MemoryBroker};
use probabilistic_ticket::{
    Accepted, Clock as _, Domain, EthKey, Ledger as _, PaymentRefusal, PaymentTicket, Recipient,
    RecipientConfig, RecipientError, Sender, SenderConfig, SenderFunds, SenderSession, TicketBatch,
    TicketParams, Wei,
};
use tempfile::TempDir;

use super::store::{self, Store};

/// The session most tests pay in.
pub(crate) const SESSION: B256 = B256::repeat_byte(0x51);
/// What one ticket is worth.
pub(crate) const TICKET: u64 = 1_000_000_000_000;
/// One ether.
pub(crate) const ETHER: u64 = 1_000_000_000_000_000_000;

pub(crate) fn key(label: &str) -> EthKey {
    EthKey::from_bytes(&keccak256(label).0).unwrap()
}

pub(crate) fn recipient_address() -> Address {
    key("recipient").address()
}

pub(crate) fn domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(0xbb))
}

/// A recipient whose every ticket wins when `always_wins`.
pub(crate) fn recipient_config(always_wins: bool) -> RecipientConfig {
    let mut config = RecipientConfig::new(recipient_address(), domain());
    config.ticket_value = Wei::from(TICKET);
    if always_wins {
        config.redemption_gas = 0;
    }
    config
}

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) broker: Arc<MemoryBroker>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ledger: Store,
    pub(crate) recipient: Recipient,
    pub(crate) config: RecipientConfig,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(recipient_config(false)).await
    }

    pub(crate) async fn with(config: RecipientConfig) -> Self {
        Self::within(TempDir::new().unwrap(), config).await
    }

    /// Where nothing is lost but the process. To be removed in the end: there may be many.
    pub(crate) async fn without_syncs(config: RecipientConfig) -> Self {
        Self::within(store::folder_without_syncs(), config).await
    }

    async fn within(dir: TempDir, config: RecipientConfig) -> Self {
        let broker = Arc::new(MemoryBroker::new(domain(), recipient_address()));
        broker.fund(key("sender").address(), rich());
        let clock = Arc::new(ManualClock::new(1_000_000));
        let ledger = store::open(dir.path(), "recipient").await;
        let recipient =
            Recipient::open(config.clone(), Arc::new(ledger.clone()), broker.clone(), clock.clone())
                .await
                .unwrap();
        Self { dir, broker, clock, ledger, recipient, config }
    }

    pub(crate) async fn remove(self) {
        self.ledger.close().await;
        store::remove(self.dir.path(), "recipient").await;
    }

    /// Closes the recipient's ledger and opens it again, as a restart does.
    pub(crate) async fn restart(&mut self) {
        self.ledger.close().await;
        self.ledger = store::open(self.dir.path(), "recipient").await;
        self.recipient = Recipient::open(
            self.config.clone(),
            Arc::new(self.ledger.clone()),
            self.broker.clone(),
            self.clock.clone(),
        )
        .await
        .unwrap();
    }

    pub(crate) async fn params(&self) -> TicketParams {
        self.recipient.open_session(key("sender").address(), SESSION).await.unwrap()
    }

    /// Pays with these nonces for work of `cost`.
    pub(crate) async fn pay(
        &self,
        params: &TicketParams,
        nonces: &[u64],
        cost: u64,
    ) -> Result<Accepted, RecipientError> {
        let payment = payment(params, &key("sender"), nonces);
        self.recipient.accept(SESSION, &payment, Wei::from(cost)).await
    }

    /// Reveals the secret of the only lane, with this grace, and returns the nonces of the winners that may go out.
    pub(crate) async fn reveal(&self, grace_ms: u64) -> Vec<u64> {
        let pending = self.ledger.pending_winners(None, 1).await.unwrap();
        let lanes = [Retirement { lane: pending[0].lane, grace_ms }];
        let complete = self.ledger.reveal(&lanes, self.clock.now_ms()).await.unwrap();
        complete.iter().map(|winner| winner.nonce).collect()
    }

    pub(crate) async fn sender(&self) -> Sender {
        let ledger = store::open(self.dir.path(), "sender").await;
        self.sender_on(ledger, SenderConfig::new(domain())).await
    }

    pub(crate) async fn sender_on(&self, ledger: Store, config: SenderConfig) -> Sender {
        let sender =
            Sender::open(key("sender"), config, Arc::new(ledger), self.broker.clone(), self.clock.clone())
                .await
                .unwrap();
        sender.open_session(sender_session()).await.unwrap();
        sender
    }
}

pub(crate) fn rich() -> SenderFunds {
    SenderFunds { deposit: Wei::from(10 * ETHER), ..SenderFunds::default() }
}

pub(crate) fn sender_session() -> SenderSession {
    SenderSession {
        id: SESSION,
        stream: B256::repeat_byte(0x57),
        recipient: recipient_address(),
        max_outstanding: Wei::from(ETHER),
    }
}

pub(crate) fn sign(params: &TicketParams, key: &EthKey, nonce: u64) -> PaymentTicket {
    let salt = keccak256(nonce.to_be_bytes());
    let signed = params.scheme.sign(params.ticket(nonce, salt), &params.domain, key);
    PaymentTicket { nonce, salt, signature: signed.signature }
}

pub(crate) fn payment(params: &TicketParams, key: &EthKey, nonces: &[u64]) -> Vec<u8> {
    let tickets = nonces.iter().map(|nonce| sign(params, key, *nonce)).collect();
    TicketBatch { params: *params, tickets }.encode().unwrap()
}

pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, RecipientError>) -> PaymentRefusal {
    match outcome {
        Err(RecipientError::Refused(refusal)) => *refusal,
        other => panic!("wanted a refused payment, got {other:?}"),
    }
}
