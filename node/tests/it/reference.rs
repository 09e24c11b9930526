use std::{collections::BTreeMap, fs, path::Path};

use super::{run, stderr, stdout};

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect()
}

#[test]
fn the_reference_pages_say_what_the_code_does() {
    let made = tempfile::tempdir().unwrap();
    let output = run(&["generate", "docs", &made.path().display().to_string()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let kept = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference"));
    let made = files(made.path());
    assert_eq!(
        kept.keys().collect::<Vec<_>>(),
        made.keys().collect::<Vec<_>>(),
        "other files in docs/reference: run `make docs`"
    );
    for (name, text) in &made {
        let differs = text.lines().zip(kept[name].lines()).find(|(made, kept)| made != kept);
        assert_eq!(
            text, &kept[name],
            "docs/reference/{name} is not what the code says, first at {differs:?}: run `make docs`"
        );
    }
}

#[test]
fn every_visible_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["generate", "man", &folder.path().display().to_string()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let pages = files(folder.path());
    for name in ["framemill.1", "framemill-stake-bond.1", "framemill-config-check.1"] {
        assert!(pages.contains_key(name), "{:?}", pages.keys());
    }
    assert!(!pages.keys().any(|name| name.contains("gpu-worker")), "{:?}", pages.keys());
}

#[test]
fn completions_know_the_commands_of_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["generate", "completions", shell]);
        assert!(output.status.success(), "{}", stderr(&output));
        let script = stdout(&output);
        assert!(script.contains("orchestrator") && script.contains("dry-run"), "{shell}: {script}");
    }
}

#[test]
fn a_generated_configuration_passes_its_own_check() {
    let folder = tempfile::tempdir().unwrap();
    for role in ["broadcaster", "orchestrator", "transcoder"] {
        let output = run(&["generate", "config", role, "--set", "http.listen=127.0.0.1:7935"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let file = folder.path().join(format!("{role}.toml"));
        fs::write(&file, &output.stdout).unwrap();
        let shown = run(&["config", "show", "--config", &file.display().to_string()]);
        assert!(stdout(&shown).contains(&format!("http.listen = \"127.0.0.1:7935\"  # {}", file.display())));
    }
}
