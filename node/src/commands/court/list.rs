//! What is before the court.

use framemill_contracts::{ChainClient, Dispute, DisputeStatus, Jury};
use serde_json::{Value, json};

use super::{existing, fault_name, status_name, verdict_name};
use crate::{
    cli::{DisputesArgs, StatusArgs},
    commands::stake::{Calendar, Token},
    config::Config,
    transact,
};

/// `framemill dispute list`
pub(super) async fn all(config: &Config, args: DisputesArgs) -> anyhow::Result<()> {
    let client = transact::reader(config).await?;
    let disputes = client.disputes_from(1).await?;
    let shown: Vec<_> = disputes.iter().filter(|dispute| args.all || !dispute.is_closed()).collect();
    let mut lines =
        vec![format!("{:>7} {:<42} {:<34} {:<24} {}", "dispute", "accused", "of", "stands", "verdict")];
    for dispute in &shown {
        lines.push(format!(
            "{:>7} {:<42} {:<34} {:<24} {}",
            dispute.id,
            dispute.accused,
            fault_name(dispute.fault),
            status_name(dispute.status),
            dispute.verdict.map_or("", verdict_name)
        ));
    }
    if shown.is_empty() {
        lines = vec!["no dispute is open".to_owned()];
    }
    transact::print(args.output, &json!({ "disputes": shown }), &lines);
    Ok(())
}

/// `framemill dispute status`
pub(super) async fn one(config: &Config, args: StatusArgs) -> anyhow::Result<()> {
    let client = transact::reader(config).await?;
    let (token, calendar) = (Token::of(&client).await?, Calendar::of(&client).await?);
    let dispute = existing(&client, args.dispute).await?;
    let height = client.block_number().await?;
    let jury = client.jury(dispute.jury).await?;
    let mut lines = vec![
        format!("dispute    {}, {}", dispute.id, status_name(dispute.status)),
        format!("accused    {} of {}", dispute.accused, fault_name(dispute.fault)),
        format!("challenger {} with {}", dispute.challenger, token.show(dispute.bond)),
    ];
    if let Some(appellant) = dispute.appellant {
        lines.push(format!("appellant  {appellant} with {}", token.show(dispute.appeal_bond)));
    }
    for (receipt, evidence) in dispute.receipts.iter().zip(&dispute.evidence) {
        lines.push(format!("receipt    {receipt}"));
        lines.push(format!("evidence   {evidence}"));
    }
    if let Some(first) = dispute.first_verdict {
        lines.push(format!("appealed   {}", verdict_name(first)));
    }
    if let Some(verdict) = dispute.verdict {
        lines.push(format!("verdict    {}", verdict_name(verdict)));
    }
    if let Some(jury) = &jury {
        let [guilty, not_guilty, unavailable] = jury.votes;
        lines.push(format!(
            "jury       {}: {} seats claimed of {}, votes: {guilty} guilty, {not_guilty} not guilty, {unavailable} unavailable",
            jury.id, jury.seats, jury.size
        ));
    }
    lines.push(format!("next       {}", next(&dispute, jury.as_ref(), height, &calendar)));
    let facts = facts(&client, &dispute, jury.as_ref(), height).await?;
    transact::print(args.output, &facts, &lines);
    Ok(())
}

async fn facts(
    client: &ChainClient,
    dispute: &Dispute,
    jury: Option<&Jury>,
    height: u64,
) -> anyhow::Result<Value> {
    let round = client.round_info().await?.current;
    Ok(json!({ "dispute": dispute, "jury": jury, "block": height, "round": round }))
}

/// What happens next, and when.
fn next(dispute: &Dispute, jury: Option<&Jury>, height: u64, calendar: &Calendar) -> String {
    let left = |until: u64| calendar.blocks(until.saturating_sub(height));
    match (dispute.status, jury) {
        (DisputeStatus::Closed, _) => "jurors are paid; everybody takes out what is owed".to_owned(),
        (DisputeStatus::Decided, _) if height <= dispute.appeal_until => {
            format!("it can be appealed for {}", left(dispute.appeal_until))
        }
        (DisputeStatus::Decided, _) => "`framemill dispute execute` carries the verdict out".to_owned(),
        (_, Some(jury)) if jury.seed_block == 0 => {
            "a seed block is named when a round has room for a draw".to_owned()
        }
        (_, Some(jury)) if height <= jury.claim_until => {
            format!("jurors claim their seats for {}", left(jury.claim_until))
        }
        (_, Some(jury)) if height <= jury.commit_until => {
            format!("jurors fetch, judge and commit for {}", left(jury.commit_until))
        }
        (_, Some(jury)) if height <= jury.reveal_until => {
            format!("jurors show their votes for {}", left(jury.reveal_until))
        }
        _ => "`framemill dispute advance` counts the votes".to_owned(),
    }
}
