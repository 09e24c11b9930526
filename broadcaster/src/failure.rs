//! How an attempt ends without a result, and what that means for its orchestrator and for the segment.

use std::time::{Duration, Instant};

use framemill_network::{NetworkError, ProtocolError, Retry, WireCode, WireError};
use framemill_verification::evidence::Draw;
use probabilistic_ticket::{LedgerError, SenderError, Wei};

use crate::attempt::millis_since;
use crate::check::Finding;
use crate::core::plan::Setback;
use crate::core::scoreboard::Severity;
use crate::event::AttemptOutcome;
use crate::sessions::Session;

/// Least wait before an orchestrator that said "busy" is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// Longest reason of a failed connection, in bytes.
const MAX_REASON: usize = 160;
/// Pause before a payment that passed one of our caps is tried again.
const CAP_PAUSE: Duration = Duration::from_millis(500);

/// How an attempt ended without a result.
pub(crate) struct Failure {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) setback: Setback,
    pub(crate) severity: Option<Severity>,
    /// The orchestrator has heard of it; otherwise it is no attempt.
    pub(crate) made_offer: bool,
    /// The session is of no more use.
    pub(crate) drop_session: bool,
    /// The orchestrator says that the source is at fault, or we found so ourselves.
    pub(crate) blames_source: Option<Blame>,
    /// Reports on a rejected result.
    pub(crate) reports: Vec<framemill_verification::Report>,
    /// The rendition of a rejected result that is at fault, where it is a single one.
    pub(crate) accused: Option<u32>,
    /// How the depth of its judgement was drawn.
    pub(crate) draw: Option<Box<Draw>>,
    /// It was delivered in time; only our checks were not over.
    pub(crate) is_unchecked: bool,
    /// Another was faster.
    pub(crate) is_outpaced: bool,
}

/// Who says that the source is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// One orchestrator: may be a lie.
    Peer,
    /// Our own checks.
    Ourselves,
}

impl Failure {
    pub(crate) fn new(outcome: AttemptOutcome, setback: Setback, severity: Option<Severity>) -> Self {
        Self {
            outcome,
            setback,
            severity,
            made_offer: true,
            drop_session: false,
            blames_source: None,
            reports: Vec::new(),
            accused: None,
            draw: None,
            is_unchecked: false,
            is_outpaced: false,
        }
    }

    /// Another was faster: no mark against the orchestrator.
    pub(crate) fn outpaced(began: Instant) -> Self {
        let outcome = AttemptOutcome::Outpaced { after_ms: millis_since(began) };
        Self { is_outpaced: true, ..Self::new(outcome, Setback::Failed, None) }
    }

    fn failed(code: &str, reason: String) -> Self {
        let outcome = AttemptOutcome::Failed { code: code.to_owned(), reason };
        Self::new(outcome, Setback::Failed, Some(Severity::Unavailable))
    }

    /// Our own checks took too long: no mark against the orchestrator, which did its work and is paid for it.
    pub(crate) fn unchecked() -> Self {
        let reason =
            "the segment's deadline passed before its result was checked; give verification more cores";
        let outcome = AttemptOutcome::Failed { code: "verification".into(), reason: reason.into() };
        Self { is_unchecked: true, ..Self::new(outcome, Setback::Failed, None) }
    }

    pub(crate) fn rejected(reason: String) -> Self {
        let mut failure =
            Self::new(AttemptOutcome::Rejected { reason }, Setback::Excluded, Some(Severity::Dishonest));
        failure.drop_session = true;
        failure
    }

    /// Our own side cannot or will not pay: no mark against the orchestrator, and no attempt either.
    pub(crate) fn payment(error: &SenderError, session: &Session) -> Self {
        let outcome = AttemptOutcome::Failed { code: "payment".into(), reason: error.to_string() };
        // A cap of the session is lifted by work that gets verified, if there is any; the others by the hour that passes.
        let passes = matches!(
            error,
            SenderError::Ledger(LedgerError::Limit { limit, .. })
                if !limit.is_of_session() || session.has_others_out()
        );
        let setback = if passes { Setback::Busy(CAP_PAUSE) } else { Setback::Failed };
        Self { drop_session: !passes, made_offer: false, ..Self::new(outcome, setback, None) }
    }

    /// It took money for nothing too often: nobody's attempt, and nothing more of this segment for it.
    pub(crate) fn defaulted(lost: Wei) -> Self {
        let reason =
            format!("sessions with {lost} wei paid for undone work ended lately; it is paid again later");
        let outcome = AttemptOutcome::Failed { code: "defaulted".into(), reason };
        Self { made_offer: false, ..Self::new(outcome, Setback::Excluded, None) }
    }

    /// An error of the orchestrator or the connection; `accepted` when the upload had begun.
    pub(crate) fn network(error: &NetworkError, accepted: bool) -> Self {
        match error {
            NetworkError::Refused(wire) => Self::wire(wire, accepted),
            NetworkError::Protocol(broken) if is_wrong_result(broken) => Self::rejected(broken.to_string()),
            other => Self::failed("connection", one_line(&other.to_string())),
        }
    }

    fn wire(error: &WireError, accepted: bool) -> Self {
        let (code, reason) = (error.code.as_str().to_owned(), error.message.clone());
        let outcome = if accepted {
            AttemptOutcome::Failed { code, reason }
        } else {
            AttemptOutcome::Refused { code, reason }
        };
        let mut failure = match error.code.retry() {
            Retry::Here => Self::new(outcome, Setback::Busy(error.retry_after.max(BUSY_PAUSE)), None),
            Retry::Requote => Self::new(outcome, Setback::Busy(BUSY_PAUSE), None),
            Retry::Repay => Self::new(outcome, Setback::Failed, Some(Severity::Unavailable)),
            Retry::Never => Self::new(outcome, Setback::Excluded, None),
            _ => Self::new(outcome, Setback::Failed, Some(Severity::Unavailable)),
        };
        failure.drop_session = error.code.retry() == Retry::Requote;
        match error.code {
            // Whether our deposit covers the work is no fault of who asks.
            WireCode::PaymentUnfunded | WireCode::PaymentUnlocking | WireCode::PriceTooLow => {
                failure.severity = None;
            }
            WireCode::BadMedia => failure.blames_source = Some(Blame::Peer),
            _ => {}
        }
        failure
    }
}

impl From<Finding> for Failure {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Rejected { reason, reports, accused, draw } => {
                Self { reports, accused, draw, ..Self::rejected(reason) }
            }
            Finding::Unjudgeable(reason) => {
                let outcome = AttemptOutcome::Failed { code: "source".into(), reason };
                let failure = Self::new(outcome, Setback::Excluded, None);
                Self { blames_source: Some(Blame::Ourselves), ..failure }
            }
        }
    }
}

/// A transport's error on one line of a table: it names every address tried, one below the other.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = words.floor_char_boundary(MAX_REASON);
    if cut < words.len() { format!("{}…", &words[..cut]) } else { words }
}

/// Breaches by which an orchestrator sent something other than what was asked for, as opposed to nothing at all.
fn is_wrong_result(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::RenditionIndex { .. }
            | ProtocolError::RenditionTooLong { .. }
            | ProtocolError::RenditionMismatch { .. }
            | ProtocolError::RenditionsMissing { .. }
            | ProtocolError::ReceiptMismatch { .. }
    )
}
