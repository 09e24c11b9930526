//! The bounds that docs/verification.md shows beside what honest renditions use of them are those of the rules.

use framemill_verification::rules::{FIRST_FRAME, PictureRules, WHOLE};

type Bound = fn(&PictureRules) -> i64;

/// Every bound on the picture by its check's name; the last two do not apply to a single frame.
const BOUNDS: [(&str, Bound); 26] = [
    ("frame_cells", |rules| rules.frame_cells),
    ("frame_peak", |rules| rules.frame_peak),
    ("frame_error_permille", |rules| rules.frame_error_permille),
    ("frame_foreign_permille", |rules| rules.frame_foreign_permille),
    ("error_permille", |rules| rules.error_permille),
    ("foreign_permille", |rules| rules.foreign_permille),
    ("mean_cells", |rules| rules.mean_cells),
    ("mean_peak", |rules| rules.mean_peak),
    ("mean_cluster", |rules| rules.mean_cluster),
    ("luma_offset", |rules| rules.luma_offset),
    ("contrast_gained", |rules| rules.contrast_gained),
    ("contrast_lost", |rules| rules.contrast_lost),
    ("colour_offset", |rules| rules.colour_offset),
    ("colour_turned", |rules| rules.colour_turned),
    ("colour_gained", |rules| rules.colour_gained),
    ("colour_lost", |rules| rules.colour_lost),
    ("chroma_permille", |rules| rules.chroma_permille),
    ("roughened_permille", |rules| rules.roughened_permille),
    ("first_mark", |rules| rules.first_mark),
    ("first_unlike_permille", |rules| rules.unlike_permille),
    ("first_nearer_percent", |rules| rules.nearer_percent),
    ("first_displacement", |rules| rules.first_displacement),
    ("first_colour_displacement", |rules| rules.colour_displacement),
    ("displacement", |rules| rules.displacement),
    ("misaligned_permille", |rules| rules.misaligned_permille),
    ("frozen_permille", |rules| rules.frozen_permille),
];

#[test]
fn shown_bounds_are_the_rules() {
    let page = include_str!("../../../docs/verification.md");
    let (_, table) = page.split_once("| check | bound | highest honest figure").expect("a table of bounds");
    for (place, (check, bound)) in BOUNDS.iter().enumerate() {
        let named = format!("| `{check}` |");
        let row = table.lines().find(|line| line.starts_with(&named)).expect(check);
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2], bound(&WHOLE).to_string(), "{check}");
        if place < BOUNDS.len() - 2 {
            assert_eq!(cells[5], bound(&FIRST_FRAME).to_string(), "{check} of a first frame");
        }
    }
}
