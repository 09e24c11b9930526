//! Secret, sessions, nonces and credit within one transaction.

use alloy_primitives::{Address, B256};

use super::books::Books;
use super::conn::{Bulk, values};
use super::row::{self, SessionRow};
use crate::codec::{encode_winning, scheme_byte};
use crate::ledger::account::{self, LaneState, SessionState, Settlement};
use crate::ledger::journal::Entry;
use crate::ledger::{
    Acceptance, Acknowledged, CheckedTicket, LaneId, LedgerError, NewSession, NewWinner, Session,
};
use crate::units::Wei;

/// Sessions with what this instance holds of them. Several are locked, in the order of their ids: whoever needs some of
/// them waits for the lowest first.
pub(super) const SESSIONS: Bulk = Bulk {
    one: "SELECT sessions.*, holds.amount FROM sessions
          LEFT JOIN holds ON holds.session = sessions.id AND holds.instance = $2 WHERE id = $1",
    many: "SELECT sessions.*, holds.amount FROM sessions
           LEFT JOIN holds ON holds.session = sessions.id AND holds.instance = ($2::bigint[])[1]
           WHERE id = ANY ($1::bytea[]) ORDER BY id FOR UPDATE OF sessions",
};

/// Lanes. A lane that several could want is locked with the session that holds it.
pub(super) const LANES: Bulk = Bulk {
    one: "SELECT * FROM lanes WHERE sender = $1 AND recipient = $2 AND lane = $3",
    many: "SELECT lanes.* FROM lanes JOIN unnest($1::bytea[], $2::bytea[], $3::bigint[])
           AS wanted (sender, recipient, lane) USING (sender, recipient, lane)",
};

impl Books<'_> {
    pub(super) async fn secret(&mut self) -> Result<[u8; 32], LedgerError> {
        let fresh: [u8; 32] = rand::random();
        let sql = "INSERT INTO meta (key, value) VALUES ('secret', $1) ON CONFLICT DO NOTHING";
        self.conn.execute(sql, values![&fresh[..]]).await?;
        let stored = self.conn.row("SELECT value FROM meta WHERE key = 'secret'", values![]).await?;
        stored.ok_or(LedgerError::Corrupt("secret"))?.bytes("value")
    }

    pub(super) async fn session(&mut self, id: B256) -> Result<Option<Session>, LedgerError> {
        let Some(session) = self.load_session(id).await? else { return Ok(None) };
        let lane_state = self.load_lane(session.lane).await?;
        Ok(Some(Session {
            id,
            lane: session.lane,
            face_value: session.face_value,
            win_prob: session.win_prob,
            state: session.state,
            lane_state,
        }))
    }

    pub(super) async fn open_session(&mut self, new: NewSession) -> Result<Session, LedgerError> {
        if let Some(known) = self.session(new.id).await? {
            let same = known.lane.sender == new.sender && known.lane.recipient == new.recipient;
            return if same { Ok(known) } else { Err(LedgerError::SessionTaken(new.id)) };
        }
        self.flush().await?;
        let lane = self.free_lane(&new).await?;
        self.seat(&new, lane).await?;
        self.note(Entry::Opened { session: new.id, lane });
        let lane_state = self.load_lane(lane).await?;
        Ok(Session {
            id: new.id,
            lane,
            face_value: new.face_value,
            win_prob: new.win_prob,
            state: SessionState::default(),
            lane_state,
        })
    }

    pub(super) async fn close_session(&mut self, id: B256) -> Result<(), LedgerError> {
        self.flush().await?;
        let Some(closed) = self.load_session(id).await? else { return Ok(()) };
        let holds = self.conn.rows("SELECT * FROM holds WHERE session = $1", values![id]).await?;
        for hold in &holds {
            let (instance, amount) = (hold.counter("instance")?, hold.wei("amount")?);
            self.note(Entry::HoldForfeited { session: id, instance, amount });
        }
        self.note(Entry::Closed { session: id, credit: closed.state.credit });
        self.conn.execute("DELETE FROM holds WHERE session = $1", values![id]).await?;
        self.conn.execute("DELETE FROM sessions WHERE id = $1", values![id]).await?;
        self.flush().await
    }

    pub(super) async fn accept(&mut self, acceptance: &Acceptance) -> Result<Acknowledged, LedgerError> {
        let id = acceptance.session;
        let mut session = self.open_row(id).await?;
        let mut lane = self.load_lane(session.lane).await?;
        let before = session.state;
        let (acknowledged, kept) = account::accept(&mut session.state, &mut lane, acceptance);
        let held = session.state.held.saturating_sub(before.held);
        let value = session.state.credit.saturating_add(held).saturating_sub(before.credit);
        let tickets = acknowledged.credited;
        if tickets > 0 || !held.is_zero() {
            let LaneState { highest, floor, .. } = lane;
            self.note(Entry::Paid { session: id, tickets, value, held, highest, floor });
        }
        for ticket in kept.into_iter().map(|position| &acceptance.tickets[position]) {
            self.keep_winner(acceptance, session.lane, ticket);
        }
        session.used_ms = acceptance.now_ms;
        session.instance = self.instance;
        self.lanes.set(session.lane, lane);
        self.sessions.set(id, session);
        Ok(acknowledged)
    }

    fn keep_winner(&mut self, acceptance: &Acceptance, lane: LaneId, ticket: &CheckedTicket) {
        let Some(NewWinner { scheme, ticket: winning, .. }) = &ticket.winner else { return };
        let face_value = winning.signed.ticket.face_value;
        self.note(Entry::Won { lane, nonce: ticket.nonce, face_value });
        self.winners.push(values![
            lane.sender,
            lane.recipient,
            lane.lane,
            ticket.nonce,
            acceptance.serial,
            u64::from(scheme_byte(*scheme)),
            &encode_winning(winning)[..],
            acceptance.now_ms,
        ]);
    }

    pub(super) async fn settle(&mut self, id: B256, held: Wei, actual: Wei) -> Result<Wei, LedgerError> {
        let mut session = self.open_row(id).await?;
        let settlement = session.state.settle(held, actual);
        let Settlement { spent, returned, beyond } = settlement;
        if settlement != Settlement::default() {
            self.note(Entry::Settled { session: id, spent, returned, beyond });
        }
        self.sessions.set(id, session);
        Ok(session.state.credit)
    }

    /// The lane's state, all zero before its first session.
    pub(super) async fn load_lane(&mut self, id: LaneId) -> Result<LaneState, LedgerError> {
        if let Some(known) = self.lanes.get(&id) {
            return Ok(known.unwrap_or_default());
        }
        let found = self.conn.row(LANES.one, values![id.sender, id.recipient, id.lane]).await?;
        let state = found.as_ref().map(row::lane_state).transpose()?;
        self.lanes.learn(id, state);
        Ok(state.unwrap_or_default())
    }

    async fn load_session(&mut self, id: B256) -> Result<Option<SessionRow>, LedgerError> {
        if let Some(known) = self.sessions.get(&id) {
            return Ok(known);
        }
        let found = self.conn.row(SESSIONS.one, values![id, self.instance]).await?;
        let session = found.as_ref().map(row::session).transpose()?;
        self.sessions.learn(id, session);
        Ok(session)
    }

    pub(super) async fn open_row(&mut self, id: B256) -> Result<SessionRow, LedgerError> {
        self.load_session(id).await?.ok_or(LedgerError::UnknownSession(id))
    }

    /// The lowest lane without a session; failing that, the one of a session that gives way.
    async fn free_lane(&mut self, new: &NewSession) -> Result<LaneId, LedgerError> {
        let sql = "SELECT lane FROM sessions WHERE sender = $1 AND recipient = $2 ORDER BY lane";
        let taken = self.conn.rows(sql, values![new.sender, new.recipient]).await?;
        let taken = taken.iter().map(|found| found.counter("lane")).collect::<Result<Vec<_>, _>>()?;
        let free = (0..new.max_lanes).find(|lane| taken.binary_search(lane).is_err());
        let lane = match free {
            Some(lane) => lane,
            None => self.evict(new).await?,
        };
        Ok(LaneId { sender: new.sender, recipient: new.recipient, lane })
    }

    /// Closes a session that was never paid, or one that nobody has paid for long (its parties may
    /// be gone), oldest first, and returns its lane.
    async fn evict(&mut self, new: &NewSession) -> Result<u64, LedgerError> {
        let sql = "SELECT id, lane FROM sessions
                   WHERE sender = $1 AND recipient = $2 AND (tickets = 0 OR used_ms < $3)
                   ORDER BY tickets > 0, used_ms LIMIT 1";
        let candidate = self.conn.row(sql, values![new.sender, new.recipient, new.idle_before_ms]).await?;
        let Some(given) = candidate else {
            return Err(LedgerError::TooManySessions { sender: new.sender, lanes: new.max_lanes });
        };
        self.close_session(given.hash("id")?).await?;
        given.counter("lane")
    }

    async fn seat(&mut self, new: &NewSession, lane: LaneId) -> Result<(), LedgerError> {
        let LaneId { sender, recipient, lane: number } = lane;
        let seen = row::seen_bytes(&LaneState::default());
        let sql = "INSERT INTO lanes (sender, recipient, lane, serial, highest, floor, seen)
                   VALUES ($1, $2, $3, 0, 0, 0, $4) ON CONFLICT DO NOTHING";
        self.conn.execute(sql, values![sender, recipient, number, seen]).await?;
        let sql = "INSERT INTO sessions
                   (id, sender, recipient, lane, face_value, win_prob, credit, tickets, used_ms, instance)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)";
        let terms = values![
            new.id,
            sender,
            recipient,
            number,
            new.face_value,
            Wei(new.win_prob.0),
            Wei::ZERO,
            new.now_ms,
            self.instance
        ];
        self.conn.execute(sql, terms).await?;
        // Session and lane were looked up and not there.
        self.flush().await
    }

    pub(super) async fn pending_value(&mut self, sender: Address) -> Result<Wei, LedgerError> {
        self.flush().await?;
        let sql = "SELECT ticket FROM winners WHERE sender = $1 AND state < 2";
        let rows = self.conn.rows(sql, values![sender]).await?;
        rows.iter().try_fold(Wei::ZERO, |sum, found| {
            let ticket = crate::codec::decode_winning(found.blob("ticket")?);
            let ticket = ticket.ok_or(LedgerError::Corrupt("ticket"))?;
            Ok(sum.saturating_add(ticket.signed.ticket.face_value))
        })
    }
}
