//! `framemill stake list`: whom to stake with.

use alloy_primitives::U256;
use framemill_contracts::{Earned, History, Membership, NextTerms, OrchestratorRecord};
use serde_json::{Value, json};

use super::{Token, percent};
use crate::{amount, cli::HistoryArgs, config::Config, transact};

/// Parts per million.
pub(super) const ONE: u64 = 1_000_000;

/// Reads the set and its recent earnings.
pub(super) async fn run(config: &Config, args: HistoryArgs) -> anyhow::Result<()> {
    let client = transact::reader(config).await?;
    let token = Token::of(&client).await?;
    let records = client.candidate_orchestrators().await?;
    let addresses: Vec<_> = records.iter().map(|record| record.address).collect();
    let (history, members) = (client.history(args.rounds).await?, client.memberships(&addresses).await?);
    let rows: Vec<_> =
        records.iter().zip(&members).map(|(record, member)| Row::new(record, *member, &history)).collect();
    let mut lines = vec![format!(
        "{:<42} {:>20} {:>7} {:>7} {:>6} {:>7} {:>5} {:>22} {:>22}",
        "orchestrator",
        "stake",
        "cut",
        "share",
        "active",
        "missed",
        "lost",
        "new tokens per token",
        "ETH per token"
    )];
    for row in &rows {
        lines.push(row.line(&token));
        lines.extend(row.record.next_terms.map(|next| format!("{:42} {}", "", next_terms(&next))));
    }
    lines.push(format!(
        "earnings of a delegator over {} rounds that are over, at present stake and terms; missed: rounds without a call for the reward; lost: faults for which the court took stake, up to now",
        history.rounds.len()
    ));
    let value = json!({
        "rounds": history.rounds.len(),
        "orchestrators": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    transact::print(args.output, &value, &lines);
    Ok(())
}

/// One orchestrator with what it earned lately.
pub(crate) struct Row<'a> {
    record: &'a OrchestratorRecord,
    missed: u64,
    /// Faults for which the court took stake.
    lost: u64,
    earned: Earned,
}

impl<'a> Row<'a> {
    pub(crate) fn new(record: &'a OrchestratorRecord, member: Membership, history: &History) -> Self {
        let earned = history.earned.get(&record.address);
        let missed = member.missed(history, earned);
        let lost = history.convictions.get(&record.address).copied().unwrap_or_default();
        Self { record, missed, lost, earned: earned.cloned().unwrap_or_default() }
    }

    /// New base units of the token for one whole token of a delegator.
    fn tokens_per_token(&self) -> U256 {
        let shared = delegators_rewards(&self.earned, self.record);
        per_token(shared, self.record.stake)
    }

    fn wei_per_token(&self) -> U256 {
        per_token(delegators_fees(&self.earned, self.record), self.record.stake)
    }

    fn line(&self, token: &Token) -> String {
        format!(
            "{:<42} {:>20} {:>7} {:>7} {:>6} {:>7} {:>5} {:>22} {:>22}",
            self.record.address,
            token.short(self.record.stake),
            percent(self.record.reward_cut_ppm),
            percent(self.record.fee_share_ppm),
            if self.record.active { "yes" } else { "no" },
            self.missed,
            self.lost,
            amount::show_units(self.tokens_per_token()),
            amount::show_units(self.wei_per_token())
        )
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "address": self.record.address,
            "stake": self.record.stake.to_string(),
            "reward_cut_ppm": self.record.reward_cut_ppm,
            "fee_share_ppm": self.record.fee_share_ppm,
            "active": self.record.active,
            "activation_round": self.record.activation_round,
            "last_reward_round": self.record.last_reward_round,
            "jailed_until": self.record.jailed_until,
            "next_terms": self.record.next_terms,
            "service_uri": self.record.service_uri,
            "calls_missed": self.missed,
            "disputes_lost": self.lost,
            "rewards": self.earned.rewards.to_string(),
            "fees_wei": self.earned.fees.to_string(),
            "tokens_per_staked_token": self.tokens_per_token().to_string(),
            "wei_per_staked_token": self.wei_per_token().to_string(),
        })
    }
}

/// Terms that wait, in words.
pub(super) fn next_terms(next: &NextTerms) -> String {
    format!(
        "from round {} on it keeps {} of new tokens and gives {} of fees",
        next.round,
        percent(next.reward_cut_ppm),
        percent(next.fee_share_ppm)
    )
}

/// What is left of new tokens for all stake, the orchestrator's own included.
pub(super) fn delegators_rewards(earned: &Earned, record: &OrchestratorRecord) -> U256 {
    share(earned.rewards, ONE.saturating_sub(u64::from(record.reward_cut_ppm)))
}

/// What of the fees goes to all stake, the orchestrator's own included.
pub(super) fn delegators_fees(earned: &Earned, record: &OrchestratorRecord) -> U256 {
    share(earned.fees, u64::from(record.fee_share_ppm))
}

fn share(amount: U256, ppm: u64) -> U256 {
    amount.saturating_mul(U256::from(ppm)) / U256::from(ONE)
}

fn per_token(amount: U256, stake: U256) -> U256 {
    let token = U256::from(10).pow(U256::from(18));
    amount.saturating_mul(token).checked_div(stake).unwrap_or_default()
}
