//! What is signed and how a ticket wins: the native and the Livepeer scheme.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

use crate::key::{EthKey, KeyError, Signature, keccak256, recover};
use crate::units::{Round, Wei, WinProb};

/// The EIP-712 name of the native scheme's domain.
pub const DOMAIN_NAME: &str = "Framemill TicketBroker";
/// The EIP-712 version of the native scheme's domain.
pub const DOMAIN_VERSION: &str = "1";
/// The EIP-712 type of a native ticket.
pub const TICKET_TYPE: &str = "Ticket(address recipient,address sender,uint256 faceValue,uint256 winProb,uint64 lane,uint64 senderNonce,bytes32 salt,bytes32 recipientRandHash,uint64 creationRound,bytes32 creationRoundBlockHash)";

const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";

/// What EIP-191 puts before a 32-byte message.
const EIP191_PREFIX: &[u8] = b"\x19Ethereum Signed Message:\n32";

static TICKET_TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(TICKET_TYPE));

/// The deployment a ticket is good for: one broker on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    chain_id: u64,
    broker: Address,
    separator: B256,
}

impl Domain {
    /// The domain of the `TicketBroker` at `broker` on chain `chain_id`.
    pub fn new(chain_id: u64, broker: Address) -> Self {
        let mut words = [0; 5 * 32];
        words[..32].copy_from_slice(keccak256(DOMAIN_TYPE).as_slice());
        words[32..64].copy_from_slice(keccak256(DOMAIN_NAME).as_slice());
        words[64..96].copy_from_slice(keccak256(DOMAIN_VERSION).as_slice());
        words[120..128].copy_from_slice(&chain_id.to_be_bytes());
        words[140..].copy_from_slice(broker.as_slice());
        Self { chain_id, broker, separator: keccak256(words) }
    }

    /// The EIP-155 chain id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The address of the `TicketBroker`.
    pub fn broker(&self) -> Address {
        self.broker
    }

    /// The EIP-712 domain separator.
    pub fn separator(&self) -> B256 {
        self.separator
    }
}

/// How a ticket is hashed, signed and drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// EIP-712 over chain and broker; the draw is over the digest and the recipient's secret, so a
    /// second encoding of a signature is not a second draw.
    #[default]
    Native,
    /// As Livepeer's nodes and contracts do it: no domain, no lane, no salt; the draw is over the
    /// signature.
    Livepeer,
}

/// A lottery ticket before it is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Who is paid.
    pub recipient: Address,
    /// Whose deposit pays.
    pub sender: Address,
    /// What a winning ticket pays.
    pub face_value: Wei,
    /// How likely it wins.
    pub win_prob: WinProb,
    /// Which of the pair's nonce sequences it counts in (native only).
    pub lane: u64,
    /// Its number in the lane, from 1.
    pub sender_nonce: u64,
    /// The sender's unpredictable part of the draw (native only).
    pub salt: B256,
    /// `keccak256` of the recipient's secret part of the draw.
    pub recipient_rand_hash: B256,
    /// The round it was made in.
    pub creation_round: Round,
    /// The block hash that the chain recorded for that round.
    pub creation_round_block_hash: B256,
}

impl Ticket {
    /// What the ticket is worth before the draw; see [`WinProb::expected_value`].
    pub fn expected_value(&self) -> Wei {
        self.win_prob.expected_value(self.face_value)
    }
}

impl Scheme {
    /// The ticket's identity: the EIP-712 digest (native) or Livepeer's ticket hash.
    pub fn digest(self, ticket: &Ticket, domain: &Domain) -> B256 {
        match self {
            Self::Native => native_digest(ticket, domain),
            Self::Livepeer => livepeer_digest(ticket),
        }
    }

    /// What the sender's key signs, given the ticket's digest.
    pub fn signing_hash(self, digest: B256) -> B256 {
        match self {
            Self::Native => digest,
            Self::Livepeer => {
                let mut message = [0; EIP191_PREFIX.len() + 32];
                message[..EIP191_PREFIX.len()].copy_from_slice(EIP191_PREFIX);
                message[EIP191_PREFIX.len()..].copy_from_slice(digest.as_slice());
                keccak256(message)
            }
        }
    }

    /// The lottery's draw: a ticket wins when it is below its win probability.
    pub fn draw(self, digest: B256, signature: &Signature, recipient_rand: U256) -> U256 {
        let rand = recipient_rand.to_be_bytes::<32>();
        let hash = match self {
            Self::Native => {
                let mut input = [0; 64];
                input[..32].copy_from_slice(digest.as_slice());
                input[32..].copy_from_slice(&rand);
                keccak256(input)
            }
            Self::Livepeer => {
                let mut input = [0; 97];
                input[..65].copy_from_slice(signature.as_bytes());
                input[65..].copy_from_slice(&rand);
                keccak256(input)
            }
        };
        U256::from_be_bytes(hash.0)
    }

    /// Signs a ticket.
    pub fn sign(self, ticket: Ticket, domain: &Domain, key: &EthKey) -> SignedTicket {
        let hash = self.signing_hash(self.digest(&ticket, domain));
        SignedTicket { ticket, signature: key.sign_digest(hash) }
    }
}

/// A ticket with its sender's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignedTicket {
    /// What was signed.
    pub ticket: Ticket,
    /// The sender's signature.
    pub signature: Signature,
}

impl SignedTicket {
    /// Who signed it.
    pub fn signer(&self, scheme: Scheme, domain: &Domain) -> Result<Address, KeyError> {
        let digest = scheme.digest(&self.ticket, domain);
        recover(scheme.signing_hash(digest), &self.signature)
    }

    /// Whether it wins with the recipient's secret.
    pub fn wins(&self, scheme: Scheme, domain: &Domain, recipient_rand: U256) -> bool {
        let digest = scheme.digest(&self.ticket, domain);
        scheme.draw(digest, &self.signature, recipient_rand) < self.ticket.win_prob.0
    }
}

/// `keccak256` of a recipient's secret as a 32-byte word.
pub fn rand_hash(recipient_rand: U256) -> B256 {
    keccak256(recipient_rand.to_be_bytes::<32>())
}

fn native_digest(ticket: &Ticket, domain: &Domain) -> B256 {
    let mut words = [0; 11 * 32];
    let mut word = |index: usize, bytes: &[u8]| {
        let end = (index + 1) * 32;
        words[end - bytes.len()..end].copy_from_slice(bytes);
    };
    word(0, TICKET_TYPE_HASH.as_slice());
    word(1, ticket.recipient.as_slice());
    word(2, ticket.sender.as_slice());
    word(3, &ticket.face_value.to_be_bytes());
    word(4, &ticket.win_prob.0.to_be_bytes::<32>());
    word(5, &ticket.lane.to_be_bytes());
    word(6, &ticket.sender_nonce.to_be_bytes());
    word(7, ticket.salt.as_slice());
    word(8, ticket.recipient_rand_hash.as_slice());
    word(9, &ticket.creation_round.0.to_be_bytes());
    word(10, ticket.creation_round_block_hash.as_slice());
    let mut message = [0; 66];
    message[..2].copy_from_slice(b"\x19\x01");
    message[2..34].copy_from_slice(domain.separator().as_slice());
    message[34..].copy_from_slice(keccak256(words).as_slice());
    keccak256(message)
}

/// Packed as `abi.encodePacked`; the round and its hash are left out when both are zero.
fn livepeer_digest(ticket: &Ticket) -> B256 {
    const WITHOUT_ROUND: usize = 20 + 20 + 4 * 32;
    const WITH_ROUND: usize = WITHOUT_ROUND + 2 * 32;
    let mut packed = [0; WITH_ROUND];
    packed[..20].copy_from_slice(ticket.recipient.as_slice());
    packed[20..40].copy_from_slice(ticket.sender.as_slice());
    packed[40..72].copy_from_slice(&ticket.face_value.to_be_bytes());
    packed[72..104].copy_from_slice(&ticket.win_prob.0.to_be_bytes::<32>());
    packed[128..136].copy_from_slice(&ticket.sender_nonce.to_be_bytes());
    packed[136..168].copy_from_slice(ticket.recipient_rand_hash.as_slice());
    packed[192..200].copy_from_slice(&ticket.creation_round.0.to_be_bytes());
    packed[200..].copy_from_slice(ticket.creation_round_block_hash.as_slice());
    let dated = ticket.creation_round.0 != 0 || !ticket.creation_round_block_hash.is_zero();
    let length = if dated { WITH_ROUND } else { WITHOUT_ROUND };
    keccak256(&packed[..length])
}
