//! From a transcoder's output to the client's renditions, over as many transcoders as it takes.
//!
//! Bytes are forwarded as they arrive. When a transcoder fails in mid-segment, complete renditions
//! stay, and the rest is made anew by another one: its bytes differ (other threads, other engine),
//! so a rendition of which bytes were already forwarded is restarted, which the client is told.
//! A rendition's bytes are kept until its end, because it is checked before it is vouched for.

use bytes::{Bytes, BytesMut};
use framemill_network::{Ladder, LadderEntry, RenditionClaim};
use thiserror::Error;

/// What is wrong with a transcoder's output. Its segment is given to another one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    #[error("output for rendition {index} of {count}, or after its end")]
    Unexpected { index: u32, count: usize },
    #[error("rendition {index} has {what} {found}, expected {expected}")]
    Mismatch { index: u32, what: &'static str, found: u64, expected: u64 },
    #[error("rendition {index} is no media: {reason}")]
    NotMedia { index: u32, reason: String },
    #[error("{missing} renditions were not delivered")]
    Incomplete { missing: usize },
    #[error("{0}")]
    Worker(String),
}

/// A rendition that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    /// What the receipt says about it.
    pub(crate) claim: RenditionClaim,
    /// Millionths of the price that its quality earns.
    pub(crate) share_ppm: u32,
}

#[derive(Debug, Default)]
struct Rendition {
    /// Whether the client holds bytes of it that no end has followed yet.
    forwarded: bool,
    /// Room that is made for it with its first bytes.
    expected: usize,
    bytes: BytesMut,
    made: Option<Made>,
}

/// All renditions of one segment.
#[derive(Debug)]
pub(crate) struct Relay {
    ladder: Ladder,
    renditions: Vec<Rendition>,
    /// The running attempt's rendition indices in terms of the segment's ladder.
    attempt: Vec<u32>,
}

impl Relay {
    /// Nothing delivered yet of a segment of `duration_90k` ticks of 90 kHz.
    pub(crate) fn new(ladder: Ladder, duration_90k: u64) -> Self {
        let rendition = |entry: &LadderEntry| Rendition {
            expected: entry.usual_bytes(duration_90k),
            ..Rendition::default()
        };
        let renditions = ladder.iter().map(rendition).collect();
        Self { ladder, renditions, attempt: Vec::new() }
    }

    /// Begins an attempt at what is missing: the ladder to ask for, and the renditions whose
    /// forwarded bytes the client has to forget.
    pub(crate) fn begin_attempt(&mut self) -> (Ladder, Vec<u32>) {
        self.attempt.clear();
        let mut restarted = Vec::new();
        let mut entries = Vec::new();
        for ((index, rendition), entry) in (0u32..).zip(&mut self.renditions).zip(&self.ladder) {
            if rendition.made.is_some() {
                continue;
            }
            if std::mem::take(&mut rendition.forwarded) {
                rendition.bytes.clear();
                restarted.push(index);
            }
            self.attempt.push(index);
            entries.push(entry.clone());
        }
        let ladder = Ladder::new(entries).expect("an attempt begins only while a rendition is missing");
        (ladder, restarted)
    }

    /// Takes bytes of the attempt's rendition `index`; returns the index to forward them under.
    pub(crate) fn chunk(&mut self, index: u32, data: &Bytes) -> Result<u32, Fault> {
        let (index, rendition) = self.rendition(index)?;
        if rendition.bytes.capacity() == 0 {
            rendition.bytes.reserve(rendition.expected);
        }
        rendition.bytes.extend_from_slice(data);
        rendition.forwarded = true;
        Ok(index)
    }

    /// The attempt makes its rendition `index` anew: the index that the client has to forget the
    /// bytes of, if it has some.
    pub(crate) fn restart(&mut self, index: u32) -> Result<Option<u32>, Fault> {
        let (index, rendition) = self.rendition(index)?;
        rendition.bytes.clear();
        Ok(std::mem::take(&mut rendition.forwarded).then_some(index))
    }

    /// The attempt says that its rendition `index` is whole: its index in the segment's ladder and
    /// its bytes, to be checked before [`Relay::complete`].
    pub(crate) fn whole(&mut self, index: u32) -> Result<(u32, Bytes), Fault> {
        let (index, rendition) = self.rendition(index)?;
        Ok((index, std::mem::take(&mut rendition.bytes).freeze()))
    }

    /// The rendition passed its check and was delivered.
    pub(crate) fn complete(&mut self, made: Made) {
        if let Some(rendition) = self.renditions.get_mut(made.claim.index as usize) {
            *rendition = Rendition { made: Some(made), ..Rendition::default() };
        }
    }

    /// Renditions not complete yet.
    pub(crate) fn missing(&self) -> usize {
        self.renditions.iter().filter(|rendition| rendition.made.is_none()).count()
    }

    /// What was delivered, in ladder order.
    pub(crate) fn made(&self) -> Vec<Made> {
        self.renditions.iter().filter_map(|rendition| rendition.made).collect()
    }

    fn rendition(&mut self, index: u32) -> Result<(u32, &mut Rendition), Fault> {
        let unexpected = Fault::Unexpected { index, count: self.attempt.len() };
        let Some(ours) = self.attempt.get(index as usize).copied() else { return Err(unexpected) };
        match self.renditions.get_mut(ours as usize) {
            Some(rendition) if rendition.made.is_none() => Ok((ours, rendition)),
            _ => Err(unexpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use framemill_network::{Codec, FrameRate, PPM};

    use super::*;

    const DATA: Bytes = Bytes::from_static(b"media");

    fn relay(rungs: u32) -> Relay {
        let entries = (0..rungs)
            .map(|n| LadderEntry::from_height(100 + 2 * n, FrameRate::SOURCE, 100_000, Codec::H264))
            .collect();
        Relay::new(Ladder::new(entries).unwrap(), 180_000)
    }

    fn made(index: u32) -> Made {
        let (sha256, feature_root) = (B256::ZERO, B256::ZERO);
        let claim = RenditionClaim { index, sha256, pixels: 1, feature_root, psnr_centi_db: None };
        Made { claim, share_ppm: PPM }
    }

    fn finish(relay: &mut Relay, index: u32) {
        relay.chunk(index, &DATA).unwrap();
        let (ours, bytes) = relay.whole(index).unwrap();
        assert_eq!(bytes, DATA);
        relay.complete(made(ours));
    }

    #[test]
    fn delivers_every_rendition_of_one_attempt() {
        let mut relay = relay(2);
        assert_eq!(relay.begin_attempt().1, Vec::<u32>::new());
        finish(&mut relay, 1);
        finish(&mut relay, 0);
        assert_eq!((relay.missing(), relay.made()), (0, vec![made(0), made(1)]));
    }

    #[test]
    fn a_second_attempt_makes_only_what_is_missing() {
        let mut relay = relay(3);
        relay.begin_attempt();
        finish(&mut relay, 1);
        let (ladder, restarted) = relay.begin_attempt();
        let heights: Vec<_> = ladder.iter().map(|entry| entry.height).collect();
        assert_eq!((heights, restarted), (vec![100, 104], vec![]));
        finish(&mut relay, 0);
        finish(&mut relay, 1);
        assert_eq!(relay.made(), vec![made(0), made(1), made(2)]);
    }

    #[test]
    fn restarts_a_rendition_that_was_partly_forwarded() {
        let mut relay = relay(2);
        relay.begin_attempt();
        relay.chunk(1, &DATA).unwrap();
        assert_eq!(relay.begin_attempt().1, vec![1]);
        finish(&mut relay, 1);
        assert_eq!(relay.missing(), 1);
    }

    #[test]
    fn restarts_a_rendition_that_failed_its_check() {
        let mut relay = relay(1);
        relay.begin_attempt();
        relay.chunk(0, &DATA).unwrap();
        relay.whole(0).unwrap();
        assert_eq!(relay.begin_attempt().1, vec![0]);
    }

    #[test]
    fn passes_a_transcoders_own_restart_on() {
        let mut relay = relay(2);
        relay.begin_attempt();
        assert_eq!(relay.restart(1), Ok(None));
        relay.chunk(1, &DATA).unwrap();
        assert_eq!(relay.restart(1), Ok(Some(1)));
        finish(&mut relay, 1);
    }

    #[test]
    fn refuses_a_rendition_nobody_asked_for() {
        let mut relay = relay(2);
        relay.begin_attempt();
        assert_eq!(relay.chunk(2, &DATA), Err(Fault::Unexpected { index: 2, count: 2 }));
    }

    #[test]
    fn refuses_bytes_after_a_rendition_ended() {
        let mut relay = relay(2);
        relay.begin_attempt();
        finish(&mut relay, 0);
        assert_eq!(relay.chunk(0, &DATA), Err(Fault::Unexpected { index: 0, count: 2 }));
    }
}
