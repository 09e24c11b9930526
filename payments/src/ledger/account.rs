//! The arithmetic of a session and its lane: pure, shared by every store.

use super::{
    Acceptance, Acknowledged, LedgerError, Reservation, Reserved, SpendingLimit, SpendingState, WorkOutcome,
};
use crate::reason::Reason;
use crate::units::{PPM, Wei};

/// Nonces below the highest one that may still arrive, since payments of parallel segments
/// overtake each other.
pub const NONCE_WINDOW: u64 = 1024;

/// Words of the replay window.
pub(crate) const WINDOW_WORDS: usize = (NONCE_WINDOW / 64) as usize;

/// Nonces stay below this, so that every store can keep them in a signed 64-bit column.
const MAX_NONCE: u64 = i64::MAX as u64;

/// One part in this many of the verified work's price may be lost to refused tickets.
const WRITE_OFF_SHARE: u64 = 10;

/// A session's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// Free credit.
    pub credit: Wei,
    /// Held for work in progress by the process that asks; others that share the ledger have holds of their own.
    pub held: Wei,
    /// Tickets credited.
    pub tickets: u64,
}

impl SessionState {
    /// Ends a hold: `actual` of `held` is spent, the rest becomes credit again. More than was held
    /// is taken from the credit, down to zero.
    pub fn settle(&mut self, held: Wei, actual: Wei) -> Settlement {
        let held = held.min(self.held);
        let spent = held.min(actual);
        let returned = held.saturating_sub(spent);
        let beyond = actual.saturating_sub(spent).min(self.credit);
        self.held = self.held.saturating_sub(held);
        self.credit = self.credit.saturating_add(returned).saturating_sub(beyond);
        Settlement { spent, returned, beyond }
    }

    fn hold(&mut self, cost: Wei) -> bool {
        let Some(rest) = self.credit.checked_sub(cost) else { return false };
        self.credit = rest;
        self.held = self.held.saturating_add(cost);
        true
    }
}

/// Where a hold went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Of the hold, spent.
    pub spent: Wei,
    /// Of the hold, credit again.
    pub returned: Wei,
    /// Of the credit, spent beyond the hold.
    pub beyond: Wei,
}

/// A lane's nonces, as a sliding replay window (after RFC 4303, section 3.4.3): bounded storage,
/// however many tickets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LaneState {
    /// Generation of the secret that parameters are issued on.
    pub serial: u64,
    /// Since when, in Unix milliseconds, the generation before retires: its tickets are still taken. `None` once it is
    /// revealed, or about to be.
    pub retiring_ms: Option<u64>,
    /// The highest nonce seen.
    pub highest: u64,
    /// Nonces at or below this are refused: the secret was revealed above them.
    pub floor: u64,
    /// Which of the [`NONCE_WINDOW`] nonces ending at `highest` were seen; bit `n % NONCE_WINDOW`.
    pub seen: [u64; WINDOW_WORDS],
}

impl LaneState {
    /// Takes a nonce once: above the floor, inside the window or at most `max_jump` above it. The first one of a lane may be any:
    /// books that were lost do not know how far its sender has counted.
    pub fn admit(&mut self, nonce: u64, max_jump: u64) -> Result<(), Reason> {
        if nonce <= self.floor {
            return Err(Reason::Replayed);
        }
        if nonce > self.highest {
            let jumps = self.highest != 0 && nonce - self.highest > max_jump;
            if jumps || nonce > MAX_NONCE {
                return Err(Reason::NonceJump);
            }
            self.slide_to(nonce);
        } else if self.highest - nonce >= NONCE_WINDOW || self.has(nonce) {
            return Err(Reason::Replayed);
        }
        self.mark(nonce);
        Ok(())
    }

    /// Whether tickets on this generation of the secret are taken.
    pub fn takes(&self, serial: u64) -> bool {
        serial == self.serial || (self.retiring_ms.is_some() && serial.checked_add(1) == Some(self.serial))
    }

    /// Issues parameters on the next generation from here on, and goes on taking tickets on this one: a sender learns of
    /// it with its next payment.
    pub fn rotate(&mut self, now_ms: u64) {
        self.retire();
        self.serial += 1;
        self.retiring_ms = Some(now_ms);
    }

    /// Takes tickets on the newest generation only, with nonces above everything seen, so that redeeming in nonce order
    /// loses nothing.
    pub fn retire(&mut self) {
        if self.retiring_ms.take().is_some() {
            self.floor = self.highest;
        }
    }

    /// Whether a nonce of the replay window was taken, whatever became of its secret since.
    fn has_taken(&self, nonce: u64) -> bool {
        self.highest.checked_sub(nonce).is_some_and(|age| age < NONCE_WINDOW) && self.has(nonce)
    }

    fn slide_to(&mut self, nonce: u64) {
        if nonce - self.highest >= NONCE_WINDOW {
            self.seen = [0; WINDOW_WORDS];
        } else {
            for skipped in self.highest + 1..=nonce {
                let (word, bit) = place(skipped);
                self.seen[word] &= !bit;
            }
        }
        self.highest = nonce;
    }

    fn has(&self, nonce: u64) -> bool {
        let (word, bit) = place(nonce);
        self.seen[word] & bit != 0
    }

    fn mark(&mut self, nonce: u64) {
        let (word, bit) = place(nonce);
        self.seen[word] |= bit;
    }
}

fn place(nonce: u64) -> (usize, u64) {
    let bit = nonce % NONCE_WINDOW;
    ((bit / 64) as usize, 1 << (bit % 64))
}

/// Applies a payment: nonces, credit, hold. Returns what to tell the caller and which of the
/// tickets (by position in `acceptance.tickets`) were kept.
pub(crate) fn accept(
    session: &mut SessionState,
    lane: &mut LaneState,
    acceptance: &Acceptance,
) -> (Acknowledged, Vec<usize>) {
    let mut refused = Vec::new();
    let mut kept = Vec::with_capacity(acceptance.tickets.len());
    let mut winners = 0;
    for (position, ticket) in acceptance.tickets.iter().enumerate() {
        let verdict = admit(lane, acceptance, ticket.nonce);
        match verdict {
            Err(reason) => refused.push((ticket.index, reason)),
            Ok(()) => {
                kept.push(position);
                winners += u64::from(ticket.winner.is_some());
                session.credit = session.credit.saturating_add(acceptance.ticket_value);
                session.tickets = session.tickets.saturating_add(1);
            }
        }
    }
    let held = session.hold(acceptance.cost);
    let acknowledged = Acknowledged {
        credited: kept.len() as u64,
        winners,
        refused,
        held,
        credit: session.credit,
        serial: lane.serial,
        nonce_floor: lane.highest,
    };
    (acknowledged, kept)
}

/// Takes a nonce of the acceptance's generation. The first one of a new generation retires the one before: its sender
/// has learned of it.
fn admit(lane: &mut LaneState, acceptance: &Acceptance, nonce: u64) -> Result<(), Reason> {
    // What is sent again is credit already, also when its secret was revealed in between.
    if lane.has_taken(nonce) {
        return Err(Reason::Replayed);
    }
    if !lane.takes(acceptance.serial) {
        return Err(Reason::ParamsRevealed);
    }
    let mut next = *lane;
    if acceptance.serial == lane.serial {
        next.retire();
    }
    next.admit(nonce, acceptance.max_nonce_jump)?;
    *lane = next;
    Ok(())
}

/// What a sender has put against its deposit since it was last topped up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DepositState {
    /// The deposit when last seen.
    pub(crate) seen: Wei,
    /// The deposit when it last grew.
    pub(crate) base: Wei,
    /// Value of tickets sent since then.
    pub(crate) spent: Wei,
}

impl DepositState {
    /// A deposit that grew was topped up: its budget starts anew. One that shrank paid winners,
    /// which `spent` has counted already.
    pub(crate) fn observe(&mut self, deposit: Wei) {
        if deposit > self.seen {
            self.base = deposit;
            self.spent = Wei::ZERO;
        }
        self.seen = deposit;
    }
}

/// The rows a reservation changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpendingRows {
    /// The session's sums.
    pub(crate) session: SpendingState,
    /// The next nonce of the lane.
    pub(crate) next_nonce: u64,
    /// Value sent for the stream within the last hour before this reservation.
    pub(crate) stream_hour: Wei,
    /// The deposit's budget.
    pub(crate) deposit: DepositState,
}

/// Books a payment on `rows`, or says which limit is in the way and leaves them as they were.
pub(crate) fn reserve(rows: &mut SpendingRows, ask: &Reservation) -> Result<Reserved, LedgerError> {
    let mut next = *rows;
    next.deposit.observe(ask.deposit);
    let count = tickets_needed(&next.session, ask)?;
    let value = ask.ticket_value.saturating_mul(count);
    let limits = &ask.limits;
    within(SpendingLimit::Tickets, Wei::from(limits.tickets), Wei::ZERO, Wei::from(count))?;
    within(SpendingLimit::Session, limits.session, next.session.paid, value)?;
    within(SpendingLimit::StreamHour, limits.stream_hour, next.stream_hour, value)?;
    let budget = next.deposit.base.mul_div(limits.deposit_share_ppm, PPM).unwrap_or_default();
    within(SpendingLimit::Deposit, budget, next.deposit.spent, value)?;
    trust(&next.session, ask, value)?;

    let first_nonce = next.next_nonce.max(1).max(ask.nonce_floor.saturating_add(1));
    let end = first_nonce.saturating_add(count);
    if end > MAX_NONCE {
        return Err(LedgerError::NoncesExhausted(ask.lane, first_nonce));
    }
    next.next_nonce = end;
    next.session.paid = next.session.paid.saturating_add(value);
    next.session.ordered = next.session.ordered.saturating_add(ask.cost);
    next.stream_hour = next.stream_hour.saturating_add(value);
    next.deposit.spent = next.deposit.spent.saturating_add(value);
    *rows = next;
    Ok(Reserved { first_nonce, count })
}

/// Bounds what a recipient can take without delivering: value out for work that is not verified, and
/// tickets it says it refused but may yet redeem. An honest one refuses some whenever its secret is
/// revealed, so that allowance grows with the work it delivered.
fn trust(session: &SpendingState, ask: &Reservation, value: Wei) -> Result<(), LedgerError> {
    let limits = &ask.limits;
    // One ticket more than the bound: a payment is rounded up to whole tickets.
    let bound = limits.outstanding.saturating_add(ask.ticket_value);
    let settled = session.verified.saturating_add(session.written_off);
    within(SpendingLimit::Outstanding, bound, session.paid.saturating_sub(settled), value)?;
    let earned = session.verified.mul_div(1, WRITE_OFF_SHARE).unwrap_or_default();
    within(SpendingLimit::Refused, bound.saturating_add(earned), Wei::ZERO, session.written_off)
}

fn tickets_needed(session: &SpendingState, ask: &Reservation) -> Result<u64, LedgerError> {
    let spent = session.ordered.saturating_add(session.written_off);
    let owed = spent.saturating_add(ask.cost).saturating_sub(session.paid);
    owed.div_ceil(ask.ticket_value).ok_or(LedgerError::Limit {
        limit: SpendingLimit::Tickets,
        bound: Wei::from(ask.limits.tickets),
        spent: Wei::ZERO,
        asked: owed,
    })
}

fn within(limit: SpendingLimit, bound: Wei, spent: Wei, asked: Wei) -> Result<(), LedgerError> {
    let fits = asked.is_zero() || spent.checked_add(asked).is_some_and(|sum| sum <= bound);
    if fits { Ok(()) } else { Err(LedgerError::Limit { limit, bound, spent, asked }) }
}

impl SpendingState {
    /// What was paid and neither ordered for nor written off.
    pub(crate) fn credit(&self) -> Wei {
        self.paid.saturating_sub(self.ordered.saturating_add(self.written_off))
    }

    /// Books what became of work of this cost.
    pub(crate) fn record(&mut self, cost: Wei, outcome: WorkOutcome) {
        match outcome {
            WorkOutcome::Verified => self.verified = self.verified.saturating_add(cost),
            WorkOutcome::NotDone => self.ordered = self.ordered.saturating_sub(cost),
            WorkOutcome::Refused(value) => {
                self.ordered = self.ordered.saturating_sub(cost);
                self.written_off = self.written_off.saturating_add(value);
            }
            WorkOutcome::NoCredit => {
                self.ordered = self.ordered.saturating_sub(cost);
                // Never less than before: what was written off once stays so.
                self.written_off = self.written_off.max(self.paid.saturating_sub(self.ordered));
            }
        }
    }
}
