//! The dashboards of a running market in a real browser: every page in light and dark, by keyboard, under a strict policy,
//! with hostile names, and with a wallet that stakes on the real chain.

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, ensure};
use framemill::devnet::ETHER;
use framemill_contracts::{ChainClient, ChainConfig, Fault, Registration};
use framemill_network::{SignedReceipt, SigningDomain, TranscodeReceipt};
use framemill_orchestrator::court_receipt;
use framemill_tests::{BroadcasterProcess, Market, MarketPlan, cut, node_modules, synthetic, workspace};
use framemill_verification::evidence::ReceiptRecord;
use probabilistic_ticket::EthKey;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

/// Longest wait for one segment.
const PATIENCE: Duration = Duration::from_secs(180);
/// Longest wait for the browser: some twenty pages, and rounds of the chain.
const BROWSER_PATIENCE: Duration = Duration::from_secs(900);
/// Where Debian puts the browser.
const CHROMIUM: &str = "/usr/bin/chromium";
/// Seconds that are pushed, in as many segments.
const SECONDS: u32 = 14;
/// The second orchestrator's transcoder cheats from this segment of its own on.
const CHEAT_FROM: &str = "2";
/// The stream.
const STREAM: &str = "studio-1";
/// What somebody registers as its address.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
/// What the stranger holds: half more than the page proposes to bond.
const STRANGERS_TOKENS: u64 = 1_500;
/// Blocks of a round on a development chain.
const ROUND_LENGTH: u64 = 50;

/// What `dashboard.mjs` saw.
#[derive(Debug, Deserialize)]
struct Seen {
    looks: Vec<Look>,
    player: Player,
    theme: Theme,
    navigation: Navigation,
    hostile: Hostile,
    /// One by mouse and one by key.
    strangers: Vec<Stranger>,
    wallet: Wallet,
}

/// One page in one theme.
#[derive(Debug, Deserialize)]
struct Look {
    name: String,
    heading: String,
    title: String,
    text: String,
    background: String,
    /// Rules of axe that it breaks.
    accessibility: Vec<String>,
    walk: Option<Walk>,
    /// What the content policy refused.
    refused: Vec<String>,
    /// Errors and warnings of the console.
    faults: Vec<String>,
}

/// Where the focus went by Tab.
#[derive(Debug, Deserialize)]
struct Walk {
    stops: Vec<String>,
    /// Stops without an outline.
    hidden: Vec<String>,
    /// It came out of the page again.
    left: bool,
}

#[derive(Debug, Deserialize)]
struct Player {
    renditions: Vec<String>,
    width: u32,
    position: f64,
    rows: usize,
    bars: usize,
    words: String,
    refused: Vec<String>,
    faults: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Theme {
    light: String,
    dark: String,
    kept: String,
}

#[derive(Debug, Deserialize)]
struct Navigation {
    current: String,
    title: String,
}

#[derive(Debug, Deserialize)]
struct Hostile {
    /// By page, how often the name was shown.
    texts: Value,
    images: usize,
    hurt: bool,
    asked: usize,
    refused: Vec<String>,
    faults: Vec<String>,
}

/// Somebody who opens the node's address and bonds.
#[derive(Debug, Deserialize)]
struct Stranger {
    /// On the page, from its first view to the bond that was mined.
    clicks: u32,
    told: String,
    /// What was shown before anything was signed.
    plan: String,
    accessibility: Vec<String>,
    sent: Vec<Value>,
    faults: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wallet {
    other_chain: String,
    unreadable: bool,
    too_much: String,
    plan: String,
    dialog: Vec<String>,
    sent_before_agreed: usize,
    refused: String,
    too_early: bool,
    account: Value,
    sent: Vec<Value>,
    refused_by_policy: Vec<String>,
    faults: Vec<String>,
}

/// A market with a cheat, a registered account with a hostile address, a dispute, and a stream that was played.
struct Stage {
    market: Market,
    broadcaster: BroadcasterProcess,
    staker: PrivateKeySigner,
    stranger: PrivateKeySigner,
}

fn tokens(count: u64) -> U256 {
    U256::from(count) * U256::from(ETHER)
}

async fn client(market: &Market, key: &PrivateKeySigner) -> anyhow::Result<ChainClient> {
    let config = ChainConfig { rpc_url: market.anvil.endpoint().to_owned(), ..ChainConfig::default() };
    Ok(ChainClient::connect(config, market.accounts.deployment, Some(key.clone())).await?)
}

impl Stage {
    async fn set() -> anyhow::Result<Self> {
        let cheat = vec!["--cheat-from".to_owned(), CHEAT_FROM.to_owned()];
        let plan = MarketPlan { sellers: 2, transcoder_arguments: vec![(1, cheat)], ..MarketPlan::default() };
        let market = Market::start(plan).await?;
        let [owner, hostile, staker, stranger, ..] = market.anvil.keys() else {
            anyhow::bail!("anvil has too few accounts")
        };
        let (staker, stranger) = (staker.clone(), stranger.clone());
        let bank = client(&market, owner).await?;
        bank.transfer_tokens(hostile.address(), tokens(10)).await?;
        bank.transfer_tokens(staker.address(), tokens(100)).await?;
        bank.transfer_tokens(stranger.address(), tokens(STRANGERS_TOKENS)).await?;
        let registration = Registration {
            stake: tokens(10),
            reward_cut_ppm: 0,
            fee_share_ppm: 1_000_000,
            service_uri: HOSTILE.to_owned(),
            signing_key: Address::ZERO,
            redeemer: Address::ZERO,
        };
        client(&market, hostile).await?.register_orchestrator(&registration).await?;
        accuse(&market, &bank).await?;
        let settings = [
            "broadcaster.ladder=144:150k,96:80k",
            "broadcaster.segment_ms=1000",
            "broadcaster.verification=full",
        ];
        let broadcaster = market.start_broadcaster(&settings.map(str::to_owned)).await?;
        Ok(Self { market, broadcaster, staker, stranger })
    }

    /// Pushes the stream; it stays open, as a live one does between two segments.
    async fn play(&self) -> anyhow::Result<()> {
        let client = Client::builder().timeout(PATIENCE).build()?;
        for segment in cut(&synthetic(256, 144, SECONDS), 1) {
            let url = self.broadcaster.push_url(STREAM, segment.sequence);
            let answer = client.put(url).body(segment.data.clone()).send().await?;
            ensure!(answer.status().is_success(), "segment {}: {}", segment.sequence, answer.text().await?);
        }
        Ok(())
    }

    async fn drive(&self, out: &Path) -> anyhow::Result<Seen> {
        let modules = node_modules().context("no npm packages: run scripts/setup browser")?;
        ensure!(Path::new(CHROMIUM).is_file(), "no {CHROMIUM}: run scripts/setup browser");
        let seller = &self.market.accounts.sellers[0];
        let stage = json!({
            "modules": modules,
            "chromium": CHROMIUM,
            "out": out,
            "broadcaster": self.broadcaster.http,
            "orchestrator": seller.http,
            "transcoder": seller.transcoder_http,
            "stream": STREAM,
            "rpc": self.market.anvil.endpoint(),
            "account": self.staker.address(),
            "stranger": self.stranger.address(),
            "delegate": seller.orchestrator.address,
            "round_length": ROUND_LENGTH,
        });
        let command = Command::new("node")
            .arg(workspace().join("tests/browser/dashboard.mjs"))
            .arg(stage.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output =
            tokio::time::timeout(BROWSER_PATIENCE, command).await.context("the browser does not end")??;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Opens a dispute about a receipt that the cheat has signed.
async fn accuse(market: &Market, challenger: &ChainClient) -> anyhow::Result<()> {
    let deployment = market.accounts.deployment;
    let domain = SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller };
    let accused = &market.accounts.sellers[1].orchestrator;
    let receipt = TranscodeReceipt {
        session: B256::repeat_byte(1),
        sequence: 1,
        source_hash: B256::repeat_byte(2),
        ladder_hash: B256::repeat_byte(3),
        renditions_root: B256::repeat_byte(4),
        pixels: 1,
        round: u32::try_from(challenger.round_info().await?.last_initialized)?,
    };
    let signature = EthKey::from_bytes(&accused.key.to_bytes())?.sign_digest(receipt.signing_hash(&domain)).0;
    let receipt = court_receipt(&ReceiptRecord::from(&SignedReceipt { receipt, signature }));
    challenger
        .open_dispute(accused.address, Fault::FalseFeatures, &[receipt], &[B256::repeat_byte(5)])
        .await?;
    Ok(())
}

fn assert_looks_well(look: &Look) {
    assert_eq!(look.faults, [""; 0], "{}", look.name);
    assert_eq!(look.refused, [""; 0], "{}", look.name);
    assert_eq!(look.accessibility, [""; 0], "{}", look.name);
    assert!(look.title.starts_with(&look.heading), "{look:?}");
    let Some(walk) = &look.walk else { return };
    assert!(walk.left, "the focus is caught: {look:?}");
    assert_eq!(walk.hidden, [""; 0], "no outline: {look:?}");
    assert!(walk.stops[0].starts_with("a Skip"), "{look:?}");
    let different: BTreeSet<_> = walk.stops.iter().collect();
    assert!(different.iter().any(|stop| stop.starts_with("select")), "{look:?}");
    assert!(
        walk.stops.iter().any(|stop| stop.contains("licences")),
        "the walk goes to the page's end: {look:?}"
    );
}

/// The page, light and dark.
fn page<'a>(looks: &'a [Look], name: &str) -> &'a Look {
    let [light, dark] =
        ["light", "dark"].map(|theme| looks.iter().find(|look| look.name == format!("{name}-{theme}")));
    let (light, dark) = (light.expect("a light look"), dark.expect("a dark look"));
    assert_ne!(light.background, dark.background, "{name}");
    light
}

fn assert_says(look: &Look, words: &[&str]) {
    for word in words {
        let found = look.text.to_lowercase().contains(&word.to_lowercase());
        assert!(found, "{} does not say {word:?}: {}", look.name, look.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_tells_what_its_node_knows_and_a_wallet_stakes_through_it() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    stage.play().await?;
    let out = workspace().join("target/dashboard");
    let seen = stage.drive(&out).await?;
    let cheat = stage.market.accounts.sellers[1].orchestrator.address.to_string();
    let honest = stage.market.accounts.sellers[0].orchestrator.address.to_string();

    seen.looks.iter().for_each(assert_looks_well);
    assert_says(page(&seen.looks, "broadcaster-streams"), &[STREAM, "rejected", &cheat]);
    assert_says(page(&seen.looks, "broadcaster-stream"), &["144p", "every frame", "pass", "refused", "PSNR"]);
    assert_says(page(&seen.looks, "broadcaster-orchestrators"), &[&cheat, &honest, "barred", "good"]);
    assert_says(page(&seen.looks, "broadcaster-stake"), &[HOSTILE, &honest, "MILL"]);
    assert_says(page(&seen.looks, "broadcaster-disputes"), &[&cheat, "false features", "before its jury"]);
    assert_says(page(&seen.looks, "orchestrator-work"), &["transcoder-1", "connected", "delivered"]);
    assert_says(page(&seen.looks, "orchestrator-earnings"), &["paid", "ETH"]);
    assert_says(page(&seen.looks, "transcoder-work"), &["software", "connected"]);

    assert_eq!(seen.player.renditions.len(), 3, "automatic and the ladder: {:?}", seen.player);
    assert!(seen.player.width > 0 && seen.player.position > 0.5, "{:?}", seen.player);
    assert_eq!(seen.player.rows, SECONDS as usize, "{:?}", seen.player);
    assert!(
        seen.player.bars >= SECONDS as usize && seen.player.words.contains("None was lost"),
        "{:?}",
        seen.player
    );
    assert!(seen.player.faults.is_empty() && seen.player.refused.is_empty(), "{:?}", seen.player);

    let Theme { light, dark, kept } = &seen.theme;
    assert!(light != dark && dark == kept, "{:?}", seen.theme);
    assert_eq!(seen.navigation.current, "Orchestrators");
    assert!(seen.navigation.title.starts_with("Orchestrators"), "{:?}", seen.navigation);
    assert_hostile_names_are_text(&seen.hostile);
    assert_three_clicks_stake(&seen.strangers);
    assert_stakes(&seen.wallet, &honest);
    assert_chain_agrees(&stage, &honest).await
}

fn assert_hostile_names_are_text(hostile: &Hostile) {
    assert!(!hostile.hurt && hostile.images == 0, "{hostile:?}");
    for page in ["streams", "stream", "orchestrators"] {
        assert!(hostile.texts[page].as_u64().is_some_and(|times| times > 1), "{page}: {hostile:?}");
    }
    assert!(hostile.faults.is_empty() && hostile.refused.is_empty(), "{hostile:?}");
    assert!((2..60).contains(&hostile.asked), "it asks again, and not in haste: {hostile:?}");
}

/// The second bond takes what the first one left.
fn assert_three_clicks_stake(strangers: &[Stranger]) {
    for (stranger, bonded) in strangers.iter().zip(["bond 1,000 MILL to 0x", "bond 500 MILL to 0x"]) {
        assert!(stranger.clicks <= 3, "{stranger:?}");
        assert!(stranger.told.starts_with(&format!("done: {bonded}")), "{stranger:?}");
        for word in [bonded, "slashed", "allow the staking contract to take", "in its own window"] {
            assert!(stranger.plan.contains(word), "{word}: {stranger:?}");
        }
        assert_eq!(stranger.accessibility, [""; 0], "{stranger:?}");
        assert_eq!(stranger.faults, [""; 0], "{stranger:?}");
        assert_eq!(stranger.sent.len(), 2, "one approval and one bond: {stranger:?}");
    }
    assert_eq!(strangers.len(), 2);
}

fn assert_stakes(wallet: &Wallet, honest: &str) {
    assert!(wallet.other_chain.contains("chain 1 "), "{wallet:?}");
    assert!(wallet.unreadable && wallet.too_early, "{wallet:?}");
    assert!(wallet.too_much.contains("100 MILL are there"), "{wallet:?}");
    for word in ["bond 25.5 MILL", honest, "slashed", "allow the staking contract to take 25.5 MILL"] {
        assert!(wallet.plan.to_lowercase().contains(&word.to_lowercase()), "{word}: {wallet:?}");
    }
    assert_eq!(wallet.sent_before_agreed, 0);
    assert!(wallet.refused.contains("owner refused"), "{wallet:?}");
    assert_eq!(wallet.dialog, [""; 0]);
    // Allow, bond, unbond, claim, withdraw.
    assert_eq!(wallet.sent.len(), 5, "{wallet:?}");
    assert!(wallet.faults.is_empty() && wallet.refused_by_policy.is_empty(), "{wallet:?}");
    assert_eq!(wallet.account["held"], json!(tokens(80).to_string()), "{wallet:?}");
    assert_eq!(wallet.account["delegate"], json!(honest.to_lowercase()), "{wallet:?}");
}

/// What the page says is what the chain says, and nothing more was allowed than was bonded.
async fn assert_chain_agrees(stage: &Stage, honest: &str) -> anyhow::Result<()> {
    let chain = stage.market.chain().await?;
    let account = stage.staker.address();
    let stands = chain.delegator(account).await?;
    assert_eq!(stands.delegate.to_string(), honest);
    // What does not divide stays with the pool.
    assert!(stands.stake + U256::from(1) >= tokens(20), "{stands:?}");
    assert_eq!(chain.token_balance(account).await?, tokens(80));
    assert_eq!(chain.locks(account).await?, []);
    let stranger = chain.delegator(stage.stranger.address()).await?;
    assert!(stranger.stake + U256::from(2) >= tokens(STRANGERS_TOKENS), "{stranger:?}");
    let sellers = &stage.market.accounts.sellers;
    assert!(sellers.iter().any(|seller| seller.orchestrator.address == stranger.delegate), "{stranger:?}");
    Ok(())
}
