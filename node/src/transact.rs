//! From a wish to a mined transaction: said in words and exact figures, confirmed, signed, reported.

use std::io::{IsTerminal as _, Write as _};

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_contracts::{Action, ChainClient, ChainError, Preview, Revert, TxReceipt};
use serde_json::{Value, json};

use crate::{
    amount, chain,
    cli::{JsonArgs, SignArgs},
    config::Config,
    keystore,
};

/// What is to be signed, for people.
pub(crate) struct Plan {
    /// What is called.
    pub(crate) action: Action,
    /// What it does, with amounts in human units and exact ones.
    pub(crate) what: String,
    /// What follows from it: what is locked until when, what can be lost, what else changes.
    pub(crate) consequences: Vec<String>,
    /// The figures of `what` for programs.
    pub(crate) facts: Value,
}

/// The user said no, or could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("not confirmed: nothing was signed; {0}")]
pub(crate) struct NotConfirmed(&'static str);

/// Opens the chain with the user's key.
pub(crate) async fn signer(config: &Config) -> anyhow::Result<ChainClient> {
    let key = keystore::open(config)?;
    chain::connect(config, Some(key)).await?.context("no chain: set chain.rpc and chain.deployment")
}

/// Opens the chain to read; the key is opened only where the user's own account is asked about.
pub(crate) async fn reader(config: &Config) -> anyhow::Result<ChainClient> {
    chain::connect(config, None).await?.context("no chain: set chain.rpc and chain.deployment")
}

/// The account of a client that signs.
pub(crate) fn account(client: &ChainClient) -> anyhow::Result<Address> {
    client.address().context("the client was opened without a key")
}

/// Says what would happen, asks, does it, and says what happened.
pub(crate) async fn carry_out(client: &ChainClient, plan: Plan, sign: SignArgs) -> anyhow::Result<()> {
    carry_out_then(client, plan, sign, async || Ok(None)).await
}

/// What came of an action: a line for people and its figures for programs; `None` where there is nothing to tell.
pub(crate) type Outcome = Option<(String, Value)>;

/// As [`carry_out`], and says at last what came of it. Where that cannot be read, the action is done all the same: it says so,
/// and that the chain has it, instead of ending as if it could be tried again.
pub(crate) async fn carry_out_then(
    client: &ChainClient,
    plan: Plan,
    sign: SignArgs,
    outcome: impl AsyncFnOnce() -> anyhow::Result<Outcome>,
) -> anyhow::Result<()> {
    let preview = client.preview(&plan.action).await.map_err(advised)?;
    let lines = explanation(client, &plan, &preview)?;
    if !sign.output.json {
        println!("{}", lines.join("\n"));
    }
    if sign.dry_run {
        if sign.output.json {
            println!("{}", report(client, &plan, &preview, &[]));
        } else {
            println!("dry run: nothing was signed");
        }
        return Ok(());
    }
    confirm(sign)?;
    let receipts = client.perform(&plan.action).await.map_err(advised)?;
    if !sign.output.json {
        for mined in &receipts {
            println!("mined: transaction {} in block {}, {} gas", mined.hash, mined.block, mined.gas_used);
        }
    }
    let outcome = told(outcome().await);
    if sign.output.json {
        let mut told = report(client, &plan, &preview, &receipts);
        if let Some((_, figures)) = outcome {
            told["outcome"] = figures;
        }
        println!("{told}");
    } else if let Some((line, _)) = outcome {
        println!("{line}");
    }
    Ok(())
}

/// What is said of an outcome, known or not.
fn told(outcome: anyhow::Result<Outcome>) -> Outcome {
    outcome.unwrap_or_else(|error| {
        let line = format!("it is done, but what came of it could not be read, do not repeat it: {error:#}");
        let figures = json!({ "unknown": format!("{error:#}") });
        Some((line, figures))
    })
}

fn explanation(client: &ChainClient, plan: &Plan, preview: &Preview) -> anyhow::Result<Vec<String>> {
    let mut lines =
        vec![plan.what.clone(), format!("  account {} on chain {}", account(client)?, client.chain_id())];
    lines.extend(plan.consequences.iter().map(|text| format!("  {text}")));
    if preview.steps.len() > 1 {
        let calls: Vec<_> = preview.steps.iter().map(|step| step.call).collect();
        lines.push(format!("  {} transactions: {}", calls.len(), calls.join(", then ")));
    }
    lines.push(format!(
        "  gas costs {} now, {} at most before it is raised",
        amount::show(preview.gas_cost()),
        amount::show(preview.most_gas_cost())
    ));
    Ok(lines)
}

fn report(client: &ChainClient, plan: &Plan, preview: &Preview, receipts: &[TxReceipt]) -> Value {
    let step = |step: &framemill_contracts::PreviewStep| json!({ "call": step.call, "gas": step.gas, "simulated": step.simulated });
    let mined = |mined: &TxReceipt| json!({ "transaction": mined.hash, "block": mined.block, "gas_used": mined.gas_used });
    json!({
        "what": plan.what,
        "account": client.address(),
        "chain_id": client.chain_id(),
        "facts": plan.facts,
        "consequences": plan.consequences,
        "steps": preview.steps.iter().map(step).collect::<Vec<_>>(),
        "value_wei": preview.value.to_string(),
        "gas_cost_wei": preview.gas_cost().to_string(),
        "most_gas_cost_wei": preview.most_gas_cost().to_string(),
        "dry_run": receipts.is_empty(),
        "transactions": receipts.iter().map(mined).collect::<Vec<_>>(),
    })
}

fn confirm(sign: SignArgs) -> Result<(), NotConfirmed> {
    if sign.yes {
        return Ok(());
    }
    if sign.output.json || !std::io::stdin().is_terminal() {
        return Err(NotConfirmed("pass --yes to sign without being asked, or --dry-run to only look"));
    }
    print!("sign and send? [y/N] ");
    std::io::stdout().flush().ok();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err(NotConfirmed("answer y to sign")),
    }
}

/// Adds what to do to what a contract refused.
pub(crate) fn advised(error: ChainError) -> anyhow::Error {
    let advice = match &error {
        ChainError::Reverted { call, revert } => advice(call, revert),
        ChainError::Rpc { message, .. } if message.to_ascii_lowercase().contains("insufficient funds") => {
            Some(
                "the account has too little ether for the amount and its gas; fund it, or send less"
                    .to_owned(),
            )
        }
        _ => None,
    };
    match advice {
        Some(advice) => anyhow::Error::new(error).context(advice),
        None => error.into(),
    }
}

fn advice(call: &str, revert: &Revert) -> Option<String> {
    let arg = |index: usize| revert.args.get(index).map_or("?", String::as_str);
    let units =
        |index: usize| arg(index).parse::<U256>().map_or_else(|_| arg(index).to_owned(), amount::show_units);
    Some(match revert.name.as_str() {
        "StakeAnswers" => format!(
            "stake that you moved answers for the orchestrator that it left: {} is free, the rest from round {} on",
            units(0),
            arg(1)
        ),
        "StillLocked" if call.starts_with("bond") => format!(
            "your stake was moved before: it can move again from round {} on, and this is round {}",
            arg(1),
            arg(0)
        ),
        "StillLocked" if call.starts_with("rebond") => format!(
            "before round {} it goes only back to the orchestrator it was with, and this is round {}: it answers for that one",
            arg(1),
            arg(0)
        ),
        "StillLocked" => {
            format!("it is locked until round {} and this is round {}; try again then", arg(1), arg(0))
        }
        "NotBonded" => "this account has no stake; bond some with `framemill stake bond` first".to_owned(),
        "NoSuchLock" => format!(
            "there is no lock {}: it was withdrawn or rebonded, or never was; `framemill stake show` lists the locks",
            arg(1)
        ),
        "BadAmount" => format!("{} was asked for and {} is there; ask for less", units(0), units(1)),
        "NotOrchestrator" => format!(
            "{} is no orchestrator with stake of its own; `framemill stake list` names those that are",
            arg(0)
        ),
        "OrchestratorCannotDelegate" => {
            "an orchestrator's own stake stays with itself; unbond it first, or use another account"
                .to_owned()
        }
        "StillBonded" => {
            format!("your stake is bonded to {} still; leave --to out, or unbond it all first", arg(0))
        }
        "RoundLocked" => {
            format!("round {} is in its lock period; set terms when the next round has begun", arg(0))
        }
        "Jailed" => format!("{} is in jail until round {}", arg(0), arg(1)),
        "ERC20InsufficientBalance" => {
            format!("{} tokens are needed and the account has {}; get more, or use less", units(2), units(1))
        }
        "AlreadyPunished" => "the court has taken stake for this fault already".to_owned(),
        "EvidenceInDispute" => format!("this evidence is before the court already, in dispute {}", arg(1)),
        "OutsideStatute" => format!(
            "the receipt is of round {} and this is round {}: one can be accused in its own round and the {} after it",
            arg(0),
            arg(1),
            arg(2)
        ),
        "WrongSigner" => format!(
            "the receipt is signed by {}, which is no key of {} in round {}; name the orchestrator with --accused",
            arg(0),
            arg(1),
            arg(2)
        ),
        "NoEquivocation" => "the two receipts do not contradict each other".to_owned(),
        "NoPixelFault" => "the receipt's pixels agree with its claims and its ladder".to_owned(),
        "WrongStatus" => "the dispute is not where this is done; see `framemill dispute status`".to_owned(),
        "OutsideWindow" => {
            format!("this is block {}, and it is done from block {} to {}", arg(0), arg(1), arg(2))
        }
        "RoundEnding" => format!("too little is left of the round; try again from block {} on", arg(0)),
        "BadAccusation" => format!(
            "a jury is asked about another number of receipts than {}, each with its bundle: two of different segments for unfaithful, one for every other fault",
            arg(1)
        ),
        "JuryIsVoid" => format!(
            "a pause kept jury {} from its work: nobody is paid or fined for it, and `framemill dispute advance` draws another one if none was drawn yet",
            arg(0)
        ),
        "NoSeat" => format!("{} has no seat in jury {}", arg(1), arg(0)),
        "AlreadyDone" => "that is done already".to_owned(),
        "NothingToWithdraw" => "the court owes this account nothing".to_owned(),
        "Paused" | "EnforcedPause" => {
            "the contracts are paused; wait for their owner to resume them".to_owned()
        }
        _ => return None,
    })
}

/// Prints one answer of a command that only reads.
pub(crate) fn print(output: JsonArgs, value: &Value, lines: &[String]) {
    match output.json {
        true => println!("{value}"),
        false => println!("{}", lines.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_cannot_be_read_is_told_and_is_no_failure() {
        let (line, figures) = told(Err(anyhow::anyhow!("the endpoint is away"))).unwrap();
        assert!(line.contains("it is done") && line.contains("the endpoint is away"), "{line}");
        assert_eq!(figures["unknown"], "the endpoint is away");
        let known = Some(("dispute 1 is open".to_owned(), json!({ "dispute": 1 })));
        assert_eq!(told(Ok(known.clone())), known);
        assert_eq!(told(Ok(None)), None);
    }

    #[test]
    fn refusals_of_the_court_come_with_what_to_do() {
        let revert = |name: &str, args: &[&str]| Revert {
            name: name.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        };
        let told = advice("openDispute", &revert("BadAccusation", &["5", "1", "1"])).unwrap();
        assert!(told.contains("than 1,") && told.contains("two of different segments"), "{told}");
        let told = advice("settleJuror", &revert("JuryIsVoid", &["4"])).unwrap();
        assert!(told.contains("jury 4") && told.contains("dispute advance"), "{told}");
    }
}
