//! What stakers see and sign, with the real binary on a real chain.

use alloy_primitives::{Address, U256};
use framemill_contracts::Registration;
use serde_json::Value;

use super::market::{Market, UNBONDING, registration, tokens};
use super::stderr;

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_amount_lock_risk_and_cost_and_signs_nothing() {
    let market = Market::open().await;
    let to = market.orchestrator(0);
    let text = market.done(&["stake", "bond", "1.5 MILL", "--to", &to, "--dry-run"]);
    for part in [
        "bond 1.5 MILL (1500000000000000000 wei) to 0x",
        "keeps 10% of new tokens and gives 50% of fees",
        &format!("wait {UNBONDING} rounds"),
        &format!("round {}, in ", 2 + UNBONDING),
        "can be slashed",
        "2 transactions: approve(address,uint256), then bond(uint256,address)",
        "gas costs 0.",
        "dry run: nothing was signed",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(market.owner.delegator(market.staker).await.unwrap().stake, U256::ZERO);
    let value = market.json(&["stake", "bond", "1.5 MILL", "--to", &to, "--dry-run"]);
    assert_eq!(value["facts"]["amount"], "1500000000000000000");
    assert_eq!((&value["dry_run"], &value["transactions"]), (&Value::from(true), &serde_json::json!([])));
}

/// The commands of the first shell block of the page for stakers.
fn commands_of_the_page() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/staking.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```sh").unwrap();
    let block = rest.lines().skip(1).take_while(|line| *line != "```");
    block.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_commands_at_the_top_of_the_page_delegate() {
    let market = Market::open().await;
    market.owner.transfer_tokens(market.staker, tokens(100)).await.unwrap();
    let commands = commands_of_the_page();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let to = market.orchestrator(0);
    let listed = market.typed(&commands[0], &to);
    assert!(listed.contains(&to), "{listed}");
    market.typed(&commands[1], &to);
    let account = market.owner.delegator(market.staker).await.unwrap();
    assert_eq!((account.stake, Some(account.delegate)), (tokens(100), market.orchestrators[0].address()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_that_nobody_confirmed() {
    let market = Market::open().await;
    let (code, text) = market.refused(&["stake", "bond", "1 MILL", "--to", &market.orchestrator(0)]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("pass --yes"), "{text}");
    assert_eq!(market.owner.delegator(market.staker).await.unwrap().stake, U256::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn stake_goes_in_is_shown_comes_out_and_is_withdrawn_when_its_rounds_are_over() {
    let market = Market::open().await;
    let to = market.orchestrator(0);
    let bonded = market.json(&["stake", "bond", "4 MILL", "--to", &to, "--yes"]);
    assert_eq!(bonded["transactions"].as_array().unwrap().len(), 2);
    assert!(market.done(&["stake", "show"]).contains("stake     4 MILL (4000000000000000000 wei)"));
    market.next_round().await;
    market.done(&["stake", "unbond", "1.5 MILL", "--yes"]);
    let shown = market.json(&["stake", "show"]);
    assert_eq!(shown["stake"], "2500000000000000000");
    assert_eq!(
        shown["locks"],
        serde_json::json!([{ "lock": 0, "amount": "1500000000000000000", "withdraw_round": 3 + UNBONDING }])
    );
    let (code, text) = market.refused(&["stake", "withdraw", "0", "--yes"]);
    assert_eq!(code, 4, "{text}");
    let until = 3 + UNBONDING;
    assert!(text.contains(&format!("locked until round {until} and this is round 3")), "{text}");
    market.rounds(UNBONDING).await;
    market.done(&["stake", "withdraw", "0", "--yes"]);
    assert_eq!(market.owner.token_balance(market.staker).await.unwrap(), tokens(15) / U256::from(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_can_be_unbonded_and_goes_to_another_orchestrator_when_its_rounds_are_over() {
    let market = Market::open().await;
    market.done(&["stake", "bond", "2 MILL", "--to", &market.orchestrator(0), "--yes"]);
    market.done(&["stake", "unbond", "all", "--yes"]);
    let (code, text) = market.refused(&["stake", "rebond", "0", "--yes"]);
    assert_eq!(code, 1);
    assert!(text.contains("name an orchestrator with --to"), "{text}");
    let other = market.orchestrator(1);
    let (code, text) = market.refused(&["stake", "rebond", "0", "--to", &other, "--yes"]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("only back to the orchestrator it was with"), "{text}");
    market.rounds(UNBONDING).await;
    market.done(&["stake", "rebond", "0", "--to", &other, "--yes"]);
    let account = market.owner.delegator(market.staker).await.unwrap();
    assert_eq!((account.stake, Some(account.delegate)), (tokens(2), market.orchestrators[1].address()));
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_it_goes_back_to_where_the_rest_is() {
    let market = Market::open().await;
    market.done(&["stake", "bond", "2 MILL", "--to", &market.orchestrator(0), "--yes"]);
    market.done(&["stake", "unbond", "1 MILL", "--yes"]);
    market.done(&["stake", "rebond", "0", "--yes"]);
    assert_eq!(market.owner.delegator(market.staker).await.unwrap().stake, tokens(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn stake_moves_to_another_orchestrator_without_unbonding() {
    let market = Market::open().await;
    market.done(&["stake", "bond", "2 MILL", "--to", &market.orchestrator(0), "--yes"]);
    let text = market.done(&["stake", "move", "--to", &market.orchestrator(1), "--yes"]);
    assert!(text.contains("move 2 MILL"), "{text}");
    let account = market.owner.delegator(market.staker).await.unwrap();
    assert_eq!((account.stake, Some(account.delegate)), (tokens(2), market.orchestrators[1].address()));
    market.done(&["stake", "claim", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_says_before_what_answers_until_when_and_is_shown_until_then() {
    let market = Market::open().await;
    let (from, to) = (market.orchestrator(0), market.orchestrator(1));
    market.done(&["stake", "bond", "2 MILL", "--to", &from, "--yes"]);
    let until = 2 + UNBONDING;
    let told =
        format!("2 MILL (2000000000000000000 wei) of it answers for {from} too until round {until}, in");
    let dry = market.done(&["stake", "move", "--to", &to, "--dry-run"]);
    assert!(dry.contains(&told), "{dry}");
    let bond = market.done(&["stake", "bond", "1 MILL", "--to", &to, "--dry-run"]);
    assert!(bond.contains(&told), "{bond}");
    let value = market.json(&["stake", "move", "--to", &to, "--yes"]);
    assert_eq!(value["facts"]["answers_until_round"], until);
    let account = market.orchestrators[0].address();
    let record =
        serde_json::json!({ "from": account, "amount": tokens(2).to_string(), "until_round": until });
    assert_eq!(market.json(&["stake", "show"])["redelegation"], record);
    let text = market.done(&["stake", "show"]);
    let line =
        format!("moved     2 MILL (2000000000000000000 wei) answers for {from} too until round {until}");
    assert!(text.contains(&line), "{text}");
    market.done(&["stake", "bond", "1 MILL", "--yes"]);
    let (code, text) = market.refused(&["stake", "unbond", "all", "--yes"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 MILL (1000000000000000000 wei) is free"), "{text}");
    market.done(&["stake", "unbond", "1 MILL", "--yes"]);
    let (_, text) = market.refused(&["stake", "move", "--to", &from, "--yes"]);
    assert!(text.contains(&format!("it can move again from round {until}")), "{text}");
    market.rounds(UNBONDING).await;
    assert_eq!(market.json(&["stake", "show"])["redelegation"], Value::Null);
    market.done(&["stake", "move", "--to", &from, "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_are_set_in_percent_by_who_is_an_orchestrator() {
    let market = Market::open().await;
    let terms = ["stake", "set-terms", "--reward-cut", "2.5%", "--fee-share", "70%", "--yes"];
    let (_, text) = market.refused(&terms);
    assert!(text.contains("bond tokens to yourself first"), "{text}");
    market.done(&["stake", "bond", "3 MILL", "--to", &market.staker.to_string(), "--yes"]);
    let text = market.done(&terms);
    assert!(text.contains("you are active from round 3"), "{text}");
    let record = market.owner.orchestrator(market.staker).await.unwrap().unwrap();
    assert_eq!((record.reward_cut_ppm, record.fee_share_ppm), (25_000, 700_000));
    let (_, text) = market.refused(&["stake", "set-terms", "--reward-cut", "101%", "--fee-share", "0"]);
    assert!(text.contains("is no percentage"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_terms_earnings_and_missed_calls_and_the_estimate_follows_from_it() {
    let market = Market::open().await;
    market.orchestrators[0].reward().await.unwrap();
    market.next_round().await;
    market.orchestrators[0].reward().await.unwrap();
    market.next_round().await;
    let list = market.json(&["stake", "list", "--rounds", "10"]);
    let rows = list["orchestrators"].as_array().unwrap();
    let missed: Vec<_> = rows.iter().map(|row| row["calls_missed"].as_u64().unwrap()).collect();
    assert_eq!(missed, [0, 2]);
    assert_eq!(rows[0]["reward_cut_ppm"], 100_000);
    let units = |value: &Value| value.as_str().unwrap().parse::<U256>().unwrap();
    assert!(units(&rows[0]["tokens_per_staked_token"]) > U256::ZERO);
    assert_eq!(units(&rows[1]["tokens_per_staked_token"]), U256::ZERO);
    let text = market.done(&["stake", "list"]);
    assert!(text.contains("10%") && text.contains("50%") && text.contains(&market.orchestrator(1)), "{text}");
    let estimate = market.json(&["stake", "estimate", "10 MILL", "--with", &market.orchestrator(0)]);
    let earned = units(&estimate["orchestrators"][0]["tokens"]);
    let undiluted = units(&rows[0]["tokens_per_staked_token"]) * U256::from(10);
    assert!(earned > U256::ZERO && earned < undiluted, "{earned} of {undiluted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_shown_without_a_key() {
    let market = Market::open().await;
    std::fs::remove_file(market.dir.path().join("keystore.json")).unwrap();
    let shown = market.json(&["stake", "show", &market.orchestrator(0)]);
    assert_eq!(shown["stake"], tokens(100).to_string());
    assert_eq!(shown["terms"]["active"], true);
    let (_, text) = market.refused(&["stake", "show", "0x12"]);
    assert!(text.contains("is no address"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_to_do() {
    let market = Market::open().await;
    let to = market.orchestrator(0);
    for (arguments, part) in [
        (vec!["stake", "unbond", "1 MILL", "--yes"], "bond some with `framemill stake bond` first"),
        (vec!["stake", "bond", "11 MILL", "--to", &to, "--yes"], "get more, or bond less"),
        (vec!["stake", "bond", "1", "--to", &to, "--yes"], "write 1.5 MILL"),
        (vec!["stake", "bond", "1 MILL", "--yes"], "name an orchestrator with --to"),
        (vec!["stake", "withdraw", "7", "--yes"], "`framemill stake show` lists the locks"),
        (vec!["stake", "withdraw-fees", "--yes"], "has no fees to withdraw"),
        (vec!["wallet", "send", "1", "--to", &to, "--yes"], "has no unit"),
    ] {
        let (code, text) = market.refused(&arguments);
        assert_eq!(code, 1, "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
    let nobody = Address::repeat_byte(9).to_string();
    market.done(&["stake", "bond", "1 MILL", "--to", &to, "--yes"]);
    let (code, text) = market.refused(&["stake", "move", "--to", &nobody, "--yes"]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("is no orchestrator with stake of its own"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_away_has_an_exit_code_of_its_own() {
    let market = Market::open().await;
    market.anvil.pause().await.unwrap();
    let output = market.run(&["stake", "list"]);
    market.anvil.resume().await.unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn ether_and_tokens_are_sent_by_their_unit() {
    let market = Market::open().await;
    let to = Address::repeat_byte(7);
    market.done(&["wallet", "send", "0.2 ETH", "--to", &to.to_string(), "--yes"]);
    market.done(&["wallet", "send", "1.5 MILL", "--to", &to.to_string(), "--yes"]);
    let sent = (market.owner.balance(to).await.unwrap(), market.owner.token_balance(to).await.unwrap());
    assert_eq!(sent, (tokens(1) / U256::from(5), tokens(3) / U256::from(2)));
    let balance = market.json(&["wallet", "balance", &to.to_string()]);
    assert_eq!(balance["tokens"], "1500000000000000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn deposit_and_reserve_are_funded_and_unlocked_with_the_round_told() {
    let market = Market::open().await;
    let text = market.done(&["wallet", "fund", "--deposit", "1ETH", "--reserve", "20gwei", "--yes"]);
    assert!(text.contains("add 1 ETH (1000000000000000000 wei) to the deposit"), "{text}");
    let value = market.json(&["wallet", "unlock", "--yes"]);
    let info = market.owner.sender_info(market.staker).await.unwrap();
    assert_eq!(
        (value["facts"]["withdraw_round"].as_u64(), info.deposit),
        (Some(info.withdraw_round), tokens(1))
    );
    let (code, text) = market.refused(&["wallet", "withdraw", "--yes"]);
    assert_eq!(code, 4, "{text}");
    market.done(&["wallet", "cancel-unlock", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegator_gives_stake_to_another_one_of_its_orchestrator_only() {
    let market = Market::open().await;
    market.done(&["stake", "bond", "2 MILL", "--to", &market.orchestrator(0), "--yes"]);
    let (other, own) = (market.orchestrator(1), market.orchestrator(0));
    let (_, text) = market.refused(&["stake", "transfer", "1 MILL", "--to", &other, "--yes"]);
    assert!(text.contains("is not bonded to your orchestrator"), "{text}");
    market.done(&["stake", "transfer", "1 MILL", "--to", &own, "--yes"]);
    assert_eq!(market.owner.delegator(market.staker).await.unwrap().stake, tokens(1));
    let orchestrator = market.orchestrators[0].address().unwrap();
    assert_eq!(market.owner.delegator(orchestrator).await.unwrap().stake, tokens(101));
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_get_worse_are_told_before_they_hold() {
    let market = Market::open().await;
    let worse = Registration { reward_cut_ppm: 200_000, ..registration(tokens(100)) };
    market.orchestrators[0].register_orchestrator(&worse).await.unwrap();
    let list = market.json(&["stake", "list"]);
    let row = &list["orchestrators"][0];
    assert_eq!(
        (&row["reward_cut_ppm"], &row["next_terms"]["reward_cut_ppm"]),
        (&100_000.into(), &200_000.into())
    );
    assert!(row["next_terms"]["round"].as_u64().unwrap() > 2);
    let text = market.done(&["stake", "list"]);
    assert!(text.contains("it keeps 20% of new tokens"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_registers_where_its_configuration_says_that_it_is_reached() {
    let market = Market::open().await;
    let (_, text) = market.refused(&["stake", "set-service", "--yes"]);
    assert!(text.contains("network.external"), "{text}");
    let external = "network.external=/ip4/203.0.113.7/udp/7936/quic-v1";
    let told = market.json(&["stake", "set-service", "--yes", "--set", external]);
    let registered = market.owner.service_uris(&[market.staker]).await.unwrap().pop().unwrap();
    assert_eq!(told["facts"]["service_uri"], registered);
    assert!(registered.starts_with("/ip4/203.0.113.7/udp/7936/quic-v1/p2p/12D3Koo"), "{registered}");
    let (_, text) = market.refused(&["stake", "set-service", "203.0.113.7:7936", "--yes"]);
    assert!(text.contains("is no service address"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stake_proposes_decides_queues_and_executes() {
    let market = Market::open().await;
    let call = "FramemillGovernor setVotingPeriod(uint32) 3";
    let propose = ["governance", "propose", "--call", call, "--description", "vote longer", "--yes"];
    let (code, text) = market.refused(&propose);
    assert_eq!(code, 4, "{text}");
    market.done(&["stake", "bond", "5 MILL", "--to", &market.staker.to_string(), "--yes"]);
    market.done(&["stake", "set-terms", "--reward-cut", "0", "--fee-share", "100%", "--yes"]);
    market.next_round().await;
    market.next_round().await;
    market.done(&propose);
    let id = market.json(&["governance", "list"])["proposals"][0]["id"].as_str().unwrap().to_owned();
    market.next_round().await;
    market.next_round().await;
    let text = market.done(&["governance", "vote", &id, "for", "--yes"]);
    assert!(text.contains("all stake with you"), "{text}");
    market.rounds(3).await;
    let listed = market.json(&["governance", "list"]);
    let decided = &listed["proposals"][0];
    assert_eq!(
        (&decided["state"], &decided["votes_for"]),
        (&"succeeded".into(), &tokens(5).to_string().into())
    );
    market.done(&["governance", "queue", &id, "--yes"]);
    let (code, _) = market.refused(&["governance", "execute", &id, "--yes"]);
    assert_eq!(code, 4);
    market.anvil.dev_chain().mine_every(2, 61).await.unwrap();
    market.done(&["governance", "execute", &id, "--yes"]);
    assert_eq!(market.json(&["governance", "list"])["proposals"][0]["state"], "executed");
    let (_, text) = market.refused(&["governance", "propose", "--call", "Nobody x() ", "--description", "d"]);
    assert!(text.contains("a contract of the deployment"), "{text}");
}
