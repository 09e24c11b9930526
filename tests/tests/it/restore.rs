//! An orchestrator loses its disk, and its ledger comes back older than it was: what docs/operations.md says under "Restore" is done,
//! with the commands that it gives, and what it says of such a copy is so.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use framemill_tests::{BroadcasterProcess, Market, MarketPlan, binary, cut, synthetic};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// Longer than anything takes on a busy machine; only a hang gets here.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// Winners are held until the process is told otherwise.
const HOLD: &str = "orchestrator.redeem_wait_ms=86400000";
const REDEEM: &str = "orchestrator.redeem_wait_ms=300";
/// More tickets than an orchestrator lets a broadcaster skip where it knows the last one.
const MANY_TICKETS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_ledger_collects_what_it_holds_and_an_empty_one_sells_on() -> anyhow::Result<()> {
    let mut story = Story::start().await?;

    // What the node does after the copy: it is paid for what the copy holds as unpaid, and sells on.
    story.sell_until_some_win().await?;
    let copy = story.copy("first").await?;
    let held = story.winners(&["pending", "submitted"]).await?;
    story.restart(&[REDEEM], true).await?;
    story.until_none_waits().await?;
    ensure!(story.winners(&["paid"]).await? >= held, "it was not paid");
    story.restart(&[HOLD], true).await?;
    story.sell_until_some_win().await?;
    story.lose_disk().await?;
    story.send_tickets(MANY_TICKETS).await?;

    story.restore(&copy).await?;
    story.collect_alone().await?;
    // It was paid, and cannot know.
    ensure!(story.winners(&["dead"]).await? == held, "{:?}", story.export().await?);
    ensure!(story.export().await?.iter().all(|winner| winner["reason"] == "nonce passed"));
    let earned: Value = serde_json::from_str(&story.framemill(&["earnings", "--json"]).await?)?;
    ensure!(earned["total"]["lost"]["tickets"] == held, "{earned}");

    story.start_with_empty_ledger().await?;
    story.sell_until_some_win().await?;

    // A copy of which nothing was paid since: all of it is.
    let copy = story.copy("second").await?;
    let held = story.winners(&["pending", "submitted"]).await?;
    story.lose_disk().await?;
    story.restore(&copy).await?;
    let before = story.market.redeemed().await?.len();
    story.collect_alone().await?;
    ensure!(story.winners(&["paid"]).await? == held, "{:?}", story.export().await?);
    ensure!(story.market.redeemed().await?.len() - before == held);
    Ok(())
}

/// A market with one seller and one buyer.
struct Story {
    market: Market,
    broadcaster: Option<BroadcasterProcess>,
    client: Client,
    clip: bytes::Bytes,
    streams: u32,
    copies: PathBuf,
}

impl Story {
    async fn start() -> anyhow::Result<Self> {
        let mut plan = MarketPlan::default();
        plan.settings.retain(|(key, _)| *key != "orchestrator.redeem_wait_ms");
        plan.settings.push(("broadcaster.deadline_ms", "10000".to_owned()));
        let mut market = Market::start(plan).await?;
        let copies = market.path("copies");
        std::fs::create_dir(&copies)?;
        let clip = cut(&synthetic(320, 180, 2), 2).remove(0).data;
        let client = Client::builder().timeout(PATIENCE).build()?;
        market.orchestrators[0].take().context("it runs")?.stop().await;
        let mut story = Self { market, broadcaster: None, client, clip, streams: 0, copies };
        story.restart(&[HOLD], true).await?;
        story.start_broadcaster().await?;
        Ok(story)
    }

    async fn start_broadcaster(&mut self) -> anyhow::Result<()> {
        self.broadcaster =
            Some(self.market.start_broadcaster(&["broadcaster.ladder=144:150k".to_owned()]).await?);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.market.accounts.sellers[0].orchestrator.data.clone()
    }

    /// A command about the orchestrator; what it printed.
    async fn framemill(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(binary());
        let config = &self.market.accounts.sellers[0].orchestrator.config;
        printed(command.args(arguments).arg("--config").arg(config)).await
    }

    /// Starts the orchestrator again, with or without its transcoder.
    async fn restart(&mut self, settings: &[&str], with_transcoder: bool) -> anyhow::Result<()> {
        self.stop().await?;
        let mut arguments = vec!["orchestrator"];
        arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let member = &self.market.accounts.sellers[0].orchestrator;
        self.market.orchestrators[0] =
            Some(self.market.launcher.start(&member.name, &arguments, &member.config)?);
        if with_transcoder {
            self.market.start_transcoder(0)?;
            self.market.wait_ready(0).await?;
        }
        Ok(())
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.market.transcoders[0].take() {
            process.stop().await;
        }
        if let Some(mut process) = self.market.orchestrators[0].take() {
            let ended = process.terminate().await?;
            ensure!(ended.success(), "{ended}: {}", process.log());
        }
        Ok(())
    }

    /// Pushes a segment of a new stream.
    async fn push(&mut self) -> anyhow::Result<StatusCode> {
        self.streams += 1;
        let broadcaster = self.broadcaster.as_ref().context("it runs")?;
        let url = broadcaster.push_url(&format!("stream-{}", self.streams), 0);
        Ok(self.client.put(url).body(self.clip.clone()).send().await?.status())
    }

    async fn sell_until_some_win(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.winners(&["pending", "submitted"]).await? < 2 {
            ensure!(Instant::now() < end, "nothing wins: {:?}", self.export().await?);
            // Who has just been refused is asked again after a while.
            if self.push().await? != StatusCode::OK {
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn export(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.framemill(&["tickets", "export", "--only", "winners"]).await?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// How many winners of the ledger are in one of these states.
    async fn winners(&self, states: &[&str]) -> anyhow::Result<usize> {
        let all = self.export().await?;
        Ok(all.iter().filter(|winner| states.iter().any(|state| winner["state"] == *state)).count())
    }

    async fn until_none_waits(&self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.winners(&["pending", "submitted"]).await? > 0 {
            ensure!(Instant::now() < end, "winners wait: {:?}", self.export().await?);
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// A copy as the page makes it, while the node runs.
    async fn copy(&self, name: &str) -> anyhow::Result<PathBuf> {
        let copy = self.copies.join(name);
        std::fs::create_dir(&copy)?;
        let data = self.data();
        let (folder, own) = (data.parent().context("a folder")?, data.file_name().context("a name")?);
        let mut sqlite = Command::new("sqlite3");
        let into = format!("VACUUM INTO '{}'", copy.join("recipient.sqlite").display());
        printed(sqlite.arg("-readonly").arg(data.join("recipient.sqlite")).arg(into)).await?;
        let mut tar = Command::new("tar");
        tar.arg("--create").arg("--file").arg(copy.join("rest.tar")).arg("--exclude=*.sqlite*");
        printed(tar.arg("--directory").arg(folder).arg(own)).await?;
        Ok(copy)
    }

    /// The process and all that it had are gone.
    async fn lose_disk(&mut self) -> anyhow::Result<()> {
        self.market.orchestrators[0].take().context("it runs")?.kill().await?;
        Ok(std::fs::remove_dir_all(self.data())?)
    }

    async fn restore(&self, copy: &std::path::Path) -> anyhow::Result<()> {
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--file").arg(copy.join("rest.tar"));
        printed(tar.arg("--directory").arg(self.data().parent().context("a folder")?)).await?;
        std::fs::copy(copy.join("recipient.sqlite"), self.data().join("recipient.sqlite"))?;
        self.framemill(&["tickets", "audit"]).await.map(drop)
    }

    /// Moves the broadcaster's numbers on, as that many tickets would.
    async fn send_tickets(&mut self, count: u64) -> anyhow::Result<()> {
        let mut broadcaster = self.broadcaster.take().context("it runs")?;
        broadcaster.process.terminate().await?;
        let ledger = self.market.accounts.broadcaster.data.join("sender.sqlite");
        let further = format!("UPDATE spend_lanes SET next_nonce = next_nonce + {count}");
        printed(Command::new("sqlite3").arg(ledger).arg(further)).await?;
        self.start_broadcaster().await
    }

    /// What the page says of an older copy: no transcoders, until no winner waits.
    async fn collect_alone(&mut self) -> anyhow::Result<()> {
        self.restart(&[REDEEM], false).await?;
        self.until_none_waits().await?;
        self.framemill(&["tickets", "audit"]).await.map(drop)
    }

    /// And then: the ledger and the files beside it away, and a start with none.
    async fn start_with_empty_ledger(&mut self) -> anyhow::Result<()> {
        self.stop().await?;
        let away = self.copies.join("collected");
        std::fs::create_dir(&away)?;
        for entry in std::fs::read_dir(self.data())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("recipient.sqlite") {
                std::fs::rename(entry.path(), away.join(entry.file_name()))?;
            }
        }
        self.restart(&[HOLD], true).await
    }
}

/// Runs a command that has to succeed; what it printed.
async fn printed(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().await?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
