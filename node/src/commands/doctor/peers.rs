//! Whether this node reaches whom it needs: peers of the configuration, orchestrators of the chain.

use std::time::Duration;

use framemill_contracts::{ChainClient, OrchestratorRecord};
use framemill_network::{NetworkError, ServiceAddress};
use futures::future::join_all;

use super::{
    caller::{Caller, impostor, reason},
    report::{Finding, Report},
};
use crate::{buyer, config::Config, dashboard::Role, runtime::services};

/// What is said of those that a broadcaster buys from on chain.
const CHECK: &str = "orchestrators";
/// Nodes that are called for one line: enough to tell a network that does not work from a node that is away.
const MOST_CALLED: usize = 16;
/// Of those that do not answer, so many are named.
const MOST_NAMED: usize = 3;
/// With fewer nobody takes over when one fails.
const FEW: usize = 2;

/// Calls all that the roles need.
pub(super) async fn examine(
    config: &Config,
    roles: &[Role],
    chain: Option<&ChainClient>,
    caller: &Caller,
    report: &mut Report,
) {
    if roles.iter().any(|role| *role != Role::Transcoder) {
        named(config, roles, caller, report).await;
    }
    if roles.contains(&Role::Broadcaster) {
        sellers(config, chain, caller, report).await;
    }
    if roles.contains(&Role::Transcoder) {
        orchestrator(config, caller, report).await;
    }
}

/// Calls the nodes that the configuration names.
async fn named(config: &Config, roles: &[Role], caller: &Caller, report: &mut Report) {
    let network = &config.network;
    let sells = roles.contains(&Role::Orchestrator);
    if sells {
        call("network.relays", &services("network.relays", &network.relays), true, caller, report).await;
    }
    if network.discovery {
        call("network.bootstrap", &services("network.bootstrap", &network.bootstrap), false, caller, report)
            .await;
    }
    let peers = network.peers.iter().map(|text| Ok(buyer::peer(text)?.service)).collect();
    call("network.peers", &peers, !sells, caller, report).await;
}

/// Where all of a key are `needed`, one that answers will do; without any it fails.
async fn call(
    key: &'static str,
    nodes: &anyhow::Result<Vec<ServiceAddress>>,
    needed: bool,
    caller: &Caller,
    report: &mut Report,
) {
    // What cannot be read was told with the configuration.
    let Ok(nodes) = nodes else { return };
    let called = &nodes[..nodes.len().min(MOST_CALLED)];
    let answers = caller.call_all(called).await;
    let none = answers.iter().all(Result::is_err);
    for (node, answer) in called.iter().zip(&answers) {
        report.add(answered(key, node, answer, needed && none));
    }
}

fn answered(
    key: &'static str,
    node: &ServiceAddress,
    answer: &Result<Duration, NetworkError>,
    fails: bool,
) -> Finding {
    let error = match answer {
        Ok(took) => {
            return Finding::ok(key, format!("{} answers, {} ms away", node.peer(), took.as_millis()));
        }
        Err(error) => error,
    };
    let found = format!("{} does not answer: {}", node.peer(), reason(error));
    let remedy = match impostor(error) {
        Some(_) => format!("ask its operator for the address that it has now, and set {key} to it"),
        None => format!("check its address in {key}, that it runs, and that this machine may call out"),
    };
    match fails {
        true => Finding::fail(key, found, remedy),
        false => Finding::warn(key, found, remedy),
    }
}

/// Calls orchestrators that a broadcaster can buy from on chain: the ones with the most stake.
async fn sellers(config: &Config, chain: Option<&ChainClient>, caller: &Caller, report: &mut Report) {
    let configured = !config.network.peers.is_empty();
    let Some(client) = chain else {
        if !configured && config.chain.rpc.is_none() {
            let found = "none is known: there is no chain, and network.peers is empty";
            report.add(Finding::fail(CHECK, found, "set chain.rpc and chain.deployment, or network.peers"));
        }
        return;
    };
    match client.active_orchestrators().await {
        Ok(active) if active.is_empty() && configured => {}
        Ok(active) if active.is_empty() => report.add(Finding::fail(
            CHECK,
            "none is active on this chain",
            "check chain.deployment, wait for one to be active, or set network.peers",
        )),
        Ok(active) => {
            let called = &active[..active.len().min(MOST_CALLED)];
            let mut silent = Vec::new();
            for (record, answer) in
                called.iter().zip(join_all(called.iter().map(|record| registered(record, caller))).await)
            {
                silent.extend(answer.err().map(|why| format!("{}: {why}", record.address)));
            }
            report.add(reached(active.len(), called.len(), &silent));
        }
        Err(error) => report.add(Finding::fail(
            CHECK,
            error.to_string(),
            "ask the endpoint again; another one may answer",
        )),
    }
}

/// Calls an orchestrator where it has registered.
async fn registered(record: &OrchestratorRecord, caller: &Caller) -> Result<(), String> {
    let service: ServiceAddress =
        record.service_uri.parse().map_err(|_| "has registered no address".to_owned())?;
    caller.call(&service).await.map(drop).map_err(|error| reason(&error))
}

fn reached(active: usize, called: usize, silent: &[String]) -> Finding {
    let answer = called - silent.len();
    let mut found =
        format!("{answer} of {called} that were called answer; {active} are active on this chain");
    for why in silent.iter().take(MOST_NAMED) {
        found += &format!("\n{why}");
    }
    let remedy =
        "check that this machine may call out over UDP and TCP; who is away is for its operator to mend";
    match answer {
        0 => Finding::fail(CHECK, found, remedy),
        few if few < FEW => Finding::warn(
            CHECK,
            found,
            "with one nobody takes over when it fails: add others to network.peers",
        ),
        _ => Finding::ok(CHECK, found),
    }
}

/// Calls the orchestrator that a transcoder works for.
async fn orchestrator(config: &Config, caller: &Caller, report: &mut Report) {
    let Some(service) = config.transcoder.orchestrator.as_ref().and_then(|text| text.parse().ok()) else {
        return;
    };
    report.add(match caller.call(&service).await {
        Ok(took) => Finding::ok("orchestrator", format!("answers, {} ms away", took.as_millis())),
        Err(error) => Finding::fail(
            "orchestrator",
            error.to_string(),
            "check transcoder.orchestrator, and that its node runs and its port is open",
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn one_orchestrator_that_answers_is_too_few_and_none_fails() {
        let silent = |count| vec!["0x00: away".to_owned(); count];
        assert_eq!(reached(9, 4, &silent(0)).level, Level::Ok);
        assert_eq!(reached(9, 4, &silent(2)).level, Level::Ok);
        assert_eq!(reached(9, 4, &silent(3)).level, Level::Warn);
        let none = reached(9, 4, &silent(4));
        assert_eq!(none.level, Level::Fail);
        assert_eq!(none.found.matches("away").count(), MOST_NAMED);
    }
}
