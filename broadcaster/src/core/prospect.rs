//! Whom to ask for a quote first and whom last, by what was announced. A hint: what is paid follows from the signed quote alone.

use framemill_network::{Announcement, QuoteRequest};

/// How likely an orchestrator is to make a usable offer; the lesser is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prospect {
    /// It announced a price within the ceiling and room enough.
    Likely,
    /// It announced nothing.
    Unknown,
    /// It announced too high a price, too little room, or not the commitments that are wanted.
    Unlikely,
}

/// What an announcement promises for a request.
pub fn prospect(announced: Option<&Announcement>, wanted: &QuoteRequest) -> Prospect {
    let Some(announced) = announced else { return Prospect::Unknown };
    let price = if wanted.commitments { announced.committed_price } else { Some(announced.price) };
    let affordable = |ceiling| price.is_some_and(|price| price.cmp_value(ceiling).is_le());
    let priced = price.is_some() && wanted.max_price.as_ref().is_none_or(affordable);
    if priced && announced.capacity >= wanted.pixels_per_second {
        Prospect::Likely
    } else {
        Prospect::Unlikely
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use framemill_network::{FrameRate, Ladder, PeerId, PricePerPixel, SourceVideo};

    use super::*;

    fn price(wei: u64) -> PricePerPixel {
        PricePerPixel::new(U256::from(wei), 1_000).expect("a price")
    }

    fn announced() -> Announcement {
        Announcement {
            orchestrator: Address::ZERO,
            peer: PeerId::random(),
            addresses: Vec::new(),
            price: price(10),
            committed_price: None,
            capacity: 1_000,
            sequence: 1,
            expires_at_unix_ms: 2,
        }
    }

    fn wanted() -> QuoteRequest {
        let source = SourceVideo { width: 640, height: 360, fps: FrameRate::new(30, 1).expect("a rate") };
        QuoteRequest {
            sender: Address::ZERO,
            ladder: Ladder::default(),
            source,
            pixels_per_second: 1_000,
            max_price: Some(price(10)),
            commitments: false,
        }
    }

    #[test]
    fn who_promises_price_and_room_is_asked_before_who_says_nothing_and_that_before_who_denies() {
        let dear = Announcement { price: price(11), ..announced() };
        let full = Announcement { capacity: 999, ..announced() };
        assert_eq!(prospect(Some(&announced()), &wanted()), Prospect::Likely);
        assert_eq!(prospect(None, &wanted()), Prospect::Unknown);
        assert_eq!(prospect(Some(&dear), &wanted()), Prospect::Unlikely);
        assert_eq!(prospect(Some(&full), &wanted()), Prospect::Unlikely);
        assert!(Prospect::Likely < Prospect::Unknown && Prospect::Unknown < Prospect::Unlikely);
    }

    #[test]
    fn commitments_are_compared_by_their_own_price() {
        let wanted = QuoteRequest { commitments: true, ..wanted() };
        let offered = |wei| Announcement { committed_price: Some(price(wei)), ..announced() };
        assert_eq!(prospect(Some(&announced()), &wanted), Prospect::Unlikely);
        assert_eq!(prospect(Some(&offered(10)), &wanted), Prospect::Likely);
        assert_eq!(prospect(Some(&offered(11)), &wanted), Prospect::Unlikely);
    }
}
