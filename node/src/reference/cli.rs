//! Every command, from the one tree that parses them.

use clap::{Arg, Command, CommandFactory as _};

use super::{code, table};
use crate::cli::Cli;

const INTRODUCTION: &str = "# Commands

`framemill COMMAND --help` says the same on a terminal, and the Debian package has it as manual pages. Every command takes the
configuration's flags as well:

";

const COLUMNS: [&str; 3] = ["argument", "default", "meaning"];

pub(super) fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let common = root.get_arguments().filter(|arg| arg.is_global_set()).map(row);
    let text = INTRODUCTION.to_owned() + &table(COLUMNS, common);
    shown(&root).fold(text, |text, command| text + &section(command))
}

/// A command with its own commands behind it.
fn section(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
    let path = command.get_bin_name().unwrap_or(&name);
    let mut text = format!("\n## {path}\n\n");
    if let Some(about) = command.get_about() {
        text += &format!("{about}.\n\n");
    }
    text += &format!("    {}\n", usage(command));
    let own: Vec<_> = command.get_arguments().filter(|arg| is_own(arg)).map(row).collect();
    if !own.is_empty() {
        text += &format!("\n{}", table(COLUMNS, own));
    }
    if let Some(after) = command.get_after_help() {
        text += &format!("\n{after}.\n");
    }
    shown(command).fold(text, |text, inner| text + &section(inner))
}

fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
}

fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn row(arg: &Arg) -> [String; 3] {
    let mut meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let words: Vec<_> = arg.get_possible_values().iter().map(|word| code(word.get_name())).collect();
    if takes_value(arg) && !words.is_empty() {
        meaning += &format!(": {}", words.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        meaning += &format!("; also {}", code(&variable.to_string_lossy()));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    [name(arg), if takes_value(arg) { code(&defaults.join(" ")) } else { String::new() }, meaning]
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn name(arg: &Arg) -> String {
    let value =
        arg.get_value_names().into_iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let value = if value.is_empty() { arg.get_id().to_string().to_uppercase() } else { value };
    let flags =
        [arg.get_short().map(|short| format!("-{short}")), arg.get_long().map(|long| format!("--{long}"))];
    let flags = flags.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match (flags.is_empty(), takes_value(arg)) {
        (true, _) => code(&value),
        (false, true) => code(&format!("{flags} {value}")),
        (false, false) => code(&flags),
    }
}
