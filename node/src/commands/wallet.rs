//! `framemill wallet`: keys, balances, deposit and reserve.

use std::io::Read as _;

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{B256, U256};
use anyhow::Context as _;
use framemill_contracts::{ChainClient, TxReceipt};
use serde_json::{Value, json};

use crate::{
    amount, chain,
    cli::{JsonArgs, WalletCommand},
    config::Config,
    keystore,
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
            print(*output, json!({ "address": address }), &[format!("{address}")]);
            Ok(())
        }
        WalletCommand::Balance(output) => balance(config, *output).await,
        WalletCommand::Fund(args) => {
            let (deposit, reserve) = (amount::parse(&args.deposit)?, amount::parse(&args.reserve)?);
            anyhow::ensure!(
                deposit + reserve > U256::ZERO,
                "nothing to fund: give --deposit or --reserve an amount"
            );
            let client = client(config).await?;
            let mined = client.fund_deposit_and_reserve(deposit, reserve).await?;
            report(
                args.output,
                &mined,
                &format!("deposit grew by {}, reserve by {}", amount::show(deposit), amount::show(reserve)),
            );
            Ok(())
        }
        WalletCommand::Unlock(output) => {
            let client = client(config).await?;
            let mined = client.unlock().await?;
            let info = client.sender_info(owner(&client)?).await?;
            let text =
                format!("unlocked: withdraw from round {} on, if you do not cancel", info.withdraw_round);
            report(*output, &mined, &text);
            Ok(())
        }
        WalletCommand::CancelUnlock(output) => {
            report(
                *output,
                &client(config).await?.cancel_unlock().await?,
                "the deposit pays for tickets again",
            );
            Ok(())
        }
        WalletCommand::Withdraw(output) => {
            report(*output, &client(config).await?.withdraw().await?, "deposit and reserve were paid out");
            Ok(())
        }
        WalletCommand::WithdrawFees(output) => {
            let client = client(config).await?;
            let owner = owner(&client)?;
            let fees = client.pending_fees(owner).await?;
            anyhow::ensure!(fees > U256::ZERO, "{owner} has no fees to withdraw");
            let mined = client.withdraw_fees(owner, fees).await?;
            report(*output, &mined, &format!("paid out {}", amount::show(fees)));
            Ok(())
        }
    }
}

fn store(config: &Config, key: B256, output: JsonArgs) -> anyhow::Result<()> {
    let (path, address) = keystore::store(config, key)?;
    let lines = [format!("{address}"), format!("keystore: {}", path.display())];
    print(output, json!({ "address": address, "keystore": path }), &lines);
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

async fn balance(config: &Config, output: JsonArgs) -> anyhow::Result<()> {
    let client = client(config).await?;
    let owner = owner(&client)?;
    let (wei, tokens) = (client.balance(owner).await?, client.token_balance(owner).await?);
    let (info, fees) = (client.sender_info(owner).await?, client.pending_fees(owner).await?);
    let mut lines = vec![
        format!("address   {owner}"),
        format!("balance   {}", amount::show(wei)),
        format!("deposit   {}", amount::show(info.deposit)),
        format!("reserve   {}", amount::show(info.reserve)),
        format!("fees      {}", amount::show(fees)),
        format!("tokens    {tokens} base units"),
    ];
    if info.withdraw_round > 0 {
        lines.push(format!(
            "unlocked: deposit and reserve can be withdrawn from round {}",
            info.withdraw_round
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
    print(output, value, &lines);
    Ok(())
}

async fn client(config: &Config) -> anyhow::Result<ChainClient> {
    let key = keystore::open(config)?;
    chain::connect(config, Some(key)).await?.context("no chain: set chain.rpc and chain.deployment")
}

fn owner(client: &ChainClient) -> anyhow::Result<alloy_primitives::Address> {
    client.address().context("the client was opened without a key")
}

fn report(output: JsonArgs, mined: &TxReceipt, text: &str) {
    let value = json!({ "transaction": mined.hash, "block": mined.block, "gas_used": mined.gas_used });
    print(output, value, &[text.to_owned(), format!("transaction {} in block {}", mined.hash, mined.block)]);
}

fn print(output: JsonArgs, value: Value, lines: &[String]) {
    match output.json {
        true => println!("{value}"),
        false => println!("{}", lines.join("\n")),
    }
}
