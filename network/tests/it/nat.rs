use std::env;
use std::io::Write;
use std::time::Duration;

use framemill_network::{Identity, Multiaddr, Network, NetworkConfig, PeerId, RelayLimits, ServiceAddress};
use tokio::time::timeout;

use crate::netns::{Internet, RELAY, SELLER_NAT};
use crate::support::*;

/// What a machine is to be, and whom it is told of.
const ROLE: &str = "FRAMEMILL_TEST_NAT_ROLE";
const TOLD: &str = "FRAMEMILL_TEST_NAT_TOLD";

const STEP: Duration = Duration::from_millis(50);

#[test]
fn two_homes_trade_through_a_relay_and_then_directly() {
    let internet = match Internet::new() {
        Ok(internet) => internet,
        Err(reason) => {
            // Not by the macro, which the test harness keeps to itself when a test passes.
            let skipped = format!("SKIPPED: no network namespaces with NAT can be made here: {reason}\n");
            return std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        }
    };
    let machine = |place, role, told: &str| {
        internet.start(place, "nat::a_machine_of_the_internet", &[(ROLE, role), (TOLD, told)])
    };
    let relay = machine("relay", "relay", "");
    let relay_address = relay.says("at");
    let seller = machine("seller", "seller", &relay_address);
    let circuit = seller.says("at");
    assert!(circuit.contains("/p2p-circuit/"), "{circuit}");

    internet.separate().unwrap();
    let buyer = machine("buyer", "buyer", &circuit);
    let ways = buyer.says("bought");
    assert!(ways.contains("p2p-circuit") && !ways.contains(SELLER_NAT), "went another way: {ways}");
    drop(buyer);

    internet.join().unwrap();
    let buyer = machine("buyer", "buyer", &circuit);
    buyer.says("bought");
    let direct = buyer.says("direct");
    let expected = format!("/ip4/{SELLER_NAT}/udp/");
    assert!(direct.starts_with(&expected) && !direct.contains("p2p-circuit"), "{direct}");
    buyer.says("bought again");
}

/// Not a test of its own: what runs on the machines of the one above.
#[tokio::test]
async fn a_machine_of_the_internet() {
    let told = env::var(TOLD).unwrap_or_default();
    match env::var(ROLE).as_deref() {
        Ok("relay") => be_relay().await,
        Ok("seller") => be_seller(told.parse().unwrap()).await,
        Ok("buyer") => be_buyer(told.parse().unwrap()).await,
        _ => {}
    }
}

async fn be_relay() {
    let listen = format!("/ip4/{RELAY}/udp/4001/quic-v1").parse().unwrap();
    let config = NetworkConfig {
        listen: vec![listen],
        relay_server: Some(RelayLimits::default()),
        ..NetworkConfig::new(Identity::generate())
    };
    let node = Network::start(config).await.unwrap();
    println!("@at {}", node.service_address().unwrap());
    std::future::pending::<()>().await;
}

async fn be_seller(relay: ServiceAddress) {
    let config = NetworkConfig {
        listen: vec!["/ip4/0.0.0.0/udp/0/quic-v1".parse().unwrap()],
        relays: vec![relay],
        ..NetworkConfig::new(Identity::generate())
    };
    let node = Network::start(config).await.unwrap();
    let circuit = until(|| node.external_addresses().into_iter().find(is_circuit)).await;
    println!("@at {}", ServiceAddress::new(node.peer_id(), vec![without_peer(&circuit)]).unwrap());
    let mut quotes = node.serve_quotes(4).unwrap();
    let mut segments = node.serve_segments(4).unwrap();
    loop {
        tokio::select! {
            Some(incoming) = quotes.next() => {
                let quote = quote_for(&node, &incoming);
                incoming.respond(Ok(quote));
            }
            Some(incoming) = segments.next() => transcode(incoming).await,
        }
    }
}

async fn be_buyer(seller: ServiceAddress) {
    let node = Network::start(NetworkConfig::new(Identity::generate())).await.unwrap();
    node.add_peer(&seller).unwrap();
    let peer = seller.peer();
    node.request_quote(peer, &quote_request(), LONG).await.unwrap();
    buy(&node, peer).await;
    println!("@bought {:?}", node.remote_addresses(peer));
    let direct = until(|| node.remote_addresses(peer).into_iter().find(|address| !is_circuit(address))).await;
    println!("@direct {direct}");
    buy(&node, peer).await;
    println!("@bought again");
    std::future::pending::<()>().await;
}

async fn buy(node: &Network, peer: PeerId) {
    let source = source();
    let exchange = node.open_segment(peer, header(&source)).await.unwrap();
    let result = exchange.complete(source.clone()).await.unwrap();
    assert_eq!(&result.renditions[0][1..], &source[..]);
}

pub(crate) fn is_circuit(address: &Multiaddr) -> bool {
    address.to_string().contains("/p2p-circuit")
}

pub(crate) fn without_peer(circuit: &Multiaddr) -> Multiaddr {
    let text = circuit.to_string();
    let end = text.find("/p2p-circuit").unwrap() + "/p2p-circuit".len();
    text[..end].parse().unwrap()
}

pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    timeout(LONG, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(STEP).await;
        }
    })
    .await
    .expect("it comes about in time")
}
