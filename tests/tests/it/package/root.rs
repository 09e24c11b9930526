//! A Debian of its own to install into: made of packages from this machine's mirrors, in memory, and booted there.

use std::{
    io::{BufRead, BufReader, Write as _},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

const SCRIPT: &str = include_str!("root.sh");
/// What commands in it get of an environment.
const ENVIRONMENT: [&str; 5] = [
    "env",
    "--ignore-environment",
    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "DEBIAN_FRONTEND=noninteractive",
];
/// Longer than a boot takes on a busy machine; only a hang gets here.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// The Debian; gone when dropped.
pub(super) struct Root {
    holder: Child,
    said: BufReader<ChildStdout>,
    /// A process that sees its files.
    shell: u32,
    /// Its own first process, once it is booted.
    pub(super) leader: Option<u32>,
    folder: tempfile::TempDir,
}

impl Root {
    /// # Errors
    /// None can be made here, with what this machine says.
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut holder = as_root("unshare")
            .args(["--mount", "sh", "-c", SCRIPT, "root"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nothing can be mounted")?;
        let mut said = BufReader::new(holder.stdout.take().expect("piped"));
        let Ok(shell) = number(&mut said) else {
            let output = holder.wait_with_output()?;
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        };
        Ok(Self { holder, said, shell, leader: None, folder })
    }

    /// Boots it; commands then run beside its services.
    ///
    /// # Errors
    /// Systemd does not come up here, with the last that it says.
    pub(super) fn boot(&mut self) -> anyhow::Result<()> {
        writeln!(self.holder.stdin.as_ref().expect("piped"), "boot")?;
        let container = number(&mut self.said)?;
        let end = Instant::now() + BOOT_LIMIT;
        while Instant::now() < end {
            self.leader = first_process(container);
            if self.leader.is_some() {
                let state = self.command(&["systemctl", "is-system-running"]).output()?;
                // What this kind of machine keeps a container from may have failed: the units here are looked at one by one.
                if ["running\n", "degraded\n"].map(str::as_bytes).contains(&&state.stdout[..]) {
                    return Ok(());
                }
            }
            sleep(LOOK);
        }
        let console = self.outside("cat").arg(self.folder.path().join("console")).output()?;
        bail!("{}", printed(&console));
    }

    /// A command of this machine that sees its files.
    fn outside(&self, program: &str) -> Command {
        let mut command = as_root("nsenter");
        command.args(["--mount", "--target", &self.shell.to_string(), program]);
        command
    }

    /// Writes a file into it, with the folders above.
    pub(super) fn put(&self, bytes: &[u8], path: &str, owner: &str, mode: &str) {
        let (user, group) = (format!("--owner={owner}"), format!("--group={owner}"));
        let install = ["install", "-D", &user, &group, "--mode", mode, "/dev/stdin", path];
        let mut child = self.command(&install).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        child.stdin.take().expect("piped").write_all(bytes).expect("the file has room");
        assert!(child.wait().expect("a child").success(), "cannot write {path}");
    }

    /// A command in it, without this process's environment.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.leader {
            Some(leader) => {
                let mut command = as_root("nsenter");
                command.args(["--all", "--target", &leader.to_string()]);
                command
            }
            None => {
                let mut command = self.outside("chroot");
                command.arg(self.folder.path().join("root"));
                command
            }
        };
        command.args(ENVIRONMENT).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command in it that has to succeed; what it printed.
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("nsenter runs");
        assert!(output.status.success(), "{arguments:?}: {}\n{}", output.status, printed(&output));
        printed(&output)
    }

    /// Runs a line of shell in it that has to succeed; what it printed.
    pub(super) fn shell(&self, line: &str) -> String {
        self.run(&["sh", "-euc", line])
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // Its end takes the mounts with it.
        let _ = self.holder.wait();
    }
}

fn as_root(program: &str) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if is_root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}

/// The process that a line names.
fn number(said: &mut impl BufRead) -> anyhow::Result<u32> {
    let mut line = String::new();
    said.read_line(&mut line)?;
    Ok(line.trim().parse()?)
}

/// The first process of a container, once that is systemd.
fn first_process(container: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{container}/task/{container}/children")).ok()?;
    let mut children = children.split_whitespace();
    children
        .find(|child| {
            std::fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name == "systemd\n")
        })?
        .parse()
        .ok()
}

/// Both streams of an output.
pub(super) fn printed(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}
