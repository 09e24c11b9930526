//! What the daemon and a device's process say to each other: messages with a length and a kind in front, of bounded size.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use framemill_media::{MediaError, VideoCodec};
use framemill_network::ladder::Ladder;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{RenditionSummary, SessionId, TranscodeError};

/// Largest message: a piece of a source or of a rendition, or a few kilobytes of JSON.
const MAX_MESSAGE: usize = 1 << 20;

/// Size of the pieces that a source is sent in.
pub(super) const SOURCE_PIECE: usize = 256 << 10;

/// Bytes in front of a message: its length, and its kind.
const HEAD: usize = 5;

/// A job as the process gets it; the source follows in pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JobHead {
    pub(super) job: u64,
    pub(super) session: SessionId,
    pub(super) sequence: u64,
    pub(super) ladder: Ladder,
    pub(super) millis: u64,
    pub(super) source_bytes: u64,
}

/// What a device can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) name: String,
    pub(super) codecs: Vec<VideoCodec>,
    /// Encoder sessions it gives at once, where it gives fewer than were tried.
    pub(super) encoders: Option<u32>,
    /// Free memory.
    pub(super) memory_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct ReadyText {
    name: String,
    codecs: Vec<String>,
    encoders: Option<u32>,
    memory_bytes: u64,
}

/// Why a job failed in the process, as far as its parent has to tell failures apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    BadMedia { reason: String },
    SizeChanged { from: (u32, u32), to: (u32, u32), frame: u64 },
    Unsupported { rendition: String, reason: String },
    Deadline,
    Cancelled,
    Other { reason: String },
}

impl From<TranscodeError> for Failure {
    fn from(error: TranscodeError) -> Self {
        match error {
            TranscodeError::BadMedia(_) => Self::BadMedia { reason: error.to_string() },
            TranscodeError::SizeChanged { from, to, frame } => Self::SizeChanged { from, to, frame },
            TranscodeError::Unsupported { rendition, reason } => Self::Unsupported { rendition, reason },
            TranscodeError::DeadlineExceeded => Self::Deadline,
            TranscodeError::Cancelled => Self::Cancelled,
            TranscodeError::Engine(MediaError::Device { operation, reason }) => {
                Self::Other { reason: format!("could not {operation}: {reason}") }
            }
            other => Self::Other { reason: other.to_string() },
        }
    }
}

impl Failure {
    /// The error that it is for the parent.
    pub(super) fn of_gpu(self, gpu: u32) -> TranscodeError {
        match self {
            Self::BadMedia { reason } => TranscodeError::SourceRefused { reason },
            Self::SizeChanged { from, to, frame } => TranscodeError::SizeChanged { from, to, frame },
            Self::Unsupported { rendition, reason } => TranscodeError::Unsupported { rendition, reason },
            Self::Deadline => TranscodeError::DeadlineExceeded,
            Self::Cancelled => TranscodeError::Cancelled,
            Self::Other { reason } => TranscodeError::Gpu { gpu, reason },
        }
    }
}

/// From the daemon to the process.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ToWorker {
    Job(JobHead),
    Source { job: u64, data: Bytes },
    Cancel { job: u64 },
}

/// From the process to the daemon. The first is [`FromWorker::Ready`] or [`FromWorker::Unusable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromWorker {
    Ready(Ready),
    Unusable {
        reason: String,
    },
    Chunk {
        job: u64,
        index: u32,
        data: Bytes,
    },
    End {
        job: u64,
        index: u32,
        summary: RenditionSummary,
    },
    /// The job went on: so many frames of so many are decoded.
    Progress {
        job: u64,
        frames: u64,
        of: u64,
    },
    Done {
        job: u64,
    },
    Failed {
        job: u64,
        failure: Failure,
    },
}

/// A message that can be sent.
pub(super) trait Message: Sized {
    /// Kind and payload.
    fn encode(&self, payload: &mut BytesMut) -> u8;
    /// The message of a kind and payload; `None` when there is no such message.
    fn decode(kind: u8, payload: Bytes) -> Option<Self>;
}

impl Message for ToWorker {
    fn encode(&self, payload: &mut BytesMut) -> u8 {
        match self {
            Self::Job(head) => {
                put_json(payload, head);
                1
            }
            Self::Source { job, data } => {
                payload.put_u64(*job);
                payload.put_slice(data);
                2
            }
            Self::Cancel { job } => {
                payload.put_u64(*job);
                3
            }
        }
    }

    fn decode(kind: u8, mut payload: Bytes) -> Option<Self> {
        Some(match kind {
            1 => Self::Job(json(&payload)?),
            2 => Self::Source { job: payload.try_get_u64().ok()?, data: payload },
            3 => Self::Cancel { job: payload.try_get_u64().ok()? },
            _ => return None,
        })
    }
}

impl Message for FromWorker {
    fn encode(&self, payload: &mut BytesMut) -> u8 {
        match self {
            Self::Ready(ready) => {
                let codecs = ready.codecs.iter().map(ToString::to_string).collect();
                let Ready { name, encoders, memory_bytes, .. } = ready.clone();
                put_json(payload, &ReadyText { name, codecs, encoders, memory_bytes });
                1
            }
            Self::Unusable { reason } => {
                put_json(payload, reason);
                2
            }
            Self::Chunk { job, index, data } => {
                payload.put_u64(*job);
                payload.put_u32(*index);
                payload.put_slice(data);
                3
            }
            Self::End { job, index, summary } => {
                payload.put_u64(*job);
                payload.put_u32(*index);
                [summary.frames, summary.pixels, summary.bytes].into_iter().for_each(|n| payload.put_u64(n));
                4
            }
            Self::Progress { job, frames, of } => {
                [*job, *frames, *of].into_iter().for_each(|n| payload.put_u64(n));
                5
            }
            Self::Done { job } => {
                payload.put_u64(*job);
                6
            }
            Self::Failed { job, failure } => {
                payload.put_u64(*job);
                put_json(payload, failure);
                7
            }
        }
    }

    fn decode(kind: u8, mut payload: Bytes) -> Option<Self> {
        if kind == 1 {
            let ReadyText { name, codecs, encoders, memory_bytes } = json(&payload)?;
            let codecs = codecs.iter().filter_map(|name| codec(name)).collect();
            return Some(Self::Ready(Ready { name, codecs, encoders, memory_bytes }));
        }
        if kind == 2 {
            return Some(Self::Unusable { reason: json(&payload)? });
        }
        let job = payload.try_get_u64().ok()?;
        Some(match kind {
            3 => Self::Chunk { job, index: payload.try_get_u32().ok()?, data: payload },
            4 => {
                let index = payload.try_get_u32().ok()?;
                let mut next = || payload.try_get_u64().ok();
                Self::End {
                    job,
                    index,
                    summary: RenditionSummary { frames: next()?, pixels: next()?, bytes: next()? },
                }
            }
            5 => {
                let (frames, of) = (payload.try_get_u64().ok()?, payload.try_get_u64().ok()?);
                Self::Progress { job, frames, of }
            }
            6 => Self::Done { job },
            7 => Self::Failed { job, failure: json(&payload)? },
            _ => return None,
        })
    }
}

fn codec(name: &str) -> Option<VideoCodec> {
    [VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Av1].into_iter().find(|codec| codec.name() == name)
}

fn put_json(payload: &mut BytesMut, value: &impl Serialize) {
    let text = serde_json::to_vec(value).expect("string keys and finite numbers only");
    payload.put_slice(&text);
}

fn json<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

/// Writes a message.
pub(super) async fn send(writer: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    let mut payload = BytesMut::new();
    let kind = message.encode(&mut payload);
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_MESSAGE);
    let length = length.ok_or_else(|| bad(format!("a message of {} bytes", payload.len())))?;
    writer.write_u32_le(length).await?;
    writer.write_u8(kind).await?;
    writer.write_all(&payload).await?;
    writer.flush().await
}

/// Reads a message; `None` at the end of the stream. Not safe to drop half way.
pub(super) async fn receive<M: Message>(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<M>> {
    let mut head = [0_u8; HEAD];
    if reader.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut head[1..]).await?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length > MAX_MESSAGE {
        return Err(bad(format!("a message of {length} bytes, {MAX_MESSAGE} are allowed")));
    }
    let mut payload = BytesMut::zeroed(length);
    reader.read_exact(&mut payload).await?;
    let kind = head[HEAD - 1];
    let message = M::decode(kind, payload.freeze());
    message.map(Some).ok_or_else(|| bad(format!("a message of kind {kind} that cannot be read")))
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    fn through<M: Message>(message: &M) -> M {
        runtime().block_on(async {
            let mut wire = Vec::new();
            send(&mut wire, message).await.expect("memory takes it");
            receive(&mut &wire[..]).await.expect("a message").expect("not the end")
        })
    }

    #[test]
    fn every_message_arrives_as_it_was_sent() {
        let head = JobHead {
            job: 7,
            session: SessionId::repeat_byte(3),
            sequence: 9,
            ladder: r#"[{"name":"a","width":640,"height":360,"bitrate":100000}]"#.parse().expect("a ladder"),
            millis: 4_000,
            source_bytes: 1 << 27,
        };
        let data = Bytes::from_static(b"pictures");
        for message in [
            ToWorker::Job(head),
            ToWorker::Source { job: 7, data: data.clone() },
            ToWorker::Cancel { job: u64::MAX },
        ] {
            assert_eq!(through(&message), message);
        }
        let codecs = vec![VideoCodec::H264, VideoCodec::Av1];
        let failure = Failure::Unsupported { rendition: "a".to_owned(), reason: "b".to_owned() };
        for message in [
            FromWorker::Ready(Ready { name: "card".to_owned(), codecs, encoders: Some(3), memory_bytes: 5 }),
            FromWorker::Unusable { reason: "too old".to_owned() },
            FromWorker::Chunk { job: 1, index: 2, data },
            FromWorker::End {
                job: 1,
                index: 2,
                summary: RenditionSummary { frames: 3, pixels: 4, bytes: 5 },
            },
            FromWorker::Progress { job: 1, frames: 2, of: 3 },
            FromWorker::Done { job: 1 },
            FromWorker::Failed { job: 1, failure },
        ] {
            assert_eq!(through(&message), message);
        }
    }

    #[test]
    fn a_claim_of_gigabytes_is_refused_before_memory_is_taken() {
        let wire = [0xff, 0xff, 0xff, 0xff, 3];
        let outcome = runtime().block_on(receive::<FromWorker>(&mut &wire[..]));
        assert!(outcome.is_err_and(|error| error.kind() == io::ErrorKind::InvalidData));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(wire in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..9) {
            let _ = runtime().block_on(receive::<FromWorker>(&mut &wire[..]));
            let _ = runtime().block_on(receive::<ToWorker>(&mut &wire[..]));
            let payload = Bytes::from(wire);
            let _ = FromWorker::decode(kind, payload.clone());
            let _ = ToWorker::decode(kind, payload);
        }
    }
}
