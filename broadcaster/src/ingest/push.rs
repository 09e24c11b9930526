//! HTTP push: `POST|PUT /live/<manifest>/<sequence>.ts|.mp4`, one request per segment.
//!
//! The answer carries the renditions where the request accepts `multipart/mixed`, and is empty otherwise. Its `Server-Timing`
//! header says how long each stage took, in milliseconds: `ingest` from the last byte until the stream took the segment, then the
//! stages of [`Timeline::stages`].
//!
//! [`PUSH`] lists every status.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use framemill_media::MediaError;
use framemill_network::{Ladder, TranscodeConfiguration};
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::auth::{Admission, AuthRequest, PushAuth};
use super::multipart;
use super::passes::{Pass, Passes};
use super::upload::{Upload, UploadError, Uploads};
use crate::attempt::millis_since;
use crate::config::{StreamConfig, is_stream_name};
use crate::endpoint::PUSH;
use crate::error::{SegmentError, StreamError};
use crate::event::{SegmentResult, Timeline};
use crate::service::{Broadcaster, lock};
use crate::stream::{Segment, StreamHandle};

/// Results kept per stream for a client that repeats a request whose answer it did not get.
const REPEATABLE: usize = 2;
/// How often idle streams are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Longest duration a `Content-Duration` header may claim, in milliseconds.
const MAX_DURATION_MS: u64 = 60_000;
/// Header with the picture size.
const RESOLUTION: &str = "content-resolution";
/// Header with the duration in milliseconds.
const DURATION: &str = "content-duration";
/// Header of the answer with the time that each stage took (W3C Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Header with manifest and ladder as JSON.
const CONFIGURATION: &str = "livepeer-transcode-configuration";

/// How pushed streams are taken.
#[derive(Debug, Clone)]
pub struct PushConfig {
    /// Settings of every stream; its name is replaced by the manifest's.
    pub stream: StreamConfig,
    /// Largest body.
    pub max_body_bytes: usize,
    /// Longest time a body may take.
    pub body_timeout: Duration,
    /// Bodies at a time that no stream has taken yet, over all streams. FFmpeg sends a segment while it makes it, so every live
    /// stream may have one open all the time.
    pub max_uploads: usize,
    /// Bytes of such bodies together, at least one largest body: bounds their memory.
    pub max_upload_bytes: usize,
    /// A stream without a segment for this long is finished.
    pub idle_timeout: Duration,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            stream: StreamConfig::new("push"),
            max_body_bytes: 64 << 20,
            body_timeout: Duration::from_secs(20),
            max_uploads: 1024,
            max_upload_bytes: 1 << 30,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Takes pushed segments. Streams open with their first good segment and end when idle, or by [`PushIngest::finish`].
#[derive(Clone)]
pub struct PushIngest {
    state: Arc<PushState>,
    /// Ends the sweeper with the last clone.
    _sweeper: Arc<DropGuard>,
}

struct PushState {
    broadcaster: Broadcaster,
    config: PushConfig,
    /// What streams are opened with from now on.
    stream: Mutex<StreamConfig>,
    auth: Option<Arc<dyn PushAuth>>,
    streams: Mutex<Streams>,
    uploads: Uploads,
}

/// The streams that are open or being opened, and who was let in to the open ones.
#[derive(Default)]
struct Streams {
    cells: HashMap<String, Arc<OnceCell<Live>>>,
    passes: Passes,
    /// No more are opened.
    closing: bool,
}

impl Streams {
    fn remove(&mut self, name: &str) -> Option<Arc<OnceCell<Live>>> {
        self.passes.forget(name);
        self.cells.remove(name)
    }

    /// Remembers who was let in, unless the stream has ended meanwhile.
    fn remember(&mut self, pass: Pass, admission: Arc<Admission>, cell: &Arc<OnceCell<Live>>) {
        if self.cells.get(&admission.name).is_some_and(|open| Arc::ptr_eq(open, cell)) {
            self.passes.add(pass, admission);
        }
    }
}

/// An open stream.
struct Live {
    handle: StreamHandle,
    used: Mutex<Instant>,
    busy: AtomicUsize,
    recent: Mutex<VecDeque<Recent>>,
}

/// A finished request that may be repeated.
struct Recent {
    sequence: u64,
    sha256: B256,
    result: SegmentResult,
}

/// Counts a request in progress, which keeps its stream from being idle.
struct Busy<'a>(&'a Live);

impl<'a> Busy<'a> {
    fn new(live: &'a Live) -> Self {
        live.busy.fetch_add(1, Ordering::AcqRel);
        Self(live)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *lock(&self.0.used) = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

impl PushIngest {
    /// An ingest for `broadcaster`; without `auth` every stream is let in. Must be called inside a Tokio runtime.
    pub fn new(broadcaster: Broadcaster, config: PushConfig, auth: Option<Arc<dyn PushAuth>>) -> Self {
        let cancel = CancellationToken::new();
        let state = Arc::new(PushState {
            uploads: Uploads::new(config.max_uploads, config.max_upload_bytes.max(config.max_body_bytes)),
            broadcaster,
            stream: Mutex::new(config.stream.clone()),
            config,
            auth,
            streams: Mutex::default(),
        });
        let (sweeping, token) = (Arc::downgrade(&state), cancel.clone());
        let ended = state.broadcaster.shared.cancel.clone();
        state.broadcaster.shared.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = token.cancelled() => return,
                    () = ended.cancelled() => return,
                    () = tokio::time::sleep(SWEEP) => {}
                }
                let Some(state) = sweeping.upgrade() else { return };
                state.sweep(Instant::now()).await;
            }
        });
        Self { state, _sweeper: Arc::new(cancel.drop_guard()) }
    }

    /// The router; nothing listens until it is served.
    pub fn router(&self) -> Router {
        Router::new().route(PUSH.path, PUSH.served_by(push)).with_state(Arc::clone(&self.state))
    }

    /// Opens streams with other settings from now on; open ones keep theirs.
    pub fn set_stream(&self, stream: StreamConfig) {
        *lock(&self.state.stream) = stream;
    }

    /// Finishes every open stream, and refuses what is pushed from then on: a stream that is over would begin anew in the place
    /// of its recording. Cancel safe: they go on ending when the call is dropped.
    pub async fn finish(&self) {
        let closed = Streams { closing: true, ..Streams::default() };
        let ended = std::mem::replace(&mut *lock(&self.state.streams), closed);
        let open = ended.cells.values().filter_map(|cell| cell.get());
        futures::future::join_all(open.map(|live| live.handle.finish())).await;
    }
}

impl PushState {
    /// Finishes streams that are idle at `now`.
    async fn sweep(&self, now: Instant) {
        let idle: Vec<_> = {
            let mut streams = lock(&self.streams);
            let names: Vec<String> = streams
                .cells
                .iter()
                .filter(|(_, cell)| cell.get().is_some_and(|live| self.is_idle(live, now)))
                .map(|(name, _)| name.clone())
                .collect();
            names.iter().filter_map(|name| streams.remove(name)).collect()
        };
        // A further store that is away makes an end wait, and only its own.
        let ends = idle.iter().filter_map(|cell| cell.get()).map(|live| {
            tracing::info!(stream = live.handle.name(), "pushed stream is idle and ends");
            live.handle.finish()
        });
        futures::future::join_all(ends).await;
    }

    fn is_idle(&self, live: &Live, now: Instant) -> bool {
        live.busy.load(Ordering::Acquire) == 0
            && now.saturating_duration_since(*lock(&live.used)) >= self.config.idle_timeout
    }

    /// Whom the request may push as: a hook is asked where it has not let in the very same before, into a stream that is open. The
    /// stream's name is public, so it lets nobody in.
    async fn admit(
        &self,
        named: &str,
        asked: Option<String>,
        (uri, headers): (&Uri, &HeaderMap),
    ) -> Result<(Arc<Admission>, Option<Pass>), Refused> {
        let manifest = asked.unwrap_or_else(|| named.to_owned());
        check_name(&manifest)?;
        let Some(auth) = &self.auth else {
            check_no_page(headers)?;
            return Ok((Arc::new(Admission::free(manifest)), None));
        };
        let request = AuthRequest { url: uri.to_string(), manifest };
        let pass = Pass::of(&request);
        if let Some(known) = lock(&self.streams).passes.find(pass) {
            return Ok((known, None));
        }
        let admission = Admission::ask(auth.as_ref(), &request, named, &self.broadcaster.shared).await;
        let admission =
            admission.map_err(|denied| Refused::new(StatusCode::FORBIDDEN, denied.to_string()))?;
        Ok((Arc::new(admission), Some(pass)))
    }

    /// The stream that somebody was let in to, opened when it is not.
    async fn open(
        &self,
        admission: &Admission,
        asked: Option<Ladder>,
    ) -> Result<Arc<OnceCell<Live>>, Refused> {
        let cell = {
            let mut streams = lock(&self.streams);
            if streams.closing {
                let message = "this broadcaster is about to end; push to another, or try again later";
                return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, message.to_owned()));
            }
            let open = streams.cells.len();
            if !streams.cells.contains_key(&admission.name)
                && open >= self.broadcaster.shared.limits().max_streams
            {
                return Err(StreamError::TooMany(open).into());
            }
            Arc::clone(streams.cells.entry(admission.name.clone()).or_default())
        };
        let opened = cell
            .get_or_try_init(|| async {
                let configured = lock(&self.stream).clone();
                Ok::<_, StreamError>(Live {
                    handle: self.broadcaster.stream(admission.settings(configured, asked))?,
                    used: Mutex::new(Instant::now()),
                    busy: AtomicUsize::new(0),
                    recent: Mutex::default(),
                })
            })
            .await
            .map(drop);
        if let Err(error) = opened {
            let mut streams = lock(&self.streams);
            streams.cells.retain(|_, cell| cell.initialized() || Arc::strong_count(cell) > 1);
            return Err(error.into());
        }
        Ok(cell)
    }

    async fn serve(&self, named: &str, file: &str, request: Request) -> Result<Response, Refused> {
        let sequence = sequence_of(file)?;
        let (parts, body) = request.into_parts();
        check_headers(&parts.headers)?;
        let TranscodeConfiguration { manifest_id, ladder } = configuration(&parts.headers)?;
        let (admission, pass) = self.admit(named, manifest_id, (&parts.uri, &parts.headers)).await?;
        let mut upload = self.uploads.begin()?;
        let data = self.read(body, &parts.headers, &mut upload).await?;
        let arrived = Instant::now();
        let segment = Segment::inspect_off_thread(sequence, data).await?;
        let cell = self.open(&admission, ladder).await?;
        let live = cell.get().ok_or_else(|| Refused::from(StreamError::Ended(admission.name.clone())))?;
        if let Some(pass) = pass {
            lock(&self.streams).remember(pass, admission, &cell);
        }
        let result = transcode(live, segment, upload).await?;
        let mut answer = answer(&parts.headers, sequence, &result);
        answer.headers_mut().insert(SERVER_TIMING, server_timing(arrived, &result.report.timeline));
        Ok(answer)
    }

    async fn read(&self, body: Body, headers: &HeaderMap, upload: &mut Upload<'_>) -> Result<Bytes, Refused> {
        let announced = headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let reading = upload.read(body, announced, self.config.max_body_bytes);
        let timeout = self.config.body_timeout;
        let late = |_| Refused::bad(format!("body did not arrive within {timeout:?}; send it at once"));
        let data = tokio::time::timeout(timeout, reading).await.map_err(late)??;
        if data.is_empty() {
            return Err(Refused::bad("segment has no bytes; send a whole mpeg-ts or mp4 segment".into()));
        }
        Ok(data)
    }
}

/// Any page that somebody at this machine looks at could spend the deposit: browsers let it send, also to addresses of this machine,
/// and say so in `Origin`, which encoders do not have. A page whose own name was pointed here says it as well.
fn check_no_page(headers: &HeaderMap) -> Result<(), Refused> {
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(_) => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "pages in a browser may push only where a hook decides who may: set broadcaster.auth_url"
                .to_owned(),
        )),
    }
}

/// Hands a segment to its stream, which takes the memory over from its `upload`, and waits for the result.
async fn transcode(live: &Live, segment: Segment, upload: Upload<'_>) -> Result<SegmentResult, Refused> {
    let _busy = Busy::new(live);
    let (sequence, sha256) = (segment.sequence, segment.sha256);
    if let Some(result) = live.repeated(sequence, sha256) {
        return Ok(result);
    }
    let pending = live.handle.take(segment).await?;
    drop(upload);
    let result = pending.outcome().await?;
    let mut recent = lock(&live.recent);
    recent.push_back(Recent { sequence, sha256, result: result.clone() });
    while recent.len() > REPEATABLE {
        recent.pop_front();
    }
    Ok(result)
}

impl Live {
    /// The result of an equal request answered before: a client that lost the answer does not buy the work twice.
    fn repeated(&self, sequence: u64, sha256: B256) -> Option<SegmentResult> {
        let recent = lock(&self.recent);
        let found = recent.iter().find(|recent| recent.sequence == sequence && recent.sha256 == sha256);
        found.map(|recent| recent.result.clone())
    }
}

async fn push(
    State(state): State<Arc<PushState>>,
    Path((manifest, file)): Path<(String, String)>,
    request: Request,
) -> Response {
    // FFmpeg's muxers hang up after the last byte: what arrived whole is worked on whether or not anybody waits.
    let tasks = state.broadcaster.shared.tasks.clone();
    let served = tasks.spawn(async move { state.serve(&manifest, &file, request).await }).await;
    match served {
        Ok(Ok(response)) => response,
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What each stage took; a repeated answer tells what its first one did.
fn server_timing(arrived: Instant, timeline: &Timeline) -> HeaderValue {
    let ingest = millis_since(arrived).saturating_sub(timeline.published_ms.unwrap_or(0));
    let stages = std::iter::once(("ingest", ingest)).chain(timeline.stages());
    let stages: Vec<String> = stages.map(|(stage, millis)| format!("{stage};dur={millis}")).collect();
    HeaderValue::from_str(&stages.join(", ")).expect("names and numbers are legal in a header")
}

fn answer(headers: &HeaderMap, sequence: u64, result: &SegmentResult) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if !accepts.flat_map(|value| value.split(',')).any(|part| part.trim().starts_with("multipart/mixed")) {
        return StatusCode::OK.into_response();
    }
    let boundary = multipart::boundary();
    let body = multipart::body(&boundary, sequence, &result.renditions);
    ([(header::CONTENT_TYPE, multipart::content_type(&boundary))], body).into_response()
}

fn sequence_of(file: &str) -> Result<u64, Refused> {
    let parsed = file
        .strip_suffix(".ts")
        .or_else(|| file.strip_suffix(".mp4"))
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|number| number.parse().ok());
    parsed.ok_or_else(|| Refused::bad("push to /live/<manifest>/<sequence>.ts or .mp4".into()))
}

fn check_name(manifest: &str) -> Result<(), Refused> {
    if is_stream_name(manifest) {
        Ok(())
    } else {
        Err(StreamError::Name(manifest.chars().take(64).collect()).into())
    }
}

/// The size and duration headers are not needed, as the media says both, but a malformed one shows a broken client.
fn check_headers(headers: &HeaderMap) -> Result<(), Refused> {
    if let Some(value) = headers.get(RESOLUTION) {
        let pair = value.to_str().ok().and_then(|text| text.split_once(['x', 'X']));
        let side = |text: &str| text.trim().parse::<u32>().is_ok();
        if !pair.is_some_and(|(width, height)| side(width) && side(height)) {
            return Err(Refused::bad("content-resolution must be WIDTHxHEIGHT".into()));
        }
    }
    if let Some(value) = headers.get(DURATION) {
        let millis = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
        if millis.is_none_or(|millis| millis > MAX_DURATION_MS) {
            let message = format!("content-duration must be milliseconds, at most {MAX_DURATION_MS}");
            return Err(Refused::bad(message));
        }
    }
    Ok(())
}

fn configuration(headers: &HeaderMap) -> Result<TranscodeConfiguration, Refused> {
    let Some(value) = headers.get(CONFIGURATION) else {
        return Ok(TranscodeConfiguration { manifest_id: None, ladder: None });
    };
    let text =
        value.to_str().map_err(|_| Refused::bad("livepeer-transcode-configuration must be json".into()))?;
    TranscodeConfiguration::from_json(text)
        .map_err(|error| Refused::bad(format!("livepeer-transcode-configuration: {error}")))
}

/// An answer other than 200, as plain text.
struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: String) -> Self {
        Self { status, message }
    }

    fn bad(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Full => {
                let message = "too many uploads at a time; try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, message.into())
            }
            UploadError::TooLong { limit } => {
                let message = format!("body is larger than {limit} bytes; send shorter segments");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
            }
            UploadError::Broken(reason) => Self::bad(format!("body cannot be read: {reason}")),
        }
    }
}

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        let status = match &error {
            StreamError::Media(MediaError::NotMedia { .. } | MediaError::Truncated { .. }) => {
                StatusCode::BAD_REQUEST
            }
            StreamError::Media(media) if media.is_bad_media() => StatusCode::UNPROCESSABLE_ENTITY,
            StreamError::Ladder(_) => StatusCode::UNPROCESSABLE_ENTITY,
            StreamError::Name(_) | StreamError::OutOfOrder { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<SegmentError> for Refused {
    fn from(error: SegmentError) -> Self {
        let status = match &error {
            SegmentError::Source { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.message).into_response();
        if matches!(
            self.status,
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE
        ) {
            // The body may not have been read: a client that reused the connection would run into its end.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
