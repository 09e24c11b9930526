use std::path::Path;

use super::{framemill, run, stderr, stdout};

fn write(folder: &Path, text: &str) -> String {
    let path = folder.join("framemill.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn check_accepts_the_defaults() {
    let output = run(&["config", "check"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("valid"), "{}", stdout(&output));
}

#[test]
fn check_reports_every_problem_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "[broadcaster]\nlader = \"720:1000k\"\nsegment_ms = 1\n");
    let output = run(&["config", "check", "--config", &file]);
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(text.contains("did you mean broadcaster.ladder?"), "{text}");
    assert!(text.contains("1 is not within 500 to 20000"), "{text}");
}

#[test]
fn check_tells_of_values_that_mean_nothing_with_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "[broadcaster]\nladder = \"720:fast\"\ningest = \"8935\"\nauth_url = \"hook\"\n[network]\nlisten = [\"0.0.0.0:7936\"]\n",
    );
    let output = run(&["config", "check", "--config", &file, "--set", "chain.rpc=http://127.0.0.1:8545"]);
    assert!(!output.status.success());
    let text = stderr(&output);
    for words in [
        "5 problem(s)",
        "broadcaster.ladder: \"720:fast\"",
        "write it like /ip4/",
        "chain.deployment is not",
        "broadcaster.auth_url: the auth webhook cannot be asked",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains(&format!("write it like 127.0.0.1:8080 ({file})")), "{text}");
}

#[test]
fn check_tells_of_everything_at_once_and_of_nothing_that_hangs_on_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[broadcaster]\nsegment_ms = 1\nladder = \"720:fast\"\n[chain]\nrpc = \"http://127.0.0.1:8545\"\n\
                deploymint = \"d.json\"\n[orchestrator]\nquality_least_ppm = \"half\"\nquality_least_centi_db = 9999\n\
                [transcoder]\norchestrator = \"nowhere\"\n";
    let file = write(folder.path(), text);
    let output = run(&["config", "check", "--config", &file, "--set", "http.listen=7935"]);
    assert!(!output.status.success());
    let text = stderr(&output);
    for words in [
        "6 problem(s)",
        "did you mean chain.deployment?",
        "1 is not within 500 to 20000",
        "orchestrator.quality_least_ppm: ",
        "broadcaster.ladder: \"720:fast\"",
        "http.listen: \"7935\" is no host and port",
        "transcoder.orchestrator: \"nowhere\"",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn show_tells_where_each_value_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "[transcoder]\nname = \"from-file\"\nthreads = 3\n");
    let output = framemill(&["config", "show", "--json", "--config", &file, "--set", "transcoder.threads=5"])
        .env("FRAMEMILL_LOG_FILTER", "debug")
        .output()
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["transcoder.name"]["source"], file);
    assert_eq!(shown["transcoder.threads"], serde_json::json!({ "value": 5, "source": "flag" }));
    assert_eq!(shown["log.filter"]["source"], "FRAMEMILL_LOG_FILTER");
    assert_eq!(shown["log.format"]["source"], "default");
}

#[test]
fn missing_configuration_file_is_named() {
    let output = run(&["config", "check", "--config", "/nowhere/at/all.toml", "--set", "chain.rpc=http://a"]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("1 problem(s)"), "what it says of chain.deployment is not known");
    assert!(stderr(&output).contains("/nowhere/at/all.toml"), "{}", stderr(&output));
}
