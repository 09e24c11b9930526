//! What docs/hardware.md says of every path.

use std::path::Path;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Whether it names a month and a year.
fn is_dated(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_year = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    words.windows(2).any(|pair| MONTHS.contains(&pair[0]) && is_year(pair[1]))
}

#[test]
fn every_row_says_when_its_path_ran_or_that_it_never_did() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hardware.md");
    let page = std::fs::read_to_string(page).expect("a committed file");
    let (mut place, mut rows) = (None, 0);
    for line in page.lines() {
        let Some(line) = line.strip_prefix("| ") else {
            place = None;
            continue;
        };
        let cells: Vec<&str> = line.trim_end_matches('|').split(" | ").map(str::trim).collect();
        let Some(place) = place else {
            place = Some(cells.iter().position(|cell| *cell == "when").expect("a column that says when"));
            continue;
        };
        if !cells[place].starts_with("---") {
            assert!(is_dated(cells[place]) || cells[place] == "never", "{line}");
            rows += 1;
        }
    }
    assert!(rows > 10, "{rows} rows");
}
