//! Log lines: text for people, JSON for machines, on standard error.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::Log;

/// Starts logging for this process; a second call changes nothing.
///
/// # Errors
/// A filter that cannot be read, with the place of the mistake.
pub(crate) fn init(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        anyhow::anyhow!("log.filter: {error}; write it like info,framemill_network=debug")
    })?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format.as_str() {
        "json" => registry.with(lines.json()).try_init(),
        _ => registry.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init(),
    };
    // Only a logger that is there already can make this fail, and then lines are written all the same.
    drop(started);
    Ok(())
}
