//! The Debian package: built from the binary under test, installed into a Debian of its own, run there by systemd as its units say,
//! upgraded, removed.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod root;
mod services;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use framemill_tests::{binary, cut, skipped, synthetic, workspace};
use root::{Root, printed};
use services::{BROADCASTER, ORCHESTRATOR, Outside, Role, TRANSCODER, journal};

const ROLES: [Role; 3] = [BROADCASTER, ORCHESTRATOR, TRANSCODER];
/// Where the package, and one of a version before it, lie in the Debian that they are installed into.
const PACKAGE: &str = "/opt/new.deb";
const OLDER: &str = "/opt/old.deb";
const OLDER_VERSION: &str = "0.0~older";
/// What an older version's configuration files end with.
const OLDER_MARK: &str = "# of an older version";
/// Most that systemd may find exposed, in its tenths; without any confinement a service has 96.
const EXPOSURE_TENTHS: &str = "20";
/// Calls for commands as the node's user, as `sudo -u framemill` does.
const AS_FRAMEMILL: [&str; 4] = ["setpriv", "--reuid=framemill", "--regid=framemill", "--init-groups"];

fn succeeded(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", printed(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn build(folder: &Path) -> PathBuf {
    let mut script = Command::new(workspace().join("scripts/package"));
    let path = succeeded(script.arg("--binary").arg(binary()).arg("--out").arg(folder).arg("--fast"));
    PathBuf::from(path.trim())
}

/// The package as a version before it might have been.
fn older(package: &Path, folder: &Path) -> PathBuf {
    let tree = folder.join("older");
    succeeded(Command::new("dpkg-deb").arg("--raw-extract").args([package, &tree]));
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("Version: ") {
        true => format!("Version: {OLDER_VERSION}\n"),
        false => format!("{line}\n"),
    });
    std::fs::write(control, lines.collect::<String>()).unwrap();
    for role in ROLES {
        let file = std::fs::File::options().append(true).open(format!("{}{}", tree.display(), role.config()));
        writeln!(file.unwrap(), "{OLDER_MARK}").unwrap();
    }
    let built = folder.join("older.deb");
    let fast = ["--root-owner-group", "-Zgzip", "-z1", "--build"];
    succeeded(Command::new("dpkg-deb").args(fast).args([&tree, &built]));
    built
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_runs_confined_where_it_is_installed_and_leaves_keys_behind() {
    let folder = tempfile::tempdir().unwrap();
    let package = build(folder.path());
    it_has_what_it_needs_and_promises(&package);

    let mut root = match Root::new() {
        Ok(root) => root,
        Err(reason) => {
            return skipped(&format!("no Debian can be made to install the package into: {reason:#}"));
        }
    };
    root.put(&std::fs::read(&package).unwrap(), PACKAGE, "root", "644");
    root.put(&std::fs::read(older(&package, folder.path())).unwrap(), OLDER, "root", "644");
    install(&root, OLDER);
    it_is_whole(&root);
    the_units_are_sound(&root);
    removal_where_no_systemd_runs_leaves_no_link(&root);

    if let Err(reason) = root.boot() {
        return skipped(&format!("the Debian with the package does not boot here: {reason:#}"));
    }
    nothing_is_started_unasked(&root);
    let outside = Outside::start().await.unwrap();
    for role in [ORCHESTRATOR, TRANSCODER] {
        start(&root, &outside, &role);
    }
    for role in [ORCHESTRATOR, TRANSCODER] {
        outside.ready(&root, &role).await;
        it_is_confined(&root, &role);
    }
    an_upgrade_keeps_what_runs_and_what_was_configured(&root);
    root.run(&["systemctl", "restart", &ORCHESTRATOR.unit()]);
    start(&root, &outside, &BROADCASTER);
    for role in ROLES {
        outside.ready(&root, &role).await;
    }
    it_is_confined(&root, &BROADCASTER);
    a_segment_is_sold(&root, &outside).await;

    a_reload_takes_another_price(&root);
    for role in [BROADCASTER, TRANSCODER] {
        root.run(&["systemctl", "stop", &role.unit()]);
        assert_eq!(role.show(&root, "Result"), "success", "{}", journal(&root, &role));
        assert_eq!(role.show(&root, "ExecMainStatus"), "0", "{}", journal(&root, &role));
    }
    removal_keeps_what_is_the_operators(&root);

    let leader = PathBuf::from(format!("/proc/{}", root.leader.unwrap()));
    assert!(leader.exists());
    drop(root);
    assert!(!leader.exists(), "the Debian goes on running");
}

/// It depends on the libraries that its binary is linked with, and has every file that belongs to it.
fn it_has_what_it_needs_and_promises(package: &Path) {
    let asked =
        |how: &str, what: &[&str]| succeeded(Command::new("dpkg-deb").arg(how).arg(package).args(what));
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
    for line in listed.lines() {
        let is_folder_or_program =
            line.starts_with("drwxr-xr-x root/root") || line.ends_with("./usr/bin/framemill");
        assert!(is_folder_or_program || line.starts_with("-rw-r--r-- root/root"), "{line}");
    }
}

fn install(root: &Root, package: &str) -> String {
    let choice = ["--option=Dpkg::Options::=--force-confdef", "--option=Dpkg::Options::=--force-confold"];
    root.run(&[&["apt-get", "install", "--yes", "--quiet"][..], &choice, &[package]].concat())
}

/// What was installed is what was packed, with the user and the folders that it is to have, and can be read and called.
fn it_is_whole(root: &Root) {
    assert_eq!(root.run(&["dpkg", "--verify", "framemill"]), "");
    assert!(root.run(&["framemill", "--version"]).starts_with("framemill "));
    let user = root.run(&["getent", "passwd", "framemill"]);
    assert!(user.contains(":/var/lib/framemill:") && user.trim().ends_with("/nologin"), "{user}");
    let mode = |path: &str| root.run(&["stat", "--format=%a %U:%G", path]).trim().to_owned();
    assert_eq!(mode("/etc/framemill"), "750 root:framemill");
    assert_eq!(mode("/var/lib/framemill"), "700 framemill:framemill");

    let conffiles = root.run(&["dpkg-query", "--show", "--showformat=${Conffiles}", "framemill"]);
    assert_eq!(conffiles.trim().lines().count(), ROLES.len(), "{conffiles}");
    for role in ROLES {
        assert!(conffiles.contains(&role.config()), "{conffiles}");
        assert_eq!(mode(&role.config()), "644 root:root");
        let check = ["framemill", "config", "check", "--config", &role.config()];
        assert!(root.run(&[&AS_FRAMEMILL[..], &check].concat()).contains("valid"));
        let page = root.run(&["man", "--pager=cat", &format!("framemill-{}", role.name)]);
        assert!(page.contains("SYNOPSIS") && page.contains("--config"), "{page}");
    }
    let complete = ". /usr/share/bash-completion/completions/framemill
        COMP_WORDS=(framemill orch) COMP_CWORD=1
        _framemill framemill orch framemill
        echo ${COMPREPLY[*]}";
    assert_eq!(root.run(&["bash", "-euc", complete]).trim(), "orchestrator");
}

fn the_units_are_sound(root: &Root) {
    for role in ROLES {
        let unit = role.unit();
        assert_eq!(root.run(&["systemd-analyze", "verify", &unit]), "");
        root.run(&["systemd-analyze", "security", "--offline=true", "--threshold", EXPOSURE_TENTHS, &unit]);
    }
}

fn removal_where_no_systemd_runs_leaves_no_link(root: &Root) {
    root.run(&["systemctl", "enable", &ORCHESTRATOR.unit()]);
    root.run(&["apt-get", "remove", "--yes", "framemill"]);
    assert_eq!(root.shell("find /etc/systemd -name 'framemill*'"), "");
    install(root, OLDER);
}

/// Not where a machine boots with the package, nor where services are set to what the vendors want.
fn nothing_is_started_unasked(root: &Root) {
    for role in ROLES {
        root.run(&["systemctl", "preset", &role.unit()]);
        assert_eq!(role.show(root, "UnitFileState"), "disabled");
        assert_eq!(role.show(root, "ActiveState"), "inactive");
    }
}

fn start(root: &Root, outside: &Outside, role: &Role) {
    outside.configure(root, role);
    root.run(&["systemctl", "enable", "--now", &role.unit()]);
}

/// The process is what the unit says: the package's program, a user that owns its state, no privileges now or later.
fn it_is_confined(root: &Root, role: &Role) {
    let process = format!("/proc/{}", role.show(root, "MainPID"));
    assert_eq!(root.run(&["readlink", &format!("{process}/exe")]).trim(), "/usr/bin/framemill");
    let status = root.run(&["cat", &format!("{process}/status")]);
    for line in ["NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    let owner = |path: &str| root.run(&["stat", "--dereference", "--format=%a %u", path]).trim().to_owned();
    let user = root.run(&["stat", "--format=%u", &process]).trim().to_owned();
    assert_eq!(owner(role.state), format!("700 {user}"));
    let framemill = root.run(&["id", "--user", "framemill"]);
    // A transcoder's user is not one that has anything.
    assert_eq!(user == framemill.trim(), role.name != TRANSCODER.name);
    assert_ne!(user, "0");
}

fn an_upgrade_keeps_what_runs_and_what_was_configured(root: &Root) {
    let keys = format!("{0}/identity {0}/keystore.json {1}", ORCHESTRATOR.state, ORCHESTRATOR.config());
    let seen = || (ORCHESTRATOR.show(root, "MainPID"), root.shell(&format!("sha256sum {keys}")));
    let before = seen();
    assert!(root.run(&["tail", "--lines=1", &BROADCASTER.config()]).contains(OLDER_MARK));

    let said = install(root, PACKAGE);
    assert!(said.contains("running roles go on with the old version"), "{said}");
    assert_eq!(seen(), before);
    assert!(!root.run(&["cat", &BROADCASTER.config()]).contains(OLDER_MARK));
    let version = root.run(&["dpkg-query", "--show", "--showformat=${Version}", "framemill"]);
    assert!(
        version != OLDER_VERSION && root.run(&["framemill", "--version"]).trim().ends_with(&version),
        "{version}"
    );
    let audit = ["framemill", "tickets", "audit", "--config", &ORCHESTRATOR.config()];
    root.run(&[&AS_FRAMEMILL[..], &audit].concat());
}

/// Made, verified and published by confined processes.
async fn a_segment_is_sold(root: &Root, outside: &Outside) {
    let segment = cut(&synthetic(320, 180, 2), 2).remove(0);
    let url = format!("http://{}/live/first/0.ts", outside.ingest);
    let answer = reqwest::Client::new().put(url).body(segment.data).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}: {}", journal(root, &BROADCASTER));
    let playlist = format!("http://{}/hls/first/180p/index.m3u8", outside.ingest);
    let playlist = reqwest::get(playlist).await.unwrap().text().await.unwrap();
    assert!(playlist.contains("#EXTINF"), "{playlist}");
}

fn a_reload_takes_another_price(root: &Root) {
    let process = ORCHESTRATOR.show(root, "MainPID");
    root.shell(&format!("sed -i 's/^price_wei = .*/price_wei = 7/' {}", ORCHESTRATOR.config()));
    root.run(&["systemctl", "reload", &ORCHESTRATOR.unit()]);
    assert_eq!(ORCHESTRATOR.show(root, "ActiveState"), "active");
    assert_eq!(ORCHESTRATOR.show(root, "MainPID"), process);
}

/// A service that runs is stopped; secrets, keys and ledgers stay, and nothing else.
fn removal_keeps_what_is_the_operators(root: &Root) {
    assert_eq!(ORCHESTRATOR.show(root, "ActiveState"), "active");
    root.run(&["apt-get", "remove", "--yes", "framemill"]);
    assert_eq!(root.run(&["systemctl", "list-units", "--plain", "--no-legend", "framemill*"]), "");
    for role in ROLES {
        root.run(&["test", "-f", &role.config()]);
    }
    let said = root.run(&["apt-get", "purge", "--yes", "framemill"]);
    assert!(said.contains("keys and ledgers stay"), "{said}");

    root.run(&["test", "-f", &format!("{}/keystore.json", ORCHESTRATOR.state)]);
    root.run(&["test", "-f", &format!("{}/recipient.sqlite", ORCHESTRATOR.state)]);
    // The pages that were read above are kept by `man`.
    let find = "find / -xdev -path /var/cache/man -prune -o -name '*framemill*' -print";
    let mut left: Vec<_> = root.shell(find).lines().map(str::to_owned).collect();
    left.sort();
    let mut expected = ROLES.map(|role| role.credential()).to_vec();
    expected.extend(["/etc/framemill", "/var/lib/framemill"].map(str::to_owned));
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(root.run(&["ls", "/etc/framemill"]).trim(), "deployment.json");
}
