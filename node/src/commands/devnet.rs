//! `framemill devnet`: a market on a development chain that the user started.

use alloy_primitives::U256;
use anyhow::Context as _;
use framemill_contracts::dev_key;

use crate::{
    amount,
    cli::DevnetArgs,
    devnet::{self, ETHER, Plan},
};

/// Runs the command.
pub(crate) async fn run(args: &DevnetArgs) -> anyhow::Result<()> {
    let plan = Plan {
        rpc: args.rpc.clone(),
        dir: std::path::absolute(&args.dir)?,
        deployer: dev_key(0).context("anvil's first account is known")?,
        orchestrators: usize::from(args.orchestrators),
        deposit: U256::from(5 * ETHER),
        reserve: U256::from(ETHER),
        settings: Vec::new(),
    };
    let market = devnet::prepare(&plan).await?;
    println!(
        "contracts on chain {}: {}",
        market.deployment.chain_id,
        plan.dir.join("deployment.json").display()
    );
    for seller in &market.sellers {
        println!("{} {}", seller.orchestrator.name, seller.orchestrator.address);
        println!("  framemill orchestrator --config {}", seller.orchestrator.config.display());
        println!("  framemill transcoder --config {}", seller.transcoder_config.display());
    }
    println!("broadcaster {} with a deposit of {}", market.broadcaster.address, amount::show(plan.deposit));
    println!("  framemill broadcaster --config {}", market.broadcaster.config.display());
    Ok(())
}
