//! Whether others reach this node: its addresses are called, and peers are asked to call back.
//!
//! Where the node runs, it is called. Where its ports are free, a node of another identity stands in for as long as that takes, so that
//! a port that is not forwarded is found before the first start.

use std::{
    net::{IpAddr, UdpSocket},
    time::{Duration, Instant},
};

use framemill_network::{
    Identity, Multiaddr, Network, NetworkConfig, NetworkError, PeerId, ServiceAddress, WireCode,
};
use futures::future::join_all;

use super::{
    caller::{Caller, impostor, reason},
    ports::is_free,
    report::{Finding, Level, Report},
};
use crate::{config::Config, runtime::multiaddrs};

const EXTERNAL: &str = "network.external";
/// Wait for a peer that was called to say what it offers.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// Wait for a peer to call back: it is asked after five seconds, and may take as long.
const CALL_BACK: Duration = Duration::from_secs(12);
/// Between two looks at what came.
const LOOK: Duration = Duration::from_millis(50);

/// What stands at the ports of an orchestrator.
pub(super) struct Stand {
    /// A node in place of the one that does not run.
    stand_in: Option<Network>,
}

impl Stand {
    /// Takes the ports where they are free.
    pub(super) async fn take(config: &Config) -> Self {
        let listen = multiaddrs("network.listen", &config.network.listen).unwrap_or_default();
        let node = NetworkConfig { listen, asks_reach: true, ..NetworkConfig::new(Identity::generate()) };
        let wanted = !node.listen.is_empty() && config.network.listen.iter().all(|text| is_free(text));
        Self { stand_in: if wanted { Network::start(node).await.ok() } else { None } }
    }

    /// Who calls from those ports: peers that are asked to call back do so there.
    pub(super) fn caller(&self) -> Option<Caller> {
        self.stand_in.clone().map(Caller::from)
    }

    /// Who is to answer there; nobody where the node has no identity yet.
    fn expected(&self, config: &Config) -> Option<PeerId> {
        if let Some(stand_in) = &self.stand_in {
            return Some(stand_in.peer_id());
        }
        let identity = config.data_dir().join("identity");
        identity.exists().then(|| Identity::load_or_create(&identity).ok()).flatten().map(|own| own.peer_id())
    }

    /// Where to call for each address that others are told, with its text.
    fn addresses(&self, config: &Config) -> Vec<(String, Option<Multiaddr>)> {
        let network = &config.network;
        let texts = if network.external.is_empty() { &network.listen } else { &network.external };
        let real = match &self.stand_in {
            // With the ports that the system chose.
            Some(stand_in) if network.external.is_empty() => {
                stand_in.listen_addresses().into_iter().map(Some).collect()
            }
            _ => texts.iter().map(|text| text.parse().ok()).collect::<Vec<_>>(),
        };
        texts.iter().cloned().zip(real).collect()
    }
}

/// Calls the addresses that an orchestrator tells others, each as somebody who knows no other.
pub(super) async fn announced(config: &Config, stand: &Stand, report: &mut Report) {
    let addresses = stand.addresses(config);
    if addresses.is_empty() && config.network.relays.is_empty() {
        let found = "this node listens nowhere and has no relay: nobody reaches it";
        return report.add(Finding::fail("network.listen", found, "set network.listen"));
    }
    let listened_on = config.network.external.is_empty();
    let expected = stand.expected(config);
    let runs = stand.stand_in.is_none();
    let calls = addresses.iter().map(|(text, address)| async move {
        let looks = address_of(text, listened_on);
        let callable = looks.level != Level::Fail && ip_of(text).is_none_or(|ip| !ip.is_unspecified());
        let (true, Some(peer), Some(address)) = (callable, expected, address) else { return (looks, None) };
        match call(peer, address, runs).await {
            Ok((took, offers)) => (judge(looks, text, Ok(took)), offers),
            Err(error) => (judge(looks, text, Err(error)), None),
        }
    });
    let found = join_all(calls).await;
    let offers = found.iter().find_map(|(_, offers)| offers.as_ref().map(sells));
    report.extend(found.into_iter().map(|(finding, _)| finding).chain(offers));
}

/// What a node said when it was asked for a quote that it has to refuse.
type Offers = Option<Result<(), NetworkError>>;

/// How far a node at one address is, and, where it `runs`, what it sells.
async fn call(peer: PeerId, address: &Multiaddr, runs: bool) -> Result<(Duration, Offers), NetworkError> {
    let caller = Caller::new().await?;
    let node = ServiceAddress::new(peer, vec![address.clone()])
        .map_err(|error| NetworkError::Unsendable { what: "a call", reason: error.to_string() })?;
    let answer = caller.call(&node).await;
    let offers = if runs && answer.is_ok() { Some(caller.ask_for_nothing(peer).await) } else { None };
    caller.close().await;
    answer.map(|took| (took, offers))
}

/// What an address came to that looks as `looks`.
fn judge(looks: Finding, address: &str, answer: Result<Duration, NetworkError>) -> Finding {
    let error = match answer {
        Ok(took) if looks.level == Level::Ok => {
            return Finding::ok(EXTERNAL, format!("{address} answers, {} ms away", took.as_millis()));
        }
        Ok(_) => return Finding { found: format!("{}; it answers", looks.found), ..looks },
        Err(error) => error,
    };
    if let Some(other) = impostor(&error) {
        let found = format!("{address} is answered by another node, {other}");
        let remedy = "lead that port to this node, or set network.external to where it is; after the identity was restored, restart it";
        return Finding::fail(EXTERNAL, found, remedy);
    }
    let found = format!("{address} does not answer: {}", reason(&error));
    let refused = found.contains("refused");
    match ip_of(address) {
        Some(ip) if !refused && !is_own(ip) => Finding::warn(
            EXTERNAL,
            found,
            "open and forward the port; a router that leads no call from inside back in looks alike, so ask from outside, with this address in network.peers of a framemill doctor broadcaster",
        ),
        _ => Finding::fail(
            EXTERNAL,
            found,
            "open the port in the firewall and forward it to this machine; where that cannot be done, set network.relays",
        ),
    }
}

/// Whether a quote was refused as it should be.
fn sells(answer: &Result<(), NetworkError>) -> Finding {
    const CHECK: &str = "quotes";
    match answer {
        Ok(()) => Finding::ok(CHECK, "this node gives quotes, for nothing too"),
        Err(error) => match error.wire_code() {
            Some(WireCode::PriceTooLow) => Finding::ok(CHECK, "this node answers who asks for a quote"),
            Some(code) => Finding::warn(
                CHECK,
                format!("this node refuses: {}", code.meaning()),
                "its log says more; without a transcoder it has nothing to sell",
            ),
            None => Finding::fail(
                CHECK,
                format!("this node gives no quotes: {}", reason(error)),
                "start it as an orchestrator: framemill orchestrator",
            ),
        },
    }
}

/// Whether peers that were called from the ports of this node can call back, where one of them does that.
pub(super) async fn called_back(config: &Config, stand: &Stand, report: &mut Report) {
    let Some(node) = &stand.stand_in else { return };
    if !until(INTRODUCTION, || node.has_reach_testers()).await {
        return;
    }
    until(CALL_BACK, || !node.reach_tests().is_empty()).await;
    let tests = node.reach_tests();
    let reached = tests.iter().find(|test| test.reached);
    report.extend(match (reached, tests.first()) {
        (Some(test), _) => {
            Some(Finding::ok("nat", format!("{} calls this node back at {}", test.by, test.address)))
        }
        (None, Some(test)) => Some(not_called_back(config, &test.by, &test.address)),
        (None, None) => None,
    });
}

fn not_called_back(config: &Config, by: &PeerId, address: &Multiaddr) -> Finding {
    let found = format!("{by} cannot call this node back at {address}: a router or a firewall is in between");
    match config.network.relays.is_empty() {
        true => Finding::warn("nat", found, "open and forward the port, or set network.relays"),
        false => Finding::ok("nat", format!("{found}; others come through its relays")),
    }
}

/// Waits until something holds; whether it does.
async fn until(longest: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > longest {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

fn address_of(address: &str, listened_on: bool) -> Finding {
    let remedy = "set network.external to the address under which others reach this node, or network.relays";
    match ip_of(address) {
        Some(ip) if ip.is_unspecified() && listened_on => Finding::warn(
            EXTERNAL,
            format!(
                "unset: others are told the addresses that this machine finds for {address}, which behind a router are not public"
            ),
            remedy,
        ),
        Some(ip) if ip.is_unspecified() => {
            Finding::fail(EXTERNAL, format!("{address} is no address to call"), remedy)
        }
        Some(ip) if is_local(ip) => {
            Finding::warn(EXTERNAL, format!("{address} is known in this network alone"), remedy)
        }
        _ => Finding::ok(EXTERNAL, address),
    }
}

/// The IP address in a multiaddr; none where it is a name.
fn ip_of(multiaddr: &str) -> Option<IpAddr> {
    multiaddr.split('/').nth(2)?.parse().ok()
}

fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether an interface of this machine has the address: what does not answer there is not a router's doing.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_cannot_call_are_told() {
        let level = |address, listened_on| address_of(address, listened_on).level;
        assert_eq!(level("/ip4/203.0.113.7/udp/7936/quic-v1", false), Level::Ok);
        assert_eq!(level("/dns4/node.example/tcp/7936", false), Level::Ok);
        assert_eq!(level("/ip4/192.168.1.4/tcp/7936", false), Level::Warn);
        assert_eq!(level("/ip4/0.0.0.0/tcp/7936", true), Level::Warn);
        assert_eq!(level("/ip4/0.0.0.0/tcp/7936", false), Level::Fail);
    }

    #[test]
    fn a_public_address_that_is_silent_from_inside_may_be_the_routers_doing() {
        let silent = || NetworkError::Timeout { what: "calling", after: Duration::from_secs(3) };
        let level = |address| judge(address_of(address, false), address, Err(silent())).level;
        assert_eq!(level("/ip4/203.0.113.7/tcp/7936"), Level::Warn);
        assert_eq!(level("/ip4/127.0.0.1/tcp/7936"), Level::Fail);
    }

    #[test]
    fn a_node_that_refuses_to_work_for_nothing_sells() {
        let refusal = |code| Err(framemill_network::WireError::new(code, "no").into());
        assert_eq!(sells(&refusal(WireCode::PriceTooLow)).level, Level::Ok);
        assert_eq!(sells(&refusal(WireCode::NoTranscoder)).level, Level::Warn);
        let protocol = NetworkError::UnsupportedProtocol { peer: PeerId::random(), protocol: "quote" };
        assert_eq!(sells(&Err(protocol)).level, Level::Fail);
    }
}
