//! A platform's own axum server with ingest and playback mounted beside its other routes.
//!
//! `cargo run -p framemill-broadcaster --example axum_handler -- hls 127.0.0.1:8935 /ip4/127.0.0.1/udp/4433/quic-v1/p2p/<peer id>`, then push
//! `ffmpeg -re -i clip.mp4 -c copy -f segment -segment_time 2 -method PUT http://127.0.0.1:8935/live/cam/%d.ts`
//! and play `http://127.0.0.1:8935/hls/cam/master.m3u8`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use framemill_broadcaster::{
    AuthDenied, AuthGrant, AuthRequest, Broadcaster, BroadcasterConfig, Identity, Network, NetworkConfig,
    ObjectStorage, PlaylistMode, PushAuth, PushConfig, PushIngest, ServiceAddress, StreamConfig, async_trait,
    hls_router,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The platform's own rule about who may stream: here, whoever names a camera.
struct CamerasOnly;

#[async_trait]
impl PushAuth for CamerasOnly {
    async fn authorize(&self, request: &AuthRequest) -> Result<AuthGrant, AuthDenied> {
        if request.url.starts_with("/live/cam") {
            return Ok(AuthGrant::default());
        }
        Err(AuthDenied("streams are named cam…".into()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give a folder and an address: axum_handler FOLDER LISTEN ORCHESTRATOR…";
    let (folder, listen) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let orchestrators: Vec<ServiceAddress> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;

    let broadcaster = Broadcaster::builder()
        .network(Network::start(NetworkConfig::new(Identity::generate())).await?)
        .store(Arc::new(ObjectStorage::folder(&folder)?))
        .config(BroadcasterConfig {
            orchestrators: orchestrators.into_iter().map(Into::into).collect(),
            ..BroadcasterConfig::default()
        })
        .build()
        .await?;

    // Endless streams: keep the window, delete what left it.
    let stream =
        StreamConfig { playlist: PlaylistMode::Sliding { segments: 8 }, ..StreamConfig::new("push") };
    let config = PushConfig { stream, ..PushConfig::default() };
    let ingest = PushIngest::new(broadcaster.clone(), config, Some(Arc::new(CamerasOnly)));

    let ready = broadcaster.clone();
    let app = Router::new()
        .route("/readyz", get(move || async move { ready.not_ready().unwrap_or_else(|| "ready".into()) }))
        .nest("/hls", hls_router(&broadcaster))
        .merge(ingest.router());
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("push to http://{address}/live/cam/0.ts, play http://{address}/hls/cam/master.m3u8");
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            // Without a handler for the signal the default one ends the process, which is as good here.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    ingest.finish().await;
    broadcaster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
