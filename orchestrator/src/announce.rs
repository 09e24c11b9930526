//! When to say something of oneself: soon after a change, now and then without one, never too often.

use std::time::{Duration, Instant};

use framemill_network::{Multiaddr, PricePerPixel};

/// Said again after this, for those that have come since.
const AGAIN: Duration = Duration::from_secs(30);
/// A change is told no sooner than this after the last one: nobody passes on more.
const PAUSE: Duration = Duration::from_secs(6);
/// A change of room is one from this share of it on: each segment would be one.
const NOTABLE: u64 = 8;

/// What is said, apart from its date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) addresses: Vec<Multiaddr>,
    /// Free output pixels per second.
    pub(crate) capacity: u64,
    pub(crate) price: PricePerPixel,
    pub(crate) committed_price: Option<PricePerPixel>,
}

impl Said {
    fn differs(&self, other: &Self) -> bool {
        let (more, less) = (self.capacity.max(other.capacity), self.capacity.min(other.capacity));
        let asked = |said: &Self| (said.price, said.committed_price);
        self.addresses != other.addresses || asked(self) != asked(other) || more - less > more / NOTABLE
    }
}

/// What was said last, and when.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<(Said, Instant)>,
}

impl Pace {
    /// Whether `said` is to be told now.
    pub(crate) fn is_due(&self, said: &Said, now: Instant) -> bool {
        let Some((last, at)) = &self.last else { return true };
        let since = now.saturating_duration_since(*at);
        since >= AGAIN || (since >= PAUSE && said.differs(last))
    }

    pub(crate) fn said(&mut self, said: Said, now: Instant) {
        self.last = Some((said, now));
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    fn price(wei: u64) -> PricePerPixel {
        PricePerPixel::new(U256::from(wei), 1_000).expect("a price")
    }

    fn said(capacity: u64) -> Said {
        Said { addresses: Vec::new(), capacity, price: price(1), committed_price: None }
    }

    #[test]
    fn a_change_is_told_after_the_pause_and_the_same_after_longer() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_due(&said(1_000), now));
        pace.said(said(1_000), now);
        assert!(!pace.is_due(&said(0), now + PAUSE - Duration::from_millis(1)));
        assert!(pace.is_due(&said(0), now + PAUSE));
        assert!(!pace.is_due(&said(1_000), now + PAUSE) && pace.is_due(&said(1_000), now + AGAIN));
    }

    #[test]
    fn a_small_change_of_room_is_none_and_a_new_address_or_price_is_one() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.said(said(1_000), now);
        assert!(!pace.is_due(&said(900), now + PAUSE));
        assert!(pace.is_due(&said(800), now + PAUSE));
        let moved =
            Said { addresses: vec!["/ip4/192.0.2.1/tcp/1".parse().expect("an address")], ..said(1_000) };
        assert!(pace.is_due(&moved, now + PAUSE));
        let dearer = Said { price: price(2), ..said(1_000) };
        assert!(pace.is_due(&dearer, now + PAUSE));
    }
}
