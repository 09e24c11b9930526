//! `framemill stake show`: how an account stands.

use alloy_primitives::{Address, U256};
use framemill_contracts::{
    ChainClient, ChainError, Delegator, LockedStake, OrchestratorRecord, Redelegation,
};
use serde_json::{Value, json};

use super::{Calendar, Token, asked_about, list, percent};
use crate::{amount, cli::ShowArgs, config::Config, transact};

/// An account, as the chain knows it.
pub(crate) struct Standing {
    account: Address,
    held: U256,
    stands: Delegator,
    locks: Vec<(u64, LockedStake)>,
    moved: Option<Redelegation>,
    own: Option<OrchestratorRecord>,
}

impl Standing {
    pub(crate) async fn of(client: &ChainClient, account: Address) -> Result<Self, ChainError> {
        Ok(Self {
            account,
            held: client.token_balance(account).await?,
            stands: client.delegator(account).await?,
            locks: client.locks(account).await?,
            moved: client.redelegation(account).await?,
            own: client.orchestrator(account).await?,
        })
    }

    /// For programs.
    pub(crate) fn json(&self, round: u64) -> Value {
        let Self { account, held, stands, locks, moved, own } = self;
        let lock = |(id, lock): &(u64, LockedStake)| json!({ "lock": id, "amount": lock.amount.to_string(), "withdraw_round": lock.withdraw_round });
        json!({
            "account": account,
            "round": round,
            "held": held.to_string(),
            "stake": stands.stake.to_string(),
            "fees_wei": stands.fees.to_string(),
            "delegate": (!stands.delegate.is_zero()).then_some(stands.delegate),
            "start_round": stands.start_round,
            "redelegation": moved.map(|moved| json!({
                "from": moved.from,
                "amount": moved.amount.to_string(),
                "until_round": moved.until,
            })),
            "locks": locks.iter().map(lock).collect::<Vec<_>>(),
            "terms": own.as_ref().map(|own| json!({
                "reward_cut_ppm": own.reward_cut_ppm,
                "fee_share_ppm": own.fee_share_ppm,
                "active": own.active,
                "jailed_until": own.jailed_until,
                "next_terms": own.next_terms,
                "stake": own.stake.to_string(),
            })),
        })
    }

    fn lines(&self, token: &Token, calendar: &Calendar) -> Vec<String> {
        let Self { account, held, stands, locks, moved, own } = self;
        let mut lines = vec![
            format!("account   {account}"),
            format!("held      {}", token.show(*held)),
            format!("stake     {}", token.show(stands.stake)),
            format!("fees      {}", amount::show(stands.fees)),
        ];
        if stands.delegate.is_zero() {
            lines.push("bonded    to nobody".to_owned());
        } else {
            lines.push(format!("bonded    to {}", stands.delegate));
        }
        if let Some(moved) = moved {
            lines.push(format!(
                "moved     {} answers for {} too until {}; until then it can be neither moved nor unbonded",
                token.show(moved.amount),
                moved.from,
                calendar.round(moved.until)
            ));
        }
        if let Some(own) = own {
            lines.extend(own_lines(own, token, calendar));
        }
        for (id, lock) in locks {
            lines.push(format!(
                "lock {id:<4} {}, can be withdrawn from {}",
                token.show(lock.amount),
                calendar.round(lock.withdraw_round)
            ));
        }
        lines
    }
}

/// What is said of an account that is an orchestrator.
fn own_lines(own: &OrchestratorRecord, token: &Token, calendar: &Calendar) -> Vec<String> {
    let mut lines = vec![format!(
        "terms     keeps {} of new tokens, gives {} of fees to delegators; {}, {} bonded to it",
        percent(own.reward_cut_ppm),
        percent(own.fee_share_ppm),
        if own.active { "active" } else { "not active" },
        token.show(own.stake)
    )];
    lines.extend(own.next_terms.map(|next| format!("waiting   {}", list::next_terms(&next))));
    if own.jailed_until > calendar.current() {
        lines.push(format!("jailed    by the court until {}", calendar.round(own.jailed_until)));
    }
    lines
}

/// Reads the account and what it is bonded to.
pub(super) async fn run(config: &Config, args: &ShowArgs) -> anyhow::Result<()> {
    let (client, account) = asked_about(config, args.account.as_deref()).await?;
    let (token, calendar) = (Token::of(&client).await?, Calendar::of(&client).await?);
    let standing = Standing::of(&client, account).await?;
    let lines = standing.lines(&token, &calendar);
    transact::print(args.output, &standing.json(calendar.current()), &lines);
    Ok(())
}
