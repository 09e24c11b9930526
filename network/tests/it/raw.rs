//! A peer made of plain libp2p parts that writes whatever bytes a test wants.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use framemill_network::{Multiaddr, Network, PeerId, ServiceAddress};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts as HowToDial, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Stream, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control, IncomingStreams};
use prost::Message;
use tokio::sync::Notify;

use crate::support::LONG;

#[allow(missing_docs, unreachable_pub, dead_code, clippy::all, reason = "generated")]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/framemill.v1.rs"));
}

pub(crate) const QUOTE: &str = "/framemill/quote/1";
pub(crate) const SEGMENT: &str = "/framemill/segment/1";
pub(crate) const OPENING: &str = "/framemill/opening/1";
pub(crate) const BLOB: &str = "/framemill/blob/1";
pub(crate) const WORK: &str = "/framemill/work/1";

/// Prefix of a message of 4 GiB.
pub(crate) const FOUR_GIBIBYTES: [u8; 5] = [0x80, 0x80, 0x80, 0x80, 0x10];

pub(crate) struct RawPeer {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    control: Control,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawPeer {
    /// A peer that is connected to `server` when there is one.
    pub(crate) async fn start(server: Option<&Network>) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_behaviour(|_| Behaviour::new())
            .unwrap()
            .build();
        let peer = *swarm.local_peer_id();
        let control = swarm.behaviour().new_control();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        if let Some(server) = server {
            swarm.dial(server.listen_addresses()[0].clone()).unwrap();
            while !swarm.is_connected(&server.peer_id()) {
                swarm.next().await;
            }
        }
        let task = tokio::spawn(async move {
            loop {
                swarm.next().await;
            }
        });
        Self { peer, address, control, task }
    }

    /// Connects to `server` so many times as one and the same peer; returns how many connections are left when all dials have
    /// ended and at most `most` are.
    pub(crate) async fn connect_often(server: &Network, times: usize, most: usize) -> usize {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(LONG))
            .build();
        for _ in 0..times {
            let dial = DialOpts::unknown_peer_id().address(tcp_address(server)).build();
            swarm.dial(dial).unwrap();
        }
        let (mut ended, mut open) = (0, 0);
        while ended < times || open > most {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => (ended, open) = (ended + 1, open + 1),
                SwarmEvent::OutgoingConnectionError { .. } => ended += 1,
                SwarmEvent::ConnectionClosed { .. } => open -= 1,
                _ => {}
            }
        }
        open
    }

    pub(crate) fn service_address(&self) -> ServiceAddress {
        ServiceAddress::new(self.peer, vec![self.address.clone()]).unwrap()
    }

    pub(crate) async fn open(&self, server: &Network, protocol: &'static str) -> Stream {
        self.control.clone().open_stream(server.peer_id(), StreamProtocol::new(protocol)).await.unwrap()
    }

    /// A stream, unless the server has hung up.
    pub(crate) async fn try_open(&self, server: &Network, protocol: &'static str) -> Option<Stream> {
        self.control.clone().open_stream(server.peer_id(), StreamProtocol::new(protocol)).await.ok()
    }

    pub(crate) fn accept(&self, protocol: &'static str) -> IncomingStreams {
        self.control.clone().accept(StreamProtocol::new(protocol)).unwrap()
    }
}

/// A connection over TCP that is encrypted and carries streams, on which nothing is said but what a test says: there is not even an
/// agreement on protocols.
pub(crate) struct RawConnection {
    muxer: Arc<Mutex<StreamMuxerBox>>,
    opened: Arc<Notify>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl RawConnection {
    pub(crate) async fn start(server: &Network) -> Self {
        let keypair = Keypair::generate_ed25519();
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keypair).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let how = HowToDial { role: Endpoint::Dialer, port_use: PortUse::New };
        let (_, muxer) = transport.dial(tcp_address(server), how).unwrap().await.unwrap();
        let (muxer, opened) = (Arc::new(Mutex::new(muxer)), Arc::new(Notify::new()));
        let driver = tokio::spawn(drive(muxer.clone(), opened.clone()));
        Self { muxer, opened, driver }
    }

    /// A new stream, of which the other side hears with its first byte.
    pub(crate) async fn open(&self) -> SubstreamBox {
        let stream = poll_fn(|context| self.muxer.lock().unwrap().poll_outbound_unpin(context)).await;
        self.opened.notify_one();
        stream.unwrap()
    }

    /// Whether the other side has ended the connection.
    pub(crate) fn has_ended(&self) -> bool {
        self.driver.is_finished()
    }

    /// Waits until the other side ends the connection.
    pub(crate) async fn ended(&mut self) {
        (&mut self.driver).await.unwrap();
    }
}

/// Moves what its streams write and read until the other side ends the connection, and wants none of the streams that it is offered.
/// Of a new stream it has to be told.
async fn drive(muxer: Arc<Mutex<StreamMuxerBox>>, opened: Arc<Notify>) {
    loop {
        tokio::select! {
            event = poll_fn(|context| muxer.lock().unwrap().poll_unpin(context)) => if event.is_err() { return },
            offered = poll_fn(|context| muxer.lock().unwrap().poll_inbound_unpin(context)) => {
                if offered.is_err() {
                    return;
                }
            }
            () = opened.notified() => {}
        }
    }
}

/// Where a node listens for TCP.
pub(crate) fn tcp_address(server: &Network) -> Multiaddr {
    let mut addresses = server.listen_addresses().into_iter();
    addresses.find(|address| address.to_string().contains("/tcp/")).expect("it listens for tcp")
}

pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    message.encode_length_delimited_to_vec()
}

pub(crate) async fn send(stream: &mut Stream, message: &impl Message) {
    stream.write_all(&framed(message)).await.unwrap();
    stream.flush().await.unwrap();
}

/// Sends, not minding that the other side may have ended the stream.
pub(crate) async fn try_send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}

/// Everything until the other side ends the stream, whichever way it does.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// The code of the last reply on a stream; replies of all protocols carry errors in the same field.
pub(crate) async fn error_code(stream: &mut Stream) -> Option<u32> {
    let bytes = read_to_end(stream).await;
    last_error(&bytes)
}

fn last_error(mut bytes: &[u8]) -> Option<u32> {
    let mut code = None;
    while !bytes.is_empty() {
        let frame = proto::ReplyFrame::decode_length_delimited(&mut bytes).ok()?;
        if let Some(proto::reply_frame::Frame::Error(error)) = frame.frame {
            code = Some(error.code);
        }
    }
    code
}

pub(crate) async fn receive<M: Message + Default>(stream: &mut Stream) -> M {
    let mut length = 0_usize;
    for position in 0.. {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        length |= usize::from(byte[0] & 0x7f) << (7 * position);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    M::decode(&body[..]).unwrap()
}

/// A legal header, before a test changes it.
pub(crate) fn segment_header(source: &[u8]) -> proto::SegmentHeader {
    let header = crate::support::header(source);
    let entries = header.ladder.iter().map(|entry| proto::LadderEntry {
        name: entry.name.clone(),
        width: entry.width,
        height: entry.height,
        bitrate: entry.bitrate,
        fps_num: 0,
        fps_den: 1,
        ..Default::default()
    });
    proto::SegmentHeader {
        session: header.session.to_vec().into(),
        sequence: header.sequence,
        duration_90k: header.duration_90k,
        frames: header.frames,
        source_len: header.source_len,
        source_sha256: header.source_sha256.to_vec().into(),
        ladder: proto::Ladder { entries: entries.collect() }.encode_to_vec().into(),
        deadline_ms: 30_000,
        payment: Default::default(),
        sampling_commitment: Default::default(),
    }
}

pub(crate) fn source_chunk(data: &[u8]) -> proto::SourceChunk {
    proto::SourceChunk { data: data.to_vec().into() }
}

pub(crate) fn reply(frame: proto::reply_frame::Frame) -> proto::ReplyFrame {
    proto::ReplyFrame { frame: Some(frame) }
}
