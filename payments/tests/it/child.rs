//! A test of this binary in a process of its own, which may be killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::store;

/// Begins an answer, among what the harness of the tests prints.
const ANSWER: &str = "= ";

/// Runs the test `name` of `module` alone, which is what `module_path!` says there.
pub(crate) fn command(module: &str, name: &str) -> Command {
    let (_, module) = module.split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{module}::{name}"), "--exact", "--nocapture"]).envs(store::child_environment());
    command
}

/// Said by the process. One line in one write, so that a kill cannot cut it in two.
pub(crate) fn answer(line: &str) {
    std::io::stdout().lock().write_all(format!("\n{ANSWER}{line}\n").as_bytes()).unwrap();
}

/// A process that says when it is ready, and then answers each line with one. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, output };
        assert_eq!(process.heard().as_deref(), Some("ready"));
        process
    }

    /// Of one that is dead the answer will be missing.
    pub(crate) fn ask(&mut self, question: &str) {
        if let Some(input) = &mut self.child.stdin {
            let _ = input.write_all(format!("{question}\n").as_bytes());
        }
    }

    /// The next answer; `None` at the end of the process.
    pub(crate) fn heard(&mut self) -> Option<String> {
        let lines = self.output.by_ref().lines().map(Result::unwrap);
        lines.filter_map(|line| line.strip_prefix(ANSWER).map(str::to_owned)).next()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its input, and waits until it has ended by that.
    pub(crate) fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
