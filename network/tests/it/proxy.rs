//! A TCP proxy that counts what passes, and can hold back what comes from the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framemill_network::{Multiaddr, Network, ServiceAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy, in front of one node.
pub(crate) struct Proxy {
    address: Multiaddr,
    counted: Arc<AtomicU64>,
    held: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn before(server: &Network) -> Self {
        let port = server
            .listen_addresses()
            .iter()
            .find_map(|address| address.to_string().strip_prefix("/ip4/127.0.0.1/tcp/").map(str::to_owned));
        let target = format!("127.0.0.1:{}", port.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let (counted, held) = (Arc::<AtomicU64>::default(), watch::Sender::new(false));
        let task = tokio::spawn(serve(listener, target, counted.clone(), held.clone()));
        Self { address: address.parse().unwrap(), counted, held, task }
    }

    /// The way to `server` that leads through this proxy.
    pub(crate) fn service_address(&self, server: &Network) -> ServiceAddress {
        ServiceAddress::new(server.peer_id(), vec![self.address.clone()]).unwrap()
    }

    /// Bytes that TCP carried so far, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }

    /// From now on nothing comes back from the server, or everything that was held back and follows.
    pub(crate) fn hold_answers(&self, hold: bool) {
        self.held.send_replace(hold);
    }
}

async fn serve(listener: TcpListener, target: String, counted: Arc<AtomicU64>, held: watch::Sender<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&target).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let never = watch::Sender::new(false);
        tokio::spawn(pass(from_client, to_server, counted.clone(), never.subscribe()));
        tokio::spawn(pass(from_server, to_client, counted.clone(), held.subscribe()));
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    counted: Arc<AtomicU64>,
    mut held: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        // Without a sender nothing is ever held back.
        while *held.borrow_and_update() && held.changed().await.is_ok() {}
        counted.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
