//! The committed listings of one crate, and what to do where they are not true.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::compare::{Difference, compare};
use crate::error::ApiError;
use crate::listing;
use crate::release::{ANNOUNCED_BY, Release, Unannounced, judge};

/// Where everything lies.
#[derive(Debug, Clone)]
pub struct Project {
    /// The crate, as code names it.
    pub name: String,
    /// Folder with the JSON files of rustdoc.
    pub json: PathBuf,
    /// The lock file.
    pub lock: PathBuf,
    /// The committed listing.
    pub listing: PathBuf,
    /// The listing of the last release; no file before the first one.
    pub released: PathBuf,
    /// Version that the crate has now.
    pub version: String,
    /// The changelog.
    pub changelog: PathBuf,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Say whether the committed listing is true.
    Check,
    /// Make it true.
    Write,
    /// Make it true, and keep it as that of this version.
    Release,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What a person reads.
    pub said: String,
    /// Whether everything may land.
    pub is_good: bool,
}

impl Project {
    /// Does what is wanted.
    ///
    /// # Errors
    /// When no listing can be made, or a file cannot be read or written.
    pub fn run(&self, task: Task) -> Result<Outcome, ApiError> {
        let lines = listing::read(&self.json, &self.name, &read(&self.lock)?)?;
        let committed = read_lines(&self.listing)?.unwrap_or_default();
        let change = compare(&committed, &lines);
        let release = self.release()?;
        let verdict = match &release {
            Some(release) => judge(release, &lines, &self.version, &read(&self.changelog)?)?,
            None => Ok(Difference::default()),
        };
        let mut said = String::new();
        match task {
            Task::Check if !change.is_empty() => said += &self.tell_untrue(&change, release.as_ref()),
            Task::Check => {}
            Task::Write | Task::Release => {
                self.write(&self.listing, "make check compares", &lines)?;
                said += &self.tell_written(&change, lines.len());
            }
        }
        if let (Err(unannounced), Some(release)) = (&verdict, &release) {
            said += &self.tell_unannounced(unannounced, release);
        }
        let is_good = verdict.is_ok() && (task != Task::Check || change.is_empty());
        if task == Task::Release && is_good {
            self.write(&self.released, &format!("version {}", self.version), &lines)?;
        }
        Ok(Outcome { said, is_good })
    }

    fn release(&self) -> Result<Option<Release>, ApiError> {
        let Some(lines) = read_lines(&self.released)? else { return Ok(None) };
        let head = read(&self.released)?;
        let version = head
            .lines()
            .next()
            .and_then(|line| line.rsplit_once("version "))
            .map(|(_, version)| version.to_owned());
        let version =
            version.ok_or_else(|| ApiError::Version(head.lines().next().unwrap_or_default().to_owned()))?;
        Ok(Some(Release { version, lines }))
    }

    fn write(&self, file: &Path, note: &str, lines: &[String]) -> Result<(), ApiError> {
        let head = format!(
            "# What programs that embed {} may rely on, one item a line. Written by make api; {note}",
            self.name
        );
        let text = format!("{head}\n{}\n", lines.join("\n"));
        fs::write(file, text).map_err(|source| ApiError::File { file: file.into(), source })
    }

    fn tell_written(&self, change: &Difference, count: usize) -> String {
        let mut said = format!("api: {count} items of {} in {}\n", self.name, self.listing.display());
        if !change.is_empty() {
            let _ = write!(said, "{change}");
        }
        if change.breaks() {
            said += "api: this breaks programs that embed the crate\n";
        }
        said
    }

    fn tell_untrue(&self, change: &Difference, release: Option<&Release>) -> String {
        let mut said = format!(
            "api: {} does not show what {} offers (- what it shows, + what there is):\n{change}",
            self.listing.display(),
            self.name
        );
        said += if !change.breaks() {
            "api: this only adds to it: run `make api` and commit the listing\n"
        } else if release.is_some() {
            "api: this breaks programs that embed the crate. Undo it; or, if that was in no release or must be, run `make api` and commit the listing\n"
        } else {
            "api: this breaks programs that embed the crate. Nothing is released yet: if it is meant, run `make api` and commit the listing\n"
        };
        said
    }

    fn tell_unannounced(&self, unannounced: &Unannounced, release: &Release) -> String {
        let mut said = format!(
            "api: since {} this has changed for programs that embed {}:\n",
            release.version, self.name
        );
        let breaking = Difference { added: Vec::new(), ..unannounced.difference.clone() };
        let _ = write!(said, "{breaking}");
        if let Some(needs) = &unannounced.needs {
            let _ =
                writeln!(said, "api: that needs version {needs} in Cargo.toml, which has {}", self.version);
        }
        if unannounced.is_silent {
            let _ = writeln!(
                said,
                "api: that needs a line {ANNOUNCED_BY:?} in {}, which says what to do instead",
                self.changelog.display()
            );
        }
        said
    }
}

fn read(file: &Path) -> Result<String, ApiError> {
    fs::read_to_string(file).map_err(|source| ApiError::File { file: file.into(), source })
}

/// The items of a committed listing; `None` where there is none.
fn read_lines(file: &Path) -> Result<Option<Vec<String>>, ApiError> {
    if !file.exists() {
        return Ok(None);
    }
    Ok(Some(read(file)?.lines().filter(|line| !line.starts_with("# ")).map(str::to_owned).collect()))
}
