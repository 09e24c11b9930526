//! Sends one file through one orchestrator: cargo run -p framemill-broadcaster --example first -- ADDRESS

use std::{fs::File, sync::Arc, time::Duration};

use framemill_broadcaster::{
    Broadcaster, BroadcasterConfig, Identity, Network, NetworkConfig, ObjectStorage, Pace, ServiceAddress,
    StreamConfig,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // As an orchestrator's log shows it: /ip4/203.0.113.7/udp/7936/quic-v1/p2p/12D3KooW…
    let orchestrator: ServiceAddress = std::env::args().nth(1).ok_or("give an orchestrator")?.parse()?;
    let broadcaster = Broadcaster::builder()
        .network(Network::start(NetworkConfig::new(Identity::generate())).await?)
        .store(Arc::new(ObjectStorage::folder("hls")?))
        .config(BroadcasterConfig { orchestrators: vec![orchestrator.into()], ..Default::default() })
        .build()
        .await?;

    let stream = broadcaster.stream(StreamConfig::new("first"))?;
    stream.push_file(File::open("clip.mp4")?, Pace::Fast).await?;
    let summary = stream.finish().await;
    println!("{} segments: play hls/{}", summary.totals.published, summary.master_playlist);

    broadcaster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
