//! What a change means for the next version.

use crate::compare::{Difference, compare};
use crate::error::ApiError;
use crate::listing::breaking_part;

/// Begins the changelog's line about what breaks.
pub const ANNOUNCED_BY: &str = "- Breaking:";

/// The last version that others may rely on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its number.
    pub version: String,
    /// What it offered.
    pub lines: Vec<String>,
}

/// Why the next version may not be called what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unannounced {
    /// What has changed since the release.
    pub difference: Difference,
    /// The least version that may have it, where the present one may not.
    pub needs: Option<String>,
    /// Whether the changelog has yet to say it.
    pub is_silent: bool,
}

/// Holds `lines`, to be released as `version` with this changelog, against the last release. What only adds is given back.
///
/// # Errors
/// The outer one when a version is none, the inner one when something breaks that version and changelog do not announce.
pub fn judge(
    release: &Release,
    lines: &[String],
    version: &str,
    changelog: &str,
) -> Result<Result<Difference, Unannounced>, ApiError> {
    let difference = compare(&release.lines, lines);
    if !difference.breaks() {
        return Ok(Ok(difference));
    }
    let next = next_breaking(&release.version)?;
    let needs = (numbers(version)? < numbers(&next)?).then_some(next);
    let is_silent = !since(changelog, &release.version).any(|line| line.starts_with(ANNOUNCED_BY));
    if needs.is_none() && !is_silent {
        Ok(Ok(difference))
    } else {
        Ok(Err(Unannounced { difference, needs, is_silent }))
    }
}

/// The lines of a changelog above the section of a release.
fn since<'a>(changelog: &'a str, version: &'a str) -> impl Iterator<Item = &'a str> {
    let is_section = move |line: &str| {
        line.strip_prefix("## ")
            .and_then(|title| title.split([' ', ',']).next())
            .is_some_and(|title| title == version)
    };
    changelog.lines().take_while(move |line| !is_section(line))
}

fn numbers(version: &str) -> Result<[u64; 3], ApiError> {
    let unusable = || ApiError::Version(version.to_owned());
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<u64> =
        core.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| unusable())?;
    parts.try_into().map_err(|_| unusable())
}

/// The first version after this one that may break.
fn next_breaking(version: &str) -> Result<String, ApiError> {
    let [major, minor, patch] = numbers(version)?;
    Ok(match breaking_part(version).split('.').count() {
        1 => format!("{}.0.0", major + 1),
        2 => format!("0.{}.0", minor + 1),
        _ => format!("0.0.{}", patch + 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release { version: "0.1.4".into(), lines: vec!["pub fn a::f()".into(), "pub fn a::g()".into()] }
    }

    #[test]
    fn the_first_digit_that_is_not_zero_breaks() {
        for (version, next) in [("0.1.4", "0.2.0"), ("0.0.4", "0.0.5"), ("1.2.3", "2.0.0")] {
            assert_eq!(next_breaking(version).unwrap(), next);
        }
        assert!(next_breaking("0.1").is_err() && next_breaking("a.b.c").is_err());
    }

    #[test]
    fn what_breaks_needs_the_digit_and_a_line_in_the_changelog() {
        let lines = [release().lines[0].clone()];
        let said = "# Changelog\n\n## Unreleased\n\n- Breaking: g is gone.\n\n## 0.1.4\n";
        let silent = "# Changelog\n\n## Unreleased\n\n- Faster.\n\n## 0.1.4\n\n- Breaking: h was gone.\n";
        let judged = |version, changelog| judge(&release(), &lines, version, changelog).unwrap();
        assert!(judged("0.2.0", said).unwrap().breaks());
        let digit = judged("0.1.5", said).unwrap_err();
        assert_eq!((digit.needs.as_deref(), digit.is_silent), (Some("0.2.0"), false));
        let line = judged("0.2.0", silent).unwrap_err();
        assert_eq!((line.needs, line.is_silent), (None, true));
    }

    #[test]
    fn what_only_adds_needs_nothing() {
        let lines = [release().lines, vec!["pub fn a::h()".into()]].concat();
        assert_eq!(judge(&release(), &lines, "0.1.4", "").unwrap().unwrap().added, ["pub fn a::h()"]);
    }
}
