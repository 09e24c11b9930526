//! Sends a file through the market and writes an HLS ladder.
//!
//! `cargo run -p framemill-broadcaster --example file -- clip.mp4 hls /ip4/127.0.0.1/udp/4433/quic-v1/p2p/<peer id>`

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use framemill_broadcaster::{
    Broadcaster, BroadcasterConfig, Identity, Network, NetworkConfig, ObjectStorage, Pace, ServiceAddress,
    StreamConfig, StreamEvent,
};
use futures::StreamExt;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut next =
        |what: &str| arguments.next().ok_or(format!("give {what}: file INPUT FOLDER ORCHESTRATOR…"));
    let (input, folder) = (next("an input file")?, next("an output folder")?);
    let mut orchestrators = vec![next("an orchestrator")?.parse::<ServiceAddress>()?];
    for more in arguments {
        orchestrators.push(more.parse()?);
    }

    let broadcaster = Broadcaster::builder()
        .network(Network::start(NetworkConfig::new(Identity::generate())).await?)
        .store(Arc::new(ObjectStorage::folder(&folder)?))
        .config(BroadcasterConfig {
            orchestrators: orchestrators.into_iter().map(Into::into).collect(),
            ..BroadcasterConfig::default()
        })
        .build()
        .await?;

    let stream = broadcaster.stream(StreamConfig::new("file"))?;
    let mut events = stream.events();
    let table = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                StreamEvent::Segment(report) => {
                    let by = report.orchestrator.map_or("nobody".to_owned(), |account| account.to_string());
                    let end = report.lost.unwrap_or_else(|| "published".to_owned());
                    println!(
                        "segment {:4}  {by}  {} attempts  {end}",
                        report.sequence,
                        report.attempts.len()
                    );
                }
                StreamEvent::Ended(_) => return,
                _ => {}
            }
        }
    });

    stream.push_file(File::open(input)?, Pace::Fast).await?;
    let summary = stream.finish().await;
    table.await?;
    println!(
        "{} of {} segments published, {} renditions: {}",
        summary.totals.published,
        summary.totals.segments,
        summary.totals.renditions,
        broadcaster.store().locate(&summary.master_playlist)
    );
    broadcaster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
