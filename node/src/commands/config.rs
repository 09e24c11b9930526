//! `framemill config`: what the configuration says, and what is wrong with it.

use serde_json::json;

use crate::{
    cli::{ConfigCommand, JsonArgs},
    config::{Setting, Settings, Sources},
    meaning,
};

/// Runs the command.
pub(crate) fn run(command: &ConfigCommand, sources: &Sources) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check => {
            let (_, settings) = meaning::read(sources)?;
            println!("the configuration is valid: {} settings", settings.len());
        }
        ConfigCommand::Show(output) => show(&sources.settings()?, *output)?,
    }
    Ok(())
}

fn show(settings: &Settings, output: JsonArgs) -> anyhow::Result<()> {
    if output.json {
        let value =
            |setting: &Setting| json!({ "value": setting.value, "source": setting.source.to_string() });
        let shown: serde_json::Map<_, _> =
            settings.iter().map(|(path, setting)| ((*path).to_owned(), value(setting))).collect();
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    for (path, setting) in settings {
        println!("{path} = {}  # {}", setting.value, setting.source);
    }
    Ok(())
}
