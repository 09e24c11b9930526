//! What the binary tells of itself: reference pages and configuration files, made from what it runs by.

mod cli;
mod configuration;
mod errors;
mod http;
mod metrics;

pub(crate) use configuration::example;

use crate::http::openapi;

/// Stands at the head of every page.
const MADE: &str = "<!-- Made from the code by `make docs`; a test compares. -->\n";

/// One reference page.
pub(crate) struct Page {
    /// Its name in `docs/reference`.
    pub(crate) file: &'static str,
    /// What it says.
    pub(crate) text: String,
}

/// Every reference page.
///
/// # Errors
/// A metric is defined wrongly.
pub(crate) fn pages() -> anyhow::Result<[Page; 6]> {
    Ok([
        page("cli.md", cli::markdown()),
        page("configuration.md", configuration::markdown()),
        page("errors.md", errors::markdown()),
        page("http.md", http::markdown()),
        page("metrics.md", metrics::markdown()?),
        Page { file: "openapi.json", text: format!("{:#}\n", openapi()) },
    ])
}

fn page(file: &'static str, text: String) -> Page {
    Page { file, text: format!("{MADE}{}\n", text.trim_end()) }
}

/// A table of the given columns.
fn table<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let head = line(heading.map(str::to_owned));
    let rule = line([(); N].map(|()| "---".to_owned()));
    rows.into_iter().fold(head + &rule, |table, row| table + &line(row.map(|cell| cell.replace('|', "\\|"))))
}

fn line<const N: usize>(cells: [String; N]) -> String {
    format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
}

/// Text as code; nothing where there is none.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}
