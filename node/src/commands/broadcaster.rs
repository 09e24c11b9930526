//! `framemill broadcaster`: ingest, buy, verify, publish.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use framemill_broadcaster::{AuthWebhook, PushAuth, PushConfig, PushIngest, RtmpConfig, RtmpIngest};
use futures::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    buyer::{self, Buyer},
    config::Config,
    dashboard::Role,
    feed, http,
    reload::Reload,
    runtime::{self, Runtime},
};

/// Pause between two looks at whether the broadcaster can work.
const READINESS_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the broadcaster until it is asked to stop.
pub(crate) async fn run(config: &Config, reload: Reload) -> anyhow::Result<()> {
    let runtime = Runtime::start(config, Role::Broadcaster, "Framemill broadcaster").await?;
    let buyer = Buyer::open(config, &config.broadcaster.output, &runtime.metrics).await?;
    buyer.show(&runtime.views);
    let settings = PushConfig { stream: buyer::stream_config(config, "push")?, ..PushConfig::default() };
    let auth = match &config.broadcaster.auth_url {
        Some(url) => Some(Arc::new(AuthWebhook::new(url)?) as Arc<dyn PushAuth>),
        None => None,
    };
    let stop = CancellationToken::new();
    let (rtmp, publishing) = publishers(config, &buyer, auth.clone(), stop.clone()).await?.unzip();
    let ingest = PushIngest::new(buyer.broadcaster.clone(), settings, auth);
    let routes = http::ingest_router(&ingest, &buyer.broadcaster);
    let server = http::serve(&config.broadcaster.ingest, routes, stop.clone());
    let server = server.await.context("broadcaster.ingest")?;
    tracing::info!(address = %server.address, "taking segments at /live/<stream>/<number>.ts, serving playlists at /hls");

    let reloads = reload.follow(&runtime.metrics, |config| {
        let (limits, stream) = (buyer::limits(config)?, buyer::stream_config(config, "push")?);
        buyer.broadcaster.limit(limits)?;
        if let Some(rtmp) = &rtmp {
            rtmp.set_stream(stream.clone());
        }
        ingest.set_stream(stream);
        Ok(())
    })?;
    tokio::select! {
        stopped = runtime::asked_to_stop() => stopped?,
        never = reloads => match never {},
        () = look_after(&runtime, &buyer) => {}
        never = feed::keep_market_drawn(&runtime.board, &buyer.broadcaster) => match never {},
    }
    ingest.finish().await;
    stop.cancel();
    server.stopped().await;
    if let Some(publishing) = publishing {
        publishing.await?;
    }
    buyer.close().await;
    runtime.stop().await;
    Ok(())
}

/// Takes streams over RTMP, where that is configured.
async fn publishers(
    config: &Config,
    buyer: &Buyer,
    auth: Option<Arc<dyn PushAuth>>,
    stop: CancellationToken,
) -> anyhow::Result<Option<(RtmpIngest, JoinHandle<()>)>> {
    let Some(address) = &config.broadcaster.rtmp else { return Ok(None) };
    let listener = http::bind(address).await.context("broadcaster.rtmp")?;
    tracing::info!(address = %listener.local_addr()?, "taking streams at rtmp://<address>/live/<key>");
    let settings = RtmpConfig { stream: buyer::stream_config(config, "rtmp")?, ..RtmpConfig::default() };
    let ingest = RtmpIngest::new(buyer.broadcaster.clone(), settings, auth);
    let serving = tokio::spawn(ingest.clone().serve(listener, stop));
    Ok(Some((ingest, serving)))
}

/// Keeps readiness and dashboard up to date, for as long as it is polled.
async fn look_after(runtime: &Runtime, buyer: &Buyer) {
    let mut events = buyer.broadcaster.events();
    let mut clock = interval(READINESS_INTERVAL);
    loop {
        tokio::select! {
            _ = clock.tick() => runtime.readiness.set(buyer.broadcaster.not_ready().into_iter().collect()),
            Some((stream, event)) = events.next() => {
                feed::draw(&runtime.board, &stream, &event, feed::now_ms());
            }
        }
    }
}
