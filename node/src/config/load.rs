//! Merges defaults, file, environment and flags; later wins, and every problem is reported at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::{
    Config,
    keys::{self, KEYS, Key},
    value,
};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// A flag on the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// One effective value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The value, checked.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
}

/// All that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} problem(s):\n  {}", .0.len(), .0.join("\n  "))]
pub struct ConfigError(
    /// One line each.
    pub Vec<String>,
);

/// What a configuration is made of.
#[derive(Debug, Default)]
pub struct Sources {
    /// The TOML file, when there is one.
    pub file: Option<PathBuf>,
    /// Environment variables; only those that start with `FRAMEMILL_` are looked at.
    pub environment: BTreeMap<String, String>,
    /// `key=value` pairs from flags, strongest.
    pub flags: Vec<(String, String)>,
}

/// Reads a setting's value from text, checked as if a flag had given it.
///
/// # Errors
/// There is no such setting, or the text is not a value for it.
pub fn read(path: &str, text: &str) -> Result<Value, ConfigError> {
    let key = keys::find(path).ok_or_else(|| ConfigError(vec![format!("{path}: no such setting")]))?;
    value::from_text(text, key.kind).map_err(|problem| ConfigError(vec![format!("{path}: {problem}")]))
}

/// Variables with the configuration's prefix that are read elsewhere.
const NOT_SETTINGS: &[&str] = &["FRAMEMILL_CONFIG", "FRAMEMILL_MEDIA", "FRAMEMILL_TOOLS"];

/// Effective settings by key path.
pub type Settings = BTreeMap<&'static str, Setting>;

impl Sources {
    /// Reads this process's environment.
    pub fn with_environment(mut self) -> Self {
        self.environment = std::env::vars().filter(|(name, _)| name.starts_with("FRAMEMILL_")).collect();
        self
    }

    /// Merges and checks everything, without interpreting it.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let merged = self.merged();
        if merged.problems.is_empty() { Ok(merged.settings) } else { Err(ConfigError(merged.problems)) }
    }

    /// As [`Sources::settings`], with what is right also where something is wrong.
    pub(crate) fn merged(&self) -> Merged {
        let mut merged = Merged::default();
        merged.defaults();
        if let Some(file) = &self.file {
            merged.file(file);
        }
        merged.environment(&self.environment);
        merged.flags(&self.flags);
        merged
    }

    /// The typed configuration.
    pub fn load(&self) -> Result<Config, ConfigError> {
        interpret(&self.settings()?)
    }
}

/// The typed configuration that settings make.
///
/// # Errors
/// A value that is right by itself is none for its field.
pub fn interpret(settings: &Settings) -> Result<Config, ConfigError> {
    let mut table = Table::new();
    for (path, setting) in settings {
        insert(&mut table, path, setting.value.clone());
    }
    Config::deserialize(Value::Table(table)).map_err(|error| ConfigError(vec![error.to_string()]))
}

use serde::Deserialize as _;

/// What the sources say, as far as they can be read.
#[derive(Default)]
pub(crate) struct Merged {
    /// Every value that is right by itself.
    pub(crate) settings: Settings,
    /// What is wrong, one line each.
    pub(crate) problems: Vec<String>,
    /// Keys whose value here is perhaps not what was meant: they were given a wrong one, or a wrong name that is near.
    pub(crate) doubtful: BTreeSet<&'static str>,
    /// The file could not be read: what it says is not here at all.
    pub(crate) lacks_file: bool,
}

impl Merged {
    fn defaults(&mut self) {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let table: Table =
                toml::from_str(&format!("value = {}", key.default)).expect("a default is TOML");
            let value = table.get("value").cloned().expect("the line above sets it");
            self.set(key, Ok(value), Source::Default, None);
        }
    }

    fn file(&mut self, path: &Path) {
        let table = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| text.parse::<Table>().map_err(|error| error.to_string().trim_end().to_owned()));
        match table {
            Ok(table) => self.table(&table, "", path),
            Err(problem) => {
                self.lacks_file = true;
                self.problems.push(format!("{}: {problem}", path.display()));
            }
        }
    }

    fn table(&mut self, table: &Table, prefix: &str, file: &Path) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match (keys::find(&path), value) {
                (Some(key), value) => {
                    let folder = file.parent();
                    self.set(key, Ok(value.clone()), Source::File(file.to_owned()), folder);
                }
                (None, Value::Table(inner)) if is_section(&path) => self.table(inner, &path, file),
                (None, _) => self.unknown(&path, &file.display().to_string()),
            }
        }
    }

    fn environment(&mut self, variables: &BTreeMap<String, String>) {
        for (name, text) in variables {
            if NOT_SETTINGS.contains(&name.as_str()) || !name.starts_with("FRAMEMILL_") {
                continue;
            }
            match KEYS.iter().find(|key| key.environment() == *name) {
                Some(key) => {
                    self.set(key, value::from_text(text, key.kind), Source::Environment(name.clone()), None)
                }
                None => self.unknown(&name["FRAMEMILL_".len()..].to_lowercase().replacen('_', ".", 1), name),
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (path, text) in flags {
            match keys::find(path) {
                Some(key) => self.set(key, value::from_text(text, key.kind), Source::Flag, None),
                None => self.unknown(path, "flag"),
            }
        }
    }

    fn set(
        &mut self,
        key: &'static Key,
        value: Result<Value, String>,
        source: Source,
        folder: Option<&Path>,
    ) {
        match value.and_then(|value| value::normalize(value, key.kind, folder)) {
            Ok(value) => drop(self.settings.insert(key.path, Setting { value, source })),
            Err(problem) => {
                self.doubtful.insert(key.path);
                self.problems.push(format!("{}: {problem} ({source}); {}", key.path, key.help));
            }
        }
    }

    fn unknown(&mut self, path: &str, place: &str) {
        let near = keys::nearest(path);
        self.doubtful.extend(near);
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.problems.push(format!("{path}: no such setting ({place}){hint}"));
    }
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            insert(inner.as_table_mut().expect("a section holds keys only"), rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("framemill.toml");
        std::fs::write(&path, file).expect("a file");
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        Sources { file: Some(path), environment: own(environment).into_iter().collect(), flags: own(flags) }
            .settings()
    }

    #[test]
    fn later_sources_win() {
        let file = "[chain]\nrpc = \"a\"\n[log]\nfilter = \"a\"\n[transcoder]\nname = \"a\"";
        let settings = load(
            file,
            &[("FRAMEMILL_LOG_FILTER", "b"), ("FRAMEMILL_TRANSCODER_NAME", "b")],
            &[("transcoder.name", "c")],
        )
        .expect("valid");
        let text = |path| settings[path].value.as_str().expect("text").to_owned();
        assert_eq!([text("chain.rpc"), text("log.filter"), text("transcoder.name")], ["a", "b", "c"]);
        assert_eq!(settings["transcoder.name"].source, Source::Flag);
        assert_eq!(settings["log.format"].source, Source::Default);
    }

    #[test]
    fn unknown_key_names_the_nearest() {
        let error = load("[broadcaster]\nladdr = \"x\"", &[], &[]).expect_err("unknown key");
        assert!(error.0[0].contains("did you mean broadcaster.ladder?"), "{error}");
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let file =
            "surprise = 1\n[broadcaster]\nsegment_ms = 5\nmax_price_wei = \"-3\"\n[log]\nformat = \"xml\"";
        let error = load(file, &[("FRAMEMILL_NOPE", "1")], &[("transcoder.threads", "many")])
            .expect_err("six problems");
        assert_eq!(error.0.len(), 6, "{error}");
    }

    #[test]
    fn file_paths_count_from_the_files_folder() {
        let settings = load("[chain]\ndeployment = \"d.json\"", &[], &[]).expect("valid");
        let path = settings["chain.deployment"].value.as_str().expect("text").to_owned();
        assert!(Path::new(&path).is_absolute() && path.ends_with("d.json"), "{path}");
    }

    #[test]
    fn defaults_alone_make_a_configuration() {
        let config = Sources::default().load().expect("defaults are valid");
        assert_eq!(config.broadcaster.segment_ms, 2000);
        assert!(config.chain.rpc.is_none());
    }
}
