//! What each peer may use of this node: streams at a time, new streams per second, bytes per second. Time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use crate::conduct::{Conduct, Offence};
use crate::config::NetworkLimits;

/// Peers whose budgets are held. Entries of idle peers with full budgets are dropped first, so only peers that used the
/// node within the last seconds count, and the number of connections bounds those.
const MAX_PEERS: usize = 8_192;
/// Bytes that go without waiting after a pause, in seconds at a peer's rate.
const BYTE_BURST_SECONDS: u32 = 2;
/// Longest pause in reading after one message: the peer's own deadlines go on.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why a peer may not open another stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Banned,
    TooManyStreams { bound: u32 },
    TooOften { wait: Duration },
}

/// Millionths of a token: what one thousandth of a token per second earns in a millisecond.
const TOKEN: i64 = 1_000_000;

/// A budget that refills over time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    /// Thousandths of a token per second, never 0.
    rate: u64,
    burst: u32,
    /// In units of 1 / [`TOKEN`]; below zero what was spent ahead.
    level: i64,
    filled_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { rate: u64::from(per_second.max(1)) * 1_000, burst, level: full(burst), filled_at: now }
    }

    pub(crate) fn per_ten_seconds(tokens: u32, burst: u32, now: Instant) -> Self {
        Self { rate: u64::from(tokens.max(1)) * 100, burst, level: full(burst), filled_at: now }
    }

    /// Takes one token, or says how long to wait for it.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.level < TOKEN {
            return Err(self.until(TOKEN));
        }
        self.level -= TOKEN;
        Ok(())
    }

    /// Takes tokens for what has happened already, at most a burst ahead, and says how long to wait until they are earned.
    pub(crate) fn spend(&mut self, tokens: u64, now: Instant) -> Duration {
        self.refill(now);
        let spent = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(TOKEN);
        self.level = self.level.saturating_sub(spent).max(-full(self.burst));
        self.until(0)
    }

    pub(crate) fn is_full_at(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.level == full(self.burst)
    }

    fn until(&self, level: i64) -> Duration {
        let missing = u64::try_from(level.saturating_sub(self.level)).unwrap_or(0);
        Duration::from_millis(missing.div_ceil(self.rate))
    }

    fn refill(&mut self, now: Instant) {
        let millis =
            i64::try_from(now.saturating_duration_since(self.filled_at).as_millis()).unwrap_or(i64::MAX);
        let earned = millis.saturating_mul(i64::try_from(self.rate).unwrap_or(i64::MAX));
        self.level = self.level.saturating_add(earned).min(full(self.burst));
        if millis > 0 {
            self.filled_at = now;
        }
    }
}

fn full(burst: u32) -> i64 {
    i64::from(burst) * TOKEN
}

#[derive(Debug)]
struct Budget {
    open_streams: u32,
    requests: TokenBucket,
    bytes: TokenBucket,
}

impl Budget {
    fn new(limits: &NetworkLimits, now: Instant) -> Self {
        let bytes = limits.bytes_per_second;
        Self {
            open_streams: 0,
            requests: TokenBucket::new(limits.requests_per_second, limits.request_burst, now),
            bytes: TokenBucket::new(bytes, bytes.saturating_mul(BYTE_BURST_SECONDS), now),
        }
    }

    fn is_full_at(&mut self, now: Instant) -> bool {
        self.open_streams == 0 && self.requests.is_full_at(now) && self.bytes.is_full_at(now)
    }
}

/// Budgets and conduct of all peers.
#[derive(Debug)]
pub(crate) struct PeerGate {
    limits: NetworkLimits,
    budgets: HashMap<PeerId, Budget>,
    conduct: Conduct,
}

impl PeerGate {
    pub(crate) fn new(limits: NetworkLimits) -> Self {
        Self { limits, budgets: HashMap::new(), conduct: Conduct::default() }
    }

    /// Counts a new stream of a peer; every success is followed by one [`PeerGate::release`].
    pub(crate) fn admit(&mut self, peer: PeerId, now: Instant) -> Result<(), Refusal> {
        if self.conduct.is_banned(&peer, now) {
            return Err(Refusal::Banned);
        }
        self.make_room(now);
        let budget = self.budgets.entry(peer).or_insert_with(|| Budget::new(&self.limits, now));
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

    /// Counts bytes that a peer has sent, and says how long to read nothing more of it.
    pub(crate) fn spend(&mut self, peer: &PeerId, bytes: u64, now: Instant) -> Duration {
        let budget = self.budgets.get_mut(peer);
        budget.map_or(Duration::ZERO, |budget| budget.bytes.spend(bytes, now).min(LONGEST_PAUSE))
    }

    /// Notes an offence; true when the peer is banned for it from now on.
    pub(crate) fn offend(&mut self, peer: PeerId, offence: Offence, now: Instant) -> bool {
        let Some(length) = self.conduct.offend(peer, offence, now) else { return false };
        tracing::debug!(%peer, ?offence, ?length, "banned a peer for what it did");
        true
    }

    pub(crate) fn ban(&mut self, peer: PeerId, time: Duration, now: Instant) {
        self.conduct.ban(peer, now + time, now);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.conduct.is_banned(peer, now)
    }

    fn make_room(&mut self, now: Instant) {
        if self.budgets.len() < MAX_PEERS {
            return;
        }
        self.budgets.retain(|_, budget| !budget.is_full_at(now));
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
        gate.ban(peer, Duration::from_secs(1), now);
        assert_eq!(gate.admit(peer, now), Err(Refusal::Banned));
        assert_eq!(gate.admit(peer, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn bytes_above_the_rate_make_the_reader_pause_as_long_as_they_are_worth() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let limits = NetworkLimits { bytes_per_second: 1_000_000, ..NetworkLimits::default() };
        let mut gate = PeerGate::new(limits);
        gate.admit(peer, now).unwrap();
        assert_eq!(gate.spend(&peer, 2_000_000, now), Duration::ZERO);
        assert_eq!(gate.spend(&peer, 100_000, now), Duration::from_millis(100));
        assert_eq!(gate.spend(&peer, 100_000, now), Duration::from_millis(200), "streams share one budget");
        assert_eq!(gate.spend(&peer, 100_000, now + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!(gate.spend(&peer, u64::MAX, now), LONGEST_PAUSE);
    }

    #[test]
    fn holds_a_bounded_number_of_peers() {
        let now = Instant::now();
        let mut gate = gate(10, 10, 10);
        for _ in 0..MAX_PEERS + 100 {
            let peer = PeerId::random();
            gate.admit(peer, now).unwrap();
            gate.spend(&peer, 1_000, now);
            gate.release(&peer);
        }
        assert!(gate.budgets.len() <= MAX_PEERS);
    }
}
