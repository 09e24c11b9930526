use super::run;

const CANNOT_JUDGE: Option<i32> = Some(2);

#[test]
fn cannot_judge_what_is_no_media() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let text = text.display().to_string();
    let output = run(&["verify", &text, &text, "--json"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["verdict"].is_null(), "{answer}");
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains("source")), "{answer}");
}

#[test]
fn cannot_judge_a_file_that_is_not_there() {
    let output = run(&["verify", "/nowhere/source.ts", "/nowhere/rendition.ts"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
}
