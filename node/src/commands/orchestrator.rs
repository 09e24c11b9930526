//! `framemill orchestrator`: quote, dispatch, get paid.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_contracts::{ChainClient, ChainFeed, FeedConfig, Follower, Start};
use framemill_network::{PricePerPixel, QualityTerms, SigningDomain, WorkToken};
use framemill_orchestrator::{
    ChainBroker, CommitmentOffer, Duties, DutyPolicy, JuryDuty, JuryPolicy, Offer, Orchestrator,
    OrchestratorConfig, OrchestratorDeps, OrchestratorEvent, OrchestratorHandle, Payments, RedemptionConfig,
    SessionLimits,
};
use probabilistic_ticket::{Domain, EthKey, RecipientConfig, RedeemPolicy, Wei};
use tokio::{sync::broadcast::error::RecvError, time::interval};

use crate::{
    board::{Board, JobRow, words},
    buyer::PRICED_PIXELS,
    chain, colleagues,
    config::Config,
    dashboard::Role,
    feed, keystore,
    ledger::{Books, Place, Side},
    reload::Reload,
    runtime::{self, Runtime},
};

/// File in the data folder that holds what this orchestrator was told of how its results are drawn.
const TOLD: &str = "told.jsonl";
/// Folder in the data folder that holds votes before the court and the evidence that was fetched for them.
const JURY: &str = "jury";
/// Pause between two looks at whether the orchestrator can work.
const READINESS_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the orchestrator until it is asked to stop.
pub(crate) async fn run(config: &Config, reload: Reload) -> anyhow::Result<()> {
    let runtime = Runtime::start(config, Role::Orchestrator, "Framemill orchestrator").await?;
    runtime::make_private_folder(&config.data_dir())?;
    let key = keystore::open(config)?;
    let client = chain::connect_service(config, key.clone()).await?;
    let token_file = config.path_or(&config.orchestrator.token_file, "transcoder.token");
    let work_token = WorkToken::new(keystore::read_or_make_secret(&token_file)?)?;
    let domain = client.as_ref().map_or_else(SigningDomain::default, chain::signing_domain);
    let network = runtime::market_network(config, &config.network.listen, domain).await?;
    let service = runtime::service_address(config, &network)?;
    if let Some(client) = &client {
        warn_if_registered_elsewhere(client, &key, &service.to_string()).await?;
    }
    let ledger = match &client {
        Some(_) => Some(Books::open(config, Side::Recipient).await?),
        None => None,
    };
    if let Some(client) = &client {
        runtime.views.show_chain(client.clone());
        runtime.views.show_books(Place::of(config, Side::Recipient)?, Some(key.address()));
    }
    let feed = client
        .as_ref()
        .map(|client| ChainFeed::start(Follower::new(client.clone(), Start::Now), FeedConfig::default()));
    let payments = match (&client, &ledger, &feed) {
        (Some(client), Some(ledger), Some(feed)) => Some(payments(config, client, &key, ledger, feed).await?),
        _ => None,
    };
    let duties = client.as_ref().zip(feed.as_ref()).map(|(client, feed)| Duties {
        client: client.clone(),
        changes: feed.subscribe(),
        policy: duty_policy(config),
    });
    let jury = client.as_ref().zip(feed.as_ref()).filter(|_| config.orchestrator.jury);
    let jury = jury.map(|(client, feed)| JuryDuty {
        client: client.clone(),
        changes: feed.subscribe(),
        policy: jury_policy(config),
        folder: config.data_dir().join(JURY),
    });
    let deps = OrchestratorDeps {
        network: network.clone(),
        key: EthKey::from_bytes(&key.to_bytes())?,
        domain,
        work_token,
        payments,
        duties,
        jury,
        registry: runtime.metrics.clone(),
    };
    let paid = client.is_some();
    let handle = Orchestrator::start(settings(config, paid)?, deps).await?;
    tracing::info!(account = %handle.address(), %service, token_file = %token_file.display(), "orchestrator is up");

    let colleagues = colleagues::follow(config, &network, client.as_ref().zip(feed.as_ref()))?;
    let reloads = reload.follow(&runtime.metrics, |config| Ok(handle.offer(offer(config, paid)?)?))?;
    tokio::select! {
        stopped = runtime::asked_to_stop() => stopped?,
        never = reloads => match never {},
        () = look_after(&runtime, &handle) => {}
        () = colleagues => {}
    }
    let drained = handle.shutdown().await;
    network.shutdown().await;
    if let Some(ledger) = ledger {
        ledger.close().await;
    }
    runtime.stop().await;
    Ok(drained?)
}

/// What is asked, and of how many: what may change while the orchestrator runs.
fn offer(config: &Config, paid: bool) -> anyhow::Result<Offer> {
    let settings = &config.orchestrator;
    Ok(Offer {
        price: price(if paid { settings.price_wei } else { U256::ZERO })?,
        prices: if paid { prices(&settings.prices)? } else { HashMap::new() },
        surcharge_ppm: settings.commitment_surcharge_ppm,
        quality: quality(settings),
        max_sessions: settings.max_sessions,
    })
}

/// Reads `orchestrator.price_wei`.
///
/// # Errors
/// It is beyond any price.
pub(crate) fn price(wei: U256) -> anyhow::Result<PricePerPixel> {
    PricePerPixel::new(wei, PRICED_PIXELS).context("orchestrator.price_wei")
}

/// Reads `orchestrator.prices`: `0xACCOUNT=WEI` each.
///
/// # Errors
/// One of them is none.
pub(crate) fn prices(texts: &[String]) -> anyhow::Result<HashMap<Address, PricePerPixel>> {
    let read = |text: &str| {
        let (account, wei) = text.split_once('=')?;
        let wei = U256::from_str_radix(wei.trim(), 10).ok()?;
        Some((account.trim().parse().ok()?, PricePerPixel::new(wei, PRICED_PIXELS).ok()?))
    };
    let own = |text: &String| {
        read(text).with_context(|| {
            format!("orchestrator.prices: \"{text}\" is no account and price; write it like 0xACCOUNT=900000")
        })
    };
    texts.iter().map(own).collect()
}

/// What the configuration asks of an orchestrator.
///
/// # Errors
/// The price is none.
pub(crate) fn settings(config: &Config, paid: bool) -> anyhow::Result<OrchestratorConfig> {
    let settings = &config.orchestrator;
    let offer = offer(config, paid)?;
    Ok(OrchestratorConfig {
        price: offer.price,
        prices: offer.prices,
        commitments: settings.commitments.then(|| CommitmentOffer {
            surcharge_ppm: offer.surcharge_ppm,
            quality: offer.quality,
            ..CommitmentOffer::default()
        }),
        sessions: SessionLimits {
            max_sessions: offer.max_sessions,
            max_sessions_per_peer: settings.max_sessions_per_peer,
            ..SessionLimits::default()
        },
        redemption: RedemptionConfig {
            interval: Duration::from_millis(settings.redeem_interval_ms),
            ..RedemptionConfig::default()
        },
        told: Some(config.data_dir().join(TOLD)),
        evidence: Some(runtime::evidence_folder(config)),
        ..OrchestratorConfig::default()
    })
}

/// How the price follows the quality.
fn quality(settings: &crate::config::Orchestrator) -> QualityTerms {
    let terms = QualityTerms {
        full_centi_db: settings.quality_full_centi_db,
        least_centi_db: settings.quality_least_centi_db,
        least_ppm: settings.quality_least_ppm,
    };
    if terms.is_whole() { QualityTerms::WHOLE } else { terms }
}

fn duty_policy(config: &Config) -> DutyPolicy {
    DutyPolicy {
        keep_rounds: config.orchestrator.keep_rounds,
        call_rewards: config.orchestrator.call_rewards,
        calm_gas_price: u128::try_from(config.orchestrator.reward_gas_price_wei).unwrap_or(u128::MAX),
        ..DutyPolicy::default()
    }
}

fn jury_policy(config: &Config) -> JuryPolicy {
    JuryPolicy {
        calm_gas_price: u128::try_from(config.orchestrator.reward_gas_price_wei).unwrap_or(u128::MAX),
        max_fetch_bytes: config.orchestrator.jury_max_fetch_bytes,
        cores: config.orchestrator.jury_cores,
        ..JuryPolicy::default()
    }
}

async fn payments(
    config: &Config,
    client: &ChainClient,
    key: &PrivateKeySigner,
    ledger: &Books,
    feed: &ChainFeed,
) -> anyhow::Result<Payments> {
    let settings = &config.orchestrator;
    let domain = Domain::new(client.chain_id(), client.deployment().ticket_broker);
    let recipient = RecipientConfig {
        ticket_value: Wei(settings.ticket_value_wei),
        gas_share_ppm: settings.redeem_gas_share_ppm,
        // Each session pays in a lane of its own.
        max_lanes: settings.max_sessions_per_peer as u64,
        deposit_share_ppm: settings.deposit_share_ppm,
        ..RecipientConfig::new(key.address(), domain)
    };
    let policy = RedeemPolicy {
        max_wait_ms: settings.redeem_wait_ms,
        grace_ms: settings.redeem_grace_ms,
        confirmations: settings.confirmations,
        bump_after_ms: config.chain.bump_after_ms,
        ..RedeemPolicy::default()
    };
    let broker = Arc::new(ChainBroker::following(client.clone(), key.address(), feed.subscribe()));
    let payments = Payments::open(recipient, policy, ledger.recipient(), broker).await?;
    Ok(payments.following(feed.subscribe()))
}

/// Broadcasters dial what the registry says: an operator whose address differs earns nothing.
async fn warn_if_registered_elsewhere(
    client: &ChainClient,
    key: &PrivateKeySigner,
    service: &str,
) -> anyhow::Result<()> {
    match client.orchestrator(key.address()).await? {
        None => {
            tracing::warn!(account = %key.address(), "not registered: no broadcaster will find this orchestrator")
        }
        Some(record) if record.service_uri != service => tracing::warn!(
            registered = record.service_uri,
            listening = service,
            "the registry names other addresses than this node has; set network.external, or run framemill stake set-service"
        ),
        Some(_) => {}
    }
    Ok(())
}

/// Keeps readiness and dashboard up to date, for as long as it is polled.
async fn look_after(runtime: &Runtime, handle: &OrchestratorHandle) {
    let mut events = handle.events();
    let mut clock = interval(READINESS_INTERVAL);
    loop {
        tokio::select! {
            _ = clock.tick() => runtime.readiness.set(handle.readiness()),
            event = events.recv() => match event {
                Ok(event) => draw(&runtime.board, &event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

fn draw(board: &Board, event: &OrchestratorEvent) {
    let now_ms = feed::now_ms();
    board.draw(|picture| match event {
        OrchestratorEvent::TranscoderConnected { peer, name, pixels_per_second } => {
            let row = picture.transcoder(&peer.to_string());
            row.name = words(name);
            row.pixels_per_second = *pixels_per_second;
            (row.connected, row.since_ms) = (true, now_ms);
        }
        OrchestratorEvent::TranscoderLeft { peer } => {
            let row = picture.transcoder(&peer.to_string());
            (row.connected, row.since_ms) = (false, now_ms);
        }
        OrchestratorEvent::SegmentDone { session, sequence, pixels, earned } => picture.job(JobRow {
            session: session.to_string(),
            sequence: *sequence,
            at_ms: now_ms,
            pixels: *pixels,
            earned_wei: earned.0,
            ..JobRow::default()
        }),
        OrchestratorEvent::SegmentFailed { session, sequence, code } => picture.job(JobRow {
            session: session.to_string(),
            sequence: *sequence,
            at_ms: now_ms,
            code,
            ..JobRow::default()
        }),
        _ => {}
    });
}
