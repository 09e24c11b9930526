//! Whether this node can be reached, and whether it reaches whom it needs.

use std::{net::IpAddr, time::Duration};

use alloy_primitives::B256;
use framemill_network::{BlobRequest, Identity, Network, NetworkConfig, NetworkError, ServiceAddress};

use super::report::{Finding, Report};
use crate::{config::Config, dashboard::Role};

/// An orchestrator that does not answer by then is too far away for live video.
const ANSWER: Duration = Duration::from_secs(5);

/// Looks at the addresses that an orchestrator tells others.
pub(super) fn announced(config: &Config, roles: &[Role], report: &mut Report) {
    if !roles.contains(&Role::Orchestrator) {
        return;
    }
    let network = &config.network;
    let told = if network.external.is_empty() { &network.listen } else { &network.external };
    if !network.relays.is_empty() {
        let found = format!("others come through {} relays", network.relays.len());
        report.add(Finding::ok("network.relays", found));
    }
    report.extend(told.iter().map(|address| address_of(address, network.external.is_empty())));
}

fn address_of(address: &str, listened_on: bool) -> Finding {
    const KEY: &str = "network.external";
    let remedy = "set network.external to the address under which others reach this node, or network.relays";
    match ip_of(address) {
        Some(ip) if ip.is_unspecified() && listened_on => Finding::warn(
            KEY,
            format!(
                "unset: others are told the addresses that this machine finds for {address}, which behind a router are not public"
            ),
            remedy,
        ),
        Some(ip) if ip.is_unspecified() => {
            Finding::fail(KEY, format!("{address} is no address to call"), remedy)
        }
        Some(ip) if is_local(ip) => {
            Finding::warn(KEY, format!("{address} is known in this network alone"), remedy)
        }
        _ => Finding::ok(KEY, address),
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

/// Calls the orchestrator that a transcoder works for.
pub(super) async fn orchestrator(config: &Config, report: &mut Report) {
    let Some(service) = config.transcoder.orchestrator.as_ref().and_then(|text| text.parse().ok()) else {
        return;
    };
    report.add(match call(&service).await {
        Ok(took) => Finding::ok("orchestrator", format!("answers, {} ms away", took.as_millis())),
        Err(error) => Finding::fail(
            "orchestrator",
            error.to_string(),
            "check transcoder.orchestrator, and that its node runs and its port is open",
        ),
    });
}

/// The round trip to a node. It is asked for a file that nobody has: any answer means that it is there.
async fn call(service: &ServiceAddress) -> Result<Duration, NetworkError> {
    let network = Network::start(NetworkConfig::new(Identity::generate())).await?;
    network.add_peer(service)?;
    let request = BlobRequest { sha256: B256::ZERO, max_bytes: 1 };
    let begun = std::time::Instant::now();
    let answer = network.request_blob(service.peer(), &request, ANSWER).await;
    let took = network.round_trip(service.peer()).unwrap_or_else(|| begun.elapsed());
    let connected = network.is_connected(service.peer());
    network.shutdown().await;
    match answer {
        Err(error) if !connected => Err(error),
        _ => Ok(took),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
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
}
