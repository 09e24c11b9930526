//! What processes of this machine use, from `/proc`.

use std::time::Duration;

use tokio::time::Instant;

/// Ticks of the kernel's CPU accounting in a second: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time and resident memory of one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    cpu_seconds: f64,
    /// Resident memory in bytes.
    pub(super) memory: u64,
}

/// What the machine did up to one moment, over all cores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    at: Instant,
    busy_seconds: f64,
    stolen_seconds: f64,
}

/// What was used between two moments, in cores.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct MachineShare {
    pub(super) busy: f64,
    pub(super) stolen: f64,
}

impl Usage {
    /// Of a process; none when it is gone, or this is no Linux.
    pub(super) fn of(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        Some(Self { cpu_seconds: cpu_seconds(&stat)?, memory: resident(&status)? })
    }

    /// Of several processes together; those that are gone count nothing.
    pub(super) fn sum(ids: impl IntoIterator<Item = u32>) -> Self {
        let none = Self { cpu_seconds: 0.0, memory: 0 };
        ids.into_iter().filter_map(Self::of).fold(none, |sum, one| Self {
            cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
            memory: sum.memory.saturating_add(one.memory),
        })
    }

    /// Cores used from an `earlier` moment to this one.
    pub(super) fn cores_since(&self, earlier: &Self, elapsed: Duration) -> f64 {
        (self.cpu_seconds - earlier.cpu_seconds).max(0.0) / elapsed.as_secs_f64().max(0.001)
    }
}

/// User and system time: fields 14 and 15, counted behind the name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

impl Machine {
    /// Now; all zero where there is no `/proc/stat`.
    pub(super) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let (busy_seconds, stolen_seconds) = busy_and_stolen(&stat).unwrap_or_default();
        Self { at: Instant::now(), busy_seconds, stolen_seconds }
    }

    pub(super) fn since(&self, earlier: &Self) -> (MachineShare, Duration) {
        let elapsed = self.at.duration_since(earlier.at);
        let per = |later: f64, before: f64| (later - before).max(0.0) / elapsed.as_secs_f64().max(0.001);
        let busy = per(self.busy_seconds, earlier.busy_seconds);
        let stolen = per(self.stolen_seconds, earlier.stolen_seconds);
        (MachineShare { busy, stolen }, elapsed)
    }
}

/// Everything but idle and waiting for disks, and apart from it what other guests of the host took.
fn busy_and_stolen(stat: &str) -> Option<(f64, f64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = fields.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _, _, irq, soft_irq, stolen, ..] = ticks[..] else { return None };
    Some(((user + nice + system + irq + soft_irq) / TICKS_PER_SECOND, stolen / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

    use super::*;

    #[test]
    fn reads_the_kernel_s_accounts() {
        let stat = "42 (a) name) S 1 1 1 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 7 1 2";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident("Name:\tx\nVmRSS:\t     12 kB\n"), Some(12 * 1024));
        assert_eq!(busy_and_stolen("cpu  100 0 50 900 30 5 5 40 0 0\ncpu0 1"), Some((1.6, 0.4)));
        assert_eq!(busy_and_stolen(""), None);
    }

    #[test]
    fn this_process_has_memory_and_one_that_is_gone_counts_nothing() {
        assert!(Usage::of(std::process::id()).unwrap().memory > 1 << 20);
        assert_eq!(Usage::sum([u32::MAX]).memory, 0);
    }
}
