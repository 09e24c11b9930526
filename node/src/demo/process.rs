//! Child processes of the demo: the same binary in other roles.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// A process that is not ready by then will not be.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Pause between two questions whether a process is ready.
const READY_POLL: Duration = Duration::from_millis(100);
/// How long a process may take to drain before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running role. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts this binary with these arguments; what it logs goes to a file.
    pub(super) fn start(name: &str, arguments: &[&str], config: &Path, logs: &Path) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let binary = std::env::current_exe().context("cannot find this program's own file")?;
        let child = Command::new(binary)
            .args(arguments)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Waits until the role says at `http` that it can work.
    pub(super) async fn ready(&mut self, http: &str, client: &reqwest::Client) -> anyhow::Result<()> {
        let url = format!("http://{http}/readyz");
        let end = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended with {status}; see {}", self.name, self.log.display());
            }
            let reason = match client.get(&url).send().await {
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
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Asks the process to end, and insists after a while.
    pub(super) async fn stop(mut self) {
        if let Some(id) = self.child.id() {
            let asked = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
            if asked.is_ok_and(|status| status.success())
                && timeout(STOP_LIMIT, self.child.wait()).await.is_ok()
            {
                return;
            }
        }
        // Ended already, or ended by this: both are fine.
        let _ = self.child.kill().await;
    }
}
