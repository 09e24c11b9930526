//! Private PostgreSQL servers, real, for as long as this process lives.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// A server, and the input whose end stops it, however this process dies.
pub struct Server {
    folder: PathBuf,
    child: Child,
    _output: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a durable server and waits until it may be used.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with more settings of the form `--NAME=VALUE`.
    fn with(settings: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("framemill-{:016x}", rand::random::<u64>()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
        let mut child = Command::new(script)
            .arg(&folder)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/postgres starts");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no PostgreSQL to test with: run scripts/setup postgres");
        Self { folder, child, _output: output }
    }

    /// Where its socket and its data are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Where a database of the server in `folder` is; `postgres` is there from the beginning.
pub fn address(folder: &Path, database: &str) -> String {
    format!("postgres://framemill@localhost/{database}?host={}", folder.display())
}

/// Sends the server in `folder` a signal; after `KILL` it has no chance to finish anything, and is started again.
pub fn signal(folder: &Path, signal: &str) {
    let file = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
    let pid = file.lines().next().unwrap();
    assert!(Command::new("kill").args([&format!("-{signal}"), pid]).status().unwrap().success());
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Where a child process finds the server of the one that started it.
pub const FOLDER: &str = "PROBABILISTIC_TICKET_POSTGRES";

/// The folder of the server that the tests of this process share.
pub fn shared() -> PathBuf {
    static SERVER: OnceLock<Server> = OnceLock::new();
    match std::env::var_os(FOLDER) {
        Some(folder) => folder.into(),
        None => SERVER.get_or_init(Server::start).folder().to_owned(),
    }
}

/// The folder of a server for tests in which it never dies, so that its syncs may cost nothing.
pub fn without_syncs() -> PathBuf {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::with(&["--fsync=off"])).folder().to_owned()
}
