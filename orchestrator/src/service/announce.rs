//! Tells the market where this orchestrator is, what it asks and how much room it has.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use framemill_network::announcement::MAX_ANNOUNCED_ADDRESSES;
use framemill_network::{Announcement, SignedAnnouncement};
use tracing::warn;

use super::Shared;
use crate::announce::{Pace, Said};

/// Between two looks at whether there is something to say.
const LOOK: Duration = Duration::from_secs(1);
/// What is said holds for so long: ten times what it is said again after, so that a broadcaster may miss some.
const LIFE_MS: u64 = 300_000;

/// Announces until the orchestrator ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut pace = Pace::default();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let now = Instant::now();
        let said = say(&shared, now);
        if pace.is_due(&said, now) {
            if let Err(error) = shared.network.announce(&sign(&shared, &said)).await {
                warn!(%error, "the announcement could not be made");
            }
            pace.said(said, now);
        }
    }
}

fn say(shared: &Shared, now: Instant) -> Said {
    let reserved = shared.sessions().reserved(now);
    let draining = shared.draining.is_cancelled();
    let capacity = if draining { 0 } else { shared.pool.capacity().saturating_sub(reserved) };
    let mut addresses = shared.network.external_addresses();
    addresses.truncate(MAX_ANNOUNCED_ADDRESSES);
    let offered = shared.offered();
    Said { addresses, capacity, price: offered.price, committed_price: offered.price_for(None, true) }
}

fn sign(shared: &Shared, said: &Said) -> SignedAnnouncement {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let sequence = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let announcement = Announcement {
        orchestrator: shared.key.address(),
        peer: shared.network.peer_id(),
        addresses: said.addresses.clone(),
        price: said.price,
        committed_price: said.committed_price,
        capacity: said.capacity,
        sequence,
        expires_at_unix_ms: sequence.saturating_add(LIFE_MS),
    };
    let signature = shared.key.sign_digest(announcement.signing_hash(&shared.domain));
    SignedAnnouncement { announcement, signature: *signature.as_bytes() }
}
