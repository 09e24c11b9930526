//! Configuration: one TOML file, the environment, flags; every value checked and documented.

mod keys;
mod load;
mod value;

use std::path::{Path, PathBuf};

use alloy_primitives::U256;
use serde::Deserialize;

pub use keys::{KEYS, Key, Kind, SQLITE, find as key};
pub(crate) use load::Merged;
pub use load::{ConfigError, Setting, Settings, Source, Sources, interpret, read};

/// The effective configuration of one node. [`KEYS`] documents every field.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Config {
    pub data_dir: Option<PathBuf>,
    pub ledger: String,
    pub ledger_password_file: Option<PathBuf>,
    pub log: Log,
    pub chain: Chain,
    #[serde(default)]
    pub wallet: Wallet,
    pub network: Network,
    pub http: Http,
    pub broadcaster: Broadcaster,
    pub orchestrator: Orchestrator,
    pub transcoder: Transcoder,
}

impl Config {
    /// The folder for keys, ledgers and identity.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| user_data_dir().join("framemill"))
    }

    /// A path inside the data folder unless the configuration names another.
    pub fn path_or(&self, configured: &Option<PathBuf>, name: &str) -> PathBuf {
        configured.clone().unwrap_or_else(|| self.data_dir().join(name))
    }
}

fn user_data_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| Path::new("/var/lib").to_owned())
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Log {
    pub filter: String,
    pub format: String,
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Chain {
    pub rpc: Option<String>,
    pub rpc_fallbacks: Vec<String>,
    #[serde(deserialize_with = "decimal")]
    pub max_fee_per_gas_wei: U256,
    pub bump_after_ms: u64,
    pub deployment: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Wallet {
    pub keystore: Option<PathBuf>,
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Network {
    pub listen: Vec<String>,
    pub external: Vec<String>,
    pub peers: Vec<String>,
    pub discovery: bool,
    pub bootstrap: Vec<String>,
    pub relays: Vec<String>,
    pub relay_server: bool,
    pub relay_circuits: usize,
    pub relay_circuit_mib: u64,
    pub relay_circuit_ms: u64,
    pub max_streams_per_peer: u32,
    pub requests_per_second: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Http {
    pub listen: String,
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Broadcaster {
    pub ingest: String,
    pub rtmp: Option<String>,
    pub auth_url: Option<String>,
    pub output: PathBuf,
    pub s3_bucket: Option<String>,
    pub s3_prefix: String,
    pub s3_endpoint: Option<String>,
    pub s3_public_url: Option<String>,
    pub s3_region: String,
    pub s3_credentials_file: Option<PathBuf>,
    pub playlist: String,
    pub max_streams: usize,
    pub ladder: String,
    pub segment_ms: u64,
    pub parts_per_segment: usize,
    pub deadline_ms: u64,
    #[serde(deserialize_with = "decimal")]
    pub max_price_wei: U256,
    #[serde(deserialize_with = "decimal")]
    pub max_deposit_per_hour_wei: U256,
    pub verification: String,
    pub min_first_frame_ppm: u32,
    pub min_whole_ppm: u32,
    pub commitments: bool,
    pub claim_checks_ppm: u32,
    pub quality_audits_ppm: u32,
    pub later_below_ppm: u32,
    pub hedge_ppm: u32,
    pub verify_cores: usize,
    pub verify_queue: usize,
    pub bundles: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Orchestrator {
    #[serde(deserialize_with = "decimal")]
    pub price_wei: U256,
    pub prices: Vec<String>,
    pub token_file: Option<PathBuf>,
    pub commitments: bool,
    pub commitment_surcharge_ppm: u32,
    pub quality_full_centi_db: u32,
    pub quality_least_centi_db: u32,
    pub quality_least_ppm: u32,
    pub max_sessions: usize,
    pub max_sessions_per_peer: usize,
    pub redeem_gas_share_ppm: u64,
    pub deposit_share_ppm: u64,
    #[serde(deserialize_with = "decimal")]
    pub ticket_value_wei: U256,
    pub redeem_wait_ms: u64,
    pub redeem_grace_ms: u64,
    pub redeem_interval_ms: u64,
    pub confirmations: u64,
    pub keep_rounds: bool,
    pub call_rewards: bool,
    #[serde(deserialize_with = "decimal")]
    pub reward_gas_price_wei: U256,
    pub jury: bool,
    pub jury_max_fetch_bytes: u64,
    pub jury_cores: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs, reason = "KEYS holds the one description of each setting")]
pub struct Transcoder {
    pub orchestrator: Option<String>,
    pub token_file: Option<PathBuf>,
    pub name: String,
    pub threads: usize,
    pub max_sessions: usize,
    pub engine: framemill_transcoder::EngineChoice,
    pub gpus: framemill_transcoder::Gpus,
    pub sm_budget: u32,
    pub power_limit: u32,
    pub pause_when: Vec<String>,
}

fn decimal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<U256, D::Error> {
    let text = String::deserialize(deserializer)?;
    U256::from_str_radix(&text, 10).map_err(serde::de::Error::custom)
}
