//! Accusing, appealing and being paid, with the real binary on a real chain.

use alloy_primitives::{Address, B256};
use framemill_contracts::{DisputeStatus, Registration, Verdict};
use serde_json::Value;

use super::dispute::{self, Signed};
use super::market::{Market, SERVE, registration, tokens};

/// The orchestrator that signs.
const ACCUSED: usize = 0;
/// The one that sits in juries.
const JUROR: usize = 1;

/// A bundle about what the market's first orchestrator signed, with this feature root and so many pixels too many in the receipt.
async fn bundle(market: &Market, name: &str, more_pixels: u64, root: impl FnOnce(B256) -> B256) -> String {
    let folder = market.dir.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let round = market.owner.round_info().await.unwrap().last_initialized;
    let signed = Signed {
        key: market.anvil.keys()[ACCUSED + 1].to_bytes().0,
        domain: market.domain(),
        round: u32::try_from(round).unwrap(),
        more_pixels,
    };
    dispute::write_parts(&folder, &signed, root);
    dispute::build(&folder)
}

fn account(market: &Market, orchestrator: usize) -> Address {
    market.orchestrators[orchestrator].address().unwrap()
}

fn false_root(mut root: B256) -> B256 {
    root[9] ^= 1;
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accusation_says_what_it_costs_and_is_opened_only_where_jurors_can_fetch_the_evidence() {
    let market = Market::open().await;
    market.owner.transfer_tokens(market.staker, tokens(200)).await.unwrap();
    let bundle = bundle(&market, "false", 0, false_root).await;
    let text = market.done(&["dispute", "open", &bundle, "--dry-run"]);
    for part in [
        "of false features with a bond of 100 MILL (100000000000000000000 wei)",
        "a jury of 3 seats judges the evidence: ",
        "32 blocks",
        "loses 20% of the stake with it, now 20 MILL",
        "up to 10% of that are yours",
        "share 10% of it, 30 MILL (30000000000000000000 wei) at least",
        "the bond is lost, half to the accused, half to the jurors",
        "that node must stay reachable until the dispute is closed",
        "2 transactions: approve(address,uint256), then openDispute",
        "dry run: nothing was signed",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let (code, told) = market.refused(&["dispute", "open", &bundle, "--yes"]);
    assert_eq!(code, 1);
    assert!(told.contains("dispute serve --register"), "{told}");
    assert_eq!(market.owner.dispute_count().await.unwrap(), 0);

    let node = market.serve().await;
    let opened = market.json(&["dispute", "open", &bundle, "--yes"]);
    assert_eq!(opened["outcome"]["dispute"], 1);
    assert_eq!(opened["facts"]["fault"], "false_features");
    let listed = market.json(&["dispute", "list"]);
    assert_eq!(
        listed["disputes"][0]["accused"].as_str().unwrap().parse::<Address>().unwrap(),
        account(&market, ACCUSED)
    );
    let status = market.done(&["dispute", "status", "1"]);
    assert!(
        status.contains("before its jury") && status.contains("jurors claim their seats for"),
        "{status}"
    );

    let (code, told) = market.refused(&["dispute", "open", &bundle, "--yes"]);
    assert_eq!(code, 4);
    assert!(told.contains("before the court already, in dispute 1"), "{told}");
    let (code, told) = market.refused(&["dispute", "appeal", "1", "--yes"]);
    assert_eq!(code, 4);
    assert!(told.contains("framemill dispute status"), "{told}");
    drop(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accusation_that_its_own_judge_does_not_confirm_is_not_sent() {
    let market = Market::open().await;
    let bundle = bundle(&market, "true", 0, |root| root).await;
    let (code, told) = market.refused(&["dispute", "open", &bundle, "--dry-run"]);
    assert_eq!(code, 1);
    assert!(told.contains("the bond would be lost"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_not_judged_from_another_number_of_bundles_than_a_jury_is_shown() {
    let market = Market::open().await;
    let bundle = bundle(&market, "false", 0, false_root).await;
    for (bundles, fault, needed) in [
        (vec![&*bundle], "unfaithful", "with 2 bundles, and 1 were named"),
        (vec![&*bundle, &*bundle], "false-features", "with 1 bundles, and 2 were named"),
    ] {
        let arguments = [&["dispute", "open", "--fault", fault, "--dry-run"][..], &bundles].concat();
        let (code, told) = market.refused(&arguments);
        assert_eq!(code, 1);
        assert!(told.contains(needed), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_an_orchestrator_is_not_replaced_unless_that_is_asked_for() {
    let market = Market::open().await;
    let key = framemill_contracts::dev_key(5).unwrap();
    let staker = market.owner.for_account(key);
    let service = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWGzBXWNvHpLALvSTnjhqjsNrrFUsMjnwxeBUvFuEFvZbB";
    let registration = Registration { service_uri: service.to_owned(), ..registration(tokens(10)) };
    staker.register_orchestrator(&registration).await.unwrap();
    let (code, told) = market.refused(&[&SERVE[..], &["--yes"]].concat());
    assert_eq!(code, 1);
    assert!(told.contains(service) && told.contains("--replace"), "{told}");
    let text = market.done(&[&SERVE[..], &["--replace", "--dry-run"]].concat());
    assert!(text.contains(&format!("it takes the place of {service}")), "{text}");
    assert!(text.contains("it gets no work"), "{text}");
    assert_eq!(market.owner.service_uris(&[market.staker]).await.unwrap(), [service]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_whose_pixels_are_no_sum_is_reported_without_a_jury_and_shows_in_the_list_of_stake() {
    let market = Market::open().await;
    let bundle = bundle(&market, "pixels", 1, |root| root).await;
    let text = market.done(&["dispute", "report", &bundle, "--dry-run"]);
    assert!(text.contains("loses 10% of the stake with it, now 10 MILL"), "{text}");
    market.done(&["dispute", "report", &bundle, "--yes"]);
    let stake = market.owner.orchestrator(account(&market, ACCUSED)).await.unwrap().unwrap().stake;
    assert_eq!(stake, tokens(90));
    let (code, told) = market.refused(&["dispute", "report", &bundle, "--yes"]);
    assert_eq!(code, 4);
    assert!(told.contains("taken stake for this fault already"), "{told}");

    // Out of jail, it comes back into the set with more stake.
    market.owner.transfer_tokens(account(&market, ACCUSED), tokens(1)).await.unwrap();
    market.orchestrators[ACCUSED].bond(tokens(1), account(&market, ACCUSED)).await.unwrap();
    let listed = market.json(&["stake", "list"]);
    let lost = |account: Address| {
        let rows = listed["orchestrators"].as_array().unwrap();
        let row =
            rows.iter().find(|row| row["address"].as_str().unwrap().parse::<Address>().unwrap() == account);
        row.map(|row| row["disputes_lost"].as_u64().unwrap())
    };
    assert_eq!(lost(account(&market, JUROR)), Some(0));
    assert_eq!(lost(account(&market, ACCUSED)), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_receipts_for_one_segment_are_reported() {
    let market = Market::open().await;
    let one = bundle(&market, "one", 0, |root| root).await;
    let other = bundle(&market, "other", 0, false_root).await;
    let value = market.json(&["dispute", "report", &one, &other, "--yes"]);
    assert_eq!(value["facts"]["fault"], "equivocation");
    let (code, told) = market.refused(&["dispute", "report", &one, &one, "--yes"]);
    assert_eq!(code, 4);
    assert!(told.contains("do not contradict"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_is_moved_on_carried_out_and_settled_by_hand() {
    let market = Market::open().await;
    market.owner.transfer_tokens(market.staker, tokens(500)).await.unwrap();
    let bundle = bundle(&market, "false", 0, false_root).await;
    let node = market.serve().await;
    market.done(&["dispute", "open", &bundle, "--yes"]);
    drop(node);
    let juror = &market.orchestrators[JUROR];
    let jury = market.owner.jury(1).await.unwrap().unwrap();
    market.reach(jury.seed_block + 1).await;
    juror.claim_seat(1).await.unwrap();
    juror.commit_vote(1, Verdict::Guilty, B256::repeat_byte(1)).await.unwrap();
    market.reach(jury.commit_until + 1).await;
    juror.reveal_vote(1, Verdict::Guilty, B256::repeat_byte(1)).await.unwrap();
    market.done(&["dispute", "advance", "1", "--yes"]);
    let text = market.done(&["dispute", "appeal", "1", "--dry-run"]);
    assert!(
        text.contains("verdict of dispute 1, guilty, with 200 MILL (200000000000000000000 wei)"),
        "{text}"
    );
    assert!(text.contains("a second jury of 7 seats"), "{text}");
    let (code, told) = market.refused(&["dispute", "execute", "1", "--yes"]);
    assert_eq!(code, 4);
    assert!(told.contains("it is done from block"), "{told}");
    market.reach(market.owner.dispute(1).await.unwrap().unwrap().appeal_until + 1).await;
    let text = market.done(&["dispute", "execute", "1", "--yes"]);
    assert!(text.contains("lose 20% of their stake"), "{text}");
    assert_eq!(market.owner.dispute(1).await.unwrap().unwrap().status, DisputeStatus::Closed);
    let sworn = account(&market, JUROR).to_string();
    let value: Value = market.json(&["dispute", "settle", "1", "--juror", &sworn, "--yes"]);
    assert_eq!(value["facts"]["vote"], "guilty");
    let text = market.done(&["dispute", "withdraw", "--yes"]);
    assert!(text.contains("MILL"), "{text}");
    let (code, told) = market.refused(&["dispute", "withdraw", "--yes"]);
    assert_eq!(code, 4);
    assert!(told.contains("owes this account nothing"), "{told}");
    assert!(market.done(&["dispute", "list"]).contains("no dispute is open"));
}
