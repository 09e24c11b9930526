//! Which engines this machine offers.

use std::{fmt, str::FromStr, sync::Arc};

use framemill_gpu::list_devices;
use futures::future::join_all;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    Capacity, Engine, Failover, Measurement, NvidiaConfig, NvidiaEngine, SoftwareConfig, SoftwareEngine,
    TranscodeError, WorkerProgram, measure, nvidia::MAX_GPUS,
};

/// Which kind of engine to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// The cards of this machine, with the CPU behind them; the CPU where no card can be used.
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

/// Which cards to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Gpus {
    /// Every card.
    #[default]
    All,
    /// Cards with these indices.
    Only(Vec<u32>),
}

impl Gpus {
    /// Those to try, each once: of the list also the ones that are not there, so that somebody says so.
    fn among(&self, present: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut gpus = match self {
            Self::All => present.collect(),
            Self::Only(list) => list.clone(),
        };
        gpus.retain(|&gpu| gpu < MAX_GPUS);
        gpus.sort_unstable();
        gpus.dedup();
        gpus
    }
}

impl<'de> Deserialize<'de> for Gpus {
    /// `"all"`, or a list of indices.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            List(Vec<u32>),
        }
        match Form::deserialize(deserializer)? {
            Form::Word(word) if word == "all" => Ok(Self::All),
            Form::Word(word) => Err(serde::de::Error::custom(format!("{word:?} is not \"all\""))),
            Form::List(list) => Ok(Self::Only(list)),
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
    /// The engine on the CPU cannot transcode the built-in clip.
    #[error("engine software failed its measurement: {0}; give FFmpeg its encoders, or use engine nvidia")]
    Measure(#[source] TranscodeError),
}

/// Settings of all engines.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Which kind to use.
    pub choice: EngineChoice,
    /// Settings of the engine on the CPU.
    pub software: SoftwareConfig,
    /// Which cards to use.
    pub gpus: Gpus,
    /// How to start a card's process; without it no card is used.
    pub worker: Option<WorkerProgram>,
}

/// An engine, and what it was measured to do.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The engine, with others behind it where there are some.
    pub engine: Arc<dyn Engine>,
    /// The engine with nothing behind it: what it makes was made by it.
    pub alone: Arc<dyn Engine>,
    /// Of the engine alone.
    pub measurement: Measurement,
}

impl Offer {
    async fn of(engine: Arc<dyn Engine>) -> Result<Self, TranscodeError> {
        let measurement = measure(engine.as_ref()).await?;
        info!(engine = engine.name(), pixels_per_second = measurement.pixels_per_second(), "measured engine");
        Ok(Self { alone: Arc::clone(&engine), engine, measurement })
    }

    /// Of a card the second run counts: the sessions that the first one opens stay open for a stream's segments.
    async fn of_card(engine: Arc<dyn Engine>) -> Result<Self, TranscodeError> {
        measure(engine.as_ref()).await?;
        Self::of(engine).await
    }

    /// What to offer on the strength of the measurement.
    pub fn capacity(&self) -> Capacity {
        self.measurement.capacity(self.engine.capabilities().max_sessions)
    }
}

/// What [`choose_engines`] found.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Engines to offer, best first, at least one.
    pub offers: Vec<Offer>,
    /// Cards that are not used, and why not, for the operator.
    pub unused: Vec<(u32, String)>,
}

/// Finds out which engines this machine has, starts and measures them. Must be called inside a tokio runtime.
///
/// With [`EngineChoice::Auto`] every card that can be used is offered; behind each stand the other cards and then the CPU, for
/// segments that it cannot do. Where no card can be used the CPU is offered.
///
/// # Errors
/// When a kind is asked for that cannot be had on this machine, or the CPU cannot transcode the built-in clip.
pub async fn choose_engines(config: EngineConfig) -> Result<Chosen, ChooseError> {
    let (choice, software) = (config.choice, config.software.clone());
    let software = || -> Arc<dyn Engine> { Arc::new(SoftwareEngine::new(software)) };
    if choice == EngineChoice::Software {
        return only(software(), Vec::new()).await;
    }
    let (cards, unused) = cards(&config).await;
    match (choice, cards.is_empty()) {
        (EngineChoice::Nvidia, true) => Err(ChooseError::Nvidia { reason: reasons(&unused) }),
        (_, true) => {
            info!(reason = reasons(&unused), "encoding on the cpu");
            only(software(), unused).await
        }
        (EngineChoice::Nvidia, false) => Ok(Chosen { offers: backed(&cards, None), unused }),
        (_, false) => Ok(Chosen { offers: backed(&cards, Some(&software())), unused }),
    }
}

async fn only(engine: Arc<dyn Engine>, unused: Vec<(u32, String)>) -> Result<Chosen, ChooseError> {
    let offer = Offer::of(engine).await.map_err(ChooseError::Measure)?;
    Ok(Chosen { offers: vec![offer], unused })
}

/// The cards that work, measured one after the other, and why the others do not. A reason that holds for all has index 0.
async fn cards(config: &EngineConfig) -> (Vec<Offer>, Vec<(u32, String)>) {
    let (wanted, worker) = match wanted(config) {
        Ok(wanted) => wanted,
        Err(reason) => return (Vec::new(), vec![(0, reason)]),
    };
    let start = wanted.iter().map(|&gpu| NvidiaEngine::start(NvidiaConfig::new(gpu, worker.clone())));
    let started = join_all(start).await;
    let (mut works, mut unused) = (Vec::new(), Vec::new());
    for (gpu, engine) in wanted.into_iter().zip(started) {
        let offer = match engine {
            Ok(engine) => Offer::of_card(Arc::new(engine)).await,
            Err(error) => Err(error),
        };
        match offer {
            Ok(offer) => works.push(offer),
            Err(error) => {
                let reason = reason_of(error);
                warn!(gpu, reason, "gpu is not used");
                unused.push((gpu, reason));
            }
        }
    }
    (works, unused)
}

/// The cards that are to be tried, and how; or why there is none.
fn wanted(config: &EngineConfig) -> Result<(Vec<u32>, WorkerProgram), String> {
    let found = list_devices().map_err(|error| error.to_string())?;
    if let Some(blocker) = found.video.blocker() {
        return Err(blocker);
    }
    let worker = config.worker.clone().ok_or("this program starts no processes for gpus")?;
    let wanted = config.gpus.among(found.devices.iter().map(|device| device.ordinal));
    if wanted.is_empty() {
        return Err(format!(
            "none of the {} gpus of this machine is in transcoder.gpus",
            found.devices.len()
        ));
    }
    Ok((wanted, worker))
}

/// The reason alone where the index stands beside it.
fn reason_of(error: TranscodeError) -> String {
    match error {
        TranscodeError::GpuDown { reason, .. } | TranscodeError::Gpu { reason, .. } => reason,
        error => error.to_string(),
    }
}

fn reasons(unused: &[(u32, String)]) -> String {
    let texts: Vec<_> = match unused {
        [(_, only)] => vec![only.clone()],
        all => all.iter().map(|(gpu, reason)| format!("gpu {gpu}: {reason}")).collect(),
    };
    texts.join("; ")
}

/// Each card with the others behind it, and behind them the CPU where it may stand in.
fn backed(cards: &[Offer], software: Option<&Arc<dyn Engine>>) -> Vec<Offer> {
    let back = |(place, offer): (usize, &Offer)| {
        let others = cards.iter().enumerate().filter(|(other, _)| *other != place);
        let others = others.map(|(_, other)| &other.engine).chain(software).cloned().collect();
        Offer { engine: Arc::new(Failover::new(Arc::clone(&offer.engine), others)), ..offer.clone() }
    };
    cards.iter().enumerate().map(back).collect()
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

    #[tokio::test]
    async fn without_cards_the_cpu_is_offered() {
        let chosen = choose_engines(EngineConfig::default()).await.expect("the cpu is always there");
        assert_eq!(chosen.offers[0].engine.name(), "software");
        assert!(chosen.unused.iter().all(|(_, reason)| !reason.is_empty()), "{chosen:?}");
    }

    #[tokio::test]
    async fn says_why_nvidia_cannot_be_had() {
        let config = EngineConfig { choice: EngineChoice::Nvidia, ..EngineConfig::default() };
        let refused = choose_engines(config).await;
        assert!(matches!(refused, Err(ChooseError::Nvidia { reason }) if !reason.is_empty()));
    }

    #[test]
    fn a_card_that_is_asked_for_is_tried_once_whether_it_is_there_or_not() {
        assert_eq!(Gpus::All.among([0, 1].into_iter()), [0, 1]);
        assert_eq!(Gpus::Only(vec![3, 0, 3]).among([0, 1].into_iter()), [0, 3]);
        assert_eq!(Gpus::Only(vec![99]).among([0].into_iter()), [0_u32; 0]);
    }

    #[test]
    fn gpus_are_all_or_a_list() {
        let read = |text| serde_json::from_str::<Gpus>(text);
        assert_eq!(read(r#""all""#).expect("a word"), Gpus::All);
        assert_eq!(read("[1, 0]").expect("a list"), Gpus::Only(vec![1, 0]));
        assert!(read(r#""some""#).is_err());
    }
}
