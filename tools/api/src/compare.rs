//! Which lines of two listings differ, and which of the differences break programs that compiled before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::listing::{DYN, NON_EXHAUSTIVE, OPEN};

/// What a line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Struct,
    Enum,
    Trait,
    /// A field of a struct or a variant, or a variant.
    Member,
    Function,
    /// Any other item with a path: a constant, a type, a re-export.
    Other,
}

/// The head of a line.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    kind: Kind,
    path: &'a str,
    /// Whether it may have more parts than programs can see.
    is_open: bool,
}

impl<'a> Head<'a> {
    /// `None` for an implementation or a foreign crate.
    fn of(line: &'a str) -> Option<Self> {
        let mut rest = line;
        while rest.starts_with("#[") {
            rest = rest.split_once("] ")?.1;
        }
        rest = rest.strip_prefix("pub ")?;
        let mut kind = Kind::Member;
        loop {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            kind = match word {
                "struct" | "union" => Kind::Struct,
                "enum" => Kind::Enum,
                "trait" => Kind::Trait,
                "fn" => Kind::Function,
                "mod" | "use" | "type" | "const" | "static" | "macro" | "alias" => Kind::Other,
                "async" | "unsafe" | "extern" | "mut" | "auto" | "\"C\"" => kind,
                _ => break,
            };
            rest = behind;
        }
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches(':');
        let is_open = line.starts_with(NON_EXHAUSTIVE) || line.ends_with(OPEN);
        Some(Self { kind, path, is_open })
    }
}

/// The items of a listing by their paths.
struct Items<'a> {
    heads: BTreeMap<&'a str, Head<'a>>,
    /// Structs that are made with `..` at the end.
    filled: BTreeSet<&'a str>,
}

impl<'a> Items<'a> {
    fn of(lines: &'a [String]) -> Self {
        let mut heads = BTreeMap::new();
        let mut filled = BTreeSet::new();
        for line in lines {
            if let Some(path) = line.strip_prefix("impl core::default::Default for ") {
                filled.insert(path);
            }
            let Some(head) = Head::of(line) else { continue };
            if head.kind == Kind::Function
                && let Some(path) = head.path.strip_suffix("::new")
            {
                filled.insert(path);
            }
            heads.entry(head.path).or_insert(head);
        }
        Self { heads, filled }
    }

    /// Why a program that compiled against these items may not compile any more when `line` is added; `None` when it does.
    fn broken_by(&self, line: &str) -> Option<&'static str> {
        let head = Head::of(line)?;
        let (parent, _) = head.path.rsplit_once("::")?;
        let parent = self.heads.get(parent)?;
        match (parent.kind, head.kind) {
            (Kind::Trait, _) if !head.is_open => Some("whoever implements the trait lacks it"),
            (Kind::Enum, Kind::Member) if !parent.is_open => Some("a match on the enum lacks it"),
            (Kind::Struct, Kind::Member) if !parent.is_open && !self.filled.contains(parent.path) => {
                Some("whoever makes the struct, or takes it apart, lacks it")
            }
            (Kind::Member, Kind::Member) if !parent.is_open => {
                Some("whoever makes the variant, or takes it apart, lacks it")
            }
            _ => None,
        }
    }
}

/// How two listings differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Lines that are gone and break who relies on them, each with what is in its place.
    pub gone: Vec<(String, Option<String>)>,
    /// New lines that break programs, with the reason.
    pub breaking: Vec<(String, &'static str)>,
    /// New lines that break nothing.
    pub added: Vec<String>,
}

impl Difference {
    /// Whether the listings are the same.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.breaking.is_empty() && self.added.is_empty()
    }

    /// Whether a program that compiled with the old one may not with the new one.
    pub fn breaks(&self) -> bool {
        !self.gone.is_empty() || !self.breaking.is_empty()
    }
}

/// What has become of `old` in `new`.
pub fn compare(old: &[String], new: &[String]) -> Difference {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    let items = Items::of(old);
    let mut difference = Difference::default();
    let mut fresh: Vec<&String> = after.difference(&before).copied().collect();
    for line in before.difference(&after) {
        let path = name(line);
        let instead = fresh.iter().position(|line| name(line) == path).map(|at| fresh.remove(at).clone());
        if instead.as_ref().is_some_and(|instead| is_widened(line, instead)) {
            difference.added.extend(instead);
        } else {
            difference.gone.push(((*line).clone(), instead));
        }
    }
    for line in fresh {
        match items.broken_by(line) {
            Some(reason) => difference.breaking.push((line.clone(), reason)),
            None => difference.added.push(line.clone()),
        }
    }
    difference
}

/// What a line is about, without how it is done.
fn name(line: &str) -> (Option<Kind>, &str) {
    let foreign = || line.strip_prefix("extern crate ").and_then(|rest| rest.split(' ').next());
    Head::of(line).map_or_else(|| (None, foreign().unwrap_or(line)), |head| (Some(head.kind), head.path))
}

/// Whether a change of an item takes nothing from anybody: a trait that became a `dyn`, or an item of a trait that may now be left out.
fn is_widened(old: &str, new: &str) -> bool {
    let is_trait_item = Head::of(old).is_some_and(|head| matches!(head.kind, Kind::Function | Kind::Other));
    new.strip_suffix(DYN) == Some(old) || (is_trait_item && new.strip_suffix(OPEN) == Some(old))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, instead) in &self.gone {
            writeln!(f, "- {line}")?;
            if let Some(instead) = instead {
                writeln!(f, "+ {instead}")?;
            }
        }
        for (line, reason) in &self.breaking {
            writeln!(f, "+ {line}    <- breaks programs: {reason}")?;
        }
        for line in &self.added {
            writeln!(f, "+ {line}")?;
        }
        Ok(())
    }
}
