//! Secret, sessions, nonces and credit within one transaction.

use std::collections::HashMap;

use alloy_primitives::{Address, B256};
use sqlx::{Row, SqliteConnection};

use super::row;
use crate::codec::{encode_winning, scheme_byte};
use crate::ledger::account::{self, LaneState};
use crate::ledger::{
    Acceptance, Acknowledged, LaneId, LedgerError, NewSession, NewWinner, Session, SessionState,
};
use crate::units::Wei;

/// The books as one transaction sees them. Hot rows (sessions and lanes of payments) are read once
/// per transaction, changed in memory, and written once at its end.
pub(super) struct Books<'t> {
    pub(super) connection: &'t mut SqliteConnection,
    lanes: HashMap<LaneId, LaneState>,
    sessions: HashMap<B256, row::SessionRow>,
    failure: Option<LedgerError>,
}

impl<'t> Books<'t> {
    pub(super) fn new(connection: &'t mut SqliteConnection) -> Self {
        Self { connection, lanes: HashMap::new(), sessions: HashMap::new(), failure: None }
    }

    /// Keeps the first error that may have left half a call in the transaction.
    pub(super) fn remember(&mut self, error: Option<&LedgerError>) {
        if let Some(error @ (LedgerError::Store(_) | LedgerError::Corrupt(_))) = error {
            self.failure.get_or_insert_with(|| error.clone());
        }
    }

    /// Writes what is still in memory; an error means that the transaction must not be committed.
    pub(super) async fn finish(mut self) -> Result<(), LedgerError> {
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.flush().await,
        }
    }

    /// Writes the hot rows, so that statements see them.
    pub(super) async fn flush(&mut self) -> Result<(), LedgerError> {
        for (lane, state) in std::mem::take(&mut self.lanes) {
            self.write_lane(lane, &state).await?;
        }
        for (id, session) in std::mem::take(&mut self.sessions) {
            self.write_session(id, &session).await?;
        }
        Ok(())
    }

    pub(super) async fn secret(&mut self) -> Result<[u8; 32], LedgerError> {
        let fresh: [u8; 32] = rand::random();
        sqlx::query("INSERT INTO meta (key, value) VALUES ('secret', ?) ON CONFLICT DO NOTHING")
            .bind(&fresh[..])
            .execute(&mut *self.connection)
            .await?;
        let stored = sqlx::query("SELECT value FROM meta WHERE key = 'secret'")
            .fetch_one(&mut *self.connection)
            .await?;
        row::bytes(&stored, "value")
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
        sqlx::query("DELETE FROM sessions WHERE id = ?")
            .bind(id.as_slice())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn accept(&mut self, acceptance: Acceptance) -> Result<Acknowledged, LedgerError> {
        let mut session = self.open_row(acceptance.session).await?;
        let mut lane = self.load_lane(session.lane).await?;
        let (acknowledged, kept) = account::accept(&mut session.state, &mut lane, &acceptance);
        for position in kept {
            let ticket = &acceptance.tickets[position];
            if let Some(winner) = &ticket.winner {
                self.insert_winner(&acceptance, session.lane, ticket.nonce, winner).await?;
            }
        }
        session.used_ms = acceptance.now_ms;
        self.lanes.insert(session.lane, lane);
        self.sessions.insert(acceptance.session, session);
        Ok(acknowledged)
    }

    pub(super) async fn settle(&mut self, id: B256, held: Wei, actual: Wei) -> Result<Wei, LedgerError> {
        let mut session = self.open_row(id).await?;
        session.state.settle(held, actual);
        self.sessions.insert(id, session);
        Ok(session.state.credit)
    }

    pub(super) async fn release_holds(&mut self) -> Result<(), LedgerError> {
        self.flush().await?;
        let rows = sqlx::query("SELECT * FROM sessions WHERE held <> zeroblob(32)")
            .fetch_all(&mut *self.connection)
            .await?;
        for found in &rows {
            let mut session = row::session(found)?;
            session.state.release();
            self.write_session(row::hash(found, "id")?, &session).await?;
        }
        // Whoever remembered these sessions is dead: they must not hold the lanes of the living.
        sqlx::query("UPDATE sessions SET used_ms = 0").execute(&mut *self.connection).await?;
        Ok(())
    }

    pub(super) async fn retire_sessions(&mut self) -> Result<(), LedgerError> {
        self.flush().await?;
        sqlx::query("UPDATE sessions SET used_ms = 0").execute(&mut *self.connection).await?;
        Ok(())
    }

    /// The lane's state, all zero before its first session.
    pub(super) async fn load_lane(&mut self, id: LaneId) -> Result<LaneState, LedgerError> {
        if let Some(state) = self.lanes.get(&id) {
            return Ok(*state);
        }
        let found = sqlx::query("SELECT * FROM lanes WHERE sender = ? AND recipient = ? AND lane = ?")
            .bind(id.sender.as_slice())
            .bind(id.recipient.as_slice())
            .bind(row::int(id.lane))
            .fetch_optional(&mut *self.connection)
            .await?;
        found.as_ref().map_or(Ok(LaneState::default()), row::lane_state)
    }

    pub(super) async fn write_lane(&mut self, id: LaneId, state: &LaneState) -> Result<(), LedgerError> {
        sqlx::query(
            "UPDATE lanes SET serial = ?, retiring_ms = ?, highest = ?, floor = ?, seen = ?
             WHERE sender = ? AND recipient = ? AND lane = ?",
        )
        .bind(row::int(state.serial))
        .bind(state.retiring_ms.map(row::int))
        .bind(row::int(state.highest))
        .bind(row::int(state.floor))
        .bind(row::seen_bytes(state))
        .bind(id.sender.as_slice())
        .bind(id.recipient.as_slice())
        .bind(row::int(id.lane))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn load_session(&mut self, id: B256) -> Result<Option<row::SessionRow>, LedgerError> {
        if let Some(session) = self.sessions.get(&id) {
            return Ok(Some(*session));
        }
        sqlx::query("SELECT * FROM sessions WHERE id = ?")
            .bind(id.as_slice())
            .fetch_optional(&mut *self.connection)
            .await?
            .as_ref()
            .map(row::session)
            .transpose()
    }

    async fn open_row(&mut self, id: B256) -> Result<row::SessionRow, LedgerError> {
        self.load_session(id).await?.ok_or(LedgerError::UnknownSession(id))
    }

    async fn write_session(&mut self, id: B256, session: &row::SessionRow) -> Result<(), LedgerError> {
        sqlx::query("UPDATE sessions SET credit = ?, held = ?, tickets = ?, used_ms = ? WHERE id = ?")
            .bind(&session.state.credit.to_be_bytes()[..])
            .bind(&session.state.held.to_be_bytes()[..])
            .bind(row::int(session.state.tickets))
            .bind(row::int(session.used_ms))
            .bind(id.as_slice())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// The lowest lane without a session; failing that, the one of a session that gives way.
    async fn free_lane(&mut self, new: &NewSession) -> Result<LaneId, LedgerError> {
        let taken = sqlx::query("SELECT lane FROM sessions WHERE sender = ? AND recipient = ? ORDER BY lane")
            .bind(new.sender.as_slice())
            .bind(new.recipient.as_slice())
            .fetch_all(&mut *self.connection)
            .await?;
        let taken = taken.iter().map(|found| row::counter(found, "lane")).collect::<Result<Vec<_>, _>>()?;
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
        let candidate = sqlx::query(
            "SELECT id, lane FROM sessions
             WHERE sender = ? AND recipient = ? AND (tickets = 0 OR used_ms < ?)
             ORDER BY tickets > 0, used_ms LIMIT 1",
        )
        .bind(new.sender.as_slice())
        .bind(new.recipient.as_slice())
        .bind(row::int(new.idle_before_ms))
        .fetch_optional(&mut *self.connection)
        .await?;
        let Some(given) = candidate else {
            return Err(LedgerError::TooManySessions { sender: new.sender, lanes: new.max_lanes });
        };
        self.close_session(row::hash(&given, "id")?).await?;
        row::counter(&given, "lane")
    }

    async fn seat(&mut self, new: &NewSession, lane: LaneId) -> Result<(), LedgerError> {
        let zero = Wei::ZERO.to_be_bytes();
        sqlx::query(
            "INSERT INTO lanes (sender, recipient, lane, serial, highest, floor, seen)
             VALUES (?, ?, ?, 0, 0, 0, ?) ON CONFLICT DO NOTHING",
        )
        .bind(lane.sender.as_slice())
        .bind(lane.recipient.as_slice())
        .bind(row::int(lane.lane))
        .bind(row::seen_bytes(&LaneState::default()))
        .execute(&mut *self.connection)
        .await?;
        sqlx::query(
            "INSERT INTO sessions
             (id, sender, recipient, lane, face_value, win_prob, credit, held, tickets, used_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        )
        .bind(new.id.as_slice())
        .bind(lane.sender.as_slice())
        .bind(lane.recipient.as_slice())
        .bind(row::int(lane.lane))
        .bind(&new.face_value.to_be_bytes()[..])
        .bind(&new.win_prob.0.to_be_bytes::<32>()[..])
        .bind(&zero[..])
        .bind(&zero[..])
        .bind(row::int(new.now_ms))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn insert_winner(
        &mut self,
        acceptance: &Acceptance,
        lane: LaneId,
        nonce: u64,
        winner: &NewWinner,
    ) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO winners (sender, recipient, lane, nonce, serial, scheme, ticket, accepted_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(lane.sender.as_slice())
        .bind(lane.recipient.as_slice())
        .bind(row::int(lane.lane))
        .bind(row::int(nonce))
        .bind(row::int(acceptance.serial))
        .bind(i64::from(scheme_byte(winner.scheme)))
        .bind(&encode_winning(&winner.ticket)[..])
        .bind(row::int(acceptance.now_ms))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    pub(super) async fn pending_value(&mut self, sender: Address) -> Result<Wei, LedgerError> {
        let rows = sqlx::query("SELECT ticket FROM winners WHERE sender = ? AND state < 2")
            .bind(sender.as_slice())
            .fetch_all(&mut *self.connection)
            .await?;
        let mut sum = Wei::ZERO;
        for found in &rows {
            let ticket = crate::codec::decode_winning(found.try_get("ticket")?);
            let ticket = ticket.ok_or(LedgerError::Corrupt("ticket"))?;
            sum = sum.saturating_add(ticket.signed.ticket.face_value);
        }
        Ok(sum)
    }
}
