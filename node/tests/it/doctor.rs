//! The doctor, on machines that have what a role needs and on machines that lack it.

use std::{net::TcpListener, os::unix::fs::PermissionsExt as _, path::Path};

use alloy_primitives::Address;
use axum::{Router, http::StatusCode};
use framemill::{
    dashboard::{Role, Shown, guard::Hosts},
    http,
};
use framemill_contracts::Deployment;
use framemill_network::{Identity, Network, NetworkConfig, PeerId, RelayLimits, WireCode, WireError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{framemill, market::Market, stdout};

/// What a doctor's run came to.
struct Findings {
    code: Option<i32>,
    all: Vec<Value>,
}

impl Findings {
    fn of(output: &std::process::Output) -> Self {
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(told["ok"] == true, output.status.success(), "{told}");
        Self { code: output.status.code(), all: told["findings"].as_array().unwrap().clone() }
    }

    /// Level and words of what was found of one thing; the gravest where there are several.
    fn about(&self, check: &str) -> (&str, &str) {
        let mut found: Vec<_> = self.all.iter().filter(|finding| finding["check"] == check).collect();
        found.sort_by_key(|finding| {
            ["fail", "warn", "ok"].iter().position(|level| finding["level"] == *level)
        });
        let first = found.first().unwrap_or_else(|| panic!("nothing of {check} in {:#?}", self.all));
        assert_eq!(first["level"] == "ok", first["remedy"].is_null(), "{first}");
        (first["level"].as_str().unwrap(), first["found"].as_str().unwrap())
    }

    #[track_caller]
    fn assert_fails(&self, check: &str, words: &str) {
        let (level, found) = self.about(check);
        assert!(level == "fail" && found.contains(words), "{check}: {level}, {found}");
        assert_eq!(self.code, Some(1));
    }
}

fn doctor(arguments: &[&str], settings: &[(&str, &str)]) -> Findings {
    let mut command = framemill(&[&["doctor", "--json"], arguments].concat());
    for (key, value) in settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    Findings::of(&command.output().unwrap())
}

/// The doctor's findings about the staker of a market as a broadcaster.
fn of_broadcaster(market: &Market, settings: &[(&str, &str)]) -> Findings {
    let output = market.dir.path().join("hls").display().to_string();
    let own = [("broadcaster.ingest", "127.0.0.1:0"), ("broadcaster.output", output.as_str())];
    let set: Vec<_> = own.iter().chain(settings).map(|(key, value)| format!("{key}={value}")).collect();
    let mut arguments = vec!["doctor", "broadcaster", "--json"];
    set.iter().for_each(|set| arguments.extend(["--set", set]));
    Findings::of(&market.run(&arguments))
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_broadcaster_lacks_a_deposit_until_it_has_one() {
    let market = Market::open().await;
    let found = of_broadcaster(&market, &[]);
    found.assert_fails("deposit", "no ticket can be paid");
    market.done(&["wallet", "fund", "--deposit", "1ETH", "--reserve", "0.1ETH", "--yes"]);
    let found = of_broadcaster(&market, &[]);
    for check in ["configuration", "key", "ledger", "chain", "contracts", "gas", "deposit"] {
        assert_eq!(found.about(check).0, "ok", "{check}: {:#?}", found.all);
    }
}

#[tokio::test]
async fn every_fault_of_chain_and_key_fails_its_own_check() {
    let market = Market::open().await;
    let dir = market.dir.path();
    let (file, right) = (dir.join("deployment.json"), *market.owner.deployment());
    Deployment { chain_id: 1, ..right }.save(&file).unwrap();
    of_broadcaster(&market, &[]).assert_fails("chain", "the deployment is on chain 1");
    Deployment { ticket_broker: Address::repeat_byte(0xff), ..right }.save(&file).unwrap();
    of_broadcaster(&market, &[]).assert_fails("contracts", "TicketBroker");
    right.save(&file).unwrap();
    of_broadcaster(&market, &[("chain.rpc", "http://127.0.0.1:1")]).assert_fails("chain", "did not answer");

    mode(&dir.join("keystore.json"), 0o644);
    of_broadcaster(&market, &[]).assert_fails("key", "lets others read it");
    mode(&dir.join("keystore.json"), 0o600);
    std::fs::write(dir.join("password"), "wrong horse\n").unwrap();
    of_broadcaster(&market, &[]).assert_fails("key", "is the password right?");
    std::fs::remove_file(dir.join("keystore.json")).unwrap();
    of_broadcaster(&market, &[]).assert_fails("key", "there is no key at");
}

#[tokio::test]
async fn an_account_that_is_not_registered_fails_as_an_orchestrator() {
    let market = Market::open().await;
    let listen = "network.listen=/ip4/127.0.0.1/tcp/0";
    let found = Findings::of(&market.run(&["doctor", "orchestrator", "--json", "--set", listen]));
    found.assert_fails("stake", "not registered");
    assert_eq!(found.about("network.external").0, "warn", "a loopback address reaches nobody");
}

#[test]
fn a_wrong_setting_is_told_with_its_hint_and_nothing_else_is_looked_at() {
    let found = doctor(&[], &[("orchestrator.prize_wei", "1")]);
    found.assert_fails("configuration", "did you mean orchestrator.price_wei?");
    assert_eq!(found.all.len(), 1, "{:#?}", found.all);
    doctor(&[], &[]).assert_fails("roles", "nothing of any role");
}

#[test]
fn a_folder_that_cannot_be_written_to_fails() {
    let found =
        doctor(&["broadcaster"], &[("data_dir", "/proc/framemill"), ("broadcaster.ingest", "127.0.0.1:0")]);
    found.assert_fails("data_dir", "/proc cannot be written to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_fails_unless_this_node_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let settings = [("data_dir", data.as_str()), ("http.listen", &taken), ("broadcaster.ingest", &taken)];
    let found = doctor(&["broadcaster"], &settings);
    found.assert_fails("http.listen", "in use by another program");
    found.assert_fails("broadcaster.ingest", "in use by another program");

    let stop = CancellationToken::new();
    let shown = Shown::new(Role::Broadcaster, "test", stop.clone());
    let node = http::serve_node("127.0.0.1:0", shown, Hosts::new(&[])).await.unwrap();
    let own = node.address.to_string();
    let settings = [("data_dir", data.as_str()), ("http.listen", &own), ("broadcaster.ingest", &taken)];
    let found = doctor(&["broadcaster"], &settings);
    assert_eq!(found.about("http.listen").0, "ok");
    assert_eq!(found.about("broadcaster.ingest").0, "ok");
    stop.cancel();
}

/// The doctor's findings about a broadcaster with a bucket at `endpoint`, whose key is in a file of these rights.
fn of_bucket(endpoint: &str, rights: u32) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name).display().to_string();
    let (data, output, key) = (path("data"), path("hls"), path("s3-credentials"));
    std::fs::write(&key, "aws_access_key_id = AKID\naws_secret_access_key = secret\n").unwrap();
    mode(Path::new(&key), rights);
    let settings = [
        ("data_dir", data.as_str()),
        ("broadcaster.ingest", "127.0.0.1:0"),
        ("broadcaster.output", &output),
        ("broadcaster.s3_bucket", "tv"),
        ("broadcaster.s3_endpoint", endpoint),
        ("broadcaster.s3_credentials_file", &key),
    ];
    doctor(&["broadcaster"], &settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_asked_whether_it_can_be_written_to() {
    let stop = CancellationToken::new();
    for (status, level, words) in
        [(StatusCode::OK, "ok", "s3://tv can be written to"), (StatusCode::FORBIDDEN, "fail", "refuses")]
    {
        let answers = Router::new().fallback(move || async move { (status, [("etag", "\"1\"")]) });
        let server = http::serve("127.0.0.1:0", answers, stop.clone()).await.unwrap();
        let found = of_bucket(&format!("http://{}", server.address), 0o600);
        let (told, text) = found.about("broadcaster.s3_bucket");
        assert!(told == level && text.contains(words), "{told}: {text}");
    }
    stop.cancel();
}

#[test]
fn a_bucket_that_is_away_is_to_look_at() {
    let found = of_bucket("http://127.0.0.1:1", 0o600);
    let (level, text) = found.about("broadcaster.s3_bucket");
    assert!(level == "warn" && text.contains("cannot be reached now"), "{level}: {text}");
}

#[test]
fn the_key_of_a_bucket_that_others_may_read_is_not_used() {
    of_bucket("http://127.0.0.1:1", 0o644).assert_fails("broadcaster.s3_bucket", "lets others read it");
}

#[test]
fn a_transcoder_transcodes_for_real_and_misses_its_orchestrator() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a secret of thirty-two characters").unwrap();
    mode(&token, 0o600);
    let peer = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGrxL4x8eXgZEfzBo2iDkoTBKmqpTYpVUeyqeD8gjmnSo";
    let (data, token) = (folder.path().display().to_string(), token.display().to_string());
    let settings = [
        ("data_dir", data.as_str()),
        ("transcoder.orchestrator", peer),
        ("transcoder.token_file", token.as_str()),
        ("transcoder.engine", "software"),
    ];
    let found = doctor(&[], &settings);
    found.assert_fails("orchestrator", "cannot reach peer");
    assert!(found.about("engine software").1.contains("of 720p to three renditions in"), "{:#?}", found.all);
}

#[test]
fn people_read_a_line_and_a_remedy_for_each_check() {
    let output = framemill(&["doctor", "broadcaster", "--set", "data_dir=/proc/framemill"]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("FAIL  data_dir: /proc cannot be written to"), "{text}");
    assert!(text.contains("-> let the user that runs framemill write to /proc, or set data_dir"), "{text}");
    assert!(text.trim_end().lines().last().unwrap().contains("failed"), "{text}");
}

/// A port of the loopback interface that nobody has.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tcp(port: u16) -> String {
    format!("/ip4/127.0.0.1/tcp/{port}")
}

/// A node of the network that listens here.
async fn node(config: NetworkConfig) -> Network {
    let listen = vec![tcp(0).parse().unwrap()];
    Network::start(NetworkConfig { listen, ..config }).await.unwrap()
}

async fn stranger() -> Network {
    node(NetworkConfig::new(Identity::generate())).await
}

fn address(node: &Network) -> String {
    node.listen_addresses()[0].to_string()
}

/// The doctor's findings about an orchestrator without a chain.
async fn of_orchestrator(data: &Path, settings: &[(&str, &str)]) -> Findings {
    let settings: Vec<_> = [("data_dir", data.to_str().unwrap())]
        .iter()
        .chain(settings)
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let run = move || {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        doctor(&["orchestrator"], &settings)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_called_before_the_node_is_started_and_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let listen = tcp(free_port());
    let found = of_orchestrator(folder.path(), &[("network.listen", &listen)]).await;
    let (level, text) = found.about("network.external");
    assert!(level == "warn" && text.ends_with("it answers"), "a loopback address, and open: {text}");
    assert!(!folder.path().join("identity").exists(), "it makes no key");

    let identity = Identity::load_or_create(&folder.path().join("identity")).unwrap();
    let runs = NetworkConfig { listen: vec![listen.parse().unwrap()], ..NetworkConfig::new(identity) };
    let runs = Network::start(runs).await.unwrap();
    let mut quotes = runs.serve_quotes(1).unwrap();
    let settings = [("network.listen", listen.as_str())];
    let asked = async {
        while let Some(asked) = quotes.next().await {
            asked.respond(Err(WireError::new(WireCode::PriceTooLow, "not for nothing")));
        }
    };
    let found = tokio::select! {
        found = of_orchestrator(folder.path(), &settings) => found,
        () = asked => panic!("the node ends"),
    };
    let (level, text) = found.about("network.external");
    assert!(level == "warn" && text.ends_with("it answers"), "{text}");
    assert_eq!(found.about("quotes").0, "ok", "{:#?}", found.all);

    drop(quotes);
    let found = of_orchestrator(folder.path(), &settings).await;
    found.assert_fails("quotes", "does not serve");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_another_node_with_nothing_or_with_silence_fails() {
    let folder = tempfile::tempdir().unwrap();
    let other = stranger().await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silence = tcp(silent.local_addr().unwrap().port());
    let (taken, closed, listen) = (address(&other), tcp(free_port()), tcp(0));
    for (external, words) in [
        (&taken, other.peer_id().to_string()),
        (&closed, "refused".to_owned()),
        (&silence, "nothing was said within".to_owned()),
    ] {
        let settings = [("network.listen", listen.as_str()), ("network.external", external)];
        of_orchestrator(folder.path(), &settings).await.assert_fails("network.external", &words);
    }
}

#[tokio::test]
async fn a_node_that_listens_nowhere_or_knows_nobody_fails() {
    let folder = tempfile::tempdir().unwrap();
    let found = of_orchestrator(folder.path(), &[("network.listen", "")]).await;
    found.assert_fails("network.listen", "nobody reaches it");
    let (data, output) =
        (folder.path().display().to_string(), folder.path().join("hls").display().to_string());
    let settings =
        [("data_dir", data.as_str()), ("broadcaster.ingest", "127.0.0.1:0"), ("broadcaster.output", &output)];
    doctor(&["broadcaster"], &settings).assert_fails("orchestrators", "none is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_peer_of_the_configuration_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let (near, other) = (stranger().await, stranger().await);
    let gone = format!("{}/p2p/{}", tcp(free_port()), PeerId::random());
    let changed = format!("{}/p2p/{}", address(&other), PeerId::random());
    let there = near.service_address().unwrap().to_string();
    let list = |nodes: &[&String]| nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(",");
    let listen = tcp(0);
    let settings =
        |key, nodes: &[&String]| [("network.listen".to_owned(), listen.clone()), (key, list(nodes))];
    let run = async |settings: [(String, String); 2]| {
        let settings = settings.each_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        of_orchestrator(folder.path(), &settings).await
    };
    let told = |found: &Findings, check: &str| {
        let lines = found.all.iter().filter(|finding| finding["check"] == check);
        lines.map(|line| (line["level"].to_string(), line["found"].to_string())).collect::<Vec<_>>()
    };

    let found = run(settings("network.bootstrap".to_owned(), &[&there, &gone, &changed])).await;
    let lines = told(&found, "network.bootstrap");
    let levels: Vec<_> = lines.iter().map(|(level, _)| level.as_str()).collect();
    assert_eq!(levels, ["\"ok\"", "\"warn\"", "\"warn\""], "{lines:?}");
    assert!(lines[0].1.contains("ms away") && lines[1].1.contains("refused"), "{lines:?}");
    assert!(lines[2].1.contains(&format!("answered by {}", other.peer_id())), "{lines:?}");

    // One relay that answers will do, and without any nobody comes.
    let found = run(settings("network.relays".to_owned(), &[&there, &gone])).await;
    assert_eq!(found.about("network.relays").0, "warn", "{:#?}", found.all);
    run(settings("network.relays".to_owned(), &[&gone])).await.assert_fails("network.relays", "refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_offers_it_tells_whether_this_node_can_be_called() {
    let folder = tempfile::tempdir().unwrap();
    let relay_server = Some(RelayLimits::default());
    let relay = node(NetworkConfig { relay_server, ..NetworkConfig::new(Identity::generate()) }).await;
    let bootstrap = relay.service_address().unwrap().to_string();
    let settings = [("network.listen", "/ip4/0.0.0.0/tcp/0"), ("network.bootstrap", bootstrap.as_str())];
    let found = of_orchestrator(folder.path(), &settings).await;
    let (level, text) = found.about("nat");
    assert!(level == "ok" && text.contains("calls this node back at /ip4/127.0.0.1/tcp/"), "{level}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orchestrators_of_the_chain_are_called_where_they_have_registered() {
    let market = Market::open().await;
    of_broadcaster(&market, &[]).assert_fails("orchestrators", "0 of 2 that were called answer");
    let seller = stranger().await;
    let registered = seller.service_address().unwrap().to_string();
    market.orchestrators[0].set_service(&registered, Address::ZERO).await.unwrap();
    let found = of_broadcaster(&market, &[]);
    let (level, text) = found.about("orchestrators");
    assert!(level == "warn" && text.contains("1 of 2 that were called answer"), "{level}: {text}");
    assert!(text.contains(&market.orchestrator(1)), "who does not answer is named: {text}");
}
