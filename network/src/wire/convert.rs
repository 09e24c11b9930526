//! Each message from and to its protobuf form.

use std::time::Duration;

use alloy_primitives::{B256, U256};
use bytes::Bytes;
use prost::Message;

use super::MAX_LADDER_BYTES;
use super::field;
use super::message::{
    ControlFrame, QuoteReply, ReplyFrame, SourceChunk, Welcome, WireMessage, WorkHelloFrame, WorkOpen,
};
use crate::error::ProtocolError;
use crate::ladder::{Codec, FrameRate, Gop, Ladder, LadderEntry, Profile, SourceVideo};
use crate::price::PricePerPixel;
use crate::proto;
use crate::quality::{MAX_CENTI_DB, QualityTerms};
use crate::quote::{MAX_TICKET_PARAMS_BYTES, Quote, QuoteRequest, SignedQuote};
use crate::receipt::{SignedReceipt, TranscodeReceipt};
use crate::segment::{MAX_PAYMENT_BYTES, SegmentAccept, SegmentHeader};
use crate::transfer::{MAX_CHUNK_BYTES, RenditionChunk, RenditionEnd};
use crate::wire_error::{MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES, WireCode, WireError, printable};
use crate::work::{JobHeader, MAX_ENGINES, MAX_NAME_BYTES, WorkCapacity, WorkHello};

/// Longest segment in ticks of 90 kHz: one hour. Live segments are seconds; sums over frames and rates stay far from overflow.
const MAX_DURATION_90K: u64 = 3_600 * 90_000;
/// Most frames in a segment: an hour at the highest frame rate.
const MAX_FRAMES: u64 = 3_600 * 240;

pub(super) fn bytes_of(hash: &B256) -> Bytes {
    Bytes::copy_from_slice(hash.as_slice())
}

fn ladder_to_bytes(ladder: &Ladder) -> Bytes {
    let entries = ladder.iter().map(entry_to_proto).collect();
    proto::Ladder { entries }.encode_to_vec().into()
}

/// Decodes a concrete ladder; nothing on the wire has an open one.
fn ladder_from_bytes(bytes: Bytes) -> Result<Ladder, ProtocolError> {
    let bytes = field::at_most("ladder", bytes, MAX_LADDER_BYTES)?;
    let message = proto::Ladder::decode(bytes).map_err(|_| ProtocolError::Malformed { what: "ladder" })?;
    let entries = message.entries.into_iter().map(entry_from_proto).collect::<Result<_, _>>()?;
    let ladder = Ladder::new(entries)?;
    ladder.ensure_concrete()?;
    Ok(ladder)
}

fn entry_to_proto(entry: &LadderEntry) -> proto::LadderEntry {
    let (gop_kind, gop_millis) = match entry.gop {
        Gop::Segment => (0, 0),
        Gop::Intra => (1, 0),
        Gop::Millis(millis) => (2, millis),
    };
    proto::LadderEntry {
        name: entry.name.clone(),
        width: entry.width,
        height: entry.height,
        bitrate: entry.bitrate,
        fps_num: entry.fps.num(),
        fps_den: entry.fps.den(),
        gop_kind,
        gop_millis,
        codec: entry.codec as u32,
        profile: entry.profile as u32,
    }
}

fn entry_from_proto(entry: proto::LadderEntry) -> Result<LadderEntry, ProtocolError> {
    let unknown = |field, value: u32| ProtocolError::Field {
        field,
        value: value.to_string(),
        expected: "is not known to this version",
    };
    let gop = match (entry.gop_kind, entry.gop_millis) {
        (0, 0) => Gop::Segment,
        (1, 0) => Gop::Intra,
        (2, millis) => Gop::Millis(millis),
        (kind, _) => return Err(unknown("gop kind", kind)),
    };
    let codec = Codec::ALL.get(entry.codec as usize).ok_or_else(|| unknown("codec", entry.codec))?;
    let profile =
        Profile::ALL.get(entry.profile as usize).ok_or_else(|| unknown("profile", entry.profile))?;
    Ok(LadderEntry {
        name: entry.name,
        width: entry.width,
        height: entry.height,
        bitrate: entry.bitrate,
        fps: FrameRate::new(entry.fps_num, entry.fps_den)?,
        gop,
        codec: *codec,
        profile: *profile,
    })
}

pub(super) fn price_to_proto(price: &PricePerPixel) -> proto::Price {
    proto::Price { wei: price.wei().to_be_bytes_trimmed_vec().into(), pixels: price.pixels() }
}

pub(super) fn price_from_proto(price: proto::Price) -> Result<PricePerPixel, ProtocolError> {
    let wei: U256 = field::number("price", &price.wei)?;
    PricePerPixel::new(wei, price.pixels).map_err(|error| ProtocolError::Field {
        field: "price",
        value: error.to_string(),
        expected: "must be usable",
    })
}

pub(super) fn error_to_proto(error: &WireError) -> proto::WireError {
    proto::WireError {
        code: error.code.number(),
        message: printable(&error.message),
        retry_after_ms: field::millis(error.retry_after),
        details: error.details.clone().filter(|details| details.len() <= MAX_DETAILS_BYTES),
    }
}

pub(super) fn error_from_proto(error: proto::WireError) -> Result<WireError, ProtocolError> {
    let details = error.details.map(|details| field::at_most("error details", details, MAX_DETAILS_BYTES));
    let message = match error.message {
        empty if empty.is_empty() => empty,
        message => field::text("error message", message, MAX_MESSAGE_BYTES)?,
    };
    Ok(WireError {
        code: WireCode::from_number(error.code),
        message,
        retry_after: Duration::from_millis(error.retry_after_ms.into()),
        details: details.transpose()?,
    })
}

impl WireMessage for QuoteRequest {
    const NAME: &'static str = "quote request";
    type Proto = proto::QuoteRequest;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        Ok(Self {
            sender: field::address("sender", &proto.sender)?,
            ladder: ladder_from_bytes(proto.ladder)?,
            source: SourceVideo {
                width: proto.source_width,
                height: proto.source_height,
                fps: FrameRate::new(proto.source_fps_num, proto.source_fps_den)?,
            },
            pixels_per_second: proto.pixels_per_second,
            max_price: proto.max_price.map(price_from_proto).transpose()?,
            commitments: proto.commitments,
        })
    }

    fn to_proto(&self) -> Self::Proto {
        proto::QuoteRequest {
            sender: Bytes::copy_from_slice(self.sender.as_slice()),
            ladder: ladder_to_bytes(&self.ladder),
            source_width: self.source.width,
            source_height: self.source.height,
            source_fps_num: self.source.fps.num(),
            source_fps_den: self.source.fps.den(),
            pixels_per_second: self.pixels_per_second,
            max_price: self.max_price.as_ref().map(price_to_proto),
            commitments: self.commitments,
        }
    }
}

fn terms_to_proto(terms: &QualityTerms) -> Option<proto::QualityTerms> {
    let QualityTerms { full_centi_db, least_centi_db, least_ppm } = *terms;
    let sent = proto::QualityTerms { full_centi_db, least_centi_db, least_ppm };
    (*terms != QualityTerms::WHOLE).then_some(sent)
}

fn terms_from_proto(terms: proto::QualityTerms) -> Result<QualityTerms, ProtocolError> {
    let proto::QualityTerms { full_centi_db, least_centi_db, least_ppm } = terms;
    let terms = QualityTerms { full_centi_db, least_centi_db, least_ppm };
    terms.checked().map_err(|error| ProtocolError::Field {
        field: "quality terms",
        value: error.to_string(),
        expected: "must be usable",
    })
}

fn quote_to_proto(quote: &Quote) -> proto::Quote {
    proto::Quote {
        session: bytes_of(&quote.session),
        orchestrator: Bytes::copy_from_slice(quote.orchestrator.as_slice()),
        orchestrator_peer: quote.orchestrator_peer.to_bytes().into(),
        broadcaster_peer: quote.broadcaster_peer.to_bytes().into(),
        sender: Bytes::copy_from_slice(quote.sender.as_slice()),
        price: Some(price_to_proto(&quote.price)),
        ticket_params: quote.ticket_params.clone(),
        capacity: quote.capacity,
        expires_at_unix_ms: quote.expires_at_unix_ms,
        ladder_hash: bytes_of(&quote.ladder_hash),
        commitment_version: quote.commitment_version,
        quality: terms_to_proto(&quote.quality),
    }
}

fn quote_from_proto(quote: proto::Quote) -> Result<Quote, ProtocolError> {
    Ok(Quote {
        session: field::hash("session", &quote.session)?,
        orchestrator: field::address("orchestrator", &quote.orchestrator)?,
        orchestrator_peer: field::peer("orchestrator peer", &quote.orchestrator_peer)?,
        broadcaster_peer: field::peer("broadcaster peer", &quote.broadcaster_peer)?,
        sender: field::address("sender", &quote.sender)?,
        price: price_from_proto(field::present("price", quote.price)?)?,
        ticket_params: field::at_most("ticket parameters", quote.ticket_params, MAX_TICKET_PARAMS_BYTES)?,
        capacity: quote.capacity,
        expires_at_unix_ms: quote.expires_at_unix_ms,
        ladder_hash: field::hash("ladder hash", &quote.ladder_hash)?,
        commitment_version: quote.commitment_version,
        quality: quote.quality.map(terms_from_proto).transpose()?.unwrap_or(QualityTerms::WHOLE),
    })
}

impl WireMessage for QuoteReply {
    const NAME: &'static str = "quote reply";
    type Proto = proto::QuoteReply;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::quote_reply::Reply;
        match field::present("quote reply", proto.reply)? {
            Reply::Quote(signed) => {
                let quote = quote_from_proto(field::present("quote", signed.quote)?)?;
                let signature = field::signature(&signed.signature)?;
                Ok(Self::Quote(Box::new(SignedQuote { quote, signature })))
            }
            Reply::Error(error) => Ok(Self::Error(error_from_proto(error)?)),
        }
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::quote_reply::Reply;
        let reply = match self {
            Self::Quote(signed) => Reply::Quote(proto::SignedQuote {
                quote: Some(quote_to_proto(&signed.quote)),
                signature: Bytes::copy_from_slice(&signed.signature),
            }),
            Self::Error(error) => Reply::Error(error_to_proto(error)),
        };
        proto::QuoteReply { reply: Some(reply) }
    }
}

impl WireMessage for SegmentHeader {
    const NAME: &'static str = "segment header";
    type Proto = proto::SegmentHeader;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        field::in_range("frames", proto.frames.into(), 1..=MAX_FRAMES)?;
        Ok(Self {
            session: field::hash("session", &proto.session)?,
            sequence: proto.sequence,
            duration_90k: field::in_range("duration", proto.duration_90k, 1..=MAX_DURATION_90K)?,
            frames: proto.frames,
            source_len: field::in_range("source length", proto.source_len, 1..=u64::MAX)?,
            source_sha256: field::hash("source hash", &proto.source_sha256)?,
            ladder: ladder_from_bytes(proto.ladder)?,
            deadline: Duration::from_millis(proto.deadline_ms.into()),
            payment: field::at_most("payment", proto.payment, MAX_PAYMENT_BYTES)?,
            sampling_commitment: match proto.sampling_commitment.is_empty() {
                true => None,
                false => Some(field::hash("sampling commitment", &proto.sampling_commitment)?),
            },
        })
    }

    fn to_proto(&self) -> Self::Proto {
        proto::SegmentHeader {
            session: bytes_of(&self.session),
            sequence: self.sequence,
            duration_90k: self.duration_90k,
            frames: self.frames,
            source_len: self.source_len,
            source_sha256: bytes_of(&self.source_sha256),
            ladder: ladder_to_bytes(&self.ladder),
            deadline_ms: field::millis(self.deadline),
            payment: self.payment.clone(),
            sampling_commitment: self.sampling_commitment.as_ref().map(bytes_of).unwrap_or_default(),
        }
    }
}

fn job_to_proto(job: &JobHeader) -> proto::JobHeader {
    proto::JobHeader {
        job: job.job,
        session: bytes_of(&job.session),
        sequence: job.sequence,
        duration_90k: job.duration_90k,
        frames: job.frames,
        source_len: job.source_len,
        source_sha256: bytes_of(&job.source_sha256),
        ladder: ladder_to_bytes(&job.ladder),
        deadline_ms: field::millis(job.deadline),
    }
}

fn job_from_proto(job: proto::JobHeader) -> Result<JobHeader, ProtocolError> {
    field::in_range("frames", job.frames.into(), 1..=MAX_FRAMES)?;
    Ok(JobHeader {
        job: job.job,
        session: field::hash("session", &job.session)?,
        sequence: job.sequence,
        duration_90k: field::in_range("duration", job.duration_90k, 1..=MAX_DURATION_90K)?,
        frames: job.frames,
        source_len: field::in_range("source length", job.source_len, 1..=u64::MAX)?,
        source_sha256: field::hash("source hash", &job.source_sha256)?,
        ladder: ladder_from_bytes(job.ladder)?,
        deadline: Duration::from_millis(job.deadline_ms.into()),
    })
}

pub(super) fn chunk_bytes(data: Bytes) -> Result<Bytes, ProtocolError> {
    field::in_range("bytes of a chunk", data.len() as u64, 1..=MAX_CHUNK_BYTES as u64)?;
    Ok(data)
}

impl WireMessage for SourceChunk {
    const NAME: &'static str = "source chunk";
    type Proto = proto::SourceChunk;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        Ok(Self(chunk_bytes(proto.data)?))
    }

    fn to_proto(&self) -> Self::Proto {
        proto::SourceChunk { data: self.0.clone() }
    }
}

fn receipt_to_proto(signed: &SignedReceipt) -> proto::SignedReceipt {
    let receipt = &signed.receipt;
    proto::SignedReceipt {
        session: bytes_of(&receipt.session),
        sequence: receipt.sequence,
        source_hash: bytes_of(&receipt.source_hash),
        ladder_hash: bytes_of(&receipt.ladder_hash),
        renditions_root: bytes_of(&receipt.renditions_root),
        pixels: receipt.pixels,
        round: receipt.round,
        signature: Bytes::copy_from_slice(&signed.signature),
    }
}

fn receipt_from_proto(receipt: proto::SignedReceipt) -> Result<SignedReceipt, ProtocolError> {
    Ok(SignedReceipt {
        receipt: TranscodeReceipt {
            session: field::hash("session", &receipt.session)?,
            sequence: receipt.sequence,
            source_hash: field::hash("source hash", &receipt.source_hash)?,
            ladder_hash: field::hash("ladder hash", &receipt.ladder_hash)?,
            renditions_root: field::hash("renditions root", &receipt.renditions_root)?,
            pixels: receipt.pixels,
            round: receipt.round,
        },
        signature: field::signature(&receipt.signature)?,
    })
}

fn end_from_proto(end: proto::RenditionEnd) -> Result<RenditionEnd, ProtocolError> {
    if let Some(psnr) = end.psnr_centi_db {
        field::in_range("quality", psnr.into(), 0..=MAX_CENTI_DB.into())?;
    }
    Ok(RenditionEnd {
        index: end.index,
        sha256: field::hash("rendition hash", &end.sha256)?,
        bytes: end.bytes,
        pixels: end.pixels,
        frames: end.frames,
        feature_root: match end.feature_root.is_empty() {
            true => B256::ZERO,
            false => field::hash("feature root", &end.feature_root)?,
        },
        psnr_centi_db: end.psnr_centi_db,
    })
}

fn end_to_proto(end: &RenditionEnd) -> proto::RenditionEnd {
    proto::RenditionEnd {
        index: end.index,
        sha256: bytes_of(&end.sha256),
        bytes: end.bytes,
        pixels: end.pixels,
        frames: end.frames,
        feature_root: if end.feature_root.is_zero() { Bytes::new() } else { bytes_of(&end.feature_root) },
        psnr_centi_db: end.psnr_centi_db,
    }
}

fn accept_from_proto(accept: proto::Accept) -> Result<SegmentAccept, ProtocolError> {
    let bounded = |params| field::at_most("ticket parameters", params, MAX_TICKET_PARAMS_BYTES);
    Ok(SegmentAccept {
        ticket_params: accept.ticket_params.map(bounded).transpose()?,
        refused_tickets: accept.refused_tickets,
    })
}

impl WireMessage for ReplyFrame {
    const NAME: &'static str = "reply frame";
    type Proto = proto::ReplyFrame;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::reply_frame::Frame;
        Ok(match field::present("reply frame", proto.frame)? {
            Frame::Accept(accept) => Self::Accept(accept_from_proto(accept)?),
            Frame::Chunk(chunk) => {
                Self::Chunk(RenditionChunk { index: chunk.index, data: chunk_bytes(chunk.data)? })
            }
            Frame::End(end) => Self::End(end_from_proto(end)?),
            Frame::Restart(restart) => Self::Restart { index: restart.index },
            Frame::Receipt(receipt) => Self::Receipt(receipt_from_proto(receipt)?),
            Frame::BriefReceipt(brief) => {
                Self::BriefReceipt { round: brief.round, signature: field::signature(&brief.signature)? }
            }
            Frame::Done(proto::Done {}) => Self::Done,
            Frame::Error(error) => Self::Error(error_from_proto(error)?),
        })
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::reply_frame::Frame;
        let frame = match self {
            Self::Accept(accept) => Frame::Accept(proto::Accept {
                ticket_params: accept.ticket_params.clone(),
                refused_tickets: accept.refused_tickets,
            }),
            Self::Chunk(chunk) => {
                Frame::Chunk(proto::RenditionChunk { index: chunk.index, data: chunk.data.clone() })
            }
            Self::End(end) => Frame::End(end_to_proto(end)),
            Self::Restart { index } => Frame::Restart(proto::RenditionRestart { index: *index }),
            Self::Receipt(receipt) => Frame::Receipt(receipt_to_proto(receipt)),
            Self::BriefReceipt { round, signature } => Frame::BriefReceipt(proto::BriefReceipt {
                round: *round,
                signature: Bytes::copy_from_slice(signature),
            }),
            Self::Done => Frame::Done(proto::Done {}),
            Self::Error(error) => Frame::Error(error_to_proto(error)),
        };
        proto::ReplyFrame { frame: Some(frame) }
    }
}

fn capacity_to_proto(capacity: &WorkCapacity) -> proto::Capacity {
    proto::Capacity { pixels_per_second: capacity.pixels_per_second, max_sessions: capacity.max_sessions }
}

fn capacity_from_proto(capacity: proto::Capacity) -> WorkCapacity {
    WorkCapacity { pixels_per_second: capacity.pixels_per_second, max_sessions: capacity.max_sessions }
}

fn hello_from_proto(hello: proto::WorkHello) -> Result<WorkHelloFrame, ProtocolError> {
    field::in_range("number of engines", hello.engines.len() as u64, 0..=MAX_ENGINES as u64)?;
    let engines = hello.engines.into_iter().map(|name| field::text("engine name", name, MAX_NAME_BYTES));
    Ok(WorkHelloFrame {
        hello: WorkHello {
            name: field::text("transcoder name", hello.name, MAX_NAME_BYTES)?,
            engines: engines.collect::<Result<_, _>>()?,
            capacity: capacity_from_proto(field::present("capacity", hello.capacity)?),
        },
        nonce: field::array("nonce", &hello.nonce)?,
        keep_alive_ms: hello.keep_alive_ms,
    })
}

impl WireMessage for WorkOpen {
    const NAME: &'static str = "work opening";
    type Proto = proto::WorkOpen;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::work_open::Open;
        Ok(match field::present("work opening", proto.open)? {
            Open::Hello(hello) => Self::Hello(hello_from_proto(hello)?),
            Open::Job(job) => Self::Job(job_from_proto(job)?),
        })
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::work_open::Open;
        let open = match self {
            Self::Hello(frame) => Open::Hello(proto::WorkHello {
                name: frame.hello.name.clone(),
                engines: frame.hello.engines.clone(),
                capacity: Some(capacity_to_proto(&frame.hello.capacity)),
                nonce: Bytes::copy_from_slice(&frame.nonce),
                keep_alive_ms: frame.keep_alive_ms,
            }),
            Self::Job(job) => Open::Job(job_to_proto(job)),
        };
        proto::WorkOpen { open: Some(open) }
    }
}

impl WireMessage for ControlFrame {
    const NAME: &'static str = "control frame";
    type Proto = proto::ControlFrame;

    fn from_proto(proto: Self::Proto) -> Result<Self, ProtocolError> {
        use proto::control_frame::Frame;
        Ok(match field::present("control frame", proto.frame)? {
            Frame::Challenge(challenge) => {
                Self::Challenge { nonce: field::array("nonce", &challenge.nonce)? }
            }
            Frame::Proof(proof) => Self::Proof { mac: field::array("proof", &proof.mac)? },
            Frame::Welcome(welcome) => Self::Welcome(Welcome {
                mac: field::array("proof", &welcome.mac)?,
                keep_alive_ms: welcome.keep_alive_ms,
            }),
            Frame::KeepAlive(proto::KeepAlive {}) => Self::KeepAlive,
            Frame::Capacity(capacity) => Self::Capacity(capacity_from_proto(capacity)),
            Frame::Drain(proto::Drain {}) => Self::Drain,
            Frame::Error(error) => Self::Error(error_from_proto(error)?),
        })
    }

    fn to_proto(&self) -> Self::Proto {
        use proto::control_frame::Frame;
        let frame = match self {
            Self::Challenge { nonce } => {
                Frame::Challenge(proto::Challenge { nonce: Bytes::copy_from_slice(nonce) })
            }
            Self::Proof { mac } => Frame::Proof(proto::Proof { mac: Bytes::copy_from_slice(mac) }),
            Self::Welcome(welcome) => Frame::Welcome(proto::Welcome {
                mac: Bytes::copy_from_slice(&welcome.mac),
                keep_alive_ms: welcome.keep_alive_ms,
            }),
            Self::KeepAlive => Frame::KeepAlive(proto::KeepAlive {}),
            Self::Capacity(capacity) => Frame::Capacity(capacity_to_proto(capacity)),
            Self::Drain => Frame::Drain(proto::Drain {}),
            Self::Error(error) => Frame::Error(error_to_proto(error)),
        };
        proto::ControlFrame { frame: Some(frame) }
    }
}
