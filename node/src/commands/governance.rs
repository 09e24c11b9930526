//! `framemill governance`: what stake decides.

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_contracts::{Ballot, ChainClient, Proposal, Standing};
use serde_json::{Value, json};

use crate::{
    amount,
    cli::{BallotArg, GovernanceCommand, JsonArgs, ProposeArgs, SignArgs, VoteArgs},
    commands::stake::Calendar,
    config::Config,
    transact::{self, Plan, print},
};

/// Runs the command.
pub(crate) async fn run(config: &Config, command: &GovernanceCommand) -> anyhow::Result<()> {
    if let GovernanceCommand::List(output) = command {
        return list(config, *output).await;
    }
    let client = transact::signer(config).await?;
    let (plan, sign) = plan(&client, command).await?;
    transact::carry_out(&client, plan, sign).await
}

async fn plan(client: &ChainClient, command: &GovernanceCommand) -> anyhow::Result<(Plan, SignArgs)> {
    Ok(match command {
        GovernanceCommand::Propose(args) => (propose(client, args).await?, args.sign),
        GovernanceCommand::Vote(args) => (vote(client, args).await?, args.sign),
        GovernanceCommand::Queue(args) => {
            let proposal = find(client, &args.proposal).await?;
            let plan = Plan {
                action: client.queue(&proposal),
                what: format!("put proposal {} into the timelock", proposal.id),
                consequences: vec!["it can be executed by anybody when the timelock is over".to_owned()],
                facts: json!({ "proposal": proposal.id.to_string() }),
            };
            (plan, args.sign)
        }
        GovernanceCommand::Execute(args) => {
            let proposal = find(client, &args.proposal).await?;
            let mut consequences = vec!["it cannot be undone but by another proposal".to_owned()];
            consequences.extend(calls(client, &proposal));
            let plan = Plan {
                action: client.execute(&proposal),
                what: format!("execute proposal {}", proposal.id),
                consequences,
                facts: json!({ "proposal": proposal.id.to_string() }),
            };
            (plan, args.sign)
        }
        GovernanceCommand::List(_) => anyhow::bail!("this command signs nothing"),
    })
}

async fn propose(client: &ChainClient, args: &ProposeArgs) -> anyhow::Result<Plan> {
    let calls = args.calls.iter().map(|text| client.read_call(text)).collect::<Result<Vec<_>, _>>()?;
    let calendar = Calendar::of(client).await?;
    Ok(Plan {
        action: client.propose(&calls, &args.description),
        what: format!("propose {:?}: {}", args.description, args.calls.join("; ")),
        consequences: vec![
            format!("this is {}; the stake of a later one votes", calendar.round(calendar.current())),
            "when it is decided, queued and the timelock is over, anybody can execute it".to_owned(),
        ],
        facts: json!({ "calls": args.calls, "description": args.description }),
    })
}

async fn vote(client: &ChainClient, args: &VoteArgs) -> anyhow::Result<Plan> {
    let (me, proposal) = (transact::account(client)?, find(client, &args.proposal).await?);
    let account = client.delegator(me).await?;
    let overriding = !account.delegate.is_zero() && account.delegate != me;
    let (ballot, word) = match args.ballot {
        BallotArg::For => (Ballot::For, "for"),
        BallotArg::Against => (Ballot::Against, "against"),
        BallotArg::Abstain => (Ballot::Abstain, "neither for nor against"),
    };
    let whose = match overriding {
        true => format!(
            "your stake as of round {} votes so, whatever {} votes",
            proposal.vote_start, account.delegate
        ),
        false => format!(
            "all stake with you as of round {} votes so, but for delegators that vote themselves",
            proposal.vote_start
        ),
    };
    Ok(Plan {
        action: client.vote(proposal.id, ballot, overriding),
        what: format!("vote {word} proposal {}: {:?}", proposal.id, proposal.description),
        consequences: vec![whose, "a ballot cannot be changed".to_owned()],
        facts: json!({ "proposal": proposal.id.to_string(), "ballot": word, "overriding": overriding }),
    })
}

async fn list(config: &Config, output: JsonArgs) -> anyhow::Result<()> {
    let client = transact::reader(config).await?;
    let calendar = Calendar::of(&client).await?;
    let mut lines = Vec::new();
    let mut found = Vec::new();
    for proposal in client.proposals().await? {
        let standing = client.standing(proposal.id).await?;
        lines.push(format!("{}  {:?}  {:?}", proposal.id, standing.state, proposal.description));
        lines.push(format!(
            "  for {}, against {}, abstained {}; voting ends with {}",
            amount::show_short(standing.votes_for),
            amount::show_short(standing.votes_against),
            amount::show_short(standing.abstained),
            calendar.round(proposal.vote_end)
        ));
        lines.extend(calls(&client, &proposal).into_iter().map(|call| format!("  {call}")));
        found.push(described(&proposal, &standing));
    }
    if lines.is_empty() {
        lines.push("no proposal was ever made".to_owned());
    }
    print(output, &json!({ "proposals": found }), &lines);
    Ok(())
}

fn described(proposal: &Proposal, standing: &Standing) -> Value {
    let call = |call: &framemill_contracts::ProposedCall| json!({ "target": call.target, "value_wei": call.value.to_string(), "data": call.data });
    json!({
        "id": proposal.id.to_string(),
        "proposer": proposal.proposer,
        "description": proposal.description,
        "state": format!("{:?}", standing.state).to_lowercase(),
        "votes_for": standing.votes_for.to_string(),
        "votes_against": standing.votes_against.to_string(),
        "abstained": standing.abstained.to_string(),
        "vote_start": proposal.vote_start,
        "vote_end": proposal.vote_end,
        "eta": standing.eta,
        "calls": proposal.calls.iter().map(call).collect::<Vec<_>>(),
    })
}

fn calls(client: &ChainClient, proposal: &Proposal) -> Vec<String> {
    let name = |target: Address| {
        let known = client.deployment().contracts().into_iter().find(|(_, address)| *address == target);
        known.map_or_else(|| target.to_string(), |(name, _)| name.to_owned())
    };
    proposal.calls.iter().map(|call| format!("calls {} with {}", name(call.target), call.data)).collect()
}

async fn find(client: &ChainClient, text: &str) -> anyhow::Result<Proposal> {
    let id: U256 = text.parse().with_context(|| format!("\"{text}\" is no id of a proposal"))?;
    let proposals = client.proposals().await?;
    proposals
        .into_iter()
        .find(|proposal| proposal.id == id)
        .with_context(|| format!("there is no proposal {id}; `framemill governance list` names them"))
}
