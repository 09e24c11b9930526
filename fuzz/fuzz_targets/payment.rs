//! Payments as they come over the wire: what decodes, encodes to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use probabilistic_ticket::{TicketBatch, TicketParams};

fuzz_target!(|data: &[u8]| {
    if let Ok(batch) = TicketBatch::decode(data) {
        assert_eq!(batch.encode().expect("a batch that was decoded"), data);
    }
    if let Ok(params) = TicketParams::decode(data) {
        assert_eq!(params.encode().as_slice(), data);
    }
});
