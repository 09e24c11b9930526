//! Whether a recipient's parameters make sense for us: pure.

use alloy_primitives::Address;

use super::{SenderCaps, SenderError, SenderSession};
use crate::params::TicketParams;
use crate::reason::Reason;
use crate::ticket::{Domain, Scheme};
use crate::units::{Round, Wei, WinProb};

/// What a ticket of a session pays and how likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    face_value: Wei,
    win_prob: WinProb,
}

/// What we know ourselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    pub(super) domain: Domain,
    pub(super) scheme: Scheme,
    pub(super) sender: Address,
    pub(super) session: SenderSession,
    /// Those that were paid on before.
    pub(super) terms: Option<Terms>,
    pub(super) round: Round,
    pub(super) deposit: Wei,
}

/// Refuses parameters that would pay somebody else, elsewhere, too much at once, nothing, or otherwise than before. Returns
/// the terms, to hold the session to.
pub(super) fn params(params: &TicketParams, trust: &Trust, caps: &SenderCaps) -> Result<Terms, SenderError> {
    parties(params, trust).map_err(SenderError::Params)?;
    let terms = unchanged(params, trust).map_err(SenderError::Params)?;
    if params.expires < trust.round {
        return Err(SenderError::Expired { expires: params.expires, now: trust.round });
    }
    face_value(params.face_value, trust.deposit, caps)?;
    let value = params.ticket_value();
    if value.is_zero() || value > caps.ticket_value {
        return Err(SenderError::TicketValue { value, bound: caps.ticket_value });
    }
    Ok(terms)
}

fn unchanged(params: &TicketParams, trust: &Trust) -> Result<Terms, Reason> {
    let terms = Terms { face_value: params.face_value, win_prob: params.win_prob };
    match trust.terms {
        Some(agreed) if agreed.face_value != terms.face_value => Err(Reason::WrongFaceValue),
        Some(agreed) if agreed.win_prob != terms.win_prob => Err(Reason::WrongWinProb),
        _ => Ok(terms),
    }
}

fn parties(params: &TicketParams, trust: &Trust) -> Result<(), Reason> {
    if params.domain != trust.domain || params.scheme != trust.scheme {
        return Err(Reason::WrongDomain);
    }
    if params.recipient != trust.session.recipient {
        return Err(Reason::WrongRecipient);
    }
    if params.sender != trust.sender {
        return Err(Reason::WrongSender);
    }
    if params.session != trust.session.id {
        return Err(Reason::WrongLane);
    }
    Ok(())
}

fn face_value(face_value: Wei, deposit: Wei, caps: &SenderCaps) -> Result<(), SenderError> {
    let bound = deposit.mul_div(1, caps.deposit_multiplier).unwrap_or(Wei::ZERO);
    if face_value > bound { Err(SenderError::FaceValue { face_value, bound }) } else { Ok(()) }
}
