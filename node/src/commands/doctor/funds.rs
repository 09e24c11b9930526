//! Money and stake: whether the account can do on chain what its role does there.

use alloy_primitives::{Address, U256};
use framemill_contracts::{ChainClient, ChainError, OrchestratorRecord};
use framemill_network::{Identity, ServiceAddress};

use super::report::{Finding, Report};
use crate::{amount, config::Config, dashboard::Role};

/// Wei below which gas may run out within days: some dozens of redemptions at a usual price.
const GAS_LITTLE: u64 = 5_000_000_000_000_000;

/// Looks at the account of each role that trades.
pub(super) async fn examine(
    config: &Config,
    roles: &[Role],
    client: &ChainClient,
    key: Option<Address>,
    report: &mut Report,
) {
    let Some(account) = key else { return };
    report.add(told("gas", gas(client, account).await));
    if roles.contains(&Role::Broadcaster) {
        report.add(told("deposit", deposit(client, account).await));
    }
    if roles.contains(&Role::Orchestrator) {
        match client.orchestrator(account).await {
            Ok(Some(record)) => report.extend(registered(config, &record, client).await),
            Ok(None) => report.add(Finding::fail(
                "stake",
                format!(
                    "{account} is not registered: no broadcaster finds it, and none of its tickets is paid"
                ),
                "framemill stake bond, framemill stake set-terms, then framemill stake set-service",
            )),
            Err(error) => report.add(told("stake", Err(error))),
        }
    }
}

fn told(check: &'static str, finding: Result<Finding, ChainError>) -> Finding {
    finding.unwrap_or_else(|error| {
        Finding::fail(check, error.to_string(), "ask the endpoint again; another one may answer")
    })
}

async fn gas(client: &ChainClient, account: Address) -> Result<Finding, ChainError> {
    let balance = client.balance(account).await?;
    let (found, remedy) = (amount::show(balance), format!("send ether to {account}"));
    Ok(match balance {
        none if none.is_zero() => Finding::fail("gas", "no ether: no transaction can be sent", remedy),
        little if little < U256::from(GAS_LITTLE) => Finding::warn("gas", found, remedy),
        _ => Finding::ok("gas", found),
    })
}

async fn deposit(client: &ChainClient, account: Address) -> Result<Finding, ChainError> {
    let info = client.sender_info(account).await?;
    let held = format!("deposit {}, reserve {}", amount::show(info.deposit), amount::show(info.reserve));
    let fund = "framemill wallet fund --deposit 1ETH --reserve 0.1ETH";
    Ok(if info.withdraw_round > 0 {
        let found = format!("{held}, unlocked for withdrawal: no orchestrator takes its tickets");
        Finding::fail("deposit", found, "framemill wallet cancel-unlock")
    } else if info.deposit.is_zero() {
        Finding::fail("deposit", format!("{held}: no ticket can be paid"), fund)
    } else if info.reserve.is_zero() {
        Finding::warn("deposit", format!("{held}: nothing stands behind the deposit"), fund)
    } else {
        Finding::ok("deposit", held)
    })
}

async fn registered(config: &Config, record: &OrchestratorRecord, client: &ChainClient) -> Vec<Finding> {
    let round = client.round_info().await.map(|round| round.current).unwrap_or_default();
    vec![stake(record, round), registry(config, record)]
}

fn stake(record: &OrchestratorRecord, round: u64) -> Finding {
    let found = format!("{} tokens bonded", amount::show_units(record.stake));
    if record.jailed_until > round {
        let found = format!("{found}, kept out by the court until round {}", record.jailed_until);
        return Finding::fail("stake", found, "framemill dispute list tells why; wait for that round");
    }
    if record.active {
        return Finding::ok("stake", format!("{found}, active in this round"));
    }
    if record.activation_round > round {
        let found = format!("{found}, active from round {} on", record.activation_round);
        return Finding::warn("stake", found, "wait for that round");
    }
    let found = format!("{found}, not among the active: it earns nothing");
    Finding::fail(
        "stake",
        found,
        "framemill stake list shows what the set takes; framemill stake bond adds to it",
    )
}

/// Whether the registry names this node.
fn registry(config: &Config, record: &OrchestratorRecord) -> Finding {
    let uri = &record.service_uri;
    let Ok(service) = uri.parse::<ServiceAddress>() else {
        let found = format!("it says {uri:?}, which is no address of a node");
        return Finding::fail("registry", found, "framemill stake set-service");
    };
    let identity = config.data_dir().join("identity");
    let own = identity.exists().then(|| Identity::load_or_create(&identity).ok()).flatten();
    match own {
        Some(own) if own.peer_id() != service.peer() => Finding::fail(
            "registry",
            format!("it names peer {}, and this node is {}", service.peer(), own.peer_id()),
            format!("restore the identity to {}, or framemill stake set-service", identity.display()),
        ),
        _ => Finding::ok("registry", uri.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn record(active: bool, activation_round: u64, jailed_until: u64) -> OrchestratorRecord {
        OrchestratorRecord {
            address: Address::ZERO,
            stake: U256::ZERO,
            reward_cut_ppm: 0,
            fee_share_ppm: 0,
            active,
            activation_round,
            last_reward_round: 0,
            jailed_until,
            next_terms: None,
            service_uri: String::new(),
            signing_key: Address::ZERO,
        }
    }

    #[test]
    fn only_an_active_stake_earns() {
        let level = |active, from, jailed| stake(&record(active, from, jailed), 5).level;
        assert_eq!(level(true, 1, 0), Level::Ok);
        assert_eq!(level(false, 6, 0), Level::Warn);
        assert_eq!(level(false, 1, 0), Level::Fail);
        assert_eq!(level(true, 1, 6), Level::Fail);
    }
}
