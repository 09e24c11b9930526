//! Settings that have the right form and mean nothing: what a role would refuse at its start, told before.

use std::collections::BTreeSet;

use anyhow::Context as _;
use framemill_broadcaster::AuthWebhook;
use framemill_network::{Ladder, ServiceAddress};

use crate::{
    buyer, chain,
    commands::{orchestrator, transcoder},
    config::{self, Config, ConfigError, Merged, Settings, Sources},
    runtime, telemetry,
};

/// A key, and what fails where its value means nothing.
type Check = (&'static str, fn(&Config) -> anyhow::Result<()>);

/// Where it is said that settings of an orchestrator do not go together.
const TOGETHER: &str = "orchestrator.commitment_surcharge_ppm";
/// What those settings begin with.
const SELLER: &str = "orchestrator.";

const CHECKS: &[Check] = &[
    ("log.filter", |config| telemetry::filter(&config.log).map(drop)),
    ("chain.max_fee_per_gas_wei", |config| chain::settings(config).map(drop)),
    ("chain.deployment", |config| chain::deployment_file(config).map(drop)),
    ("http.listen", |config| host_and_port(&config.http.listen)),
    ("network.listen", |config| multiaddrs("network.listen", &config.network.listen)),
    ("network.external", |config| multiaddrs("network.external", &config.network.external)),
    ("network.bootstrap", |config| services("network.bootstrap", &config.network.bootstrap)),
    ("network.relays", |config| services("network.relays", &config.network.relays)),
    ("network.peers", |config| config.network.peers.iter().try_for_each(|peer| buyer::peer(peer).map(drop))),
    ("broadcaster.ingest", |config| host_and_port(&config.broadcaster.ingest)),
    ("broadcaster.rtmp", |config| config.broadcaster.rtmp.as_deref().map_or(Ok(()), host_and_port)),
    ("broadcaster.auth_url", |config| auth_url(config.broadcaster.auth_url.as_deref())),
    ("broadcaster.ladder", |config| ladder(&config.broadcaster.ladder)),
    ("broadcaster.max_price_wei", |config| buyer::limits(config).map(drop)),
    ("orchestrator.price_wei", |config| orchestrator::price(config.orchestrator.price_wei).map(drop)),
    ("orchestrator.prices", |config| orchestrator::prices(&config.orchestrator.prices).map(drop)),
    (TOGETHER, consistent),
    ("transcoder.orchestrator", |config| config.transcoder.orchestrator.as_deref().map_or(Ok(()), service)),
    ("transcoder.pause_when", |config| transcoder::watch(&config.transcoder).map(drop)),
];

/// Reads a configuration and looks for such settings.
///
/// # Errors
/// Everything that is wrong: settings that there are not, values of another form, and those that mean nothing.
pub(crate) fn read(sources: &Sources) -> Result<(Config, Settings), ConfigError> {
    let Merged { settings, mut problems, doubtful, lacks_file } = sources.merged();
    let config = config::interpret(&settings);
    if let (Ok(config), false) = (&config, lacks_file) {
        problems.extend(meaningless(config, &settings, &doubtful));
    }
    match config {
        Ok(config) if problems.is_empty() => Ok((config, settings)),
        Ok(_) => Err(ConfigError(problems)),
        Err(error) => Err(ConfigError(problems.into_iter().chain(error.0).collect())),
    }
}

/// Why settings mean nothing, and where they come from. What hangs on a doubtful one is not looked at: it would be said of a
/// default that nobody asked for.
fn meaningless(config: &Config, settings: &Settings, doubtful: &BTreeSet<&str>) -> Vec<String> {
    let problem = |(key, check): &Check| {
        let hangs_on = |doubtful: &&str| doubtful == key || *key == TOGETHER && doubtful.starts_with(SELLER);
        if doubtful.iter().any(hangs_on) {
            return None;
        }
        let error = check(config).err()?;
        let source =
            settings.get(key).map_or_else(|| "not set".to_owned(), |setting| setting.source.to_string());
        let text = format!("{error:#}");
        let text = text.strip_prefix(&format!("{key}: ")).unwrap_or(&text).to_owned();
        Some(format!("{key}: {text} ({source})"))
    };
    CHECKS.iter().filter_map(problem).collect()
}

fn host_and_port(text: &str) -> anyhow::Result<()> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    anyhow::ensure!(
        matches!(port, Some(Ok(_))),
        "\"{text}\" is no host and port; write it like 127.0.0.1:8080"
    );
    Ok(())
}

fn auth_url(url: Option<&str>) -> anyhow::Result<()> {
    url.map_or(Ok(()), |url| Ok(AuthWebhook::new(url).map(drop)?))
}

fn ladder(text: &str) -> anyhow::Result<()> {
    text.parse::<Ladder>().map(drop).with_context(|| format!("\"{text}\""))
}

/// Whether an orchestrator's settings, each right by itself, go together.
fn consistent(config: &Config) -> anyhow::Result<()> {
    orchestrator::settings(config, true).map_or(Ok(()), |settings| Ok(settings.validate()?))
}

fn multiaddrs(key: &str, texts: &[String]) -> anyhow::Result<()> {
    runtime::multiaddrs(key, texts).map(drop)
}

fn services(key: &str, texts: &[String]) -> anyhow::Result<()> {
    runtime::services(key, texts).map(drop)
}

fn service(text: &str) -> anyhow::Result<()> {
    text.parse::<ServiceAddress>().map(drop).with_context(|| format!("\"{text}\""))
}
