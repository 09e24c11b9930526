//! The peers of registered orchestrators: jurors, to whom evidence is sent before strangers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use framemill_network::{PeerId, ServiceAddress};

use crate::service::locked;

/// Who they are, as they were last read; nobody at first. Clones are one list.
#[derive(Clone, Debug, Default)]
pub struct Colleagues(Arc<Mutex<HashSet<PeerId>>>);

impl Colleagues {
    /// Whether this peer is one of them.
    pub fn know(&self, peer: &PeerId) -> bool {
        locked(&self.0).contains(peer)
    }

    /// Takes the service addresses that are registered now; what is none is left out.
    pub fn are<'a>(&self, services: impl Iterator<Item = &'a str>) {
        let peer = |uri: &str| Some(uri.parse::<ServiceAddress>().ok()?.peer());
        let peers = services.filter_map(peer).collect();
        *locked(&self.0) = peers;
    }
}
