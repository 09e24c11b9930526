//! How many connections one address may have and make: peer ids are free, addresses are not. Time is passed in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::config::NetworkLimits;
use crate::discovery::is_relayed;
use crate::gate::TokenBucket;

/// Addresses that are counted at a time. Those without a connection and with a full budget are dropped first.
const MAX_ADDRESSES: usize = 8_192;

/// Why an address may not connect now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Closed {
    #[error("{bound} connections from this address are open already")]
    TooMany { bound: u32 },
    #[error("{bound} connections from this address are being made already")]
    TooManyPending { bound: u32 },
    #[error("this address connects too often")]
    TooOften,
    #[error("too many addresses are connected")]
    Crowded,
}

#[derive(Debug)]
struct Door {
    /// Made, or being made.
    open: u32,
    /// Being made.
    pending: u32,
    arrivals: TokenBucket,
}

/// The connections of all addresses.
#[derive(Debug)]
pub(crate) struct Doors {
    limits: NetworkLimits,
    doors: HashMap<IpAddr, Door>,
}

impl Doors {
    pub(crate) fn new(limits: NetworkLimits) -> Self {
        Self { limits, doors: HashMap::new() }
    }

    /// Counts a connection that is being made from `address`; every success is followed by at most one [`Doors::made`] and by one
    /// [`Doors::leave`].
    pub(crate) fn enter(&mut self, address: IpAddr, now: Instant) -> Result<(), Closed> {
        self.make_room(now);
        if self.doors.len() >= MAX_ADDRESSES && !self.doors.contains_key(&address) {
            return Err(Closed::Crowded);
        }
        let limits = &self.limits;
        let arrivals = || TokenBucket::new(limits.connections_per_second, limits.connection_burst, now);
        let door =
            self.doors.entry(address).or_insert_with(|| Door { open: 0, pending: 0, arrivals: arrivals() });
        if door.open >= limits.max_connections_per_address {
            return Err(Closed::TooMany { bound: limits.max_connections_per_address });
        }
        if door.pending >= limits.max_pending_per_address {
            return Err(Closed::TooManyPending { bound: limits.max_pending_per_address });
        }
        door.arrivals.take(now).map_err(|_| Closed::TooOften)?;
        door.open += 1;
        door.pending += 1;
        Ok(())
    }

    /// A connection from `address` that was being made has been made.
    pub(crate) fn made(&mut self, address: &IpAddr) {
        if let Some(door) = self.doors.get_mut(address) {
            door.pending = door.pending.saturating_sub(1);
        }
    }

    /// A connection from `address` has ended; it had been `made`, or never was.
    pub(crate) fn leave(&mut self, address: &IpAddr, made: bool) {
        if let Some(door) = self.doors.get_mut(address) {
            door.open = door.open.saturating_sub(1);
            door.pending = door.pending.saturating_sub(u32::from(!made));
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.doors.len() < MAX_ADDRESSES {
            return;
        }
        self.doors.retain(|_, door| door.open > 0 || !door.arrivals.is_full_at(now));
        // More addresses than that within a budget's time are a flood: who holds no connection is forgotten.
        if self.doors.len() >= MAX_ADDRESSES {
            self.doors.retain(|_, door| door.open > 0);
        }
    }
}

/// What a peer's address is counted by: all of IPv4, the first 64 bits of IPv6, which one host can fill at will. `None` for a
/// circuit, which its relay counts.
pub(crate) fn counted(address: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(prefix(ip))),
        _ => None,
    })
}

fn prefix(ip: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn doors(connections: u32, per_second: u32, burst: u32) -> Doors {
        Doors::new(NetworkLimits {
            max_connections_per_address: connections,
            connections_per_second: per_second,
            connection_burst: burst,
            ..NetworkLimits::default()
        })
    }

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    #[test]
    fn bounds_connections_at_a_time_and_over_time_per_address() {
        let now = Instant::now();
        let mut doors = doors(2, 1, 3);
        assert_eq!((doors.enter(address(1), now), doors.enter(address(1), now)), (Ok(()), Ok(())));
        assert_eq!(doors.enter(address(1), now), Err(Closed::TooMany { bound: 2 }));
        assert_eq!(doors.enter(address(2), now), Ok(()));
        doors.leave(&address(1), false);
        assert_eq!(doors.enter(address(1), now), Ok(()));
        doors.leave(&address(1), false);
        assert_eq!(doors.enter(address(1), now), Err(Closed::TooOften));
        assert_eq!(doors.enter(address(1), now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn bounds_connections_that_are_being_made_per_address() {
        let now = Instant::now();
        let mut doors = doors(10, 10, 10);
        doors.limits.max_pending_per_address = 2;
        assert_eq!((doors.enter(address(1), now), doors.enter(address(1), now)), (Ok(()), Ok(())));
        let full = Err(Closed::TooManyPending { bound: 2 });
        assert_eq!((doors.enter(address(1), now), doors.enter(address(2), now)), (full, Ok(())));
        doors.made(&address(1));
        assert_eq!((doors.enter(address(1), now), doors.enter(address(1), now)), (Ok(()), full));
        doors.leave(&address(1), true);
        assert_eq!(doors.enter(address(1), now), full, "one that was made is not one that is being made");
        doors.leave(&address(1), false);
        assert_eq!(doors.enter(address(1), now), Ok(()));
    }

    #[test]
    fn holds_a_bounded_number_of_addresses_and_keeps_those_with_connections() {
        let now = Instant::now();
        let mut doors = doors(2, 1, 1);
        doors.enter(address(0), now).unwrap();
        for n in 1..3 * MAX_ADDRESSES as u32 {
            doors.enter(address(n), now).unwrap();
            doors.leave(&address(n), false);
            assert!(doors.doors.len() <= MAX_ADDRESSES);
        }
        assert!(doors.doors.contains_key(&address(0)));
    }

    #[test]
    fn a_host_counts_once_however_many_addresses_of_its_network_it_uses() {
        let of = |text: &str| counted(&text.parse().unwrap());
        assert_eq!(of("/ip6/2001:db8::1/udp/1/quic-v1"), of("/ip6/2001:db8::ffff:2/tcp/7"));
        assert_ne!(of("/ip6/2001:db8::1/tcp/1"), of("/ip6/2001:db8:0:1::1/tcp/1"));
        let relay = libp2p::PeerId::random();
        assert_eq!(of(&format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit")), None);
    }
}
