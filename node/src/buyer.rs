//! Wires a broadcaster as the configuration describes it; `broadcaster`, `transcode` and `demo` all buy through it.

use std::{path::Path, sync::Arc, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_broadcaster::{
    Broadcaster, BroadcasterConfig, DeadlinePolicy, HedgePolicy, Limits, ObjectStorage, PlaylistMode,
    S3Config, S3Credentials, SamplingConfig, StaticOrchestrator, StoreError, StreamConfig, Verification,
    open_payer,
};
use framemill_contracts::ChainClient;
use framemill_network::{Ladder, Network, PPM, PricePerPixel, ServiceAddress, SigningDomain};
use framemill_verification::{Policy, policy::attention::AttentionConfig};
use probabilistic_ticket::{EthKey, Sender, SenderCaps, Wei};
use prometheus::Registry;

use crate::{
    chain,
    config::Config,
    dashboard::Views,
    keystore,
    ledger::{Books, Side},
    runtime,
};

/// Prices in the configuration are for this many pixels.
pub(crate) const PRICED_PIXELS: u64 = 1000;
/// Segments in the window of a live playlist.
const WINDOW: usize = 6;
/// What the bucket is called in events.
const BUCKET: &str = "s3";
/// How long streams may take to end when the process is asked to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// A running broadcaster with what it stands on.
pub(crate) struct Buyer {
    /// The broadcaster.
    pub(crate) broadcaster: Broadcaster,
    /// The chain it pays on; none in off-chain mode.
    pub(crate) chain: Option<ChainClient>,
    network: Network,
    ledger: Option<Books>,
}

impl Buyer {
    /// Opens key, ledger and network and starts the broadcaster. Its files go to `output`, and to a bucket where one is configured.
    ///
    /// # Errors
    /// The key, the ledger, the chain or the network cannot be used, or the bucket refuses.
    pub(crate) async fn open(config: &Config, output: &Path, metrics: &Registry) -> anyhow::Result<Self> {
        runtime::make_private_folder(&config.data_dir())?;
        let key = match &config.chain.rpc {
            Some(_) => Some(keystore::open(config)?),
            None => None,
        };
        let chain = chain::connect(config, key.clone()).await?;
        let domain = chain.as_ref().map_or_else(SigningDomain::default, chain::signing_domain);
        let network = runtime::market_network(config, &[], domain).await?;
        let store = Arc::new(ObjectStorage::folder(output)?);
        let mut builder = Broadcaster::builder()
            .config(settings(config)?)
            .network(network.clone())
            .store(store)
            .registry(metrics.clone());
        if let Some(bucket) = bucket(&config.broadcaster).await? {
            builder = builder.copy_to(BUCKET, Arc::new(bucket.store()?));
        }
        let mut ledger = None;
        if let (Some(client), Some(key)) = (&chain, key) {
            let books = Books::open(config, Side::Sender).await?;
            let payer = payer(config, client, &key, &books).await?;
            builder = builder.domain(chain::signing_domain(client)).chain(client.clone()).payer(payer);
            ledger = Some(books);
        }
        let broadcaster = builder.build().await?;
        Ok(Self { broadcaster, chain, network, ledger })
    }

    /// Lets a dashboard look at what is published and at the chain.
    pub(crate) fn show(&self, views: &Views) {
        views.show_store(self.broadcaster.store());
        if let Some(chain) = &self.chain {
            views.show_chain(chain.clone());
        }
    }

    /// Ends all streams, then the network and the books.
    pub(crate) async fn close(self) {
        self.broadcaster.shutdown(DRAIN).await;
        self.network.shutdown().await;
        if let Some(ledger) = &self.ledger {
            ledger.close().await;
        }
    }
}

/// The settings of one stream.
///
/// # Errors
/// The ladder cannot be read.
pub(crate) fn stream_config(config: &Config, name: &str) -> anyhow::Result<StreamConfig> {
    let settings = &config.broadcaster;
    let ladder: Ladder = settings.ladder.parse().context("broadcaster.ladder")?;
    let defaults = StreamConfig::new(name);
    Ok(StreamConfig {
        ladder,
        segment_duration: Duration::from_millis(settings.segment_ms),
        parts_per_segment: settings.parts_per_segment,
        // As much of the stream's time as with segments of that length.
        in_flight: defaults.in_flight * settings.parts_per_segment,
        deadline: DeadlinePolicy {
            floor: Duration::from_millis(settings.deadline_ms),
            ..DeadlinePolicy::default()
        },
        verification: verification(settings)?,
        playlist: playlist(settings)?,
        ..defaults
    })
}

/// A bucket that is configured, and what it said when it was asked.
pub(crate) struct Bucket {
    /// Its name and the prefix, for people.
    pub(crate) address: String,
    /// Whether it took a small object, which is removed again.
    pub(crate) probed: Result<(), StoreError>,
    storage: ObjectStorage,
}

impl Bucket {
    /// The store that it is. One that cannot be reached now may be there when it is needed; one that refuses will not.
    ///
    /// # Errors
    /// It refuses.
    fn store(self) -> anyhow::Result<ObjectStorage> {
        let Self { address, probed, storage } = self;
        match probed {
            Ok(()) => tracing::info!(bucket = address, "publishing to a bucket as well"),
            Err(error) if error.is_refusal() => {
                let refused =
                    format!("{address} refuses to be written; check bucket, key and what the key may do");
                return Err(anyhow::Error::new(error).context(refused));
            }
            Err(error) => {
                tracing::error!(bucket = address, %error, "the bucket cannot be reached now; check broadcaster.s3_endpoint and that its server runs");
            }
        }
        Ok(storage)
    }
}

/// Asks the bucket that is configured, where one is, whether it takes anything.
///
/// # Errors
/// Its settings describe none, or its key cannot be read, or others may read it.
pub(crate) async fn bucket(settings: &crate::config::Broadcaster) -> anyhow::Result<Option<Bucket>> {
    let Some(bucket) = &settings.s3_bucket else { return Ok(None) };
    let config = S3Config {
        prefix: settings.s3_prefix.clone(),
        region: settings.s3_region.clone(),
        endpoint: settings.s3_endpoint.clone(),
        public: settings.s3_public_url.clone(),
        ..S3Config::new(bucket, bucket_key(settings)?)
    };
    let storage = ObjectStorage::s3(&config).context("broadcaster.s3_*")?;
    let probed = storage.probe().await;
    Ok(Some(Bucket { address: config.address(), probed, storage }))
}

fn bucket_key(settings: &crate::config::Broadcaster) -> anyhow::Result<S3Credentials> {
    const KEY: &str = "broadcaster.s3_credentials_file";
    let Some(file) = &settings.s3_credentials_file else {
        return S3Credentials::from_environment().context("broadcaster.s3_credentials_file is not set");
    };
    keystore::private(file).context(KEY)?;
    S3Credentials::from_file(file).context(KEY)
}

fn playlist(settings: &crate::config::Broadcaster) -> anyhow::Result<PlaylistMode> {
    match settings.playlist.as_str() {
        "live" => Ok(PlaylistMode::Live { segments: WINDOW }),
        "sliding" => Ok(PlaylistMode::Sliding { segments: WINDOW }),
        "event" => Ok(PlaylistMode::Event),
        other => anyhow::bail!("broadcaster.playlist: {other:?} is not live, sliding or event"),
    }
}

fn verification(settings: &crate::config::Broadcaster) -> anyhow::Result<Verification> {
    settings.verification.parse().context("broadcaster.verification")
}

/// What may change while the broadcaster runs.
///
/// # Errors
/// The price is none.
pub(crate) fn limits(config: &Config) -> anyhow::Result<Limits> {
    let ceiling = PricePerPixel::new(config.broadcaster.max_price_wei, PRICED_PIXELS)
        .context("broadcaster.max_price_wei")?;
    Ok(Limits { price_ceiling: Some(ceiling), max_streams: config.broadcaster.max_streams })
}

fn settings(config: &Config) -> anyhow::Result<BroadcasterConfig> {
    let orchestrators = config.network.peers.iter().map(|text| peer(text)).collect::<Result<_, _>>()?;
    let Limits { price_ceiling, max_streams } = limits(config)?;
    let floor = Policy {
        first_frame_ppm: config.broadcaster.min_first_frame_ppm,
        whole_ppm: config.broadcaster.min_whole_ppm,
        claim_ppm: config.broadcaster.claim_checks_ppm,
    };
    let sampling = SamplingConfig {
        attention: AttentionConfig { floor, ..AttentionConfig::default() },
        later_below_ppm: config.broadcaster.later_below_ppm,
        folder: Some(config.data_dir().join("sampling")),
        ..SamplingConfig::default()
    };
    let defaults = BroadcasterConfig::default();
    let or_default = |value: usize, default: usize| if value == 0 { default } else { value };
    Ok(BroadcasterConfig {
        orchestrators,
        price_ceiling,
        sampling,
        verify_parallelism: or_default(config.broadcaster.verify_cores, defaults.verify_parallelism),
        verify_queue: or_default(config.broadcaster.verify_queue, defaults.verify_queue),
        commitments: config.broadcaster.commitments,
        quality_audits_ppm: config.broadcaster.quality_audits_ppm,
        hedging: HedgePolicy {
            share: f64::from(config.broadcaster.hedge_ppm) / f64::from(PPM),
            ..HedgePolicy::default()
        },
        memory: Some(config.data_dir().join("orchestrators.json")),
        bundles: config.broadcaster.bundles.clone(),
        max_streams,
        ..defaults
    })
}

/// Reads `multiaddr/p2p/PEER`, or `0xACCOUNT@multiaddr/p2p/PEER`.
pub(crate) fn peer(text: &str) -> anyhow::Result<StaticOrchestrator> {
    let (account, address) = match text.split_once('@') {
        Some((account, address)) => {
            (Some(account.parse::<Address>().with_context(|| format!("network.peers: {text}"))?), address)
        }
        None => (None, text),
    };
    let service: ServiceAddress = address.parse().with_context(|| format!("network.peers: {text}"))?;
    Ok(match account {
        Some(account) => (account, service).into(),
        None => service.into(),
    })
}

async fn payer(
    config: &Config,
    chain: &ChainClient,
    key: &PrivateKeySigner,
    ledger: &Books,
) -> anyhow::Result<Sender> {
    let hour = config.broadcaster.max_deposit_per_hour_wei;
    let caps = SenderCaps {
        stream_hour: Wei(hour),
        session: Wei(hour),
        ticket_value: Wei(hour / U256::from(TICKETS_PER_HOUR)),
        ..SenderCaps::default()
    };
    let key = EthKey::from_bytes(&key.to_bytes())?;
    Ok(open_payer(chain, key, ledger.sender(), caps).await?)
}

/// One ticket may be worth at most this share of what a stream may spend in an hour.
const TICKETS_PER_HOUR: u64 = 100;
