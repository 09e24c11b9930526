//! `framemill config`: what the configuration says, and what is wrong with it.

use serde_json::json;

use crate::{
    cli::ConfigCommand,
    config::{self, Sources},
    meaning,
};

/// Runs the command.
pub(crate) fn run(command: &ConfigCommand, sources: &Sources) -> anyhow::Result<()> {
    let settings = sources.settings()?;
    let config = config::interpret(&settings)?;
    match command {
        ConfigCommand::Check => {
            meaning::check(&config, &settings)?;
            println!("the configuration is valid: {} settings", settings.len());
        }
        ConfigCommand::Show(output) if output.json => {
            let shown: serde_json::Map<_, _> = settings
                .iter()
                .map(|(path, setting)| {
                    (
                        (*path).to_owned(),
                        json!({ "value": setting.value, "source": setting.source.to_string() }),
                    )
                })
                .collect();
            println!("{}", serde_json::to_string_pretty(&shown)?);
        }
        ConfigCommand::Show(_) => {
            for (path, setting) in &settings {
                println!("{path} = {}  # {}", setting.value, setting.source);
            }
        }
    }
    Ok(())
}
