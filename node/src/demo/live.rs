//! The market after the show: it takes streams by RTMP until it is asked to stop.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use framemill_broadcaster::{Broadcaster, LIVE_MASTER, RtmpConfig, RtmpIngest, StreamConfig};
use futures::StreamExt as _;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{CLIP_FPS, CLIP_SIZE};
use crate::{board::Board, config::Config, feed};

/// Where publishers look for RTMP when no port is named.
const USUAL: &str = "127.0.0.1:1935";
/// Any port, where another program has that one.
const FREE: &str = "127.0.0.1:0";
/// Key of the stream that the invitation names.
const KEY: &str = "mine";
/// Seconds between two key frames of the stream that is suggested: the length of a segment.
const KEY_FRAME_SECONDS: u32 = 2;

/// How long a stream may take nothing before its publisher is sent away: a whole market shares this machine with it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where streams will be taken.
pub(super) struct Entrance {
    listener: TcpListener,
    address: SocketAddr,
}

impl Entrance {
    /// Listens at `broadcaster.rtmp`; where that is not set, at RTMP's own port of this machine, or at a free one.
    ///
    /// # Errors
    /// The address of the configuration cannot be listened on.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let listener = match &config.broadcaster.rtmp {
            Some(address) => TcpListener::bind(address).await.with_context(|| {
                format!("cannot listen for rtmp on {address}: set broadcaster.rtmp to an address of this machine and a free port")
            })?,
            None => usual_or_free(USUAL).await?,
        };
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// What to type to publish a stream, and where to watch it; `dashboard` ends in a slash.
    pub(super) fn invitation(&self, dashboard: &str) -> String {
        let ((width, height), gap) = (CLIP_SIZE, CLIP_FPS * KEY_FRAME_SECONDS);
        format!(
            "the market stays up until Ctrl-C and takes streams. Publish one from another terminal:\n\n  \
             ffmpeg -re -f lavfi -i testsrc2=size={width}x{height}:rate={CLIP_FPS} -f lavfi -i sine -pix_fmt yuv420p \
             -c:v libx264 -preset veryfast -g {gap} -c:a aac -f flv rtmp://{}/live/{KEY}\n\n\
             and watch it in a browser, or in a player of HLS:\n\n  \
             {dashboard}#/streams/{KEY}\n  {dashboard}hls/{KEY}/{LIVE_MASTER}\n",
            self.address
        )
    }

    /// Takes streams until `stop`.
    pub(super) fn serve(
        self,
        broadcaster: &Broadcaster,
        stream: StreamConfig,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let settings = RtmpConfig { stream, silence: PATIENCE, ..RtmpConfig::default() };
        tokio::spawn(RtmpIngest::new(broadcaster.clone(), settings, None).serve(self.listener, stop))
    }
}

/// Listens at `usual`, or at a free port of this machine where another program does.
async fn usual_or_free(usual: &str) -> io::Result<TcpListener> {
    match TcpListener::bind(usual).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => TcpListener::bind(FREE).await,
        bound => bound,
    }
}

/// Draws what happens on all streams, for as long as the broadcaster lives.
pub(super) async fn keep_streams_drawn(board: &Board, broadcaster: &Broadcaster) {
    let mut events = broadcaster.events();
    while let Some((stream, event)) = events.next().await {
        feed::draw(board, &stream, &event, feed::now_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_another_program_has_is_replaced_by_a_free_one() {
        let other = TcpListener::bind(FREE).await.unwrap();
        let taken = other.local_addr().unwrap();
        let found = usual_or_free(&taken.to_string()).await.unwrap();
        assert_ne!(found.local_addr().unwrap(), taken);
    }
}
