//! What each peer may use of this node: streams at a time, new streams per second, and bans. Time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::config::NetworkLimits;

/// Peers whose budgets are held. Entries of idle peers with full budgets are dropped first, so only peers that used the
/// node within the last seconds count, and the number of connections bounds those.
const MAX_PEERS: usize = 8_192;
/// Bans held; when full, the one that ends first gives way.
const MAX_BANS: usize = 4_096;

/// Why a peer may not open another stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Banned,
    TooManyStreams { bound: u32 },
    TooOften { wait: Duration },
}

/// A budget that refills over time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// Thousandths of a token.
    level: u64,
    filled_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { per_second: per_second.max(1), burst, level: u64::from(burst) * 1_000, filled_at: now }
    }

    /// Takes one token, or says how long to wait for it.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        match self.level.checked_sub(1_000) {
            Some(level) => {
                self.level = level;
                Ok(())
            }
            None => Err(Duration::from_millis((1_000 - self.level).div_ceil(u64::from(self.per_second)))),
        }
    }

    fn refill(&mut self, now: Instant) {
        let millis =
            u64::try_from(now.saturating_duration_since(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let full = u64::from(self.burst) * 1_000;
        self.level = self.level.saturating_add(millis.saturating_mul(self.per_second.into())).min(full);
        if millis > 0 {
            self.filled_at = now;
        }
    }

    fn is_full(&self) -> bool {
        self.level == u64::from(self.burst) * 1_000
    }
}

#[derive(Debug)]
struct Budget {
    open_streams: u32,
    requests: TokenBucket,
}

/// Budgets of all peers.
#[derive(Debug)]
pub(crate) struct PeerGate {
    limits: NetworkLimits,
    budgets: HashMap<PeerId, Budget>,
    bans: HashMap<PeerId, Instant>,
}

impl PeerGate {
    pub(crate) fn new(limits: NetworkLimits) -> Self {
        Self { limits, budgets: HashMap::new(), bans: HashMap::new() }
    }

    /// Counts a new stream of a peer; every success is followed by one [`PeerGate::release`].
    pub(crate) fn admit(&mut self, peer: PeerId, now: Instant) -> Result<(), Refusal> {
        if self.is_banned(&peer, now) {
            return Err(Refusal::Banned);
        }
        self.make_room(now);
        let (rate, burst) = (self.limits.requests_per_second, self.limits.request_burst);
        let fresh = || Budget { open_streams: 0, requests: TokenBucket::new(rate, burst, now) };
        let budget = self.budgets.entry(peer).or_insert_with(fresh);
        if budget.open_streams >= self.limits.max_streams_per_peer {
            return Err(Refusal::TooManyStreams { bound: self.limits.max_streams_per_peer });
        }
        budget.requests.take(now).map_err(|wait| Refusal::TooOften { wait })?;
        budget.open_streams += 1;
        Ok(())
    }

    /// A stream that was admitted has ended.
    pub(crate) fn release(&mut self, peer: &PeerId) {
        if let Some(budget) = self.budgets.get_mut(peer) {
            budget.open_streams = budget.open_streams.saturating_sub(1);
        }
    }

    pub(crate) fn ban(&mut self, peer: PeerId, until: Instant) {
        if self.bans.len() >= MAX_BANS {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            first.and_then(|peer| self.bans.remove(&peer));
        }
        self.bans.insert(peer, until);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.bans.get(peer).is_some_and(|until| now < *until)
    }

    fn make_room(&mut self, now: Instant) {
        if self.budgets.len() < MAX_PEERS {
            return;
        }
        self.budgets.retain(|_, budget| {
            budget.requests.refill(now);
            budget.open_streams > 0 || !budget.requests.is_full()
        });
        // Peers that connect, ask once and leave faster than budgets refill: the idle ones give way, their bursts begin anew.
        if self.budgets.len() >= MAX_PEERS {
            self.budgets.retain(|_, budget| budget.open_streams > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(streams: u32, per_second: u32, burst: u32) -> PeerGate {
        PeerGate::new(NetworkLimits {
            max_streams_per_peer: streams,
            requests_per_second: per_second,
            request_burst: burst,
            ..NetworkLimits::default()
        })
    }

    #[test]
    fn bounds_streams_at_a_time_per_peer() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut gate = gate(2, 100, 100);
        assert_eq!((gate.admit(peer, now), gate.admit(peer, now)), (Ok(()), Ok(())));
        assert_eq!(gate.admit(peer, now), Err(Refusal::TooManyStreams { bound: 2 }));
        assert_eq!(gate.admit(PeerId::random(), now), Ok(()));
        gate.release(&peer);
        assert_eq!(gate.admit(peer, now), Ok(()));
    }

    #[test]
    fn bounds_new_streams_over_time_and_says_when_to_come_back() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut gate = gate(100, 2, 1);
        assert_eq!(gate.admit(peer, now), Ok(()));
        assert_eq!(gate.admit(peer, now), Err(Refusal::TooOften { wait: Duration::from_millis(500) }));
        assert_eq!(gate.admit(peer, now + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn frequent_refusals_do_not_stop_the_refill() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut gate = gate(100, 2, 1);
        gate.admit(peer, now).unwrap();
        let admitted = (1..=1_000_u64)
            .filter(|tenth| gate.admit(peer, now + Duration::from_micros(tenth * 500)).is_ok())
            .count();
        assert_eq!(admitted, 1);
    }

    #[test]
    fn refuses_a_banned_peer_until_the_ban_ends() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut gate = gate(10, 10, 10);
        gate.ban(peer, now + Duration::from_secs(1));
        assert_eq!(gate.admit(peer, now), Err(Refusal::Banned));
        assert_eq!(gate.admit(peer, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn holds_a_bounded_number_of_peers_and_bans() {
        let now = Instant::now();
        let mut gate = gate(10, 10, 10);
        for _ in 0..MAX_PEERS + 100 {
            let peer = PeerId::random();
            gate.admit(peer, now).unwrap();
            gate.release(&peer);
            gate.ban(PeerId::random(), now);
        }
        assert!(gate.budgets.len() <= MAX_PEERS && gate.bans.len() <= MAX_BANS);
    }
}
