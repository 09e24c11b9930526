//! The vectors in `vectors/` are what this crate computes, and agree with independent sources: the
//! EIP-712 encoder of alloy, and the published Livepeer values. `forge test` executes the same files.
//! Set `UPDATE_VECTORS=1` to write them anew.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_sol_types::{SolStruct, eip712_domain};
use probabilistic_ticket::{Domain, EthKey, Round, Scheme, SignedTicket, Ticket, Wei, WinProb, rand_hash};
use serde_json::{Value, json};

alloy_sol_types::sol! {
    struct SolTicket {
        address recipient;
        address sender;
        uint256 faceValue;
        uint256 winProb;
        uint64 lane;
        uint64 senderNonce;
        bytes32 salt;
        bytes32 recipientRandHash;
        uint64 creationRound;
        bytes32 creationRoundBlockHash;
    }
}

const X: B256 = b256!("41b1a0649752af1b28b3dc29a1556eee781e4a4c3a1f7f53f90fa834de098c4d");

fn word(label: &str) -> B256 {
    keccak256(label)
}

fn number(label: &str) -> U256 {
    U256::from_be_bytes(word(label).0)
}

fn sender_key() -> EthKey {
    EthKey::from_bytes(&word("framemill vector sender").0).unwrap()
}

fn domain() -> Domain {
    Domain::new(31_337, Address::from_slice(&word("framemill vector broker")[12..]))
}

fn recipient() -> Address {
    Address::from_slice(&word("framemill vector recipient")[12..])
}

/// Tickets that cover small and large fields, certain winners and certain losers.
fn native_tickets() -> Vec<(Ticket, U256)> {
    let probabilities = [U256::MAX, U256::ZERO, U256::MAX >> 1, U256::MAX >> 1, U256::from(1)];
    let mut tickets: Vec<_> = probabilities
        .into_iter()
        .enumerate()
        .map(|(index, win_prob)| {
            let rand = number(&format!("framemill vector rand {index}"));
            let ticket = Ticket {
                recipient: recipient(),
                sender: sender_key().address(),
                face_value: Wei::from(1_000_000_000_000_000 * (index as u64 + 1)),
                win_prob: WinProb(win_prob),
                lane: index as u64 % 2,
                sender_nonce: index as u64 + 1,
                salt: word(&format!("framemill vector salt {index}")),
                recipient_rand_hash: rand_hash(rand),
                creation_round: Round(7),
                creation_round_block_hash: word("framemill vector round 7"),
            };
            (ticket, rand)
        })
        .collect();
    tickets.push((
        Ticket {
            recipient: Address::repeat_byte(0xff),
            sender: sender_key().address(),
            face_value: Wei::MAX,
            win_prob: WinProb::MAX,
            lane: u64::MAX,
            sender_nonce: u64::MAX,
            salt: B256::repeat_byte(0xff),
            recipient_rand_hash: rand_hash(U256::MAX),
            creation_round: Round(u64::MAX),
            creation_round_block_hash: B256::repeat_byte(0xff),
        },
        U256::MAX,
    ));
    tickets
}

fn ticket_json(scheme: Scheme, ticket: Ticket, rand: U256) -> Value {
    let domain = domain();
    let signed = scheme.sign(ticket, &domain, &sender_key());
    let digest = scheme.digest(&ticket, &domain);
    let draw = scheme.draw(digest, &signed.signature, rand);
    json!({
        "recipient": ticket.recipient,
        "sender": ticket.sender,
        "faceValue": ticket.face_value.to_string(),
        "winProb": ticket.win_prob.to_string(),
        "lane": ticket.lane.to_string(),
        "senderNonce": ticket.sender_nonce.to_string(),
        "salt": ticket.salt,
        "recipientRand": rand.to_string(),
        "recipientRandHash": ticket.recipient_rand_hash,
        "creationRound": ticket.creation_round.to_string(),
        "creationRoundBlockHash": ticket.creation_round_block_hash,
        "digest": digest,
        "signature": format!("0x{}", alloy_primitives::hex::encode(signed.signature.as_bytes())),
        "draw": draw.to_string(),
        "wins": signed.wins(scheme, &domain, rand),
    })
}

fn native_vectors() -> Value {
    let domain = domain();
    let tickets: Vec<_> = native_tickets()
        .into_iter()
        .map(|(ticket, rand)| ticket_json(Scheme::Native, ticket, rand))
        .collect();
    json!({
        "domain": {
            "name": "Framemill TicketBroker",
            "version": "1",
            "chainId": domain.chain_id().to_string(),
            "verifyingContract": domain.broker(),
            "separator": domain.separator(),
        },
        "ticketType": probabilistic_ticket::ticket::TICKET_TYPE,
        "senderKey": word("framemill vector sender"),
        "count": tickets.len(),
        "tickets": tickets,
    })
}

/// Fields of the published Livepeer vectors with the digest each must have.
fn livepeer_published() -> Vec<(Ticket, B256)> {
    vec![
        (
            Ticket { sender_nonce: 1, ..Ticket::default() },
            b256!("ce0918ba94518293e9712effbe5fca4f1f431089833a5b8c257cb1e024595f68"),
        ),
        (
            Ticket { face_value: Wei::from(1), win_prob: WinProb(U256::from(500)), ..Ticket::default() },
            b256!("87ef13f2d37e4d5352a01d3c77b8179d80e0887f1953bfabfd0bfd7b0f689ddd"),
        ),
        (
            Ticket { face_value: Wei::from(500), win_prob: WinProb(U256::from(1)), ..Ticket::default() },
            b256!("aa4b35071043587992ac8b9dd1b2cf1d8311130e6458cf0b2342484e21af5f5b"),
        ),
        (
            Ticket { recipient_rand_hash: X, ..Ticket::default() },
            b256!("be5eaf9a49a39540b9bb02f1a21904f61324a29819e2c032824bfaa10c100b17"),
        ),
        (
            Ticket { creation_round: Round(10), creation_round_block_hash: X, ..Ticket::default() },
            b256!("e502907c16036ab3d11b78c5a2e93c20f3d6415c67f91de4ed01348182b3b2e2"),
        ),
    ]
}

fn livepeer_vectors() -> Value {
    let tickets: Vec<_> = livepeer_published()
        .into_iter()
        .map(|(ticket, _)| ticket_json(Scheme::Livepeer, ticket, number("framemill vector rand 0")))
        .collect();
    json!({
        "senderKey": word("framemill vector sender"),
        "count": tickets.len(),
        "tickets": tickets,
    })
}

fn win_prob_vectors() -> Value {
    let cases = [(5, 10_001), (1, 2), (1, 1), (7, 3), (1_000_000_000_000, 750_000_000_000_000)];
    let rows: Vec<_> = cases
        .into_iter()
        .map(|(expected, face)| {
            let win_prob = WinProb::for_expected_value(Wei::from(expected), Wei::from(face)).unwrap();
            json!({
                "expectedValue": expected.to_string(),
                "faceValue": face.to_string(),
                "winProb": win_prob.to_string(),
            })
        })
        .collect();
    json!({ "count": rows.len(), "cases": rows })
}

fn assert_current(name: &str, computed: &Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let text = format!("{}\n", serde_json::to_string_pretty(computed).unwrap());
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
}

#[test]
fn committed_vectors_are_what_the_crate_computes() {
    assert_current("native.json", &native_vectors());
    assert_current("livepeer.json", &livepeer_vectors());
    assert_current("win_prob.json", &win_prob_vectors());
}

#[test]
fn native_digest_is_the_eip712_hash_of_an_independent_encoder() {
    let ours = domain();
    let theirs = eip712_domain! {
        name: "Framemill TicketBroker",
        version: "1",
        chain_id: ours.chain_id(),
        verifying_contract: ours.broker(),
    };
    assert_eq!(ours.separator(), theirs.separator());
    for (ticket, _) in native_tickets() {
        let sol = SolTicket {
            recipient: ticket.recipient,
            sender: ticket.sender,
            faceValue: ticket.face_value.0,
            winProb: ticket.win_prob.0,
            lane: ticket.lane,
            senderNonce: ticket.sender_nonce,
            salt: ticket.salt,
            recipientRandHash: ticket.recipient_rand_hash,
            creationRound: ticket.creation_round.0,
            creationRoundBlockHash: ticket.creation_round_block_hash,
        };
        // The struct carries another name here, so only its fields are taken from the encoder.
        let fields = sol.eip712_encode_data();
        let type_hash = keccak256(probabilistic_ticket::ticket::TICKET_TYPE);
        let struct_hash = keccak256([type_hash.as_slice(), &fields].concat());
        let message = [b"\x19\x01", theirs.separator().as_slice(), struct_hash.as_slice()].concat();
        assert_eq!(Scheme::Native.digest(&ticket, &ours), keccak256(message));
    }
}

#[test]
fn native_type_string_is_what_an_independent_encoder_writes() {
    let theirs = SolTicket::eip712_encode_type().replace("SolTicket", "Ticket");
    assert_eq!(theirs, probabilistic_ticket::ticket::TICKET_TYPE);
}

#[test]
fn livepeer_digests_match_the_published_ones() {
    for (ticket, digest) in livepeer_published() {
        assert_eq!(Scheme::Livepeer.digest(&ticket, &domain()), digest, "{ticket:?}");
    }
}

#[test]
fn livepeer_signature_is_eip191_over_the_digest() {
    let (ticket, digest) = livepeer_published()[0];
    let message = [b"\x19Ethereum Signed Message:\n32".as_slice(), digest.as_slice()].concat();
    let signature = sender_key().sign_digest(keccak256(message));
    let signed = SignedTicket { ticket, signature };
    assert_eq!(signed.signer(Scheme::Livepeer, &domain()), Ok(sender_key().address()));
}

#[test]
fn win_prob_for_an_expected_value_matches_the_published_one() {
    let published = "57890255593098787833002192285115442382396752657554526567072084795477017120";
    let computed = WinProb::for_expected_value(Wei::from(5), Wei::from(10_001)).unwrap();
    assert_eq!(computed.to_string(), published);
}
