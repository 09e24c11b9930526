use std::path::Path;

use alloy_primitives::{Address, B256};
use framemill_verification::policy::draw::{Draw, DrawnResult, Epoch, Secret};
use framemill_verification::policy::journal::Entry;
use framemill_verification::{Policy, Tier};

use super::run;

/// A record of three draws, changed by `change` before it is written.
fn write(folder: &Path, change: impl Fn(&mut Entry)) -> String {
    let epoch = Epoch { stream: B256::repeat_byte(1), number: 2 };
    let seed = Secret::from_bytes([3; 32]).seed(&epoch);
    let draw = |sequence| {
        let result =
            DrawnResult { orchestrator: Address::ZERO, session: B256::ZERO, sequence, result: B256::ZERO };
        Entry::Draw { epoch, draw: Draw::new(&seed, result, Policy::FULL), share_ppm: 1_000_000 }
    };
    let commit =
        Entry::Commit { epoch, commitment: seed.commitment(&epoch), minimum: Policy::FLOOR, at_ms: 0 };
    let mut entries = [commit, draw(0), draw(1), draw(2), Entry::Reveal { epoch, seed }];
    entries.iter_mut().for_each(change);
    let lines: String = entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
    let path = folder.join("draws.jsonl");
    std::fs::write(&path, lines + "{\"entry\":\"com").unwrap();
    path.display().to_string()
}

fn json(output: &std::process::Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn draws_that_follow_from_their_seed_are_proven() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["audit", &write(folder.path(), |_| {}), "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let found = json(&output);
    assert_eq!((&found["proven"], &found["unreadable_lines"]), (&3.into(), &1.into()), "{found}");
}

#[test]
fn a_draw_that_its_seed_contradicts_fails_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let record = write(folder.path(), |entry| {
        if let Entry::Draw { draw, .. } = entry
            && draw.result.sequence == 1
        {
            draw.tier = Tier::Structure;
        }
    });
    let output = run(&["audit", &record, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = json(&output);
    assert_eq!(found["proven"], 2, "{found}");
    assert!(found["faults"][0].as_str().unwrap().contains("the draw says 2"), "{found}");
}

#[test]
fn what_an_orchestrator_was_told_is_compared_with_what_was_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let record = write(folder.path(), |_| {});
    let text = std::fs::read_to_string(&record).unwrap();
    let Entry::Commit { commitment, .. } = serde_json::from_str(text.lines().next().unwrap()).unwrap() else {
        panic!("a record begins with its commitment")
    };
    let told = |commitment| {
        let told = Entry::Told { commitment, session: B256::ZERO, sequence: 0, result: B256::ZERO, at_ms: 0 };
        let path = folder.path().join("told.jsonl");
        std::fs::write(&path, serde_json::to_string(&told).unwrap()).unwrap();
        run(&["audit", &record, &path.display().to_string(), "--json"])
    };
    let output = told(commitment);
    assert_eq!((output.status.code(), json(&output)["told"].clone()), (Some(0), 1.into()));
    let output = told(B256::repeat_byte(4));
    assert_eq!(output.status.code(), Some(1));
    assert!(json(&output)["faults"][0].as_str().unwrap().contains("proves nothing to who was told"));
}
