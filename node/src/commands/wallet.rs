//! `framemill wallet`: keys, balances, deposit and reserve.

use std::io::Read as _;

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, B256, U256};
use anyhow::Context as _;
use framemill_contracts::{Action, ChainClient};
use serde_json::json;

use crate::{
    amount,
    cli::{BalanceArgs, FundArgs, JsonArgs, SendArgs, WalletCommand},
    commands::stake::{Calendar, Token},
    config::Config,
    keystore,
    transact::{self, Plan, print},
};

/// Longest private key text read: 0x and 64 digits, with room for stray white space.
const MAX_KEY_TEXT: u64 = 256;

/// Runs the command.
pub(crate) async fn run(config: &Config, command: &WalletCommand) -> anyhow::Result<()> {
    match command {
        WalletCommand::New(output) => store(config, PrivateKeySigner::random().to_bytes(), *output),
        WalletCommand::Import(output) => store(config, read_key()?, *output),
        WalletCommand::Address(output) => {
            let address = keystore::open(config)?.address();
            print(*output, &json!({ "address": address }), &[format!("{address}")]);
            Ok(())
        }
        WalletCommand::Balance(args) => balance(config, args).await,
        other => act(config, other).await,
    }
}

/// Plans what is to be signed, then carries it out.
async fn act(config: &Config, command: &WalletCommand) -> anyhow::Result<()> {
    let client = transact::signer(config).await?;
    let (plan, sign) = match command {
        WalletCommand::Send(args) => (send(&client, args).await?, args.sign),
        WalletCommand::Fund(args) => (fund(args)?, args.sign),
        WalletCommand::Unlock(sign) => (unlock(&client).await?, *sign),
        WalletCommand::CancelUnlock(sign) => (
            simple(
                Action::CancelUnlock,
                "stop the withdrawal of deposit and reserve",
                "the deposit pays for tickets again",
            ),
            *sign,
        ),
        WalletCommand::Withdraw(sign) => (withdraw(&client).await?, *sign),
        WalletCommand::WithdrawFees(sign) => (withdraw_fees(&client).await?, *sign),
        WalletCommand::New(_)
        | WalletCommand::Import(_)
        | WalletCommand::Address(_)
        | WalletCommand::Balance(_) => {
            anyhow::bail!("this command signs nothing")
        }
    };
    transact::carry_out(&client, plan, sign).await
}

async fn send(client: &ChainClient, args: &SendArgs) -> anyhow::Result<Plan> {
    let to = args.to.parse::<Address>().with_context(|| format!("\"{}\" is no address", args.to))?;
    let token = Token::of(client).await?;
    let (action, what, amount) = match token.parse(&args.amount) {
        // Base units of the token and of ether are written alike: wei are ether's.
        Ok(amount) if !args.amount.trim().to_ascii_lowercase().ends_with("wei") => {
            (Action::SendTokens { to, amount }, token.show(amount), amount)
        }
        _ => {
            let bare = args.amount.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            anyhow::ensure!(
                !bare,
                "\"{}\" has no unit; write it with ETH, gwei, wei or the token's symbol",
                args.amount
            );
            let amount = amount::parse(&args.amount)?;
            (Action::SendEther { to, amount }, amount::show(amount), amount)
        }
    };
    anyhow::ensure!(amount > U256::ZERO, "nothing to send: give an amount");
    anyhow::ensure!(!to.is_zero(), "nobody has the address 0: what is sent there is lost");
    let consequences = match client.deployment().contracts().into_iter().find(|(_, address)| *address == to) {
        Some((name, _)) => vec![format!("{to} is the contract {name}: what is sent there is lost")],
        None => vec!["it cannot be taken back".to_owned()],
    };
    Ok(Plan {
        action,
        what: format!("send {what} to {to}"),
        consequences,
        facts: json!({ "amount": amount.to_string(), "to": to }),
    })
}

fn fund(args: &FundArgs) -> anyhow::Result<Plan> {
    let (deposit, reserve) = (amount::parse(&args.deposit)?, amount::parse(&args.reserve)?);
    anyhow::ensure!(
        deposit.saturating_add(reserve) > U256::ZERO,
        "nothing to fund: give --deposit or --reserve an amount"
    );
    Ok(Plan {
        action: Action::Fund { deposit, reserve },
        what: format!("add {} to the deposit and {} to the reserve", amount::show(deposit), amount::show(reserve)),
        consequences: vec![
            "winning tickets are paid from the deposit first; the reserve guarantees them to active orchestrators".to_owned(),
            "both come back only by `framemill wallet unlock`, a waiting period, and `framemill wallet withdraw`".to_owned(),
        ],
        facts: json!({ "deposit_wei": deposit.to_string(), "reserve_wei": reserve.to_string() }),
    })
}

async fn unlock(client: &ChainClient) -> anyhow::Result<Plan> {
    let (info, calendar) =
        (client.sender_info(transact::account(client)?).await?, Calendar::of(client).await?);
    let from = calendar.current() + client.unlock_rounds().await?;
    Ok(Plan {
        action: Action::Unlock,
        what: format!(
            "start to withdraw {} of deposit and {} of reserve",
            amount::show(info.deposit),
            amount::show(info.reserve)
        ),
        consequences: vec![
            format!("it can be withdrawn from {}", calendar.round(from)),
            "orchestrators take no tickets from a sender that is about to withdraw: streams stop".to_owned(),
        ],
        facts: json!({ "deposit_wei": info.deposit.to_string(), "reserve_wei": info.reserve.to_string(), "withdraw_round": from }),
    })
}

async fn withdraw(client: &ChainClient) -> anyhow::Result<Plan> {
    let me = transact::account(client)?;
    let info = client.sender_info(me).await?;
    Ok(Plan {
        action: Action::Withdraw,
        what: format!(
            "withdraw {} of deposit and {} of reserve",
            amount::show(info.deposit),
            amount::show(info.reserve)
        ),
        consequences: vec![format!(
            "the ether goes to {me}; winning tickets not yet redeemed are not paid any more"
        )],
        facts: json!({ "deposit_wei": info.deposit.to_string(), "reserve_wei": info.reserve.to_string() }),
    })
}

async fn withdraw_fees(client: &ChainClient) -> anyhow::Result<Plan> {
    let me = transact::account(client)?;
    let fees = client.pending_fees(me).await?;
    anyhow::ensure!(fees > U256::ZERO, "{me} has no fees to withdraw");
    Ok(Plan {
        action: Action::WithdrawFees { to: me, amount: fees },
        what: format!("withdraw {} of fees", amount::show(fees)),
        consequences: vec![format!("the ether goes to {me}")],
        facts: json!({ "amount": fees.to_string(), "to": me }),
    })
}

fn simple(action: Action, what: &str, consequence: &str) -> Plan {
    Plan { action, what: what.to_owned(), consequences: vec![consequence.to_owned()], facts: json!({}) }
}

fn store(config: &Config, key: B256, output: JsonArgs) -> anyhow::Result<()> {
    let (path, address) = keystore::store(config, key)?;
    let lines = [format!("{address}"), format!("keystore: {}", path.display())];
    print(output, &json!({ "address": address, "keystore": path }), &lines);
    Ok(())
}

fn read_key() -> anyhow::Result<B256> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_KEY_TEXT)
        .read_to_string(&mut text)
        .context("cannot read the key from standard input")?;
    // The text is not repeated in the error: it may be most of a secret.
    let key = text
        .trim()
        .parse::<B256>()
        .map_err(|_| anyhow::anyhow!("expected 32 bytes in hex on standard input"))?;
    PrivateKeySigner::from_bytes(&key).map_err(|_| anyhow::anyhow!("these 32 bytes are no secp256k1 key"))?;
    Ok(key)
}

async fn balance(config: &Config, args: &BalanceArgs) -> anyhow::Result<()> {
    let (client, owner) = match &args.account {
        Some(text) => {
            let account = text.parse::<Address>().with_context(|| format!("\"{text}\" is no address"))?;
            (transact::reader(config).await?, account)
        }
        None => {
            let client = transact::signer(config).await?;
            let owner = transact::account(&client)?;
            (client, owner)
        }
    };
    let token = Token::of(&client).await?;
    let (wei, tokens) = (client.balance(owner).await?, client.token_balance(owner).await?);
    let (info, fees) = (client.sender_info(owner).await?, client.pending_fees(owner).await?);
    let mut lines = vec![
        format!("address   {owner}"),
        format!("balance   {}", amount::show(wei)),
        format!("deposit   {}", amount::show(info.deposit)),
        format!("reserve   {}", amount::show(info.reserve)),
        format!("fees      {}", amount::show(fees)),
        format!("tokens    {}", token.show(tokens)),
    ];
    if info.withdraw_round > 0 {
        lines.push(format!(
            "unlocked: deposit and reserve can be withdrawn from {}",
            Calendar::of(&client).await?.round(info.withdraw_round)
        ));
    }
    let value = json!({
        "address": owner,
        "balance_wei": wei.to_string(),
        "deposit_wei": info.deposit.to_string(),
        "reserve_wei": info.reserve.to_string(),
        "fees_wei": fees.to_string(),
        "tokens": tokens.to_string(),
        "withdraw_round": info.withdraw_round,
    });
    print(args.output, &value, &lines);
    Ok(())
}
