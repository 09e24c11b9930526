//! Accusing: before a jury with a bond, or by a report that needs none.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, U256, keccak256};
use anyhow::Context as _;
use framemill_contracts::{Action, ChainClient, CourtAction, CourtReceipt, CourtRung, Fault, PixelClaim};
use framemill_media::MediaLimits;
use framemill_network::{LadderEntry, RenditionClaim, renditions_root};
use framemill_verification::evidence::{Bundle, Finding, judge_accusation};
use serde_json::json;

use super::{Desk, address, fault_name, percent, serve};
use crate::{
    chain,
    cli::{AccuseArgs, FaultArg, ReportArgs},
    config::Config,
    runtime,
    transact::{self, Plan},
};

/// `framemill dispute open`
pub(super) async fn open(config: &Config, args: &AccuseArgs) -> anyhow::Result<()> {
    let desk = Desk::open(config).await?;
    let bundles = read(&args.bundles)?;
    let fault = proven(&desk, args.fault, &bundles)?;
    let accused = accused(&desk.client, args.accused.as_deref(), &bundles).await?;
    let folder = runtime::evidence_folder(config);
    let service = desk.client.service_uris(&[desk.me]).await?.pop().unwrap_or_default();
    if !args.sign.dry_run {
        for bundle in &bundles {
            serve::keep(&folder, bundle)?;
            serve::try_to_fetch(&service, bundle).await?;
        }
    }
    let evidence: Vec<B256> = bundles.iter().map(Bundle::id).collect();
    let plan = accusation(&desk, (accused, fault), &bundles, &evidence, &service).await?;
    let opened = async || {
        let disputes = desk.client.disputes_from(1).await?;
        let own = disputes
            .iter()
            .rev()
            .find(|dispute| dispute.evidence == evidence && dispute.challenger == desk.me);
        Ok(own.map(|dispute| {
            let line =
                format!("dispute {} is open; `framemill dispute status {0}` tells how it stands", dispute.id);
            (line, json!({ "dispute": dispute.id }))
        }))
    };
    transact::carry_out_then(&desk.client, plan, args.sign, opened).await
}

/// Base units that so many parts of a million of an amount are.
fn share(amount: U256, ppm: u32) -> U256 {
    amount * U256::from(ppm) / U256::from(1_000_000)
}

async fn accusation(
    desk: &Desk,
    (accused, fault): (Address, Fault),
    bundles: &[Bundle],
    evidence: &[B256],
    service: &str,
) -> anyhow::Result<Plan> {
    let params = &desk.params;
    let bond = U256::from(params.bond);
    let stake = desk.client.orchestrator(accused).await?.map_or(U256::ZERO, |record| record.stake);
    let slash = params.slash_ppm[fault as usize];
    let loss = share(stake, slash);
    let at = if service.is_empty() { "your node, which the registry does not name yet" } else { service };
    Ok(Plan {
        action: Action::Court(CourtAction::Open {
            accused,
            fault,
            receipts: bundles.iter().map(receipt).collect(),
            evidence: evidence.to_vec(),
            bond,
        }),
        what: format!("accuse {accused} of {} with a bond of {}", fault_name(fault), desk.token.show(bond)),
        consequences: vec![
            format!(
                "a jury of {} seats judges the evidence: {} for it, then {} in which anybody may appeal",
                params.jury_size,
                desk.calendar.blocks(desk.instance()),
                desk.calendar.blocks(params.appeal_blocks.into())
            ),
            format!(
                "guilty: it loses {} of the stake with it, now {}; up to {} of that are yours, and the bond comes back",
                percent(slash),
                desk.token.show(loss),
                percent(params.finder_ppm)
            ),
            format!(
                "the jurors share {} of it, {} at least: what is missing is taken out of your bond",
                percent(params.jurors_ppm),
                desk.show(params.jury_fee)
            ),
            "not guilty, or evidence that jurors cannot fetch: the bond is lost, half to the accused, half to the jurors"
                .to_owned(),
            format!("jurors fetch the evidence from {at}: that node must stay reachable until the dispute is closed"),
        ],
        facts: json!({
            "accused": accused,
            "fault": fault,
            "bond": bond.to_string(),
            "jury_fee": params.jury_fee.to_string(),
            "evidence": evidence,
            "served_at": service,
            "stake_of_accused": stake.to_string(),
            "slash_ppm": slash,
        }),
    })
}

/// The fault that the bundles prove by the same function that jurors run: an accusation without one would lose the bond.
fn proven(desk: &Desk, wanted: Option<FaultArg>, bundles: &[Bundle]) -> anyhow::Result<Fault> {
    if let Some(fault) = wanted {
        let needed = if fault == FaultArg::Unfaithful { 2 } else { 1 };
        anyhow::ensure!(
            bundles.len() == needed,
            "a jury is asked about {} with {needed} bundles, and {} were named: unfaithful takes two of different segments, every other fault one",
            fault_name(fault.into()),
            bundles.len()
        );
    }
    let domain = chain::signing_domain(&desk.client);
    let receipts: Vec<B256> = bundles
        .iter()
        .map(|bundle| bundle.manifest().case.receipt.statement().signing_hash(&domain))
        .collect();
    let tried = match (wanted, bundles.len()) {
        (Some(fault), _) => vec![fault],
        (None, 1) => vec![FaultArg::FalseFeatures, FaultArg::ClaimedPixels, FaultArg::FalseQuality],
        (None, _) => vec![FaultArg::Unfaithful],
    };
    let mut reasons = Vec::new();
    for fault in tried {
        let fault = Fault::from(fault);
        let asked = framemill_orchestrator::accusation(fault).context("no jury is asked about this fault")?;
        let opinion = judge_accusation(asked, &domain, &receipts, bundles, &MediaLimits::segment());
        if opinion.finding == Finding::Guilty {
            return Ok(fault);
        }
        reasons.push(format!("{}: {}", fault_name(fault), opinion.reason));
    }
    anyhow::bail!(
        "the evidence proves nothing that a jury is asked, so the bond would be lost ({})",
        reasons.join("; ")
    )
}

impl From<FaultArg> for Fault {
    fn from(fault: FaultArg) -> Self {
        match fault {
            FaultArg::ClaimedPixels => Self::ClaimedPixels,
            FaultArg::FalseFeatures => Self::FalseFeatures,
            FaultArg::FalseQuality => Self::FalseQuality,
            FaultArg::Unfaithful => Self::Unfaithful,
        }
    }
}

/// `framemill dispute report`
pub(super) async fn report(config: &Config, args: &ReportArgs) -> anyhow::Result<()> {
    let desk = Desk::open(config).await?;
    let bundles = read(&args.bundles)?;
    let accused = accused(&desk.client, args.accused.as_deref(), &bundles).await?;
    let (fault, action) = match &bundles[..] {
        [first, second] => {
            let (first, second) = (receipt(first).into(), receipt(second).into());
            (Fault::Equivocation, CourtAction::ReportEquivocation { accused, first, second })
        }
        [bundle, ..] => (Fault::ReceiptPixels, pixels(accused, bundle)?),
        [] => anyhow::bail!("name the folder of a bundle"),
    };
    let stake = desk.client.orchestrator(accused).await?.map_or(U256::ZERO, |record| record.stake);
    let slash = desk.params.slash_ppm[fault as usize];
    let loss = share(stake, slash);
    let plan = Plan {
        action: Action::Court(action),
        what: format!("report {accused} for {}", fault_name(fault)),
        consequences: vec![
            format!(
                "signatures and sums prove it: it loses {} of the stake with it, now {}, at once",
                percent(slash),
                desk.token.show(loss)
            ),
            format!(
                "up to {} of that are yours; it is kept out for {} rounds",
                percent(desk.params.finder_ppm),
                desk.params.jail_rounds
            ),
            "no bond is needed; if it is no fault, nothing happens but for the gas".to_owned(),
        ],
        facts: json!({ "accused": accused, "fault": fault, "stake_of_accused": stake.to_string(), "slash_ppm": slash }),
    };
    transact::carry_out(&desk.client, plan, args.sign).await
}

/// A receipt whose pixels contradict its claims, or whose claims contradict its ladder. The court is shown the ladder only
/// where the sum is right.
fn pixels(accused: Address, bundle: &Bundle) -> anyhow::Result<CourtAction> {
    let case = &bundle.manifest().case;
    let claims: Vec<RenditionClaim> = case.claims.iter().map(RenditionClaim::from).collect();
    anyhow::ensure!(
        renditions_root(&claims) == case.receipt.renditions_root,
        "the claims of the bundle are not those that were signed"
    );
    let sum = claims.iter().fold(0_u64, |sum, claim| sum.wrapping_add(claim.pixels));
    let ladder = match sum == case.receipt.pixels {
        true => bundle.ladder().iter().map(rung).collect(),
        false => Vec::new(),
    };
    let claim = |claim: &RenditionClaim| PixelClaim {
        sha256: claim.sha256,
        pixels: claim.pixels,
        feature_root: claim.feature_root,
        psnr_centi_db: claim.psnr_centi_db,
    };
    Ok(CourtAction::ReportPixels {
        accused,
        receipt: receipt(bundle).into(),
        claims: claims.iter().map(claim).collect(),
        ladder,
    })
}

fn read(folders: &[PathBuf]) -> anyhow::Result<Vec<Bundle>> {
    let open =
        |folder: &PathBuf| Bundle::open(folder).with_context(|| format!("{} is no bundle", folder.display()));
    folders.iter().map(open).collect()
}

/// The account that answers for the key that signed.
async fn accused(client: &ChainClient, named: Option<&str>, bundles: &[Bundle]) -> anyhow::Result<Address> {
    if let Some(named) = named {
        return address(named);
    }
    let signer = bundles.first().context("name the folder of a bundle")?.manifest().case.signer;
    if client.orchestrator(signer).await?.is_some() {
        return Ok(signer);
    }
    let candidates = client.candidate_orchestrators().await?;
    let owner = candidates.iter().find(|candidate| candidate.signing_key == signer);
    owner.map(|owner| owner.address).with_context(|| {
        format!("{signer} signed and is no orchestrator's key now; name the orchestrator with --accused")
    })
}

fn receipt(bundle: &Bundle) -> CourtReceipt {
    framemill_orchestrator::court_receipt(&bundle.manifest().case.receipt)
}

/// An entry as the court hashes it: as `LadderEntry` does.
fn rung(entry: &LadderEntry) -> CourtRung {
    let (gop_kind, gop_millis) = entry.gop_code();
    CourtRung {
        name_hash: keccak256(&entry.name),
        size: [entry.width, entry.height],
        bitrate: entry.bitrate,
        fps: [entry.fps.num(), entry.fps.den()],
        gop_millis,
        gop_kind,
        codec: entry.codec as u8,
        profile: entry.profile as u8,
    }
}
