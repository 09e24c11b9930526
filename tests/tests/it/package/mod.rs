//! The Debian package: built from the binary under test, installed into a Debian of its own, run from there, removed.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod root;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use framemill_tests::{binary, free_address, workspace};
use root::{Root, printed};

const UNITS: [&str; 3] =
    ["framemill-broadcaster.service", "framemill-orchestrator.service", "framemill-transcoder.service"];
/// Where the package lies in the Debian that it is installed into.
const PACKAGE: &str = "/root/framemill.deb";
/// Most that systemd may find exposed, in its tenths; without any confinement a service has 96.
const EXPOSURE_TENTHS: &str = "20";
/// A role that does not answer by then will not.
const START_LIMIT: Duration = Duration::from_secs(90);

fn build(folder: &Path) -> PathBuf {
    let output = Command::new(workspace().join("scripts/package"))
        .arg("--binary")
        .arg(binary())
        .arg("--out")
        .arg(folder)
        .arg("--fast")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Ended when dropped, with all that it started.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // nsenter and chroot become the role itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The broadcaster as its unit runs it: the packaged file, and the user that owns nothing but its folder.
fn start_broadcaster(root: &Root, http: &str) -> Service {
    let folder = "/var/lib/framemill/broadcaster";
    root.run(&["install", "--directory", "--owner=framemill", "--mode=700", folder]);
    let user = ["setpriv", "--reuid=framemill", "--regid=framemill", "--clear-groups", "--no-new-privs"];
    let role = ["framemill", "broadcaster", "--config", "/etc/framemill/broadcaster.toml"];
    let listen = format!("http.listen={http}");
    let free = ["--set", &listen, "--set", "broadcaster.ingest=127.0.0.1:0"];
    let mut command = root.command(&[&user[..], &role, &free].concat());
    Service(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

async fn answer(url: &str, service: &mut Service) -> String {
    let asking = async {
        loop {
            if let Some(status) = service.0.try_wait().unwrap() {
                panic!("the broadcaster ended with {status}");
            }
            if let Ok(answer) = reqwest::get(url).await {
                return answer.text().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_LIMIT, asking).await.expect("the broadcaster answers")
}

/// Whether a Debian can be made here to install into.
fn debian() -> Option<Root> {
    Root::new()
        .inspect_err(|reason| eprintln!("SKIPPED: no layer over this Debian can be mounted: {reason}"))
        .ok()
}

#[tokio::test]
async fn a_package_runs_confined_where_it_is_installed_and_leaves_keys_behind() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    it_has_what_it_needs_and_promises(&package);
    let Some(root) = debian() else { return };
    root.put(&std::fs::read(package).unwrap(), PACKAGE);
    root.run(&["dpkg", "--install", PACKAGE]);

    assert!(root.run(&["framemill", "--version"]).starts_with("framemill "));
    assert!(root.run(&["getent", "passwd", "framemill"]).contains("/var/lib/framemill"));
    assert_eq!(root.run(&["stat", "--format=%a %U:%G", "/etc/framemill"]).trim(), "750 root:framemill");
    assert_eq!(
        root.run(&["stat", "--format=%a %U:%G", "/var/lib/framemill"]).trim(),
        "700 framemill:framemill"
    );
    for role in ["broadcaster", "orchestrator", "transcoder"] {
        let file = format!("/etc/framemill/{role}.toml");
        assert!(root.run(&["framemill", "config", "check", "--config", &file]).contains("valid"));
    }
    the_units_are_sound(&root);

    let http = free_address().unwrap();
    let mut service = start_broadcaster(&root, &http);
    assert_eq!(answer(&format!("http://{http}/healthz"), &mut service).await, "ok\n");
    drop(service);

    removal_keeps_what_is_the_operators(&root);
}

/// It depends on the libraries that its binary is linked with, and has every file that belongs to it.
fn it_has_what_it_needs_and_promises(package: &Path) {
    let asked = |how: &str, what: &[&str]| {
        printed(&Command::new("dpkg-deb").arg(how).arg(package).args(what).output().unwrap())
    };
    let depends = asked("--field", &["Depends"]);
    for library in ["libavcodec", "libavformat", "libswscale", "libc6"] {
        assert!(depends.contains(library), "{depends}");
    }
    let listed = asked("--contents", &[]);
    for file in [
        "./usr/share/man/man1/framemill-broadcaster.1.gz",
        "./usr/share/bash-completion/completions/framemill",
        "./usr/share/zsh/vendor-completions/_framemill",
        "./usr/share/fish/vendor_completions.d/framemill.fish",
        "./usr/lib/systemd/system/framemill-.service.d/10-confinement.conf",
    ] {
        assert!(listed.contains(file), "{file} is not in {listed}");
    }
}

fn the_units_are_sound(root: &Root) {
    for unit in UNITS {
        root.run(&["systemd-analyze", "--man=no", "verify", unit]);
        root.run(&["systemd-analyze", "security", "--offline=true", "--threshold", EXPOSURE_TENTHS, unit]);
    }
}

fn removal_keeps_what_is_the_operators(root: &Root) {
    let changed = "printf '[log]\\nformat = \"json\"\\n' >/etc/framemill/orchestrator.toml";
    root.run(&["sh", "-c", changed]);
    let again = root.run(&["dpkg", "--install", "--force-confdef", PACKAGE]);
    assert!(root.run(&["cat", "/etc/framemill/orchestrator.toml"]).contains("json"), "{again}");

    let said = root.run(&["dpkg", "--purge", "framemill"]);
    assert!(said.contains("keys and ledgers stay"), "{said}");
    root.run(&["test", "-f", "/var/lib/framemill/broadcaster/identity"]);
    root.run(&["sh", "-c", "! test -e /etc/framemill/orchestrator.toml && ! test -e /usr/bin/framemill"]);
}
