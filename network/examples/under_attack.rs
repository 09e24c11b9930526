//! What 1,000 hostile peers do to an honest exchange, and what they make a node hold.
//!
//!     cargo run --release -p framemill-network --example under_attack [PEERS [ROUNDS]]
//!
//! An orchestrator and a broadcaster exchange segments; the hostile peers run in a process of their own at the lowest priority, and
//! mix what peers can do wrong: noise, oversized lengths, streams that stall, floods of streams, uploads that nobody asked for,
//! answers that are never read, connections made and dropped. Calm and attack take turns in one run, so that what else the machine
//! does falls on both. All peers come from one address here, so the bounds on addresses are lifted.

mod memory;

use std::process::Stdio;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_network::{
    FrameRate, IncomingSegment, Ladder, Network, NetworkConfig, SegmentAccept, SegmentHeader, SignedReceipt,
    SourceVideo, TranscodeReceipt, WireCode, WireError, renditions_root,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};

use memory::resident_kib;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const PEERS: usize = 1_000;
const ROUNDS: usize = 5;
/// Honest segments in one turn.
const SEGMENTS: usize = 200;
const SOURCE: usize = 100_000;
/// Between two of them: nobody may open more than 50 streams a second.
const PACE: Duration = Duration::from_millis(25);
/// The word that makes this program the attacker.
const ATTACKER: &str = "attack";

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == ATTACKER) {
        return attack(&arguments[1], arguments[2].parse()?).await;
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    compare(number(0, PEERS)?, number(1, ROUNDS)?).await
}

async fn compare(peers: usize, rounds: usize) -> Result<(), Failed> {
    let mut config = NetworkConfig::loopback();
    config.limits.max_connections = 4 * peers as u32 + 64;
    config.limits.max_connections_per_address = 4 * peers as u32;
    config.limits.max_pending_per_address = config.limits.max_pending_connections;
    config.limits.connection_burst = peers as u32;
    let server = Network::start(config).await?;
    let client = Network::start(NetworkConfig { listen: Vec::new(), ..NetworkConfig::loopback() }).await?;
    client.add_peer(&server.service_address().ok_or("it listens")?)?;
    let honest = client.peer_id();
    let mut segments = server.serve_segments(256)?;
    let _quotes = server.serve_quotes(64)?;
    tokio::spawn(async move {
        while let Some(incoming) = segments.next().await {
            if incoming.peer() == honest {
                tokio::spawn(serve(incoming));
            } else {
                tokio::spawn(incoming.reject(WireError::new(WireCode::UnknownSession, "no session")));
            }
        }
    });
    turn(&client, &server, 20).await?;
    let (mut calm, mut attacked) = (Vec::new(), Vec::new());
    let before = resident_kib()?;
    let mut most = before;
    for _ in 0..rounds {
        calm.extend(turn(&client, &server, SEGMENTS).await?);
        // The honest connection stays in use meanwhile: it could not be made again beside so many from its own address.
        let attacker = tokio::select! {
            attacker = start_attacker(&server, peers) => attacker?,
            failed = keep_warm(&client, &server) => return failed,
        };
        attacked.extend(turn(&client, &server, SEGMENTS).await?);
        most = most.max(resident_kib()?);
        drop(attacker);
    }
    let (quiet, loud) = (Figures::of(calm), Figures::of(attacked));
    println!("calm:         p50 {:>8.2?}  p99 {:>8.2?}", quiet.p50, quiet.p99);
    println!("{peers} hostile: p50 {:>8.2?}  p99 {:>8.2?}", loud.p50, loud.p99);
    println!("p99 ratio {:.2}", loud.p99.as_secs_f64() / quiet.p99.as_secs_f64());
    println!("resident memory {before} KiB calm, at most {most} KiB under attack");
    Ok(())
}

async fn keep_warm(client: &Network, server: &Network) -> Result<(), Failed> {
    loop {
        turn(client, server, 1).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Figures {
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { p50: times[times.len() / 2], p99: times[times.len() * 99 / 100] }
    }
}

/// Honest exchanges, one after the other, and how long each took.
async fn turn(client: &Network, server: &Network, segments: usize) -> Result<Vec<Duration>, Failed> {
    let source = Bytes::from(vec![7; SOURCE]);
    let mut times = Vec::with_capacity(segments);
    for sequence in 0..segments as u64 {
        let began = Instant::now();
        let header = header(&source, sequence)?;
        let exchange = client.open_segment_ahead(server.peer_id(), header, source.clone()).await?;
        exchange.complete(source.clone()).await?;
        times.push(began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    Ok(times)
}

fn header(source: &Bytes, sequence: u64) -> Result<SegmentHeader, Failed> {
    let video = SourceVideo { width: 640, height: 360, fps: FrameRate::new(30, 1)? };
    Ok(SegmentHeader {
        session: B256::repeat_byte(1),
        sequence,
        duration_90k: 180_000,
        frames: 60,
        source_len: source.len() as u64,
        source_sha256: B256::from_slice(&Sha256::digest(source)),
        ladder: "360:800k,240:400k".parse::<Ladder>()?.resolve(&video)?,
        deadline: Duration::from_secs(30),
        payment: Bytes::from(vec![1; 377]),
        sampling_commitment: None,
    })
}

/// Gives the source back as every rendition.
async fn serve(incoming: IncomingSegment) -> Result<(), framemill_network::NetworkError> {
    let header = incoming.header().clone();
    let (source, mut reply) = incoming.accept(SegmentAccept::default()).await?;
    let source = source.read_all().await?;
    let mut claims = Vec::new();
    for (index, entry) in (0..).zip(header.ladder.iter()) {
        reply.chunk(index, source.clone()).await?;
        let pixels = entry.pixels_per_frame() * u64::from(header.frames);
        claims.push(reply.end(index, pixels, header.frames, B256::ZERO, None).await?.claim());
    }
    let receipt = TranscodeReceipt {
        session: header.session,
        sequence: header.sequence,
        source_hash: header.source_sha256,
        ladder_hash: header.ladder.hash(),
        renditions_root: renditions_root(&claims),
        pixels: claims.iter().map(|claim| claim.pixels).sum(),
        round: 1,
    };
    reply.finish(SignedReceipt { receipt, signature: [8; 65] }).await
}

/// Starts the attackers' process and waits until they have had time to connect.
async fn start_attacker(server: &Network, peers: usize) -> Result<tokio::process::Child, Failed> {
    let addresses = server.service_address().ok_or("it listens")?.to_string();
    let mut child = tokio::process::Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .args([ATTACKER, &addresses, &peers.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().ok_or("it is piped")?;
    BufReader::new(output).lines().next_line().await?.ok_or("the attackers ended")?;
    Ok(child)
}

/// Attacks for as long as the process lives.
async fn attack(addresses: &str, peers: usize) -> Result<(), Failed> {
    let addresses: Vec<Multiaddr> = addresses.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let (ready, mut readies) = tokio::sync::mpsc::channel(peers.max(1));
    for index in 0..peers {
        let address = addresses[index % addresses.len()].clone();
        let ready = ready.clone();
        tokio::spawn(async move {
            let mut told = Some(ready);
            loop {
                // Turned away or banned: it comes back as somebody else.
                let _ = misbehave(index, &address, &mut told).await;
                told = None;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    drop(ready);
    while readies.recv().await.is_some() {}
    println!("attacking");
    std::future::pending().await
}

/// One hostile identity until it is cut off. Dropping `told` says that it has begun, or could not.
async fn misbehave(
    index: usize,
    address: &Multiaddr,
    told: &mut Option<tokio::sync::mpsc::Sender<()>>,
) -> Result<(), Failed> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build();
    let mut control = swarm.behaviour().new_control();
    swarm.dial(address.clone())?;
    let server = loop {
        match tokio::time::timeout(Duration::from_secs(10), swarm.select_next_some()).await? {
            libp2p::swarm::SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
            libp2p::swarm::SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    };
    drop(told.take());
    let driving = async {
        while swarm.is_connected(&server) {
            swarm.next().await;
        }
    };
    tokio::select! {
        () = driving => Ok(()),
        done = abuse(index, &mut control, server) => done,
    }
}

/// What one kind of hostile peer does, over and over.
async fn abuse(index: usize, control: &mut libp2p_stream::Control, server: PeerId) -> Result<(), Failed> {
    let (quote, segment) =
        (StreamProtocol::new("/framemill/quote/1"), StreamProtocol::new("/framemill/segment/1"));
    let mut held = Vec::new();
    for round in 0_u64.. {
        match index % 6 {
            // Noise, and lengths of four gibibytes.
            0 => {
                let mut stream = control.open_stream(server, quote.clone()).await?;
                let bytes: &[u8] =
                    if round % 2 == 0 { &[8, 0xff, 0xff] } else { &[0x80, 0x80, 0x80, 0x80, 0x10] };
                stream.write_all(bytes).await?;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            // Streams that begin a message and stall.
            1 => {
                let mut stream = control.open_stream(server, segment.clone()).await?;
                stream.write_all(&[0x80]).await?;
                stream.flush().await?;
                held.push(stream);
            }
            // A flood of streams.
            2 => {
                for _ in 0..32 {
                    held.push(control.open_stream(server, quote.clone()).await?);
                }
                held.clear();
            }
            // Bytes without end that nobody reads.
            3 => {
                let mut stream = control.open_stream(server, segment.clone()).await?;
                stream.write_all(&[0xff, 0xff, 3]).await?;
                let flood = vec![0; 64 * 1024];
                while stream.write_all(&flood).await.is_ok() {}
            }
            // Requests whose answers are never read.
            4 => {
                let mut stream = control.open_stream(server, quote.clone()).await?;
                stream.write_all(&[1, 0]).await?;
                stream.flush().await?;
                held.push(stream);
                held.truncate(60);
            }
            // Connections made and dropped.
            _ => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
