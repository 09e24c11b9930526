//! What was committed to, kept for a while so that whoever it was delivered to can have it opened.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::{OpeningRequest, PeerId, WireCode, WireError};
use framemill_verification::{Answer, Commitment, Question, RenditionFeatures, answer};

use crate::config::CommitmentOffer;
use crate::service::locked;

/// Frames of one rendition that are opened: each costs decoding up to it, and a bisection needs one.
const MAX_FRAMES_OPENED: u32 = 4;

/// Bytes that the trees over a frame take.
const BYTES_PER_FRAME: u64 = 64;

/// A rendition that was committed to.
#[derive(Debug)]
pub(crate) struct Committed {
    bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    features: RenditionFeatures,
    opened: Option<u32>,
    frames_left: u32,
}

/// Why a question is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The segment is not kept, or was not delivered to who asks.
    NotKept,
    /// The commitment has no such place.
    NoSuchPlace,
    /// Enough frames of the rendition were opened.
    TooManyFrames,
    /// The rendition cannot be read again.
    Unreadable,
}

impl Unanswered {
    pub(crate) fn to_wire(self) -> WireError {
        let (code, reason) = match self {
            Self::NotKept => {
                (WireCode::UnknownSession, "no commitments of this segment are kept for this peer")
            }
            Self::NoSuchPlace => (WireCode::BadRequest, "the commitment has no such place"),
            Self::TooManyFrames => (WireCode::RateLimited, "enough frames of this rendition were opened"),
            Self::Unreadable => (WireCode::Internal, "the rendition cannot be read again"),
        };
        WireError::new(code, reason)
    }
}

impl Committed {
    pub(crate) fn new(rendition: Bytes, commitment: Commitment) -> Self {
        let frames = u64::from(commitment.shape().frames);
        let bytes = rendition.len() as u64 + frames * BYTES_PER_FRAME;
        let features = RenditionFeatures::committed(rendition, MediaLimits::segment(), commitment);
        let state = State { features, opened: None, frames_left: MAX_FRAMES_OPENED };
        Self { bytes, state: Mutex::new(state) }
    }

    /// Answers a question. Blocks on decoding where a frame is opened that was not opened last.
    pub(crate) fn answer(&self, question: Question) -> Result<Answer, Unanswered> {
        let mut state = locked(&self.state);
        if let Some(frame) = question.frame().filter(|&frame| state.opened != Some(frame)) {
            state.frames_left = state.frames_left.checked_sub(1).ok_or(Unanswered::TooManyFrames)?;
            state.opened = Some(frame);
        }
        let answered = answer(&state.features, question).map_err(|error| {
            tracing::warn!(%error, "a rendition that was committed to cannot be opened");
            Unanswered::Unreadable
        });
        answered?.ok_or(Unanswered::NoSuchPlace)
    }
}

/// The renditions of one segment, by their position in the ladder.
pub(crate) type Renditions = BTreeMap<u32, Arc<Committed>>;

#[derive(Debug)]
struct Segment {
    peer: PeerId,
    session: B256,
    sequence: u64,
    until: Instant,
    bytes: u64,
    renditions: Renditions,
}

/// The last segments with commitments, bounded in bytes and time.
#[derive(Debug)]
pub(crate) struct Openings {
    most_bytes: u64,
    kept_for: Duration,
    bytes: u64,
    segments: VecDeque<Segment>,
}

impl Openings {
    /// Keeps what the offer says; nothing without one.
    pub(crate) fn new(offer: Option<CommitmentOffer>) -> Self {
        let (most_bytes, kept_for) =
            offer.map_or((0, Duration::ZERO), |offer| (offer.kept_bytes, offer.kept_for));
        Self { most_bytes, kept_for, bytes: 0, segments: VecDeque::new() }
    }

    /// Keeps a segment that was delivered to `peer`; the oldest go when there is no room.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        peer: PeerId,
        (session, sequence): (B256, u64),
        renditions: Renditions,
    ) {
        self.expire(now);
        let bytes = renditions.values().map(|rendition| rendition.bytes).sum();
        if renditions.is_empty() || bytes > self.most_bytes {
            return;
        }
        while self.bytes + bytes > self.most_bytes {
            self.drop_oldest();
        }
        self.bytes += bytes;
        let until = now + self.kept_for;
        self.segments.push_back(Segment { peer, session, sequence, until, bytes, renditions });
    }

    /// The rendition that a question of `peer` is about.
    pub(crate) fn find(
        &mut self,
        now: Instant,
        peer: PeerId,
        asked: &OpeningRequest,
    ) -> Result<Arc<Committed>, Unanswered> {
        self.expire(now);
        let is_asked = |segment: &&Segment| {
            (segment.peer, segment.session, segment.sequence) == (peer, asked.session, asked.sequence)
        };
        let segment = self.segments.iter().rev().find(is_asked).ok_or(Unanswered::NotKept)?;
        segment.renditions.get(&asked.rendition).cloned().ok_or(Unanswered::NoSuchPlace)
    }

    fn expire(&mut self, now: Instant) {
        while self.segments.front().is_some_and(|oldest| oldest.until <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.segments.pop_front() else { return };
        self.bytes -= oldest.bytes;
    }
}

#[cfg(test)]
mod tests {
    use framemill_media::{ClipSpec, Rational, generate_clip};
    use framemill_network::OpeningQuestion;
    use framemill_verification::commit;

    use super::*;

    const FRAMES: u32 = 10;

    fn committed() -> Committed {
        let spec = ClipSpec { audio: None, ..ClipSpec::new(64, 48, Rational::new(10, 1), 1) };
        let clip = generate_clip(&spec, &MediaLimits::default()).unwrap();
        let commitment = commit(&clip, &MediaLimits::segment()).unwrap();
        Committed::new(clip, commitment)
    }

    fn asked(sequence: u64, rendition: u32) -> OpeningRequest {
        OpeningRequest { session: B256::ZERO, sequence, rendition, question: OpeningQuestion::Root }
    }

    fn store(segments_that_fit: u64, rendition: &Arc<Committed>) -> Openings {
        let offer = CommitmentOffer {
            kept_bytes: rendition.bytes * segments_that_fit,
            kept_for: Duration::from_secs(60),
            ..CommitmentOffer::default()
        };
        Openings::new(Some(offer))
    }

    fn one(rendition: &Arc<Committed>) -> Renditions {
        Renditions::from([(0, Arc::clone(rendition))])
    }

    #[test]
    fn only_who_it_was_delivered_to_finds_a_segment_and_only_for_a_while() {
        let (rendition, peer, now) = (Arc::new(committed()), PeerId::random(), Instant::now());
        let mut openings = store(4, &rendition);
        openings.keep(now, peer, (B256::ZERO, 7), one(&rendition));
        assert!(openings.find(now, peer, &asked(7, 0)).is_ok());
        let refused = |openings: &mut Openings, now, peer, sequence, rendition| {
            openings.find(now, peer, &asked(sequence, rendition)).unwrap_err()
        };
        assert_eq!(refused(&mut openings, now, PeerId::random(), 7, 0), Unanswered::NotKept);
        assert_eq!(refused(&mut openings, now, peer, 8, 0), Unanswered::NotKept);
        assert_eq!(refused(&mut openings, now, peer, 7, 1), Unanswered::NoSuchPlace);
        let later = now + Duration::from_secs(60);
        assert_eq!(refused(&mut openings, later, peer, 7, 0), Unanswered::NotKept);
        assert_eq!(openings.bytes, 0);
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let (rendition, peer, now) = (Arc::new(committed()), PeerId::random(), Instant::now());
        let mut openings = store(2, &rendition);
        for sequence in 0..5 {
            openings.keep(now, peer, (B256::ZERO, sequence), one(&rendition));
        }
        let kept = (0..5).filter(|&sequence| openings.find(now, peer, &asked(sequence, 0)).is_ok());
        assert_eq!(kept.collect::<Vec<_>>(), [3, 4]);
        let mut small = store(0, &rendition);
        small.keep(now, peer, (B256::ZERO, 0), one(&rendition));
        assert_eq!(small.segments.len(), 0);
    }

    #[test]
    fn a_rendition_is_decoded_for_a_few_frames_and_no_more() {
        let committed = committed();
        for frame in 0..MAX_FRAMES_OPENED {
            assert!(committed.answer(Question::Frame { index: frame }).is_ok());
            assert!(
                committed.answer(Question::Block { frame, index: 0 }).is_ok(),
                "the frame is open already"
            );
        }
        let more = committed.answer(Question::Frame { index: MAX_FRAMES_OPENED });
        assert_eq!(more, Err(Unanswered::TooManyFrames));
        assert!(committed.answer(Question::FramesNode { level: 1, index: 0 }).is_ok());
    }

    #[test]
    fn there_is_no_answer_about_places_that_are_not_there() {
        let committed = committed();
        for question in [Question::Frame { index: FRAMES }, Question::FramesNode { level: 9, index: 0 }] {
            assert_eq!(committed.answer(question), Err(Unanswered::NoSuchPlace));
        }
    }
}
