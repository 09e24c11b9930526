//! `framemill dispute`: evidence that a stranger can judge.

use std::{path::Path, process::ExitCode};

use alloy_primitives::B256;
use anyhow::Context as _;
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::Ladder;
use framemill_verification::{
    Policy, Report, SourceReference,
    evidence::{Bundle, Case, Judgement, Outcome, Parts},
    verify,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::cli::{BundleArgs, DisputeBuildArgs, DisputeCommand};

/// Exit status when nothing is proven either way.
const CANNOT_JUDGE: u8 = 2;

/// Runs the command. `check` ends with status 0 fault proven, 1 no fault, 2 cannot judge; the others with 0 or 2.
pub(crate) fn run(command: &DisputeCommand) -> ExitCode {
    let (done, json) = match command {
        DisputeCommand::Build(args) => (build(args), false),
        DisputeCommand::Show(args) => (show(args), args.json),
        DisputeCommand::Check(args) => (check(args), args.json),
        _ => (Err(anyhow::anyhow!("this command needs the chain")), false),
    };
    done.unwrap_or_else(|error| {
        match json {
            true => println!("{}", json!({ "outcome": null, "reason": format!("{error:#}") })),
            false => eprintln!("cannot judge: {error:#}"),
        }
        ExitCode::from(CANNOT_JUDGE)
    })
}

fn build(args: &DisputeBuildArgs) -> anyhow::Result<ExitCode> {
    let case: Case = record(&args.case)?;
    let ladder: Ladder = record(&args.ladder)?;
    let rendition = read(&args.rendition)?;
    let source = args.source.as_deref().map(read).transpose()?;
    let opening = args.opening.as_deref().map(record).transpose()?;
    let report = match &source {
        Some(source) => Some(report(&case, &ladder, source, &rendition)?),
        None => None,
    };
    let bundle =
        Bundle::new(Parts { case, ladder: &ladder, rendition, source, report: report.as_ref(), opening })?;
    bundle.write(&args.bundle)?;
    println!("{}", bundle.id());
    Ok(ExitCode::SUCCESS)
}

/// The judgement that the accuser puts beside the case: at the depth that was drawn, or of every frame.
fn report(case: &Case, ladder: &Ladder, source: &Bytes, rendition: &Bytes) -> anyhow::Result<Report> {
    let entry = ladder.get(case.accused).context("the ladder has no rendition of the accused index")?;
    let reference = SourceReference::new(source.clone(), &MediaLimits::segment())?;
    let (policy, seed) =
        case.draw.as_ref().map_or((Policy::FULL, B256::ZERO), |draw| (draw.policy(), draw.seed));
    Ok(verify(&reference, rendition, entry, &policy, &seed.0)?)
}

fn show(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    let bundle = Bundle::open(&args.bundle)?;
    let manifest = bundle.manifest();
    if args.json {
        let objects: Vec<_> = bundle
            .objects()
            .map(|(name, sha256, bytes)| json!({ "name": name, "sha256": sha256, "bytes": bytes }))
            .collect();
        let proof = bundle.feature_proof();
        println!(
            "{}",
            json!({ "bundle": bundle.id(), "manifest": manifest, "objects": objects, "feature_proof": proof })
        );
        return Ok(ExitCode::SUCCESS);
    }
    let case = &manifest.case;
    println!("bundle     {}", bundle.id());
    println!("signer     {}", case.signer);
    println!("session    {} sequence {}", case.receipt.session, case.receipt.sequence);
    let name = bundle.entry().map_or("not in the ladder", |entry| &entry.name);
    println!("rendition  {} ({name})", case.accused);
    println!("rules      version {}", manifest.rules_version);
    for (name, sha256, bytes) in bundle.objects() {
        println!("{name:<10} {sha256} {bytes} bytes");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(args: &BundleArgs) -> anyhow::Result<ExitCode> {
    let judgement = Bundle::open(&args.bundle)?.judge(&MediaLimits::segment())?;
    match args.json {
        true => println!("{}", json!(judgement)),
        false => print(&judgement),
    }
    Ok(ExitCode::from(u8::from(judgement.outcome == Outcome::NoFault)))
}

fn print(judgement: &Judgement) {
    for fault in &judgement.faults {
        println!("fault: {fault}");
    }
    if judgement.reproduced == Some(false) {
        println!("note: the accuser's report does not come out again");
    }
    if judgement.report.is_none() {
        println!("note: the rendition was not compared with its source");
    }
    match judgement.outcome {
        Outcome::FaultProven => println!("fault proven: {} signed a wrong result", judgement.accused),
        Outcome::NoFault => println!("no fault: all is as {} signed it", judgement.accused),
    }
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    std::fs::read(path).map(Bytes::from).with_context(|| format!("cannot read {}", path.display()))
}

fn record<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    serde_json::from_slice(&read(path)?).with_context(|| format!("{} is malformed", path.display()))
}
