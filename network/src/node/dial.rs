//! Why a peer could not be dialed, in one short line.

use std::error::Error;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::{Multiaddr, PeerId};

/// Addresses whose reasons are told; a peer may have many, and they mostly fail alike.
const MAX_TOLD: usize = 3;
/// Longest reason of one address in bytes.
const MAX_REASON: usize = 120;

/// What the transports said, without their nesting: `/ip4/127.0.0.1/tcp/4: connection refused`.
pub(super) fn reason(error: &DialError) -> String {
    match error {
        DialError::Transport(failed) => {
            let told = failed
                .iter()
                .take(MAX_TOLD)
                .map(|(address, error)| format!("{}: {}", without_peer(address), innermost(error)));
            let told: Vec<_> = told.collect();
            match failed.len().saturating_sub(MAX_TOLD) {
                0 => told.join("; "),
                more => format!("{}; and {more} more", told.join("; ")),
            }
        }
        DialError::Denied { cause } => innermost(cause),
        DialError::WrongPeerId { obtained, address } => {
            format!("{} is answered by {obtained}", without_peer(address))
        }
        DialError::Aborted => "dialing was given up".to_owned(),
        other => one_line(&other.to_string()),
    }
}

/// Who is at the address in place of the peer that was dialed.
pub(super) fn answered_by(error: &DialError) -> Option<Box<PeerId>> {
    match error {
        DialError::WrongPeerId { obtained, .. } => Some(Box::new(*obtained)),
        _ => None,
    }
}

/// The peer is named in front of the reason already.
fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// The cause behind all wrappers: the wrappers only say which layer passed it on.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    one_line(&cause.to_string())
}

fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line[..line.floor_char_boundary(MAX_REASON)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use libp2p::TransportError;

    use super::*;

    fn failed(port: u16) -> (Multiaddr, TransportError<io::Error>) {
        let inner = io::Error::other(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
        let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", libp2p::PeerId::random());
        (address.parse().unwrap(), TransportError::Other(inner))
    }

    #[test]
    fn tells_the_innermost_cause_of_each_address() {
        let text = reason(&DialError::Transport(vec![failed(1), failed(2)]));
        assert_eq!(
            text,
            "/ip4/127.0.0.1/tcp/1: connection refused; /ip4/127.0.0.1/tcp/2: connection refused"
        );
    }

    #[test]
    fn stays_short_for_many_addresses_and_long_causes() {
        let long = TransportError::Other(io::Error::other("a\nb".repeat(1_000)));
        let mut addresses: Vec<_> = (1..=16).map(failed).collect();
        addresses[0].1 = long;
        let text = reason(&DialError::Transport(addresses));
        assert!(text.len() < 600 && !text.contains('\n') && text.ends_with("and 13 more"), "{text}");
    }
}
