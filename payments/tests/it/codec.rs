//! Codecs: exact round trips, and no panic on whatever a peer sends.

use alloy_primitives::{Address, B256, U256};
use probabilistic_ticket::codec::{MAX_PAYMENT_BYTES, MAX_TICKETS, PARAMS_BYTES};
use probabilistic_ticket::{
    CodecError, Domain, PaymentTicket, Reason, Round, Scheme, Signature, TicketBatch, TicketParams, Wei,
    WinProb, recover,
};
use proptest::collection::vec;
use proptest::prelude::*;

prop_compose! {
    fn params()(
        livepeer: bool,
        numbers: [u64; 6],
        words: [[u8; 32]; 5],
        addresses: [[u8; 20]; 3],
    ) -> TicketParams {
        TicketParams {
            scheme: if livepeer { Scheme::Livepeer } else { Scheme::Native },
            domain: Domain::new(numbers[0], Address::new(addresses[0])),
            recipient: Address::new(addresses[1]),
            sender: Address::new(addresses[2]),
            session: B256::new(words[0]),
            face_value: Wei::from_be_bytes(words[1]),
            win_prob: WinProb(U256::from_be_bytes(words[2])),
            lane: numbers[1],
            serial: numbers[2],
            round: Round(numbers[3]),
            round_block_hash: B256::new(words[3]),
            expires: Round(numbers[4]),
            nonce_floor: numbers[5],
            recipient_rand_hash: B256::new(words[4]),
        }
    }
}

prop_compose! {
    fn ticket()(nonce: u64, salt: [u8; 32], signature in vec(any::<u8>(), 65)) -> PaymentTicket {
        let signature = Signature(signature.try_into().unwrap());
        PaymentTicket { nonce, salt: B256::new(salt), signature }
    }
}

proptest! {
    #[test]
    fn params_survive_their_encoding(params in params()) {
        prop_assert_eq!(TicketParams::decode(&params.encode()), Ok(params));
    }

    #[test]
    fn payments_survive_their_encoding(params in params(), tickets in vec(ticket(), 0..8)) {
        let batch = TicketBatch { params, tickets };
        let bytes = batch.encode().unwrap();
        prop_assert!(bytes.len() <= MAX_PAYMENT_BYTES);
        prop_assert_eq!(TicketBatch::decode(&bytes), Ok(batch));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..1024)) {
        let _ = TicketParams::decode(&bytes);
        let _ = TicketBatch::decode(&bytes);
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(params in params(), flips in vec((0..PARAMS_BYTES, any::<u8>()), 0..4)) {
        let mut bytes = params.encode();
        for (at, value) in flips {
            bytes[at] = value;
        }
        if let Ok(decoded) = TicketParams::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }

    #[test]
    fn arbitrary_signatures_do_not_panic(digest: [u8; 32], signature in vec(any::<u8>(), 65)) {
        let _ = recover(B256::new(digest), &Signature(signature.try_into().unwrap()));
    }
}

fn some_batch(tickets: usize) -> TicketBatch {
    let params = TicketParams {
        scheme: Scheme::Native,
        domain: Domain::new(1, Address::ZERO),
        recipient: Address::ZERO,
        sender: Address::ZERO,
        session: B256::ZERO,
        face_value: Wei::ZERO,
        win_prob: WinProb::default(),
        lane: 0,
        serial: 0,
        round: Round(0),
        round_block_hash: B256::ZERO,
        expires: Round(0),
        nonce_floor: 0,
        recipient_rand_hash: B256::ZERO,
    };
    let ticket = PaymentTicket { nonce: 1, salt: B256::ZERO, signature: Signature([0; 65]) };
    TicketBatch { params, tickets: vec![ticket; tickets] }
}

#[test]
fn more_tickets_than_a_payment_holds_are_refused_on_both_sides() {
    assert_eq!(some_batch(MAX_TICKETS + 1).encode(), Err(CodecError::TooManyTickets(MAX_TICKETS + 1)));
    let mut bytes = some_batch(0).encode().unwrap();
    bytes[PARAMS_BYTES..].copy_from_slice(&u16::MAX.to_be_bytes());
    assert_eq!(TicketBatch::decode(&bytes), Err(CodecError::TooManyTickets(usize::from(u16::MAX))));
}

#[test]
fn truncated_and_padded_payments_are_refused() {
    let bytes = some_batch(2).encode().unwrap();
    for cut in 0..bytes.len() {
        assert!(TicketBatch::decode(&bytes[..cut]).is_err(), "{cut}");
    }
    let padded = [&bytes[..], &[0]].concat();
    assert!(matches!(TicketBatch::decode(&padded), Err(CodecError::Length { .. })));
}

#[test]
fn unknown_version_and_scheme_are_refused() {
    let mut bytes = some_batch(0).params.encode();
    bytes[0] = 9;
    assert_eq!(TicketParams::decode(&bytes), Err(CodecError::Version(9)));
    bytes[0] = 1;
    bytes[1] = 7;
    assert_eq!(TicketParams::decode(&bytes), Err(CodecError::Scheme(7)));
}

#[test]
fn reasons_have_stable_distinct_numbers_and_codes() {
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(usize::from(reason.number()), index + 1);
        assert_eq!(Reason::from_number(reason.number()), Some(*reason));
        let same_code = Reason::ALL.iter().filter(|other| other.code() == reason.code());
        assert_eq!(same_code.count(), 1, "{}", reason.code());
    }
}
