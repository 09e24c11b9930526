//! Shell blocks of a page, and the script that they make.

/// Waits for what was put into the background: a server that does not listen yet would fail who reads faster than people type.
const SERVING: &str = r#"serving() {
    until ss --no-header --listening --tcp --processes --numeric | grep --quiet "pid=$1,"; do
        kill -0 "$1"
        sleep 0.1
    done
}
ip link set lo up
set -euo pipefail
"#;

/// A shell block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins in its page.
    pub(super) line: usize,
    /// Why it is not run, if so.
    pub(super) reason: Option<String>,
    /// Its lines.
    pub(super) text: String,
}

/// The shell blocks of a page.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut lines = page.lines().zip(1..);
    let mut found = Vec::new();
    while let Some((line, number)) = lines.next() {
        let Some(mark) = line.strip_prefix("```sh") else { continue };
        let text = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```");
        let reason =
            mark.trim().strip_prefix("no-run").map(|reason| reason.trim_matches([':', ' ']).to_owned());
        found.push(Block { line: number, reason, text: text.collect::<Vec<_>>().join("\n") });
    }
    found
}

/// Lines with commands of ours that only their indentation makes a block: nobody runs them.
pub(super) fn unfenced_commands(page: &str) -> Vec<usize> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for (line, number) in page.lines().zip(1..) {
        is_fenced ^= line.starts_with("```");
        let command = line.strip_prefix("    ").map(str::trim_start).unwrap_or_default();
        let is_ours = ["framemill ", "make "].iter().any(|program| command.starts_with(program));
        if is_ours && !is_fenced {
            found.push(number);
        }
    }
    found
}

/// A script that runs blocks in one shell and stops at the first command that fails.
pub(super) fn script(blocks: &[Block]) -> String {
    let mut text = SERVING.to_owned();
    for line in blocks.iter().flat_map(|block| block.text.lines()) {
        text += line;
        text += if line.ends_with(" &") { "\nserving $!\n" } else { "\n" };
    }
    text
}

#[test]
fn blocks_are_found_with_their_reasons() {
    let page = "text\n```sh\na &\nb\n```\n```toml\nx\n```\n```sh no-run: needs a card\nc\n```\n";
    let found = blocks(page);
    assert_eq!((found[0].line, found[0].text.as_str(), &found[0].reason), (2, "a &\nb", &None));
    assert_eq!((found[1].text.as_str(), found[1].reason.as_deref()), ("c", Some("needs a card")));
    assert_eq!(found.len(), 2);
    assert!(script(&found).contains("a &\nserving $!\nb\n"));
}

#[test]
fn commands_that_no_fence_holds_are_found() {
    let page = "    make it so\n- a list\n  make no block\n```sh\nfor x in 1; do\n    framemill help\ndone\n```\n    framemill help\n";
    assert_eq!(unfenced_commands(page), [1, 9]);
}
