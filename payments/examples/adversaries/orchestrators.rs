//! Orchestrators that want money for nothing, against an honest broadcaster.

use std::sync::Arc;

use probabilistic_ticket::ledger::SpendingState;
use probabilistic_ticket::params::RecipientSecret;
use probabilistic_ticket::{
    PPM, Sender, SenderCaps, SenderConfig, SenderFunds, SenderSession, SqliteLedger, TicketParams, Wei,
    WinProb, WorkOutcome,
};

use crate::market::{Market, PRICE, domain, key, prices, segments, session};
use crate::table::Row;

/// Segments' prices that the broadcaster lets be out for work it has not verified.
const OUTSTANDING: u64 = 2;
/// Segments that a sly one delivers honestly before it stops.
const HONEST_SEGMENTS: u64 = 100;
/// A ticket worth more than this many segments is not paid with.
const DEAREST_TICKET: u64 = 10;
/// More payments than any adversary here gets.
const ENOUGH: u64 = 1_000;

pub(crate) async fn rows() -> Vec<Row> {
    vec![
        does_nothing(0).await,
        does_nothing(HONEST_SEGMENTS).await,
        refuses_what_it_got(0).await,
        refuses_what_it_got(HONEST_SEGMENTS).await,
        switches_terms().await,
        sells_dear_tickets().await,
    ]
}

/// An honest broadcaster, and the orchestrator that it pays.
struct Deal {
    _market: Market,
    sender: Sender,
    secret: RecipientSecret,
    params: TicketParams,
}

impl Deal {
    async fn open() -> Self {
        let market = Market::open(0, 1, PPM).await;
        let payer = key("honest broadcaster");
        let funds = SenderFunds { deposit: prices(1_000_000), ..SenderFunds::default() };
        market.chain.fund(payer.address(), funds);
        let ledger = SqliteLedger::open(market.folder.path().join("sender.db")).await.expect("a ledger");
        let caps = SenderCaps { ticket_value: prices(DEAREST_TICKET), ..SenderCaps::default() };
        let config = SenderConfig { caps, ..SenderConfig::new(domain()) };
        let chain = Arc::new(market.chain.clone());
        let sender = Sender::open(payer, config, Arc::new(ledger), chain, market.clock.clone()).await;
        let sender = sender.expect("the chain answers");
        let recipient = key("rogue orchestrator").address();
        let open = SenderSession {
            id: session(0),
            stream: session(0),
            recipient,
            max_outstanding: prices(OUTSTANDING),
        };
        sender.open_session(open).await.expect("a new session");
        let view = probabilistic_ticket::BrokerView::chain(&market.chain).await.expect("the chain answers");
        let secret = RecipientSecret::from_bytes([9; 32]);
        let params = secret.seal(TicketParams {
            scheme: probabilistic_ticket::Scheme::Native,
            domain: domain(),
            recipient,
            sender: sender.address(),
            session: session(0),
            face_value: prices(1),
            win_prob: WinProb::MAX,
            lane: 0,
            serial: 0,
            round: view.round,
            round_block_hash: view.round_block_hash,
            expires: view.round.saturating_add(1),
            nonce_floor: 0,
            recipient_rand_hash: alloy_primitives::B256::ZERO,
        });
        Self { _market: market, sender, secret, params }
    }

    /// Pays for one segment; false when the broadcaster does not any more.
    async fn pay(&self, params: &TicketParams) -> bool {
        self.sender.pay(session(0), params, Wei::from(PRICE)).await.is_ok()
    }

    async fn record(&self, outcome: WorkOutcome) -> SpendingState {
        let recorded = self.sender.record(session(0), Wei::from(PRICE), outcome).await;
        recorded.expect("the session is open")
    }

    async fn work(&self, segments: u64) {
        for _ in 0..segments {
            assert!(self.pay(&self.params).await, "verified work is paid for");
            self.record(WorkOutcome::Verified).await;
        }
    }

    /// What was paid for nothing.
    async fn lost(&self) -> u64 {
        let state = self.sender.close_session(session(0)).await.expect("the session is open");
        segments(state.paid.saturating_sub(state.verified))
    }
}

fn after(honest: u64) -> String {
    if honest == 0 { String::new() } else { format!("after {honest} honest segments ") }
}

/// Takes tickets and never answers.
async fn does_nothing(honest: u64) -> Row {
    let deal = Deal::open().await;
    deal.work(honest).await;
    for _ in 0..ENOUGH {
        if !deal.pay(&deal.params).await {
            break;
        }
    }
    let lost = deal.lost().await;
    Row {
        adversary: "orchestrator that takes tickets and does no work",
        does: format!("{}takes tickets and never answers", after(honest)),
        gained: lost,
        lost,
        bound: OUTSTANDING + 1,
        follows_from:
            "what may be out for work that is not verified, in each session, and the ticket that rounds it up"
                .to_owned(),
    }
}

/// Says that it refused the tickets, and keeps them; asks for others, so as to draw again.
async fn refuses_what_it_got(honest: u64) -> Row {
    let deal = Deal::open().await;
    deal.work(honest).await;
    for _ in 0..ENOUGH {
        if !deal.pay(&deal.params).await {
            break;
        }
        deal.record(WorkOutcome::Refused(Wei::from(PRICE))).await;
    }
    let lost = deal.lost().await;
    Row {
        adversary: "orchestrator that takes tickets and does no work",
        does: format!("{}says it refused them, keeps them, and draws others", after(honest)),
        gained: lost,
        lost,
        bound: OUTSTANDING + 2 + honest / 10,
        follows_from: "the same, one refusal more, and a tenth of the work that was verified".to_owned(),
    }
}

/// Quotes fair terms, and asks for more as soon as it has been paid once.
async fn switches_terms() -> Row {
    let deal = Deal::open().await;
    deal.work(1).await;
    let dearer = TicketParams { face_value: prices(DEAREST_TICKET), ..deal.params };
    let dearer = deal.secret.seal(dearer);
    for _ in 0..ENOUGH {
        assert!(!deal.pay(&dearer).await, "the terms are those of the first payment");
    }
    let lost = deal.lost().await;
    Row {
        adversary: "price switcher",
        does: format!("quotes a fair ticket, then asks for one worth {DEAREST_TICKET} times as much"),
        gained: lost,
        lost,
        bound: 0,
        follows_from: "terms are those of the session's first payment; prices are those of the stored quote"
            .to_owned(),
    }
}

/// Quotes tickets worth many segments from the start, and does nothing for the first.
async fn sells_dear_tickets() -> Row {
    let deal = Deal::open().await;
    let dear = deal.secret.seal(TicketParams { face_value: prices(DEAREST_TICKET), ..deal.params });
    for _ in 0..ENOUGH {
        if !deal.pay(&dear).await {
            break;
        }
    }
    let lost = deal.lost().await;
    Row {
        adversary: "price switcher",
        does: format!(
            "sells tickets worth {DEAREST_TICKET} segments, the most that is paid, and never answers"
        ),
        gained: lost,
        lost,
        bound: OUTSTANDING + DEAREST_TICKET,
        follows_from:
            "what may be out, and one ticket of the largest value that is paid (`SenderCaps::ticket_value`)"
                .to_owned(),
    }
}
