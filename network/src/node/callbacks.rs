//! Calling peers back on their request, so that they learn whether they can be dialed: a bounded number at a time.
//!
//! Whoever is connected may ask for it again and again, and says where; each call is a socket here and a packet to somebody.

use std::collections::HashMap;

use libp2p::PeerId;
use libp2p::swarm::behaviour::{ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, FromSwarm};

use super::bounded::Bound;

/// Calls under way.
const MAX_CALLS: usize = 64;
/// Of these, for one peer: it tries one address after the other.
const MAX_CALLS_OF_ONE: usize = 2;

/// The calls of a behaviour whose dials are such calls.
#[derive(Default)]
pub(crate) struct CallBacks {
    under_way: HashMap<ConnectionId, Option<PeerId>>,
}

impl CallBacks {
    fn has_room(&self, peer: Option<PeerId>) -> bool {
        let of_one = self.under_way.values().filter(|called| **called == peer).count();
        self.under_way.len() < MAX_CALLS && of_one < MAX_CALLS_OF_ONE
    }
}

impl Bound for CallBacks {
    fn may_hear(&mut self, event: &FromSwarm<'_>) -> bool {
        if let FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. })
        | FromSwarm::DialFailure(DialFailure { connection_id, .. }) = event
        {
            self.under_way.remove(connection_id);
        }
        true
    }

    fn may_dial(&mut self, dial: &DialOpts) -> bool {
        let peer = dial.get_peer_id();
        let room = self.has_room(peer);
        if room {
            self.under_way.insert(dial.connection_id(), peer);
        }
        room
    }
}
