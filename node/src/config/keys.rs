//! Every configuration key there is: its kind, its default and what it means.

use crate::dashboard::Role;

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text.
    Text,
    /// A path; relative ones count from the folder of the configuration file that names them.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number within inclusive bounds.
    Int(i64, i64),
    /// A whole number of wei, of any size, written as text or number.
    Wei,
    /// A list of texts; a single text counts as a list of one, and commas separate in the environment.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// [`SQLITE`], or the address of a PostgreSQL database without its password.
    Ledger,
    /// `all`, or a list of indices of cards.
    Gpus,
}

/// The ledger that is a file of one process.
pub const SQLITE: &str = "sqlite";

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Dotted path in the TOML file.
    pub path: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// The value it has when nobody sets it, as TOML; empty when it stays unset.
    pub default: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Whether another value takes effect in a running process that is asked to read its configuration again.
    pub live: bool,
}

impl Key {
    /// The environment variable that sets this key.
    ///
    /// ```
    /// let key = framemill::config::key("chain.rpc").expect("a key");
    /// assert_eq!(key.environment(), "FRAMEMILL_CHAIN_RPC");
    /// ```
    pub fn environment(&self) -> String {
        format!("FRAMEMILL_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// Whether a role reads this key: one file may configure several.
    pub fn concerns(&self, role: Role) -> bool {
        match self.path.split('.').next().unwrap_or_default() {
            "broadcaster" => role == Role::Broadcaster,
            "orchestrator" => role == Role::Orchestrator,
            "transcoder" => role == Role::Transcoder,
            "chain" | "wallet" | "ledger" | "ledger_password_file" => role != Role::Transcoder,
            _ => true,
        }
    }
}

const fn key(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { path, kind, default, help, live: false }
}

const fn live(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { path, kind, default, help, live: true }
}

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key(
        "data_dir",
        Kind::Path,
        "",
        "folder for keys, ledgers and identity; default: framemill in the user's data folder",
    ),
    key(
        "ledger",
        Kind::Ledger,
        "\"sqlite\"",
        "where tickets are booked: sqlite: files in data_dir; or postgres://USER@HOST/DATABASE, which several orchestrators and broadcasters may share",
    ),
    key(
        "ledger_password_file",
        Kind::Path,
        "",
        "file that holds the PostgreSQL user's password; unset: PGPASSWORD, or the file that PGPASSFILE names, or ~/.pgpass",
    ),
    live("log.filter", Kind::Text, "\"info\"", "which log lines are written, as tracing filters"),
    key("log.format", Kind::Choice(&["text", "json"]), "\"text\"", "how log lines are written"),
    key(
        "chain.rpc",
        Kind::Text,
        "",
        "JSON-RPC address of an Ethereum node; unset: off-chain mode, no payments",
    ),
    key(
        "chain.rpc_fallbacks",
        Kind::List,
        "[]",
        "further JSON-RPC addresses of the same chain, at most 7: read from when chain.rpc fails or falls behind; transactions go to all",
    ),
    key(
        "chain.max_fee_per_gas_wei",
        Kind::Wei,
        "\"500000000000\"",
        "most that a transaction may offer for a unit of gas, in wei; while gas costs more, nothing is sent",
    ),
    key(
        "chain.bump_after_ms",
        Kind::Int(1_000, 3_600_000),
        "30000",
        "time after which a transaction that is not mined is offered again at a higher fee, in milliseconds",
    ),
    key("chain.deployment", Kind::Path, "", "JSON file with the addresses of the contracts"),
    key("wallet.keystore", Kind::Path, "", "Web3 Secret Storage v3 file; default: keystore.json in data_dir"),
    key(
        "wallet.password_file",
        Kind::Path,
        "",
        "file that holds the keystore's password; unset: asked for on the terminal",
    ),
    key(
        "network.listen",
        Kind::List,
        "[\"/ip4/0.0.0.0/udp/7936/quic-v1\", \"/ip4/0.0.0.0/tcp/7936\"]",
        "multiaddrs to listen on (orchestrator)",
    ),
    key(
        "network.external",
        Kind::List,
        "[]",
        "multiaddrs under which others reach this node; default: the ones it listens on",
    ),
    key(
        "network.peers",
        Kind::List,
        "[]",
        "orchestrators to know beside those on chain: 0xADDRESS@multiaddr/p2p/PEER",
    ),
    key(
        "network.discovery",
        Kind::Bool,
        "true",
        "find orchestrators that have moved, and hear what they announce (broadcaster, orchestrator)",
    ),
    key(
        "network.bootstrap",
        Kind::List,
        "[]",
        "nodes to begin with beside the orchestrators on chain and network.peers: multiaddr/p2p/PEER",
    ),
    key(
        "network.relays",
        Kind::List,
        "[]",
        "relays that keep a place for this node when it cannot be dialed: multiaddr/p2p/PEER (orchestrator)",
    ),
    key(
        "network.relay_server",
        Kind::Bool,
        "false",
        "relay for nodes that cannot be dialed, and tell nodes whether they can be (orchestrator)",
    ),
    key("network.relay_circuits", Kind::Int(1, 10_000), "64", "most connections relayed at a time"),
    key(
        "network.relay_circuit_mib",
        Kind::Int(1, 65_536),
        "128",
        "most that one relayed connection may carry, in MiB",
    ),
    key(
        "network.relay_circuit_ms",
        Kind::Int(10_000, 86_400_000),
        "300000",
        "longest life of one relayed connection, in milliseconds",
    ),
    key(
        "network.max_streams_per_peer",
        Kind::Int(1, 10_000),
        "64",
        "streams that one peer may have open here at a time; a broadcaster has one for each segment in flight",
    ),
    key(
        "network.requests_per_second",
        Kind::Int(1, 100_000),
        "50",
        "streams that one peer may open here each second, and twice as many after a pause",
    ),
    key(
        "http.listen",
        Kind::Text,
        "\"127.0.0.1:0\"",
        "where metrics, health and the dashboard are served; port 0 picks a free one",
    ),
    key(
        "http.hosts",
        Kind::List,
        "[]",
        "names with a dot under which browsers may call the dashboard, as behind a reverse proxy; addresses and names of this network always may",
    ),
    key(
        "broadcaster.ingest",
        Kind::Text,
        "\"127.0.0.1:8935\"",
        "where segments are pushed to and playlists are served",
    ),
    key(
        "broadcaster.rtmp",
        Kind::Text,
        "",
        "where streams are published to by RTMP, as 127.0.0.1:1935; empty: nowhere",
    ),
    key(
        "broadcaster.auth_url",
        Kind::Text,
        "",
        "web service that is asked, by POST {\"url\": …, \"manifestID\": …}, who may push a stream; unset: everybody may",
    ),
    key("broadcaster.output", Kind::Path, "\"hls\"", "folder the HLS ladders are written to"),
    key(
        "broadcaster.s3_bucket",
        Kind::Text,
        "",
        "bucket that everything published is copied to, beside the folder; unset: none",
    ),
    key(
        "broadcaster.s3_prefix",
        Kind::Text,
        "\"\"",
        "folder in the bucket, as live/hls; empty: the bucket itself",
    ),
    key(
        "broadcaster.s3_endpoint",
        Kind::Text,
        "",
        "address of the bucket's server, as https://s3.example.org; unset: Amazon's",
    ),
    key(
        "broadcaster.s3_public_url",
        Kind::Text,
        "",
        "address that players find the bucket's folder at, a CDN's perhaps, told where a stream's playlist is; unset: the bucket's own",
    ),
    key(
        "broadcaster.s3_region",
        Kind::Text,
        "\"us-east-1\"",
        "region that requests to the bucket are signed for",
    ),
    key(
        "broadcaster.s3_credentials_file",
        Kind::Path,
        "",
        "file with aws_access_key_id and aws_secret_access_key, as Amazon's tools keep it; unset: the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    live(
        "broadcaster.playlist",
        Kind::Choice(&["live", "sliding", "event"]),
        "\"live\"",
        "what a stream leaves in the folder: live: a window of six segments while it runs, every segment and a playlist of all at its end; sliding: the window alone, for streams without an end; event: one playlist that grows",
    ),
    live("broadcaster.max_streams", Kind::Int(1, 100_000), "256", "streams open at the same time"),
    live(
        "broadcaster.ladder",
        Kind::Text,
        "\"720:3000k,480:1500k,360:800k\"",
        "renditions to buy: HEIGHT[pFPS]:BITRATE[:CODEC], or a preset, separated by commas",
    ),
    live(
        "broadcaster.segment_ms",
        Kind::Int(500, 20_000),
        "2000",
        "length of a segment, in milliseconds; cut at the next keyframe",
    ),
    live(
        "broadcaster.parts_per_segment",
        Kind::Int(1, framemill_broadcaster::simulation::parts::MAX_PARTS as i64),
        "1",
        "segments of segment_ms that players at broadcaster.ingest see as one of so many parts, each as soon as it is published: low latency; 1: no parts",
    ),
    live(
        "broadcaster.deadline_ms",
        Kind::Int(1_000, 120_000),
        "12000",
        "time from a segment's arrival to its publication, in milliseconds, retries included",
    ),
    live(
        "broadcaster.max_price_wei",
        Kind::Wei,
        "\"10000000\"",
        "highest price accepted, in wei per 1000 pixels",
    ),
    key(
        "broadcaster.max_deposit_per_hour_wei",
        Kind::Wei,
        "\"1000000000000000000\"",
        "most expected value one stream may spend in an hour, in wei",
    ),
    live(
        "broadcaster.verification",
        Kind::Choice(&["adaptive", "full"]),
        "\"adaptive\"",
        "how deep results are checked before they are published: adaptive: receipt and structure of all, pictures as often as the orchestrator's record asks for; full: every frame",
    ),
    key(
        "broadcaster.min_first_frame_ppm",
        Kind::Int(0, 1_000_000),
        "200000",
        "adaptive: of a million results of an orchestrator with the best record, how many have their first frame compared",
    ),
    key(
        "broadcaster.min_whole_ppm",
        Kind::Int(0, 1_000_000),
        "17000",
        "adaptive: of a million results of an orchestrator with the best record, how many have every frame compared",
    ),
    key(
        "broadcaster.commitments",
        Kind::Bool,
        "false",
        "ask for receipts with commitments to the renditions' features, and accept no others",
    ),
    key(
        "broadcaster.claim_checks_ppm",
        Kind::Int(0, 1_000_000),
        "10000",
        "adaptive: of a million results with commitments of an orchestrator with the best record, how many have all features compared with the committed ones",
    ),
    key(
        "broadcaster.verify_cores",
        Kind::Int(0, 1024),
        "0",
        "renditions judged at a time, each on a core; 0: as many as there are cores",
    ),
    key(
        "broadcaster.verify_queue",
        Kind::Int(0, 1_000_000),
        "0",
        "renditions that may be judged or wait for it; 0: 24 for each core",
    ),
    key(
        "broadcaster.quality_audits_ppm",
        Kind::Int(0, 1_000_000),
        "1000",
        "of a million results, how many have one rendition encoded again and compared; that changes who gets work, and nothing else",
    ),
    key(
        "broadcaster.later_below_ppm",
        Kind::Int(0, 1_000_000),
        "100000",
        "where at most so many of a million results are looked at whole, a segment is published once its first frames have passed, and the look at the whole follows; 0 has publication wait for every look",
    ),
    key(
        "broadcaster.hedge_ppm",
        Kind::Int(0, 1_000_000),
        "50000",
        "of a million segments of a stream, how many may be sent to a second orchestrator, and paid twice, when the first is later than usual",
    ),
    key(
        "broadcaster.bundles",
        Kind::Path,
        "",
        "folder for evidence bundles of rejected results; unset: none are written",
    ),
    live("orchestrator.price_wei", Kind::Wei, "\"1000000\"", "price asked, in wei per 1000 output pixels"),
    live(
        "orchestrator.prices",
        Kind::List,
        "[]",
        "prices for these broadcasters in place of orchestrator.price_wei: 0xACCOUNT=WEI, per 1000 output pixels",
    ),
    key(
        "orchestrator.token_file",
        Kind::Path,
        "",
        "file with the secret that transcoders prove to know; default: transcoder.token in data_dir, made when missing",
    ),
    key(
        "orchestrator.commitments",
        Kind::Bool,
        "true",
        "offer receipts with commitments to the renditions' features, for which this node decodes what it returns",
    ),
    live(
        "orchestrator.commitment_surcharge_ppm",
        Kind::Int(0, 10_000_000),
        "300000",
        "what commitments add to the price, in parts per million of it",
    ),
    live(
        "orchestrator.quality_full_centi_db",
        Kind::Int(0, 10_000),
        "2000",
        "with commitments: luma PSNR, in hundredths of a decibel, from which on a rendition costs its whole price; 0: whatever its quality, which is then not measured",
    ),
    live(
        "orchestrator.quality_least_centi_db",
        Kind::Int(0, 10_000),
        "1400",
        "with commitments: luma PSNR, in hundredths of a decibel, down to which the price of a rendition falls",
    ),
    live(
        "orchestrator.quality_least_ppm",
        Kind::Int(0, 1_000_000),
        "500000",
        "with commitments: what is left of the price there, in parts per million of it",
    ),
    live("orchestrator.max_sessions", Kind::Int(1, 100_000), "64", "most sessions at a time"),
    key(
        "orchestrator.max_sessions_per_peer",
        Kind::Int(1, 100_000),
        "256",
        "most sessions at a time of one broadcaster, which has one for each of its streams",
    ),
    key(
        "orchestrator.redeem_gas_share_ppm",
        Kind::Int(100, 1_000_000),
        "10000",
        "largest share of a ticket's face value that redemption gas may eat, in parts per million",
    ),
    key(
        "orchestrator.deposit_share_ppm",
        Kind::Int(1, 1_000_000),
        "1000000",
        "share of a sender's deposit that winners not yet paid may come to, in parts per million, since others may be paid out of it first",
    ),
    key(
        "orchestrator.ticket_value_wei",
        Kind::Wei,
        "\"20000000000\"",
        "expected value of one ticket, in wei; about the price of a small segment",
    ),
    key(
        "orchestrator.redeem_wait_ms",
        Kind::Int(0, 86_400_000),
        "60000",
        "longest time a winner waits for others to share a transaction with, in milliseconds",
    ),
    key(
        "orchestrator.redeem_grace_ms",
        Kind::Int(0, 600_000),
        "10000",
        "how long tickets on a secret are still taken once its winners are to be redeemed, in milliseconds",
    ),
    key(
        "orchestrator.redeem_interval_ms",
        Kind::Int(100, 3_600_000),
        "5000",
        "pause between two looks at winners that wait for redemption, in milliseconds",
    ),
    key(
        "orchestrator.confirmations",
        Kind::Int(1, 64),
        "4",
        "blocks after which a redemption counts as final",
    ),
    key(
        "orchestrator.keep_rounds",
        Kind::Bool,
        "true",
        "initialize rounds of the chain when nobody else does",
    ),
    key(
        "orchestrator.call_rewards",
        Kind::Bool,
        "true",
        "call for each round's new tokens; a round's reward that is not called for is lost",
    ),
    key(
        "orchestrator.reward_gas_price_wei",
        Kind::Wei,
        "\"50000000000\"",
        "price of gas, in wei, above which the call for a reward waits until a quarter of the round is left, and jury duty until a quarter of its window is",
    ),
    key(
        "orchestrator.jury",
        Kind::Bool,
        "true",
        "sit in the court's juries: claim the seats that a draw gives to this stake, fetch the evidence, judge, vote, be paid",
    ),
    key(
        "orchestrator.jury_max_fetch_bytes",
        Kind::Int(1 << 20, 1 << 32),
        "1073741824",
        "most bytes fetched for one dispute; the vote about larger evidence is that it could not be had",
    ),
    key("orchestrator.jury_cores", Kind::Int(1, 1024), "1", "disputes judged at a time, each on a core"),
    key(
        "transcoder.orchestrator",
        Kind::Text,
        "",
        "multiaddr of the orchestrator to work for, ending in /p2p/PEER",
    ),
    key("transcoder.token_file", Kind::Path, "", "file with the orchestrator's secret"),
    key("transcoder.name", Kind::Text, "\"transcoder\"", "how the orchestrator's log calls this transcoder"),
    key(
        "transcoder.threads",
        Kind::Int(0, 1024),
        "0",
        "CPU threads for encoding; 0: as many as there are cores",
    ),
    key(
        "transcoder.max_sessions",
        Kind::Int(1, 128),
        "128",
        "most sessions offered by each engine; measured speed and the device may allow fewer",
    ),
    key(
        "transcoder.engine",
        Kind::Choice(&["auto", "software", "nvidia"]),
        "\"auto\"",
        "auto: cards, with the CPU behind them for what they fail at, or the CPU alone; nvidia: cards and nothing else",
    ),
    key("transcoder.gpus", Kind::Gpus, "\"all\"", "cards to use, by index, as in [0, 1]; all: every one"),
    key(
        "transcoder.sm_budget",
        Kind::Int(1, 100),
        "100",
        "most of a card's SM time that transcoding may take, in percent, before less of the card is offered; 100: no bound",
    ),
    key(
        "transcoder.power_limit",
        Kind::Int(0, 10_000),
        "0",
        "most that a card may draw, whoever makes it, in watts, before less of the card is offered; 0: no bound",
    ),
    key(
        "transcoder.pause_when",
        Kind::List,
        "[]",
        "figures of a card above which it takes no work, as in [\"temperature > 83\", \"memory > 90\"]: sm, encoder, decoder, memory (percent), temperature (degrees Celsius), power (watts)",
    ),
];

/// The key at a dotted path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The known path nearest to a mistyped one, when one is near.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    /// Below this similarity a hint would mislead.
    const NEAR: f64 = 0.75;
    KEYS.iter()
        .map(|key| (strsim::jaro_winkler(path, key.path), key.path))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}
