//! Payments as they come over the wire: what decodes, encodes to the same bytes, and each of its tickets can be judged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use probabilistic_ticket::ledger::LaneState;
use probabilistic_ticket::params::RecipientSecret;
use probabilistic_ticket::{SignedTicket, TicketBatch, TicketParams, Wei};

fuzz_target!(|data: &[u8]| {
    if let Ok(batch) = TicketBatch::decode(data) {
        assert_eq!(batch.encode().expect("a batch that was decoded"), data);
        judge(&batch);
    }
    if let Ok(params) = TicketParams::decode(data) {
        assert_eq!(params.encode().as_slice(), data);
        sense(&params);
    }
});

/// What a recipient does with tickets, less what needs its books.
fn judge(batch: &TicketBatch) {
    let TicketParams { scheme, domain, .. } = batch.params;
    let rand = RecipientSecret::from_bytes([7; 32]).rand(&batch.params);
    let mut lane = LaneState::default();
    for ticket in &batch.tickets {
        let signed = SignedTicket {
            ticket: batch.params.ticket(ticket.nonce, ticket.salt),
            signature: ticket.signature,
        };
        let _ = signed.signer(scheme, &domain);
        let _ = signed.wins(scheme, &domain, rand);
        let highest = lane.highest;
        match lane.admit(ticket.nonce, 10_000) {
            Ok(()) => assert!(highest == 0 || ticket.nonce <= highest.saturating_add(10_000)),
            Err(_) => assert_eq!(lane.highest, highest, "a refused nonce changes nothing"),
        }
        assert!(ticket.nonce == 0 || lane.admit(ticket.nonce, 0).is_err(), "no nonce twice");
    }
}

/// What a sender looks at in parameters, for any deposit.
fn sense(params: &TicketParams) {
    let value = params.ticket_value();
    assert!(value <= params.face_value, "a ticket is worth no more than it pays");
    let _ = value.saturating_mul(u64::MAX);
    let _ = Wei::MAX.div_ceil(value);
    assert!(RecipientSecret::from_bytes([7; 32]).open(params).is_none(), "nobody guesses a secret");
}
