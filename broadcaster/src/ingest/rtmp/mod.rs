//! RTMP in: `rtmp://HOST[:1935]/live/<key>`, as OBS Studio and FFmpeg publish.
//!
//! The protocol's parts are written here because the crates that have them follow objects of a stranger's command without a bound
//! (a few kilobytes end the process). A connection is one publisher of one stream; its messages become an FLV stream, which goes
//! the way of every other input.

mod amf;
mod chunk;
mod flv;
mod session;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::flv::FlvWriter;
use self::session::{Event, Session};
use super::auth::{AuthDenied, AuthGrant, AuthRequest, PushAuth};
use super::reader::Pace;
use crate::config::{StreamConfig, is_stream_name};
use crate::error::StreamError;
use crate::service::Broadcaster;
use crate::stream::StreamHandle;

/// The one application that is served.
const APP: &str = "live";
/// Bytes read at a time.
const READ: usize = 64 << 10;
/// Tags that wait for a stream that is full; then the publisher waits.
const WAITING_TAGS: usize = 64;
/// Pause after the listener failed, as when there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time to tell a publisher why it is refused.
const FAREWELL: Duration = Duration::from_secs(1);

/// How publishers are taken.
#[derive(Debug, Clone)]
pub struct RtmpConfig {
    /// Settings of every stream; its name is replaced by the key's.
    pub stream: StreamConfig,
    /// Connections at a time, publishing or not yet.
    pub max_connections: usize,
    /// Time from the connection to the wish to publish.
    pub greeting: Duration,
    /// Bytes that may come until then.
    pub max_greeting_bytes: usize,
    /// A publisher of whom nothing is heard for so long is gone, and so is one whose stream takes nothing for so long.
    pub silence: Duration,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            stream: StreamConfig::new("rtmp"),
            max_connections: 512,
            greeting: Duration::from_secs(10),
            max_greeting_bytes: 256 << 10,
            silence: Duration::from_secs(15),
        }
    }
}

/// Why a publisher's connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RtmpError {
    #[error("not RTMP as publishers speak it: {0}")]
    Malformed(&'static str),
    #[error("a message of {length} bytes, at most {most} are taken")]
    TooLong { length: usize, most: usize },
    #[error("it wants to play, and here streams are only published; play the HLS playlist")]
    PlaysNothing,
    #[error("{0}")]
    Refused(String),
    #[error("nothing was heard of it for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the stream took nothing for {} s: no orchestrator keeps up", .0.as_secs())]
    Stuck(Duration),
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl From<AuthDenied> for RtmpError {
    fn from(denied: AuthDenied) -> Self {
        Self::Refused(denied.to_string())
    }
}

/// Takes streams over RTMP. Each begins when its publisher is let in and ends with its connection.
#[derive(Clone)]
pub struct RtmpIngest {
    shared: Arc<Shared>,
}

struct Shared {
    broadcaster: Broadcaster,
    config: RtmpConfig,
    auth: Option<Arc<dyn PushAuth>>,
    places: Arc<Semaphore>,
}

impl RtmpIngest {
    /// An ingest for `broadcaster`; without `auth` every stream is let in.
    pub fn new(broadcaster: Broadcaster, config: RtmpConfig, auth: Option<Arc<dyn PushAuth>>) -> Self {
        let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        Self { shared: Arc::new(Shared { broadcaster, config, auth, places }) }
    }

    /// Serves publishers until `stop`; then ends their streams in order and returns.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, from)) => self.take(socket, from, &connections, &stop),
                Err(error) => {
                    tracing::debug!(%error, "rtmp connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }

    fn take(&self, socket: TcpStream, from: SocketAddr, connections: &TaskTracker, stop: &CancellationToken) {
        let Ok(place) = Arc::clone(&self.shared.places).try_acquire_owned() else {
            tracing::debug!(%from, "rtmp connection refused: max_connections are there");
            return;
        };
        let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let mut publisher = Publisher { socket, session: Session::new(), buffer: BytesMut::new() };
            match shared.serve(&mut publisher, &stop).await {
                Ok(Some(name)) => tracing::info!(stream = %name, %from, "rtmp publisher ended its stream"),
                Ok(None) => {}
                Err(error) => tracing::info!(%from, %error, "rtmp connection ended"),
            }
        });
    }
}

/// A connection and what is known of it.
struct Publisher {
    socket: TcpStream,
    session: Session,
    buffer: BytesMut,
}

impl Publisher {
    /// What the next bytes mean; `None` when there are no more.
    async fn next(&mut self) -> Result<Option<Vec<Event>>, RtmpError> {
        self.buffer.clear();
        self.buffer.reserve(READ);
        if self.socket.read_buf(&mut self.buffer).await? == 0 {
            return Ok(None);
        }
        let events = self.session.receive(&self.buffer)?;
        self.answer().await?;
        Ok(Some(events))
    }

    async fn answer(&mut self) -> Result<(), RtmpError> {
        let out = self.session.take_output();
        if !out.is_empty() {
            self.socket.write_all(&out).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, reason: &str) {
        self.session.refuse(reason);
        // One that does not listen is gone all the same.
        let _ = timeout(FAREWELL, async {
            let _ = self.answer().await;
            let _ = self.socket.shutdown().await;
        })
        .await;
    }
}

impl Shared {
    /// Serves one connection; returns the name of the stream that it published.
    async fn serve(
        &self,
        publisher: &mut Publisher,
        stop: &CancellationToken,
    ) -> Result<Option<String>, RtmpError> {
        let until = Instant::now() + self.config.greeting;
        let asked = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            asked = timeout_at(until, self.greet(publisher)) => asked,
        };
        let Some((app, key)) = asked.map_err(|_| RtmpError::Silent(self.config.greeting))?? else {
            return Ok(None);
        };
        let stream = match self.open(&app, &key).await {
            Ok(stream) => stream,
            Err(error) => {
                publisher.refuse(&error.to_string()).await;
                return Err(error);
            }
        };
        publisher.session.accept();
        let name = stream.name().to_owned();
        tracing::info!(stream = %name, "rtmp publisher begins");
        let played = match publisher.answer().await {
            Ok(()) => self.play(publisher, &stream, stop).await,
            Err(error) => Err(error),
        };
        stream.finish().await;
        played.map(|()| Some(name))
    }

    /// Listens until the publisher says what it wants; `None` when it leaves before.
    async fn greet(&self, publisher: &mut Publisher) -> Result<Option<(String, String)>, RtmpError> {
        let mut bytes = 0;
        while let Some(events) = publisher.next().await? {
            if let Some(Event::Publish { app, key }) = events.into_iter().next() {
                return Ok(Some((app, key)));
            }
            bytes += publisher.buffer.len();
            if bytes > self.config.max_greeting_bytes {
                return Err(RtmpError::Malformed("too much before it says what it wants"));
            }
        }
        Ok(None)
    }

    /// The stream that a publisher asks for, if it may have it.
    async fn open(&self, app: &str, key: &str) -> Result<StreamHandle, RtmpError> {
        if app != APP {
            return Err(RtmpError::Refused(format!("no application {app:?} here; publish to /{APP}/<key>")));
        }
        let (name, _) = key.split_once('?').unwrap_or((key, ""));
        let grant = match &self.auth {
            Some(auth) => auth.authorize(&AuthRequest { url: format!("rtmp:///{APP}/{key}") }).await?,
            None => AuthGrant::default(),
        };
        let name = grant.manifest.as_deref().unwrap_or(name);
        if !is_stream_name(name) {
            return Err(StreamError::Name(name.chars().take(64).collect()).into());
        }
        let mut config = StreamConfig { name: name.to_owned(), ..self.config.stream.clone() };
        config.ladder = grant.ladder.unwrap_or(config.ladder);
        Ok(self.broadcaster.stream(config)?)
    }

    /// Carries media into the stream until the publisher ends, is gone, or is stopped.
    async fn play(
        &self,
        publisher: &mut Publisher,
        stream: &StreamHandle,
        stop: &CancellationToken,
    ) -> Result<(), RtmpError> {
        let (tags, reader) = mpsc::channel(WAITING_TAGS);
        let mut pump = std::pin::pin!(stream.push_reader(Tags::new(reader), Pace::Fast));
        let heard = {
            let mut carry = std::pin::pin!(self.carry(publisher, tags));
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                heard = &mut carry => heard,
                // What cannot be cut ends the stream with the reason.
                pumped = &mut pump => return pumped.map(drop).map_err(RtmpError::from),
            }
        };
        // Its tags are at an end: what is there of the last segment is cut.
        let pumped = pump.await;
        heard.and(pumped.map(drop).map_err(RtmpError::from))
    }

    async fn carry(&self, publisher: &mut Publisher, tags: mpsc::Sender<Bytes>) -> Result<(), RtmpError> {
        let silence = self.config.silence;
        let mut writer = FlvWriter::default();
        loop {
            let events =
                timeout(silence, publisher.next()).await.map_err(|_| RtmpError::Silent(silence))??;
            let Some(events) = events else { return Ok(()) };
            for event in events {
                let Event::Media { kind, timestamp, data } = event else { return Ok(()) };
                let Some(written) = writer.tag(kind, timestamp, &data) else { continue };
                let sent = timeout(silence, tags.send(written)).await;
                if sent.map_err(|_| RtmpError::Stuck(silence))?.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// The stream's end of a connection: blocks until there are more tags.
struct Tags {
    waiting: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Tags {
    fn new(waiting: mpsc::Receiver<Bytes>) -> Self {
        Self { waiting, current: Bytes::new() }
    }
}

impl Read for Tags {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.waiting.blocking_recv() {
                Some(tag) => self.current = tag,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
