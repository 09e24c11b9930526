//! What a crate offers, one item a line: its own items, those of its neighbours that it re-exports, and the versions of foreign crates whose
//! types appear in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use public_api::{Builder, PublicItem};
use rustdoc_types::{Crate, FORMAT_VERSION, Id, Impl, Item, ItemEnum, StructKind, Type};
use serde::Deserialize;

use crate::error::ApiError;

/// Behind what may have more parts than are shown, and behind an item of a trait that implementors may leave out.
pub const OPEN: &str = " { .. }";
/// Before what may get more parts.
pub const NON_EXHAUSTIVE: &str = "#[non_exhaustive]";
/// Behind a trait that may be a `dyn`.
pub const DYN: &str = " (dyn)";
/// Auto traits that programs rely on. Others come and go with the compiler.
const AUTO_TRAITS: &[&str] = &["Send", "Sync", "Unpin"];
/// What comes with the compiler.
const STANDARD: &[&str] = &["core", "alloc", "std", "proc_macro", "test"];

/// One crate as rustdoc describes it.
struct Documented {
    json: Crate,
    items: Vec<PublicItem>,
}

#[derive(Deserialize)]
struct Header {
    format_version: u32,
}

impl Documented {
    fn read(file: &Path) -> Result<Self, ApiError> {
        let text = fs::read_to_string(file).map_err(|source| ApiError::File { file: file.into(), source })?;
        let unreadable = |reason: String| ApiError::Json { file: file.into(), reason };
        let header: Header = parse(&text).map_err(unreadable)?;
        if header.format_version != FORMAT_VERSION {
            return Err(ApiError::Format { found: header.format_version, known: FORMAT_VERSION });
        }
        let json = parse(&text).map_err(unreadable)?;
        let listed = Builder::from_rustdoc_json(file).omit_blanket_impls(true).build();
        let items = listed.map_err(|error| unreadable(error.to_string()))?.into_items().collect();
        Ok(Self { json, items })
    }

    fn is_crate(&self, name: &str) -> bool {
        self.json.external_crates.values().any(|known| known.name == name)
    }

    fn item(&self, id: Id) -> Option<&Item> {
        self.json.index.get(&id)
    }

    fn implementation(&self, id: Option<Id>) -> Option<&Impl> {
        match &self.item(id?)?.inner {
            ItemEnum::Impl(implementation) => Some(implementation),
            _ => None,
        }
    }

    /// Where the item is defined, private modules and all.
    fn definition(&self, id: Id) -> Option<String> {
        Some(self.json.paths.get(&id)?.path.join("::"))
    }

    /// The item's line; `None` for what follows from another line or says nothing.
    fn line(&self, item: &PublicItem) -> Option<String> {
        if let Some(implementation) = self.implementation(Some(item.id()))
            && !self.tells(implementation, item.parent_id())
        {
            return None;
        }
        let of_trait = self.implementation(item.parent_id()).is_some_and(|parent| parent.trait_.is_some());
        let inner = self.item(item.id()).map(|item| &item.inner);
        // The trait says what they look like. What it is implemented with is the implementation's own.
        if of_trait && !matches!(inner, Some(ItemEnum::AssocType { .. })) {
            return None;
        }
        if matches!(inner, Some(ItemEnum::Module(_))) && item.parent_id().is_none() {
            return None;
        }
        let text = item.to_string();
        let suffix = inner.map_or("", |inner| self.suffix(inner, item.parent_id()));
        // One that is not exhaustive says so already: that it has private parts as well is nobody's business.
        if suffix == OPEN && text.starts_with(NON_EXHAUSTIVE) {
            return Some(text);
        }
        Some(text + suffix)
    }

    /// Whether an implementation's own line says more than that there are methods.
    fn tells(&self, implementation: &Impl, parent: Option<Id>) -> bool {
        let Some(of) = &implementation.trait_ else { return !implementation.generics.params.is_empty() };
        if implementation.is_negative || of.path.ends_with("StructuralPartialEq") {
            return false;
        }
        if implementation.is_synthetic {
            return AUTO_TRAITS.contains(&of.path.rsplit("::").next().unwrap_or_default());
        }
        // Below a trait all who implement it are listed, who are listed themselves.
        let below_trait = parent
            .and_then(|parent| self.item(parent))
            .is_some_and(|parent| matches!(parent.inner, ItemEnum::Trait(_)));
        let is_own = matches!(&implementation.for_, Type::ResolvedPath(path) if self.json.index.contains_key(&path.id));
        !(below_trait && is_own)
    }

    fn suffix(&self, inner: &ItemEnum, parent: Option<Id>) -> &'static str {
        let in_trait = parent
            .and_then(|parent| self.item(parent))
            .is_some_and(|item| matches!(item.inner, ItemEnum::Trait(_)));
        match inner {
            ItemEnum::Struct(of) => match of.kind {
                StructKind::Plain { has_stripped_fields: true, .. } => OPEN,
                _ => "",
            },
            ItemEnum::Enum(of) if of.has_stripped_variants => OPEN,
            ItemEnum::Trait(of) if of.is_dyn_compatible => DYN,
            ItemEnum::Function(of) if in_trait && of.has_body => OPEN,
            ItemEnum::AssocConst { value: Some(_), .. } if in_trait => OPEN,
            ItemEnum::AssocType { type_: Some(_), .. } if in_trait => OPEN,
            _ => "",
        }
    }

    /// Where items are found that are defined elsewhere: the shortest public path of each.
    fn shortcuts(&self) -> BTreeMap<String, String> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for item in &self.items {
            let Some(definition) = self.definition(item.id()) else { continue };
            let text = item.to_string();
            let Some(public) = subject(&text) else { continue };
            let is_shorter = found.get(&definition).is_none_or(|known| segments(public) < segments(known));
            if is_shorter {
                found.insert(definition, public.to_owned());
            }
        }
        found
    }

    /// Lines of the item with this definition and of everything below it.
    fn below(&self, definition: &str) -> Vec<String> {
        let parents: BTreeMap<u32, Option<u32>> =
            self.items.iter().map(|item| (item.id().0, item.parent_id().map(|id| id.0))).collect();
        let is_it = |id: u32| self.definition(Id(id)).is_some_and(|path| path == definition);
        let is_below = |item: &PublicItem| {
            let mut open = Some(item.id().0);
            while let Some(id) = open {
                if is_it(id) {
                    return true;
                }
                open = parents.get(&id).copied().flatten();
            }
            false
        };
        let mut shortest: BTreeMap<u32, String> = BTreeMap::new();
        for item in self.items.iter().filter(|item| is_below(item)) {
            let Some(line) = self.line(item) else { continue };
            let known = shortest.entry(item.id().0).or_insert_with(|| line.clone());
            if line.len() < known.len() {
                *known = line;
            }
        }
        shortest.into_values().collect()
    }
}

/// The recursion of generic types has no bound that JSON readers usually set.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    T::deserialize(&mut reader).map_err(|error| error.to_string())
}

fn segments(path: &str) -> usize {
    path.split("::").count()
}

/// The paths and names in a line, with their places.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + line[at..].find(is_part)?;
        let end = line[start..].find(|c| !is_part(c)).map_or(line.len(), |length| start + length);
        at = end;
        // `name: Type` has a colon of another kind.
        Some((start, line[start..end].trim_end_matches(':').trim_start_matches(':')))
    })
}

/// The path that a line is about; of an implementation, whose it is.
fn subject(line: &str) -> Option<&str> {
    let line = line.rsplit_once(" for ").filter(|_| line.starts_with("impl")).map_or(line, |(_, of)| of);
    words(line).map(|(_, word)| word).find(|word| word.contains("::"))
}

/// The line with each path of `shortcuts` in the place of its definition's.
fn shortened(line: &str, shortcuts: &BTreeMap<String, String>) -> String {
    let mut done = String::with_capacity(line.len());
    let mut copied = 0;
    for (start, word) in words(line) {
        if let Some(public) = shortcuts.get(word)
            && line[start..].starts_with(word)
        {
            done.push_str(&line[copied..start]);
            done.push_str(public);
            copied = start + word.len();
        }
    }
    done.push_str(&line[copied..]);
    done
}

/// The listing of crate `root`, from the JSON files of it and its neighbours in `folder`; `lock` is the text of `Cargo.lock`.
///
/// # Errors
/// A file cannot be read, is of another rustdoc, or a neighbour's type is named and not re-exported.
pub fn read(folder: &Path, root: &str, lock: &str) -> Result<Vec<String>, ApiError> {
    let file_of = |name: &str| -> PathBuf { folder.join(format!("{name}.json")) };
    let main = Documented::read(&file_of(root))?;
    let mut neighbours: BTreeMap<String, Documented> = BTreeMap::new();
    for path in main.json.paths.values().filter(|path| path.crate_id != 0) {
        let name = &path.path[0];
        if !neighbours.contains_key(name) && file_of(name).is_file() {
            neighbours.insert(name.clone(), Documented::read(&file_of(name))?);
        }
    }
    let mut shortcuts = main.shortcuts();
    shortcuts.extend(neighbours.values().flat_map(Documented::shortcuts));

    let mut own = BTreeSet::new();
    let mut others = BTreeSet::new();
    let mut reexported = BTreeSet::new();
    let mut missing = Vec::new();
    for item in &main.items {
        let Some(line) = main.line(item) else { continue };
        let Some(ItemEnum::Use(of)) = main.item(item.id()).map(|item| &item.inner) else {
            own.insert(shortened(&line, &shortcuts));
            continue;
        };
        let definition = match of.id.and_then(|id| main.definition(id)) {
            Some(definition) => definition,
            None if main.is_crate(&of.source) => of.source.clone(),
            // It is hidden: nothing would be listed of it.
            None => {
                missing.push(format!("  {}, in {line}", of.source));
                continue;
            }
        };
        let source = shortcuts.get(&definition).unwrap_or(&definition);
        if let Some(neighbour) = definition.split("::").next().and_then(|name| neighbours.get(name)) {
            others.extend(neighbour.below(&definition).iter().map(|line| shortened(line, &shortcuts)));
            reexported.insert(source.clone());
        }
        own.insert(format!("{line} = {source}"));
    }

    let is_ours = |name: &str| name == root || name == "crate" || neighbours.contains_key(name);
    missing.extend(unnamed(&own, &reexported, is_ours));
    if !missing.is_empty() {
        return Err(ApiError::NotReexported { root: root.to_owned(), missing });
    }
    let mut listed = foreign(own.iter().chain(&others), is_ours, &versions(lock));
    for lines in [&own, &others] {
        let mut lines: Vec<_> = lines.iter().cloned().collect();
        // What belongs to a type stands below it.
        lines.sort_by(|a, b| place(a).cmp(&place(b)));
        listed.extend(lines);
    }
    Ok(listed)
}

/// What of ours the lines name that can be named neither by a line's own path nor by a re-export.
fn unnamed(
    own: &BTreeSet<String>,
    reexported: &BTreeSet<String>,
    is_ours: impl Fn(&str) -> bool,
) -> Vec<String> {
    let named: BTreeSet<_> = own.iter().filter_map(|line| subject(line)).collect();
    let is_unnamed = |path: &str| {
        path.split_once("::").is_some_and(|(name, _)| is_ours(name))
            && !named.contains(path)
            && !reexported.contains(path)
    };
    let lines = own.iter().filter(|line| !line.starts_with("pub use "));
    let words = lines.flat_map(|line| words(line).map(move |(_, word)| (word, line)));
    words.filter(|(word, _)| is_unnamed(word)).map(|(word, line)| format!("  {word}, in {line}")).collect()
}

/// A line for each foreign crate that the lines name.
fn foreign<'a>(
    lines: impl Iterator<Item = &'a String>,
    is_ours: impl Fn(&str) -> bool,
    versions: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let names = lines.flat_map(|line| words(line)).filter_map(|(_, word)| Some(word.split_once("::")?.0));
    let names: BTreeSet<_> = names.filter(|name| !STANDARD.contains(name) && !is_ours(name)).collect();
    let line = |name: &str| {
        let versions: Vec<_> = versions.get(name)?.iter().map(String::as_str).collect();
        Some(format!("extern crate {name} {}", versions.join(" or ")))
    };
    names.into_iter().filter_map(line).collect()
}

/// Where a line stands in a listing.
fn place(line: &str) -> (Vec<&str>, bool, &str) {
    let path = subject(line).unwrap_or_default();
    (path.split("::").collect(), line.starts_with("impl"), line)
}

/// The part of a version in which two may differ and still do the same for their users is left out: `1`, `0.8`.
pub(crate) fn breaking_part(version: &str) -> String {
    let mut parts = version.split(['.', '-', '+']);
    let major = parts.next().unwrap_or_default();
    match (major, parts.next()) {
        ("0", Some("0")) => format!("0.0.{}", parts.next().unwrap_or_default()),
        ("0", Some(minor)) => format!("0.{minor}"),
        _ => major.to_owned(),
    }
}

/// Versions of every crate in a lock file, by the name that code has for it.
fn versions(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let value = |line: &str, key: &str| {
        Some(line.strip_prefix(key)?.strip_prefix(" = \"")?.trim_end_matches('"').to_owned())
    };
    let mut lines = lock.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = value(line, "name") else { continue };
        let Some(version) = lines.peek().and_then(|next| value(next, "version")) else { continue };
        found.entry(name.replace('-', "_")).or_default().insert(breaking_part(&version));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_version_only_the_part_counts_that_breaks() {
        let cases = [
            ("1.4.2", "1"),
            ("0.8.9", "0.8"),
            ("0.0.3", "0.0.3"),
            ("0.5.0-alpha", "0.5"),
            ("12.0.0+b", "12"),
        ];
        for (version, part) in cases {
            assert_eq!(breaking_part(version), part);
        }
    }

    #[test]
    fn a_definition_in_a_private_module_is_shown_where_it_can_be_named() {
        let shortcuts = BTreeMap::from([("net::a::b::Entry".to_owned(), "net::Entry".to_owned())]);
        let line = "pub fn x::f(&net::a::b::Entry, alloc::vec::Vec<net::a::b::Entry>) -> net::a::b::Entry2";
        let shown = "pub fn x::f(&net::Entry, alloc::vec::Vec<net::Entry>) -> net::a::b::Entry2";
        assert_eq!(shortened(line, &shortcuts), shown);
        assert_eq!(shortened("pub x::field: net::a::b::Entry", &shortcuts), "pub x::field: net::Entry");
    }
}
