//! What this machine draws, where it says so: processors by the kernel's energy counters, cards by the driver's own tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};

/// Where Linux tells of energy; readable by the superuser alone on most machines.
const COUNTERS: &str = "/sys/class/powercap";
/// A card is asked once it is warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest that the driver's tool is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The mean draw of one part of the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Watts {
    /// `cpu package-0`, `gpu 1`.
    pub(super) what: String,
    pub(super) watts: f64,
}

/// A measurement under way.
pub(super) struct Power {
    began: Instant,
    counters: Vec<Counter>,
    cards: JoinHandle<Vec<Watts>>,
}

/// An energy counter when the measurement began.
#[derive(Debug)]
struct Counter {
    name: String,
    folder: PathBuf,
    microjoules: u64,
}

impl Power {
    pub(super) fn begin() -> Self {
        let counters = counters(Path::new(COUNTERS));
        Self { began: Instant::now(), counters, cards: tokio::spawn(cards()) }
    }

    /// What was drawn since; empty where the machine does not tell.
    pub(super) async fn end(self) -> Vec<Watts> {
        let elapsed = self.began.elapsed();
        let cpu = self.counters.iter().filter_map(|counter| counter.watts(elapsed));
        let cards = self.cards.await.unwrap_or_default();
        cpu.chain(cards).collect()
    }
}

/// Those of whole packages: parts of them would count twice.
fn counters(folder: &Path) -> Vec<Counter> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let counter = |folder: PathBuf| {
        let name = fs::read_to_string(folder.join("name")).ok()?.trim().to_owned();
        let microjoules = read(&folder, "energy_uj")?;
        name.starts_with("package").then_some(Counter { name, folder, microjoules })
    };
    entries.filter_map(|entry| counter(entry.path())).collect()
}

fn read(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

impl Counter {
    fn watts(&self, elapsed: Duration) -> Option<Watts> {
        let now = read(&self.folder, "energy_uj")?;
        // The counter starts anew at a value that it tells.
        let range = read(&self.folder, "max_energy_range_uj").unwrap_or(0);
        let spent =
            now.checked_sub(self.microjoules).or_else(|| (now + range).checked_sub(self.microjoules))?;
        let watts = spent as f64 / 1e6 / elapsed.as_secs_f64().max(0.001);
        Some(Watts { what: format!("cpu {}", self.name), watts })
    }
}

async fn cards() -> Vec<Watts> {
    sleep(WARM_UP).await;
    let mut tool = Command::new("nvidia-smi");
    tool.args(["--query-gpu=index,power.draw", "--format=csv,noheader,nounits"]).kill_on_drop(true);
    let told = timeout(PATIENCE, tool.output()).await;
    told.ok()
        .and_then(Result::ok)
        .map(|told| parse(&String::from_utf8_lossy(&told.stdout)))
        .unwrap_or_default()
}

fn parse(told: &str) -> Vec<Watts> {
    let card = |line: &str| {
        let (index, watts) = line.split_once(',')?;
        Some(Watts { what: format!("gpu {}", index.trim()), watts: watts.trim().parse().ok()? })
    };
    told.lines().filter_map(card).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    fn folder(name: &str, microjoules: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("intel-rapl:0");
        fs::create_dir(&zone).unwrap();
        fs::write(zone.join("name"), format!("{name}\n")).unwrap();
        fs::write(zone.join("energy_uj"), microjoules.to_string()).unwrap();
        fs::write(zone.join("max_energy_range_uj"), "10000000").unwrap();
        folder
    }

    #[test]
    fn energy_over_time_is_power_also_where_the_counter_starts_anew() {
        let folder = folder("package-0", 9_000_000);
        let [counter] = &counters(folder.path())[..] else { panic!("one package") };
        fs::write(counter.folder.join("energy_uj"), "1000000").unwrap();
        let watts = counter.watts(Duration::from_secs(2)).unwrap();
        assert_eq!(watts, Watts { what: "cpu package-0".to_owned(), watts: 1.0 });
    }

    #[test]
    fn parts_of_a_package_and_machines_without_counters_tell_nothing() {
        assert!(counters(folder("dram", 1).path()).is_empty());
        assert!(counters(Path::new("/nowhere")).is_empty());
    }

    #[test]
    fn cards_that_do_not_know_their_power_are_left_out() {
        let told = parse("0, 71.25\n1, [N/A]\n\n");
        assert_eq!(told, [Watts { what: "gpu 0".to_owned(), watts: 71.25 }]);
    }
}
