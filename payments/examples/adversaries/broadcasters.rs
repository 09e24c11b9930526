//! Broadcasters that want work for nothing, against honest orchestrators.

use alloy_primitives::B256;
use probabilistic_ticket::params::RecipientSecret;
use probabilistic_ticket::{PPM, Round, TicketParams, Wei, WinProb};

use crate::market::{
    DEPOSIT, HONEST, Market, PRICE, RESERVE, Rogue, UNLOCK_ROUNDS, domain, key, prices, salt, session,
};
use crate::table::Row;

/// More segments than any adversary here gets.
const ENOUGH: u64 = 1_000;
/// Orchestrators that the adversary itself has in the active set.
const SYBILS: u64 = 2;
/// Tickets of the grinder, and salts that it chooses each from.
const GROUND: u64 = 8_192;
const CHOICES: u64 = 8;

pub(crate) async fn rows() -> Vec<Row> {
    vec![
        overspend(PPM, None).await,
        overspend(PPM, Some(1)).await,
        overspend(PPM / HONEST, None).await,
        withdraw().await,
        sybil().await,
        grind().await,
        grind_after_the_fact().await,
        jump().await,
        pay_nothing().await,
    ]
}

/// Sessions of the adversary with all shops.
async fn open_everywhere(market: &Market, rogue: &Rogue) -> Vec<TicketParams> {
    let mut params = Vec::new();
    for shop in &market.shops {
        let opened = shop.recipient.open_session(rogue.address(), session(0)).await;
        params.push(opened.expect("the sender is funded"));
    }
    params
}

/// Buys from all orchestrators at the same time until each has had enough; a block comes after so many segments each, or only
/// in the end.
async fn overspend(deposit_share_ppm: u64, block_after: Option<u64>) -> Row {
    let market = Market::open(HONEST, 0, deposit_share_ppm).await;
    let mut rogue = Rogue::new("overspender");
    market.fund(rogue.address(), HONEST);
    let mut open = open_everywhere(&market, &rogue).await;
    for bought in 1..ENOUGH {
        let mut served = false;
        for (shop, params) in market.shops.iter().zip(&mut open) {
            // Its secret may have been revealed by a redemption.
            if block_after.is_some() {
                *params = shop.recipient.params(params.session).await.unwrap_or(*params);
            }
            let payment = rogue.pay(params);
            served |= shop.serve(params.session, &payment).await;
        }
        if !served {
            break;
        }
        if block_after.is_some_and(|segments| bought % segments == 0) {
            market.block().await;
        }
    }
    market.come_to_rest().await;
    let counted = DEPOSIT * deposit_share_ppm / PPM;
    let lost = market.unpaid();
    let pace = match block_after {
        None => "within one block",
        Some(_) => "with a block after each segment",
    };
    let share = match deposit_share_ppm {
        PPM => "the whole deposit".to_owned(),
        share => format!("{}.{} % of it", share / 10_000, share % 10_000 / 1_000),
    };
    Row {
        adversary: "over-spending sender",
        does: format!("buys from all of them {pace}; each counts on {share}"),
        gained: lost,
        lost,
        bound: HONEST * counted,
        follows_from: "what each counts on of the deposit (`orchestrator.deposit_share_ppm`); its share of the reserve is its own"
            .to_owned(),
    }
}

/// Unlocks, goes on buying as long as somebody sells, and withdraws at the first moment.
async fn withdraw() -> Row {
    let market = Market::open(1, 0, PPM).await;
    let mut rogue = Rogue::new("withdrawer");
    market.fund(rogue.address(), 1);
    let shop = &market.shops[0];
    let mut params = open_everywhere(&market, &rogue).await[0];
    market.chain.unlock(rogue.address(), UNLOCK_ROUNDS);
    let mut taken = Wei::ZERO;
    for round in 2..=2 + UNLOCK_ROUNDS {
        for _ in 0..4 {
            params = shop.recipient.params(params.session).await.unwrap_or(params);
            let payment = rogue.pay(&params);
            shop.serve(params.session, &payment).await;
        }
        // The worst order: the round turns, it withdraws, and only then do the others look.
        market.chain.set_round(Round(round));
        taken = taken.saturating_add(market.chain.withdraw(rogue.address()));
        market.block().await;
    }
    market.come_to_rest().await;
    assert!(!taken.is_zero(), "it got its money out in the end");
    Row {
        adversary: "over-spending sender",
        does: "unlocks its deposit, goes on buying, withdraws at the first moment".to_owned(),
        gained: market.unpaid(),
        lost: market.unpaid(),
        bound: 0,
        follows_from: "tickets are refused that could outlive the lock, which the contract makes longer than their validity"
            .to_owned(),
    }
}

/// Buys as much as it can, then wins its whole deposit itself, through an orchestrator of its own, before the others redeem.
async fn sybil() -> Row {
    let market = Market::open(1, SYBILS, PPM).await;
    let mut rogue = Rogue::new("sybil");
    market.fund(rogue.address(), 1 + SYBILS);
    let params = open_everywhere(&market, &rogue).await[0];
    for _ in 0..ENOUGH {
        let payment = rogue.pay(&params);
        if !market.shops[0].serve(params.session, &payment).await {
            break;
        }
    }
    rogue.drain_to(&market.chain, key("sybil orchestrator").address()).await;
    market.come_to_rest().await;
    Row {
        adversary: "Sybil recipient",
        does: format!(
            "a sender with {SYBILS} orchestrators of its own in the set buys from an honest one, then wins its deposit back itself"
        ),
        gained: market.unpaid(),
        lost: market.unpaid(),
        bound: DEPOSIT,
        follows_from: format!(
            "what is counted on of the deposit; {} of {RESERVE} stay out of its reach, the share of the reserve",
            RESERVE / (1 + SYBILS)
        ),
    }
}

/// Chooses each ticket's salt for the digest that looks least like winning. What wins hangs on the recipient's secret, too.
async fn grind() -> Row {
    const ODDS: u64 = 16;
    let secret = RecipientSecret::from_bytes([7; 32]);
    let rogue = Rogue::new("grinder");
    let params = secret
        .seal(some_params(&rogue, WinProb(alloy_primitives::U256::MAX / alloy_primitives::U256::from(ODDS))));
    let rand = secret.rand(&params);
    let mut won = 0;
    for nonce in 1..=GROUND {
        let digest = |salt: &B256| params.scheme.digest(&params.ticket(nonce, *salt), &params.domain);
        let salts = (0..CHOICES).map(|choice| salt(nonce * CHOICES + choice));
        let chosen = salts.max_by_key(digest).expect("there are choices");
        let signed = params.scheme.sign(params.ticket(nonce, chosen), &params.domain, &rogue.key);
        won += u64::from(signed.wins(params.scheme, &params.domain, rand));
    }
    let fair = GROUND / ODDS;
    // Four standard errors of a binomial draw.
    let luck = 4 * fair.isqrt();
    assert!(won.abs_diff(fair) <= luck, "{won} of {fair}");
    Row {
        adversary: "ticket grinder",
        does: format!(
            "chooses each salt among {CHOICES} so as not to win: {won} of {GROUND} tickets win, {fair} would by chance"
        ),
        gained: 0,
        lost: 0,
        bound: 0,
        follows_from: "the draw hashes a secret that the recipient committed to before the ticket was made"
            .to_owned(),
    }
}

fn some_params(rogue: &Rogue, win_prob: WinProb) -> TicketParams {
    TicketParams {
        scheme: probabilistic_ticket::Scheme::Native,
        domain: domain(),
        recipient: key("honest orchestrator 0").address(),
        sender: rogue.address(),
        session: session(0),
        face_value: prices(16),
        win_prob,
        lane: 0,
        serial: 0,
        round: Round(1),
        round_block_hash: B256::ZERO,
        expires: Round(2),
        nonce_floor: 0,
        recipient_rand_hash: B256::ZERO,
    }
}

/// Waits until a redemption makes the secret public, then pays with tickets that it knows to lose.
async fn grind_after_the_fact() -> Row {
    let market = Market::open(1, 0, PPM).await;
    let mut rogue = Rogue::new("late grinder");
    market.fund(rogue.address(), 1);
    let shop = &market.shops[0];
    let params = open_everywhere(&market, &rogue).await[0];
    let payment = rogue.pay(&params);
    assert!(shop.serve(params.session, &payment).await);
    market.come_to_rest().await;
    let mut taken = 0;
    for _ in 0..100 {
        let payment = rogue.pay(&params);
        taken += u64::from(shop.serve(params.session, &payment).await);
    }
    Row {
        adversary: "ticket grinder",
        does: "pays on a secret that a redemption has made public, with tickets it knows to lose".to_owned(),
        gained: taken,
        lost: market.unpaid(),
        bound: 0,
        follows_from: "no ticket on a secret is taken once its redemption is prepared".to_owned(),
    }
}

/// Jumps as far ahead as it may with each nonce, and further, to use up its lane or to burn winners below.
async fn jump() -> Row {
    let market = Market::open(1, 0, PPM).await;
    let rogue = Rogue::new("jumper");
    market.fund(rogue.address(), 1);
    let shop = &market.shops[0];
    let params = open_everywhere(&market, &rogue).await[0];
    let far = shop.recipient.config().max_nonce_jump;
    let mut nonce = 1;
    for _ in 0..20 {
        let payment = rogue.pay_with(&params, nonce, salt(nonce));
        assert!(shop.serve(params.session, &payment).await);
        for wild in [nonce + far + 1, u64::MAX] {
            let payment = rogue.pay_with(&params, wild, salt(wild));
            assert!(!shop.serve(params.session, &payment).await, "a jump of {wild} from {nonce}");
        }
        nonce += far;
    }
    market.come_to_rest().await;
    Row {
        adversary: "nonce jumper",
        does: format!("skips {} nonces with each ticket, and tries to skip more", far - 1),
        gained: market.unpaid(),
        lost: market.unpaid(),
        bound: 0,
        follows_from: format!(
            "jumps above {far} are refused, lanes are redeemed from their lowest winner on, and this pace empties a lane after 2^63 / {far} tickets"
        ),
    }
}

/// Sends nothing, forged tickets, the same ticket again, tickets for half of the price.
async fn pay_nothing() -> Row {
    let market = Market::open(1, 0, PPM).await;
    let mut rogue = Rogue::new("freeloader");
    market.fund(rogue.address(), 1);
    let shop = &market.shops[0];
    let params = open_everywhere(&market, &rogue).await[0];
    let forger = Rogue::new("forger");
    let good = rogue.pay(&params);
    assert!(shop.serve(params.session, &good).await, "what is paid is done");
    for attempt in 0..20 {
        for payment in [Vec::new(), forger.pay_with(&params, 2 + attempt, salt(attempt)), good.clone()] {
            assert!(!shop.serve(params.session, &payment).await);
        }
    }
    let cost = Wei::from(2 * PRICE);
    let half = rogue.pay(&params);
    assert!(
        shop.recipient.accept(params.session, &half, cost).await.is_err(),
        "half of a price buys nothing"
    );
    market.come_to_rest().await;
    Row {
        adversary: "broadcaster that takes work and does not pay",
        does: "sends nothing, forged, repeated and too few tickets".to_owned(),
        gained: market.unpaid(),
        lost: market.unpaid(),
        bound: 0,
        follows_from: "tickets are checked and on disk, and the price is held, before the work begins"
            .to_owned(),
    }
}
