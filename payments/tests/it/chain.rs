//! A chain that outlives the processes that use it: what was sent and mined is in a file, and played again by the next.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use alloy_primitives::{Address, hex, keccak256};
use async_trait::async_trait;
use probabilistic_ticket::memory::MemoryBroker;
use probabilistic_ticket::{
    Broker, BrokerError, BrokerView, ChainView, PreparedRedemption, SenderFunds, TicketResult, TxStatus, Wei,
    WinningTicket,
};

use super::common::{domain, key, recipient_address};

pub(crate) struct FileChain {
    inner: MemoryBroker,
    file: Mutex<File>,
}

impl FileChain {
    pub(crate) async fn open(path: &Path) -> Self {
        let inner = MemoryBroker::new(domain(), recipient_address());
        let endless = SenderFunds { deposit: Wei::new(u128::MAX), ..SenderFunds::default() };
        inner.fund(key("sender").address(), endless);
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let chain = Self { inner, file: Mutex::new(file) };
        let text = std::fs::read_to_string(path).unwrap();
        // A line that a kill cut off was never answered.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            chain.replay(line).await;
        }
        chain
    }

    async fn replay(&self, line: &str) {
        match line.strip_prefix("tx ").and_then(|raw| hex::decode(raw).ok()) {
            // It may have been refused then as now.
            Some(raw) => drop(self.inner.send(&PreparedRedemption { tx: keccak256(&raw), raw }).await),
            None if line == "mine" => self.inner.mine(),
            None => {}
        }
    }

    /// One line in one write. What a kill cut off before ends here.
    fn write(&self, line: &str) {
        self.file.lock().unwrap().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn mine(&self) {
        self.write("mine");
        self.inner.mine();
    }

    /// Nonces paid in the only lane, in order.
    pub(crate) fn paid(&self) -> Vec<u64> {
        self.inner.paid().iter().map(|(_, nonce)| *nonce).collect()
    }
}

#[async_trait]
impl BrokerView for FileChain {
    async fn chain(&self) -> Result<ChainView, BrokerError> {
        self.inner.chain().await
    }

    async fn funds(&self, sender: Address, claimant: Address) -> Result<SenderFunds, BrokerError> {
        self.inner.funds(sender, claimant).await
    }
}

#[async_trait]
impl Broker for FileChain {
    async fn lane_nonce(&self, sender: Address, lane: u64) -> Result<u64, BrokerError> {
        self.inner.lane_nonce(sender, lane).await
    }

    async fn rehearse(&self, tickets: &[WinningTicket]) -> Result<Vec<TicketResult>, BrokerError> {
        self.inner.rehearse(tickets).await
    }

    async fn prepare(&self, tickets: &[WinningTicket]) -> Result<PreparedRedemption, BrokerError> {
        self.inner.prepare(tickets).await
    }

    async fn send(&self, prepared: &PreparedRedemption) -> Result<(), BrokerError> {
        self.write(&format!("tx {}", hex::encode(&prepared.raw)));
        self.inner.send(prepared).await
    }

    async fn replacement(
        &self,
        slow: &PreparedRedemption,
    ) -> Result<Option<PreparedRedemption>, BrokerError> {
        self.inner.replacement(slow).await
    }

    async fn status(&self, prepared: &PreparedRedemption) -> Result<TxStatus, BrokerError> {
        self.inner.status(prepared).await
    }
}
