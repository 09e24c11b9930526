//! The price follows the quality that the receipt declares.

use std::sync::Arc;

use framemill_media::MediaLimits;
use framemill_network::{
    Ladder, LadderEntry, PricePerPixel, QualityTerms, SegmentHeader, SegmentResult, SignedQuote,
};
use framemill_orchestrator::{CommitmentOffer, OrchestratorConfig, OrchestratorEvent, QUALITY_FLOOR};
use framemill_transcoder::{Capabilities, Engine, Job, Preset, Renditions, SoftwareConfig, SoftwareEngine};
use framemill_verification::{Policy, Report, SourceReference, price_share_ppm, verify};
use probabilistic_ticket::{Wei, WorkOutcome};

use crate::support::*;

/// A ticket's worth that makes a segment cost some tickets.
const TICKET: u64 = PIXELS / 4;

fn offering(quality: QualityTerms) -> OrchestratorConfig {
    let offer = CommitmentOffer { surcharge_ppm: 0, quality, ..CommitmentOffer::default() };
    OrchestratorConfig { commitments: Some(offer), ..OrchestratorConfig::default() }
}

/// Spends half the bits, at a preset that costs half the time.
#[derive(Debug)]
struct Lazy(SoftwareEngine);

impl Engine for Lazy {
    fn name(&self) -> &'static str {
        "lazy"
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn transcode(&self, job: Job) -> Renditions {
        let halved =
            job.ladder.iter().map(|entry| LadderEntry { bitrate: entry.bitrate / 2, ..entry.clone() });
        let ladder = Ladder::new(halved.collect()).expect("a ladder");
        self.0.transcode(Job { ladder, ..job })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    Honest,
    Lazy,
}

async fn worker(market: &mut Market, effort: Effort) -> Worker {
    let engine = |preset| {
        let config = SoftwareConfig { preset, threads: 1, ..SoftwareConfig::default() };
        SoftwareEngine::new(config)
    };
    match effort {
        Effort::Honest => market.transcoder(Arc::new(engine(Preset::Veryfast)), LOTS).await,
        Effort::Lazy => market.transcoder(Arc::new(Lazy(engine(Preset::Ultrafast))), LOTS).await,
    }
}

/// One segment of a session with commitments: its result, and what the orchestrator booked for it.
async fn served(market: &mut Market, quote: &SignedQuote, sequence: u64) -> (SegmentResult, Wei) {
    let payment = if market.bank.is_some() { market.pay(quote).await } else { Default::default() };
    let header = SegmentHeader { payment, ..header(quote, sequence) };
    let result = market.send(header, clip()).await.expect("a result");
    let done = market.until(|event| matches!(event, OrchestratorEvent::SegmentDone { .. })).await;
    let OrchestratorEvent::SegmentDone { earned, .. } = done else { panic!("{done:?}") };
    (result, earned)
}

/// What a broadcaster that looks at every frame finds.
fn judged(result: &SegmentResult) -> Vec<Report> {
    let source = SourceReference::new(clip(), &MediaLimits::segment()).expect("a sound source");
    let judge = |(rendition, entry)| verify(&source, rendition, entry, &Policy::FULL, &[0; 32]);
    result.renditions.iter().zip(&ladder()).map(judge).map(|report| report.expect("a verdict")).collect()
}

/// What the client owes by its own arithmetic, from the bytes and from what was signed.
fn owed(price: &PricePerPixel, terms: &QualityTerms, result: &SegmentResult) -> Wei {
    let (claims, reports, ladder) = (result.claims(), judged(result), ladder());
    let parts = claims.iter().zip(&reports).zip(&ladder).map(|((claim, report), entry)| {
        let bits = report.quality.bits_per_second;
        (claim.pixels, price_share_ppm(terms, claim.psnr_centi_db, bits, entry))
    });
    Wei(price.cost_of_shares(parts))
}

#[tokio::test]
async fn a_receipt_declares_the_quality_that_a_judgement_finds() {
    let mut market = Market::free_with(offering(QUALITY_FLOOR)).await;
    let _worker = worker(&mut market, Effort::Honest).await;
    let quote = market.session_with_commitments().await;
    assert_eq!(quote.quote.quality, QUALITY_FLOOR);
    let (result, _) = served(&mut market, &quote, 0).await;
    let found: Vec<_> = judged(&result).iter().map(|report| Some(report.quality.psnr_centi_db)).collect();
    let declared: Vec<_> = result.claims().iter().map(|claim| claim.psnr_centi_db).collect();
    assert_eq!(declared, found);
}

#[tokio::test]
async fn nothing_is_declared_where_any_quality_is_paid_in_whole() {
    let mut market = Market::free_with(offering(QualityTerms::WHOLE)).await;
    let _worker = worker(&mut market, Effort::Honest).await;
    let committed = market.session_with_commitments().await;
    let plain = market.session().await;
    assert_eq!([&committed, &plain].map(|quote| quote.quote.quality), [QualityTerms::WHOLE; 2]);
    for quote in [committed, plain] {
        let (result, _) = served(&mut market, &quote, 0).await;
        assert!(result.claims().iter().all(|claim| claim.psnr_centi_db.is_none()));
    }
}

#[tokio::test]
async fn an_honest_encode_earns_the_whole_price_at_the_usual_terms() {
    let mut market = Market::paid_with(TICKET, offering(QUALITY_FLOOR)).await;
    let _worker = worker(&mut market, Effort::Honest).await;
    let quote = market.session_with_commitments().await;
    let (_, earned) = served(&mut market, &quote, 0).await;
    assert_eq!(earned, Wei(quote.quote.price.cost(PIXELS)));
}

#[tokio::test]
async fn segments_take_turns_where_there_is_room_for_the_pictures_of_one() {
    let mut config = offering(QUALITY_FLOOR);
    config.segments.max_picture_bytes = 1;
    let mut market = Market::free_with(config).await;
    let _worker = worker(&mut market, Effort::Honest).await;
    let quote = market.session_with_commitments().await;
    let (first, second) =
        tokio::join!(market.send(header(&quote, 0), clip()), market.send(header(&quote, 1), clip()));
    for result in [first, second] {
        let claims = result.expect("a result").claims();
        assert!(claims.iter().all(|claim| claim.psnr_centi_db.is_some()), "{claims:?}");
    }
}

/// The least that an honest encode of the clip reaches on any rung.
async fn honest_quality() -> u32 {
    let mut market = Market::free_with(offering(QUALITY_FLOOR)).await;
    let _worker = worker(&mut market, Effort::Honest).await;
    let quote = market.session_with_commitments().await;
    let (result, _) = served(&mut market, &quote, 0).await;
    result.claims().iter().filter_map(|claim| claim.psnr_centi_db).min().expect("a declared quality")
}

#[tokio::test]
async fn a_lazy_encode_earns_less_than_an_honest_one_and_the_rest_pays_the_next_segment() {
    let terms = QualityTerms::around(honest_quality().await, 0, 500, 100_000);
    let mut earnings = Vec::new();
    for effort in [Effort::Honest, Effort::Lazy] {
        let mut market = Market::paid_with(TICKET, offering(terms)).await;
        let _worker = worker(&mut market, effort).await;
        let quote = market.session_with_commitments().await;
        let (result, earned) = served(&mut market, &quote, 0).await;
        assert_eq!(earned, owed(&quote.quote.price, &terms, &result));
        earnings.push(earned);
        let whole = Wei(quote.quote.price.cost(PIXELS));
        if earned == whole {
            continue;
        }
        // Tickets for what the segment before did not cost are not needed again.
        let sender = &market.bank().sender;
        sender
            .record(quote.quote.session, whole.saturating_sub(earned), WorkOutcome::NotDone)
            .await
            .expect("books");
        let next = served(&mut market, &quote, 1).await;
        assert_eq!(next.1, owed(&quote.quote.price, &terms, &next.0));
    }
    assert_eq!(earnings[0], Wei::from(PIXELS));
    assert!(earnings[1] < earnings[0].saturating_sub(Wei::from(PIXELS / 20)), "{earnings:?}");
}
