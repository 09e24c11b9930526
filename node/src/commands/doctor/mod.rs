//! `framemill doctor`: whether this machine has what its roles need, and what to do where it has not.
//!
//! It only looks: it makes no key, sends no transaction and leaves no file behind. It calls nodes, and where this one does not run
//! it stands at its ports while they are called.

mod bucket;
mod caller;
mod chain;
mod engines;
mod files;
mod funds;
mod peers;
mod ports;
mod reach;
mod report;

use std::process::ExitCode;

use framemill_contracts::ChainClient;

use crate::{
    cli::DoctorArgs,
    config::{Config, Settings, Source, Sources},
    dashboard::Role,
    meaning,
};
use caller::Caller;
use reach::Stand;
use report::{Finding, Report};

/// Runs the command: exit status 1 when a check failed.
///
/// # Errors
/// None that a finding does not tell.
pub(crate) async fn run(args: &DoctorArgs, sources: &Sources) -> anyhow::Result<ExitCode> {
    let mut report = Report::new(args.json);
    if let Some((config, roles)) = configuration(args, sources, &mut report) {
        examine(&config, &roles, &mut report).await;
    }
    Ok(ExitCode::from(u8::from(!report.close())))
}

/// Reads the configuration; where it is wrong there is nothing to examine.
fn configuration(args: &DoctorArgs, sources: &Sources, report: &mut Report) -> Option<(Config, Vec<Role>)> {
    let (config, settings) = match meaning::read(sources) {
        Ok(read) => read,
        Err(error) => {
            let mend = "mend it; framemill config show lists every key";
            report.extend(error.0.into_iter().map(|problem| Finding::fail("configuration", problem, mend)));
            return None;
        }
    };
    let set = settings.values().filter(|setting| setting.source != Source::Default).count();
    report.add(Finding::ok("configuration", format!("{} settings, {set} of them set", settings.len())));
    let roles = roles(args, &settings);
    if roles.is_empty() {
        let name = "name one: framemill doctor orchestrator";
        report.add(Finding::fail("roles", "the configuration says nothing of any role", name));
        return None;
    }
    Some((config, roles))
}

/// Those that are asked for, or those that own a setting that somebody set.
fn roles(args: &DoctorArgs, settings: &Settings) -> Vec<Role> {
    if !args.roles.is_empty() {
        return args.roles.clone();
    }
    let is_set = |role: &Role| {
        let own = format!("{}.", role.name());
        settings.iter().any(|(path, setting)| path.starts_with(&own) && setting.source != Source::Default)
    };
    [Role::Broadcaster, Role::Orchestrator, Role::Transcoder].into_iter().filter(is_set).collect()
}

async fn examine(config: &Config, roles: &[Role], report: &mut Report) {
    let trades = roles.iter().any(|role| *role != Role::Transcoder);
    files::folders(config, roles, report);
    let key = if trades { files::key(config, roles, report) } else { None };
    files::ledgers(config, roles, report).await;
    if roles.contains(&Role::Broadcaster) {
        bucket::examine(config, report).await;
    }
    ports::listening(config, roles, report).await;
    let client = if trades { chain::examine(config, report).await } else { None };
    if let Some(client) = &client {
        funds::examine(config, roles, client, key, report).await;
    }
    network(config, roles, client.as_ref(), report).await;
    if roles.contains(&Role::Transcoder) {
        report.add(files::work_token(config));
        engines::examine(config, report).await;
    }
}

/// Who reaches this node, and whom it reaches: at most half a minute, and only what does not answer takes long.
async fn network(config: &Config, roles: &[Role], client: Option<&ChainClient>, report: &mut Report) {
    let stand = match roles.contains(&Role::Orchestrator) {
        true => Some(Stand::take(config).await),
        false => None,
    };
    if let Some(stand) = &stand {
        reach::announced(config, stand, report).await;
    }
    let caller = match stand.as_ref().and_then(Stand::caller) {
        Some(caller) => Ok(caller),
        None => Caller::new().await,
    };
    match caller {
        Ok(caller) => {
            peers::examine(config, roles, client, &caller, report).await;
            if let Some(stand) = stand {
                reach::called_back(config, &stand, report).await;
            }
            caller.close().await;
        }
        Err(error) => report.add(Finding::fail(
            "network",
            error.to_string(),
            "check what this user may open: framemill needs sockets of UDP and TCP",
        )),
    }
}
