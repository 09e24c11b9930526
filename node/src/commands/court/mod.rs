//! `framemill dispute` where it needs the chain: accusing, appealing, moving disputes on, being paid.

mod accuse;
pub(crate) mod list;
mod serve;

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_contracts::{
    Action, ChainClient, CourtAction, CourtParams, Dispute, DisputeStatus, Fault, Verdict,
};
use serde_json::json;

use super::stake::{Calendar, Token, address, percent};
use crate::{
    cli::{DisputeArgs, DisputeCommand, SettleArgs, SignArgs},
    config::Config,
    transact::{self, Plan},
};

/// Runs the command.
pub(crate) async fn run(config: &Config, command: &DisputeCommand) -> anyhow::Result<()> {
    match command {
        DisputeCommand::Open(args) => accuse::open(config, args).await,
        DisputeCommand::Report(args) => accuse::report(config, args).await,
        DisputeCommand::Serve(args) => serve::run(config, args).await,
        DisputeCommand::List(args) => list::all(config, *args).await,
        DisputeCommand::Status(args) => list::one(config, *args).await,
        DisputeCommand::Settle(args) => settle(config, args).await,
        DisputeCommand::Withdraw(sign) => withdraw(config, *sign).await,
        DisputeCommand::Appeal(args) => act(config, *args, Desk::appeal).await,
        DisputeCommand::Advance(args) => act(config, *args, Desk::advance).await,
        DisputeCommand::Execute(args) => act(config, *args, Desk::execute).await,
        DisputeCommand::Build(_) | DisputeCommand::Show(_) | DisputeCommand::Check(_) => {
            anyhow::bail!("this command needs no chain")
        }
    }
}

/// Everything that the words of an action are made of.
struct Desk {
    client: ChainClient,
    me: Address,
    token: Token,
    calendar: Calendar,
    params: CourtParams,
}

impl Desk {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let client = transact::signer(config).await?;
        Ok(Self {
            me: transact::account(&client)?,
            token: Token::of(&client).await?,
            calendar: Calendar::of(&client).await?,
            params: client.court_params().await?,
            client,
        })
    }

    /// Blocks that one jury takes from its draw to its verdict.
    fn instance(&self) -> u64 {
        let params = &self.params;
        [params.seed_delay, params.claim_blocks, params.commit_blocks, params.reveal_blocks]
            .into_iter()
            .map(u64::from)
            .sum()
    }

    fn show(&self, amount: u128) -> String {
        self.token.show(U256::from(amount))
    }

    fn appeal(&self, dispute: &Dispute) -> Plan {
        let bond = dispute.bond.saturating_mul(U256::from(2));
        let verdict = dispute.verdict.map_or("none", verdict_name);
        Plan {
            action: Action::Court(CourtAction::Appeal { dispute: dispute.id, bond }),
            what: format!("appeal the verdict of dispute {}, {verdict}, with {}", dispute.id, self.token.show(bond)),
            consequences: vec![
                format!("a second jury of {} seats judges it again, in {}", 2 * self.params.jury_size + 1, self.calendar.blocks(self.instance())),
                "the bond comes back if the second jury turns guilty into something else or the other way round, or if no jury can be found".to_owned(),
                "else it is lost: half to the other party, half to the second jury".to_owned(),
                "nothing is taken from anybody before that".to_owned(),
            ],
            facts: json!({ "dispute": dispute.id, "verdict": verdict, "bond": bond.to_string() }),
        }
    }

    fn advance(&self, dispute: &Dispute) -> Plan {
        Plan {
            action: Action::Court(CourtAction::Advance { dispute: dispute.id }),
            what: format!("move dispute {} on", dispute.id),
            consequences: vec![
                "its jury is drawn, its votes are counted, or another jury is drawn, whatever is due"
                    .to_owned(),
                "it costs gas and pays nothing; jurors' nodes do it by themselves".to_owned(),
            ],
            facts: json!({ "dispute": dispute.id }),
        }
    }

    fn execute(&self, dispute: &Dispute) -> Plan {
        let verdict = dispute.verdict.map_or("none", verdict_name);
        let slash = self.params.slash_ppm[dispute.fault as usize];
        let follows = match dispute.verdict {
            Some(Verdict::Guilty) => format!(
                "{} and its delegators lose {} of their stake, and it is kept out for {} rounds",
                dispute.accused,
                percent(slash),
                self.params.jail_rounds
            ),
            _ => format!("the bond of {} goes to the accused and the jurors", self.token.show(dispute.bond)),
        };
        Plan {
            action: Action::Court(CourtAction::Execute { dispute: dispute.id }),
            what: format!("carry out the verdict of dispute {}, {verdict}", dispute.id),
            consequences: vec![follows, "it cannot be appealed any more".to_owned()],
            facts: json!({ "dispute": dispute.id, "verdict": verdict }),
        }
    }
}

async fn act(config: &Config, args: DisputeArgs, plan: fn(&Desk, &Dispute) -> Plan) -> anyhow::Result<()> {
    let desk = Desk::open(config).await?;
    let dispute = existing(&desk.client, args.dispute).await?;
    transact::carry_out(&desk.client, plan(&desk, &dispute), args.sign).await
}

async fn settle(config: &Config, args: &SettleArgs) -> anyhow::Result<()> {
    let desk = Desk::open(config).await?;
    let juror = args.juror.as_deref().map_or(Ok(desk.me), address)?;
    let dispute = existing(&desk.client, args.dispute).await?;
    let mut open = None;
    for jury in [dispute.first_jury, dispute.appeal_jury].into_iter().filter(|jury| *jury != 0) {
        let seat = desk.client.seat(jury, juror).await?;
        open = open.or(seat.filter(|seat| !seat.settled).map(|seat| (jury, seat)));
    }
    let (jury, seat) =
        open.with_context(|| format!("{juror} has no seat in dispute {} that is not settled", dispute.id))?;
    let vote = seat.vote.map_or("no vote", verdict_name);
    let plan = Plan {
        action: Action::Court(CourtAction::Settle { jury, juror }),
        what: format!("settle the part of {juror} in jury {jury} of dispute {}", dispute.id),
        consequences: vec![
            format!("it has {} seats and swore: {vote}", seat.seats),
            "who found what the court found is credited its share, to be taken out with `framemill dispute withdraw`"
                .to_owned(),
            format!(
                "who did not vote loses {} of its stake, who swore the opposite {}; a tenth of that is yours",
                percent(desk.params.absence_ppm),
                percent(desk.params.dissent_ppm)
            ),
        ],
        facts: json!({ "dispute": dispute.id, "jury": jury, "juror": juror, "seats": seat.seats, "vote": seat.vote }),
    };
    transact::carry_out(&desk.client, plan, args.sign).await
}

async fn withdraw(config: &Config, sign: SignArgs) -> anyhow::Result<()> {
    let desk = Desk::open(config).await?;
    let owed = desk.client.court_pending(desk.me).await?;
    let plan = Plan {
        action: Action::Court(CourtAction::Withdraw),
        what: format!("take {} out of the court", desk.token.show(owed)),
        consequences: vec![format!("the tokens go to {}", desk.me)],
        facts: json!({ "amount": owed.to_string() }),
    };
    transact::carry_out(&desk.client, plan, sign).await
}

async fn existing(client: &ChainClient, id: u64) -> anyhow::Result<Dispute> {
    let found = client.dispute(id).await?;
    found.with_context(|| format!("there is no dispute {id}; `framemill dispute list` names those there are"))
}

pub(crate) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Guilty => "guilty",
        Verdict::NotGuilty => "not guilty",
        Verdict::Unavailable => "evidence unavailable",
    }
}

pub(crate) fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::Equivocation => "two receipts for one segment",
        Fault::ReceiptPixels => "pixels that contradict its claims",
        Fault::ClaimedPixels => "other pixels than claimed",
        Fault::FalseFeatures => "false features",
        Fault::FalseQuality => "false quality",
        Fault::Unfaithful => "no faithful encodes",
    }
}

pub(crate) fn status_name(status: DisputeStatus) -> &'static str {
    match status {
        DisputeStatus::Judging => "before its jury",
        DisputeStatus::Decided => "decided",
        DisputeStatus::Appealed => "before the appeal's jury",
        DisputeStatus::Closed => "closed",
    }
}
