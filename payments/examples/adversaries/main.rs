//! Lets adversaries loose on the real sender, recipient, redeemer and ledger and writes what each gains into
//! `docs/economics.md`, and beside it how far luck alone makes an honest orchestrator's income vary:
//! `cargo run --release -p probabilistic-ticket --example adversaries`.
//!
//! The chain is in memory and keeps the broker contract's rules: lanes whose nonces only rise, deposits first come first
//! served, reserves in equal shares per round, an unlock before a withdrawal.

mod broadcasters;
#[path = "../../../docs/generated.rs"]
mod generated;
mod luck;
mod market;
mod orchestrators;
mod table;

use std::error::Error;

use generated::Generated;
use table::Row;

/// The parts of the page that this writes.
fn part() -> Generated {
    Generated::new("economics.md", "payments")
}

fn luck_part() -> Generated {
    Generated::new("economics.md", "luck")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let markdown = table::markdown(&rows().await);
    part().write(&markdown)?;
    let luck = luck::markdown(&luck::rows().await);
    luck_part().write(&luck)?;
    print!("{markdown}\n{luck}");
    Ok(())
}

async fn rows() -> Vec<Row> {
    let mut rows = broadcasters::rows().await;
    rows.extend(orchestrators::rows().await);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_loss_is_within_its_bound_and_the_page_shows_it() {
        let rows = rows().await;
        for row in &rows {
            assert!(row.lost <= row.bound, "{row:?}");
            assert!(row.gained <= row.lost, "nobody gains what nobody loses: {row:?}");
        }
        let shown = part().read().unwrap();
        assert_eq!(shown, table::markdown(&rows), "run the example adversaries");
    }
}
