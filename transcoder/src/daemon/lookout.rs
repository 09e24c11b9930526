//! Looks after one engine beside other work: what its segments took, what its card tells, and what is offered of it.

use std::{
    mem::take,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use framemill_gpu::{CardTelemetry, GpuError, Telemetry};
use tokio::sync::watch::{Receiver, Sender, channel};
use tracing::{info, warn};

use crate::{
    Capacity, Engine, Metrics, WatchConfig,
    watchdog::{PARTS, Sight, Watchdog, share},
};

/// Time from one look to the next. Cards look at themselves about as often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a card may say nothing before that counts as telling nothing: a driver takes a second to wake a sleeping card.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Shortest time that a segment counts as playing: of shorter ones most is spent on beginning and ending.
const LEAST_ALLOWED: Duration = Duration::from_secs(1);

/// What a segment took of its engine's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Time for which the engine was waited for.
    pub(crate) took: Duration,
    /// Time for which the segment plays.
    pub(crate) plays: Duration,
    /// Segments of its session that were in work with it, itself included: a sender that runs ahead has so much more time.
    pub(crate) abreast: usize,
}

/// One engine under watch.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: &'static str,
    whole: Capacity,
    watchdog: Watchdog,
    card: Option<CardWatch>,
    /// Of the segments since the last look.
    took: Duration,
    allowed: Duration,
}

impl Watch {
    pub(crate) fn new(engine: &Arc<dyn Engine>, whole: Capacity, config: WatchConfig) -> Self {
        let card = engine.card().map(|card| CardWatch::start(card.ordinal, Arc::downgrade(engine)));
        let watchdog = Watchdog::new(config);
        Self { engine: engine.name(), whole, watchdog, card, took: Duration::ZERO, allowed: Duration::ZERO }
    }

    pub(crate) fn ended(&mut self, pace: Pace) {
        let abreast = u32::try_from(pace.abreast.max(1)).unwrap_or(u32::MAX);
        self.took = self.took.saturating_add(pace.took);
        self.allowed = self.allowed.saturating_add(pace.plays.max(LEAST_ALLOWED).saturating_mul(abreast));
    }

    /// Looks at what has happened; what to offer from now on, when that is another capacity than before.
    pub(crate) fn look(&mut self, now: Instant, metrics: Option<&Metrics>) -> Option<Capacity> {
        let telemetry = self.card.as_mut().and_then(|card| card.look(now, self.watchdog.config()));
        if let Some(metrics) = metrics.filter(|_| self.card.is_some()) {
            metrics.telemetry(self.engine, &telemetry.unwrap_or_default());
        }
        let sight = Sight { lateness_percent: self.lateness_percent(), telemetry };
        let change = self.watchdog.step(now, &sight)?;
        let capacity = share(self.whole, change.parts);
        let (engine, sessions) = (self.engine, capacity.max_sessions);
        let offered = format!("{}/{PARTS}", change.parts);
        match change.reason {
            Some(reason) => warn!(engine, offered, sessions, %reason, "offering less"),
            None => info!(engine, offered, sessions, "offering more again"),
        }
        if let Some(metrics) = metrics {
            metrics.share(engine, f64::from(change.parts) / f64::from(PARTS), change.reason);
            metrics.offered(engine, capacity);
        }
        Some(capacity)
    }

    fn lateness_percent(&mut self) -> Option<u32> {
        let (took, allowed) = (take(&mut self.took), take(&mut self.allowed));
        let percent = took.as_millis().saturating_mul(100).checked_div(allowed.as_millis())?;
        Some(u32::try_from(percent).unwrap_or(u32::MAX))
    }
}

/// The newest that a card told, and when.
type Reading = (Instant, Result<Telemetry, GpuError>);

/// A card that is read by a thread of its own: a driver that hangs keeps nobody waiting but that.
#[derive(Debug)]
struct CardWatch {
    gpu: u32,
    readings: Receiver<Reading>,
    /// What was said last of what the card tells, so that it is said once.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Well,
    Gone,
}

impl CardWatch {
    fn start(gpu: u32, engine: Weak<dyn Engine>) -> Self {
        let (sender, readings) = channel((Instant::now(), Ok(Telemetry::default())));
        let body = move || read(gpu, &engine, &sender);
        if let Err(error) = thread::Builder::new().name(format!("telemetry-{gpu}")).spawn(body) {
            warn!(gpu, %error, "no thread for the gpu's telemetry");
        }
        Self { gpu, readings, told: Told::Nothing }
    }

    /// What the card tells now; says it when that begins, ends, or leaves a setting without its figure.
    fn look(&mut self, now: Instant, config: &WatchConfig) -> Option<Telemetry> {
        let (at, reading) = self.readings.borrow_and_update().clone();
        if now.saturating_duration_since(at) > SILENT_AFTER {
            self.gone(&format!("the driver has not answered for {SILENT_AFTER:?}"));
            return None;
        }
        match reading {
            Ok(telemetry) if telemetry == Telemetry::default() => None,
            Ok(telemetry) => {
                self.well(config, &telemetry);
                Some(telemetry)
            }
            Err(error) => {
                self.gone(&error.to_string());
                None
            }
        }
    }

    fn well(&mut self, config: &WatchConfig, telemetry: &Telemetry) {
        let before = std::mem::replace(&mut self.told, Told::Well);
        let gpu = self.gpu;
        if before == Told::Gone {
            info!(gpu, "the gpu tells of itself again");
        }
        let blind = config.blind(telemetry);
        if before != Told::Well && !blind.is_empty() {
            let settings = blind.join(", ");
            warn!(
                gpu,
                settings, "the gpu does not tell what these settings are about; they have no effect on it"
            );
        }
    }

    fn gone(&mut self, reason: &str) {
        if std::mem::replace(&mut self.told, Told::Gone) != Told::Gone {
            let effect = "sm_budget, power_limit and pause_when have no effect until it does";
            warn!(
                gpu = self.gpu,
                reason, effect, "the gpu tells nothing of itself; going by the time that segments take"
            );
        }
    }
}

/// Reads a card once a second for as long as its engine and whoever looks are there. After an error all is opened anew: the driver may
/// have been loaded again.
fn read(gpu: u32, engine: &Weak<dyn Engine>, readings: &Sender<Reading>) {
    let mut card = None;
    while let Some(process) = engine.upgrade().map(|engine| engine.card().and_then(|card| card.process)) {
        let reading = match card.take().map_or_else(|| CardTelemetry::open(gpu), Ok) {
            Ok(open) => open.sample(process).map(|telemetry| (open, telemetry)),
            Err(error) => Err(error),
        };
        let told = reading.map(|(open, telemetry)| {
            card = Some(open);
            telemetry
        });
        if readings.send((Instant::now(), told)).is_err() {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}
