//! What the demo found out, as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use alloy_primitives::{Address, U256};
use framemill_broadcaster::{AttemptOutcome, HedgeWinner, SegmentReport};
use serde::Serialize;

use crate::amount;

/// The whole result. Its JSON form is what `--json` prints last.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Source segments.
    pub segments: u64,
    /// Renditions published.
    pub renditions: u64,
    /// Published renditions that passed verification.
    pub verified: u64,
    /// Results that were complete and wrong.
    pub rejected: Vec<Rejected>,
    /// Attempts that another orchestrator had to make good.
    pub failovers: u64,
    /// Tickets over the whole stream.
    pub tickets: Tickets,
    /// Everyone who sold.
    pub orchestrators: Vec<Seller>,
    /// What the deposit lost on chain, in wei.
    #[serde(serialize_with = "decimal")]
    pub deposit_spent_wei: U256,
    /// The master playlist of the ladder.
    pub master_playlist: PathBuf,
    /// The chain.
    pub chain_id: u64,
}

/// One rejected result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejected {
    /// The segment's number.
    pub segment: u64,
    /// Who delivered it.
    pub orchestrator: Address,
    /// The first check that failed.
    pub reason: String,
}

/// Counts of tickets.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tickets {
    /// Sent by the broadcaster.
    pub sent: u64,
    /// Won, as the orchestrators' ledgers say.
    pub won: u64,
    /// Paid on chain.
    pub redeemed: u64,
}

/// One orchestrator's share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seller {
    /// Its account.
    pub address: Address,
    /// Segments published from its results.
    pub segments: u64,
    /// Fees on chain, in wei.
    #[serde(serialize_with = "decimal")]
    pub fees_wei: U256,
    /// Whether it was told to be honest.
    pub honest: bool,
}

fn decimal<S: serde::Serializer>(wei: &U256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&wei.to_string())
}

impl Report {
    /// Counts one segment that was published or lost.
    pub fn count(&mut self, segment: &SegmentReport) {
        self.segments += 1;
        self.renditions += u64::from(segment.renditions);
        self.verified += u64::from(segment.verified);
        self.tickets.sent += u64::from(segment.tickets);
        let failed =
            segment.attempts.iter().filter(|attempt| !matches!(attempt.result, AttemptOutcome::Delivered));
        // One that was outpaced is no attempt of the segment's report: the spare made good for it before it failed.
        let rescued = segment.hedge == Some(HedgeWinner::Spare) && failed.clone().count() == 0;
        self.failovers += u64::from(rescued);
        for attempt in failed {
            self.failovers += 1;
            if let AttemptOutcome::Rejected { reason } = &attempt.result {
                self.rejected.push(Rejected {
                    segment: attempt.sequence,
                    orchestrator: attempt.orchestrator,
                    reason: reason.clone(),
                });
            }
        }
    }

    /// Everything that keeps this run from being a success; empty when it is one.
    pub fn faults(&self, renditions_per_segment: u64) -> Vec<String> {
        let mut faults = Vec::new();
        let wanted = self.segments * renditions_per_segment;
        if self.segments == 0 {
            faults.push("no segment came out of the source".to_owned());
        }
        if self.renditions != wanted || self.verified != wanted {
            faults.push(format!(
                "{} segments want {wanted} renditions: {} were published, {} of them verified",
                self.segments, self.renditions, self.verified
            ));
        }
        if !self.orchestrators.iter().any(|seller| seller.honest && seller.fees_wei > U256::ZERO) {
            faults.push("no winning ticket was redeemed for an honest orchestrator".to_owned());
        }
        faults
    }

    /// The closing table for people.
    pub fn table(&self, names: &BTreeMap<Address, String>) -> String {
        let name = |address: &Address| names.get(address).cloned().unwrap_or_else(|| address.to_string());
        let mut text = String::new();
        let mut line = |label: &str, value: String| {
            writeln!(text, "{label:<12} {value}").expect("writing to a string cannot fail");
        };
        line("segments", self.segments.to_string());
        line("renditions", format!("{} published, {} verified", self.renditions, self.verified));
        line("rejected", self.rejected.len().to_string());
        for rejected in &self.rejected {
            line(
                "",
                format!(
                    "segment {} from {}: {}",
                    rejected.segment,
                    name(&rejected.orchestrator),
                    rejected.reason
                ),
            );
        }
        line("failovers", self.failovers.to_string());
        let Tickets { sent, won, redeemed } = self.tickets;
        line("tickets", format!("{sent} sent, {won} won, {redeemed} redeemed on chain {}", self.chain_id));
        for seller in &self.orchestrators {
            let kind = if seller.honest { "honest" } else { "cheat" };
            let earned = amount::show(seller.fees_wei);
            line(
                "earned",
                format!("{} ({kind}): {earned} for {} segments", name(&seller.address), seller.segments),
            );
        }
        line("deposit", format!("lost {}", amount::show(self.deposit_spent_wei)));
        line("ladder", self.master_playlist.display().to_string());
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn success() -> Report {
        Report {
            segments: 2,
            renditions: 6,
            verified: 6,
            rejected: vec![Rejected { segment: 1, orchestrator: Address::ZERO, reason: "content".into() }],
            failovers: 1,
            tickets: Tickets { sent: 40, won: 20, redeemed: 20 },
            orchestrators: vec![Seller {
                address: Address::ZERO,
                segments: 2,
                fees_wei: U256::from(7),
                honest: true,
            }],
            deposit_spent_wei: U256::from(7),
            master_playlist: "hls/demo/master.m3u8".into(),
            chain_id: 31337,
        }
    }

    #[test]
    fn json_has_the_documented_shape() {
        let expected = json!({
            "segments": 2, "renditions": 6, "verified": 6,
            "rejected": [{ "segment": 1, "orchestrator": Address::ZERO, "reason": "content" }],
            "failovers": 1,
            "tickets": { "sent": 40, "won": 20, "redeemed": 20 },
            "orchestrators": [{ "address": Address::ZERO, "segments": 2, "fees_wei": "7", "honest": true }],
            "deposit_spent_wei": "7", "master_playlist": "hls/demo/master.m3u8", "chain_id": 31337
        });
        assert_eq!(serde_json::to_value(success()).expect("plain data"), expected);
    }

    #[test]
    fn a_complete_paid_run_has_no_faults() {
        assert_eq!(success().faults(3), Vec::<String>::new());
    }

    #[test]
    fn missing_renditions_and_missing_pay_are_faults() {
        let mut report = success();
        report.verified = 5;
        assert_eq!(report.faults(3).len(), 1);
        report.orchestrators[0].honest = false;
        assert_eq!(report.faults(3).len(), 2);
    }
}
