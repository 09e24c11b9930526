//! Roles as child processes: what the demo and the end-to-end tests run markets with.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// A process that is not ready by then will not be.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Pause between two questions whether a process is ready.
const READY_POLL: Duration = Duration::from_millis(100);
/// How long a process may take to drain before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Starts roles of one binary and keeps what they log.
#[derive(Debug, Clone)]
pub struct Launcher {
    binary: PathBuf,
    logs: PathBuf,
    client: reqwest::Client,
}

impl Launcher {
    /// Runs `binary`, with one log file per process in the folder `logs`.
    ///
    /// # Errors
    /// The folder cannot be made, or the machine has no certificates, without which there is no HTTP client.
    pub fn new(binary: PathBuf, logs: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let client = reqwest::Client::builder().build();
        let client = client.context("there is no http client without the package ca-certificates")?;
        Ok(Self { binary, logs, client })
    }

    /// Starts one process; started again under the same name, it adds to the same log.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self, name: &str, arguments: &[&str], config: &Path) -> anyhow::Result<Process> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Process { name: name.to_owned(), log, child, client: self.client.clone() })
    }
}

/// A running role. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    client: reqwest::Client,
}

impl Process {
    /// Waits until the role says at `http`, a host and port, that it can work.
    ///
    /// # Errors
    /// The process ended, or did not become ready in time; with its reason.
    pub async fn ready(&mut self, http: &str) -> anyhow::Result<()> {
        let url = format!("http://{http}/readyz");
        let end = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended with {status}; see {}", self.name, self.log.display());
            }
            let reason = match self.client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default().trim().replace('\n', "; "),
                Err(_) => "not answering".to_owned(),
            };
            if Instant::now() > end {
                anyhow::bail!(
                    "{} is not ready after {START_LIMIT:?}: {reason}; see {}",
                    self.name,
                    self.log.display()
                );
            }
            sleep(READY_POLL).await;
        }
    }

    /// Kills the process with SIGKILL: no warning, no farewell.
    ///
    /// # Errors
    /// It had ended before.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// What the process has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id; none once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks the process to end with SIGTERM and waits while it drains.
    ///
    /// # Errors
    /// It had ended before, or does not end in time.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        let id = self.child.id().with_context(|| format!("{} has ended already", self.name))?;
        let asked = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        anyhow::ensure!(asked.success(), "cannot send SIGTERM to {}: kill ended with {asked}", self.name);
        let ended = timeout(STOP_LIMIT, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} has not ended after {STOP_LIMIT:?}", self.name))?;
        Ok(status?)
    }

    /// Asks the process to end, and insists after a while.
    pub async fn stop(mut self) {
        if self.terminate().await.is_err() {
            // Ended already, or ended by this: both are fine.
            let _ = self.child.kill().await;
        }
    }
}
