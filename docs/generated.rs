//! The part of a page that a simulation writes: between two comments, which belong to the rest of the page. Simulations of
//! several crates share this file.

use std::fs;
use std::io;
use std::path::PathBuf;

/// Where a generated part stands.
pub(crate) struct Generated {
    page: &'static str,
    begin: String,
    end: String,
}

impl Generated {
    /// The part of `docs/<page>` that is called `what` in its markers.
    pub(crate) fn new(page: &'static str, what: &str) -> Self {
        let (begin, end) =
            (format!("<!-- {what}: written by `make bench` -->\n"), format!("<!-- end of {what} -->"));
        Self { page, begin, end }
    }

    /// Puts `markdown` in its place.
    pub(crate) fn write(&self, markdown: &str) -> io::Result<()> {
        let page = self.page()?;
        let (before, _, after) = self.parts(&page)?;
        fs::write(docs(self.page), [before, markdown, after].concat())
    }

    /// What stands there.
    #[allow(dead_code, reason = "tests hold it against what the simulation says")]
    pub(crate) fn read(&self) -> io::Result<String> {
        let page = self.page()?;
        self.parts(&page).map(|(_, shown, _)| shown.to_owned())
    }

    fn page(&self) -> io::Result<String> {
        fs::read_to_string(docs(self.page))
    }

    fn parts<'a>(&self, page: &'a str) -> io::Result<(&'a str, &'a str, &'a str)> {
        let find = || {
            let begin = page.find(&self.begin)? + self.begin.len();
            let end = begin + page[begin..].find(&self.end)?;
            Some((&page[..begin], &page[begin..end], &page[end..]))
        };
        let lost = || format!("docs/{} has lost its markers {} {}", self.page, self.begin.trim(), self.end);
        find().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, lost()))
    }
}

/// A file of the folder of pages, which lies beside every crate.
pub(crate) fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}
