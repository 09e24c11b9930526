//! What peers that send and are not read make a node hold: each fills the windows of as many streams as it may have.
//!
//!     cargo run --release -p framemill-network --example unread [PEERS]
//!
//! An orchestrator accepts segments and reads none of their bytes; the peers run in a process of their own. Prints the growth of
//! the orchestrator's resident memory for each peer, over QUIC and over TCP, beside what the windows allow.

mod memory;

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_network::{
    FrameRate, Ladder, Network, NetworkConfig, SegmentAccept, SegmentHeader, ServiceAddress, SourceVideo,
};
use tokio::io::{AsyncBufReadExt, BufReader};

use memory::resident_kib;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The word that makes this program the peers.
const SENDERS: &str = "send";
const PEERS: usize = 8;
/// Streams of each peer, all that it may have.
const STREAMS: usize = 64;
/// More than any window holds.
const SOURCE: usize = 4 << 20;
/// Bytes stand still when none have moved for so long.
const STILL: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == SENDERS) {
        return send(&arguments[1], arguments[2].parse()?).await;
    }
    let peers = arguments.first().map_or(Ok(PEERS), |text| text.parse())?;
    println!("a QUIC connection may hold 8 MiB unread, a TCP connection 24 MiB with {STREAMS} streams");
    for transport in ["quic", "/tcp/"] {
        let kib = measure(peers, transport).await?;
        println!("{transport}: {} KiB for each of {peers} peers", kib / peers as u64);
    }
    Ok(())
}

async fn measure(peers: usize, transport: &str) -> Result<u64, Failed> {
    let mut config = NetworkConfig::loopback();
    config.limits.request_burst = 2 * STREAMS as u32;
    let server = Network::start(config).await?;
    let mut segments = server.serve_segments(256)?;
    tokio::spawn(async move {
        let mut unread = Vec::new();
        while let Some(incoming) = segments.next().await {
            if let Ok(accepted) = incoming.accept(SegmentAccept::default()).await {
                unread.push(accepted);
            }
        }
    });
    let only: Vec<_> = server
        .listen_addresses()
        .into_iter()
        .filter(|address| address.to_string().contains(transport))
        .collect();
    let address = ServiceAddress::new(server.peer_id(), only)?.to_string();
    let before = resident_kib()?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args([SENDERS, &address, &peers.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().ok_or("it is piped")?;
    BufReader::new(output).lines().next_line().await?.ok_or("the peers ended")?;
    let after = resident_kib()?;
    server.shutdown().await;
    Ok(after.saturating_sub(before))
}

async fn send(address: &str, peers: usize) -> Result<(), Failed> {
    let service: ServiceAddress = address.parse()?;
    let sent = Arc::new(AtomicU64::new(0));
    for _ in 0..peers {
        let mut config = NetworkConfig { listen: Vec::new(), ..NetworkConfig::loopback() };
        config.timeouts.message = Duration::from_secs(600);
        let client = Network::start(config).await?;
        client.add_peer(&service)?;
        for sequence in 0..STREAMS as u64 {
            tokio::spawn(fill(client.clone(), service.peer(), sequence, Arc::clone(&sent)));
        }
    }
    let mut before = u64::MAX;
    while sent.load(Ordering::Relaxed) != before || before == 0 {
        before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(STILL).await;
    }
    println!("still");
    std::future::pending().await
}

/// Sends a source until nothing more is taken.
async fn fill(
    client: Network,
    server: framemill_network::PeerId,
    sequence: u64,
    sent: Arc<AtomicU64>,
) -> Result<(), Failed> {
    let mut exchange = client.open_segment(server, header(sequence)?).await?;
    let chunk = Bytes::from(vec![7; 16 * 1024]);
    for _ in 0..SOURCE / chunk.len() {
        exchange.upload.send(chunk.clone()).await?;
        sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
    std::future::pending().await
}

fn header(sequence: u64) -> Result<SegmentHeader, Failed> {
    let video = SourceVideo { width: 640, height: 360, fps: FrameRate::new(30, 1)? };
    Ok(SegmentHeader {
        session: B256::repeat_byte(1),
        sequence,
        duration_90k: 180_000,
        frames: 60,
        source_len: SOURCE as u64,
        source_sha256: B256::repeat_byte(2),
        ladder: "360:800k".parse::<Ladder>()?.resolve(&video)?,
        deadline: Duration::from_secs(60),
        payment: Bytes::new(),
        sampling_commitment: None,
    })
}
