//! Broadcasters that cheat, stall or break the protocol are told what is wrong, while others go on being served.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use framemill_network::{NetworkError, SegmentHeader, WireCode, WireError};
use framemill_tests::{
    Client, Market, MarketPlan, Session, WireSegment,
    raw::{self, FOUR_GIBIBYTES, QUOTE, RawPeer, SEGMENT, WORK, error_of, proto, send_bytes, wire_header},
    synthetic,
};
use probabilistic_ticket::{EthKey, TicketParams};
use prost::Message as _;
use tokio::time::{sleep, timeout};

/// Longer than any refusal takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at the chain.
const POLL: Duration = Duration::from_millis(100);
/// Pause between two bytes of a slow peer.
const TRICKLE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_broadcasters_hear_why_and_leave_a_running_orchestrator() -> anyhow::Result<()> {
    let market = Market::start(plan()).await?;
    let segment = WireSegment::of(synthetic(160, 90, 1))?;
    let client = Client::new(&market, 0, "72:100k,36:50k".parse()?, segment).await?;
    let mut stream = Stream { session: client.session().await?, client, next: 0 };

    macro_rules! story {
        ($name:literal, $story:expr) => {
            timeout(PATIENCE, $story).await.context($name)?.context($name)?;
            stream.buy().await.context(concat!("a good segment after ", $name))?;
        };
    }
    story!("a segment for an unknown session", unknown_session(&mut stream));
    story!("a replayed segment", replayed_segment(&mut stream));
    story!("a segment of zero bytes", zero_bytes(&mut stream));
    story!("replayed tickets", replayed_tickets(&mut stream));
    story!("tickets of another face value", wrong_face_value(&mut stream));
    story!("tickets with another rand hash", wrong_rand_hash(&mut stream));
    story!("tickets that somebody else signed", wrong_signer(&mut stream));
    story!("tickets of another sender", wrong_sender(&mut stream));
    story!("tickets of a round long past", expired(&mut stream, &market));
    story!("a length of 4 GiB", four_gibibytes(&stream.client));
    story!("a header of one byte a second", slow_header(&stream));
    story!("a source of one byte a second", slow_source(&mut stream));

    let orchestrator = market.orchestrators[0].as_ref().context("it was started")?;
    ensure!(!orchestrator.log().contains("panicked"), "the orchestrator's log tells of a panic");
    Ok(())
}

/// A market where a segment costs several tickets, so that credit left from one never pays for the next, and where winners are
/// rare and redeemed late: a redemption reveals the secret behind the tickets, and then that is what is told of them.
fn plan() -> MarketPlan {
    let mut plan = MarketPlan::default();
    let settings = [
        ("orchestrator.ticket_value_wei", "1000000000000"),
        ("orchestrator.redeem_gas_share_ppm", "10000"),
        ("orchestrator.redeem_wait_ms", "86400000"),
    ];
    plan.settings.extend(settings.map(|(key, value)| (key, value.to_owned())));
    plan
}

/// One client's stream: the session that is spoiled is also the one that good segments are bought in.
struct Stream {
    client: Client,
    session: Session,
    /// Number of the next segment.
    next: u64,
}

impl Stream {
    /// Buys the next segment.
    async fn buy(&mut self) -> anyhow::Result<()> {
        self.client.buy(&mut self.session, self.next).await?;
        self.next += 1;
        Ok(())
    }

    /// A header for the next segment, with tickets as they should be.
    fn paid(&mut self) -> anyhow::Result<SegmentHeader> {
        let payment = self.client.pay(&mut self.session)?;
        Ok(self.with(payment))
    }

    /// A header for the next segment with this payment.
    fn with(&self, payment: Bytes) -> SegmentHeader {
        SegmentHeader { payment, ..self.client.header(&self.session, self.next) }
    }

    /// Sends a header that must be refused.
    async fn refused(&self, header: SegmentHeader, code: WireCode, words: &str) -> anyhow::Result<WireError> {
        let error = refusal(self.client.send(header).await)?;
        ensure!(error.code == code && error.message.contains(words), "{error}");
        Ok(error)
    }
}

/// What an orchestrator answered instead of a result.
fn refusal<T>(result: Result<T, NetworkError>) -> anyhow::Result<WireError> {
    match result {
        Err(NetworkError::Refused(error)) => Ok(error),
        Err(other) => Err(other).context("ended without the orchestrator's word"),
        Ok(_) => anyhow::bail!("it was served"),
    }
}

async fn unknown_session(stream: &mut Stream) -> anyhow::Result<()> {
    let header = SegmentHeader { session: B256::random(), ..stream.paid()? };
    stream.refused(header, WireCode::UnknownSession, "ask for a quote").await.map(drop)
}

async fn replayed_segment(stream: &mut Stream) -> anyhow::Result<()> {
    stream.buy().await?;
    stream.buy().await?;
    for age in [2, 1] {
        let header = SegmentHeader { sequence: stream.next - age, ..stream.paid()? };
        stream.refused(header, WireCode::ReplayedSegment, "already served").await?;
    }
    Ok(())
}

/// No honest client's network would send such a header.
async fn zero_bytes(stream: &mut Stream) -> anyhow::Result<()> {
    let header = proto::SegmentHeader { source_len: 0, ..wire_header(&stream.paid()?) };
    let service = &stream.client.service;
    let peer = RawPeer::connect(service).await?;
    let mut stream = peer.open(service.peer(), SEGMENT).await?;
    raw::send(&mut stream, &header).await?;
    let error = error_of(&mut stream).await?;
    ensure!(error.code == WireCode::BadRequest.number(), "{error:?}");
    ensure!(error.message.contains("source"), "{error:?}");
    Ok(())
}

async fn replayed_tickets(stream: &mut Stream) -> anyhow::Result<()> {
    let first = stream.paid()?;
    let replay = first.payment.clone();
    let result = stream.client.send(first).await.context("their first use")?;
    stream.client.assert_whole(&result)?;
    stream.next += 1;
    stream.refused(stream.with(replay), WireCode::PaymentNonceReused, "nonce was used").await.map(drop)
}

/// Spoils the parameters of tickets that the right key signs.
async fn spoiled(
    stream: &mut Stream,
    change: impl FnOnce(&mut TicketParams),
    code: WireCode,
    words: &str,
) -> anyhow::Result<WireError> {
    let payment = stream.client.pay_with(&mut stream.session, change, stream.client.key())?;
    stream.refused(stream.with(payment), code, words).await
}

async fn wrong_face_value(stream: &mut Stream) -> anyhow::Result<()> {
    let doubled = |params: &mut TicketParams| params.face_value = params.face_value.saturating_mul(2);
    let error =
        spoiled(stream, doubled, WireCode::PaymentFaceValue, "face value is not the quoted one").await?;
    // The parameters that come with the refusal are good.
    stream.session.renew(error.details.as_ref().context("no parameters came with it")?)
}

async fn wrong_rand_hash(stream: &mut Stream) -> anyhow::Result<()> {
    let other = |params: &mut TicketParams| params.recipient_rand_hash = B256::random();
    spoiled(stream, other, WireCode::PaymentRandHash, "recipient rand hash is not ours").await.map(drop)
}

async fn wrong_signer(stream: &mut Stream) -> anyhow::Result<()> {
    let payment = stream.client.pay_with(&mut stream.session, |_| {}, &EthKey::random())?;
    let words = "signature is not the sender's";
    stream.refused(stream.with(payment), WireCode::PaymentSigner, words).await.map(drop)
}

async fn wrong_sender(stream: &mut Stream) -> anyhow::Result<()> {
    let stranger = |params: &mut TicketParams| params.sender = Address::random();
    spoiled(stream, stranger, WireCode::PaymentSigner, "another sender").await.map(drop)
}

/// Rounds pass on the chain until the parameters' last one is over.
async fn expired(stream: &mut Stream, market: &Market) -> anyhow::Result<()> {
    let old = stream.session.params;
    let chain = market.chain().await?;
    loop {
        let round = chain.round_info().await?;
        if round.last_initialized > old.expires.0 {
            break;
        }
        if round.is_initialized() {
            market.anvil.mine(round.length).await?;
        }
        // The orchestrator begins the round by itself.
        sleep(POLL).await;
    }
    // Until the orchestrator has seen the new round, such tickets are good.
    loop {
        stream.session.params = old;
        let header = stream.paid()?;
        match stream.client.send(header).await {
            Ok(result) => stream.client.assert_whole(&result)?,
            refused => {
                let error = refusal(refused)?;
                ensure!(error.code == WireCode::PaymentExpired, "{error}");
                ensure!(error.message.contains("parameters have expired"), "{error}");
                return stream.session.renew(error.details.as_ref().context("no parameters came with it")?);
            }
        }
        stream.next += 1;
    }
}

async fn four_gibibytes(client: &Client) -> anyhow::Result<()> {
    let peer = RawPeer::connect(&client.service).await?;
    for protocol in [QUOTE, SEGMENT, WORK] {
        let mut stream = peer.open(client.service.peer(), protocol).await?;
        send_bytes(&mut stream, &FOUR_GIBIBYTES).await?;
        let error = error_of(&mut stream).await.context(protocol)?;
        ensure!(error.code == WireCode::TooLarge.number(), "{protocol}: {error:?}");
        ensure!(error.message.contains("4294967296 bytes announced"), "{protocol}: {error:?}");
    }
    Ok(())
}

async fn slow_header(stream: &Stream) -> anyhow::Result<()> {
    let bytes = wire_header(&stream.with(Bytes::new())).encode_length_delimited_to_vec();
    let service = &stream.client.service;
    let peer = RawPeer::connect(service).await?;
    let mut stream = peer.open(service.peer(), SEGMENT).await?;
    for byte in bytes {
        // A write that fails means that the answer is there.
        let _ = send_bytes(&mut stream, &[byte]).await;
        if let Ok(error) = timeout(TRICKLE, error_of(&mut stream)).await {
            let error = error?;
            ensure!(error.code == WireCode::TooSlow.number(), "{error:?}");
            return Ok(());
        }
    }
    anyhow::bail!("the whole header was taken at one byte a second")
}

async fn slow_source(stream: &mut Stream) -> anyhow::Result<()> {
    let mut exchange = stream.client.begin(&mut stream.session, stream.next).await?;
    loop {
        tokio::select! {
            event = exchange.download.next() => {
                let error = refusal(event)?;
                ensure!(error.code == WireCode::TooSlow, "{error}");
                ensure!(error.message.contains("bytes per second are needed"), "{error}");
                return Ok(());
            }
            () = sleep(TRICKLE) => exchange.upload.send(Bytes::from_static(b"\x47")).await?,
        }
    }
}
