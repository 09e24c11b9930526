//! Whom a juror asks for evidence, in which order, and whom no more.

use std::collections::HashMap;
use std::time::Duration;

use framemill_network::{PeerId, ServiceAddress};

/// Orchestrators beside the parties that are asked in one round: earlier jurors have what they fetched.
pub(super) const MAX_OTHERS: usize = 16;
/// An attempt that fails after so long was slow.
const SLOW: Duration = Duration::from_secs(30);
/// Costly attempts that a peer may fail in one dispute: a connection may break once.
const MAX_STRIKES: u32 = 2;
/// The same of who has to keep the evidence at hand, and loses if it cannot be had.
const MAX_STRIKES_OF_KEEPER: u32 = 16;

/// The registered addresses of those who may have the evidence of a dispute.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Who accuses, and who appealed if that is somebody else: they have to keep it at hand.
    pub(super) keepers: Vec<String>,
    /// Other orchestrators, in any order.
    pub(super) others: Vec<String>,
    /// It gains when nobody gets the evidence.
    pub(super) accused: String,
}

/// Somebody who may have it.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) service: ServiceAddress,
    max_strikes: u32,
}

impl Holders {
    /// Everybody once, the likeliest first and the accused last; but not `own`.
    pub(super) fn in_order(&self, own: PeerId) -> Vec<Holder> {
        let accused = self.accused.parse::<ServiceAddress>().ok();
        let others = self.others.iter().filter_map(|uri| uri.parse::<ServiceAddress>().ok());
        // Another account of the accused names the same node.
        let is_accused = |service: &ServiceAddress| {
            accused.as_ref().is_some_and(|accused| accused.peer() == service.peer())
        };
        let others = others.filter(|service| !is_accused(service)).take(MAX_OTHERS);
        let keepers = self.keepers.iter().filter_map(|uri| uri.parse::<ServiceAddress>().ok());
        let holder = |max_strikes| move |service| Holder { service, max_strikes };
        let mut seen = vec![own];
        keepers
            .map(holder(MAX_STRIKES_OF_KEEPER))
            .chain(others.chain(accused.clone()).map(holder(MAX_STRIKES)))
            .filter(|holder| {
                let peer = holder.service.peer();
                let new = !seen.contains(&peer);
                seen.push(peer);
                new
            })
            .collect()
    }
}

/// Who failed how often in one dispute, where that cost something.
#[derive(Debug, Default)]
pub(super) struct Strikes(HashMap<PeerId, u32>);

impl Strikes {
    /// Whether it is asked no more.
    pub(super) fn exclude(&self, holder: &Holder) -> bool {
        self.0.get(&holder.service.peer()).is_some_and(|strikes| *strikes >= holder.max_strikes)
    }

    /// Notes an attempt that failed. A quick answer that it has nothing costs nothing.
    pub(super) fn note(&mut self, peer: PeerId, took: Duration, costly: bool) {
        if costly || took >= SLOW {
            *self.0.entry(peer).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use framemill_network::Identity;

    use super::*;

    fn peer() -> (PeerId, String) {
        let peer = Identity::generate().peer_id();
        (peer, format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}"))
    }

    fn order(holders: &Holders, own: PeerId) -> Vec<PeerId> {
        holders.in_order(own).iter().map(|holder| holder.service.peer()).collect()
    }

    #[test]
    fn the_accused_is_asked_last_under_whatever_account_and_nobody_twice() {
        let [(own, own_uri), (challenger, challenger_uri), (juror, juror_uri), (accused, accused_uri)] =
            [peer(), peer(), peer(), peer()];
        let holders = Holders {
            keepers: vec![challenger_uri.clone()],
            others: vec![accused_uri.clone(), own_uri, juror_uri, challenger_uri, "nowhere".to_owned()],
            accused: accused_uri,
        };
        assert_eq!(order(&holders, own), [challenger, juror, accused]);
    }

    #[test]
    fn an_accused_that_names_the_challengers_node_does_not_move_it_back() {
        let (challenger, uri) = peer();
        let (juror, juror_uri) = peer();
        let holders = Holders { keepers: vec![uri.clone()], others: vec![juror_uri], accused: uri };
        assert_eq!(order(&holders, peer().0), [challenger, juror]);
    }

    #[test]
    fn no_more_than_a_bounded_number_of_others_is_asked() {
        let others = (0..2 * MAX_OTHERS).map(|_| peer().1).collect();
        let holders = Holders { others, ..Holders::default() };
        assert_eq!(holders.in_order(peer().0).len(), MAX_OTHERS);
    }

    #[test]
    fn a_peer_that_fails_slowly_or_half_way_is_asked_no_more_and_one_that_has_nothing_is() {
        let others = (0..3).map(|_| peer().1).collect();
        let holders = Holders { others, keepers: vec![peer().1], ..Holders::default() };
        let [keeper, slow, half, empty] = &holders.in_order(peer().0)[..] else { panic!("four") };
        let mut strikes = Strikes::default();
        for _ in 0..MAX_STRIKES {
            assert!(!strikes.exclude(slow) && !strikes.exclude(half));
            strikes.note(slow.service.peer(), SLOW, false);
            strikes.note(half.service.peer(), Duration::ZERO, true);
            strikes.note(empty.service.peer(), Duration::from_secs(1), false);
            strikes.note(keeper.service.peer(), SLOW, true);
        }
        assert!(strikes.exclude(slow) && strikes.exclude(half) && !strikes.exclude(empty));
        assert!(!strikes.exclude(keeper), "it is given more tries");
    }
}
