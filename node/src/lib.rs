//! The `framemill` binary: command line, configuration, HTTP, metrics, dashboard and the wiring of every role.
//!
//! The binary is [`run`] on a command line. The library is public for the tests, which start the same processes and read the same
//! configuration; platforms embed `framemill_broadcaster` instead. A role ends on Ctrl-C or SIGTERM: it drains, then stops.

pub mod amount;
pub mod board;
mod buyer;
mod chain;
pub mod cli;
mod colleagues;
mod commands;
pub mod config;
pub mod dashboard;
pub mod demo;
pub mod devnet;
mod feed;
pub mod http;
pub mod keystore;
mod ledger;
mod meaning;
pub mod process;
mod reference;
mod reload;
pub mod runtime;
mod telemetry;
mod transact;

use std::process::ExitCode;

use cli::{Cli, Command, Common, DisputeCommand, LoadArgs};
use config::{Config, Settings, Sources};
use dashboard::Role;
use framemill_contracts::ChainError;
use reload::{Reload, Start};

/// Runs one command line to its end.
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("framemill: {}", explain(&error));
            exit_code(&error)
        }
    }
}

/// What scripts need to tell apart; `framemill stake --help` lists them.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    const NOT_CONFIRMED: u8 = 3;
    const REFUSED: u8 = 4;
    const RETRY: u8 = 5;
    if error.is::<transact::NotConfirmed>() {
        return NOT_CONFIRMED.into();
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<ChainError>()) {
        Some(ChainError::Reverted { .. } | ChainError::MinedReverted { .. }) => REFUSED.into(),
        Some(error) if error.is_retryable() => RETRY.into(),
        _ => ExitCode::FAILURE,
    }
}

/// The whole chain of causes in one line. Many errors tell their cause in their own text, so that it is not told twice.
fn explain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| match cause.to_string() {
        cause if told.is_empty() => cause,
        cause if told.ends_with(&cause) => told,
        cause => format!("{told}: {cause}"),
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let sources = sources(&cli.common);
    match &cli.command {
        Command::Verify(args) => return Ok(commands::verify::run(args)),
        Command::Audit(args) => return commands::audit::run(args),
        Command::GpuWorker(args) => return commands::gpu_worker::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Dispute(command) if !command.is_before_the_court() => {
            return Ok(commands::dispute::run(command));
        }
        Command::Config(command) => {
            return commands::config::run(command, &sources).map(|()| ExitCode::SUCCESS);
        }
        Command::Generate(command) => {
            return commands::generate::run(command, &sources).map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    if let Command::Doctor(args) = &cli.command {
        return runtime()?.block_on(commands::doctor::run(args, &sources));
    }
    let settings = sources.settings()?;
    let config = config::interpret(&settings)?;
    let logs = telemetry::init(&log(&cli.command, &settings, &config))?;
    let start = Start { sources, settings, logs };
    runtime()?.block_on(role(&config, &cli, start))
}

/// A service logs what it does; a command that ends speaks for itself, unless log lines were asked for.
fn log(command: &Command, settings: &Settings, config: &Config) -> config::Log {
    let service = matches!(
        command,
        Command::Broadcaster
            | Command::Orchestrator
            | Command::Transcoder(_)
            | Command::Dispute(DisputeCommand::Serve(_))
            | Command::Load(LoadArgs { part: Some(_), .. })
    );
    let asked = settings["log.filter"].source != config::Source::Default;
    let filter = if service || asked { config.log.filter.clone() } else { "error".to_owned() };
    config::Log { filter, ..config.log.clone() }
}

async fn role(config: &Config, cli: &Cli, start: Start) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Demo(args) => return demo::run(config, args).await,
        Command::Devnet(args) => commands::devnet::run(args).await,
        Command::Broadcaster => {
            commands::broadcaster::run(config, Reload::new(Role::Broadcaster, start)?).await
        }
        Command::Orchestrator => {
            commands::orchestrator::run(config, Reload::new(Role::Orchestrator, start)?).await
        }
        Command::Transcoder(args) => {
            commands::transcoder::run(config, args, Reload::new(Role::Transcoder, start)?).await
        }
        Command::Transcode(args) => commands::transcode::run(config, args).await,
        Command::Wallet(command) => commands::wallet::run(config, command).await,
        Command::Governance(command) => commands::governance::run(config, command).await,
        Command::Stake(command) => commands::stake::run(config, command).await,
        Command::Dispute(command) => commands::court::run(config, command).await,
        Command::Load(args) => commands::load::run(config, args).await,
        Command::Devices(output) => commands::devices::run(config, *output).await,
        Command::Bench(args) => commands::bench::run(config, args).await,
        Command::Earnings(args) => commands::earnings::run(config, args).await,
        Command::Tickets(command) => return commands::tickets::run(config, command).await,
        Command::Verify(_)
        | Command::Audit(_)
        | Command::Config(_)
        | Command::Generate(_)
        | Command::Doctor(_)
        | Command::GpuWorker(_) => {
            unreachable!("these ended before a runtime was needed")
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

fn sources(common: &Common) -> Sources {
    Sources { file: common.config.clone(), flags: common.set.clone(), ..Sources::default() }
        .with_environment()
}
