use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256};
use probabilistic_ticket::ledger::{Acceptance, CheckedTicket, NewSession};
use probabilistic_ticket::{Ledger as _, SqliteLedger, Wei, WinProb};
use sqlx::{ConnectOptions as _, Executor as _};

use super::{framemill, run, stderr, stdout};

const SESSION: B256 = B256::repeat_byte(5);

/// An orchestrator's ledger with one session, one ticket's credit, one ticket's hold.
async fn ledger(folder: &Path) -> (SqliteLedger, PathBuf) {
    let path = folder.join("recipient.sqlite");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let new = NewSession {
        id: SESSION,
        sender: Address::repeat_byte(1),
        recipient: Address::repeat_byte(2),
        face_value: Wei::from(100),
        win_prob: WinProb::MAX,
        max_lanes: 1,
        idle_before_ms: 0,
        now_ms: 7,
    };
    ledger.open_session(new).await.unwrap();
    let ticket = |nonce| CheckedTicket { index: 0, nonce, winner: None };
    let payment = Acceptance {
        session: SESSION,
        serial: 0,
        ticket_value: Wei::from(10),
        tickets: vec![ticket(1), ticket(2)],
        cost: Wei::from(10),
        max_nonce_jump: 10,
        now_ms: 8,
    };
    ledger.accept(payment).await.unwrap();
    (ledger, path)
}

fn tickets(folder: &Path, arguments: &[&str]) -> std::process::Output {
    framemill(&[&["tickets"], arguments].concat()).env("FRAMEMILL_DATA_DIR", folder).output().unwrap()
}

#[tokio::test]
async fn ledger_of_a_running_node_audits_clean_and_a_changed_balance_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, path) = ledger(folder.path()).await;
    let output = tickets(folder.path(), &["audit"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("3 balances compared with 2 entries"), "{}", stdout(&output));

    ledger.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    options.connect().await.unwrap().execute("UPDATE sessions SET tickets = 3").await.unwrap();
    let output = tickets(folder.path(), &["audit", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let difference = &found["ledgers"][0]["differences"][0];
    assert_eq!(difference["account"], format!("session {SESSION}"), "{found}");
    assert!(difference["log"].as_str().unwrap().contains("tickets 2"), "{found}");
    assert!(difference["row"].as_str().unwrap().contains("tickets 3"), "{found}");
}

#[tokio::test]
async fn export_prints_objects_or_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let (_ledger, path) = ledger(folder.path()).await;
    let output = tickets(folder.path(), &["export", "--ledger", path.to_str().unwrap()]);
    let session: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&session["kind"], &session["credit_wei"]), (&"session".into(), &"10".into()), "{session}");
    let output = tickets(folder.path(), &["export", "--only", "sessions", "--csv"]);
    let table = stdout(&output);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("kind,session,sender"), "{table}");
    assert!(lines[1].starts_with(&format!("session,{SESSION},")), "{table}");
}

#[test]
fn folder_without_a_ledger_and_server_that_is_away_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = tickets(folder.path(), &["audit"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no ledger in"), "{}", stderr(&output));
    let address = format!("postgres://me@localhost/books?host={}", folder.path().display());
    let output = tickets(folder.path(), &["audit", "--ledger", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not answer"), "{}", stderr(&output));
}

#[test]
fn password_in_the_ledgers_address_is_refused_and_not_shown() {
    for arguments in [["config", "show"], ["config", "check"]] {
        let output = framemill(&arguments)
            .env("FRAMEMILL_LEDGER", "postgres://me:hunter2@host/books")
            .output()
            .unwrap();
        assert!(!output.status.success());
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains("ledger_password_file") && !text.contains("hunter2"), "{text}");
    }
    let output = run(&["config", "check", "--set", "ledger=mysql://host/books"]);
    assert!(stderr(&output).contains("neither sqlite nor an address"), "{}", stderr(&output));
}
