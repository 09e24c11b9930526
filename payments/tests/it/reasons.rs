//! Every reason and every limit that there is, provoked at least once, and the order in which they are looked for.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use probabilistic_ticket::ledger::SpendingLimit;
use probabilistic_ticket::recipient::{FundingLimit, LimitName};
use probabilistic_ticket::{
    CodecError, Domain, EthKey, LedgerError, PaymentTicket, Reason, RecipientError, Round, SenderConfig,
    SenderError, SenderFunds, SenderSession, TicketBatch, TicketParams, Wei, WinProb, WorkOutcome,
};

use super::common::{
    ETHER, SESSION, TICKET, World, domain, key, payment, recipient_config, refusal, sender_session, sign,
};
use super::{common, store};

/// What is wrong with a payment. Each is something that a sender can do.
struct Wrong {
    reason: Reason,
    /// Done to the parameters before they are signed.
    params: fn(&mut TicketParams),
    /// Done to the tickets after they were signed.
    tickets: fn(&TicketParams, &mut Vec<PaymentTicket>),
}

fn as_issued(_: &mut TicketParams) {}

fn as_signed(_: &TicketParams, _: &mut Vec<PaymentTicket>) {}

/// What can be wrong with a payment itself, in the order in which it is looked for: what costs less first, the signature
/// after all that needs none, and the books last.
const WRONGS: [Wrong; 12] = [
    Wrong {
        reason: Reason::WrongDomain,
        params: |params| params.domain = Domain::new(1, Address::ZERO),
        tickets: as_signed,
    },
    Wrong {
        reason: Reason::WrongRecipient,
        params: |params| params.recipient = Address::repeat_byte(7),
        tickets: as_signed,
    },
    Wrong {
        reason: Reason::WrongSender,
        params: |params| params.sender = Address::repeat_byte(7),
        tickets: as_signed,
    },
    Wrong { reason: Reason::WrongLane, params: |params| params.lane += 1, tickets: as_signed },
    Wrong {
        reason: Reason::WrongFaceValue,
        params: |params| params.face_value = Wei::from(1),
        tickets: as_signed,
    },
    Wrong {
        reason: Reason::WrongWinProb,
        params: |params| params.win_prob = WinProb::MAX,
        tickets: as_signed,
    },
    Wrong {
        reason: Reason::WrongRoundHash,
        params: |params| params.round_block_hash = B256::repeat_byte(7),
        tickets: as_signed,
    },
    Wrong { reason: Reason::Expired, params: |params| params.expires = Round(0), tickets: as_signed },
    Wrong {
        reason: Reason::WrongRandHash,
        params: |params| params.recipient_rand_hash = B256::repeat_byte(7),
        tickets: as_signed,
    },
    Wrong {
        reason: Reason::WrongSigner,
        params: as_issued,
        tickets: |params, tickets| tickets[0] = sign(params, &key("forger"), tickets[0].nonce),
    },
    Wrong {
        reason: Reason::NonceJump,
        params: as_issued,
        tickets: |params, tickets| tickets[0] = sign(params, &key("sender"), u64::MAX),
    },
    Wrong { reason: Reason::InsufficientCredit, params: as_issued, tickets: |_, tickets| tickets.clear() },
];

/// Pays with all of these wrongs at once; why the payment was refused.
async fn refused_for(wrongs: &[Wrong]) -> Reason {
    let world = World::new().await;
    let mut params = world.params().await;
    for wrong in wrongs {
        (wrong.params)(&mut params);
    }
    let mut tickets = vec![sign(&params, &key("sender"), 1)];
    // The last one first: what is looked for earlier has the last word on the ticket.
    for wrong in
        wrongs.iter().rev().filter(|wrong| wrongs.len() == 1 || wrong.reason != Reason::InsufficientCredit)
    {
        (wrong.tickets)(&params, &mut tickets);
    }
    let bytes = TicketBatch { params, tickets }.encode().unwrap();
    refusal(world.recipient.accept(SESSION, &bytes, Wei::from(TICKET)).await).reason
}

#[tokio::test]
async fn each_wrong_has_its_reason_whatever_else_is_wrong_that_costs_more_to_see() {
    for (at, wrong) in WRONGS.iter().enumerate() {
        assert_eq!(refused_for(std::slice::from_ref(wrong)).await, wrong.reason);
        assert_eq!(refused_for(&WRONGS[at..]).await, wrong.reason, "with all that follow");
    }
}

async fn unfunded() -> Reason {
    let world = World::new().await;
    let params = world.params().await;
    world.broker.fund(key("sender").address(), SenderFunds::default());
    world.recipient.refresh().await.unwrap();
    refusal(world.pay(&params, &[1], TICKET).await).reason
}

async fn revealed() -> Reason {
    let world = World::with(recipient_config(true)).await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    world.reveal(0).await;
    refusal(world.pay(&params, &[2], TICKET).await).reason
}

async fn replayed() -> Reason {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    refusal(world.pay(&params, &[1], TICKET).await).reason
}

#[tokio::test]
async fn every_reason_is_provoked() {
    let mut provoked: Vec<_> = WRONGS.iter().map(|wrong| wrong.reason).collect();
    provoked.extend([unfunded().await, revealed().await, replayed().await]);
    provoked.sort_by_key(|reason| reason.number());
    assert_eq!(provoked, Reason::ALL);
}

#[tokio::test]
async fn refusal_of_a_quote_names_every_limit_its_value_and_what_to_fund() {
    let world = World::new().await;
    let face_value = world.params().await.face_value;
    let sender = key("sender").address();
    let funds = SenderFunds {
        deposit: Wei::from(5),
        claimable_reserve: Wei::from(3),
        withdraw_round: Some(Round(2)),
    };
    world.broker.fund(sender, funds);
    let outcome = world.recipient.open_session(sender, B256::repeat_byte(9)).await;
    let Err(RecipientError::Funding(refusal)) = outcome else { panic!("{outcome:?}") };
    let float = FundingLimit {
        name: LimitName::MaxFloat,
        value: Wei::from(8),
        needed: face_value,
        fund: face_value.checked_sub(Wei::from(8)).unwrap(),
    };
    let unlocked = FundingLimit {
        name: LimitName::Unlocked,
        value: Wei::from(2),
        needed: Wei::from(4),
        fund: Wei::ZERO,
    };
    assert_eq!(refusal.limits, [float, unlocked]);
    assert_eq!(refusal.limits.iter().map(|limit| limit.name).collect::<Vec<_>>(), LimitName::ALL);
    let text = refusal.to_string();
    for part in [sender.to_string(), float.fund.to_string(), "cancel the unlock".to_owned()] {
        assert!(text.contains(&part), "{text}");
    }
}

#[tokio::test]
async fn funding_what_the_refusal_names_is_enough() {
    let world = World::new().await;
    let sender = key("sender").address();
    let have =
        SenderFunds { deposit: Wei::from(5), claimable_reserve: Wei::from(3), ..SenderFunds::default() };
    world.broker.fund(sender, have);
    let outcome = world.recipient.open_session(sender, SESSION).await;
    let Err(RecipientError::Funding(refusal)) = outcome else { panic!("{outcome:?}") };
    let deposit = have.deposit.saturating_add(refusal.limits[0].fund);
    world.broker.fund(sender, SenderFunds { deposit, ..have });
    world.recipient.open_session(sender, SESSION).await.unwrap();
}

/// A sender with these caps, its session and parameters.
async fn sender(
    change: impl FnOnce(&mut SenderConfig),
) -> (World, probabilistic_ticket::Sender, TicketParams) {
    let world = World::new().await;
    let mut config = SenderConfig::new(domain());
    change(&mut config);
    let ledger = store::open(world.dir.path(), "sender").await;
    let sender = world.sender_on(ledger, config).await;
    let params = world.params().await;
    (world, sender, params)
}

/// Provokes a limit and returns what stood in the way.
async fn limited(limit: SpendingLimit) -> SenderError {
    let bound = Wei::from(2 * TICKET);
    let (_world, sender, params) = sender(|config| match limit {
        SpendingLimit::Session => config.caps.session = bound,
        SpendingLimit::StreamHour => config.caps.stream_hour = bound,
        SpendingLimit::Deposit => config.caps.deposit_share_ppm = 0,
        _ => {}
    })
    .await;
    let trusted = matches!(limit, SpendingLimit::Outstanding | SpendingLimit::Refused);
    if trusted {
        sender.open_session(SenderSession { max_outstanding: bound, ..sender_session() }).await.unwrap();
    }
    let tickets = if limit == SpendingLimit::Tickets { 129 } else { 3 };
    for _ in 0..4 {
        let cost = Wei::from(tickets * TICKET);
        match sender.pay(SESSION, &params, cost).await {
            Err(error) => return error,
            Ok(payment) if limit == SpendingLimit::Refused => {
                let refused = WorkOutcome::Refused(payment.value);
                sender.record(SESSION, payment.cost, refused).await.unwrap();
            }
            Ok(_) => {}
        }
    }
    panic!("{limit} was never passed")
}

#[tokio::test]
async fn every_spending_limit_is_provoked_and_says_its_bound() {
    for wanted in SpendingLimit::ALL {
        match limited(wanted).await {
            SenderError::Ledger(LedgerError::Limit { limit, bound, spent, asked }) => {
                assert_eq!(limit, wanted);
                assert!(spent.saturating_add(asked) > bound, "{wanted}: {spent} and {asked} of {bound}");
            }
            other => panic!("{wanted}: {other}"),
        }
    }
}

#[tokio::test]
async fn sender_holds_a_recipient_to_the_terms_of_the_first_payment() {
    let (world, sender, params) = sender(|_| {}).await;
    sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap();
    let dearer = TicketParams { face_value: params.face_value.saturating_mul(2), ..params };
    let error = sender.pay(SESSION, &dearer, Wei::from(TICKET)).await.unwrap_err();
    assert!(matches!(error, SenderError::Params(Reason::WrongFaceValue)), "{error}");
    let luckier = TicketParams { win_prob: WinProb(params.win_prob.0 << 1), ..params };
    let error = sender.pay(SESSION, &luckier, Wei::from(TICKET)).await.unwrap_err();
    assert!(matches!(error, SenderError::Params(Reason::WrongWinProb)), "{error}");
    // A larger bound changes nothing about it, fresh parameters on the same terms are as good as the first.
    sender.open_session(sender_session()).await.unwrap();
    assert!(sender.pay(SESSION, &dearer, Wei::from(TICKET)).await.is_err());
    let fresh = world.recipient.params(SESSION).await.unwrap();
    sender.pay(SESSION, &fresh, Wei::from(TICKET)).await.unwrap();
}

#[tokio::test]
async fn sender_of_an_empty_deposit_pays_nobody() {
    let (world, sender, params) = sender(|_| {}).await;
    world.broker.fund(sender.address(), SenderFunds::default());
    sender.refresh().await.unwrap();
    let error = sender.pay(SESSION, &params, Wei::from(TICKET)).await.unwrap_err();
    assert!(matches!(error, SenderError::FaceValue { bound: Wei::ZERO, .. }), "{error}");
}

#[tokio::test]
async fn sender_refuses_to_pay_in_a_session_that_it_has_not_opened() {
    let (_world, sender, params) = sender(|_| {}).await;
    let error = sender.pay(B256::repeat_byte(9), &params, Wei::ZERO).await.unwrap_err();
    assert!(matches!(error, SenderError::UnknownSession(_)), "{error}");
}

#[tokio::test]
async fn both_sides_say_when_no_more_sessions_fit() {
    let mut config = recipient_config(false);
    config.max_lanes = 1;
    let world = World::with(config).await;
    let params = world.params().await;
    world.pay(&params, &[1], 0).await.unwrap();
    let outcome = world.recipient.open_session(key("sender").address(), B256::repeat_byte(2)).await;
    let taken = matches!(outcome, Err(RecipientError::Ledger(LedgerError::TooManySessions { lanes: 1, .. })));
    assert!(taken, "{outcome:?}");
    world.broker.fund(key("other").address(), common::rich());
    let outcome = world.recipient.open_session(key("other").address(), SESSION).await;
    let stolen = matches!(outcome, Err(RecipientError::Ledger(LedgerError::SessionTaken(_))));
    assert!(stolen, "{outcome:?}");
}

#[tokio::test]
async fn payment_that_does_not_decode_says_what_it_should_have_been() {
    let world = World::new().await;
    let params = world.params().await;
    let good = payment(&params, &key("sender"), &[1]);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let wrongs = [
        (good[..good.len() - 1].to_vec(), "length"),
        (with(0, 9), "version"),
        (with(1, 9), "scheme"),
        (with(probabilistic_ticket::PARAMS_BYTES, 0xff), "tickets"),
    ];
    for (bytes, what) in wrongs {
        let outcome = world.recipient.accept(SESSION, &bytes, Wei::from(TICKET)).await;
        let Err(RecipientError::Malformed(error)) = outcome else { panic!("{what}: {outcome:?}") };
        let named = match error {
            CodecError::Length { .. } => "length",
            CodecError::Version(_) => "version",
            CodecError::Scheme(_) => "scheme",
            CodecError::TooManyTickets(_) => "tickets",
            other => panic!("{other}"),
        };
        assert_eq!(named, what);
    }
    world.pay(&params, &[1], TICKET).await.unwrap();
}

#[tokio::test]
async fn recipient_that_no_sender_could_pay_does_not_open() {
    for wrong in [0, 1, 2] {
        let world = World::new().await;
        let mut config = recipient_config(false);
        match wrong {
            0 => config.ticket_value = Wei::ZERO,
            1 => config.deposit_share_ppm = 0,
            _ => config.gas_share_ppm = 0,
        }
        let books = Arc::new(world.ledger.clone());
        let opened =
            probabilistic_ticket::Recipient::open(config, books, world.broker.clone(), world.clock.clone());
        assert!(matches!(opened.await.err(), Some(RecipientError::Config(_))));
    }
}

#[tokio::test]
async fn gas_is_never_more_than_its_share_of_a_face_value() {
    for gas_price in [0_u64, 1, 1_000_000, 50_000_000_000] {
        let world = World::new().await;
        let whale = SenderFunds { deposit: Wei::new(1 << 100), ..SenderFunds::default() };
        world.broker.fund(key("sender").address(), whale);
        world.broker.set_gas_price(Wei::from(gas_price));
        world.recipient.refresh().await.unwrap();
        let params = world.params().await;
        let gas = Wei::from(gas_price).saturating_mul(world.config.redemption_gas);
        let share = params.face_value.mul_div(world.config.gas_share_ppm, probabilistic_ticket::PPM).unwrap();
        assert!(gas <= share, "{gas} of {}", params.face_value);
        assert_eq!(params.ticket_value(), Wei::from(TICKET));
    }
}

#[tokio::test]
async fn a_deposit_that_others_have_drained_is_noticed_at_the_next_look() {
    let world = World::new().await;
    let params = world.params().await;
    world.pay(&params, &[1], TICKET).await.unwrap();
    let drained = SenderFunds { deposit: Wei::from(ETHER / 1000), ..SenderFunds::default() };
    world.broker.fund(key("sender").address(), drained);
    world.pay(&params, &[2], TICKET).await.unwrap();
    world.recipient.refresh().await.unwrap();
    assert_eq!(refusal(world.pay(&params, &[3], TICKET).await).reason, Reason::SenderUnfunded);
    let stranger = EthKey::random().address();
    assert!(matches!(
        world.recipient.open_session(stranger, B256::repeat_byte(3)).await,
        Err(RecipientError::Funding(_))
    ));
}
