//! RTMP in: `rtmp://HOST[:1935]/live/<key>`, as OBS Studio and FFmpeg publish.
//!
//! The protocol's parts are written here because the crates that have them follow objects of a stranger's command without a bound
//! (a few kilobytes end the process). A connection is one publisher of one stream; its messages become a stream of FLV or Matroska, which
//! goes the way of every other input.

mod amf;
mod chunk;
mod container;
mod flv;
mod handshake;
mod matroska;
mod session;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::container::{Tag, Writer};
use self::session::{Event, Session};
use super::auth::{Admission, AuthDenied, AuthRequest, PushAuth};
use super::reader::Pace;
use crate::config::StreamConfig;
use crate::error::StreamError;
use crate::service::{Broadcaster, lock};
use crate::stream::StreamHandle;

/// The one application that is served.
const APP: &str = "live";
/// Bytes read at a time.
const READ: usize = 64 << 10;
/// Bytes that wait for a stream that is full, beyond one message; then the publisher waits.
const WAITING_BYTES: usize = 4 << 20;
/// Pieces that these are in at most.
const WAITING_PIECES: usize = 1024;
/// Pause after the listener failed, as when there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time to tell a publisher why it is refused, and for one that ends its stream to say all of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How publishers are taken.
#[derive(Debug, Clone)]
pub struct RtmpConfig {
    /// Settings of every stream; its name is replaced by the key's.
    pub stream: StreamConfig,
    /// Publishers at a time.
    pub max_publishers: usize,
    /// Connections at a time that have not been let in.
    pub max_greetings: usize,
    /// Those of one address (a /64 of IPv6).
    pub max_greetings_per_address: usize,
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
            max_publishers: 512,
            max_greetings: 128,
            max_greetings_per_address: 8,
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
    /// What streams are opened with from now on.
    stream: Mutex<StreamConfig>,
    auth: Option<Arc<dyn PushAuth>>,
    places: Arc<Semaphore>,
    door: Arc<Door>,
}

/// Room for connections that have not been let in.
struct Door {
    room: Arc<Semaphore>,
    most_per_address: usize,
    inside: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place at the door.
struct Greeting {
    door: Arc<Door>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Door {
    fn new(room: usize, most_per_address: usize) -> Self {
        let room = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
        Self { room, most_per_address, inside: Mutex::default() }
    }

    /// A place for a connection of this address, where there is one.
    fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Greeting> {
        let place = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let address = counted(from);
        let mut inside = lock(&self.inside);
        let count = inside.entry(address).or_default();
        if *count >= self.most_per_address {
            return None;
        }
        *count += 1;
        drop(inside);
        Some(Greeting { door: Arc::clone(self), address, _place: place })
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut inside = lock(&self.door.inside);
        if let Some(count) = inside.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: a network of IPv6 belongs to one household.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl RtmpIngest {
    /// An ingest for `broadcaster`; without `auth` every stream is let in.
    pub fn new(broadcaster: Broadcaster, config: RtmpConfig, auth: Option<Arc<dyn PushAuth>>) -> Self {
        let places = Arc::new(Semaphore::new(config.max_publishers.min(Semaphore::MAX_PERMITS)));
        let door = Arc::new(Door::new(config.max_greetings, config.max_greetings_per_address));
        let stream = Mutex::new(config.stream.clone());
        Self { shared: Arc::new(Shared { broadcaster, config, stream, auth, places, door }) }
    }

    /// Opens streams with other settings from now on; open ones keep theirs.
    pub fn set_stream(&self, stream: StreamConfig) {
        *lock(&self.shared.stream) = stream;
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
        let Some(greeting) = self.shared.door.enter(from.ip()) else {
            tracing::debug!(%from, "rtmp connection refused: too many wait to be let in");
            return;
        };
        let (shared, stop) = (Arc::clone(&self.shared), stop.clone());
        connections.spawn(async move {
            let mut publisher = Publisher { socket, session: Session::new(), buffer: BytesMut::new() };
            match shared.serve(&mut publisher, greeting, &stop).await {
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

    /// Lets a publisher that has ended its stream hang up: one that is hung up on amid its last commands takes that for a failure.
    async fn hear_out(&mut self) {
        let _ = timeout(FAREWELL, async { while let Ok(Some(_)) = self.next().await {} }).await;
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
        greeting: Greeting,
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
        let place = Arc::clone(&self.places).try_acquire_owned();
        let opened = match &place {
            Ok(_) => self.open(&app, &key).await,
            Err(_) => Err(RtmpError::Refused("as many publish as may".to_owned())),
        };
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                publisher.refuse(&error.to_string()).await;
                return Err(error);
            }
        };
        drop(greeting);
        publisher.session.accept();
        let name = stream.name().to_owned();
        tracing::info!(stream = %name, "rtmp publisher begins");
        let played = self.play(publisher, &stream, stop).await;
        tokio::join!(stream.finish(), publisher.hear_out());
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
        let admission = match &self.auth {
            Some(auth) => {
                let url = format!("rtmp:///{APP}/{key}");
                let request = AuthRequest { url, manifest: name.to_owned() };
                Admission::ask(auth.as_ref(), &request, name, &self.broadcaster.shared).await?
            }
            None => Admission::free(name.to_owned()),
        };
        let configured = lock(&self.stream).clone();
        Ok(self.broadcaster.stream(admission.settings(configured, None))?)
    }

    /// Carries media into the stream until the publisher ends, is gone, or is stopped.
    async fn play(
        &self,
        publisher: &mut Publisher,
        stream: &StreamHandle,
        stop: &CancellationToken,
    ) -> Result<(), RtmpError> {
        let (tags, reader) = mpsc::channel(WAITING_PIECES);
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

    /// Tells the publisher that it may begin, and carries what comes.
    async fn carry(&self, publisher: &mut Publisher, tags: mpsc::Sender<Piece>) -> Result<(), RtmpError> {
        let silence = self.config.silence;
        timeout(silence, publisher.answer()).await.map_err(|_| RtmpError::Silent(silence))??;
        let room = Arc::new(Semaphore::new(WAITING_BYTES));
        let mut writer = Writer::new();
        // It may have begun without waiting for the answer.
        let mut heard = Some(publisher.session.receive(&[])?);
        while let Some(events) = heard {
            let finished = events.contains(&Event::Finished);
            for event in events {
                if let Event::Media { kind, timestamp, data } = event {
                    writer.tag(Tag { kind, timestamp, data })?;
                }
            }
            if let Some(bytes) = writer.take() {
                let sent = timeout(silence, hand_on(&tags, &room, bytes)).await;
                if !sent.map_err(|_| RtmpError::Stuck(silence))? {
                    return Ok(());
                }
            }
            if finished {
                return Ok(());
            }
            heard = timeout(silence, publisher.next()).await.map_err(|_| RtmpError::Silent(silence))??;
        }
        Ok(())
    }
}

/// Bytes on their way into a stream, with their part of the room for such.
type Piece = (Bytes, OwnedSemaphorePermit);

/// Waits for room; false when the stream takes no more.
async fn hand_on(tags: &mpsc::Sender<Piece>, room: &Arc<Semaphore>, bytes: Bytes) -> bool {
    // A message that is larger than all the room waits until all of it is free.
    let count = bytes.len().min(WAITING_BYTES) as u32;
    match Arc::clone(room).acquire_many_owned(count).await {
        Ok(permit) => tags.send((bytes, permit)).await.is_ok(),
        Err(_) => false,
    }
}

/// The stream's end of a connection: blocks until there are more tags.
struct Tags {
    waiting: mpsc::Receiver<Piece>,
    current: Bytes,
    /// Its part of the room, until the next piece is taken.
    room: Option<OwnedSemaphorePermit>,
}

impl Tags {
    fn new(waiting: mpsc::Receiver<Piece>) -> Self {
        Self { waiting, current: Bytes::new(), room: None }
    }
}

impl Read for Tags {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.waiting.blocking_recv() {
                Some((bytes, room)) => (self.current, self.room) = (bytes, Some(room)),
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_has_room_for_few_of_one_address() {
        let door = Arc::new(Door::new(3, 2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = door.enter(address("2001:db8::1"));
        let _second = door.enter(address("2001:db8::2"));
        assert!(first.is_some() && door.enter(address("2001:db8::3")).is_none());
        let _other = door.enter(address("192.0.2.1"));
        assert!(door.enter(address("192.0.2.2")).is_none(), "all places are taken");
        drop(first);
        assert!(door.enter(address("2001:db8::3")).is_some());
        assert_eq!(lock(&door.inside).len(), 2);
    }
}
