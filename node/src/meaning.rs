//! Settings that have the right form and mean nothing: what a role would refuse at its start, told before.

use anyhow::Context as _;
use framemill_broadcaster::AuthWebhook;
use framemill_network::{Ladder, ServiceAddress};

use crate::{
    buyer, chain,
    commands::{orchestrator, transcoder},
    config::{Config, ConfigError, Settings},
    runtime, telemetry,
};

/// A key, and what fails where its value means nothing.
type Check = (&'static str, fn(&Config) -> anyhow::Result<()>);

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
    ("orchestrator.commitment_surcharge_ppm", consistent),
    ("transcoder.orchestrator", |config| config.transcoder.orchestrator.as_deref().map_or(Ok(()), service)),
    ("transcoder.pause_when", |config| transcoder::watch(&config.transcoder).map(drop)),
];

/// Looks for such settings.
///
/// # Errors
/// Every one, with why it means nothing and where it comes from.
pub(crate) fn check(config: &Config, settings: &Settings) -> Result<(), ConfigError> {
    let problem = |(key, check): &Check| {
        let error = check(config).err()?;
        let source =
            settings.get(key).map_or_else(|| "not set".to_owned(), |setting| setting.source.to_string());
        let text = format!("{error:#}");
        let text = text.strip_prefix(&format!("{key}: ")).unwrap_or(&text).to_owned();
        Some(format!("{key}: {text} ({source})"))
    };
    let problems: Vec<_> = CHECKS.iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
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
