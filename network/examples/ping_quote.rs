//! Two nodes on this machine: one asks the other for a quote over QUIC and prints it with the measured round trip.
//!
//! Run it with `cargo run -p framemill-network --example ping_quote`.

use std::error::Error;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use framemill_network::{
    FrameRate, IncomingQuote, Ladder, Network, NetworkConfig, PricePerPixel, QualityTerms, Quote,
    QuoteRequest, SignedQuote, SourceVideo,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let orchestrator = Network::start(NetworkConfig::loopback()).await?;
    let broadcaster = Network::start(NetworkConfig::loopback()).await?;
    let service = orchestrator.service_address().ok_or("the orchestrator does not listen")?;
    println!("orchestrator at {service}");
    broadcaster.add_peer(&service)?;

    let mut quotes = orchestrator.serve_quotes(8)?;
    let peer = orchestrator.peer_id();
    let serving = tokio::spawn(async move {
        while let Some(incoming) = quotes.next().await {
            let quote = offer(peer, &incoming);
            incoming.respond(Ok(quote));
        }
    });

    let source = SourceVideo { width: 1920, height: 1080, fps: FrameRate::new(30, 1)? };
    let ladder = Ladder::default().resolve(&source)?;
    let pixels_per_second = ladder.pixels_per_second(source.fps);
    let request = QuoteRequest {
        sender: Address::ZERO,
        ladder,
        source,
        pixels_per_second,
        max_price: None,
        commitments: false,
    };
    for connection in ["cold", "warm"] {
        let started = Instant::now();
        let signed = broadcaster.request_quote(peer, &request, Duration::from_secs(5)).await?;
        println!("{connection} connection: {} after {:?}", signed.quote.price, started.elapsed());
    }
    broadcaster.shutdown().await;
    orchestrator.shutdown().await;
    serving.await?;
    Ok(())
}

/// A fixed price without a signature; a real orchestrator signs [`Quote::signing_hash`].
fn offer(orchestrator: framemill_network::PeerId, incoming: &IncomingQuote) -> SignedQuote {
    let request = incoming.request();
    let quote = Quote {
        session: B256::random(),
        orchestrator: Address::ZERO,
        orchestrator_peer: orchestrator,
        broadcaster_peer: incoming.peer(),
        sender: request.sender,
        price: PricePerPixel::new(U256::from(1_200), 1_000_000).expect("a literal price within bounds"),
        ticket_params: Bytes::new(),
        capacity: request.pixels_per_second,
        expires_at_unix_ms: u64::MAX,
        ladder_hash: request.ladder.hash(),
        commitment_version: 0,
        quality: QualityTerms::WHOLE,
    };
    SignedQuote { quote, signature: [0; 65] }
}
