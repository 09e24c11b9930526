//! Crates that are documented by the real rustdoc, changed as people change them, and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use framemill_api::compare::{Difference, compare};
use framemill_api::project::{Outcome, Project, Task};
use framemill_api::{ApiError, listing};

const ROOT: &str = r#"//! A library that others embed.
pub use shop_parts::{Colour, Counter, Part};

/// Filled up from its defaults.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A number.
    pub size: u32,
}

/// Made in full.
pub struct Pair {
    /// One.
    pub left: u32,
    /// The other.
    pub right: u32,
}

/// Told of.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// A number.
    pub count: u64,
}

/// What happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Nothing.
    Idle,
    /// Something.
    Sold {
        /// What.
        part: Part,
    },
}

/// What others implement.
pub trait Shelf: Send {
    /// Takes a part.
    fn put(&self, part: Part) -> bool;
    /// Has room.
    fn has_room(&self) -> bool {
        true
    }
}

/// Sells.
pub struct Shop {
    shelf: Box<dyn Shelf>,
}

impl Shop {
    /// Opens one.
    pub fn new(shelf: Box<dyn Shelf>, _: Settings) -> Self {
        Self { shelf }
    }

    /// Sells one.
    pub async fn sell(&self, part: Part) -> Option<Event> {
        self.shelf.put(part).then_some(Event::Idle)
    }
}
"#;

const PARTS: &str = r#"//! Parts.
mod inner {
    /// A part.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Part(pub u32);

    impl Part {
        /// Its weight.
        pub fn weight(&self) -> u32 {
            self.0
        }
    }

    /// Named by nothing that is embedded.
    pub struct Secret;
}
pub use inner::{Part, Secret};

/// A colour.
pub enum Colour {
    /// One.
    Red,
    /// Another.
    Green,
}

/// Counts.
pub trait Counter {
    /// The count.
    fn count(&self) -> u32;
}
"#;

/// A workspace of two crates.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new() -> Self {
        let workspace = Self(tempfile::tempdir().unwrap());
        let package =
            |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        workspace.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"shop\", \"parts\"]\n");
        workspace.write(
            "shop/Cargo.toml",
            &(package("shop") + "[dependencies]\nshop-parts = { path = \"../parts\" }\n"),
        );
        workspace.write("parts/Cargo.toml", &package("shop-parts"));
        workspace.write("shop/src/lib.rs", ROOT);
        workspace.write("parts/src/lib.rs", PARTS);
        workspace
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from}");
        self.write(file, &text.replace(from, to));
    }

    fn document(&self) {
        let output = Command::new(env!("CARGO"))
            .args([
                "doc",
                "--quiet",
                "--offline",
                "--workspace",
                "--lib",
                "--no-deps",
                "--target-dir",
                "target",
            ])
            .current_dir(self.0.path())
            .env("RUSTDOC", Path::new(env!("CARGO_MANIFEST_DIR")).join("rustdoc"))
            .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn try_list(&self) -> Result<Vec<String>, ApiError> {
        self.document();
        listing::read(&self.path("target/doc"), "shop", &fs::read_to_string(self.path("Cargo.lock")).unwrap())
    }

    fn list(&self) -> Vec<String> {
        self.try_list().unwrap()
    }

    /// What changes of the crates mean for whoever embeds the first: of each its file, and what becomes what.
    fn after(changes: &[(&str, &str, &str)]) -> Difference {
        let workspace = Self::new();
        for (file, from, to) in changes {
            workspace.change(file, from, to);
        }
        compare(unchanged(), &workspace.list())
    }
}

/// The listing of the crates as they are above.
fn unchanged() -> &'static [String] {
    static LISTED: OnceLock<Vec<String>> = OnceLock::new();
    LISTED.get_or_init(|| Workspace::new().list())
}

const SHOP: &str = "shop/src/lib.rs";
const PART: &str = "parts/src/lib.rs";

#[test]
fn a_listing_shows_what_can_be_named_and_nothing_else() {
    let lines = unchanged();
    let has = |line: &str| lines.iter().any(|known| known == line);
    for line in [
        "pub use shop::Part = shop_parts::Part",
        "pub struct shop_parts::Part(pub u32)",
        "pub fn shop_parts::Part::weight(&self) -> u32",
        "impl core::marker::Copy for shop_parts::Part",
        "pub struct shop::Pair",
        "pub shop::Pair::left: u32",
        "#[non_exhaustive] pub enum shop::Event",
        "pub shop::Event::Sold::part: shop_parts::Part",
        "pub trait shop::Shelf: core::marker::Send (dyn)",
        "pub fn shop::Shelf::put(&self, shop_parts::Part) -> bool",
        "pub fn shop::Shelf::has_room(&self) -> bool { .. }",
        "pub struct shop::Shop { .. }",
        "pub async fn shop::Shop::sell(&self, shop_parts::Part) -> core::option::Option<shop::Event>",
        "impl core::marker::Send for shop::Shop",
        "impl core::default::Default for shop::Settings",
    ] {
        assert!(has(line), "{line} is not in:\n{}", lines.join("\n"));
    }
    for hidden in ["Secret", "Freeze", "::clone(", "inner", "pub mod"] {
        assert!(!lines.iter().any(|line| line.contains(hidden)), "{hidden} is in:\n{}", lines.join("\n"));
    }
}

#[test]
fn nothing_has_changed_where_only_words_and_bodies_have() {
    let words = (SHOP, "/// Sells one.", "/// Sells another.");
    let body =
        (SHOP, "self.shelf.put(part).then_some(Event::Idle)", "self.shelf.put(part).then(|| Event::Idle)");
    let difference = Workspace::after(&[words, body, (PART, "self.0", "self.0 + 1")]);
    assert!(difference.is_empty(), "{difference}");
}

#[test]
fn what_is_gone_breaks_and_what_is_otherwise_is_shown_both_ways() {
    let difference = Workspace::after(&[
        (PART, "pub fn weight", "fn weight"),
        (SHOP, "pub async fn sell(&self,", "pub async fn sell(self,"),
        // A pointer may not be sent to another thread.
        (SHOP, "    shelf: Box<dyn Shelf>,\n}", "    shelf: Box<dyn Shelf>,\n    _at: *const u8,\n}"),
        (SHOP, "Self { shelf }", "Self { shelf, _at: std::ptr::null() }"),
    ]);
    let sale = |this: &str| {
        format!(
            "pub async fn shop::Shop::sell({this}, shop_parts::Part) -> core::option::Option<shop::Event>"
        )
    };
    let gone = [
        ("impl core::marker::Send for shop::Shop".to_owned(), None),
        (sale("&self"), Some(sale("self"))),
        ("pub fn shop_parts::Part::weight(&self) -> u32".to_owned(), None),
    ];
    assert_eq!(difference.gone, gone, "{difference}");
    assert!(difference.breaks() && difference.added.is_empty());
}

#[test]
fn what_is_new_breaks_nobody() {
    let difference = Workspace::after(&[
        (
            SHOP,
            "    /// Sells one.",
            "    /// New.\n    pub fn is_open(&self) -> bool {\n        true\n    }\n    /// Sells one.",
        ),
        (SHOP, "    pub count: u64,", "    pub count: u64,\n    /// New.\n    pub weight: u32,"),
        (SHOP, "    pub size: u32,", "    pub size: u32,\n    /// New.\n    pub depth: u32,"),
        (SHOP, "    Idle,", "    Idle,\n    /// New.\n    Closed,"),
        (
            SHOP,
            "    /// Has room.",
            "    /// New.\n    fn is_full(&self) -> bool {\n        false\n    }\n    /// Has room.",
        ),
        (
            SHOP,
            "    fn put(&self, part: Part) -> bool;",
            "    fn put(&self, part: Part) -> bool {\n        part.0 > 0\n    }",
        ),
        (SHOP, "Colour, ", "Colour, Secret, "),
    ]);
    assert!(!difference.breaks(), "{difference}");
    for new in ["is_open", "weight", "depth", "Closed", "is_full", "put", "Secret"] {
        assert!(difference.added.iter().any(|line| line.contains(new)), "{new}: {difference}");
    }
}

#[test]
fn what_is_new_breaks_whoever_has_to_have_it() {
    let difference = Workspace::after(&[
        (SHOP, "    pub left: u32,", "    pub left: u32,\n    /// New.\n    pub middle: u32,"),
        (SHOP, "        part: Part,", "        part: Part,\n        /// New.\n        at: u32,"),
        (
            SHOP,
            "    /// Takes a part.",
            "    /// New.\n    fn is_full(&self) -> bool;\n    /// Takes a part.",
        ),
        (SHOP, "    pub size: u32,", "    pub size: u32,\n    depth: u32,"),
        (PART, "    Red,", "    Red,\n    /// New.\n    Blue,"),
    ]);
    let breaking: Vec<_> = difference.breaking.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        breaking,
        [
            "pub fn shop::Shelf::is_full(&self) -> bool",
            "pub shop::Event::Sold::at: u32",
            "pub shop::Pair::middle: u32",
            "pub shop_parts::Colour::Blue",
        ],
        "{difference}"
    );
    // A field that nobody can name keeps the struct from being made at all.
    let settings =
        ("pub struct shop::Settings".to_owned(), Some("pub struct shop::Settings { .. }".to_owned()));
    assert_eq!(difference.gone, [settings], "{difference}");
}

#[test]
fn a_type_that_cannot_be_named_is_refused() {
    let workspace = Workspace::new();
    let at = "/// Sells.\npub struct Shop {";
    let hidden = "/// Not for others.\n#[doc(hidden)]\npub mod inside {\n    /// Hidden.\n    pub struct Bin;\n}\npub use inside::Bin;\n";
    workspace.change(SHOP, at, &format!("mod back {{\n    /// Out of reach.\n    pub struct Room;\n}}\n/// Made by nobody.\npub fn room() -> back::Room {{\n    back::Room\n}}\n{hidden}{at}"));
    workspace.change(
        SHOP,
        "pub use shop_parts::{Colour, Counter, Part}",
        "use shop_parts::Part;\npub use shop_parts::{Colour, Counter}",
    );
    let ApiError::NotReexported { missing, .. } = workspace.try_list().unwrap_err() else {
        panic!("it is listed")
    };
    for line in [
        "shop_parts::Part, in pub async fn shop::Shop::sell",
        "shop::back::Room, in pub fn shop::room()",
        "inside::Bin, in pub use shop::Bin",
    ] {
        assert!(missing.iter().any(|known| known.contains(line)), "{missing:?}");
    }
}

#[test]
fn json_of_another_rustdoc_is_refused_with_what_to_do() {
    let workspace = Workspace::new();
    workspace.write("target/doc/shop.json", "{\"format_version\": 9999}");
    let error = listing::read(&workspace.path("target/doc"), "shop", "").unwrap_err().to_string();
    assert!(error.contains("9999") && error.contains("public-api"), "{error}");
}

fn run(workspace: &Workspace, version: &str, task: Task) -> Outcome {
    let project = Project {
        name: "shop".to_owned(),
        json: workspace.path("target/doc"),
        lock: workspace.path("Cargo.lock"),
        listing: workspace.path("api.txt"),
        released: workspace.path("api-released.txt"),
        version: version.to_owned(),
        changelog: workspace.path("CHANGELOG.md"),
    };
    project.run(task).unwrap()
}

#[test]
fn nothing_incompatible_lands_unnoticed() {
    let workspace = Workspace::new();
    workspace.write("CHANGELOG.md", "## Unreleased\n");
    workspace.document();
    // Before the first release the listing alone has to be true.
    let outcome = run(&workspace, "0.1.0", Task::Check);
    assert!(!outcome.is_good && outcome.said.contains("make api"), "{}", outcome.said);
    assert!(run(&workspace, "0.1.0", Task::Write).is_good);
    assert_eq!(run(&workspace, "0.1.0", Task::Check), Outcome { said: String::new(), is_good: true });
    workspace.change(SHOP, "pub right: u32", "pub other: u32");
    workspace.document();
    let outcome = run(&workspace, "0.1.0", Task::Check);
    assert!(!outcome.is_good && outcome.said.contains("- pub shop::Pair::right: u32"), "{}", outcome.said);
    assert!(outcome.said.contains("Nothing is released yet"), "{}", outcome.said);
    assert!(run(&workspace, "0.1.0", Task::Release).is_good);

    // From then on what breaks is announced.
    workspace.change(SHOP, "pub other: u32", "pub third: u32");
    workspace.document();
    assert!(!run(&workspace, "0.1.0", Task::Check).is_good);
    let outcome = run(&workspace, "0.1.0", Task::Write);
    assert!(!outcome.is_good && outcome.said.contains("needs version 0.2.0"), "{}", outcome.said);
    let outcome = run(&workspace, "0.2.0", Task::Check);
    assert!(!outcome.is_good && outcome.said.contains("- Breaking:"), "{}", outcome.said);
    workspace
        .write("CHANGELOG.md", "## Unreleased\n\n- Breaking: the pair's other is its third.\n\n## 0.1.0\n");
    assert!(run(&workspace, "0.2.0", Task::Check).is_good);
    // A release that breaks unannounced is none.
    assert!(!run(&workspace, "0.1.1", Task::Release).is_good);
    assert!(fs::read_to_string(workspace.path("api-released.txt")).unwrap().contains("version 0.1.0\n"));
}
