//! The canonical bytes of ticket parameters and payments: fixed layouts, big-endian, bounded.
//!
//! Both are opaque to whoever carries them. Decoding never panics, never allocates more than
//! [`MAX_PAYMENT_BYTES`], and accepts exactly what encoding produces.

use alloy_primitives::{Address, B256};

use crate::key::Signature;
use crate::params::TicketParams;
use crate::port::WinningTicket;
use crate::ticket::{Domain, Scheme, SignedTicket, Ticket};
use crate::units::{Round, Wei, WinProb};

/// The layout's version: the first byte of every encoding.
pub const CODEC_VERSION: u8 = 1;
/// Bytes of encoded [`TicketParams`].
pub const PARAMS_BYTES: usize = 2 + 8 + 3 * 20 + 5 * 32 + 5 * 8;
/// Bytes of one ticket within a payment: nonce, salt, signature.
pub const TICKET_BYTES: usize = 8 + 32 + 65;
/// Tickets in one payment. A segment costs a handful; more means the parameters do not fit the
/// price, and each ticket costs the recipient a signature recovery.
pub const MAX_TICKETS: usize = 128;
/// The largest encoded payment.
pub const MAX_PAYMENT_BYTES: usize = PARAMS_BYTES + 2 + MAX_TICKETS * TICKET_BYTES;

/// Why bytes are no parameters or no payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The length is not what the layout says.
    #[error("{what} is {got} bytes, want {want}; send the canonical encoding")]
    Length {
        /// What was decoded.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The length it must have.
        want: usize,
    },
    /// The version is unknown.
    #[error("encoding version {0}, this node speaks {CODEC_VERSION}; update the older side")]
    Version(u8),
    /// The signing scheme is unknown.
    #[error("scheme {0} is unknown; use 0 (native) or 1 (livepeer)")]
    Scheme(u8),
    /// More tickets than a payment may hold.
    #[error("{0} tickets in one payment, at most {MAX_TICKETS}; ask for parameters of higher value")]
    TooManyTickets(usize),
}

/// What varies between the tickets of one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaymentTicket {
    /// The ticket's number in its lane.
    pub nonce: u64,
    /// The sender's part of the draw.
    pub salt: B256,
    /// The sender's signature, not yet checked.
    pub signature: Signature,
}

/// Tickets on one set of parameters, as they travel with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketBatch {
    /// The parameters every ticket is made on, as the sender claims them.
    pub params: TicketParams,
    /// The tickets, at most [`MAX_TICKETS`].
    pub tickets: Vec<PaymentTicket>,
}

impl TicketParams {
    /// The canonical encoding, [`PARAMS_BYTES`] long.
    pub fn encode(&self) -> [u8; PARAMS_BYTES] {
        let mut out = Writer { bytes: [0; PARAMS_BYTES], at: 0 };
        out.put(&[CODEC_VERSION, scheme_byte(self.scheme)]);
        out.put(&self.domain.chain_id().to_be_bytes());
        out.put(self.domain.broker().as_slice());
        out.put(self.recipient.as_slice());
        out.put(self.sender.as_slice());
        out.put(self.session.as_slice());
        out.put(&self.face_value.to_be_bytes());
        out.put(&self.win_prob.0.to_be_bytes::<32>());
        out.put(&self.lane.to_be_bytes());
        out.put(&self.serial.to_be_bytes());
        out.put(&self.round.0.to_be_bytes());
        out.put(self.round_block_hash.as_slice());
        out.put(&self.expires.0.to_be_bytes());
        out.put(&self.nonce_floor.to_be_bytes());
        out.put(self.recipient_rand_hash.as_slice());
        out.bytes
    }

    /// The inverse of [`TicketParams::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let bytes: &[u8; PARAMS_BYTES] =
            bytes.try_into().map_err(|_| length("ticket parameters", bytes.len(), PARAMS_BYTES))?;
        let mut input = Reader { bytes };
        let [version, scheme] = input.take();
        if version != CODEC_VERSION {
            return Err(CodecError::Version(version));
        }
        let scheme = scheme_of(scheme)?;
        let chain_id = input.u64();
        let broker = input.address();
        Ok(Self {
            scheme,
            domain: Domain::new(chain_id, broker),
            recipient: input.address(),
            sender: input.address(),
            session: input.word(),
            face_value: Wei::from_be_bytes(input.take()),
            win_prob: WinProb(input.word().into()),
            lane: input.u64(),
            serial: input.u64(),
            round: Round(input.u64()),
            round_block_hash: input.word(),
            expires: Round(input.u64()),
            nonce_floor: input.u64(),
            recipient_rand_hash: input.word(),
        })
    }
}

impl TicketBatch {
    /// The canonical encoding. At most [`MAX_TICKETS`] tickets are written; a longer batch is
    /// refused.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let count = self.tickets.len();
        let announced = u16::try_from(count)
            .ok()
            .filter(|_| count <= MAX_TICKETS)
            .ok_or(CodecError::TooManyTickets(count))?;
        let mut bytes = Vec::with_capacity(PARAMS_BYTES + 2 + count * TICKET_BYTES);
        bytes.extend_from_slice(&self.params.encode());
        bytes.extend_from_slice(&announced.to_be_bytes());
        for ticket in &self.tickets {
            bytes.extend_from_slice(&ticket.nonce.to_be_bytes());
            bytes.extend_from_slice(ticket.salt.as_slice());
            bytes.extend_from_slice(ticket.signature.as_bytes());
        }
        Ok(bytes)
    }

    /// The inverse of [`TicketBatch::encode`]. Signatures are taken as bytes: a malformed one costs
    /// its ticket, not the batch.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let header = PARAMS_BYTES + 2;
        let Some((head, body)) = bytes.split_at_checked(header) else {
            return Err(length("payment", bytes.len(), header));
        };
        let params = TicketParams::decode(&head[..PARAMS_BYTES])?;
        let count = usize::from(u16::from_be_bytes([head[header - 2], head[header - 1]]));
        if count > MAX_TICKETS {
            return Err(CodecError::TooManyTickets(count));
        }
        if body.len() != count * TICKET_BYTES {
            return Err(length("payment", bytes.len(), header + count * TICKET_BYTES));
        }
        let tickets = body.chunks_exact(TICKET_BYTES).map(payment_ticket).collect();
        Ok(Self { params, tickets })
    }
}

fn payment_ticket(bytes: &[u8]) -> PaymentTicket {
    let mut input = Reader { bytes };
    PaymentTicket { nonce: input.u64(), salt: input.word(), signature: Signature(input.take()) }
}

pub(crate) fn scheme_byte(scheme: Scheme) -> u8 {
    match scheme {
        Scheme::Native => 0,
        Scheme::Livepeer => 1,
    }
}

pub(crate) fn scheme_of(byte: u8) -> Result<Scheme, CodecError> {
    match byte {
        0 => Ok(Scheme::Native),
        1 => Ok(Scheme::Livepeer),
        other => Err(CodecError::Scheme(other)),
    }
}

fn length(what: &'static str, got: usize, want: usize) -> CodecError {
    CodecError::Length { what, got, want }
}

struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    fn put(&mut self, part: &[u8]) {
        let end = self.at + part.len();
        self.bytes[self.at..end].copy_from_slice(part);
        self.at = end;
    }
}

/// Reads fixed-size fields; whoever makes one has checked the total length.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) =
            self.bytes.split_first_chunk().expect("the caller checked the total length of the layout");
        self.bytes = rest;
        *head
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    fn word(&mut self) -> B256 {
        B256::new(self.take())
    }

    fn address(&mut self) -> Address {
        Address::new(self.take())
    }
}

/// Bytes of a stored winning ticket.
pub(crate) const WINNING_BYTES: usize = 2 * 20 + 7 * 32 + 3 * 8 + 65;

/// The stored form of a winning ticket.
pub(crate) fn encode_winning(winning: &WinningTicket) -> [u8; WINNING_BYTES] {
    let mut out = Writer { bytes: [0; WINNING_BYTES], at: 0 };
    let ticket = &winning.signed.ticket;
    out.put(ticket.recipient.as_slice());
    out.put(ticket.sender.as_slice());
    out.put(&ticket.face_value.to_be_bytes());
    out.put(&ticket.win_prob.0.to_be_bytes::<32>());
    out.put(&ticket.lane.to_be_bytes());
    out.put(&ticket.sender_nonce.to_be_bytes());
    out.put(ticket.salt.as_slice());
    out.put(ticket.recipient_rand_hash.as_slice());
    out.put(&ticket.creation_round.0.to_be_bytes());
    out.put(ticket.creation_round_block_hash.as_slice());
    out.put(winning.signed.signature.as_bytes());
    out.put(&winning.recipient_rand.to_be_bytes::<32>());
    out.bytes
}

/// The inverse of [`encode_winning`]; `None` when the length is another.
pub(crate) fn decode_winning(bytes: &[u8]) -> Option<WinningTicket> {
    let bytes: &[u8; WINNING_BYTES] = bytes.try_into().ok()?;
    let mut input = Reader { bytes };
    let ticket = Ticket {
        recipient: input.address(),
        sender: input.address(),
        face_value: Wei::from_be_bytes(input.take()),
        win_prob: WinProb(input.word().into()),
        lane: input.u64(),
        sender_nonce: input.u64(),
        salt: input.word(),
        recipient_rand_hash: input.word(),
        creation_round: Round(input.u64()),
        creation_round_block_hash: input.word(),
    };
    let signature = Signature(input.take());
    let recipient_rand = input.word().into();
    Some(WinningTicket { signed: SignedTicket { ticket, signature }, recipient_rand })
}
