//! The chain: endpoints, contracts, rounds and time.

use std::time::{SystemTime, UNIX_EPOCH};

use framemill_contracts::{ChainClient, ChainError};
use reqwest::Url;

use super::report::{Finding, Report};
use crate::{chain, config::Config};

/// A newest block so many seconds ahead of this clock means that the clock is behind: blocks are not dated ahead by more.
const AHEAD: u64 = 15;
/// A newest block so many seconds old means that the chain stands still or this clock is ahead.
const STALE: u64 = 300;

/// Looks at the chain that is configured; a client that can read it.
pub(super) async fn examine(config: &Config, report: &mut Report) -> Option<ChainClient> {
    let client = match chain::connect(config, None).await {
        Ok(Some(client)) => client,
        Ok(None) => {
            let remedy = "set chain.rpc and chain.deployment";
            report.add(Finding::warn("chain", "none: nothing is paid and nobody finds this node", remedy));
            return None;
        }
        Err(error) => {
            report.add(Finding::fail("chain", format!("{error:#}"), remedy(&error)));
            return None;
        }
    };
    report.add(Finding::ok("chain", format!("the endpoint answers, chain id {}", client.chain_id())));
    fallbacks(config, report).await;
    report.add(contracts(&client).await);
    report.add(clock(&client).await);
    report.add(round(&client).await);
    Some(client)
}

fn remedy(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref::<ChainError>() {
        Some(ChainError::Unreachable { .. }) => "start the node at chain.rpc, or set it to one that runs",
        Some(ChainError::WrongChain { .. }) => {
            "set chain.rpc to a node of the deployment's chain, or chain.deployment to this chain's file"
        }
        _ => "set chain.rpc and chain.deployment; framemill config show tells what they are",
    }
}

/// Each further endpoint by itself: while the first one answers nobody would notice.
async fn fallbacks(config: &Config, report: &mut Report) {
    for url in &config.chain.rpc_fallbacks {
        let mut alone = config.clone();
        alone.chain.rpc = Some(url.clone());
        alone.chain.rpc_fallbacks.clear();
        let name = origin(url);
        report.add(match chain::connect(&alone, None).await {
            Ok(_) => Finding::ok("chain.rpc_fallbacks", format!("{name} answers")),
            Err(error) => {
                Finding::warn("chain.rpc_fallbacks", format!("{error:#}"), format!("mend or remove {name}"))
            }
        });
    }
}

/// An endpoint as it is named to people: its path may hold a key, and so may what else an address has.
fn origin(url: &str) -> String {
    url.parse::<Url>()
        .map_or_else(|_| "what is no address".to_owned(), |url| url.origin().ascii_serialization())
}

async fn contracts(client: &ChainClient) -> Finding {
    match client.missing_contracts().await {
        Ok(missing) if missing.is_empty() => Finding::ok("contracts", "every one stands at its address"),
        Ok(missing) => Finding::fail(
            "contracts",
            format!("no code at the addresses of {}", missing.join(", ")),
            "set chain.deployment to the file of a deployment on this chain",
        ),
        Err(error) => unread("contracts", &error),
    }
}

fn unread(check: &'static str, error: &ChainError) -> Finding {
    Finding::fail(check, error.to_string(), "ask the endpoint again; another one may answer")
}

async fn clock(client: &ChainClient) -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match client.head_time().await {
        Ok(block) => compare(now, block),
        Err(error) => unread("clock", &error),
    }
}

/// Seconds since 1970 here, and of the newest block.
fn compare(now: u64, block: u64) -> Finding {
    if block > now.saturating_add(AHEAD) {
        let found = format!("this clock is {} s behind the newest block", block - now);
        return Finding::fail("clock", found, "set the time, and keep it by NTP (timedatectl set-ntp true)");
    }
    let age = now.saturating_sub(block);
    if age > STALE {
        let found =
            format!("the newest block is {age} s old: this clock is ahead, or the chain stands still");
        return Finding::warn(
            "clock",
            found,
            "compare with timedatectl; ask another endpoint for its newest block",
        );
    }
    Finding::ok("clock", format!("agrees with the newest block, {age} s old"))
}

async fn round(client: &ChainClient) -> Finding {
    match client.round_info().await {
        Ok(round) if round.last_initialized < round.current => Finding::warn(
            "round",
            format!("round {} has begun and was not initialized", round.current),
            "wait for an orchestrator to do it; orchestrator.keep_rounds has one's own do it",
        ),
        Ok(round) => Finding::ok("round", format!("{} is initialized", round.current)),
        Err(error) => unread("round", &error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn an_endpoint_is_named_without_what_may_hold_a_key() {
        let whole = "https://user:secret@rpc.example:8545/v3/secret?key=secret#secret";
        assert_eq!(origin(whole), "https://rpc.example:8545");
        assert_eq!(origin("rpc.example/secret"), "what is no address");
    }

    #[test]
    fn a_clock_behind_the_chain_fails_and_a_chain_that_stands_still_warns() {
        assert_eq!(compare(1_000, 1_000 + AHEAD).level, Level::Ok);
        assert_eq!(compare(1_000, 1_001 + AHEAD).level, Level::Fail);
        assert_eq!(compare(1_000 + STALE, 1_000).level, Level::Ok);
        assert_eq!(compare(1_001 + STALE, 1_000).level, Level::Warn);
    }
}
