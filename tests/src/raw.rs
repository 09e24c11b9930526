//! A peer made of plain libp2p parts, for bytes that no honest node would send.

use anyhow::Context as _;
use bytes::Bytes;
use framemill_network::{Multiaddr, PeerId, SegmentHeader, ServiceAddress};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Stream, StreamProtocol, Swarm, SwarmBuilder, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream::{Behaviour, Control, IncomingStreams};
use prost::Message;
use tokio::task::JoinHandle;

/// The messages on the wire as the compiler made them, without any check.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/framemill.v1.rs"));
}

/// The quote protocol's name.
pub const QUOTE: &str = "/framemill/quote/1";
/// The segment protocol's name.
pub const SEGMENT: &str = "/framemill/segment/1";
/// The work protocol's name.
pub const WORK: &str = "/framemill/work/1";
/// Length prefix of a message of 4 GiB.
pub const FOUR_GIBIBYTES: [u8; 5] = [0x80, 0x80, 0x80, 0x80, 0x10];
/// Longest message a raw peer reads.
const MAX_READ: usize = 1 << 20;

/// The peer. It is gone without a farewell when it is dropped.
pub struct RawPeer {
    /// Its identity.
    pub peer: PeerId,
    /// Where it listens.
    pub address: Multiaddr,
    control: Control,
    task: JoinHandle<()>,
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.vanish();
    }
}

impl RawPeer {
    /// A peer that listens on the loopback interface.
    pub async fn start() -> anyhow::Result<Self> {
        let mut swarm = swarm()?;
        let address = listen(&mut swarm).await?;
        Ok(Self::run(swarm, address))
    }

    /// A peer that is connected to a node.
    pub async fn connect(node: &ServiceAddress) -> anyhow::Result<Self> {
        let mut swarm = swarm()?;
        let address = listen(&mut swarm).await?;
        swarm.dial(DialOpts::peer_id(node.peer()).addresses(node.addresses().to_vec()).build())?;
        while !swarm.is_connected(&node.peer()) {
            if let SwarmEvent::OutgoingConnectionError { error, .. } = swarm.select_next_some().await {
                anyhow::bail!("a raw peer cannot connect: {error}");
            }
        }
        Ok(Self::run(swarm, address))
    }

    fn run(mut swarm: Swarm<Behaviour>, address: Multiaddr) -> Self {
        let (peer, control) = (*swarm.local_peer_id(), swarm.behaviour().new_control());
        let task = tokio::spawn(async move {
            loop {
                swarm.next().await;
            }
        });
        Self { peer, address, control, task }
    }

    /// Opens a stream to a connected peer.
    pub async fn open(&self, peer: PeerId, protocol: &'static str) -> anyhow::Result<Stream> {
        Ok(self.control.clone().open_stream(peer, StreamProtocol::new(protocol)).await?)
    }

    /// Streams that others open.
    pub fn accept(&self, protocol: &'static str) -> anyhow::Result<IncomingStreams> {
        Ok(self.control.clone().accept(StreamProtocol::new(protocol))?)
    }

    /// Closes every socket, as the death of a process does.
    pub fn vanish(&self) {
        self.task.abort();
    }
}

/// TCP alone: a death shows at once there, while QUIC takes seconds to notice it.
fn swarm() -> anyhow::Result<Swarm<Behaviour>> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Behaviour::new())?
        .build())
}

async fn listen(swarm: &mut Swarm<Behaviour>) -> anyhow::Result<Multiaddr> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address);
        }
    }
}

/// Sends a message with its length.
pub async fn send(stream: &mut Stream, message: &impl Message) -> anyhow::Result<()> {
    send_bytes(stream, &message.encode_length_delimited_to_vec()).await
}

/// Sends bytes as they are.
pub async fn send_bytes(stream: &mut Stream, bytes: &[u8]) -> anyhow::Result<()> {
    stream.write_all(bytes).await?;
    Ok(stream.flush().await?)
}

/// Reads one message.
pub async fn receive<M: Message + Default>(stream: &mut Stream) -> anyhow::Result<M> {
    let mut length = 0_usize;
    for position in 0..4 {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << (7 * position);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    anyhow::ensure!(length <= MAX_READ, "a message of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(M::decode(&body[..])?)
}

/// The error that a node ends a stream with; replies of all protocols carry it in the same field.
pub async fn error_of(stream: &mut Stream) -> anyhow::Result<proto::WireError> {
    loop {
        let reply: proto::ReplyFrame = receive(stream).await.context("the stream ended without an error")?;
        if let Some(proto::reply_frame::Frame::Error(error)) = reply.frame {
            return Ok(error);
        }
    }
}

/// A header as it goes on the wire, to be changed in ways that an honest node would not send.
pub fn wire_header(header: &SegmentHeader) -> proto::SegmentHeader {
    let entries = header.ladder.iter().map(|entry| proto::LadderEntry {
        name: entry.name.clone(),
        width: entry.width,
        height: entry.height,
        bitrate: entry.bitrate,
        fps_num: entry.fps.num(),
        fps_den: entry.fps.den(),
        ..Default::default()
    });
    proto::SegmentHeader {
        session: Bytes::copy_from_slice(header.session.as_slice()),
        sequence: header.sequence,
        duration_90k: header.duration_90k,
        frames: header.frames,
        source_len: header.source_len,
        source_sha256: Bytes::copy_from_slice(header.source_sha256.as_slice()),
        ladder: proto::Ladder { entries: entries.collect() }.encode_to_vec().into(),
        deadline_ms: u32::try_from(header.deadline.as_millis()).unwrap_or(u32::MAX),
        payment: header.payment.clone(),
        sampling_commitment: header
            .sampling_commitment
            .map(|commitment| Bytes::copy_from_slice(commitment.as_slice()))
            .unwrap_or_default(),
    }
}
