use std::time::Duration;

use framemill_network::{
    Identity, Network, NetworkConfig, NetworkError, PeerId, RelayLimits, ServiceAddress, WireCode,
};
use tokio::time::timeout;

use crate::raw::RawPeer;
use crate::support::*;

#[tokio::test]
async fn a_node_names_its_real_ports() {
    let node = node().await;
    let service = node.service_address().unwrap();
    assert_eq!((service.peer(), service.addresses().len()), (node.peer_id(), 2));
    assert!(!service.to_string().contains("/0/"));
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let first = node().await;
    let taken =
        first.listen_addresses().into_iter().find(|address| address.to_string().contains("quic")).unwrap();
    let config = NetworkConfig { listen: vec![taken.clone()], ..NetworkConfig::loopback() };
    match Network::start(config).await {
        Err(NetworkError::Listen { address, reason }) => {
            assert_eq!(address, taken);
            assert!(reason.contains("in use"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_without_a_known_address_is_an_error() {
    let node = node().await;
    let result = node.request_quote(PeerId::random(), &quote_request(), LONG).await;
    assert!(matches!(result, Err(NetworkError::NoAddress { .. })), "{result:?}");
}

#[tokio::test]
async fn a_peer_that_is_gone_is_unreachable() {
    let gone = node().await;
    let client = client_of(&gone).await;
    let tcp = gone.listen_addresses().into_iter().filter(|address| address.to_string().contains("tcp"));
    client.add_peer(&ServiceAddress::new(gone.peer_id(), tcp.collect()).unwrap()).unwrap();
    gone.shutdown().await;
    let result = client.request_quote(gone.peer_id(), &quote_request(), LONG).await;
    assert!(matches!(result, Err(NetworkError::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn another_peer_at_the_address_is_unreachable() {
    let (one, other) = (node().await, PeerId::random());
    let client = client_of(&one).await;
    client.add_peer(&ServiceAddress::new(other, one.listen_addresses()).unwrap()).unwrap();
    let result = client.request_quote(other, &quote_request(), LONG).await;
    let Err(NetworkError::Unreachable { answered_by, .. }) = &result else { panic!("{result:?}") };
    assert_eq!(answered_by.as_deref(), Some(&one.peer_id()));
}

#[tokio::test]
async fn a_peer_that_offers_it_calls_back_and_what_came_of_it_is_told() {
    let relay_server = Some(RelayLimits::default());
    let relay = Network::start(NetworkConfig { relay_server, ..NetworkConfig::loopback() }).await.unwrap();
    // What is named as its own needs no test; what lies behind a wildcard does.
    let listen = vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()];
    let asking = NetworkConfig { listen, asks_reach: true, ..NetworkConfig::new(Identity::generate()) };
    let node = Network::start(asking).await.unwrap();
    assert!(!node.has_reach_testers());
    let tcp = relay.listen_addresses().into_iter().filter(|address| address.to_string().contains("tcp"));
    node.add_peer(&ServiceAddress::new(relay.peer_id(), tcp.collect()).unwrap()).unwrap();
    let refused = node.request_quote(relay.peer_id(), &quote_request(), LONG).await;
    assert!(matches!(refused, Err(NetworkError::UnsupportedProtocol { .. })), "{refused:?}");
    timeout(LONG, async {
        while node.reach_tests().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let [test] = &node.reach_tests()[..] else { panic!("{:?}", node.reach_tests()) };
    assert!(test.reached && test.by == relay.peer_id(), "{test:?}");
    assert!(node.has_reach_testers());
}

#[tokio::test]
async fn a_protocol_that_a_peer_does_not_serve_is_an_error() {
    let server = node().await;
    let client = client_of(&server).await;
    let result = client.request_quote(server.peer_id(), &quote_request(), LONG).await;
    assert!(matches!(result, Err(NetworkError::UnsupportedProtocol { .. })), "{result:?}");
}

#[tokio::test]
async fn a_protocol_is_served_once_at_a_time() {
    let node = node().await;
    let first = node.serve_quotes(1).unwrap();
    assert!(matches!(node.serve_quotes(1), Err(NetworkError::AlreadyServed { .. })));
    drop(first);
    assert!(node.serve_quotes(1).is_ok());
}

#[tokio::test]
async fn shutdown_ends_the_servers_and_refuses_new_ones() {
    let node = node().await;
    let (mut quotes, mut segments) = (node.serve_quotes(1).unwrap(), node.serve_segments(1).unwrap());
    node.shutdown().await;
    assert!(quotes.next().await.is_none());
    assert!(segments.next().await.is_none());
    assert!(matches!(node.serve_quotes(1), Err(NetworkError::ShutDown)));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_node() {
    let node = node().await;
    let mut quotes = node.serve_quotes(1).unwrap();
    drop(node);
    assert!(timeout(LONG, quotes.next()).await.unwrap().is_none());
}

async fn quote_once(server: &Network, client: &Network) {
    let mut quotes = server.serve_quotes(1).unwrap();
    let serving = async {
        let incoming = quotes.next().await.unwrap();
        let quote = quote_for(server, &incoming);
        incoming.respond(Ok(quote));
    };
    let request = quote_request();
    let asking = client.request_quote(server.peer_id(), &request, LONG);
    tokio::join!(asking, serving).0.unwrap();
}

#[tokio::test]
async fn a_restarted_peer_is_reached_again_on_demand() {
    let identity = Identity::generate();
    let start = || Network::start(NetworkConfig { identity: identity.clone(), ..NetworkConfig::loopback() });
    let first = start().await.unwrap();
    let client = client_of(&first).await;
    quote_once(&first, &client).await;
    assert!(client.is_connected(first.peer_id()));
    first.shutdown().await;

    let second = start().await.unwrap();
    client.add_peer(&second.service_address().unwrap()).unwrap();
    let mut quotes = second.serve_quotes(4).unwrap();
    let request = quote_request();
    let asking = async {
        // Until the client has noticed that the old connection is gone, a request may still go there.
        while client.request_quote(second.peer_id(), &request, LONG).await.is_err() {}
    };
    tokio::select! {
        () = asking => {}
        () = async {
            while let Some(incoming) = quotes.next().await {
                let quote = quote_for(&second, &incoming);
                incoming.respond(Ok(quote));
            }
        } => panic!("the server ended"),
    }
}

#[tokio::test]
async fn a_client_over_its_rate_learns_when_to_come_back() {
    for transport in ["quic", "/tcp/"] {
        let server = node_with(|config| {
            config.limits.request_burst = 1;
            config.limits.requests_per_second = 1;
        })
        .await;
        let client = client_of(&server).await;
        let only =
            server.listen_addresses().into_iter().filter(|address| address.to_string().contains(transport));
        client.add_peer(&ServiceAddress::new(server.peer_id(), only.collect()).unwrap()).unwrap();
        quote_once(&server, &client).await;
        let _quotes = server.serve_quotes(1).unwrap();
        match client.request_quote(server.peer_id(), &quote_request(), LONG).await {
            Err(NetworkError::Refused(error)) => {
                assert_eq!(error.code, WireCode::RateLimited);
                assert!(error.retry_after > Duration::ZERO);
            }
            other => panic!("{transport}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_banned_peer_is_cut_off_and_kept_out() {
    let server = node().await;
    let mut quotes = server.serve_quotes(4).unwrap();
    let peer = RawPeer::start(Some(&server)).await;
    server.ban(peer.peer, LONG);
    let client = client_of(&server).await;
    server.ban(client.peer_id(), LONG);
    let request = quote_request();
    tokio::select! {
        result = client.request_quote(server.peer_id(), &request, Duration::from_secs(3)) => assert!(result.is_err()),
        _ = quotes.next() => panic!("a banned peer was served"),
    }
    while server.is_connected(peer.peer) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_round_trip_to_a_peer_is_measured() {
    let server = node().await;
    let client = client_of(&server).await;
    quote_once(&server, &client).await;
    let measured = async {
        while client.round_trip(server.peer_id()).is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, measured).await.unwrap();
}
