//! A Debian of its own to install into: this machine's files under a layer that is thrown away, in a mount namespace.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Output, Stdio},
};

use anyhow::Context as _;

/// Makes the layer, says so, and holds the namespace open until its input ends.
const LAYERS: &str = "set -e
mount -t tmpfs layer \"$1\"
mkdir \"$1/upper\" \"$1/work\" \"$1/root\"
mount -t overlay layer -o \"lowerdir=/,upperdir=$1/upper,workdir=$1/work\" \"$1/root\"
mount -t proc proc \"$1/root/proc\"
mount --bind /dev \"$1/root/dev\"
echo made
cat >/dev/null";

/// The layered Debian; gone when dropped.
pub(super) struct Root {
    holder: Child,
    folder: tempfile::TempDir,
}

impl Root {
    /// # Errors
    /// This machine does not let mounts be made, with what it says.
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", LAYERS, "layers"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut said)?;
        if said.trim() != "made" {
            let output = holder.wait_with_output()?;
            anyhow::bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { holder, folder })
    }

    /// Writes a file into it.
    pub(super) fn put(&self, bytes: &[u8], path: &str) {
        let copy = ["sh", "-c", "cat >\"$1\"", "put", path];
        let mut child = self.command(&copy).stdin(Stdio::piped()).spawn().expect("nsenter runs");
        child.stdin.take().expect("piped").write_all(bytes).expect("the file has room");
        assert!(child.wait().expect("a child").success(), "cannot write {path}");
    }

    /// A command in it, without this process's environment.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string(), "chroot"]);
        command.arg(self.folder.path().join("root")).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command
    }

    /// Runs a command in it that has to succeed; what it printed.
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("nsenter runs");
        assert!(output.status.success(), "{arguments:?}: {}\n{}", output.status, printed(&output));
        printed(&output)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // Its end takes the mounts with it.
        let _ = self.holder.wait();
    }
}

/// Both streams of an output.
pub(super) fn printed(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}
