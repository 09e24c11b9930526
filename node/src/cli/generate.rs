//! `framemill generate`: what packages and pages are made of.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use crate::dashboard::Role;

/// `framemill generate`
#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Write the reference pages into a folder
    Docs(FolderArgs),
    /// Write the manual pages of every command into a folder
    Man(FolderArgs),
    /// Print what completes commands in a shell
    Completions(ShellArgs),
    /// Print a configuration file: what is set now is in force in it, all else stands there as a comment
    Config(ExampleArgs),
}

/// Where files are written to.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The folder, made when missing
    pub folder: PathBuf,
}

/// `framemill generate completions`
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// The shell
    pub shell: Shell,
}

/// `framemill generate config`
#[derive(Debug, Args)]
pub struct ExampleArgs {
    /// Whose file
    pub role: Role,
}
