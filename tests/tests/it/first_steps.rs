//! The shortest ways in, typed as the pages show them: a miner's two commands, and the program of the library's front page.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use framemill::config::Sources;
use framemill_tests::{Market, MarketPlan, binary, cut, synthetic, workspace};
use reqwest::{Client, StatusCode};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// The first shell block of a file under the workspace's root that holds `command`; in comments, too.
fn block_with(file: &str, command: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(workspace().join(file))?;
    let plain: Vec<_> = text.lines().map(|line| line.trim_start_matches("//!").trim_start()).collect();
    let plain = plain.join("\n");
    let mut blocks =
        plain.split("```sh").skip(1).filter_map(|rest| rest.split_once('\n')?.1.split("```").next());
    let found = blocks.find(|block| block.contains(command));
    found.map(str::to_owned).with_context(|| format!("{file} shows no {command}"))
}

/// The commands of a block, those over several lines in one.
fn commands(block: &str) -> Vec<String> {
    block.replace("\\\n", " ").lines().map(str::to_owned).filter(|line| !line.trim().is_empty()).collect()
}

/// A shell in a folder of its own and what it has started; all of it ends with this.
struct Shell {
    child: Child,
    folder: TempDir,
}

impl Shell {
    /// Types a script. The binary under test is in the `PATH`.
    fn start(script: &str, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let folder = TempDir::with_prefix("framemill-first-steps-")?;
        let programs = binary().parent().context("it lies in a folder")?.to_owned();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let log = std::fs::File::create(folder.path().join("shell.log"))?;
        let mut command = Command::new("bash");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FRAMEMILL_")) {
            command.env_remove(name);
        }
        let child = command
            .args(["-euo", "pipefail", "-c", script])
            .env_remove("XDG_DATA_HOME")
            .env("HOME", folder.path())
            .env("PATH", path)
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        Ok(Self { child, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("shell.log")).unwrap_or_default()
    }

    /// Waits until the shell has come to its end.
    async fn end(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{status}: {}", self.log());
                return Ok(());
            }
            ensure!(Instant::now() < end, "it does not end: {}", self.log());
            sleep(LOOK).await;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        // Nothing of it may be left, and all of it may have ended.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_has_its_first_segment_paid_after_two_commands() -> anyhow::Result<()> {
    let block = block_with("docs/miner.md", "framemill transcoder --set")?;
    ensure!(commands(&block).len() == 2, "more or less than two commands: {block}");
    let mut market = Market::start(MarketPlan::default()).await?;
    market.transcoders[0].take().context("the market has one")?.stop().await;
    let seller = market.accounts.sellers[0].clone();
    let given =
        Sources { file: Some(seller.transcoder_config.clone()), ..Sources::default() }.load()?.transcoder;
    let address = given.orchestrator.context("an orchestrator is named")?;
    let secret = std::fs::read_to_string(given.token_file.context("a secret is named")?)?;

    let mut miner = Shell::start(&block, &[("ADDRESS", address.as_str()), ("SECRET", secret.trim())])?;
    market.wait_ready(0).await?;
    let broadcaster = market.start_broadcaster(&["broadcaster.ladder=180:300k,144:150k".to_owned()]).await?;
    let client = Client::builder().timeout(PATIENCE).build()?;
    // Which ticket wins is chance: each segment brings one or two.
    for segment in cut(&synthetic(320, 180, 40), 2) {
        let url = broadcaster.push_url("first", segment.sequence);
        let answer = client.put(url).body(segment.data.clone()).send().await?;
        assert_eq!(answer.status(), StatusCode::OK);
        if !market.redeemed().await?.is_empty() {
            break;
        }
    }
    let end = Instant::now() + PATIENCE;
    while market.redeemed().await?.is_empty() {
        ensure!(Instant::now() < end, "no ticket is paid: {}", miner.log());
        sleep(LOOK).await;
    }
    assert!(market.redeemed().await?.iter().all(|paid| paid.recipient == seller.orchestrator.address));
    ensure!(miner.child.try_wait()?.is_none(), "the transcoder has ended: {}", miner.log());
    Ok(())
}

/// A program that was built with these tests as an example of the library.
fn example(name: &str) -> anyhow::Result<String> {
    let program = binary().with_file_name("examples").join(name);
    ensure!(
        program.is_file(),
        "{} is not built: run cargo test --workspace, or cargo build --examples first",
        program.display()
    );
    Ok(program.display().to_string())
}

fn is_in_a_playlist(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("360p/index.m3u8")).is_ok_and(|text| text.contains("#EXTINF"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_page_of_the_library_leads_to_a_ladder() -> anyhow::Result<()> {
    let block = block_with("broadcaster/src/lib.rs", "framemill orchestrator")?;
    // The program is built already, where a reader's Cargo builds it.
    let build = "cargo run --quiet --release --";
    ensure!(block.contains(build), "the page does not run its program: {block}");
    let mut shell = Shell::start(&block.replace(build, &example("first")?), &[])?;
    shell.end().await?;
    let said = shell.log();
    assert!(said.contains("play hls/first/vod.m3u8"), "{said}");
    assert!(is_in_a_playlist(&shell.path("hls/first")), "{said}");
    Ok(())
}
