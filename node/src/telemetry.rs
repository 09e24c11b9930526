//! Log lines: text for people, JSON for machines, on standard error.

use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::config::Log;

/// Chooses which log lines are written from now on.
#[derive(Debug, Clone)]
pub(crate) struct LogControl(reload::Handle<EnvFilter, Registry>);

impl LogControl {
    /// Writes what `filter` lets through.
    pub(crate) fn set(&self, filter: EnvFilter) {
        // The logger lives as long as the process does; without one there is nothing to choose.
        let _ = self.0.reload(filter);
    }
}

/// Reads `log.filter`.
///
/// # Errors
/// It is none, with the place of the mistake.
pub(crate) fn filter(log: &Log) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&log.filter)
        .map_err(|error| anyhow::anyhow!("log.filter: {error}; write it like info,framemill_network=debug"))
}

/// Starts logging for this process; a second call changes nothing.
///
/// # Errors
/// As [`filter`].
pub(crate) fn init(log: &Log) -> anyhow::Result<LogControl> {
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format.as_str() {
        "json" => registry.with(lines.json()).try_init(),
        _ => registry.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init(),
    };
    // Only a logger that is there already can make this fail, and then lines are written all the same.
    drop(started);
    Ok(LogControl(handle))
}
