//! Earnings, from a ledger filled by tickets that were signed, checked and accepted.

use std::{path::Path, process::Output, sync::Arc};

use alloy_primitives::{Address, B256, keccak256};
use probabilistic_ticket::ledger::{DeadReason, Fate, Submission};
use probabilistic_ticket::memory::MemoryBroker;
use probabilistic_ticket::{
    Domain, EthKey, Ledger as _, PaymentTicket, PreparedRedemption, Recipient, RecipientConfig, SenderFunds,
    SqliteLedger, SystemClock, TicketBatch, TicketParams, Wei,
};
use serde_json::{Value, json};

use super::{framemill, stderr, stdout};

/// What one ticket is worth: a millionth of an ether.
const TICKET: u64 = 1_000_000_000_000;
/// What of it the work of a segment costs.
const COST: u64 = TICKET / 4;

fn key(label: &str) -> EthKey {
    EthKey::from_bytes(&keccak256(label).0).unwrap()
}

fn payment(params: &TicketParams, nonces: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let ticket = |nonce| {
        let salt = B256::repeat_byte(1);
        let signed = params.scheme.sign(params.ticket(nonce, salt), &params.domain, &key("sender"));
        PaymentTicket { nonce, salt, signature: signed.signature }
    };
    TicketBatch { params: *params, tickets: nonces.map(ticket).collect() }.encode().unwrap()
}

/// Two streams: one paid with three tickets that all won, the other with one; one winner is paid, one is lost.
async fn earn(folder: &Path) {
    let domain = Domain::new(31_337, Address::repeat_byte(0xbb));
    let recipient_key = key("recipient").address();
    let broker = Arc::new(MemoryBroker::new(domain, recipient_key));
    let deposit = Wei::from(10_000_000 * TICKET);
    broker.fund(key("sender").address(), SenderFunds { deposit, ..SenderFunds::default() });
    let config = RecipientConfig {
        ticket_value: Wei::from(TICKET),
        // Every ticket wins.
        redemption_gas: 0,
        ..RecipientConfig::new(recipient_key, domain)
    };
    let ledger = SqliteLedger::open(folder.join("recipient.sqlite")).await.unwrap();
    let recipient =
        Recipient::open(config, Arc::new(ledger.clone()), broker, Arc::new(SystemClock)).await.unwrap();
    for (session, nonces) in [(1, 1..=3), (2, 1..=1)] {
        let session = B256::repeat_byte(session);
        let params = recipient.open_session(key("sender").address(), session).await.unwrap();
        let accepted = recipient.accept(session, &payment(&params, nonces), Wei::from(COST)).await.unwrap();
        assert!(accepted.tickets > 0, "{accepted:?}");
        recipient.settle(session, Wei::from(COST), Wei::from(COST)).await.unwrap();
    }
    let winners = ledger.pending_winners(None, 9).await.unwrap();
    let (tx, first) = (B256::repeat_byte(9), winners[0].id);
    let prepared = PreparedRedemption { tx, raw: vec![1] };
    ledger.submit(Submission { prepared, winners: vec![first], offered_ms: 0 }).await.unwrap();
    ledger.conclude(tx, tx, &[(first, Fate::Paid)]).await.unwrap();
    ledger.bury(&[(winners[1].id, DeadReason::Expired)]).await.unwrap();
}

fn earnings(folder: &Path, arguments: &[&str]) -> Output {
    framemill(&[&["earnings"], arguments].concat()).env("FRAMEMILL_DATA_DIR", folder).output().unwrap()
}

fn told(folder: &Path, arguments: &[&str]) -> Value {
    let output = earnings(folder, &[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
}

#[tokio::test]
async fn expected_income_and_what_the_chain_paid_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    earn(folder.path()).await;
    let found = told(folder.path(), &["--rate", "2000000", "--currency", "eur"]);
    let total = &found["total"];
    let sum = |tickets: u64| json!({ "tickets": tickets, "wei": (tickets * TICKET).to_string() });
    assert_eq!(total["expected"], sum(4), "{found}");
    assert_eq!(total["charged_wei"], (2 * COST).to_string(), "{found}");
    assert_eq!((&total["won"], &total["paid"], &total["lost"]), (&sum(4), &sum(1), &sum(1)), "{found}");
    assert_eq!(found["waiting"], sum(2), "{found}");
    assert_eq!((&total["expected_fiat"], &total["paid_fiat"]), (&json!("8.00"), &json!("2.00")), "{found}");
    assert_eq!(found["rate"], json!({ "price": "2000000.00", "currency": "EUR" }));
}

#[tokio::test]
async fn rows_add_up_to_the_total_by_hour_day_and_stream() {
    let folder = tempfile::tempdir().unwrap();
    earn(folder.path()).await;
    for by in ["hour", "day", "stream"] {
        let found = told(folder.path(), &["--by", by]);
        let rows = found["rows"].as_array().unwrap();
        let tickets: u64 = rows.iter().map(|row| row["expected"]["tickets"].as_u64().unwrap()).sum();
        assert_eq!(tickets, 4, "{found}");
        assert!(rows.iter().all(|row| row[by].is_string()), "{found}");
    }
    let streams = told(folder.path(), &["--by", "stream"]);
    let streams = streams["rows"].as_array().unwrap();
    assert_eq!(streams.len(), 2);
    assert!(streams.iter().all(|row| row["sender"] == json!(key("sender").address())), "{streams:?}");
    assert!(streams.iter().all(|row| row["paid"].is_null()), "a winner is no stream's: {streams:?}");
    let found = told(folder.path(), &["--since", "9999-12-31"]);
    assert_eq!((&found["rows"], &found["total"]["won"]["tickets"]), (&json!([]), &json!(0)), "{found}");
}

#[tokio::test]
async fn people_read_a_table() {
    let folder = tempfile::tempdir().unwrap();
    earn(folder.path()).await;
    let output = earnings(folder.path(), &[]);
    let text = stdout(&output);
    assert!(text.starts_with("day  "), "{text}{}", stderr(&output));
    let total = text.lines().find(|line| line.starts_with("total")).unwrap();
    let cells: Vec<_> = total.split_whitespace().collect();
    assert_eq!(cells, ["total", "4", "0.000004", "0.0000005", "4", "0.000004", "1", "0.000001", "0.000001"]);
    assert!(text.contains("waiting to be paid: 2 winners, 0.000002 ETH"), "{text}");
}

#[test]
fn a_missing_ledger_a_wrong_day_and_a_wrong_rate_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&[][..], "no orchestrator has earned here"),
        (&["--since", "30.11.2026"], "write it like 2026-11-30"),
        (&["--rate", "3,000"], "write it like 3120.50"),
    ] {
        let output = earnings(folder.path(), arguments);
        assert!(!output.status.success());
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
