//! A store of one's own: renditions stay in memory and are counted, as a platform would hand them to its CDN.
//!
//! `cargo run -p framemill-broadcaster --example custom_store -- clip.mp4 /ip4/127.0.0.1/udp/4433/quic-v1/p2p/<peer id>`

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use framemill_broadcaster::{
    Broadcaster, BroadcasterConfig, Identity, Network, NetworkConfig, Pace, ServiceAddress, Store,
    StoreError, StreamConfig, async_trait, bytes::Bytes,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Objects in memory. Replacing a map's value is atomic, which is all that a store must promise.
#[derive(Default)]
struct Memory(RwLock<HashMap<String, Bytes>>);

impl Memory {
    /// Number of objects and their bytes.
    fn size(&self) -> (usize, usize) {
        let objects = self.0.read().expect("no writer panics");
        (objects.len(), objects.values().map(Bytes::len).sum())
    }
}

#[async_trait]
impl Store for Memory {
    async fn put(&self, path: &str, data: Bytes) -> Result<(), StoreError> {
        self.0.write().expect("no writer panics").insert(path.to_owned(), data);
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.read().expect("no writer panics").get(path).cloned())
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.0.write().expect("no writer panics").remove(path);
        Ok(())
    }

    fn locate(&self, path: &str) -> String {
        format!("memory:{path}")
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let input = arguments.next().ok_or("give an input: custom_store INPUT ORCHESTRATOR…")?;
    let orchestrators: Vec<ServiceAddress> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;

    let store = Arc::new(Memory::default());
    let broadcaster = Broadcaster::builder()
        .network(Network::start(NetworkConfig::new(Identity::generate())).await?)
        .store(Arc::clone(&store) as Arc<dyn Store>)
        .config(BroadcasterConfig {
            orchestrators: orchestrators.into_iter().map(Into::into).collect(),
            ..BroadcasterConfig::default()
        })
        .build()
        .await?;
    let stream = broadcaster.stream(StreamConfig::new("memory"))?;
    stream.push_file(File::open(input)?, Pace::Fast).await?;
    let summary = stream.finish().await;

    let (objects, bytes) = store.size();
    println!("{objects} objects, {bytes} bytes; play {}", store.locate(&summary.master_playlist));
    broadcaster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
