//! A small share of the cases of the example `hostile`.

use std::{fs, path::Path};

#[path = "../../examples/abuse/mod.rs"]
mod abuse;

use abuse::case::{Case, Measure, cases};

/// Of every run the same, so that a failure is there the next time.
const MEASURE: Measure = Measure { cuts: 6, flips: 2, seed: 1 };

/// Damage for which the node took the blame once: a duration that no packet has, parameter sets of impossible lengths, a packet that is
/// said to lie behind what was read.
const BLAMED: [(&str, &str); 3] = [
    ("made-vp9-opus.webm", "flips:10000:14400198398945470073"),
    ("made-hevc-flac.mkv", "flips:10000:3144794670757135155"),
    ("made-h264-pcm.mov", "cut:265175"),
];

fn blamed(clip: &Path) -> impl Iterator<Item = Case> {
    let here = BLAMED.into_iter().filter(|(name, _)| clip.ends_with(name));
    here.map(|(_, damage)| Case { clip: clip.to_owned(), damage: damage.parse().expect("a damage") })
}

#[test]
fn damaged_media_ends_in_a_result_or_an_error_with_a_name() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let clips = abuse::clips::make(folder.path()).expect("clips");
    let length = |clip: &Path| fs::read(clip).expect("a clip that was made").len();
    let cases: Vec<_> = clips
        .iter()
        .flat_map(|clip| cases(clip.clone(), length(clip), MEASURE).into_iter().chain(blamed(clip)))
        .collect();
    let program = std::env::current_exe().expect("the tests are a program");
    let child = ["--ignored", "--exact", "damaged::works_in_a_process_of_its_own", "--nocapture"];
    let report = abuse::run(&cases, &program, &child, abuse::worker::DEADLINE, |_, _| {})
        .expect("the tests can run themselves");
    let abuse::Report { flaws, largest, slowest, .. } = &report;
    assert!(flaws.is_empty(), "{flaws:#?}; most memory {largest:?}, longest {slowest:?}");
    assert_eq!(report.cases, cases.len());
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn works_in_a_process_of_its_own() {
    abuse::worker::work(abuse::worker::DEADLINE).expect("cases on standard input");
}
