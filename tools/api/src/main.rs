//! `scripts/api` calls it: `framemill-api JSON-FOLDER [--check | --release]`, at the root of the repository.

use std::path::PathBuf;
use std::process::ExitCode;

use framemill_api::ApiError;
use framemill_api::project::{Project, Task};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let json = arguments.next();
    let task = match arguments.next().as_deref() {
        None => Some(Task::Write),
        Some("--check") => Some(Task::Check),
        Some("--release") => Some(Task::Release),
        Some(_) => None,
    };
    let (Some(json), Some(task)) = (json, task) else {
        eprintln!("usage: framemill-api JSON-FOLDER [--check | --release]");
        return ExitCode::FAILURE;
    };
    match version().and_then(|version| project(json.into(), version).run(task)) {
        Ok(outcome) => {
            eprint!("{}", outcome.said);
            if outcome.is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        // Whoever builds with a newer compiler has changed nothing; where the listing is made anew this is said again.
        Err(error @ ApiError::Format { .. }) if task == Task::Check => {
            eprintln!("api: skipped: {error}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("api: {error}");
            ExitCode::FAILURE
        }
    }
}

fn project(json: PathBuf, version: String) -> Project {
    Project {
        name: "framemill_broadcaster".to_owned(),
        json,
        lock: "Cargo.lock".into(),
        listing: "broadcaster/api.txt".into(),
        released: "broadcaster/api-released.txt".into(),
        version,
        changelog: "CHANGELOG.md".into(),
    }
}

/// The version that all crates of the workspace share.
fn version() -> Result<String, ApiError> {
    let file = PathBuf::from("Cargo.toml");
    let text = std::fs::read_to_string(&file).map_err(|source| ApiError::File { file, source })?;
    let line = text.lines().find(|line| line.starts_with("version = ")).unwrap_or_default();
    line.split('"').nth(1).map(str::to_owned).ok_or_else(|| ApiError::Version(line.to_owned()))
}
