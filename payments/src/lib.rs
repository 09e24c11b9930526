//! Probabilistic micropayments: tickets, sender, recipient, ledger and redeemer, with no knowledge of video or of any chain client.
//!
//! A [`Recipient`] issues [`TicketParams`] for a session; a [`Sender`] makes signed tickets from them, whose expected value
//! is what it owes; the recipient checks them, draws, and credits the session. A [`Redeemer`] turns winners into money. Who
//! calls it: the roles of a market, which carry parameters and tickets as opaque bytes and bring a [`Broker`] to read the chain
//! and to redeem with. `examples/lottery.rs` shows the whole way.
//!
//! What is promised or owed is in a [`Ledger`] on disk before a call returns: a process killed at any instruction loses no
//! winner, accepts no nonce twice and redeems nothing twice. [`Redeemer::run`] ends with its token; all else ends by being dropped.

pub mod codec;
pub mod key;
pub mod ledger;
pub mod memory;
pub mod params;
pub mod port;
pub mod reason;
pub mod recipient;
pub mod redeemer;
pub mod sender;
pub mod sequence;
pub mod ticket;
pub mod units;

pub use codec::{CodecError, MAX_PAYMENT_BYTES, MAX_TICKETS, PARAMS_BYTES, PaymentTicket, TicketBatch};
pub use key::{EthKey, KeyError, Signature, keccak256, recover};
pub use ledger::{
    Ledger, LedgerError, PostgresAddress, PostgresLedger, SenderLedger, SqliteLedger, WorkOutcome,
};
pub use params::{RecipientSecret, TicketParams};
pub use port::{
    Broker, BrokerError, BrokerView, ChainView, Clock, PreparedRedemption, SenderFunds, SystemClock,
    TicketResult, TxStatus, WinningTicket,
};
pub use reason::Reason;
pub use recipient::{
    Accepted, FundingRefusal, PaymentRefusal, Recipient, RecipientConfig, RecipientError, RefusedTicket,
};
pub use redeemer::{RedeemError, RedeemPolicy, RedeemReport, RedeemStep, Redeemer, StepGuard};
pub use sender::{Payment, Sender, SenderCaps, SenderConfig, SenderError, SenderSession};
pub use sequence::{SEQUENCE_WINDOW, SequenceWindow};
pub use ticket::{Domain, Scheme, SignedTicket, Ticket, rand_hash};
pub use units::{PPM, Round, Wei, WinProb};
