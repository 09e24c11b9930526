//! `framemill generate`: pages, manuals, completions and configuration files, all from the code that they describe.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::{
    cli::{Cli, GenerateCommand},
    config::Sources,
    reference,
};

/// Runs the command.
pub(crate) fn run(command: &GenerateCommand, sources: &Sources) -> anyhow::Result<()> {
    match command {
        GenerateCommand::Docs(args) => docs(&args.folder),
        GenerateCommand::Man(args) => man(&args.folder),
        GenerateCommand::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "framemill", &mut script);
            print(&script)
        }
        GenerateCommand::Config(args) => {
            sources.load()?;
            print(reference::example(args.role, &sources.settings()?).as_bytes())
        }
    }
}

fn docs(folder: &Path) -> anyhow::Result<()> {
    make(folder)?;
    for page in reference::pages()? {
        let path = folder.join(page.file);
        fs::write(&path, page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn man(folder: &Path) -> anyhow::Result<()> {
    make(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

fn print(bytes: &[u8]) -> anyhow::Result<()> {
    io::stdout().write_all(bytes).context("cannot write to standard output")
}
