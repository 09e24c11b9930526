//! Which engines this machine offers.

use std::{fmt, str::FromStr, sync::Arc};

use framemill_gpu::{Inventory, list_devices};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::info;

use crate::{Engine, SoftwareConfig, SoftwareEngine};

/// Which kind of engine to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The best this machine has.
    #[default]
    Auto,
    /// The CPU, whatever cards there are.
    Software,
    /// Video engines of NVIDIA cards, and nothing else.
    Nvidia,
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Software => "software",
            Self::Nvidia => "nvidia",
        })
    }
}

impl FromStr for EngineChoice {
    type Err = ChooseError;

    fn from_str(text: &str) -> Result<Self, ChooseError> {
        match text {
            "auto" => Ok(Self::Auto),
            "software" => Ok(Self::Software),
            "nvidia" => Ok(Self::Nvidia),
            _ => Err(ChooseError::Unknown { text: text.chars().take(32).collect() }),
        }
    }
}

/// Why the engines asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// No engine of that name.
    #[error("engine {text:?} is not known; use auto, software or nvidia")]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// No NVIDIA engine can run here.
    #[error("engine nvidia cannot be used: {reason}; use engine software")]
    Nvidia {
        /// Why not.
        reason: String,
    },
}

/// Settings of all engines.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Which kind to use.
    pub choice: EngineChoice,
    /// Settings of the engine on the CPU.
    pub software: SoftwareConfig,
}

/// The engines to offer, best first, at least one.
///
/// Asks the GPU driver what is there and says in the log why a card is not used. This version encodes on the CPU only, so
/// that is what [`EngineChoice::Auto`] takes.
///
/// # Errors
/// When a kind is asked for that cannot be had on this machine.
pub fn choose_engines(config: EngineConfig) -> Result<Vec<Arc<dyn Engine>>, ChooseError> {
    match config.choice {
        EngineChoice::Software => {}
        EngineChoice::Auto => info!(reason = nvidia_blocker(), "encoding on the cpu"),
        EngineChoice::Nvidia => return Err(ChooseError::Nvidia { reason: nvidia_blocker() }),
    }
    Ok(vec![Arc::new(SoftwareEngine::new(config.software))])
}

/// Why no card of this machine encodes.
fn nvidia_blocker() -> String {
    match list_devices() {
        Ok(found) => found.video.blocker().unwrap_or_else(|| unused(&found)),
        Err(error) => error.to_string(),
    }
}

fn unused(found: &Inventory) -> String {
    let names: Vec<_> = found.devices.iter().map(|device| device.name.as_str()).collect();
    format!("this version has no nvidia engine; {} stays unused", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_reads_back_from_its_name() {
        for choice in [EngineChoice::Auto, EngineChoice::Software, EngineChoice::Nvidia] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("gpu".parse::<EngineChoice>().is_err());
    }

    #[test]
    fn auto_always_finds_an_engine() {
        let engines = choose_engines(EngineConfig::default()).expect("the cpu is always there");
        assert_eq!(engines[0].name(), "software");
    }

    #[test]
    fn says_why_nvidia_cannot_be_had() {
        let config = EngineConfig { choice: EngineChoice::Nvidia, ..EngineConfig::default() };
        assert!(matches!(choose_engines(config), Err(ChooseError::Nvidia { reason }) if !reason.is_empty()));
    }
}
