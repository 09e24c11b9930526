//! A balancer before processes that serve one address, as operators have one: connections go to them in turn, and past those
//! that are down.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Forwards TCP connections for as long as it lives.
pub struct Balancer {
    tasks: JoinSet<()>,
}

impl Balancer {
    /// Listens on `front` and forwards to `backs`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(front: SocketAddr, backs: Vec<SocketAddr>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(front).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(balance(listener, backs));
        Ok(Self { tasks })
    }

    /// Whether it still forwards.
    pub fn is_up(&self) -> bool {
        !self.tasks.is_empty()
    }
}

async fn balance(listener: TcpListener, backs: Vec<SocketAddr>) {
    let mut connections = JoinSet::new();
    for turn in 0.. {
        let Ok((client, _)) = listener.accept().await else { return };
        let mut order = backs.clone();
        order.rotate_left(turn % backs.len());
        connections.spawn(forward(client, order));
        while connections.try_join_next().is_some() {}
    }
}

/// To the first that answers. A connection that breaks on one side breaks on the other.
async fn forward(mut client: TcpStream, backs: Vec<SocketAddr>) {
    for back in backs {
        if let Ok(mut server) = TcpStream::connect(back).await {
            // An error is the end of a connection, whichever side ended it.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
