//! What new users run into: every error says what happened, why, and what to do.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use framemill_contracts::Deployment;

use super::{framemill, market::Market, stderr};

/// FFmpeg's libraries as on a machine that lacks the encoders of its packages.
const NO_ENCODERS: &str = "void *avcodec_find_encoder_by_name(const char *name) { return 0; }";
/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at whether a role can work.
const POLL: Duration = Duration::from_millis(100);

#[track_caller]
fn assert_told(output: &Output, words: &[&str]) {
    let text = stderr(output);
    assert!(!output.status.success(), "{text}");
    for words in words {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// A command whose data lie in `folder`, with settings.
fn command(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let password = folder.join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    mode(&password, 0o600);
    let mut command = framemill(arguments);
    command.env("FRAMEMILL_DATA_DIR", folder).env("FRAMEMILL_WALLET_PASSWORD_FILE", password);
    command.env("FRAMEMILL_BROADCASTER_OUTPUT", folder.join("hls"));
    for (key, value) in settings {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_port_in_use_is_told_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let taken = address.to_string();
    let way_out = "choose another address, or free the port";
    for key in ["http.listen", "broadcaster.ingest", "broadcaster.rtmp"] {
        let settings = [("broadcaster.ingest", "127.0.0.1:0"), (key, taken.as_str())];
        let output = command(folder.path(), &["broadcaster"], &settings).output().unwrap();
        assert_told(&output, &[&format!("{key}: cannot listen on {taken}: "), "in use", way_out]);
    }
    assert!(command(folder.path(), &["wallet", "new"], &[]).output().unwrap().status.success());
    let listen = format!("/ip4/127.0.0.1/tcp/{}", address.port());
    let output =
        command(folder.path(), &["orchestrator"], &[("network.listen", listen.as_str())]).output().unwrap();
    let told = format!("network.listen: cannot listen on {listen}: ");
    assert_told(&output, &[&told, "in use", "choose another address or free the port"]);
}

#[test]
fn a_key_that_others_can_read_is_told_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    assert!(command(folder.path(), &["wallet", "new"], &[]).output().unwrap().status.success());
    mode(&folder.path().join("keystore.json"), 0o644);
    let output = command(folder.path(), &["orchestrator"], &[]).output().unwrap();
    assert_told(&output, &["keystore.json: mode 0644 lets others read it", "run chmod 600 on it"]);
}

#[test]
fn a_machine_without_the_asked_engine_is_told_the_other_one() {
    if framemill_gpu::list_devices().is_ok() {
        return eprintln!("SKIPPED: this machine has a driver");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["devices"], &[("transcoder.engine", "nvidia")]).output().unwrap();
    assert_told(
        &output,
        &["transcoder.engine: engine nvidia cannot be used: no CUDA driver", "use engine software"],
    );
}

#[test]
fn a_machine_without_an_encoder_is_told_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("none.c"), folder.path().join("none.so"));
    std::fs::write(&source, NO_ENCODERS).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().unwrap().success());
    let mut devices = command(folder.path(), &["devices"], &[("transcoder.engine", "software")]);
    let output = devices.env("LD_PRELOAD", library).output().unwrap();
    assert_told(&output, &["cannot be encoded by this ffmpeg", "give FFmpeg its encoders"]);
}

#[tokio::test]
async fn another_chain_and_an_empty_account_are_told_with_their_cure() {
    let market = Market::open().await;
    let dir = market.dir.path();
    let path = |name: &str| dir.join(name).display().to_string();
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let own = [
        "broadcaster.ingest=127.0.0.1:0".to_owned(),
        format!("broadcaster.output={}", path("hls")),
        format!("http.listen={http}"),
    ];
    let mut broadcaster = vec!["broadcaster"];
    own.iter().for_each(|set| broadcaster.extend(["--set", set]));

    let (file, right) = (dir.join("deployment.json"), *market.owner.deployment());
    Deployment { chain_id: 1, ..right }.save(&file).unwrap();
    let output = market.run(&broadcaster);
    let told = format!("the endpoint is chain {} and the deployment is on chain 1", right.chain_id);
    assert_told(&output, &[&told, "use the matching endpoint or deployment file"]);
    right.save(&file).unwrap();

    let _running = market.start(&broadcaster);
    let unfunded = async {
        loop {
            let text = match reqwest::get(format!("http://{http}/readyz")).await {
                Ok(answer) => answer.text().await.unwrap(),
                Err(_) => String::new(),
            };
            assert_ne!(text, "ready\n", "there is no deposit");
            if text.contains("has no deposit") && text.contains("fund it (framemill wallet fund)") {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, unfunded).await.expect("it says so");

    let poor = format!("wallet.keystore={}", path("poor.json"));
    market.done(&["wallet", "new", "--set", &poor]);
    let output = market.run(&["wallet", "fund", "--deposit", "1ETH", "--yes", "--set", &poor]);
    assert_told(&output, &["too little ether", "fund it, or send less"]);
}
