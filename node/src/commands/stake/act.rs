//! What stakers sign, with its consequences.

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_contracts::{Action, ChainClient, Delegator, LockedStake, Redelegation};
use framemill_network::ServiceAddress;
use serde_json::json;

use super::{Calendar, Token, address, parse_percent, percent};
use crate::{
    amount,
    cli::{
        BondArgs, LockArgs, MoveArgs, RebondArgs, ServiceArgs, SignArgs, StakeCommand, TermsArgs,
        TransferArgs, UnbondArgs, WithdrawFeesArgs,
    },
    config::Config,
    runtime,
    transact::{self, Plan},
};

/// What a staker always risks.
const SLASHABLE: &str =
    "it can be slashed for proven faults of that orchestrator, while it is bonded and while it unbonds";

/// Everything that the words of an action are made of.
struct Desk {
    client: ChainClient,
    me: Address,
    account: Delegator,
    moved: Option<Redelegation>,
    token: Token,
    calendar: Calendar,
}

/// Plans the action, then carries it out.
pub(super) async fn run(config: &Config, command: &StakeCommand) -> anyhow::Result<()> {
    let client = transact::signer(config).await?;
    let me = transact::account(&client)?;
    let desk = Desk {
        me,
        account: client.delegator(me).await?,
        moved: client.redelegation(me).await?,
        token: Token::of(&client).await?,
        calendar: Calendar::of(&client).await?,
        client,
    };
    let (plan, sign) = desk.plan(config, command).await?;
    transact::carry_out(&desk.client, plan, sign).await
}

impl Desk {
    async fn plan(&self, config: &Config, command: &StakeCommand) -> anyhow::Result<(Plan, SignArgs)> {
        Ok(match command {
            StakeCommand::Bond(args) => (self.bond(args).await?, args.sign),
            StakeCommand::Unbond(args) => (self.unbond(args).await?, args.sign),
            StakeCommand::Rebond(args) => (self.rebond(args).await?, args.sign),
            StakeCommand::Move(args) => (self.shift(args).await?, args.sign),
            StakeCommand::Transfer(args) => (self.transfer(args).await?, args.sign),
            StakeCommand::Withdraw(args) => (self.withdraw(args).await?, args.sign),
            StakeCommand::WithdrawFees(args) => (self.withdraw_fees(args)?, args.sign),
            StakeCommand::SetTerms(args) => (self.set_terms(args).await?, args.sign),
            StakeCommand::SetService(args) => (self.set_service(config, args).await?, args.sign),
            StakeCommand::Claim(sign) => (self.claim(), *sign),
            StakeCommand::List(_) | StakeCommand::Show(_) | StakeCommand::Estimate(_) => {
                anyhow::bail!("this command signs nothing")
            }
        })
    }

    async fn bond(&self, args: &BondArgs) -> anyhow::Result<Plan> {
        let amount = self.token.parse(&args.amount)?;
        anyhow::ensure!(
            amount > U256::ZERO,
            "nothing to bond: give an amount; to change orchestrators, use `framemill stake move`"
        );
        let delegate = match &args.to {
            Some(text) => address(text)?,
            None => self.delegate("name an orchestrator with --to; `framemill stake list` names them")?,
        };
        let held = self.client.token_balance(self.me).await?;
        anyhow::ensure!(
            held >= amount,
            "{} were to be bonded and {} are there; get more, or bond less",
            self.token.show(amount),
            self.token.show(held)
        );
        let mut consequences = vec![self.terms_of(delegate).await?];
        if !self.account.delegate.is_zero() && self.account.delegate != delegate {
            self.may_move()?;
            consequences.push(format!(
                "what you have bonded to {} now, {}, moves there too",
                self.account.delegate,
                self.token.show(self.account.stake)
            ));
            consequences.push(self.answers_words(self.account.delegate).await?);
        }
        consequences.push(format!(
            "it counts and earns from {} on",
            self.calendar.round(self.calendar.current() + 1)
        ));
        consequences.push(self.locked_words().await?);
        consequences.push(SLASHABLE.to_owned());
        Ok(Plan {
            action: Action::Bond { amount, delegate },
            what: format!("bond {} to {delegate}", self.token.show(amount)),
            consequences,
            facts: json!({ "amount": amount.to_string(), "delegate": delegate }),
        })
    }

    async fn unbond(&self, args: &UnbondArgs) -> anyhow::Result<Plan> {
        let amount = match args.amount.as_str() {
            "all" => self.account.stake,
            text => self.token.parse(text)?,
        };
        let delegate =
            self.delegate("this account has no stake; bond some with `framemill stake bond` first")?;
        anyhow::ensure!(
            amount > U256::ZERO && amount <= self.account.stake,
            "{} were to be unbonded and {} are bonded; ask for more than nothing and no more than that",
            self.token.show(amount),
            self.token.show(self.account.stake)
        );
        self.may_leave(amount)?;
        let rounds = self.client.unbonding_rounds().await?;
        let until = self.calendar.current() + rounds;
        let mut consequences = vec![
            format!("it goes into lock {} and earns nothing from now on", self.account.next_lock_id),
            format!("it can be withdrawn from {}", self.calendar.round(until)),
            format!("until then it can still be slashed for faults of {delegate} up to now"),
        ];
        if delegate == self.me {
            consequences.push(
                "an orchestrator with nothing bonded to itself leaves the active set; less stake may lose it its place"
                    .to_owned(),
            );
        }
        Ok(Plan {
            action: Action::Unbond { amount },
            what: format!("unbond {} from {delegate}", self.token.show(amount)),
            consequences,
            facts: json!({ "amount": amount.to_string(), "delegate": delegate, "lock": self.account.next_lock_id, "withdraw_round": until }),
        })
    }

    async fn rebond(&self, args: &RebondArgs) -> anyhow::Result<Plan> {
        let lock = self.lock(args.lock).await?;
        let (action, delegate) = match &args.to {
            Some(text) => {
                let delegate = address(text)?;
                (Action::RebondFromUnbonded { lock: args.lock, delegate }, delegate)
            }
            None => {
                let delegate =
                    self.delegate("nothing of yours is bonded any more: name an orchestrator with --to")?;
                (Action::Rebond { lock: args.lock }, delegate)
            }
        };
        let consequences = vec![
            self.terms_of(delegate).await?,
            format!("it counts and earns from {} on", self.calendar.round(self.calendar.current() + 1)),
            self.locked_words().await?,
            SLASHABLE.to_owned(),
        ];
        Ok(Plan {
            action,
            what: format!("rebond {} of lock {} to {delegate}", self.token.show(lock.amount), args.lock),
            consequences,
            facts: json!({ "amount": lock.amount.to_string(), "delegate": delegate, "lock": args.lock }),
        })
    }

    async fn shift(&self, args: &MoveArgs) -> anyhow::Result<Plan> {
        let from =
            self.delegate("this account has no stake to move; bond some with `framemill stake bond` first")?;
        let delegate = address(&args.to)?;
        anyhow::ensure!(from != delegate, "your stake is with {delegate} already");
        self.may_move()?;
        let consequences = vec![
            self.terms_of(delegate).await?,
            format!("it earns nothing until {}", self.calendar.round(self.calendar.current() + 1)),
            "it is not unbonded meanwhile: no unbonding period passes".to_owned(),
            self.answers_words(from).await?,
            SLASHABLE.to_owned(),
        ];
        Ok(Plan {
            action: Action::Bond { amount: U256::ZERO, delegate },
            what: format!("move {} from {from} to {delegate}", self.token.show(self.account.stake)),
            consequences,
            facts: json!({
                "amount": self.account.stake.to_string(),
                "from": from,
                "delegate": delegate,
                "answers_until_round": self.calendar.current() + self.client.unbonding_rounds().await?,
            }),
        })
    }

    async fn transfer(&self, args: &TransferArgs) -> anyhow::Result<Plan> {
        let from =
            self.delegate("this account has no stake to give; bond some with `framemill stake bond` first")?;
        let (amount, receiver) = (self.token.parse(&args.amount)?, address(&args.to)?);
        let theirs = self.client.delegator(receiver).await?;
        anyhow::ensure!(
            theirs.delegate == from,
            "{receiver} is not bonded to your orchestrator {from}: it agrees to a bond by being bonded there"
        );
        anyhow::ensure!(
            amount > U256::ZERO && amount <= self.account.stake,
            "{} were to be given and {} are bonded; give more than nothing and no more than that",
            self.token.show(amount),
            self.token.show(self.account.stake)
        );
        self.may_leave(amount)?;
        Ok(Plan {
            action: Action::TransferBond { receiver, amount },
            what: format!("give {} of stake with {from} to {receiver}", self.token.show(amount)),
            consequences: vec![
                "it stays bonded, keeps earning and keeps answering for that orchestrator, for its new owner"
                    .to_owned(),
                "it cannot be taken back".to_owned(),
            ],
            facts: json!({ "amount": amount.to_string(), "delegate": from, "receiver": receiver }),
        })
    }

    async fn withdraw(&self, args: &LockArgs) -> anyhow::Result<Plan> {
        let lock = self.lock(args.lock).await?;
        Ok(Plan {
            action: Action::WithdrawStake { lock: args.lock },
            what: format!("withdraw {} of lock {}", self.token.show(lock.amount), args.lock),
            consequences: vec![format!("the tokens go to {}", self.me)],
            facts: json!({ "amount": lock.amount.to_string(), "lock": args.lock, "withdraw_round": lock.withdraw_round }),
        })
    }

    fn withdraw_fees(&self, args: &WithdrawFeesArgs) -> anyhow::Result<Plan> {
        let fees = self.account.fees;
        let wanted = match args.amount.as_str() {
            "all" => fees,
            text => amount::parse(text)?,
        };
        anyhow::ensure!(fees > U256::ZERO, "{} has no fees to withdraw", self.me);
        anyhow::ensure!(
            wanted > U256::ZERO && wanted <= fees,
            "{} were to be withdrawn and {} are there; ask for more than nothing and no more than that",
            amount::show(wanted),
            amount::show(fees)
        );
        let to = args.to.as_deref().map_or(Ok(self.me), address)?;
        Ok(Plan {
            action: Action::WithdrawFees { to, amount: wanted },
            what: format!("withdraw {} of fees", amount::show(wanted)),
            consequences: vec![format!("the ether goes to {to}")],
            facts: json!({ "amount": wanted.to_string(), "to": to }),
        })
    }

    fn claim(&self) -> Plan {
        Plan {
            action: Action::ClaimEarnings,
            what: "book what was earned up to now".to_owned(),
            consequences: vec![
                format!(
                    "stake is {} and fees are {} then, as they are now: earnings are counted whether booked or not",
                    self.token.show(self.account.stake),
                    amount::show(self.account.fees)
                ),
                "nothing is paid out; use `framemill stake withdraw-fees` for fees".to_owned(),
            ],
            facts: json!({ "stake": self.account.stake.to_string(), "fees_wei": self.account.fees.to_string() }),
        }
    }

    async fn set_terms(&self, args: &TermsArgs) -> anyhow::Result<Plan> {
        let (cut, share) = (parse_percent(&args.reward_cut)?, parse_percent(&args.fee_share)?);
        anyhow::ensure!(
            self.account.delegate == self.me,
            "{} is no orchestrator: bond tokens to yourself first, with `framemill stake bond AMOUNT --to {}`",
            self.me,
            self.me
        );
        let before = self.client.orchestrator(self.me).await?;
        let mut consequences = vec![format!(
            "of new tokens you keep {}, the rest is shared by stake; of fees {} is shared by stake, you keep the rest",
            percent(cut),
            percent(share)
        )];
        match before {
            Some(old) => consequences.push(format!(
                "your terms are {} and {} now; what is worse for delegators holds only after an unbonding period, so that they can leave first",
                percent(old.reward_cut_ppm),
                percent(old.fee_share_ppm)
            )),
            None => consequences.push(format!(
                "it makes you a candidate: with enough stake you are active from {} on",
                self.calendar.round(self.calendar.current() + 1)
            )),
        }
        Ok(Plan {
            action: Action::SetTerms { reward_cut_ppm: cut, fee_share_ppm: share },
            what: format!("set reward cut to {} and fee share to {}", percent(cut), percent(share)),
            consequences,
            facts: json!({ "reward_cut_ppm": cut, "fee_share_ppm": share }),
        })
    }

    async fn set_service(&self, config: &Config, args: &ServiceArgs) -> anyhow::Result<Plan> {
        let service: ServiceAddress = match &args.address {
            Some(text) => text.parse().with_context(|| format!("{text} is no service address"))?,
            None => runtime::configured_service(config)?,
        };
        let uri = service.to_string();
        let old = self.client.service_uris(&[self.me]).await?.pop().unwrap_or_default();
        let mut consequences = vec![
            "broadcasters and jurors look for you there; whoever answers proves to be that peer".to_owned(),
        ];
        if !old.is_empty() {
            consequences.push(format!("it takes the place of {old}"));
        }
        Ok(Plan {
            what: format!("register {uri} as the address of {}", self.me),
            consequences,
            facts: json!({ "service_uri": uri, "replaces": old }),
            action: Action::SetService { uri },
        })
    }

    fn delegate(&self, otherwise: &'static str) -> anyhow::Result<Address> {
        let delegate = self.account.delegate;
        if delegate.is_zero() { Err(anyhow::anyhow!(otherwise)) } else { Ok(delegate) }
    }

    /// Stake that was moved does not move again before its time.
    fn may_move(&self) -> anyhow::Result<()> {
        let Some(moved) = self.moved else { return Ok(()) };
        anyhow::bail!(
            "your stake was moved before and answers for {} still: it can move again from {}",
            moved.from,
            self.calendar.round(moved.until)
        )
    }

    /// What was moved stays until its time is over.
    fn may_leave(&self, amount: U256) -> anyhow::Result<()> {
        let Some(moved) = self.moved else { return Ok(()) };
        let free = self.account.stake.saturating_sub(moved.amount);
        anyhow::ensure!(
            amount <= free,
            "{} of your stake was moved and answers for {} still: {} is free, the rest from {}",
            self.token.show(moved.amount),
            moved.from,
            self.token.show(free),
            self.calendar.round(moved.until)
        );
        Ok(())
    }

    /// What a move leaves behind.
    async fn answers_words(&self, from: Address) -> anyhow::Result<String> {
        let rounds = self.client.unbonding_rounds().await?;
        Ok(format!(
            "{} of it answers for {from} too until {}: a slash of that one takes its share of it wherever it is bonded, and until then it cannot be moved again, unbonded or given away",
            self.token.show(self.account.stake),
            self.calendar.round(self.calendar.current() + rounds)
        ))
    }

    async fn lock(&self, id: u64) -> anyhow::Result<LockedStake> {
        let lock = self.client.locked_stake(self.me, id).await?;
        anyhow::ensure!(
            lock.amount > U256::ZERO,
            "there is no lock {id}: it was withdrawn or rebonded, or never was; `framemill stake show` lists the locks"
        );
        Ok(lock)
    }

    /// Whom the stake is trusted to.
    async fn terms_of(&self, delegate: Address) -> anyhow::Result<String> {
        Ok(match self.client.orchestrator(delegate).await? {
            Some(record) => format!(
                "it keeps {} of new tokens and gives {} of fees to its delegators; {}",
                percent(record.reward_cut_ppm),
                percent(record.fee_share_ppm),
                if record.active {
                    "it is active"
                } else {
                    "it is not active now: stake with it earns nothing"
                }
            ),
            None if delegate == self.me => {
                "it makes you an orchestrator once you call `framemill stake set-terms`".to_owned()
            }
            None => "it is no active orchestrator: stake with it earns nothing".to_owned(),
        })
    }

    async fn locked_words(&self) -> anyhow::Result<String> {
        let rounds = self.client.unbonding_rounds().await?;
        let earliest = self.calendar.round(self.calendar.current() + rounds);
        Ok(format!("to get it back, unbond it and wait {rounds} rounds: unbonded today, until {earliest}"))
    }
}
