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
    let (appeal_end, jury) = tokio::try_join!(client.appeal_end(dispute.id), client.jury(dispute.jury))?;
    let is_void = client.is_void(dispute.jury).await?;
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
    let stand = Stand { dispute: &dispute, appeal_end, jury: jury.as_ref(), is_void, height };
    lines.push(format!("next       {}", stand.next(|blocks| calendar.blocks(blocks))));
    let facts = stand.facts(&client).await?;
    transact::print(args.output, &facts, &lines);
    Ok(())
}

/// Of a dispute before the court, its latest jury and what happens next, in words.
pub(crate) async fn outlook(
    client: &ChainClient,
    calendar: &Calendar,
    dispute: &Dispute,
) -> anyhow::Result<(Option<Jury>, String)> {
    let height = client.block_number().await?;
    let (appeal_end, jury) = tokio::try_join!(client.appeal_end(dispute.id), client.jury(dispute.jury))?;
    let is_void = client.is_void(dispute.jury).await?;
    let stand = Stand { dispute, appeal_end, jury: jury.as_ref(), is_void, height };
    let next = stand.next(|blocks| calendar.blocks(blocks));
    Ok((jury, next))
}

/// Where a dispute stands in a block.
struct Stand<'a> {
    dispute: &'a Dispute,
    /// Last block for an appeal; the largest number while the contracts pause.
    appeal_end: u64,
    jury: Option<&'a Jury>,
    is_void: bool,
    height: u64,
}

impl Stand<'_> {
    async fn facts(&self, client: &ChainClient) -> anyhow::Result<Value> {
        let round = client.round_info().await?.current;
        let appeal_end = (self.appeal_end != u64::MAX).then_some(self.appeal_end);
        Ok(json!({
            "dispute": self.dispute,
            "appeal_end": appeal_end,
            "jury": self.jury,
            "jury_is_void": self.is_void,
            "block": self.height,
            "round": round,
        }))
    }

    /// What happens next, and until when. What is sent now is mined in the next block at the earliest.
    fn next(&self, words: impl Fn(u64) -> String) -> String {
        let left = |until: u64| words(until.saturating_sub(self.height));
        let is_open = |until: u64| self.height < until;
        match (self.dispute.status, self.jury) {
            (DisputeStatus::Closed, _) => "jurors are paid; everybody takes out what is owed".to_owned(),
            (DisputeStatus::Decided, _) if self.appeal_end == u64::MAX => {
                "the contracts are paused; when they go on, the time for an appeal starts again".to_owned()
            }
            (DisputeStatus::Decided, _) if is_open(self.appeal_end) => {
                format!("it can be appealed for {}", left(self.appeal_end))
            }
            (DisputeStatus::Decided, _) => "`framemill dispute execute` carries the verdict out".to_owned(),
            (_, Some(jury)) if jury.seed_block == 0 => {
                "a seed block is named when a round has room for a draw".to_owned()
            }
            (_, Some(_)) if self.is_void => {
                "a pause kept the jury from its work: `framemill dispute advance` draws another one"
                    .to_owned()
            }
            (_, Some(jury)) if is_open(jury.advance_due()) && is_open(jury.claim_until) => {
                format!("jurors claim their seats for {}", left(jury.claim_until))
            }
            (_, Some(jury)) if is_open(jury.advance_due()) && is_open(jury.commit_until) => {
                format!("jurors fetch, judge and commit for {}", left(jury.commit_until))
            }
            (_, Some(jury)) if is_open(jury.advance_due()) => {
                format!("jurors show their votes for {}", left(jury.reveal_until))
            }
            _ => "`framemill dispute advance` counts the votes, or draws another jury".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use framemill_contracts::Fault;

    use super::*;

    fn dispute(status: DisputeStatus) -> Dispute {
        Dispute {
            id: 7,
            challenger: Address::repeat_byte(2),
            accused: Address::repeat_byte(3),
            appellant: None,
            fault: Fault::FalseFeatures,
            status,
            verdict: None,
            first_verdict: None,
            bond: U256::from(100),
            appeal_bond: U256::ZERO,
            appeal_until: 200,
            jury: 9,
            first_jury: 0,
            appeal_jury: 0,
            receipts: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// Seed in block 110, claims to 120, commitments to 160, votes to 180.
    fn jury(seats: u16, votes: [u16; 3]) -> Jury {
        Jury {
            id: 9,
            dispute: 7,
            seed_block: 110,
            claim_until: 120,
            commit_until: 160,
            reveal_until: 180,
            size: 3,
            seats,
            votes,
            pot: U256::ZERO,
        }
    }

    fn next(status: DisputeStatus, appeal_end: u64, jury: &Jury, is_void: bool, height: u64) -> String {
        let stand = Stand { dispute: &dispute(status), appeal_end, jury: Some(jury), is_void, height };
        stand.next(|blocks| format!("{blocks} blocks"))
    }

    #[test]
    fn a_window_is_told_to_be_open_while_a_transaction_can_still_be_mined_in_it() {
        let at = |seats, height| next(DisputeStatus::Judging, 0, &jury(seats, [0; 3]), false, height);
        assert_eq!(at(3, 119), "jurors claim their seats for 1 blocks");
        assert_eq!(at(3, 120), "jurors fetch, judge and commit for 40 blocks");
        assert_eq!(at(3, 160), "jurors show their votes for 20 blocks");
        let advance = "`framemill dispute advance` counts the votes, or draws another jury";
        assert_eq!(at(3, 180), advance);
        assert_eq!(at(1, 119), "jurors claim their seats for 1 blocks");
        assert_eq!(at(1, 120), advance, "too few claimed");
        let voted = next(DisputeStatus::Judging, 0, &jury(3, [2, 1, 0]), false, 160);
        assert_eq!(voted, advance, "all have voted");
    }

    #[test]
    fn what_a_pause_does_to_a_jury_and_to_the_time_for_an_appeal_is_told() {
        let void = next(DisputeStatus::Judging, 0, &jury(3, [0; 3]), true, 130);
        assert!(void.contains("a pause kept the jury from its work"), "{void}");
        let decided = |end, height| next(DisputeStatus::Decided, end, &jury(3, [2, 1, 0]), false, height);
        assert_eq!(decided(300, 250), "it can be appealed for 50 blocks");
        assert!(decided(300, 300).contains("`framemill dispute execute`"));
        assert!(decided(u64::MAX, 250).contains("the contracts are paused"));
    }
}
