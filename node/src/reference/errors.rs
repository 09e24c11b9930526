//! Every error on the wire.

use framemill_network::{MAX_MESSAGE_BYTES, Retry, WireCode};

use super::{code, table};

const INTRODUCTION: &str = "# Errors on the wire

A peer that refuses says a code, a message for people and, where a wait helps, for how long. Codes keep their number and name;
after one that it does not know, a peer goes elsewhere. Logs, reports of attempts and metrics have the names.

";

/// What Framemill's own broadcaster does after each.
const ADVICE: [(Retry, &str); 5] = [
    (
        Retry::Here,
        "The same request may go to the same peer, not before the wait that the error tells. The broadcaster turns to another orchestrator for this segment meanwhile.",
    ),
    (
        Retry::Repay,
        "The same peer takes the request with a new payment, from the ticket parameters that came with the error. The broadcaster pays again at once, a bounded number of times in one attempt; without parameters it goes elsewhere.",
    ),
    (
        Retry::Requote,
        "The session is over, and the same peer will sell after a new quote. The broadcaster drops the session and asks for one.",
    ),
    (
        Retry::Elsewhere,
        "Another peer may do it. The broadcaster gives the segment to another, and notes the failure, unless the reason is its own deposit or price ceiling.",
    ),
    (Retry::Never, "The request itself is wrong and is not repeated as it is."),
];

pub(super) fn markdown() -> String {
    let rows = WireCode::ALL.iter().map(|wire| {
        [
            wire.number().to_string(),
            code(wire.as_str()),
            wire.retry().as_str().to_owned(),
            wire.meaning().to_owned(),
        ]
    });
    let codes = table(["number", "code", "the same request may be retried", "meaning"], rows);
    let advice = table(
        ["may be retried", "what comes next"],
        ADVICE.map(|(retry, next)| [retry.as_str().to_owned(), next.to_owned()]),
    );
    format!(
        "{INTRODUCTION}{codes}\nA message has at most {MAX_MESSAGE_BYTES} bytes and no line breaks.\n\n## What a peer does next\n\n{advice}"
    )
}
