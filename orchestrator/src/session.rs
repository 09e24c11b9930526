//! The session table: who may send which segment, exactly once, and how much capacity that holds.
//!
//! Pure: time comes in, verdicts go out. The table lives in memory only, on purpose: a session that
//! does not survive a restart can never make a restarted node sign a second, different receipt for a
//! sequence it already signed (which is slashable). Where several processes share the books, sessions
//! are kept there ([`shared`]), and so is which sequences were signed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use framemill_network::{Ladder, PeerId, PricePerPixel, QualityTerms};
use probabilistic_ticket::SequenceWindow;

use crate::config::SessionLimits;
use crate::refusal::Refusal;

pub(crate) mod shared;

/// What a session is bound to, fixed when its quote was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The session's id, random, chosen by us.
    pub(crate) id: B256,
    /// The only peer that may use it.
    pub(crate) peer: PeerId,
    /// The concrete ladder: no zero dimensions left.
    pub(crate) ladder: Ladder,
    /// Hash of the ladder.
    pub(crate) ladder_hash: B256,
    /// The price we quoted; the only one money is computed with.
    pub(crate) price: PricePerPixel,
    /// Whether its receipts carry commitments to the renditions' features.
    pub(crate) commitments: bool,
    /// How the price follows the quality; the whole price where there are no commitments.
    pub(crate) quality: QualityTerms,
    /// Output pixels per second it holds while it is active.
    pub(crate) pixels_per_second: u64,
}

/// One segment's claim on a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentKey {
    /// The session named in the header.
    pub(crate) session: B256,
    /// The peer that the connection proved.
    pub(crate) peer: PeerId,
    /// The segment's number.
    pub(crate) sequence: u64,
    /// The ladder the header claims.
    pub(crate) ladder_hash: B256,
}

/// How a begun segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentEnd {
    /// A receipt was signed: the sequence is spent.
    Signed,
    /// Nothing was signed: the sequence may be sent again.
    Failed,
}

#[derive(Debug)]
struct Session {
    terms: Terms,
    opened: Instant,
    touched: Instant,
    /// Whether it ever passed the payment gate: only then does it hold capacity against others.
    active: bool,
    window: SequenceWindow,
    /// Begun and not ended; at most `max_in_flight`.
    in_flight: Vec<u64>,
}

impl Session {
    fn new(now: Instant, terms: Terms) -> Self {
        Self {
            terms,
            opened: now,
            touched: now,
            active: false,
            window: SequenceWindow::default(),
            in_flight: Vec::new(),
        }
    }

    fn expires_at(&self, limits: &SessionLimits) -> Instant {
        (self.touched + limits.idle_ttl).min(self.opened + limits.max_lifetime)
    }

    fn expired(&self, now: Instant, limits: &SessionLimits) -> bool {
        self.in_flight.is_empty() && now >= self.expires_at(limits)
    }

    /// A used session holds its pixels until it falls silent; a mere quote for a short while.
    fn holds(&self, now: Instant, limits: &SessionLimits) -> Hold {
        let hold = if self.active { limits.reservation_ttl } else { limits.quote_hold };
        match (self.active, now < self.touched + hold || !self.in_flight.is_empty()) {
            (_, false) => Hold::None,
            (true, true) => Hold::Firm,
            (false, true) => Hold::Tentative,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    None,
    Tentative,
    Firm,
}

/// All open sessions, and the pixel rate they reserve.
#[derive(Debug)]
pub(crate) struct SessionTable {
    limits: SessionLimits,
    sessions: HashMap<B256, Session>,
}

impl SessionTable {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self { limits, sessions: HashMap::new() }
    }

    /// Admits up to so many sessions from now on; those above it stay.
    pub(crate) fn set_max_sessions(&mut self, max_sessions: usize) {
        self.limits.max_sessions = max_sessions;
    }

    /// Number of open sessions.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Pixels per second held by sessions in use.
    pub(crate) fn reserved(&self, now: Instant) -> u64 {
        self.held(now, false, None)
    }

    /// Whether a quote for `pixels_per_second` would be admitted to `peer` at `capacity`.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn admit(
        &self,
        now: Instant,
        peer: PeerId,
        pixels_per_second: u64,
        capacity: u64,
    ) -> Result<(), Refusal> {
        if capacity == 0 {
            return Err(Refusal::NoTranscoder);
        }
        self.has_place(now, peer)?;
        if !fits(self.held(now, true, None), pixels_per_second, capacity) {
            return Err(self.busy());
        }
        Ok(())
    }

    /// Opens a session that [`SessionTable::admit`] let pass. In a full table an old quote that was
    /// never used gives way, and is returned.
    pub(crate) fn open(&mut self, now: Instant, terms: Terms) -> Option<Terms> {
        let full = self.sessions.len() >= self.limits.max_sessions;
        let stalest = if full { self.stalest_quote(now) } else { None };
        let evicted = stalest.and_then(|id| self.sessions.remove(&id));
        self.sessions.insert(terms.id, Session::new(now, terms));
        evicted.map(|session| session.terms)
    }

    /// Takes in a session that another process opened so long ago; one that is here already stays as it is.
    ///
    /// # Errors
    /// [`Refusal::SessionExpired`] when it has lived as long as it may, and what [`SessionTable::admit`] says of peers
    /// and a table that is full.
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        terms: Terms,
        age: Duration,
    ) -> Result<Option<Terms>, Refusal> {
        let id = terms.id;
        if self.sessions.contains_key(&id) {
            return Ok(None);
        }
        let opened = now.checked_sub(age).filter(|_| age < self.limits.max_lifetime);
        let opened = opened.ok_or(Refusal::SessionExpired { session: id })?;
        self.has_place(now, terms.peer)?;
        let evicted = self.open(now, terms);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.opened = opened;
        }
        Ok(evicted)
    }

    /// Whether the table has a place for one more session of `peer`.
    fn has_place(&self, now: Instant, peer: PeerId) -> Result<(), Refusal> {
        if self.sessions.len() >= self.limits.max_sessions && self.stalest_quote(now).is_none() {
            return Err(self.busy());
        }
        let of_peer = self.sessions.values().filter(|s| s.terms.peer == peer).count();
        if of_peer >= self.limits.max_sessions_per_peer {
            return Err(Refusal::TooManySessions {
                held: of_peer,
                bound: self.limits.max_sessions_per_peer,
                retry_after: self.limits.quote_hold,
            });
        }
        Ok(())
    }

    /// Begins a segment: every check that needs no money and no source bytes.
    ///
    /// On success the sequence is in flight until [`SessionTable::end`].
    ///
    /// # Errors
    /// The refusal to answer with; nothing changed then.
    pub(crate) fn begin(&mut self, now: Instant, key: &SegmentKey, capacity: u64) -> Result<Terms, Refusal> {
        let elsewhere = self.held(now, false, Some(key.session));
        let busy = self.busy();
        let limits = &self.limits;
        let session = self
            .sessions
            .get_mut(&key.session)
            // A session of another peer does not exist for this one.
            .filter(|s| s.terms.peer == key.peer)
            .ok_or(Refusal::UnknownSession { session: key.session })?;
        if session.expired(now, limits) {
            return Err(Refusal::SessionExpired { session: key.session });
        }
        if session.terms.ladder_hash != key.ladder_hash {
            return Err(Refusal::LadderChanged { quoted: session.terms.ladder_hash, sent: key.ladder_hash });
        }
        // The window counts one above the highest sequence.
        if key.sequence == u64::MAX {
            return Err(Refusal::SequenceOutOfRange { sequence: key.sequence });
        }
        if session.window.is_spent(key.sequence) || session.in_flight.contains(&key.sequence) {
            return Err(Refusal::Replayed { sequence: key.sequence });
        }
        if session.in_flight.len() >= limits.max_in_flight {
            return Err(Refusal::TooManySegments {
                bound: limits.max_in_flight,
                retry_after: limits.busy_retry,
            });
        }
        if capacity == 0 {
            return Err(Refusal::NoTranscoder);
        }
        // A session that lost its reservation to silence has to win it again.
        if session.holds(now, limits) != Hold::Firm
            && !fits(elsewhere, session.terms.pixels_per_second, capacity)
        {
            return Err(busy);
        }
        session.in_flight.push(key.sequence);
        Ok(session.terms.clone())
    }

    /// Records that a begun segment passed the payment gate: the session holds capacity from now on.
    pub(crate) fn activate(&mut self, now: Instant, session: B256) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.active = true;
            session.touched = now;
        }
    }

    /// Ends a begun segment.
    pub(crate) fn end(&mut self, now: Instant, session: B256, sequence: u64, end: SegmentEnd) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        session.in_flight.retain(|s| *s != sequence);
        if end == SegmentEnd::Signed {
            session.touched = now;
            session.window.spend(sequence);
        }
    }

    /// Drops every session whose time is over and returns what ended.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Terms> {
        let limits = &self.limits;
        self.sessions
            .extract_if(|_, session| session.expired(now, limits))
            .map(|(_, session)| session.terms)
            .collect()
    }

    fn held(&self, now: Instant, with_quotes: bool, except: Option<B256>) -> u64 {
        self.sessions
            .values()
            .filter(|s| Some(s.terms.id) != except)
            .filter(|s| match s.holds(now, &self.limits) {
                Hold::Firm => true,
                Hold::Tentative => with_quotes,
                Hold::None => false,
            })
            .fold(0, |sum, s| sum.saturating_add(s.terms.pixels_per_second))
    }

    /// The oldest session that was never used and holds nothing any more: strangers can open many.
    fn stalest_quote(&self, now: Instant) -> Option<B256> {
        let unused = self.sessions.values().filter(|s| !s.active && s.holds(now, &self.limits) == Hold::None);
        unused.min_by_key(|s| s.opened).map(|s| s.terms.id)
    }

    fn busy(&self) -> Refusal {
        Refusal::Busy { retry_after: self.limits.busy_retry }
    }
}

/// Whether a session fits beside what others hold. One that is alone fits whatever its size: it makes
/// nobody late, and each of its segments is checked against its own deadline.
fn fits(held: u64, asked: u64, capacity: u64) -> bool {
    held == 0 || held.saturating_add(asked) <= capacity
}

/// How long a session lives when it stays unused.
pub(crate) fn unused_for(limits: &SessionLimits) -> Duration {
    limits.idle_ttl.min(limits.max_lifetime)
}

#[cfg(test)]
mod tests;
