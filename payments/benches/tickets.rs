//! Tickets signed, validated and durably accepted per second, against bare libsecp256k1 and keccak
//! in the same run.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::{Address, B256, U256, keccak256};
use probabilistic_ticket::memory::{ManualClock, MemoryBroker};
use probabilistic_ticket::{
    Domain, EthKey, PaymentTicket, Recipient, RecipientConfig, SenderFunds, SignedTicket, SqliteLedger,
    TicketBatch, TicketParams, Wei,
};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SecretKey};

/// Tickets per timed pass; passes alternate between ours and the bare library.
const PASS: u64 = 2_000;
/// Odd, so that there is a median.
const PASSES: usize = 9;
/// Streams that pay at the same time.
const SESSIONS: u64 = 512;
/// Tickets that each of them sends.
const TICKETS_PER_SESSION: u64 = 80;

fn main() {
    let bench = Bench::new();
    let (signed, bare_signing) = alternate(|| bench.sign(), || bench.sign_bare());
    let (validated, bare_recovery) = alternate(|| bench.validate(), || bench.recover_bare());
    println!(
        "tickets signed        {signed:>8.0} /s   {:.2}x the time of bare libsecp256k1 + keccak",
        bare_signing / signed
    );
    println!(
        "tickets validated     {validated:>8.0} /s   {:.2}x the time of bare libsecp256k1 + keccak",
        bare_recovery / validated
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be started");
    for per_payment in [1, 8] {
        let rate = runtime.block_on(accept_durably(per_payment));
        println!(
            "tickets accepted      {rate:>8.0} /s   validated, on disk and synced; {per_payment} per payment"
        );
    }
}

/// Median rates of two ways to do the same, timed in turn so that both see the same machine.
fn alternate(ours: impl Fn(), bare: impl Fn()) -> (f64, f64) {
    let (mut our_rates, mut bare_rates) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        our_rates.push(rate(&ours));
        bare_rates.push(rate(&bare));
    }
    (median(our_rates), median(bare_rates))
}

fn rate(pass: impl Fn()) -> f64 {
    let start = Instant::now();
    pass();
    PASS as f64 / start.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

struct Bench {
    key: EthKey,
    secret: SecretKey,
    params: TicketParams,
    signed: Vec<SignedTicket>,
}

impl Bench {
    fn new() -> Self {
        let bytes = keccak256("bench sender").0;
        let key = EthKey::from_bytes(&bytes).expect("a hash is a key");
        let params = some_params(key.address());
        let sign = |nonce| params.scheme.sign(params.ticket(nonce, B256::ZERO), &params.domain, &key);
        let signed = (0..PASS).map(sign).collect();
        let secret = SecretKey::from_secret_bytes(bytes).expect("a hash is a key");
        Self { key, secret, params, signed }
    }

    fn sign(&self) {
        let params = &self.params;
        for nonce in 0..PASS {
            let ticket = params.ticket(nonce, B256::ZERO);
            black_box(params.scheme.sign(ticket, &params.domain, &self.key));
        }
    }

    /// The signature and the two hashes of an EIP-712 digest.
    fn sign_bare(&self) {
        for nonce in 0..PASS {
            let digest = bare_digest(nonce);
            let message = Message::from_digest(digest.0);
            let signed = RecoverableSignature::sign_ecdsa_recoverable(message, &self.secret);
            black_box(signed.serialize_compact());
        }
    }

    fn validate(&self) {
        let TicketParams { scheme, domain, sender, .. } = self.params;
        for ticket in &self.signed {
            assert_eq!(ticket.signer(scheme, &domain), Ok(sender));
            black_box(ticket.wins(scheme, &domain, U256::from(7)));
        }
    }

    /// The recovery, the two hashes of the digest, the address's and the draw's.
    fn recover_bare(&self) {
        for (nonce, ticket) in (0..).zip(&self.signed) {
            let digest = bare_digest(nonce);
            let bytes = &ticket.signature.0;
            let id = RecoveryId::from_u8_masked(bytes[64] - 27);
            let parsed = RecoverableSignature::from_compact(&bytes[..64], id).expect("it was signed");
            // Any digest recovers to some key at the same cost.
            if let Ok(public) = parsed.recover_ecdsa(Message::from_digest(digest.0)) {
                black_box(keccak256(&public.serialize_uncompressed()[1..]));
            }
            black_box(keccak256([digest.0, [7; 32]].as_flattened()));
        }
    }
}

fn bare_digest(nonce: u64) -> B256 {
    let mut words = [0; 11 * 32];
    words[..8].copy_from_slice(&nonce.to_be_bytes());
    let mut message = [0; 66];
    message[34..].copy_from_slice(keccak256(words).as_slice());
    keccak256(message)
}

fn some_domain() -> Domain {
    Domain::new(31_337, Address::repeat_byte(0xbb))
}

fn some_params(sender: Address) -> TicketParams {
    TicketParams {
        scheme: probabilistic_ticket::Scheme::Native,
        domain: some_domain(),
        recipient: Address::repeat_byte(1),
        sender,
        session: B256::ZERO,
        face_value: Wei::from(1_000_000),
        win_prob: probabilistic_ticket::WinProb::MAX,
        lane: 0,
        serial: 0,
        round: probabilistic_ticket::Round(1),
        round_block_hash: B256::repeat_byte(2),
        expires: probabilistic_ticket::Round(2),
        nonce_floor: 0,
        recipient_rand_hash: B256::repeat_byte(3),
    }
}

/// Accepts payments through the recipient, each durable before it is acknowledged. Every session
/// pays one payment after the other, all sessions at the same time. The ledger lies below the target
/// folder: a folder in memory would sync for free.
async fn accept_durably(per_payment: u64) -> f64 {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder is writable");
    let ledger = SqliteLedger::open(dir.path().join("ledger.db")).await.expect("the ledger opens");
    let config = RecipientConfig::new(Address::repeat_byte(1), some_domain());
    let broker = Arc::new(MemoryBroker::new(config.domain, config.recipient));
    let clock = Arc::new(ManualClock::default());
    let recipient = Recipient::open(config, Arc::new(ledger), broker.clone(), clock).await;
    let recipient = recipient.expect("the books open");
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let key = EthKey::random();
        broker.fund(key.address(), SenderFunds { deposit: Wei::new(u128::MAX), ..SenderFunds::default() });
        let session = B256::from(U256::from(number));
        let params = recipient.open_session(key.address(), session).await.expect("the sender is funded");
        sessions.push((session, payments(&params, &key, per_payment)));
    }

    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (session, payments) in sessions {
        let recipient = recipient.clone();
        tasks.spawn(async move {
            for payment in payments {
                let accepted = recipient.accept(session, &payment, Wei::ZERO).await.expect("it is taken");
                assert_eq!(accepted.tickets, per_payment);
            }
        });
    }
    tasks.join_all().await;
    (SESSIONS * TICKETS_PER_SESSION) as f64 / start.elapsed().as_secs_f64()
}

fn payments(params: &TicketParams, key: &EthKey, per_payment: u64) -> Vec<Vec<u8>> {
    let sign = |nonce| {
        let signed = params.scheme.sign(params.ticket(nonce, B256::ZERO), &params.domain, key);
        PaymentTicket { nonce, salt: B256::ZERO, signature: signed.signature }
    };
    (0..TICKETS_PER_SESSION / per_payment)
        .map(|payment| {
            let first = payment * per_payment + 1;
            let tickets = (first..first + per_payment).map(sign).collect();
            TicketBatch { params: *params, tickets }.encode().expect("a payment holds them")
        })
        .collect()
}
