//! Every configuration key, as a page and as a file to begin with.

use std::fmt::Write as _;

use super::{code, table};
use crate::{
    config::{KEYS, Key, Kind, Settings, Source},
    dashboard::Role,
};

const INTRODUCTION: &str = "# Configuration

One TOML file (`--config FILE` or `FRAMEMILL_CONFIG`), environment variables, `--set KEY=VALUE`; the later wins. The variable of a key
is `FRAMEMILL_` and the key in capitals with `_` for `.`: `FRAMEMILL_CHAIN_RPC` sets `chain.rpc`. An unknown key is an error.
`framemill config check` finds what is wrong, `framemill config show` tells each value and where it comes from, and
`framemill generate config broadcaster` (`orchestrator`, `transcoder`) prints a file to begin with.
On SIGHUP a running role reads all of it again. Values of keys that are marked so may have changed then; where another one has,
nothing is taken.
";

const COLUMNS: [&str; 5] = ["key", "value", "default", "on SIGHUP", "meaning"];

/// Width of a comment in an example.
const COMMENT_COLUMNS: usize = 100;

pub(super) fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for keys in KEYS.chunk_by(|a, b| section(a) == section(b)) {
        let title =
            section(&keys[0]).map_or_else(|| "Without a section".to_owned(), |name| format!("`[{name}]`"));
        let rows = keys.iter().map(|key| {
            let live = String::from(if key.live { "yes" } else { "" });
            [code(key.path), kind(key.kind), code(key.default.trim_matches('"')), live, key.help.to_owned()]
        });
        text += &format!("\n## {title}\n\n{}", table(COLUMNS, rows));
    }
    text
}

/// A file of the keys that `role` reads. What somebody set is in force in it, all else a comment with its default.
pub(crate) fn example(role: Role, settings: &Settings) -> String {
    let mut text = String::from("# What is commented out has the value that it shows.\n");
    let mut open = None;
    for key in KEYS.iter().filter(|key| key.concerns(role)) {
        if section(key) != open {
            open = section(key);
            text += &open.map(|name| format!("\n[{name}]\n")).unwrap_or_default();
        }
        text += &wrapped(key.help);
        text += &assignment(key, settings);
    }
    text
}

fn assignment(key: &Key, settings: &Settings) -> String {
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    match settings.get(key.path) {
        Some(setting) if setting.source != Source::Default => format!("{name} = {}\n", setting.value),
        _ if key.default.is_empty() => format!("#{name} =\n"),
        _ => format!("#{name} = {}\n", key.default),
    }
}

/// Help as comment lines.
fn wrapped(help: &str) -> String {
    let mut text = String::from("\n#");
    let mut column = 1;
    for word in help.split_whitespace() {
        if column + 1 + word.len() > COMMENT_COLUMNS {
            text += "\n#";
            column = 1;
        }
        // Writing to a string cannot fail.
        let _ = write!(text, " {word}");
        column += 1 + word.len();
    }
    text + "\n"
}

fn section(key: &Key) -> Option<&'static str> {
    key.path.split_once('.').map(|(section, _)| section)
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Int(low, high) => format!("{low} to {high}"),
        Kind::Wei => "wei".to_owned(),
        Kind::List => "list of texts".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", "),
        Kind::Ledger => "`sqlite`, or an address of PostgreSQL".to_owned(),
        Kind::Gpus => "`all`, or a list of indices".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn loaded(text: &str) -> Settings {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("example.toml");
        std::fs::write(&path, text).expect("a file");
        Sources { file: Some(path), ..Sources::default() }.settings().expect("an example is valid")
    }

    #[test]
    fn an_example_puts_in_force_what_was_set_and_nothing_else() {
        for role in [Role::Broadcaster, Role::Orchestrator, Role::Transcoder] {
            let flags = vec![("http.listen".to_owned(), "127.0.0.1:7935".to_owned())];
            let set = Sources { flags, ..Sources::default() }.settings().expect("valid");
            let settings = loaded(&example(role, &set));
            let own: Vec<_> =
                settings.iter().filter(|(_, setting)| setting.source != Source::Default).collect();
            assert_eq!(own.len(), 1, "{own:?}");
            assert_eq!(settings["http.listen"].value.as_str(), Some("127.0.0.1:7935"));
        }
    }

    #[test]
    fn the_defaults_that_an_example_shows_are_the_defaults() {
        let shown = example(Role::Orchestrator, &Sources::default().settings().expect("valid"));
        let is_value =
            |line: &&str| line.starts_with('#') && !line.starts_with("# ") && !line.ends_with(" =");
        let in_force: String = shown
            .lines()
            .map(|line| if is_value(&line) { format!("{}\n", &line[1..]) } else { format!("{line}\n") })
            .collect();
        for (path, setting) in loaded(&in_force) {
            let default = &Sources::default().settings().expect("valid")[path];
            assert_eq!(setting.value, default.value, "{path}");
        }
    }
}
