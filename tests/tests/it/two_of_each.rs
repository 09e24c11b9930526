//! Two orchestrators with one key behind a balancer and two broadcasters with one account and one bucket, each pair over one ledger:
//! either of each may die, and nothing is lost or counted twice.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill::process::Process;
use framemill_network::ServiceAddress;
use framemill_tests::{
    Balancer, BroadcasterProcess, Market, MarketPlan, binary, cut, free_address, playlist_entries,
    postgres::{self, Server},
    synthetic,
};
use reqwest::{Client, StatusCode};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{bucket, seaweed};

/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// A process that shares its account and its ledger with another one.
struct Twin {
    process: Process,
    http: String,
    listens: SocketAddr,
}

/// The market's only seller as two processes: same key, same peer, same ledger, folders of their own.
struct Sellers {
    twins: [Twin; 2],
    _workers: [Process; 2],
    balancer: Balancer,
}

impl Sellers {
    /// Takes the place of the one process that the market has started, at its registered address.
    async fn start(market: &mut Market) -> anyhow::Result<Self> {
        let service = market.tcp_service(0).await?;
        let front = tcp(&service.addresses()[0].to_string()).context("a TCP address is registered")?;
        for process in [&mut market.transcoders[0], &mut market.orchestrators[0]] {
            process.take().context("it runs")?.stop().await;
        }
        let ports = || anyhow::Ok((free_address()?, free_address()?.parse()?));
        let first = twin(market, 0, &service, ports()?)?;
        let second = twin(market, 1, &service, ports()?)?;
        let balancer = Balancer::start(front, vec![first.listens, second.listens]).await?;
        let peer = service.peer();
        let worker = async |number: usize, twin: &Twin| {
            let at = format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", twin.listens.port());
            worker(market, number, &at).await
        };
        let workers = [worker(0, &first).await?, worker(1, &second).await?];
        let mut twins = [first, second];
        for twin in &mut twins {
            twin.process.ready(&twin.http).await?;
        }
        Ok(Self { twins, _workers: workers, balancer })
    }
}

/// The port of `/ip4/127.0.0.1/tcp/PORT`.
fn tcp(address: &str) -> Option<SocketAddr> {
    let port = address.split("/tcp/").nth(1)?.split('/').next()?.parse().ok()?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A folder like `data` for one more process of its account: its keys, and nothing of what it did.
fn folder_like(data: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = data.with_file_name(name);
    if !folder.exists() {
        std::fs::create_dir(&folder)?;
        for file in ["identity", "keystore.json"] {
            let from = data.join(file);
            if from.exists() {
                std::fs::copy(from, folder.join(file))?;
            }
        }
    }
    Ok(folder)
}

/// Starts one of the two (again); `service` is where both are found.
fn twin(
    market: &Market,
    number: usize,
    service: &ServiceAddress,
    (http, listens): (String, SocketAddr),
) -> anyhow::Result<Twin> {
    let member = &market.accounts.sellers[0].orchestrator;
    let name = format!("orchestrator-{}", ["a", "b"][number]);
    let settings = [
        format!("data_dir={}", folder_like(&member.data, &name)?.display()),
        format!("http.listen={http}"),
        format!("network.listen=/ip4/127.0.0.1/tcp/{}", listens.port()),
        format!("network.external={}", service.addresses()[0]),
    ];
    let mut arguments = vec!["orchestrator"];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let process = market.launcher.start(&name, &arguments, &member.config)?;
    Ok(Twin { process, http, listens })
}

async fn worker(market: &Market, number: usize, orchestrator: &str) -> anyhow::Result<Process> {
    let name = format!("transcoder-{}", ["a", "b"][number]);
    let http = free_address()?;
    let settings = [
        format!("transcoder.orchestrator={orchestrator}"),
        format!("http.listen={http}"),
        format!("data_dir={}", market.path(&name).display()),
    ];
    let mut arguments = vec!["transcoder"];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let config = &market.accounts.sellers[0].transcoder_config;
    let mut process = market.launcher.start(&name, &arguments, config)?;
    process.ready(&http).await?;
    Ok(process)
}

/// A broadcaster of the market's account, with folders of its own; it publishes to this bucket as well.
async fn broadcaster(
    market: &Market,
    bucket: &seaweed::Server,
    name: &str,
) -> anyhow::Result<BroadcasterProcess> {
    let member = &market.accounts.broadcaster;
    let mut settings = bucket::settings(bucket, &market.path("market"), seaweed::SECRET)?;
    settings.extend([
        format!("data_dir={}", folder_like(&member.data, name)?.display()),
        format!("broadcaster.output={}", published(market, name).display()),
        "broadcaster.ladder=72:80k".to_owned(),
    ]);
    market.start_broadcaster(&settings).await
}

/// The folder that a broadcaster publishes to.
fn published(market: &Market, name: &str) -> PathBuf {
    market.path(&format!("{name}-hls"))
}

/// Pushes one segment and wants it published.
async fn push(
    client: &Client,
    to: &BroadcasterProcess,
    stream: &str,
    (sequence, data): (u64, &Bytes),
) -> anyhow::Result<()> {
    let request = client
        .put(to.push_url(stream, sequence))
        .header("Content-Resolution", "160x90")
        .header("Content-Duration", "1000")
        .body(data.clone());
    let answer = request.send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status == StatusCode::OK, "segment {sequence} of {stream}: {status} {text}");
    Ok(())
}

/// What a metric says, summed over its labels.
async fn metric(client: &Client, http: &str, name: &str) -> anyhow::Result<f64> {
    let page = client.get(format!("http://{http}/metrics")).send().await?.text().await?;
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<f64>()?)).sum()
}

/// `framemill tickets audit` over the shared ledger.
async fn audit(config: &Path) -> anyhow::Result<String> {
    let audit = Command::new(binary())
        .args(["tickets", "audit", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .await?;
    let told = String::from_utf8_lossy(&audit.stdout).into_owned();
    ensure!(audit.status.success(), "{told}{}", String::from_utf8_lossy(&audit.stderr));
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_orchestrators_and_one_of_two_broadcasters_die_and_nothing_is_lost() -> anyhow::Result<()>
{
    let server = Server::start();
    let mut plan = MarketPlan::default();
    plan.settings.push(("ledger", postgres::address(server.folder(), "postgres")));
    let mut market = Market::start(plan).await?;
    let mut sellers = Sellers::start(&mut market).await?;
    let bucket = seaweed::Server::start().await;
    let mut first = broadcaster(&market, &bucket, "broadcaster-a").await?;
    let mut second = broadcaster(&market, &bucket, "broadcaster-b").await?;
    let client = Client::builder().timeout(PATIENCE).build()?;
    let source: Vec<Bytes> =
        cut(&synthetic(160, 90, 12), 1).into_iter().map(|segment| segment.data).collect();
    ensure!(source.len() >= 12, "{} segments", source.len());

    let each = |range: std::ops::Range<usize>| range.map(|place| (place as u64, &source[place]));
    for segment in each(0..3) {
        push(&client, &first, "one", segment).await?;
        push(&client, &second, "two", segment).await?;
    }
    sellers.twins[0].process.kill().await?;
    for segment in each(3..6) {
        push(&client, &first, "one", segment).await.context("with one orchestrator")?;
        push(&client, &second, "two", segment).await.context("with one orchestrator")?;
    }
    let adopted =
        metric(&client, &sellers.twins[1].http, "framemill_orchestrator_sessions_adopted_total").await?;
    assert!(adopted >= 1.0, "the second orchestrator goes on with a session of the first");

    let service = market.tcp_service(0).await?;
    let ports = (sellers.twins[0].http.clone(), sellers.twins[0].listens);
    sellers.twins[0] = twin(&market, 0, &service, ports)?;
    wait_until_in_bucket(&bucket, "one", 5).await?;
    first.process.kill().await?;
    for segment in each(6..9) {
        push(&client, &second, "one", segment).await.context("with one broadcaster")?;
        push(&client, &second, "two", segment).await.context("with one broadcaster")?;
    }
    sellers.twins[1].process.kill().await?;
    let restarted = &mut sellers.twins[0];
    restarted.process.ready(&restarted.http).await?;
    for segment in each(9..12) {
        push(&client, &second, "two", segment).await.context("with the orchestrator that was restarted")?;
    }
    assert!(sellers.balancer.is_up());

    let config = market.accounts.sellers[0].orchestrator.config.clone();
    wait_until_nothing_is_owed(&config).await?;
    let paid = market.redeemed().await?;
    ensure!(!paid.is_empty(), "no ticket won: the run proves nothing");
    let places: BTreeSet<_> = paid.iter().map(|ticket| (ticket.lane, ticket.nonce)).collect();
    assert_eq!(places.len(), paid.len(), "a ticket was paid twice");
    println!("{} winners paid once; {}", paid.len(), audit(&config).await?.trim());

    wait_until_in_bucket(&bucket, "one", 8).await?;
    wait_until_in_bucket(&bucket, "two", 11).await?;
    let ended = second.process.terminate().await?;
    ensure!(ended.success(), "{ended}: {}", second.process.log());
    assert_all_is_in_bucket(&market, &bucket).await
}

/// Waits until a segment is in the bucket, where it comes by itself after it was published.
async fn wait_until_in_bucket(bucket: &seaweed::Server, stream: &str, sequence: u64) -> anyhow::Result<()> {
    let path = format!("{}/{stream}/72p/{sequence}.ts", bucket::PREFIX);
    let end = Instant::now() + PATIENCE;
    while !bucket.get(&path).await.status().is_success() {
        ensure!(Instant::now() < end, "{path} is not in the bucket");
        sleep(LOOK).await;
    }
    Ok(())
}

/// The bucket holds every segment of both, and the playlists of the one that has the streams now.
async fn assert_all_is_in_bucket(market: &Market, bucket: &seaweed::Server) -> anyhow::Result<()> {
    let dead = published(market, "broadcaster-a");
    let mut segments = bucket::files(&dead)?;
    segments.retain(|file| file.extension().is_some_and(|extension| extension == "ts"));
    assert_eq!(segments.len(), 6, "{segments:?}");
    bucket::assert_in_bucket(bucket, &dead, &segments).await?;
    let alive = published(market, "broadcaster-b");
    bucket::assert_in_bucket(bucket, &alive, &bucket::files(&alive)?).await?;
    for (stream, numbers) in [("one", 6..9), ("two", 0..12)] {
        let recording = bucket.read(&format!("{}/{stream}/72p/vod.m3u8", bucket::PREFIX)).await;
        let whole: Vec<_> = numbers.map(|number| format!("{number}.ts")).collect();
        assert_eq!(playlist_entries(&recording), whole, "{stream}: {recording}");
    }
    // Players of the stream that has moved are not sent back.
    let live = bucket.read(&format!("{}/one/72p/index.m3u8", bucket::PREFIX)).await;
    assert!(live.contains("#EXT-X-MEDIA-SEQUENCE:6\n"), "{live}");
    Ok(())
}

/// Waits until every winner in the ledger is paid.
async fn wait_until_nothing_is_owed(config: &Path) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let export = Command::new(binary())
            .args(["tickets", "export", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .await?;
        let told = String::from_utf8_lossy(&export.stdout).into_owned();
        ensure!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let owed = told.lines().any(|line| line.contains("\"pending\"") || line.contains("\"submitted\""));
        if !owed {
            return Ok(());
        }
        ensure!(Instant::now() < end, "winners are still owed: {told}");
        sleep(LOOK).await;
    }
}
