//! What the chain says about stake, accounts and disputes, read by the node for its page.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy_primitives::{Address, U256};
use framemill_contracts::{ChainClient, Dispute, History, Jury, Membership, OrchestratorRecord};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use super::fresh::Fresh;
use crate::commands::{
    court::{self, fault_name, status_name, verdict_name},
    stake::{Calendar, Token, estimate::Yield, list::Row, show::Standing},
};

/// Rounds that yields are told from, as `framemill stake` does.
const ROUNDS: u64 = 30;
/// Orchestrators shown, those with the most stake.
const MAX_ORCHESTRATORS: usize = 200;
/// Disputes shown, the newest.
const MAX_DISPUTES: u64 = 50;
/// Accounts whose standing is kept until the next block.
const MAX_ACCOUNTS: usize = 32;
/// Accounts read at a time: each costs a few calls, and one for every batch of its locks; one call where its standing is kept.
const ACCOUNTS_AT_ONCE: usize = 2;
/// How old an answer about the set may be: it changes with rounds, and takes a look at past events.
const SET_AGE: Duration = Duration::from_secs(5);
/// Characters of a service address that are shown.
const MAX_URI: usize = 300;

/// The active set and its past.
struct Set {
    token: Token,
    calendar: Calendar,
    locked: bool,
    records: Vec<OrchestratorRecord>,
    members: Vec<Membership>,
    omitted: usize,
    history: History,
    total: U256,
    unbonding_rounds: u64,
}

/// What is before the court.
struct Docket {
    token: Token,
    disputes: Vec<(Dispute, Option<Jury>, String)>,
    omitted: u64,
}

/// Reads the chain for whoever looks at the page, with bounds on what that costs.
pub(super) struct ChainDesk {
    client: ChainClient,
    set: Fresh<Set>,
    docket: Fresh<Docket>,
    /// Whoever comes back after a transaction of theirs was mined is never told what was true before it.
    accounts: Mutex<HashMap<Address, Arc<Fresh<Value, u64>>>>,
    room: Semaphore,
}

impl ChainDesk {
    pub(super) fn new(client: ChainClient) -> Self {
        Self {
            client,
            set: Fresh::default(),
            docket: Fresh::default(),
            accounts: Mutex::default(),
            room: Semaphore::new(ACCOUNTS_AT_ONCE),
        }
    }

    /// Where the contracts are, and whose node this is.
    pub(super) fn facts(&self) -> Value {
        json!({
            "chain_id": self.client.chain_id(),
            "account": self.client.address(),
            "bonding_manager": self.client.deployment().bonding_manager,
            "token": self.client.deployment().token,
        })
    }

    /// The set, and what `amount` more with each of them would have earned.
    pub(super) async fn stake(&self, amount: U256) -> anyhow::Result<Value> {
        Ok(self.set().await?.json(amount))
    }

    async fn set(&self) -> anyhow::Result<Arc<Set>> {
        self.set.within(SET_AGE, Set::read(&self.client)).await
    }

    /// One account.
    pub(super) async fn account(&self, account: Address) -> anyhow::Result<Value> {
        let fresh = {
            let mut accounts = self.accounts.lock().await;
            if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(&account) {
                accounts.clear();
            }
            Arc::clone(accounts.entry(account).or_default())
        };
        let _room = self.room.acquire().await?;
        let block = self.client.block_number().await?;
        let read = async {
            let standing = Standing::of(&self.client, account).await?;
            let mut value = standing.json(self.client.round_info().await?.current);
            value["balance_wei"] = json!(self.client.balance(account).await?.to_string());
            anyhow::Ok(value)
        };
        Ok(Value::clone(&*fresh.at(block, read).await?))
    }

    /// What this node's account has on chain; none where the node has no account.
    pub(super) async fn earned(&self) -> anyhow::Result<Option<Value>> {
        let Some(me) = self.client.address() else { return Ok(None) };
        let (set, account) = (self.set().await?, self.account(me).await?);
        let earned = set.history.earned.get(&me).cloned().unwrap_or_default();
        Ok(Some(json!({
            "account": me,
            "fees_wei": account["fees_wei"],
            "stake": account["stake"],
            "symbol": set.token.symbol,
            "rounds": set.history.rounds.len(),
            "recent_fees_wei": earned.fees.to_string(),
            "recent_rewards": earned.rewards.to_string(),
        })))
    }

    /// The newest disputes.
    pub(super) async fn disputes(&self) -> anyhow::Result<Value> {
        let docket = self.docket.within(SET_AGE, Docket::read(&self.client)).await?;
        Ok(json!({
            "symbol": docket.token.symbol,
            "omitted": docket.omitted,
            "disputes": docket.disputes.iter().rev().map(told).collect::<Vec<_>>(),
        }))
    }
}

impl Set {
    async fn read(client: &ChainClient) -> anyhow::Result<Self> {
        let mut records = client.candidate_orchestrators().await?;
        records.sort_by_key(|record| std::cmp::Reverse(record.stake));
        let omitted = records.len().saturating_sub(MAX_ORCHESTRATORS);
        records.truncate(MAX_ORCHESTRATORS);
        let addresses: Vec<_> = records.iter().map(|record| record.address).collect();
        Ok(Self {
            token: Token::of(client).await?,
            calendar: Calendar::of(client).await?,
            locked: client.round_info().await?.locked,
            members: client.memberships(&addresses).await?,
            history: client.history(ROUNDS).await?,
            total: client.total_active_stake().await?,
            unbonding_rounds: client.unbonding_rounds().await?,
            records,
            omitted,
        })
    }

    fn json(&self, amount: U256) -> Value {
        let rows = self.records.iter().zip(&self.members);
        json!({
            "symbol": self.token.symbol,
            "round": self.calendar.current,
            "round_blocks_left": self.calendar.left,
            "round_length": self.calendar.length,
            "block_ms": self.calendar.block_ms,
            "locked": self.locked,
            "unbonding_rounds": self.unbonding_rounds,
            "total_active_stake": self.total.to_string(),
            "history_rounds": self.history.rounds.len(),
            "amount": amount.to_string(),
            "omitted": self.omitted,
            "orchestrators": rows.map(|(record, member)| self.row(record, *member, amount)).collect::<Vec<_>>(),
        })
    }

    fn row(&self, record: &OrchestratorRecord, member: Membership, amount: U256) -> Value {
        let earned = self.history.earned.get(&record.address).cloned().unwrap_or_default();
        let yields = Yield::of(amount, record, &earned, self.total);
        let rounds = self.history.rounds.len() as u64;
        let mut value = Row::new(record, member, &self.history).json();
        value["service_uri"] = json!(record.service_uri.chars().take(MAX_URI).collect::<String>());
        value["yield_tokens"] = json!(yields.tokens.to_string());
        value["yield_wei"] = json!(yields.wei.to_string());
        value["yearly_tokens_ppm"] = json!(yields.yearly_ppm(amount, rounds, &self.calendar));
        value
    }
}

impl Docket {
    async fn read(client: &ChainClient) -> anyhow::Result<Self> {
        let omitted = client.dispute_count().await?.saturating_sub(MAX_DISPUTES);
        let calendar = Calendar::of(client).await?;
        let mut disputes = Vec::new();
        for dispute in client.disputes_from(omitted + 1).await? {
            let (jury, next) = court::list::outlook(client, &calendar, &dispute).await?;
            disputes.push((dispute, jury, next));
        }
        Ok(Self { token: Token::of(client).await?, disputes, omitted })
    }
}

fn told((dispute, jury, next): &(Dispute, Option<Jury>, String)) -> Value {
    json!({
        "id": dispute.id,
        "challenger": dispute.challenger,
        "accused": dispute.accused,
        "fault": fault_name(dispute.fault),
        "status": status_name(dispute.status),
        "verdict": dispute.verdict.map(verdict_name),
        "bond": dispute.bond.to_string(),
        "next": next,
        "jury": jury.as_ref().map(|jury| json!({
            "id": jury.id,
            "size": jury.size,
            "seats": jury.seats,
            "votes": jury.votes,
        })),
    })
}
