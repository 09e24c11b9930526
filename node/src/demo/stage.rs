//! Sets the market up, plays the stream, and takes stock.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use framemill_broadcaster::{Pace, StreamConfig, Verification, source_of};
use framemill_contracts::{Anvil, AnvilConfig};
use framemill_media::{MediaLimits, Segmenter};
use framemill_network::{Ladder, LadderEntry};
use probabilistic_ticket::{Ledger as _, SqliteLedger};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Report, Seller, Terms,
    live::{self, Entrance},
    playback,
    watch::{Plot, Watch},
};
use crate::{
    buyer::{self, Buyer},
    cli::DemoArgs,
    config::{Config, Sources},
    dashboard::Role,
    devnet::{self, ETHER, Market, Member, Plan},
    feed,
    process::{Launcher, Process},
    runtime::{self, Runtime},
};

/// Orchestrators in the demo's market.
const ORCHESTRATORS: usize = 3;
/// The one that cheats, counted from zero.
const CHEAT: usize = 0;
/// How long redemption may take after the stream.
const REDEMPTION_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks at what was redeemed.
const REDEMPTION_POLL: Duration = Duration::from_millis(250);
/// Fees that stay unchanged for so long are taken as final: redemption has its interval and its block.
const REDEMPTION_QUIET: Duration = Duration::from_secs(8);
/// Winners read from one ledger; far more than a demo makes.
const WINNERS_READ: u32 = 1_000_000;
/// Time a segment has. Three transcoders, their orchestrators and the verification share one machine here: a segment that
/// a slow machine delivers late is told in the table, one that is lost would end the demo.
const SEGMENT_LIMIT: Duration = Duration::from_secs(120);
/// How long streams that are published to a market that stays up may take to end with it.
const FAREWELL: Duration = Duration::from_secs(10);
/// Name of the demo's stream.
const STREAM: &str = "demo";

/// The result, with the market still up.
pub(super) struct Outcome {
    pub(super) report: Report,
    pub(super) names: BTreeMap<Address, String>,
    pub(super) faults: Vec<String>,
    pub(super) dashboard: String,
    /// Settings of the stream that was played.
    pub(super) stream: StreamConfig,
    pub(super) stage: Stage,
}

/// Everything that runs.
pub(super) struct Stage {
    buyer: Buyer,
    runtime: Runtime,
    launcher: Launcher,
    /// By number; none where it is dead.
    orchestrators: Vec<Option<Process>>,
    transcoders: Vec<Process>,
    market: Market,
    anvil: Anvil,
}

/// What is known of the input before it is played.
struct Programme {
    stream: StreamConfig,
    ladder: Vec<LadderEntry>,
    segments: u64,
    /// Output pixels of the largest segment.
    largest: u64,
}

/// Sets up, plays, waits for the money, checks.
pub(super) async fn play(
    config: &Config,
    args: &DemoArgs,
    dir: &Path,
    input: &Path,
) -> anyhow::Result<Outcome> {
    let programme = programme(config, args, input)?;
    let mut stage = Stage::set(config, dir, &programme).await?;
    let names = stage.names();
    let client = stage.buyer.chain.clone().context("the demo's broadcaster has a chain")?;
    let payer = stage.market.broadcaster.address;
    let before = client.sender_info(payer).await?;

    let mut report = stage.perform(args, input, &programme, &names).await?;
    stage.revive("for what it had won").await?;
    stage.wait_for_redemption().await?;
    let after = client.sender_info(payer).await?;
    let funds = |info: &framemill_contracts::SenderInfo| info.deposit + info.reserve;
    report.deposit_spent_wei = funds(&before).saturating_sub(funds(&after));
    report.chain_id = client.chain_id();
    stage.take_stock(&mut report).await?;

    let mut faults = report.faults(programme.ladder.len() as u64);
    println!("checking every published rendition once more, independently of the broadcaster");
    let (master, input) = (report.master_playlist.clone(), input.to_owned());
    let (cut, ladder) = (programme.stream.segmenter(), programme.ladder);
    let checked =
        tokio::task::spawn_blocking(move || playback::check(&master, &input, &cut, &ladder)).await?;
    if let Err(error) = checked {
        faults.push(format!("the published ladder is not right: {error:#}"));
    }
    let (dashboard, stream) = (stage.runtime.dashboard(), programme.stream);
    Ok(Outcome { report, names, faults, dashboard, stream, stage })
}

/// Reads the input once, without decoding it: what it holds decides the terms and the plot.
fn programme(config: &Config, args: &DemoArgs, input: &Path) -> anyhow::Result<Programme> {
    let mut stream = buyer::stream_config(config, STREAM)?;
    if let Some(text) = &args.ladder {
        stream.ladder = text.parse::<Ladder>().context("--ladder")?;
    }
    stream.deadline.floor = SEGMENT_LIMIT;
    // The demo ends well only if nothing wrong was published, which sampling does not promise.
    stream.verification = Verification::FULL;
    let unusable = || format!("{} cannot be played", input.display());
    let file = std::fs::File::open(input).with_context(unusable)?;
    let mut source =
        Segmenter::open_seekable(file, stream.segmenter(), &MediaLimits::default()).with_context(unusable)?;
    let mut ladder = Vec::new();
    let (mut segments, mut largest) = (0, 0);
    while let Some(segment) = source.next_segment().with_context(unusable)? {
        segment.info.require_video().with_context(unusable)?;
        if ladder.is_empty() {
            ladder = stream.ladder.resolve(&source_of(&segment.info))?.iter().cloned().collect();
        }
        let pixels = ladder.iter().map(LadderEntry::pixels_per_frame).sum::<u64>() * segment.frames();
        largest = largest.max(pixels);
        segments += 1;
    }
    Ok(Programme { stream, ladder, segments, largest })
}

impl Stage {
    async fn set(config: &Config, dir: &Path, programme: &Programme) -> anyhow::Result<Self> {
        println!("starting a chain, deploying the contracts, staking {ORCHESTRATORS} orchestrators");
        let anvil = Anvil::start(AnvilConfig::default()).await?;
        let market = devnet::prepare(&Plan {
            rpc: anvil.endpoint().to_owned(),
            dir: dir.join("market"),
            deployer: anvil.keys().first().context("anvil has accounts")?.clone(),
            orchestrators: ORCHESTRATORS,
            deposit: U256::from(50) * U256::from(ETHER),
            reserve: U256::from(5) * U256::from(ETHER),
            settings: Terms::for_segment(programme.largest).settings(),
        })
        .await?;
        println!("starting {ORCHESTRATORS} orchestrators and their transcoders");
        let binary = std::env::current_exe().context("cannot find this program's own file")?;
        let launcher = Launcher::new(binary, dir.join("logs"))?;
        let (orchestrators, transcoders) = start(&launcher, &market, programme.segments / 4).await?;
        let runtime = Runtime::start(config, Role::Broadcaster, "Framemill demo").await?;
        println!("dashboard: {}", runtime.dashboard());
        let own = Sources { file: Some(market.broadcaster.config.clone()), ..Sources::default() }.load()?;
        let buyer = Buyer::open(&own, &dir.join("hls"), &runtime.metrics).await?;
        buyer.show(&runtime.views);
        anyhow::ensure!(
            buyer.broadcaster.wait_for_orchestrators(ORCHESTRATORS, Duration::from_secs(20)).await,
            "the chain's registry does not list {ORCHESTRATORS} active orchestrators"
        );
        runtime.readiness.set(Vec::new());
        Ok(Self { buyer, runtime, launcher, orchestrators, transcoders, market, anvil })
    }

    /// What the demo calls each orchestrator.
    fn names(&self) -> BTreeMap<Address, String> {
        let sellers = self.market.sellers.iter();
        sellers.map(|seller| (seller.orchestrator.address, seller.orchestrator.name.clone())).collect()
    }

    /// Plays the stream while the plot unfolds.
    async fn perform(
        &mut self,
        args: &DemoArgs,
        input: &Path,
        programme: &Programme,
        names: &BTreeMap<Address, String>,
    ) -> anyhow::Result<Report> {
        let stream = self.buyer.broadcaster.stream(programme.stream.clone())?;
        let pace = if args.fast { Pace::Fast } else { Pace::Realtime };
        let honest: Vec<_> =
            self.market.sellers.iter().enumerate().filter(|(number, _)| *number != CHEAT).collect();
        let plot = Plot {
            kill_after: programme.segments / 2,
            candidates: honest.iter().map(|(_, seller)| seller.orchestrator.address).collect(),
        };
        let mut watch = Watch::new(self.runtime.board.clone(), STREAM, names.clone(), plot);
        let mut events = stream.events();
        let source = std::fs::File::open(input)?;
        let player = async {
            let pushed = stream.push_file(source, pace).await;
            (pushed, stream.finish().await)
        };
        let market = &self.market;
        let processes = &mut self.orchestrators;
        let watching = async {
            while let Some(victim) = watch.until_kill(&mut events).await {
                let number = market.sellers.iter().position(|seller| seller.orchestrator.address == victim);
                if let Some(mut process) = number.and_then(|number| processes[number].take()) {
                    process.kill().await?;
                }
            }
            anyhow::Ok(())
        };
        let ((pushed, summary), watched) = tokio::select! {
            done = async { tokio::join!(player, watching) } => done,
            never = feed::keep_market_drawn(&self.runtime.board, &self.buyer.broadcaster) => match never {},
        };
        watched?;
        pushed.with_context(|| format!("{} cannot be played to its end", input.display()))?;
        let mut report = watch.into_report();
        report.master_playlist =
            PathBuf::from(self.buyer.broadcaster.store().locate(&summary.master_playlist));
        Ok(report)
    }

    /// Starts who does not run again, as an operator would: the tickets it acknowledged are on its disk.
    async fn revive(&mut self, why: &str) -> anyhow::Result<()> {
        for (process, seller) in self.orchestrators.iter_mut().zip(&self.market.sellers) {
            if process.is_none() {
                let member = &seller.orchestrator;
                println!("          {} is started again, {why}", member.name);
                let started = process.insert(orchestrator(&self.launcher, member)?);
                started.ready(&seller.http).await?;
                let address = member.address.to_string();
                self.runtime
                    .board
                    .draw(|picture| picture.orchestrator(&address).note = "started again".to_owned());
            }
        }
        Ok(())
    }

    /// Waits until the fees on chain have stopped to grow.
    async fn wait_for_redemption(&self) -> anyhow::Result<()> {
        println!("waiting for the last winning tickets to be redeemed");
        let client = self.buyer.chain.as_ref().context("the demo's broadcaster has a chain")?;
        let end = Instant::now() + REDEMPTION_LIMIT;
        let (mut seen, mut since) = (U256::ZERO, Instant::now());
        while Instant::now() < end && (seen.is_zero() || since.elapsed() < REDEMPTION_QUIET) {
            let mut fees = U256::ZERO;
            for seller in &self.market.sellers {
                fees += client.pending_fees(seller.orchestrator.address).await?;
            }
            if fees != seen {
                (seen, since) = (fees, Instant::now());
            }
            sleep(REDEMPTION_POLL).await;
        }
        Ok(())
    }

    /// Stops the orchestrators and reads their books and the chain.
    async fn take_stock(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let client = self.buyer.chain.clone().context("the demo's broadcaster has a chain")?;
        let payer = self.market.broadcaster.address;
        feed::draw_market(&self.runtime.board, &self.buyer.broadcaster);
        let rows = self.runtime.board.snapshot().orchestrators;
        for process in self.orchestrators.iter_mut().filter_map(Option::take) {
            process.stop().await;
        }
        for (number, seller) in self.market.sellers.iter().enumerate() {
            let member = &seller.orchestrator;
            let ledger = SqliteLedger::open(member.data.join(crate::ledger::Side::Recipient.file())).await?;
            let winners = ledger.winners_of(payer, WINNERS_READ).await?;
            ledger.close().await;
            report.tickets.won += winners.len() as u64;
            report.tickets.redeemed += winners.iter().filter(|winner| winner.is_paid()).count() as u64;
            let fees_wei = client.pending_fees(member.address).await?;
            let address = member.address.to_string();
            let row = rows.iter().find(|row| row.address == address);
            let segments = row.map_or(0, |row| row.segments);
            self.runtime.board.draw(|picture| picture.orchestrator(&address).fees_wei = Some(fees_wei));
            report.orchestrators.push(Seller {
                address: member.address,
                segments,
                fees_wei,
                honest: number != CHEAT,
            });
        }
        Ok(())
    }

    /// Opens again after the show, to streams from outside, until this process is asked to stop.
    pub(super) async fn stay(&mut self, entrance: Entrance, stream: StreamConfig) -> anyhow::Result<()> {
        let mut asked_to_stop = std::pin::pin!(runtime::asked_to_stop());
        tokio::select! {
            stopped = &mut asked_to_stop => return stopped,
            revived = self.revive("for your streams") => revived?,
        }
        println!("\n{}", entrance.invitation(&self.runtime.dashboard()));
        let (board, broadcaster) = (&self.runtime.board, &self.buyer.broadcaster);
        let stop = CancellationToken::new();
        let publishing = entrance.serve(broadcaster, stream, stop.clone());
        tokio::select! {
            stopped = asked_to_stop => stopped?,
            () = live::keep_streams_drawn(board, broadcaster) => {}
            never = feed::keep_market_drawn(board, broadcaster) => match never {},
        }
        stop.cancel();
        // A stream that takes longer ends with the broadcaster.
        let _ = timeout(FAREWELL, publishing).await;
        Ok(())
    }

    /// Ends everything: first the one who buys, whose streams need the others to end well.
    pub(super) async fn strike(self) {
        self.buyer.close().await;
        for process in self.orchestrators.into_iter().flatten().chain(self.transcoders) {
            process.stop().await;
        }
        self.runtime.stop().await;
        drop(self.anvil);
    }
}

fn orchestrator(launcher: &Launcher, member: &Member) -> anyhow::Result<Process> {
    launcher.start(&member.name, &["orchestrator"], &member.config)
}

async fn start(
    launcher: &Launcher,
    market: &Market,
    cheat_from: u64,
) -> anyhow::Result<(Vec<Option<Process>>, Vec<Process>)> {
    let (mut orchestrators, mut transcoders) = (Vec::new(), Vec::new());
    for (number, seller) in market.sellers.iter().enumerate() {
        let member = &seller.orchestrator;
        orchestrators.push(orchestrator(launcher, member)?);
        let from = cheat_from.to_string();
        let arguments: &[&str] =
            if number == CHEAT { &["transcoder", "--cheat-from", &from] } else { &["transcoder"] };
        let name = member.name.replace("orchestrator", "transcoder");
        transcoders.push(launcher.start(&name, arguments, &seller.transcoder_config)?);
        // One after the other: each transcoder measures this machine, and should have it to itself.
        transcoders[number].ready(&seller.transcoder_http).await?;
        orchestrators[number].ready(&seller.http).await?;
    }
    Ok((orchestrators.into_iter().map(Some).collect(), transcoders))
}
