//! The orchestrator is killed again and again while it is paid, over either kind of ledger: what it acknowledged stays, and counts
//! once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use framemill_broadcaster::SenderBroker;
use framemill_contracts::ChainClient;
use framemill_network::{
    FrameRate, Identity, Ladder, Network, NetworkConfig, NetworkError, PeerId, QuoteRequest, Retry,
    SegmentExchange, SegmentHeader, ServiceAddress, SignedQuote, SourceVideo, WireCode,
};
use framemill_orchestrator::ChainBroker;
use framemill_tests::{
    Market, MarketPlan, Redeemed, cut,
    postgres::{self, Server},
    synthetic,
};
use probabilistic_ticket::{
    Domain, EthKey, Ledger, PostgresAddress, PostgresLedger, Recipient, RecipientConfig, RecipientSecret,
    Sender, SenderConfig, SenderSession, SignedTicket, SqliteLedger, SystemClock, TicketBatch, TicketParams,
    Wei, WorkOutcome,
    ledger::{Winner, WinnerState},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Streams that pay it at the same time.
const STREAMS: usize = 2;
/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause before an orchestrator that is away is asked again.
const RETRY: Duration = Duration::from_millis(50);
/// How many times longer than the others a segment is that is to be bought with a payment of before.
const REPLAYED_TIMES: u64 = 20;
/// More winners than the run makes.
const WINNERS: u32 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_it_loses_no_acknowledged_ticket_and_counts_none_twice() -> anyhow::Result<()> {
    pay_and_kill(20, None).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_six_times_over_postgresql_it_loses_no_acknowledged_ticket_and_counts_none_twice()
-> anyhow::Result<()> {
    let server = Server::start();
    pay_and_kill(6, Some(postgres::address(server.folder(), "postgres"))).await
}

/// Kills it so often; its ledger is in this database, or in a file.
async fn pay_and_kill(kills: usize, database: Option<String>) -> anyhow::Result<()> {
    let seed =
        std::env::var("KILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("KILL_SEED={seed} repeats the moments of this run");
    let mut rng = StdRng::seed_from_u64(seed);

    let mut market = Market::start(plan(database.as_ref())).await?;
    let service = market.tcp_service(0).await?;
    market.start_transcoder_at(0, &service)?;
    market.wait_ready(0).await?;
    let chain = market.chain().await?;
    let payer = market.accounts.broadcaster.address;
    let before = funds(&chain, payer).await?;

    let client = Client::open(&market, &service).await?;
    let mut streams = JoinSet::new();
    for stream in 0..STREAMS {
        streams.spawn(client.clone().stream(stream as u8));
    }
    for kill in 0..kills {
        client.wait_for(rng.random_range(1..=6)).await.with_context(|| format!("before kill {kill}"))?;
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
        let replay = client.acknowledged().last().context("something was acknowledged")?.clone();
        market.orchestrators[0].as_mut().context("it runs")?.kill().await?;
        market.start_orchestrator(0)?;
        market.wait_ready(0).await?;
        client.assert_replay_is_refused(&replay).await.with_context(|| format!("after kill {kill}"))?;
    }
    client.wait_for(1).await?;
    streams.shutdown().await;
    client.network.shutdown().await;

    let acknowledged = client.acknowledged();
    market.orchestrators[0].as_mut().context("it runs")?.kill().await?;
    let books = Books::of(&market, database.as_deref())?;
    let expected = books.winners_among(&acknowledged).await?;
    ensure!(!expected.is_empty(), "no acknowledged ticket won: the run proves nothing");

    market.start_orchestrator(0)?;
    wait_until_paid(&market, &expected).await?;
    market.orchestrators[0].as_mut().context("it runs")?.kill().await?;
    let paid = market.redeemed().await?;
    let winners = books.winners().await?;
    assert_each_winner_was_paid_once(&winners, &paid);
    let spent = before - funds(&chain, payer).await?;
    assert_eq!(spent, paid.iter().map(|ticket| ticket.face_value).sum::<U256>(), "what the deposit lost");
    books.assert_every_replay_is_refused(&market, &acknowledged).await?;
    println!("{} payments acknowledged, {} winners, all paid once", acknowledged.len(), winners.len());
    Ok(())
}

/// A handful of tickets per segment, some of which win.
fn plan(database: Option<&String>) -> MarketPlan {
    let mut plan = MarketPlan::default();
    plan.settings.extend(database.map(|address| ("ledger", address.clone())));
    plan.settings.push(("orchestrator.price_wei", "1500000000000".to_owned()));
    plan.settings.push(("orchestrator.redeem_gas_share_ppm", "300000".to_owned()));
    plan
}

async fn funds(chain: &ChainClient, payer: Address) -> anyhow::Result<U256> {
    let info = chain.sender_info(payer).await?;
    Ok(info.deposit + info.reserve)
}

/// A payment that the orchestrator accepted, as the sender remembers it.
#[derive(Clone)]
struct Payment {
    session: B256,
    bytes: Bytes,
}

impl Payment {
    fn batch(&self) -> TicketBatch {
        TicketBatch::decode(&self.bytes).expect("our own payment decodes")
    }
}

/// A broadcaster's side of the wire that notes each acknowledgement the moment it arrives.
struct Client {
    network: Network,
    orchestrator: PeerId,
    account: Address,
    sender: Sender,
    ladder: Ladder,
    source: Bytes,
    acknowledged: Mutex<Vec<Payment>>,
    count: watch::Sender<usize>,
}

impl Client {
    async fn open(market: &Market, service: &ServiceAddress) -> anyhow::Result<Arc<Self>> {
        let network = Network::start(NetworkConfig::new(Identity::generate())).await?;
        network.add_peer(service)?;
        let member = &market.accounts.broadcaster;
        let chain = market.chain().await?;
        let mut config = SenderConfig::new(Domain::new(chain.chain_id(), chain.deployment().ticket_broker));
        config.caps.session = Wei::MAX;
        config.caps.stream_hour = Wei::MAX;
        config.caps.ticket_value = Wei::MAX;
        let ledger = Arc::new(SqliteLedger::open(member.data.join("kill-test.sqlite")).await?);
        let key = EthKey::from_bytes(&member.key.to_bytes())?;
        let broker = Arc::new(SenderBroker::new(chain));
        let sender = Sender::open(key, config, ledger, broker, Arc::new(SystemClock)).await?;
        let source = cut(&synthetic(160, 90, 1), 2).remove(0).data;
        Ok(Arc::new(Self {
            network,
            orchestrator: service.peer(),
            account: market.accounts.sellers[0].orchestrator.address,
            sender,
            ladder: "72:80k".parse::<Ladder>()?.resolve(&source_video())?,
            source,
            acknowledged: Mutex::default(),
            count: watch::Sender::new(0),
        }))
    }

    fn acknowledged(&self) -> Vec<Payment> {
        self.acknowledged.lock().expect("no holder panics").clone()
    }

    /// Waits for so many more acknowledgements.
    async fn wait_for(&self, more: usize) -> anyhow::Result<()> {
        let mut count = self.count.subscribe();
        let goal = *count.borrow() + more;
        timeout(PATIENCE, count.wait_for(|now| *now >= goal)).await.context("nothing is acknowledged")??;
        Ok(())
    }

    /// Streams for as long as it is polled, with a new session whenever the old one is of no more use.
    async fn stream(self: Arc<Self>, number: u8) {
        loop {
            if self.session(number).await.is_err() {
                sleep(RETRY).await;
                // The round may have moved on; a chain that is away is asked again by the next payment.
                let _ = self.sender.refresh().await;
            }
        }
    }

    async fn session(&self, stream: u8) -> anyhow::Result<()> {
        let quote = self.quote(stream).await?;
        let mut params = TicketParams::decode(&quote.quote.ticket_params)?;
        for sequence in 0.. {
            self.segment(&quote, &mut params, sequence).await?;
        }
        Ok(())
    }

    async fn quote(&self, stream: u8) -> anyhow::Result<SignedQuote> {
        let request = QuoteRequest {
            sender: self.sender.address(),
            ladder: self.ladder.clone(),
            source: source_video(),
            pixels_per_second: self.ladder.pixels_per_second(source_video().fps),
            max_price: None,
            commitments: false,
        };
        let quote = self.network.request_quote(self.orchestrator, &request, PATIENCE).await?;
        let session = SenderSession {
            id: quote.quote.session,
            stream: B256::repeat_byte(stream),
            recipient: self.account,
            max_outstanding: Wei::MAX,
        };
        self.sender.open_session(session).await?;
        Ok(quote)
    }

    async fn segment(
        &self,
        quote: &SignedQuote,
        params: &mut TicketParams,
        sequence: u64,
    ) -> anyhow::Result<()> {
        let session = quote.quote.session;
        let (exchange, cost) = self.pay(quote, params, sequence).await?;
        if let Some(fresh) = &exchange.accept.ticket_params {
            *params = TicketParams::decode(fresh)?;
        }
        let result = exchange.complete(self.source.clone()).await;
        let outcome = if result.is_ok() { WorkOutcome::Verified } else { WorkOutcome::NotDone };
        self.sender.record(session, cost, outcome).await?;
        result?;
        Ok(())
    }

    /// Pays until the segment is accepted, again with fresh parameters where they are offered.
    async fn pay(
        &self,
        quote: &SignedQuote,
        params: &mut TicketParams,
        sequence: u64,
    ) -> anyhow::Result<(SegmentExchange, Wei)> {
        let session = quote.quote.session;
        loop {
            let mut header = self.header(session, sequence);
            let cost = Wei(quote.quote.price.cost(header.expected_pixels()));
            let payment = self.sender.pay(session, params, cost).await?;
            header.payment = payment.bytes.into();
            let bytes = header.payment.clone();
            match self.network.open_segment(self.orchestrator, header).await {
                Ok(exchange) => {
                    self.note(Payment { session, bytes });
                    return Ok((exchange, cost));
                }
                Err(NetworkError::Refused(wire)) if wire.code.retry() == Retry::Repay => {
                    self.sender.record(session, cost, WorkOutcome::Refused(payment.value)).await?;
                    *params = TicketParams::decode(&wire.details.context("no fresh parameters")?)?;
                }
                Err(error) => {
                    self.sender.record(session, cost, WorkOutcome::NotDone).await?;
                    return Err(error.into());
                }
            }
        }
    }

    fn note(&self, payment: Payment) {
        if !payment.bytes.is_empty() {
            self.acknowledged.lock().expect("no holder panics").push(payment);
        }
        self.count.send_modify(|count| *count += 1);
    }

    fn header(&self, session: B256, sequence: u64) -> SegmentHeader {
        SegmentHeader {
            session,
            sequence,
            duration_90k: 90_000,
            frames: 30,
            source_len: self.source.len() as u64,
            source_sha256: B256::from_slice(&Sha256::digest(&self.source)),
            ladder: self.ladder.clone(),
            deadline: Duration::from_secs(30),
            payment: Bytes::new(),
            sampling_commitment: None,
        }
    }

    /// Sends a payment of before the restart once more, for its own session and for a new one: neither buys anything. The segment
    /// costs more than the credit that the dead process had held, which a session over a database keeps.
    async fn assert_replay_is_refused(&self, payment: &Payment) -> anyhow::Result<()> {
        let fresh = self.quote(u8::MAX).await?.quote.session;
        for session in [payment.session, fresh] {
            let mut header = self.header(session, 1_000_000);
            header.payment = payment.bytes.clone();
            header.duration_90k *= REPLAYED_TIMES;
            header.frames *= REPLAYED_TIMES as u32;
            let answer = self.network.open_segment(self.orchestrator, header).await;
            let Err(NetworkError::Refused(wire)) = answer else {
                bail!("a replay was answered by {answer:?}")
            };
            let by_books = wire.code == WireCode::UnknownSession || wire.code.retry() == Retry::Repay;
            ensure!(by_books, "a replay was refused for another reason: {wire:?}");
        }
        Ok(())
    }
}

fn source_video() -> SourceVideo {
    SourceVideo { width: 160, height: 90, fps: FrameRate::new(30, 1).expect("a rate") }
}

/// The orchestrator's ledger, read while no process holds it.
struct Books {
    place: Place,
    payer: Address,
}

enum Place {
    File(PathBuf),
    Database(Box<PostgresAddress>),
}

impl Books {
    fn of(market: &Market, database: Option<&str>) -> anyhow::Result<Self> {
        let place = match database {
            Some(address) => Place::Database(Box::new(PostgresAddress::parse(address, None)?)),
            None => Place::File(market.accounts.sellers[0].orchestrator.data.join("recipient.sqlite")),
        };
        Ok(Self { place, payer: market.accounts.broadcaster.address })
    }

    /// Opens the ledger for as long as `look` takes.
    async fn read<T>(
        &self,
        look: impl AsyncFnOnce(Arc<dyn Ledger>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        match &self.place {
            Place::File(path) => {
                let ledger = SqliteLedger::open(path).await?;
                let seen = look(Arc::new(ledger.clone())).await;
                ledger.close().await;
                seen
            }
            Place::Database(address) => {
                let ledger = PostgresLedger::open(address).await?;
                let seen = look(Arc::new(ledger.clone())).await;
                ledger.close().await;
                seen
            }
        }
    }

    async fn winners(&self) -> anyhow::Result<Vec<Winner>> {
        self.read(async |ledger| Ok(ledger.winners_of(self.payer, WINNERS).await?)).await
    }

    async fn winners_among(&self, acknowledged: &[Payment]) -> anyhow::Result<BTreeSet<(u64, u64)>> {
        self.read(async |ledger| winners_among(&*ledger, self.payer, acknowledged).await).await
    }

    /// Every acknowledged payment sent once more, straight to the recipient: no ticket counts again.
    async fn assert_every_replay_is_refused(
        &self,
        market: &Market,
        acknowledged: &[Payment],
    ) -> anyhow::Result<()> {
        let chain = market.chain().await?;
        let account = market.accounts.sellers[0].orchestrator.address;
        let domain = Domain::new(chain.chain_id(), chain.deployment().ticket_broker);
        let broker = Arc::new(ChainBroker::new(chain, account));
        let config = RecipientConfig::new(account, domain);
        self.read(async |ledger| {
            let recipient = Recipient::open(config, ledger, broker, Arc::new(SystemClock)).await?;
            let mut replayed = 0;
            for payment in acknowledged {
                // A session that has ended takes nothing at all.
                let Ok(accepted) = recipient.accept(payment.session, &payment.bytes, Wei::ZERO).await else {
                    continue;
                };
                ensure!(accepted.tickets == 0, "{} tickets were accepted twice", accepted.tickets);
                replayed += accepted.refused.len();
            }
            ensure!(replayed > 0, "every session has ended: the run proves nothing");
            Ok(())
        })
        .await
    }
}

/// Checks that every acknowledged ticket is in the books, and returns lane and nonce of those that won. Who won is
/// computed here, from the orchestrator's secret and the sender's own tickets.
async fn winners_among(
    ledger: &dyn Ledger,
    payer: Address,
    acknowledged: &[Payment],
) -> anyhow::Result<BTreeSet<(u64, u64)>> {
    let secret = RecipientSecret::from_bytes(ledger.secret().await?);
    let kept: BTreeMap<_, _> = ledger
        .winners_of(payer, WINNERS)
        .await?
        .into_iter()
        .map(|winner| ((winner.lane.lane, winner.nonce), winner))
        .collect();
    let mut won = BTreeSet::new();
    let mut nonces = BTreeSet::new();
    let mut tickets: BTreeMap<B256, u64> = BTreeMap::new();
    for payment in acknowledged {
        let TicketBatch { params, tickets: paid } = payment.batch();
        *tickets.entry(payment.session).or_default() += paid.len() as u64;
        let rand =
            secret.open(&params).context("an acknowledged payment is on parameters of this orchestrator")?;
        for ticket in paid {
            let place = (params.lane, ticket.nonce);
            ensure!(nonces.insert(place), "nonce {place:?} was acknowledged twice");
            let signed = SignedTicket {
                ticket: params.ticket(ticket.nonce, ticket.salt),
                signature: ticket.signature,
            };
            let stored = kept.get(&place);
            if signed.wins(params.scheme, &params.domain, rand) {
                let stored = stored.with_context(|| format!("winner {place:?} was acknowledged and lost"))?;
                ensure!(stored.ticket.signed == signed, "winner {place:?} is another ticket in the books");
                won.insert(place);
            } else {
                ensure!(stored.is_none(), "ticket {place:?} did not win and is kept as a winner");
            }
        }
    }
    for (session, acknowledged) in tickets {
        let kept = ledger.session(session).await?.context("a paid session is in the books")?;
        ensure!(
            kept.state.tickets >= acknowledged,
            "session {session}: {acknowledged} tickets acknowledged, {} in the books",
            kept.state.tickets
        );
    }
    Ok(won)
}

/// Waits until the chain has paid all of these.
async fn wait_until_paid(market: &Market, expected: &BTreeSet<(u64, u64)>) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let paid: BTreeSet<_> =
            market.redeemed().await?.iter().map(|ticket| (ticket.lane, ticket.nonce)).collect();
        let missing: Vec<_> = expected.difference(&paid).collect();
        if missing.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "never paid: lane and nonce {missing:?}");
        sleep(RETRY).await;
    }
}

fn assert_each_winner_was_paid_once(winners: &[Winner], paid: &[Redeemed]) {
    let places: BTreeSet<_> = paid.iter().map(|ticket| (ticket.lane, ticket.nonce)).collect();
    assert_eq!(places.len(), paid.len(), "a ticket was redeemed twice");
    let dead: Vec<_> = winners.iter().filter(|winner| matches!(winner.state, WinnerState::Dead(_))).collect();
    assert!(dead.is_empty(), "winners were given up: {dead:?}");
    let in_books: BTreeMap<_, _> = winners
        .iter()
        .map(|winner| ((winner.lane.lane, winner.nonce), winner.ticket.signed.ticket.face_value.0))
        .collect();
    for ticket in paid {
        assert_eq!(in_books.get(&(ticket.lane, ticket.nonce)), Some(&ticket.face_value), "{ticket:?}");
    }
}
