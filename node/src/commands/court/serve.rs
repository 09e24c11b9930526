//! Serving evidence by its hash, for as long as a dispute lasts.

use std::path::Path;

use alloy_primitives::hex;
use anyhow::Context as _;
use framemill_contracts::Action;
use framemill_network::{BlobRequest, Network, NetworkConfig, ServiceAddress};
use framemill_orchestrator::Colleagues;
use framemill_verification::evidence::{Bundle, MAX_MANIFEST_BYTES, find_in_bundles};
use serde_json::json;
use std::time::Duration;

use super::Desk;
use crate::{
    cli::ServeArgs,
    config::Config,
    runtime,
    transact::{self, Plan},
};

/// Requests that wait before `busy` is answered.
const QUEUE: usize = 64;
/// Longest time for one file when it is tried whether evidence can be had.
const TRY: Duration = Duration::from_secs(60);
/// Pause between two readings of who may be a juror.
const JURORS_EVERY: Duration = Duration::from_secs(600);

/// `framemill dispute serve`
pub(super) async fn run(config: &Config, args: &ServeArgs) -> anyhow::Result<()> {
    let folder = runtime::evidence_folder(config);
    for bundle in &args.bundles {
        keep(&folder, &Bundle::open(bundle)?)?;
    }
    let network = runtime::network(config, &config.network.listen).await?;
    let service = runtime::service_address(config, &network)?;
    if args.register {
        register(config, args, &service).await?;
        if args.sign.dry_run {
            network.shutdown().await;
            return Ok(());
        }
    }
    let bundles = config.broadcaster.bundles.clone();
    let find = move |sha256| {
        find_in_bundles(&folder, sha256)
            .or_else(|| bundles.as_deref().and_then(|folder| find_in_bundles(folder, sha256)))
    };
    println!("serving evidence at {service}");
    let jurors = Colleagues::default();
    let known = jurors.clone();
    let server = network.serve_blobs(QUEUE)?.preferring(move |peer| known.know(peer));
    tokio::select! {
        stopped = runtime::asked_to_stop() => stopped?,
        () = server.serve_files(find) => {}
        () = know_jurors(config, jurors) => {}
    }
    network.shutdown().await;
    Ok(())
}

/// Keeps the list of those who are served before strangers. Never ends.
async fn know_jurors(config: &Config, jurors: Colleagues) {
    loop {
        let read = async { anyhow::Ok(transact::reader(config).await?.candidate_orchestrators().await?) };
        match read.await {
            Ok(registered) => jurors.are(registered.iter().map(|one| one.service_uri.as_str())),
            Err(error) => {
                tracing::warn!(%error, "who may be a juror cannot be read, so strangers may keep jurors waiting")
            }
        }
        tokio::time::sleep(JURORS_EVERY).await;
    }
}

async fn register(config: &Config, args: &ServeArgs, service: &ServiceAddress) -> anyhow::Result<()> {
    let desk = Desk::open(config).await?;
    let uri = service.to_string();
    let old = desk.client.service_uris(&[desk.me]).await?.pop().unwrap_or_default();
    if old == uri {
        return Ok(());
    }
    let is_orchestrator = desk.client.orchestrator(desk.me).await?.is_some();
    anyhow::ensure!(
        !is_orchestrator || args.replace,
        "{} is an orchestrator, which broadcasters and jurors look for at the address in the registry ({}): run the orchestrator, which serves evidence too, or pass --replace to register {uri} instead",
        desk.me,
        if old.is_empty() { "none" } else { &old }
    );
    let mut consequences = vec!["jurors look there for the evidence of your accusations".to_owned()];
    if !old.is_empty() {
        consequences.push(format!("it takes the place of {old}"));
    }
    if is_orchestrator {
        consequences.push(
            "broadcasters look there for your orchestrator: until that is registered again, it gets no work"
                .to_owned(),
        );
    }
    let plan = Plan {
        what: format!("register {uri} as the address of {}", desk.me),
        consequences,
        facts: json!({ "service_uri": uri, "replaces": old }),
        action: Action::SetService { uri },
    };
    transact::carry_out(&desk.client, plan, args.sign).await
}

/// Puts a bundle where this account's nodes serve it.
pub(super) fn keep(folder: &Path, bundle: &Bundle) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(bundle.write(&folder.join(hex::encode(bundle.id())))?)
}

/// That a bundle can be had, whole, from where the registry says that the challenger is reached: as a juror would.
pub(super) async fn try_to_fetch(service: &str, bundle: &Bundle) -> anyhow::Result<()> {
    let service: ServiceAddress = service.parse().context(
        "the registry names no address of yours, so no juror would find the evidence; run `framemill dispute serve --register`, or an orchestrator",
    )?;
    let network = Network::start(NetworkConfig { listen: Vec::new(), ..NetworkConfig::loopback() }).await?;
    network.add_peer(&service)?;
    let objects = bundle.objects().map(|(name, sha256, bytes)| (name, sha256, bytes as u64));
    for (name, sha256, max_bytes) in
        std::iter::once(("manifest", bundle.id(), MAX_MANIFEST_BYTES)).chain(objects)
    {
        let request = BlobRequest { sha256, max_bytes };
        network.request_blob(service.peer(), &request, TRY).await.with_context(|| {
            format!(
                "the {name} of the bundle cannot be fetched from {service}; keep `framemill dispute serve` or your orchestrator running with this data folder"
            )
        })?;
    }
    network.shutdown().await;
    Ok(())
}
