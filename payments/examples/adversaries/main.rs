//! Lets adversaries loose on the real sender, recipient, redeemer and ledger and writes what each gains into
//! `docs/economics.md`: `cargo run --release -p probabilistic-ticket --example adversaries`.
//!
//! The chain is in memory and keeps the broker contract's rules: lanes whose nonces only rise, deposits first come first
//! served, reserves in equal shares per round, an unlock before a withdrawal.

mod broadcasters;
mod market;
mod orchestrators;
mod table;

use std::error::Error;
use std::path::PathBuf;

use table::Row;

/// Where the generated part of the page begins and ends.
const BEGIN: &str = "<!-- payments: written by `make bench` -->\n";
const END: &str = "<!-- end of payments -->";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let markdown = table::markdown(&rows().await);
    let page = std::fs::read_to_string(page())?;
    let (before, _, after) = parts(&page).ok_or("docs/economics.md has lost the payments' markers")?;
    std::fs::write(self::page(), [before, &markdown, after].concat())?;
    print!("{markdown}");
    Ok(())
}

async fn rows() -> Vec<Row> {
    let mut rows = broadcasters::rows().await;
    rows.extend(orchestrators::rows().await);
    rows
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/economics.md")
}

/// What stands before, between and after the markers, which belong to the outer parts.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let begin = page.find(BEGIN)? + BEGIN.len();
    let end = begin + page[begin..].find(END)?;
    Some((&page[..begin], &page[begin..end], &page[end..]))
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
        let page = std::fs::read_to_string(page()).unwrap();
        let (_, shown, _) = parts(&page).unwrap();
        assert_eq!(shown, table::markdown(&rows), "run the example adversaries");
    }
}
