use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use framemill_network::announcement::MAX_ANNOUNCEMENT_LIFE_MS;
use framemill_network::{
    Announcement, Author, DiscoveryConfig, Network, NetworkConfig, PricePerPixel, ServiceAddress,
    SignedAnnouncement, SigningDomain,
};
use tokio::time::timeout;

use crate::support::*;

const STEP: Duration = Duration::from_millis(50);

/// In these tests a signature is its signer's address: who may sign is looked at here, the curve in the payments crate.
pub(crate) fn recover(_: B256, signature: &[u8; 65]) -> Option<Address> {
    (signature[64] == 27).then(|| Address::from_slice(&signature[..20]))
}

pub(crate) fn discovering(config: &mut NetworkConfig, bootstrap: &[&Network]) {
    let bootstrap = bootstrap.iter().map(|node| node.service_address().unwrap()).collect();
    config.discovery = Some(DiscoveryConfig { bootstrap, domain: SigningDomain::default(), recover });
}

/// A node that finds others through `bootstrap`.
pub(crate) async fn finder(bootstrap: &[&Network]) -> Network {
    node_with(|config| discovering(config, bootstrap)).await
}

/// One that nobody can dial.
async fn dialer(bootstrap: &[&Network]) -> Network {
    node_with(|config| {
        config.listen.clear();
        discovering(config, bootstrap);
    })
    .await
}

pub(crate) fn account(n: u8) -> Address {
    Address::repeat_byte(n)
}

pub(crate) fn author(node: &Network, account: Address) -> Author {
    Author { peer: node.peer_id(), addresses: Vec::new(), account: Some(account), signing_key: None }
}

pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

pub(crate) fn announcement(node: &Network, account: Address, capacity: u64) -> SignedAnnouncement {
    let sequence = unix_ms();
    let mut signature = [0; 65];
    signature[..20].copy_from_slice(account.as_slice());
    signature[64] = 27;
    SignedAnnouncement {
        announcement: Announcement {
            orchestrator: account,
            peer: node.peer_id(),
            addresses: node.listen_addresses(),
            price: PricePerPixel::new(U256::from(1_000), 1_000).unwrap(),
            committed_price: None,
            capacity,
            sequence,
            expires_at_unix_ms: sequence + MAX_ANNOUNCEMENT_LIFE_MS,
        },
        signature,
    }
}

/// Announces until `listener` has heard it: whoever was not connected at first is told again.
pub(crate) async fn heard(speaker: &Network, said: &SignedAnnouncement, listener: &Network) -> Announcement {
    let mut news = listener.announcements_heard();
    timeout(LONG, async {
        speaker.announce(said).await.unwrap();
        loop {
            if let Some(heard) = listener.announced(speaker.peer_id()) {
                return heard;
            }
            news.changed().await.unwrap();
        }
    })
    .await
    .expect("the announcement arrives")
}

#[tokio::test]
async fn an_announcement_reaches_who_follows_its_author_through_others() {
    let middle = finder(&[]).await;
    let (orchestrator, broadcaster) = (finder(&[&middle]).await, finder(&[&middle]).await);
    for node in [&middle, &broadcaster] {
        node.follow(vec![author(&orchestrator, account(1))]).unwrap();
    }
    let said = announcement(&orchestrator, account(1), 5);
    assert_eq!(heard(&orchestrator, &said, &broadcaster).await, said.announcement);
    assert_eq!(broadcaster.announcements(), [said.announcement]);
}

#[tokio::test]
async fn an_announced_address_is_dialed() {
    let middle = finder(&[]).await;
    let (orchestrator, broadcaster) = (finder(&[&middle]).await, finder(&[&middle]).await);
    for node in [&middle, &broadcaster] {
        node.follow(vec![author(&orchestrator, account(1))]).unwrap();
    }
    heard(&orchestrator, &announcement(&orchestrator, account(1), 5), &broadcaster).await;
    quote_from(&orchestrator, &broadcaster).await;
}

#[tokio::test]
async fn a_strangers_announcement_is_not_passed_on() {
    let middle = finder(&[]).await;
    // Neither of these two can be dialed, so that the one in the middle is their only neighbour.
    let (broadcaster, stranger) = (dialer(&[&middle]).await, dialer(&[&middle]).await);
    let orchestrator = finder(&[&middle]).await;
    middle.follow(vec![author(&orchestrator, account(1))]).unwrap();
    // It would listen to both.
    broadcaster.follow(vec![author(&orchestrator, account(1)), author(&stranger, account(2))]).unwrap();
    stranger.announce(&announcement(&stranger, account(2), 1)).await.unwrap();
    heard(&orchestrator, &announcement(&orchestrator, account(1), 1), &broadcaster).await;
    assert_eq!(broadcaster.announced(stranger.peer_id()), None);
}

#[tokio::test]
async fn nobody_announces_for_another_account() {
    let middle = finder(&[]).await;
    let liar = finder(&[&middle]).await;
    middle.follow(vec![author(&liar, account(1))]).unwrap();
    let mut said = announcement(&liar, account(9), 1);
    liar.announce(&said).await.unwrap();
    said.announcement.sequence += 1;
    said.announcement.orchestrator = account(1);
    said.signature[..20].copy_from_slice(account(1).as_slice());
    assert_eq!(heard(&liar, &said, &middle).await.orchestrator, account(1));
}

#[tokio::test]
async fn a_larger_announcement_than_the_bound_is_not_sent() {
    let node = finder(&[]).await;
    let mut said = announcement(&node, account(1), 1);
    let long: String = (0..60).map(|n| format!("/dns4/{n:040}.example.org")).collect();
    said.announcement.addresses = vec![long.parse().unwrap(); 8];
    assert!(node.announce(&said).await.is_err());
}

/// Asks for a quote and serves it.
pub(crate) async fn quote_from(server: &Network, client: &Network) {
    let mut quotes = server.serve_quotes(1).unwrap();
    let serving = async {
        let incoming = quotes.next().await.unwrap();
        let quote = quote_for(server, &incoming);
        incoming.respond(Ok(quote));
    };
    let request = quote_request();
    let asking = client.request_quote(server.peer_id(), &request, LONG);
    timeout(LONG, async { tokio::join!(asking, serving).0.unwrap() }).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_has_moved_is_found_by_its_own_record() {
    let middle = finder(&[]).await;
    let orchestrator = finder(&[&middle]).await;
    let gone = ServiceAddress::new(
        orchestrator.peer_id(),
        vec!["/ip4/127.0.0.1/udp/1/quic-v1".parse().unwrap(), "/ip4/127.0.0.1/tcp/1".parse().unwrap()],
    )
    .unwrap();
    let moved = Author { addresses: gone.addresses().to_vec(), ..author(&orchestrator, account(1)) };
    let broadcaster = finder(&[&middle]).await;
    broadcaster.follow(vec![moved]).unwrap();
    // Until it knows whom to ask and the record has been stored there is nothing to be found.
    let found = async {
        while !broadcaster.locate(orchestrator.peer_id()).await {
            tokio::time::sleep(STEP).await;
        }
    };
    timeout(LONG, found).await.expect("the record is found");
    quote_from(&orchestrator, &broadcaster).await;
}

#[tokio::test]
async fn nobody_is_looked_for_who_is_not_followed() {
    let middle = finder(&[]).await;
    let node = finder(&[&middle]).await;
    assert!(!node.locate(framemill_network::PeerId::random()).await);
}

#[tokio::test]
async fn without_discovery_the_told_addresses_are_all_there_is() {
    let (server, client) = (node().await, node().await);
    let told = Author { addresses: server.listen_addresses(), ..author(&server, account(1)) };
    client.follow(vec![told]).unwrap();
    client.announce(&announcement(&client, account(2), 1)).await.unwrap();
    assert!(!client.locate(server.peer_id()).await);
    quote_from(&server, &client).await;
    assert!(client.announcements().is_empty());
}
