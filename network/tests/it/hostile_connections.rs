//! Peers that begin connections and streams and leave it at that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use framemill_network::{Multiaddr, Network};
use futures::{AsyncReadExt, AsyncWriteExt};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::raw::*;
use crate::support::*;

/// What every stream begins with: the name of how protocols are agreed on, with its length.
const AGREEMENT: &[u8] = b"\x13/multistream/1.0.0\n";

fn socket_address(address: &Multiaddr) -> SocketAddr {
    let text = address.to_string();
    let port = text.strip_prefix("/ip4/127.0.0.1/tcp/").expect("loopback").parse().unwrap();
    ([127, 0, 0, 1], port).into()
}

/// A connection from `127.0.0.<host>` on which nothing is ever said. The whole of 127.0.0.0/8 is this machine.
async fn silent(server: &Network, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, host], 0).into()).unwrap();
    socket.connect(socket_address(&tcp_address(server))).await.unwrap()
}

/// Waits until the server ends a connection.
async fn hung_up(mut connection: TcpStream) {
    let mut heard = [0; 256];
    while let Ok(1..) = connection.read(&mut heard).await {}
}

async fn is_open(connection: &mut TcpStream) -> bool {
    // A server that has something to say is not one that has hung up.
    let mut heard = [0; 256];
    loop {
        match timeout(Duration::from_millis(100), connection.read(&mut heard)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return false,
            Err(_) => return true,
        }
    }
}

#[tokio::test]
async fn connections_that_are_begun_and_left_alone_are_bounded_for_each_address_and_in_time() {
    const MOST: usize = 5;
    const HANDSHAKE: Duration = Duration::from_secs(6);
    let server = node_with(|config| {
        config.limits.max_pending_per_address = MOST as u32;
        config.timeouts.handshake = HANDSHAKE;
        config.timeouts.idle_connection = 2 * LONG;
    })
    .await;
    answer_quotes(&server);
    let began = Instant::now();
    let mut held = Vec::new();
    for _ in 0..MOST {
        held.push(silent(&server, 2).await);
    }
    // One more is turned away, however long the others may stay.
    timeout(HANDSHAKE / 2, hung_up(silent(&server, 2).await)).await.expect("no more than the bound are held");
    for connection in &mut held {
        assert!(is_open(connection).await || began.elapsed() >= HANDSHAKE);
    }
    an_honest_peer_is_served(&server).await;
    let all = futures::future::join_all(held.into_iter().map(hung_up));
    timeout(LONG, all).await.expect("who says nothing is cut off");
    assert!(began.elapsed() >= HANDSHAKE, "{:?}", began.elapsed());
    // The address may connect again.
    assert!(is_open(&mut silent(&server, 2).await).await);
}

#[tokio::test]
async fn connections_that_are_begun_are_bounded_over_all_addresses_and_who_is_connected_is_served() {
    const MOST: u8 = 4;
    const HANDSHAKE: Duration = Duration::from_secs(6);
    let server = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.limits.max_pending_connections = MOST.into();
        config.timeouts.handshake = HANDSHAKE;
    })
    .await;
    answer_quotes(&server);
    let friend = client_of(&server).await;
    let request = quote_request();
    friend.request_quote(server.peer_id(), &request, LONG).await.unwrap();
    let mut held = Vec::new();
    for host in 2..2 + MOST {
        held.push(silent(&server, host).await);
    }
    timeout(HANDSHAKE / 2, hung_up(silent(&server, 2 + MOST).await)).await.expect("no more are begun");
    friend.request_quote(server.peer_id(), &request, LONG).await.unwrap();
    let all = futures::future::join_all(held.into_iter().map(hung_up));
    timeout(LONG, all).await.expect("who says nothing is cut off");
    an_honest_peer_is_served(&server).await;
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    const IDLE: Duration = Duration::from_secs(1);
    let server = node_with(|config| config.timeouts.idle_connection = IDLE).await;
    answer_quotes(&server);
    let began = Instant::now();
    let mut idle = RawConnection::start(&server).await;
    an_honest_peer_is_served(&server).await;
    timeout(LONG, idle.ended()).await.expect("an idle connection is closed");
    assert!(began.elapsed() >= IDLE, "{:?}", began.elapsed());
}

/// Agrees on `protocol`, of which the server was told the first byte of the agreement already.
async fn agree(stream: &mut (impl futures::AsyncRead + futures::AsyncWrite + Unpin), protocol: &str) {
    let name = format!("{protocol}\n");
    let wanted = [&AGREEMENT[1..], &[name.len() as u8], name.as_bytes()].concat();
    stream.write_all(&wanted).await.unwrap();
    stream.flush().await.unwrap();
    let mut agreed = vec![0; AGREEMENT.len() + 1 + name.len()];
    stream.read_exact(&mut agreed).await.unwrap();
    assert!(agreed.ends_with(name.as_bytes()), "{agreed:?}");
}

#[tokio::test]
async fn one_stream_more_than_a_connection_may_have_ends_it() {
    const STREAMS: u32 = 4;
    let server = node_with(|config| config.limits.max_streams_per_peer = STREAMS).await;
    answer_quotes(&server);
    let mut connection = RawConnection::start(&server).await;
    // As many as both sides may have of our protocols, and those of libp2p's own; the server has some of its own open, too.
    let most = 2 * STREAMS as usize + 64;
    let mut streams = Vec::new();
    let flood = async {
        for _ in 0..=most {
            let mut stream = connection.open().await;
            if !try_send(&mut stream, &AGREEMENT[..1]).await {
                break;
            }
            streams.push(stream);
        }
    };
    timeout(LONG, flood).await.unwrap();
    timeout(LONG, connection.ended()).await.expect("the server hangs up");
    an_honest_peer_is_served(&server).await;
}

#[tokio::test]
async fn streams_that_agree_on_no_protocol_are_dropped_and_the_connection_lives() {
    const NEGOTIATING: usize = 64;
    /// Half of what each may take.
    const A_LONG_WAIT: Duration = Duration::from_secs(5);
    let server = node().await;
    answer_quotes(&server);
    let began = Instant::now();
    let connection = RawConnection::start(&server).await;
    let mut silent = Vec::new();
    for _ in 0..NEGOTIATING {
        let mut stream = connection.open().await;
        assert!(try_send(&mut stream, &AGREEMENT[..1]).await);
        silent.push(stream);
    }
    let mut next = connection.open().await;
    assert!(try_send(&mut next, &AGREEMENT[..1]).await);
    an_honest_peer_is_served(&server).await;
    // Nobody looks at one more until some of the others are given up.
    let ended = async {
        for stream in &mut silent {
            read_to_end(stream).await;
        }
    };
    let agreed = async {
        agree(&mut next, QUOTE).await;
        began.elapsed()
    };
    let both = timeout(LONG, async { tokio::join!(ended, agreed) }).await;
    let ((), agreed) = both.expect("streams that say nothing are dropped");
    assert!(agreed >= A_LONG_WAIT, "one more was looked at after {agreed:?}");
    assert!(!connection.has_ended());
}
