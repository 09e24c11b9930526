//! Checks of a payment that need no ledger: pure, cheapest first.

use alloy_primitives::{B256, U256};

use super::RefusedTicket;
use super::funding::Terms;
use crate::codec::{PaymentTicket, TicketBatch};
use crate::ledger::{CheckedTicket, LaneId, NewWinner};
use crate::params::{RecipientSecret, TicketParams};
use crate::port::{ChainView, WinningTicket};
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme, SignedTicket};
use crate::units::Round;

/// What we know ourselves of the session a payment claims to be for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) scheme: Scheme,
    pub(super) domain: Domain,
    pub(super) session: B256,
    pub(super) lane: LaneId,
    pub(super) terms: Terms,
}

/// The rounds whose hashes we remember.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds {
    /// Newest last; at most [`Rounds::KEPT`].
    known: Vec<(Round, B256)>,
}

impl Rounds {
    /// Parameters outlive their round by a few grace rounds only.
    const KEPT: usize = 16;

    /// Learns the current round; a reorganization may have changed its hash.
    pub(super) fn observe(&mut self, chain: &ChainView) {
        self.known.retain(|(round, _)| *round < chain.round);
        if self.known.len() == Self::KEPT {
            self.known.remove(0);
        }
        self.known.push((chain.round, chain.round_block_hash));
    }

    fn hash(&self, wanted: Round) -> Option<B256> {
        self.known.iter().find(|(round, _)| *round == wanted).map(|(_, hash)| *hash)
    }

    fn current(&self) -> Round {
        self.known.last().map_or(Round(0), |(round, _)| *round)
    }
}

/// Checks what all tickets of a payment share and returns the secret behind its parameters.
pub(super) fn open_params(
    params: &TicketParams,
    expected: &Expected,
    rounds: &Rounds,
    secret: &RecipientSecret,
) -> Result<U256, Reason> {
    parties(params, expected)?;
    // The secret covers every field: parameters it opens are ours, word for word, so that only
    // time can have made them invalid. What it does not open is diagnosed field by field.
    let rand = secret.open(params);
    if rand.is_none() {
        terms(params, expected)?;
    }
    dates(params, rounds, rand.is_some())?;
    rand.ok_or(Reason::WrongRandHash)
}

fn parties(params: &TicketParams, expected: &Expected) -> Result<(), Reason> {
    if params.domain != expected.domain || params.scheme != expected.scheme {
        return Err(Reason::WrongDomain);
    }
    if params.recipient != expected.lane.recipient {
        return Err(Reason::WrongRecipient);
    }
    if params.sender != expected.lane.sender {
        return Err(Reason::WrongSender);
    }
    if params.session != expected.session || params.lane != expected.lane.lane {
        return Err(Reason::WrongLane);
    }
    Ok(())
}

fn terms(params: &TicketParams, expected: &Expected) -> Result<(), Reason> {
    if params.face_value != expected.terms.face_value {
        return Err(Reason::WrongFaceValue);
    }
    if params.win_prob != expected.terms.win_prob {
        return Err(Reason::WrongWinProb);
    }
    Ok(())
}

/// A round that we issued parameters for but no longer remember (after a restart) is trusted to the
/// secret; a claimed one is not.
fn dates(params: &TicketParams, rounds: &Rounds, ours: bool) -> Result<(), Reason> {
    match rounds.hash(params.round) {
        Some(hash) if hash != params.round_block_hash => return Err(Reason::WrongRoundHash),
        None if !ours => return Err(Reason::WrongRoundHash),
        _ => {}
    }
    if rounds.current() > params.expires {
        return Err(Reason::Expired);
    }
    Ok(())
}

/// Checks each ticket's signature and draws it. Costs one signature recovery per ticket.
pub(super) fn check_tickets(
    batch: &TicketBatch,
    recipient_rand: U256,
) -> (Vec<CheckedTicket>, Vec<RefusedTicket>) {
    let mut good = Vec::with_capacity(batch.tickets.len());
    let mut refused = Vec::new();
    for (index, claim) in batch.tickets.iter().enumerate() {
        match check_ticket(&batch.params, index, claim, recipient_rand) {
            Ok(checked) => good.push(checked),
            Err(reason) => refused.push(RefusedTicket { index, reason }),
        }
    }
    (good, refused)
}

fn check_ticket(
    params: &TicketParams,
    index: usize,
    claim: &PaymentTicket,
    recipient_rand: U256,
) -> Result<CheckedTicket, Reason> {
    let TicketParams { scheme, domain, .. } = *params;
    let signed = SignedTicket { ticket: params.ticket(claim.nonce, claim.salt), signature: claim.signature };
    let digest = scheme.digest(&signed.ticket, &domain);
    let signer = crate::key::recover(scheme.signing_hash(digest), &signed.signature);
    if signer != Ok(params.sender) {
        return Err(Reason::WrongSigner);
    }
    let won = scheme.draw(digest, &signed.signature, recipient_rand) < params.win_prob.0;
    let winner =
        won.then_some(NewWinner { scheme, domain, ticket: WinningTicket { signed, recipient_rand } });
    Ok(CheckedTicket { index, nonce: claim.nonce, winner })
}
