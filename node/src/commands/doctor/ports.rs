//! Addresses to listen on: free, or taken by this very node.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};

use super::report::{Finding, Report};
use crate::{config::Config, dashboard::Role};

/// A node on this machine answers at once.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether this node runs already, as far as can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    Yes,
    No,
    /// Its web server has another port at each start.
    Unknown,
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    Tcp(SocketAddr),
    Udp(SocketAddr),
}

/// Looks at every address that a role listens on.
pub(super) async fn listening(config: &Config, roles: &[Role], report: &mut Report) {
    let running = running(&config.http.listen).await;
    report.add(tcp("http.listen", &config.http.listen, running));
    if roles.contains(&Role::Broadcaster) {
        report.add(tcp("broadcaster.ingest", &config.broadcaster.ingest, running));
        report
            .extend(config.broadcaster.rtmp.iter().map(|address| tcp("broadcaster.rtmp", address, running)));
    }
    if roles.contains(&Role::Orchestrator) {
        report.extend(config.network.listen.iter().map(|address| multiaddr(address, running)));
    }
}

async fn running(http: &str) -> Running {
    if http.ends_with(":0") {
        return Running::Unknown;
    }
    let ask = async {
        let client = reqwest::Client::builder().timeout(ANSWER).build().ok()?;
        client.get(format!("http://{http}/healthz")).send().await.ok()?.text().await.ok()
    };
    if ask.await.is_some_and(|text| text == "ok\n") { Running::Yes } else { Running::No }
}

fn tcp(key: &'static str, address: &str, running: Running) -> Finding {
    let resolved = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    match resolved {
        Some(resolved) => socket(key, address, Socket::Tcp(resolved), running),
        None => Finding::fail(
            key,
            format!("{address} is no address of a host and a port"),
            form(key, "127.0.0.1:8080"),
        ),
    }
}

fn multiaddr(address: &str, running: Running) -> Finding {
    const KEY: &str = "network.listen";
    match socket_of(address) {
        Some(found) => socket(KEY, address, found, running),
        None => Finding::fail(
            KEY,
            format!("{address} is no multiaddr of an IP address and a port"),
            form(KEY, "/ip4/0.0.0.0/udp/7936/quic-v1"),
        ),
    }
}

fn form(key: &str, example: &str) -> String {
    format!("set {key} to something like {example}")
}

/// The socket that `/ip4/ADDRESS/udp/PORT/quic-v1` or `/ip6/ADDRESS/tcp/PORT` means.
fn socket_of(multiaddr: &str) -> Option<Socket> {
    let mut parts = multiaddr.strip_prefix('/')?.split('/');
    let ip = match (parts.next()?, parts.next()?) {
        ("ip4" | "ip6", ip) => ip.parse().ok()?,
        _ => return None,
    };
    let (transport, port) = (parts.next()?, parts.next()?.parse().ok()?);
    let address = SocketAddr::new(ip, port);
    match transport {
        "tcp" => Some(Socket::Tcp(address)),
        "udp" => Some(Socket::Udp(address)),
        _ => None,
    }
}

/// Whether nobody listens there: two nodes of the network could share a port of TCP, and each would get a part of the calls.
pub(super) fn is_free(multiaddr: &str) -> bool {
    socket_of(multiaddr).is_some_and(|socket| bind(socket).is_ok())
}

fn bind(socket: Socket) -> io::Result<()> {
    match socket {
        Socket::Tcp(address) => TcpListener::bind(address).map(drop),
        Socket::Udp(address) => UdpSocket::bind(address).map(drop),
    }
}

fn socket(key: &'static str, text: &str, socket: Socket, running: Running) -> Finding {
    match bind(socket) {
        Ok(()) => Finding::ok(key, format!("{text} is free")),
        Err(error) => taken(key, text, &error, running),
    }
}

fn taken(key: &'static str, text: &str, error: &io::Error, running: Running) -> Finding {
    match (error.kind(), running) {
        (ErrorKind::AddrInUse, Running::Yes) => {
            Finding::ok(key, format!("{text} is in use, and this node runs"))
        }
        (ErrorKind::AddrInUse, Running::Unknown) => Finding::warn(
            key,
            format!(
                "{text} is in use; whether by this node is not known, since http.listen has no fixed port"
            ),
            "fine while this node runs; otherwise find who listens with ss -lntup",
        ),
        (ErrorKind::AddrInUse, Running::No) => Finding::fail(
            key,
            format!("{text} is in use by another program"),
            format!("find it with ss -lntup and stop it, or set {key} to another port"),
        ),
        _ => Finding::fail(
            key,
            format!("{text} cannot be listened on: {error}"),
            format!("set {key} to an address of this machine and a port that this user may have"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiaddr_means_one_socket() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let found = socket_of("/ip4/127.0.0.1/udp/7936/quic-v1");
        assert_eq!(found, Some(Socket::Udp(address("127.0.0.1:7936"))));
        assert_eq!(socket_of("/ip6/::1/tcp/1"), Some(Socket::Tcp(address("[::1]:1"))));
        assert_eq!(socket_of("/dns4/example.org/tcp/1"), None);
        assert_eq!(socket_of("127.0.0.1:7936"), None);
    }
}
