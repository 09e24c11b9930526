//! Shell scripts in a network (with nothing but loopback) and among processes of their own, which end with them.

use std::{
    fs,
    process::{Command, Stdio},
};

use framemill_tests::{binary, workspace};

/// A script takes less, on slow machines too.
const LIMIT: &str = "480";
/// Lines of output that explain a failure.
const TAIL: usize = 60;

fn apart() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// Whether this machine lets one be made.
///
/// # Errors
/// What it says where not.
pub(super) fn is_possible() -> Result<(), String> {
    let output =
        apart().args(["ip", "link", "set", "lo", "up"]).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Runs a script in a folder of its own, with the binary under test in its `PATH`.
///
/// # Errors
/// It failed, with the last that it printed.
pub(super) fn run(script: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (file, log) = (folder.path().join("script.sh"), folder.path().join("script.log"));
    fs::write(&file, script).expect("room for the script");
    let work = folder.path().join("work");
    fs::create_dir(&work).expect("a folder to work in");
    let programs =
        [binary().parent().expect("programs lie in a folder").to_owned(), workspace().join(".tools/bin")];
    let path = format!(
        "{}:{}",
        programs.map(|folder| folder.display().to_string()).join(":"),
        std::env::var("PATH").expect("tests have a path")
    );
    let output = fs::File::create(&log).expect("room for the log");
    let mut command = apart();
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FRAMEMILL_")) {
        command.env_remove(name);
    }
    let status = command
        .args(["timeout", "--foreground", LIMIT, "bash"])
        .arg(&file)
        .env("PATH", path)
        .env("HOME", folder.path())
        .current_dir(&work)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("another handle of the log"))
        .stderr(output)
        .status()
        .expect("unshare runs");
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<_> = said.lines().collect();
    Err(format!("{status}:\n{}", lines[lines.len().saturating_sub(TAIL)..].join("\n")))
}
