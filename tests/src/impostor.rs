//! Orchestrators that quote as they should and then do not deliver.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_network::{
    Codec, FrameRate, Ladder, LadderEntry, PeerId, PricePerPixel, QualityTerms, Quote, RenditionClaim,
    SigningDomain, TranscodeReceipt, renditions_root,
};
use futures::StreamExt as _;
use libp2p::Stream;
use probabilistic_ticket::EthKey;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use crate::raw::{
    FOUR_GIBIBYTES, QUOTE, RawPeer, SEGMENT,
    proto::{self, reply_frame::Frame},
    receive, send, send_bytes,
};

/// What is sent in place of a rendition.
const JUNK: &[u8] = b"these bytes are no rendition";
/// How long a quote stands.
const QUOTE_LIFE: Duration = Duration::from_secs(600);
/// Pause between two bytes of a trickle.
const TRICKLE: Duration = Duration::from_secs(1);

/// How an impostor lets its client down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Signs a receipt over the first rendition alone.
    FewerRenditions,
    /// Signs a receipt of no round, which no court hears about.
    Undated,
    /// Sends one more rendition than the ladder has.
    MoreRenditions,
    /// Announces a message of 4 GiB.
    FourGibibytes,
    /// Sends its answer at one byte a second.
    ByteByByte,
    /// Dies when it is offered a segment.
    GoneBeforeUpload,
    /// Dies after the first bytes of the source.
    GoneDuringUpload,
    /// Dies after the last byte of the source.
    GoneAfterUpload,
}

/// An orchestrator that works for nothing and delivers it.
pub struct Impostor {
    /// The account its quotes are signed by.
    pub account: Address,
    inner: Arc<Inner>,
}

struct Inner {
    raw: RawPeer,
    key: EthKey,
    domain: SigningDomain,
    act: Act,
}

impl Impostor {
    /// Starts one that signs for contracts at `domain`.
    pub async fn start(act: Act, domain: SigningDomain) -> anyhow::Result<Self> {
        let (raw, key) = (RawPeer::start().await?, EthKey::random());
        let (mut quotes, mut segments) = (raw.accept(QUOTE)?, raw.accept(SEGMENT)?);
        let account = key.address();
        let inner = Arc::new(Inner { raw, key, domain, act });
        let quoting = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Some((client, stream)) = quotes.next().await {
                // A client that hangs up is none of an impostor's worries.
                drop(quoting.quote(client, stream).await);
            }
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Some((_, stream)) = segments.next().await {
                let serving = Arc::clone(&serving);
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        Ok(Self { account, inner })
    }

    /// As `network.peers` names it.
    pub fn peer(&self) -> String {
        format!("{}@{}/p2p/{}", self.account, self.inner.raw.address, self.inner.raw.peer)
    }
}

impl Inner {
    async fn quote(&self, client: PeerId, mut stream: Stream) -> anyhow::Result<()> {
        let request: proto::QuoteRequest = receive(&mut stream).await?;
        let expires = SystemTime::now().duration_since(UNIX_EPOCH)? + QUOTE_LIFE;
        let quote = Quote {
            session: B256::random(),
            orchestrator: self.key.address(),
            orchestrator_peer: self.raw.peer,
            broadcaster_peer: client,
            sender: Address::try_from(&request.sender[..])?,
            price: PricePerPixel::new(U256::ZERO, 1)?,
            ticket_params: Bytes::new(),
            capacity: request.pixels_per_second,
            expires_at_unix_ms: u64::try_from(expires.as_millis())?,
            ladder_hash: ladder(&request.ladder)?.hash(),
            commitment_version: 0,
            quality: QualityTerms::WHOLE,
        };
        let signature = self.key.sign_digest(quote.signing_hash(&self.domain));
        let signed = proto::SignedQuote {
            quote: Some(wire_quote(&quote)),
            signature: Bytes::copy_from_slice(signature.as_bytes()),
        };
        send(&mut stream, &proto::QuoteReply { reply: Some(proto::quote_reply::Reply::Quote(signed)) }).await
    }

    async fn serve(&self, mut stream: Stream) -> anyhow::Result<()> {
        let header: proto::SegmentHeader = receive(&mut stream).await?;
        if self.act == Act::GoneBeforeUpload {
            self.raw.vanish();
            return Ok(());
        }
        reply(&mut stream, Frame::Accept(proto::Accept::default())).await?;
        let mut received = 0;
        while received < header.source_len {
            let chunk: proto::SourceChunk = receive(&mut stream).await?;
            received += chunk.data.len() as u64;
            if self.act == Act::GoneDuringUpload {
                self.raw.vanish();
            }
        }
        match self.act {
            Act::GoneBeforeUpload | Act::GoneDuringUpload | Act::GoneAfterUpload => self.raw.vanish(),
            Act::FewerRenditions => self.deliver(&mut stream, &header, 1).await?,
            Act::Undated => self.deliver(&mut stream, &header, usize::MAX).await?,
            Act::MoreRenditions => {
                let index = u32::try_from(ladder(&header.ladder)?.len())?;
                reply(&mut stream, Frame::Chunk(chunk(index))).await?;
            }
            Act::FourGibibytes => send_bytes(&mut stream, &FOUR_GIBIBYTES).await?,
            Act::ByteByByte => {
                let frame = proto::ReplyFrame { frame: Some(Frame::Chunk(chunk(0))) };
                for byte in frame.encode_length_delimited_to_vec() {
                    send_bytes(&mut stream, &[byte]).await?;
                    sleep(TRICKLE).await;
                }
            }
        }
        // Whatever follows is the client's to decide: it closes the stream.
        drop(receive::<proto::SourceChunk>(&mut stream).await);
        Ok(())
    }

    /// Up to `count` renditions whose ends and receipt agree, of however many were asked for.
    async fn deliver(
        &self,
        stream: &mut Stream,
        header: &proto::SegmentHeader,
        count: usize,
    ) -> anyhow::Result<()> {
        let ladder = ladder(&header.ladder)?;
        let sha256 = B256::from_slice(&Sha256::digest(JUNK));
        let claims: Vec<_> = (0..)
            .zip(ladder.iter().take(count))
            .map(|(index, entry)| RenditionClaim {
                index,
                sha256,
                pixels: u64::from(header.frames) * entry.pixels_per_frame(),
                feature_root: B256::ZERO,
                psnr_centi_db: None,
            })
            .collect();
        let pixels = claims.iter().map(|claim| claim.pixels).sum();
        let receipt = TranscodeReceipt {
            session: B256::try_from(&header.session[..])?,
            sequence: header.sequence,
            source_hash: B256::try_from(&header.source_sha256[..])?,
            ladder_hash: ladder.hash(),
            renditions_root: renditions_root(&claims),
            pixels,
            round: 0,
        };
        let signature = self.key.sign_digest(receipt.signing_hash(&self.domain));
        let end = |claim: &RenditionClaim| proto::RenditionEnd {
            index: claim.index,
            sha256: word(sha256),
            bytes: JUNK.len() as u64,
            pixels: claim.pixels,
            frames: header.frames,
            feature_root: word(B256::ZERO),
            psnr_centi_db: None,
        };
        let signed = proto::SignedReceipt {
            session: header.session.clone(),
            sequence: receipt.sequence,
            source_hash: header.source_sha256.clone(),
            ladder_hash: word(receipt.ladder_hash),
            renditions_root: word(receipt.renditions_root),
            pixels,
            round: 0,
            signature: Bytes::copy_from_slice(signature.as_bytes()),
        };
        for claim in &claims {
            reply(stream, Frame::Chunk(chunk(claim.index))).await?;
            reply(stream, Frame::End(end(claim))).await?;
        }
        reply(stream, Frame::Receipt(signed)).await
    }
}

async fn reply(stream: &mut Stream, frame: Frame) -> anyhow::Result<()> {
    send(stream, &proto::ReplyFrame { frame: Some(frame) }).await
}

fn chunk(index: u32) -> proto::RenditionChunk {
    proto::RenditionChunk { index, data: Bytes::from_static(JUNK) }
}

fn word(word: B256) -> Bytes {
    Bytes::copy_from_slice(word.as_slice())
}

fn wire_quote(quote: &Quote) -> proto::Quote {
    proto::Quote {
        session: word(quote.session),
        orchestrator: Bytes::copy_from_slice(quote.orchestrator.as_slice()),
        orchestrator_peer: quote.orchestrator_peer.to_bytes().into(),
        broadcaster_peer: quote.broadcaster_peer.to_bytes().into(),
        sender: Bytes::copy_from_slice(quote.sender.as_slice()),
        price: Some(proto::Price { wei: Bytes::new(), pixels: quote.price.pixels() }),
        ticket_params: quote.ticket_params.clone(),
        capacity: quote.capacity,
        expires_at_unix_ms: quote.expires_at_unix_ms,
        ladder_hash: word(quote.ladder_hash),
        commitment_version: quote.commitment_version,
        quality: None,
    }
}

/// A ladder off the wire: H.264 at the source's rate, as the stories order it.
fn ladder(bytes: &[u8]) -> anyhow::Result<Ladder> {
    let entries = proto::Ladder::decode(bytes)?.entries;
    let entries = entries.into_iter().map(|entry| LadderEntry {
        name: entry.name,
        width: entry.width,
        ..LadderEntry::from_height(entry.height, FrameRate::SOURCE, entry.bitrate, Codec::H264)
    });
    Ok(Ladder::new(entries.collect())?)
}
