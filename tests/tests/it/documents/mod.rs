//! What the pages tell users to type works as written: every shell block of README.md and docs/*.md runs, the blocks of a page one
//! after the other in one shell.
//!
//! A block whose first line is "```sh no-run: REASON" is left to its reader. Each page gets a folder, a network (with nothing but
//! loopback) and processes of its own, and the binary under test in its `PATH`. What a page puts into the background is waited for
//! until it listens, and ends with the page.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod blocks;

use std::{fs, path::PathBuf};

use blocks::{blocks, script, unfenced_commands};
use framemill_tests::{skipped, workspace};

use crate::apart;

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join("docs")).unwrap().flatten().map(|entry| entry.path());
    let mut pages: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push(workspace().join("README.md"));
    pages.sort();
    pages
}

#[test]
fn what_the_pages_tell_users_to_type_works_as_written() {
    if let Err(reason) = apart::is_possible() {
        return skipped(&format!("no network namespace can be made here: {reason}"));
    }
    let mut failures = Vec::new();
    for page in pages() {
        let blocks: Vec<_> = blocks(&fs::read_to_string(&page).unwrap())
            .into_iter()
            .filter(|block| block.reason.is_none())
            .collect();
        if !blocks.is_empty() {
            let failed = apart::run(&script(&blocks)).err();
            failures.extend(failed.map(|why| format!("{} does not work as written: {why}", page.display())));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_block_that_is_not_run_says_why_and_shell_is_called_sh() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for other in ["```bash", "```shell", "```console"] {
            assert!(
                !text.contains(other),
                "{}: call a shell block ```sh, so that it is tested",
                page.display()
            );
        }
        let bare = unfenced_commands(&text);
        assert!(bare.is_empty(), "{}: fence the commands of lines {bare:?} by ```sh", page.display());
        for block in blocks(&text) {
            assert!(
                block.reason.is_none_or(|reason| !reason.is_empty()),
                "{}:{}",
                page.display(),
                block.line
            );
        }
    }
}

/// Targets of the links of a page that stay in the repository, with their texts.
fn links(text: &str) -> Vec<(&str, &str)> {
    let links = text.split("](").zip(text.split("](").skip(1));
    let links = links.filter_map(|(before, after)| {
        let (name, target) = (before.rsplit('[').next()?, after.split([')', '#']).next()?);
        Some((name.trim_matches('`'), target))
    });
    links.filter(|(_, target)| !target.is_empty() && !target.contains("://")).collect()
}

#[test]
fn links_lead_to_files_and_tests_that_exist() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (name, target) in links(&text) {
            let path = page.parent().unwrap().join(target);
            assert!(path.exists(), "{}: {target} does not exist", page.display());
            let is_test = target.ends_with(".rs") && name.contains('_') && !name.contains('.');
            if is_test {
                let source = fs::read_to_string(&path).unwrap();
                assert!(source.contains(&format!("fn {name}(")), "{}: no {name} in {target}", page.display());
            }
        }
    }
}
