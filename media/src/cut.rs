//! Where a stream of packets is cut: decisions only, no bytes are written here.

use std::collections::VecDeque;

use crate::annexb::{is_intra_picture, is_leading, may_begin_open_group};
use crate::codec::VideoCodec;
use crate::error::{Limit, MediaError};
use crate::limits::check;
use crate::packet::{Packet, drop_trailing_discards};
use crate::segment::SegmenterConfig;
use crate::time::{TICKS_PER_SECOND, Ticks};

/// A step of the clock that no frame rate explains: the source was restarted or spliced.
const MAX_STEP: Ticks = 10 * TICKS_PER_SECOND;

/// How far the other streams may lag behind the leading one in the container before a segment closes without them, and
/// how far audio may run ahead of the first keyframe and still be kept.
const MAX_SKEW: Ticks = TICKS_PER_SECOND;

/// The packets of one segment.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Packets of the stream that decides: video, or the first audio stream without video.
    pub(crate) lead: Vec<Packet>,
    /// Packets of the other streams, in the order they were named to the cutter.
    pub(crate) rest: Vec<Vec<Packet>>,
    /// Presentation time at which the next segment starts, where it follows without a break.
    pub(crate) end: Option<Ticks>,
    /// Pictures that follow its keyframe in the stream, need the segment before, and are not among its packets.
    pub(crate) left_out: u64,
}

/// Gathers packets and hands them out segment by segment.
pub(crate) struct Cutter {
    config: SegmenterConfig,
    lead: Lead,
    rest: Vec<(usize, VecDeque<Packet>)>,
    rest_bytes: usize,
    open: Option<Open>,
    closing: Option<Closing>,
    last_time: Option<Ticks>,
    skipping_since: Option<Ticks>,
    ready: VecDeque<Cut>,
}

/// The stream that decides.
pub(crate) struct Lead {
    /// Its index in the container.
    pub(crate) stream: usize,
    /// Its codec; `None` for audio, which can be cut anywhere.
    pub(crate) codec: Option<VideoCodec>,
}

/// The segment that is being gathered.
struct Open {
    packets: Vec<Packet>,
    start: Ticks,
    bytes: usize,
    /// It begins with an open group of pictures.
    in_open_group: bool,
    left_out: u64,
}

/// A segment whose leading stream is complete and whose other streams may still bring packets.
struct Closing {
    packets: Vec<Packet>,
    left_out: u64,
    end: Ticks,
}

/// When a packet is due: to be shown, or else to be decoded.
fn time(packet: &Packet) -> Option<Ticks> {
    packet.pts().or(packet.dts())
}

impl Cutter {
    /// A cutter for a leading stream and these others.
    pub(crate) fn new(config: SegmenterConfig, lead: Lead, rest: impl IntoIterator<Item = usize>) -> Self {
        Self {
            config,
            lead,
            rest: rest.into_iter().map(|stream| (stream, VecDeque::new())).collect(),
            rest_bytes: 0,
            open: None,
            closing: None,
            last_time: None,
            skipping_since: None,
            ready: VecDeque::new(),
        }
    }

    /// The number of the first segment.
    pub(crate) fn first_sequence(&self) -> u64 {
        self.config.first_sequence
    }

    /// Takes the next packet of the container.
    pub(crate) fn push(&mut self, packet: Packet) -> Result<(), MediaError> {
        if packet.stream() == self.lead.stream {
            self.push_lead(packet)?;
        } else if let Some((_, queue)) = self.rest.iter_mut().find(|(stream, _)| *stream == packet.stream()) {
            self.rest_bytes += packet.data().len();
            queue.push_back(packet);
        }
        self.check_bytes()?;
        self.settle();
        Ok(())
    }

    /// The next segment that is complete.
    pub(crate) fn pop(&mut self) -> Option<Cut> {
        self.ready.pop_front()
    }

    /// Says that no packet follows: what is there is the last segment. A source that broke off may have left a packet of each stream that
    /// is not whole; the segment ends before it.
    pub(crate) fn finish(&mut self) {
        if let Some(open) = self.open.as_mut().filter(|open| open.packets.len() > 1) {
            open.packets.pop_if(|packet| packet.is_corrupt());
        }
        for (_, queue) in &mut self.rest {
            queue.pop_back_if(|packet| packet.is_corrupt());
        }
        self.close_all();
    }

    fn push_lead(&mut self, packet: Packet) -> Result<(), MediaError> {
        // A packet without any time belongs where its predecessors do.
        let now = time(&packet).or(self.last_time);
        if let (Some(now), Some(last)) = (now, self.last_time)
            && now.saturating_sub(last).saturating_abs() > MAX_STEP
        {
            self.close_all();
            self.skipping_since = None;
        }
        self.last_time = now;
        let Some(now) = now else { return Ok(()) };
        match &self.open {
            None => self.begin(packet, now),
            Some(open) if self.is_cut(open, &packet, now) => {
                self.close_at(now);
                self.begin(packet, now)
            }
            Some(_) => self.extend(packet, now),
        }
    }

    /// Whether a segment may end before this packet and has reached its wanted length: a tenth less will do, because
    /// keyframes that are meant to be as far apart jitter.
    fn is_cut(&self, open: &Open, packet: &Packet, now: Ticks) -> bool {
        let wanted = self.config.target - self.config.target / 10;
        (packet.is_key() || self.lead.codec.is_none()) && now.saturating_sub(open.start) >= wanted
    }

    fn begin(&mut self, packet: Packet, now: Ticks) -> Result<(), MediaError> {
        let decodable = match &self.lead.codec {
            Some(codec) => packet.is_key() || is_intra_picture(&packet, codec),
            None => true,
        };
        if !decodable {
            let since = *self.skipping_since.get_or_insert(now);
            return self.check_duration(since, now);
        }
        let skipped = self.skipping_since.take().is_some();
        self.drop_rest_before(if skipped { now } else { now.saturating_sub(MAX_SKEW) });
        let bytes = packet.data().len();
        let in_open_group =
            self.lead.codec.as_ref().is_some_and(|codec| may_begin_open_group(&packet, codec));
        self.open = Some(Open { packets: vec![packet], start: now, bytes, in_open_group, left_out: 0 });
        Ok(())
    }

    fn extend(&mut self, packet: Packet, now: Ticks) -> Result<(), MediaError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let start = open.start;
        let codec = self.lead.codec.as_ref().filter(|_| open.in_open_group);
        if codec.is_some_and(|codec| is_leading(&packet, start, codec)) {
            open.left_out += 1;
        } else {
            open.bytes += packet.data().len();
            open.packets.push(packet);
        }
        self.check_duration(start, now)
    }

    /// Ends the open segment at `end`; the other streams get time to catch up.
    fn close_at(&mut self, end: Ticks) {
        self.emit_closing();
        self.closing =
            self.open.take().map(|Open { packets, left_out, .. }| Closing { packets, left_out, end });
    }

    /// Hands out the closing segment with what the other streams have for it.
    fn emit_closing(&mut self) {
        let Some(Closing { packets, left_out, end }) = self.closing.take() else { return };
        let rest = self.take_rest(|packet| time(packet).is_none_or(|time| time < end));
        self.ready.push_back(Cut { lead: packets, rest, end: Some(end), left_out });
    }

    /// Hands out everything there is.
    fn close_all(&mut self) {
        self.emit_closing();
        if let Some(mut open) = self.open.take() {
            drop_trailing_discards(&mut open.packets);
            let rest = self.take_rest(|_| true);
            self.ready.push_back(Cut { lead: open.packets, rest, end: None, left_out: open.left_out });
        }
    }

    /// Hands out the closing segment when every other stream has passed its end or is too late.
    fn settle(&mut self) {
        let Some(closing) = &self.closing else { return };
        let passed =
            |queue: &VecDeque<Packet>| queue.back().and_then(time).is_some_and(|time| time >= closing.end);
        let waited = self.last_time.is_some_and(|now| now.saturating_sub(closing.end) > MAX_SKEW);
        if waited || self.rest.iter().all(|(_, queue)| passed(queue)) {
            self.emit_closing();
        }
    }

    /// Takes packets of the other streams from the front, as long as `belongs` says so.
    fn take_rest(&mut self, belongs: impl Fn(&Packet) -> bool) -> Vec<Vec<Packet>> {
        let taken: Vec<Vec<Packet>> = self
            .rest
            .iter_mut()
            .map(|(_, queue)| {
                let count = queue.iter().take_while(|packet| belongs(packet)).count();
                queue.drain(..count).collect()
            })
            .collect();
        let bytes: usize = taken.iter().flatten().map(|packet| packet.data().len()).sum();
        self.rest_bytes = self.rest_bytes.saturating_sub(bytes);
        taken
    }

    /// Forgets what lies too long before the first picture, unless an earlier segment waits for it.
    fn drop_rest_before(&mut self, start: Ticks) {
        if self.closing.is_none() && self.open.is_none() {
            drop(self.take_rest(|packet| time(packet).is_none_or(|time| time < start)));
        }
    }

    fn check_duration(&self, start: Ticks, now: Ticks) -> Result<(), MediaError> {
        let duration = now.saturating_sub(start).max(0);
        check(Limit::SegmentDuration, duration.unsigned_abs(), self.config.max_duration.unsigned_abs())
    }

    fn check_bytes(&self) -> Result<(), MediaError> {
        let bytes = self.rest_bytes + self.open.as_ref().map_or(0, |open| open.bytes);
        check(Limit::SegmentBytes, bytes as u64, self.config.max_bytes as u64)
    }
}
