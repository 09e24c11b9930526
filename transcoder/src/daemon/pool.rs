//! The daemon's engines and what is promised of each.

use std::{sync::Arc, time::Instant};

use framemill_network::{JobHeader, WorkCapacity};

use super::total;
use crate::{Admission, Capacity, Engine, Metrics, SessionId, TranscodeError, software::media_codec};

/// One engine with its reservations.
#[derive(Debug)]
struct Slot {
    engine: Arc<dyn Engine>,
    admission: Admission,
}

/// A job's place on an engine; handed back with [`Pool::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: usize,
    session: SessionId,
}

#[derive(Debug)]
pub(crate) struct Pool {
    slots: Vec<Slot>,
    metrics: Option<Metrics>,
}

impl Pool {
    pub(crate) fn new(offers: Vec<(Arc<dyn Engine>, Capacity)>, metrics: Option<Metrics>) -> Self {
        if let Some(metrics) = &metrics {
            offers.iter().for_each(|(engine, capacity)| metrics.offered(engine.name(), *capacity));
        }
        let slot = |(engine, capacity)| Slot { engine, admission: Admission::new(capacity) };
        Self { slots: offers.into_iter().map(slot).collect(), metrics }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.engine.name().to_owned()).collect()
    }

    pub(crate) fn capacity(&self) -> WorkCapacity {
        let Capacity { pixels_per_second, max_sessions } =
            total(self.slots.iter().map(|slot| slot.admission.capacity()));
        WorkCapacity { pixels_per_second, max_sessions }
    }

    /// Finds an engine for a job: one that has its session already, else the one with the smallest part of its capacity
    /// promised.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        header: &JobHeader,
    ) -> Result<(Arc<dyn Engine>, Ticket), TranscodeError> {
        let rate = pixels_per_second(header);
        let mut able: Vec<usize> =
            (0..self.slots.len()).filter(|&slot| self.can_encode(slot, header)).collect();
        able.sort_by_key(|&slot| self.slots[slot].load(&header.session));
        let mut refusal = unsupported(header);
        for slot in able {
            match self.slots[slot].admission.admit(now, header.session, rate) {
                Ok(()) => {
                    self.report(slot);
                    let ticket = Ticket { slot, session: header.session };
                    return Ok((Arc::clone(&self.slots[slot].engine), ticket));
                }
                Err(busy) => refusal = busy.into(),
            }
        }
        Err(refusal)
    }

    pub(crate) fn finish(&mut self, now: Instant, ticket: Ticket) {
        self.slots[ticket.slot].admission.finish(now, &ticket.session);
        self.report(ticket.slot);
    }

    fn can_encode(&self, slot: usize, header: &JobHeader) -> bool {
        let codecs = &self.slots[slot].engine.capabilities().codecs;
        header.ladder.iter().all(|entry| codecs.contains(&media_codec(entry.codec)))
    }

    fn report(&self, slot: usize) {
        if let Some(metrics) = &self.metrics {
            let Slot { engine, admission } = &self.slots[slot];
            metrics.load(engine.name(), admission.reserved(), admission.sessions());
        }
    }
}

impl Slot {
    /// Orders engines: the session's own first, then by the thousandths of capacity that are promised.
    fn load(&self, session: &SessionId) -> (bool, u64) {
        let capacity = self.admission.capacity().pixels_per_second.max(1);
        (!self.admission.holds(session), self.admission.reserved().saturating_mul(1_000) / capacity)
    }
}

/// Output pixels per second while the job's segment plays.
fn pixels_per_second(header: &JobHeader) -> u64 {
    let pixels = header.ladder.expected_pixels(header.frames, header.duration_90k);
    let rate = u128::from(pixels) * 90_000 / u128::from(header.duration_90k.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn unsupported(header: &JobHeader) -> TranscodeError {
    let names: Vec<_> = header.ladder.iter().map(|entry| entry.name.as_str()).collect();
    let reason = "no engine of this transcoder encodes these codecs; ask for h264".to_owned();
    TranscodeError::Unsupported { rendition: names.join(", "), reason }
}
