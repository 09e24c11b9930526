//! `framemill stake estimate`: what an amount would have earned.

use alloy_primitives::U256;
use framemill_contracts::{Earned, OrchestratorRecord};
use serde_json::json;

use super::{
    Calendar, Token, address,
    list::{ONE, delegators_fees, delegators_rewards},
};
use crate::{amount, cli::EstimateArgs, config::Config, transact};

/// Counts what the amount would have got of what was earned.
pub(super) async fn run(config: &Config, args: &EstimateArgs) -> anyhow::Result<()> {
    let client = transact::reader(config).await?;
    let (token, calendar) = (Token::of(&client).await?, Calendar::of(&client).await?);
    let amount = token.parse(&args.amount)?;
    anyhow::ensure!(amount > U256::ZERO, "give an amount, like \"100 {}\"", token.symbol);
    let mut records = client.active_orchestrators().await?;
    if let Some(text) = &args.with {
        let wanted = address(text)?;
        records.retain(|record| record.address == wanted);
        anyhow::ensure!(
            !records.is_empty(),
            "{wanted} is no active orchestrator; `framemill stake list` names them"
        );
    }
    let history = client.history(args.history.rounds).await?;
    let total = client.total_active_stake().await?;
    let rounds = history.rounds.len() as u64;
    let mut lines = vec![format!("{} over the last {rounds} rounds that are over:", token.show(amount))];
    let mut found = Vec::new();
    for record in &records {
        let nothing = Earned::default();
        let yields =
            Yield::of(amount, record, history.earned.get(&record.address).unwrap_or(&nothing), total);
        let yearly = yields.yearly_ppm(amount, rounds, &calendar);
        lines.push(format!(
            "{}  {} and {}",
            record.address,
            token.show(yields.tokens),
            amount::show(yields.wei)
        ));
        if let Some(ppm) = yearly {
            lines.push(format!("{:42}  about {} a year in new tokens, at this pace", "", percent_of(ppm)));
        }
        found.push(json!({
            "address": record.address,
            "tokens": yields.tokens.to_string(),
            "wei": yields.wei.to_string(),
            "yearly_tokens_ppm": yearly,
        }));
    }
    lines.push("less the orchestrators' cuts at present terms, as if the amount had been there: the past promises nothing".to_owned());
    let value = json!({ "amount": amount.to_string(), "rounds": rounds, "orchestrators": found });
    transact::print(args.history.output, &value, &lines);
    Ok(())
}

/// What an amount would have got.
pub(crate) struct Yield {
    /// New tokens, in base units.
    pub(crate) tokens: U256,
    /// Fees.
    pub(crate) wei: U256,
}

impl Yield {
    /// New tokens of a round are shared by all active stake, so the amount would have thinned all of it; fees are what
    /// they were, and the amount would have thinned its own pool.
    pub(crate) fn of(amount: U256, record: &OrchestratorRecord, earned: &Earned, total: U256) -> Self {
        let part = |sum: U256, of: U256| sum.saturating_mul(amount).checked_div(of).unwrap_or_default();
        let undiluted = part(delegators_rewards(earned, record), record.stake);
        let tokens =
            undiluted.saturating_mul(total).checked_div(total.saturating_add(amount)).unwrap_or_default();
        Self { tokens, wei: part(delegators_fees(earned, record), record.stake.saturating_add(amount)) }
    }

    /// New tokens in a year at this pace, in parts per million of the amount; `None` where the pace is not known.
    pub(crate) fn yearly_ppm(&self, amount: U256, rounds: u64, calendar: &Calendar) -> Option<u64> {
        let yearly = self.tokens.saturating_mul(U256::from(calendar.rounds_a_year()?));
        let ppm =
            yearly.saturating_mul(U256::from(ONE)).checked_div(amount.saturating_mul(U256::from(rounds)))?;
        u64::try_from(ppm).ok()
    }
}

/// Two places: the figure is an estimate.
fn percent_of(ppm: u64) -> String {
    format!("{}.{:02}%", ppm / 10_000, ppm % 10_000 / 100)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;

    fn record(stake: u64) -> OrchestratorRecord {
        OrchestratorRecord {
            address: Address::ZERO,
            stake: U256::from(stake),
            reward_cut_ppm: 100_000,
            fee_share_ppm: 500_000,
            active: true,
            activation_round: 1,
            last_reward_round: 1,
            jailed_until: 0,
            next_terms: None,
            service_uri: String::new(),
            signing_key: Address::ZERO,
        }
    }

    #[test]
    fn an_amount_gets_its_share_less_cuts_of_what_it_would_have_thinned() {
        let earned = Earned { rewards: U256::from(1_000), fees: U256::from(800), ..Earned::default() };
        let yields = Yield::of(U256::from(100), &record(100), &earned, U256::from(900));
        // 1,000 less a tenth, for a stake as large as all that was there, in a market a tenth larger.
        assert_eq!(yields.tokens, U256::from(810));
        // Half of 800, for half of the stake.
        assert_eq!(yields.wei, U256::from(200));
    }

    #[test]
    fn an_empty_market_yields_nothing() {
        let yields = Yield::of(U256::from(100), &record(0), &Earned::default(), U256::ZERO);
        assert_eq!((yields.tokens, yields.wei), (U256::ZERO, U256::ZERO));
    }
}
