//! A broadcaster's side of the wire by hand: real quotes, tickets as the story wants them.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use bytes::Bytes;
use framemill_media::{MediaLimits, segment_info};
use framemill_network::{
    FrameRate, Identity, Ladder, Network, NetworkConfig, NetworkError, Quote, QuoteRequest, Retry,
    SegmentExchange, SegmentHeader, SegmentResult, ServiceAddress, SigningDomain, SourceVideo, WireCode,
    WireError,
};
use probabilistic_ticket::{EthKey, PaymentTicket, Signature, TicketBatch, TicketParams, Wei, recover};
use sha2::{Digest as _, Sha256};

use crate::Market;

/// Longer than anything takes on a busy machine, and within what orchestrators allow.
const PATIENCE: Duration = Duration::from_secs(55);
/// How often one segment is paid for again: secrets are revealed whenever a winner is redeemed.
const MAX_REPAYS: usize = 5;

/// A segment as it goes on the wire.
#[derive(Debug, Clone)]
pub struct WireSegment {
    /// Its bytes.
    pub data: Bytes,
    /// Its frames.
    pub frames: u32,
    /// Its duration in ticks of 90 kHz.
    pub duration_90k: u64,
    /// Its picture.
    pub source: SourceVideo,
}

impl WireSegment {
    /// Looks at a whole clip as one segment.
    ///
    /// # Errors
    /// It has no video.
    pub fn of(data: Bytes) -> anyhow::Result<Self> {
        let info = segment_info(&data, &MediaLimits::segment())?;
        let video = info.require_video()?;
        let fps = FrameRate::new(video.frame_rate.num, video.frame_rate.den)?;
        Ok(Self {
            frames: u32::try_from(video.frames())?,
            duration_90k: u64::try_from(video.duration)?,
            source: SourceVideo { width: video.width, height: video.height, fps },
            data,
        })
    }
}

/// A client of one orchestrator that spends the broadcaster's deposit.
pub struct Client {
    /// Where the orchestrator is.
    pub service: ServiceAddress,
    network: Network,
    key: EthKey,
    domain: SigningDomain,
    ladder: Ladder,
    segment: WireSegment,
    account: Address,
}

/// A session that an orchestrator opened for a quote.
#[derive(Debug, Clone)]
pub struct Session {
    /// The quote.
    pub quote: Quote,
    /// The latest ticket parameters.
    pub params: TicketParams,
    /// The last nonce that was used.
    pub nonce: u64,
    /// What accepted tickets were worth beyond the segments bought with them.
    pub credit: Wei,
}

impl Session {
    /// Takes fresh ticket parameters; the lane's nonces go on where they were.
    ///
    /// # Errors
    /// They are none.
    pub fn renew(&mut self, params: &[u8]) -> anyhow::Result<()> {
        self.params = TicketParams::decode(params)?;
        self.nonce = self.nonce.max(self.params.nonce_floor);
        Ok(())
    }
}

impl Client {
    /// A client that will send `segment` again and again.
    ///
    /// # Errors
    /// The chain does not know the orchestrator.
    pub async fn new(
        market: &Market,
        seller: usize,
        ladder: Ladder,
        segment: WireSegment,
    ) -> anyhow::Result<Self> {
        let service = market.tcp_service(seller).await?;
        let network = Network::start(NetworkConfig::new(Identity::generate())).await?;
        network.add_peer(&service)?;
        let deployment = market.accounts.deployment;
        Ok(Self {
            service,
            network,
            key: EthKey::from_bytes(&market.accounts.broadcaster.key.to_bytes())?,
            domain: SigningDomain { chain_id: deployment.chain_id, controller: deployment.controller },
            ladder: ladder.resolve(&segment.source)?,
            segment,
            account: market.accounts.sellers[seller].orchestrator.address,
        })
    }

    /// The key of the broadcaster's account.
    pub fn key(&self) -> &EthKey {
        &self.key
    }

    /// Asks for a quote and checks who signed it.
    ///
    /// # Errors
    /// The orchestrator declines, or somebody else signed.
    pub async fn session(&self) -> anyhow::Result<Session> {
        let request = QuoteRequest {
            sender: self.key.address(),
            ladder: self.ladder.clone(),
            source: self.segment.source,
            pixels_per_second: self.ladder.pixels_per_second(self.segment.source.fps),
            max_price: None,
            commitments: false,
        };
        let signed = self.network.request_quote(self.service.peer(), &request, PATIENCE).await?;
        let signer = recover(signed.quote.signing_hash(&self.domain), &Signature(signed.signature))?;
        anyhow::ensure!(signer == self.account, "the quote is signed by {signer}, not {}", self.account);
        let params = TicketParams::decode(&signed.quote.ticket_params)?;
        Ok(Session { quote: signed.quote, nonce: params.nonce_floor, params, credit: Wei::ZERO })
    }

    /// The bytes of the client's segment.
    pub fn source(&self) -> Bytes {
        self.segment.data.clone()
    }

    /// A header without payment for the client's segment.
    pub fn header(&self, session: &Session, sequence: u64) -> SegmentHeader {
        let segment = &self.segment;
        SegmentHeader {
            session: session.quote.session,
            sequence,
            duration_90k: segment.duration_90k,
            frames: segment.frames,
            source_len: segment.data.len() as u64,
            source_sha256: B256::from_slice(&Sha256::digest(&segment.data)),
            ladder: self.ladder.clone(),
            deadline: PATIENCE,
            payment: Bytes::new(),
            sampling_commitment: None,
        }
    }

    /// Tickets for what one segment costs beyond the session's credit, made as the session's parameters say.
    ///
    /// # Errors
    /// They are too many for one payment.
    pub fn pay(&self, session: &mut Session) -> anyhow::Result<Bytes> {
        self.pay_with(session, |_| {}, &self.key)
    }

    /// Tickets that are right but for what `change` does to their parameters and for who signs them.
    ///
    /// # Errors
    /// They are too many for one payment.
    pub fn pay_with(
        &self,
        session: &mut Session,
        change: impl FnOnce(&mut TicketParams),
        signer: &EthKey,
    ) -> anyhow::Result<Bytes> {
        let missing = self.cost(session).saturating_sub(session.credit);
        let count = missing.div_ceil(session.params.ticket_value()).context("tickets have a value")?;
        if count == 0 {
            return Ok(Bytes::new());
        }
        let mut params = session.params;
        change(&mut params);
        let mut tickets = Vec::new();
        for _ in 0..count {
            session.nonce += 1;
            let salt = B256::random();
            let ticket = params.ticket(session.nonce, salt);
            let signature = params.scheme.sign(ticket, &params.domain, signer).signature;
            tickets.push(PaymentTicket { nonce: session.nonce, salt, signature });
        }
        Ok(TicketBatch { params, tickets }.encode()?.into())
    }

    /// What the client's segment costs.
    fn cost(&self, session: &Session) -> Wei {
        let pixels = self.ladder.expected_pixels(self.segment.frames, self.segment.duration_90k);
        Wei(session.quote.price.cost(pixels))
    }

    /// Pays for the client's segment and offers it; pays again where the orchestrator asks for it.
    ///
    /// # Errors
    /// The orchestrator refuses for another reason.
    pub async fn begin(&self, session: &mut Session, sequence: u64) -> anyhow::Result<SegmentExchange> {
        for _ in 0..MAX_REPAYS {
            let payment = self.pay(session)?;
            let value = value_of(&payment)?;
            match self.offer(SegmentHeader { payment, ..self.header(session, sequence) }).await {
                Ok(exchange) => {
                    session.credit = session.credit.saturating_add(value);
                    if let Some(params) = &exchange.accept.ticket_params {
                        session.renew(params)?;
                    }
                    return Ok(exchange);
                }
                Err(NetworkError::Refused(WireError { code, details: Some(params), .. }))
                    if code.retry() == Retry::Repay =>
                {
                    session.renew(&params)?;
                    if code == WireCode::PaymentInsufficient {
                        // What is left of earlier tickets is for the orchestrator to say.
                        session.credit = Wei::ZERO;
                    }
                }
                Err(refused) => return Err(refused.into()),
            }
        }
        anyhow::bail!("segment {sequence} was not accepted after {MAX_REPAYS} payments")
    }

    /// Buys the client's segment: every rendition comes back as it was ordered.
    ///
    /// # Errors
    /// It does not.
    pub async fn buy(&self, session: &mut Session, sequence: u64) -> anyhow::Result<()> {
        let exchange = self.begin(session, sequence).await?;
        self.assert_whole(&exchange.complete(self.segment.data.clone()).await?)?;
        session.credit = session.credit.saturating_sub(self.cost(session));
        Ok(())
    }

    /// Offers a segment.
    ///
    /// # Errors
    /// The orchestrator refuses.
    pub async fn offer(&self, header: SegmentHeader) -> Result<SegmentExchange, NetworkError> {
        self.network.open_segment(self.service.peer(), header).await
    }

    /// Offers a segment, uploads it and takes the result.
    ///
    /// # Errors
    /// The orchestrator refuses or fails.
    pub async fn send(&self, header: SegmentHeader) -> Result<SegmentResult, NetworkError> {
        self.offer(header).await?.complete(self.segment.data.clone()).await
    }

    /// Checks that a result is every rendition at its size with every frame.
    ///
    /// # Errors
    /// It is not.
    pub fn assert_whole(&self, result: &SegmentResult) -> anyhow::Result<()> {
        anyhow::ensure!(
            result.renditions.len() == self.ladder.len(),
            "{} renditions",
            result.renditions.len()
        );
        for (rendition, entry) in result.renditions.iter().zip(self.ladder.iter()) {
            let made = WireSegment::of(rendition.clone())?;
            let size = (made.source.width, made.source.height, made.frames);
            let asked = (entry.width, entry.height, self.segment.frames);
            anyhow::ensure!(size == asked, "{size:?} was delivered where {asked:?} was asked for");
        }
        Ok(())
    }
}

/// What the tickets of a payment are worth together.
fn value_of(payment: &Bytes) -> anyhow::Result<Wei> {
    if payment.is_empty() {
        return Ok(Wei::ZERO);
    }
    let batch = TicketBatch::decode(payment)?;
    Ok(batch.params.ticket_value().saturating_mul(batch.tickets.len() as u64))
}
