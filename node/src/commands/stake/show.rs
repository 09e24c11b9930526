//! `framemill stake show`: how an account stands.

use serde_json::json;

use super::{Calendar, Token, asked_about, list, percent};
use crate::{amount, cli::ShowArgs, config::Config, transact};

/// Reads the account and what it is bonded to.
pub(super) async fn run(config: &Config, args: &ShowArgs) -> anyhow::Result<()> {
    let (client, account) = asked_about(config, args.account.as_deref()).await?;
    let (token, calendar) = (Token::of(&client).await?, Calendar::of(&client).await?);
    let (held, stands) = (client.token_balance(account).await?, client.delegator(account).await?);
    let (locks, moved) = (client.locks(account).await?, client.redelegation(account).await?);
    let mut lines = vec![
        format!("account   {account}"),
        format!("held      {}", token.show(held)),
        format!("stake     {}", token.show(stands.stake)),
        format!("fees      {}", amount::show(stands.fees)),
    ];
    if stands.delegate.is_zero() {
        lines.push("bonded    to nobody".to_owned());
    } else {
        lines.push(format!("bonded    to {}", stands.delegate));
    }
    if let Some(moved) = &moved {
        lines.push(format!(
            "moved     {} answers for {} too until {}; until then it can be neither moved nor unbonded",
            token.show(moved.amount),
            moved.from,
            calendar.round(moved.until)
        ));
    }
    let own = client.orchestrator(account).await?;
    if let Some(own) = &own {
        lines.push(format!(
            "terms     keeps {} of new tokens, gives {} of fees to delegators; {}, {} bonded to it",
            percent(own.reward_cut_ppm),
            percent(own.fee_share_ppm),
            if own.active { "active" } else { "not active" },
            token.show(own.stake)
        ));
    }
    if let Some(next) = own.as_ref().and_then(|own| own.next_terms) {
        lines.push(format!("waiting   {}", list::next_terms(&next)));
    }
    if let Some(until) = own.as_ref().map(|own| own.jailed_until).filter(|until| *until > calendar.current())
    {
        lines.push(format!("jailed    by the court until {}", calendar.round(until)));
    }
    for (id, lock) in &locks {
        lines.push(format!(
            "lock {id:<4} {}, can be withdrawn from {}",
            token.show(lock.amount),
            calendar.round(lock.withdraw_round)
        ));
    }
    let lock = |(id, lock): &(u64, framemill_contracts::LockedStake)| json!({ "lock": id, "amount": lock.amount.to_string(), "withdraw_round": lock.withdraw_round });
    let value = json!({
        "account": account,
        "round": calendar.current(),
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
        "terms": own.map(|own| json!({
            "reward_cut_ppm": own.reward_cut_ppm,
            "fee_share_ppm": own.fee_share_ppm,
            "active": own.active,
            "jailed_until": own.jailed_until,
            "next_terms": own.next_terms,
            "stake": own.stake.to_string(),
        })),
    });
    transact::print(args.output, &value, &lines);
    Ok(())
}
