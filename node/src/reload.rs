//! Reads the configuration of a running role again on SIGHUP. All of it takes effect, or nothing does.

use std::convert::Infallible;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::{Config, ConfigError, KEYS, Key, Settings, Sources},
    dashboard::Role,
    meaning,
    telemetry::{self, LogControl},
};

/// What a process began with.
pub(crate) struct Start {
    /// Where its configuration comes from.
    pub(crate) sources: Sources,
    /// What that said.
    pub(crate) settings: Settings,
    /// Chooses its log lines.
    pub(crate) logs: LogControl,
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// It is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// It asks for what only a start can do.
    #[error("restart to change {}", .0.join(", "))]
    Restart(Vec<&'static str>),
    /// The role cannot work with it.
    #[error("{0:#}")]
    Unusable(anyhow::Error),
}

impl Refused {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Wrong(_) | Self::Unusable(_) => Outcome::Refused,
            Self::Restart(_) => Outcome::Restart,
        }
    }
}

/// Waits for SIGHUP from the moment it is made: before that, the signal ends the process.
pub(crate) struct Reload {
    role: Role,
    start: Start,
    hangups: Signal,
}

impl Reload {
    /// For a role of this process.
    ///
    /// # Errors
    /// Signals cannot be listened for.
    pub(crate) fn new(role: Role, start: Start) -> anyhow::Result<Self> {
        Ok(Self { role, start, hangups: signal(SignalKind::hangup())? })
    }

    /// Takes another configuration each time that the process is asked to, for as long as it is polled. `apply` makes all of
    /// it take effect, or fails and has changed nothing.
    ///
    /// # Errors
    /// The metrics are registered already.
    pub(crate) fn follow(
        mut self,
        registry: &Registry,
        apply: impl Fn(&Config) -> anyhow::Result<()>,
    ) -> anyhow::Result<impl Future<Output = Infallible>> {
        let metrics = Metrics::new(registry)?;
        Ok(async move {
            while self.hangups.recv().await.is_some() {
                metrics.count(tell(&self.take(&apply)));
            }
            std::future::pending().await
        })
    }

    /// The keys that have changed.
    fn take(&mut self, apply: impl Fn(&Config) -> anyhow::Result<()>) -> Result<Vec<&'static str>, Refused> {
        let (config, settings) = meaning::read(&self.start.sources)?;
        let changed = changed(self.role, &self.start.settings, &settings);
        let fixed = paths(changed.iter().filter(|key| !key.live));
        if !fixed.is_empty() {
            return Err(Refused::Restart(fixed));
        }
        let filter = telemetry::filter(&config.log).map_err(Refused::Unusable)?;
        apply(&config).map_err(Refused::Unusable)?;
        self.start.logs.set(filter);
        self.start.settings = settings;
        Ok(paths(changed.iter()))
    }
}

/// As [`Reload::follow`]; waits for nothing where there is none.
///
/// # Errors
/// As [`Reload::follow`].
pub(crate) fn following(
    reload: Option<Reload>,
    registry: &Registry,
    apply: impl Fn(&Config) -> anyhow::Result<()>,
) -> anyhow::Result<impl Future<Output = Infallible>> {
    let follow = reload.map(|reload| reload.follow(registry, apply)).transpose()?;
    Ok(async move {
        match follow {
            Some(follow) => follow.await,
            None => std::future::pending().await,
        }
    })
}

/// Keys of a role whose values differ.
fn changed(role: Role, before: &Settings, after: &Settings) -> Vec<&'static Key> {
    let value = |settings: &Settings, key: &Key| settings.get(key.path).map(|setting| setting.value.clone());
    KEYS.iter().filter(|key| key.concerns(role) && value(before, key) != value(after, key)).collect()
}

fn paths<'a>(keys: impl Iterator<Item = &'a &'static Key>) -> Vec<&'static str> {
    keys.map(|key| key.path).collect()
}

/// Logs what came of it; the outcome for the metric.
fn tell(taken: &Result<Vec<&'static str>, Refused>) -> Outcome {
    match taken {
        Ok(changed) if changed.is_empty() => {
            tracing::info!("configuration read again: nothing has changed");
            Outcome::Unchanged
        }
        Ok(changed) => {
            tracing::info!(changed = changed.join(", "), "configuration read again and taken");
            Outcome::Applied
        }
        Err(refused) => {
            tracing::error!(
                reason = %refused,
                "configuration not taken, all goes on with the one before; mend it (framemill config check) or restart"
            );
            refused.outcome()
        }
    }
}

/// What came of reading it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Applied,
    Unchanged,
    /// It is wrong, and nothing was taken.
    Refused,
    /// Only a start can take it, and nothing was taken.
    Restart,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Applied, Self::Unchanged, Self::Refused, Self::Restart];

    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Restart => "restart",
        }
    }
}

/// A registry with every series that each role has, for whoever describes them.
///
/// # Errors
/// A metric is defined wrongly.
pub(crate) fn every_series() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    Metrics::new(&registry)?;
    Ok(registry)
}

/// What an alert can see of it.
struct Metrics {
    reloads: IntCounterVec,
    ok: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = Opts::new(
            "framemill_config_reloads_total",
            "Times the configuration was read again on SIGHUP, by outcome.",
        );
        let new = Self {
            reloads: IntCounterVec::new(reloads, &["outcome"])?,
            ok: IntGauge::new(
                "framemill_config_reload_ok",
                "Whether the last configuration that was read was taken: 0 or 1.",
            )?,
        };
        registry.register(Box::new(new.reloads.clone()))?;
        registry.register(Box::new(new.ok.clone()))?;
        new.ok.set(1);
        for outcome in Outcome::ALL {
            new.reloads.with_label_values(&[outcome.as_str()]);
        }
        Ok(new)
    }

    fn count(&self, outcome: Outcome) {
        self.reloads.with_label_values(&[outcome.as_str()]).inc();
        self.ok.set(i64::from(matches!(outcome, Outcome::Applied | Outcome::Unchanged)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Sources { flags, ..Sources::default() }.settings().expect("valid")
    }

    #[test]
    fn a_role_heeds_its_own_keys_and_those_of_all() {
        let before = settings(&[]);
        let after = settings(&[
            ("orchestrator.price_wei", "7"),
            ("transcoder.threads", "2"),
            ("chain.rpc", "http://127.0.0.1:1"),
            ("log.filter", "debug"),
        ]);
        let changed = |role| paths(changed(role, &before, &after).iter());
        assert_eq!(changed(Role::Orchestrator), ["log.filter", "chain.rpc", "orchestrator.price_wei"]);
        assert_eq!(changed(Role::Broadcaster), ["log.filter", "chain.rpc"]);
        assert_eq!(changed(Role::Transcoder), ["log.filter", "transcoder.threads"]);
    }

    #[test]
    fn a_key_that_is_no_longer_set_has_changed() {
        let set = settings(&[("broadcaster.rtmp", "127.0.0.1:1935")]);
        assert_eq!(paths(changed(Role::Broadcaster, &set, &settings(&[])).iter()), ["broadcaster.rtmp"]);
    }
}
