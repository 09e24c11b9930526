//! A sender pays a recipient with lottery tickets, and the winners become money: all in memory but
//! the ledgers. Run with `cargo run -p probabilistic-ticket --example lottery`.

use std::error::Error;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use probabilistic_ticket::memory::MemoryBroker;
use probabilistic_ticket::{
    Broker, BrokerView, Domain, EthKey, Recipient, RecipientConfig, RecipientError, RedeemPolicy, Redeemer,
    Sender, SenderConfig, SenderFunds, SenderSession, SqliteLedger, SystemClock, TicketParams, Wei,
    WorkOutcome,
};

const SEGMENTS: usize = 200;
const PRICE: u64 = 2_500_000_000_000;
const DEPOSIT: u64 = 1_000_000_000_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let domain = Domain::new(31_337, Address::repeat_byte(0xbb));
    let key = EthKey::random();
    let earner = EthKey::random().address();

    // The chain: a deposit stands behind the sender.
    let broker = Arc::new(MemoryBroker::new(domain, earner));
    broker.set_gas_price(Wei::from(1_000_000));
    broker.fund(key.address(), SenderFunds { deposit: Wei::from(DEPOSIT), ..SenderFunds::default() });

    // The recipient quotes a session and issues ticket parameters.
    let books = Arc::new(SqliteLedger::open(dir.path().join("recipient.db")).await?);
    let config = RecipientConfig::new(earner, domain);
    let recipient = Recipient::open(config, books.clone(), broker.clone(), Arc::new(SystemClock)).await?;
    let session = B256::repeat_byte(1);
    let mut params = recipient.open_session(key.address(), session).await?;
    println!("a ticket pays {} wei and is worth {} wei", params.face_value, params.ticket_value());

    // The sender opens the same session on its side.
    let purse = Arc::new(SqliteLedger::open(dir.path().join("sender.db")).await?);
    let sender =
        Sender::open(key, SenderConfig::new(domain), purse, broker.clone(), Arc::new(SystemClock)).await?;
    let max_outstanding = Wei::from(2 * PRICE);
    sender
        .open_session(SenderSession { id: session, stream: B256::ZERO, recipient: earner, max_outstanding })
        .await?;

    let redeemer = Redeemer::new(RedeemPolicy::default(), books, broker.clone(), Arc::new(SystemClock));
    let (mut tickets, mut winners) = (0, 0);
    for segment in 0..SEGMENTS {
        let won = pay_for_a_segment(&sender, &recipient, &mut params).await?;
        tickets += won.0;
        winners += won.1;
        if segment % 50 == 49 {
            redeemer.flush().await?;
            broker.mine();
        }
    }

    // What is left is redeemed; blocks make it final.
    let mut earned = Wei::ZERO;
    for _ in 0..12 {
        earned = earned.saturating_add(redeemer.flush().await?.paid_value);
        broker.mine();
    }
    let left = broker.funds(sender.address(), earner).await?.deposit;
    println!("{SEGMENTS} segments of {PRICE} wei: {tickets} tickets, {winners} won");
    println!("{earned} wei are final, {left} wei of the deposit are left");
    println!("highest nonce paid in the lane: {}", broker.lane_nonce(sender.address(), params.lane).await?);
    Ok(())
}

/// Pays, does the work (here: nothing), settles. Returns tickets sent and won.
async fn pay_for_a_segment(
    sender: &Sender,
    recipient: &Recipient,
    params: &mut TicketParams,
) -> Result<(u64, u64), Box<dyn Error>> {
    let cost = Wei::from(PRICE);
    let session = params.session;
    let mut tickets = 0;
    let accepted = loop {
        let payment = sender.pay(session, params, cost).await?;
        tickets += payment.tickets;
        match recipient.accept(session, &payment.bytes, cost).await {
            Ok(accepted) => break accepted,
            // A redemption has revealed the secret behind the parameters: go on with fresh ones.
            Err(RecipientError::Refused(refusal)) if refusal.reason.wants_fresh_params() => {
                sender.record(session, cost, WorkOutcome::Refused(payment.value)).await?;
                *params = recipient.params(session).await?;
            }
            Err(error) => return Err(error.into()),
        }
    };
    recipient.settle(session, accepted.held, cost).await?;
    sender.record(session, cost, WorkOutcome::Verified).await?;
    Ok((tickets, accepted.winners))
}
