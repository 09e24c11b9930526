//! What the doctor found.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not for long or not for all.
    Warn,
    /// The role does not work like this.
    Fail,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: String,
    pub(super) level: Level,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Ok, found: found.into(), remedy: None }
    }

    pub(super) fn warn(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warn, remedy: Some(remedy.into()), ..Self::ok(check, found) }
    }

    pub(super) fn fail(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fail, remedy: Some(remedy.into()), ..Self::ok(check, found) }
    }
}

/// All findings; for people each is printed as it comes.
#[derive(Debug)]
pub(super) struct Report {
    findings: Vec<Finding>,
    json: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { findings: Vec::new(), json }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if !self.json {
            println!("{}", line(&finding));
        }
        self.findings.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Prints what is left to print; whether nothing failed.
    pub(super) fn close(self) -> bool {
        let [fails, warns] = [Level::Fail, Level::Warn].map(|level| self.count(level));
        if self.json {
            println!("{}", serde_json::json!({ "ok": fails == 0, "findings": self.findings }));
        } else {
            println!("{} checks: {fails} failed, {warns} to look at", self.findings.len());
        }
        fails == 0
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

fn line(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Ok => "ok  ",
        Level::Warn => "warn",
        Level::Fail => "FAIL",
    };
    let text = format!("{mark}  {}: {}", finding.check, finding.found.trim_end().replace('\n', "\n        "));
    match &finding.remedy {
        Some(remedy) => format!("{text}\n        -> {remedy}"),
        None => text,
    }
}
