//! What takers and makers of tickets look at again and again, asked of the chain only when an event has changed it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::Address;

use crate::{ChainClient, ChainError, Change, Changes, EventKind, TicketContext, TicketFunds};

/// Senders and lanes remembered: several times what one orchestrator serves at once; beyond it all are forgotten.
const MAX_REMEMBERED: usize = 4_096;

/// Reads of one [`ChainClient`] for tickets.
///
/// With a feed, round, funds and lanes are remembered until an event says that they changed, the chain stops to answer,
/// or changes were missed; without one, or while the chain does not answer, every read asks. Clones share the memory.
#[derive(Clone)]
pub struct TicketView {
    client: ChainClient,
    memory: Option<Arc<Mutex<Memory>>>,
}

struct Memory {
    changes: Changes,
    answers: bool,
    /// Counts what was told: an answer that was asked for before is not remembered.
    told: u64,
    context: Option<TicketContext>,
    /// By sender and recipient.
    funds: HashMap<(Address, Address), TicketFunds>,
    /// By sender, recipient and lane.
    lanes: HashMap<(Address, Address, u64), u64>,
}

impl TicketView {
    /// Asks the chain at every read.
    pub fn asking(client: ChainClient) -> Self {
        Self { client, memory: None }
    }

    /// Asks the chain for what has changed. `changes` are those of a feed over the same deployment.
    pub fn following(client: ChainClient, changes: Changes) -> Self {
        let memory = Memory {
            changes,
            answers: true,
            told: 0,
            context: None,
            funds: HashMap::new(),
            lanes: HashMap::new(),
        };
        Self { client, memory: Some(Arc::new(Mutex::new(memory))) }
    }

    /// The client that is asked.
    pub fn client(&self) -> &ChainClient {
        &self.client
    }

    /// What tickets are made and checked against now.
    pub async fn context(&self) -> Result<TicketContext, ChainError> {
        self.read(
            |memory| memory.context,
            self.client.ticket_context(),
            |memory, now| memory.context = Some(now),
        )
        .await
    }

    /// What stands behind `sender`'s tickets to `recipient` now.
    pub async fn funds(&self, sender: Address, recipient: Address) -> Result<TicketFunds, ChainError> {
        let key = (sender, recipient);
        let ask = self.client.ticket_funds(sender, recipient);
        self.read(
            |memory| memory.funds.get(&key).copied(),
            ask,
            |memory, funds| remember(&mut memory.funds, key, funds),
        )
        .await
    }

    /// The highest nonce redeemed in a lane; 0 when none was.
    pub async fn lane_nonce(
        &self,
        sender: Address,
        recipient: Address,
        lane: u64,
    ) -> Result<u64, ChainError> {
        let key = (sender, recipient, lane);
        let ask = self.client.lane_nonce(sender, recipient, lane);
        self.read(
            |memory| memory.lanes.get(&key).copied(),
            ask,
            |memory, nonce| remember(&mut memory.lanes, key, nonce),
        )
        .await
    }

    async fn read<T: Copy>(
        &self,
        known: impl FnOnce(&Memory) -> Option<T>,
        ask: impl Future<Output = Result<T, ChainError>>,
        keep: impl FnOnce(&mut Memory, T),
    ) -> Result<T, ChainError> {
        let told = match self.recall(known) {
            Recalled::Known(value) => return Ok(value),
            Recalled::Unknown { told } => Some(told),
            Recalled::Nothing => None,
        };
        let value = ask.await?;
        if let Some(mut memory) = self.current().filter(|memory| Some(memory.told) == told) {
            keep(&mut memory, value);
        }
        Ok(value)
    }

    /// The lock must not be held while the chain is asked.
    fn recall<T>(&self, known: impl FnOnce(&Memory) -> Option<T>) -> Recalled<T> {
        match self.current() {
            None => Recalled::Nothing,
            Some(memory) => known(&memory).map_or(Recalled::Unknown { told: memory.told }, Recalled::Known),
        }
    }

    fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        self.memory.as_ref().map(|memory| memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The memory after everything that has been told, unless the chain does not answer.
    fn current(&self) -> Option<MutexGuard<'_, Memory>> {
        let mut memory = self.memory()?;
        memory.catch_up();
        memory.answers.then_some(memory)
    }
}

enum Recalled<T> {
    /// Remembered, and unchanged.
    Known(T),
    /// To be asked, and remembered if nothing is told meanwhile.
    Unknown {
        /// What had been told before.
        told: u64,
    },
    /// To be asked at every read.
    Nothing,
}

impl Memory {
    fn catch_up(&mut self) {
        while let Some(change) = self.changes.waiting() {
            self.told += 1;
            self.forget(&change);
        }
    }

    fn forget(&mut self, change: &Change) {
        match change {
            // The price of gas is another in every block.
            Change::Head(_) => self.context = None,
            Change::Missed => self.forget_all(),
            Change::Answers(answers) => {
                self.answers = *answers;
                self.forget_all();
            }
            Change::Added(event) | Change::Removed(event) => match &event.kind {
                // Shares of reserves are counted anew in each round.
                EventKind::RoundStarted { .. } => self.forget_all(),
                kind => {
                    if let Some(sender) = kind.sender() {
                        self.funds.retain(|(of, _), _| *of != sender);
                        self.lanes.retain(|(of, _, _), _| *of != sender);
                    }
                }
            },
        }
    }

    fn forget_all(&mut self) {
        self.context = None;
        self.funds.clear();
        self.lanes.clear();
    }
}

impl fmt::Debug for TicketView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketView")
            .field("client", &self.client)
            .field("follows", &self.memory.is_some())
            .finish()
    }
}

fn remember<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MAX_REMEMBERED {
        map.clear();
    }
    map.insert(key, value);
}
