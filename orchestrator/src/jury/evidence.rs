//! Getting the bundles of a dispute, by hash, from whoever has them, and judging them.

use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::{Address, B256, hex};
use bytes::Bytes;
use framemill_contracts::{ChainClient, ChainError, Dispute, Fault};
use framemill_media::MediaLimits;
use framemill_network::{BlobRequest, Network, NetworkError, PeerId, ServiceAddress, SigningDomain};
use framemill_verification::evidence::{
    Accusation, Bundle, BundleError, MAX_MANIFEST_BYTES, Manifest, Opinion, judge_accusation,
};
use rand::seq::SliceRandom as _;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{debug, info};

use super::JuryPolicy;

/// Orchestrators beside the parties that are asked in one round: earlier jurors have what they fetched.
const MAX_OTHERS: usize = 16;
/// Bundles whose media are fetched at once: each is in memory until it is on disk.
pub(super) const MAX_DOWNLOADS: usize = 3;
/// Longest time for one file, however large: the network ends slow ones sooner.
const FILE_DEADLINE: Duration = Duration::from_secs(300);

/// What evidence is gathered and judged with.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) network: Network,
    pub(super) client: ChainClient,
    pub(super) domain: SigningDomain,
    pub(super) policy: JuryPolicy,
    /// Folder of bundles, each under its identity.
    pub(super) folder: PathBuf,
    /// Disputes that may be judged at once.
    pub(super) cores: Semaphore,
    /// Bundles whose media may be fetched at once.
    pub(super) downloads: Semaphore,
}

/// Why a bundle is not there.
#[derive(Debug, thiserror::Error)]
enum Missing {
    /// No peer can bring a better one: the bytes are those that were named.
    #[error("{0}")]
    Useless(String),
    /// Another peer, or a later try, may have it.
    #[error("{0}")]
    NotYet(String),
}

impl From<NetworkError> for Missing {
    fn from(error: NetworkError) -> Self {
        Self::NotYet(error.to_string())
    }
}

impl From<ChainError> for Missing {
    fn from(error: ChainError) -> Self {
        Self::NotYet(error.to_string())
    }
}

impl From<BundleError> for Missing {
    fn from(error: BundleError) -> Self {
        Self::Useless(error.to_string())
    }
}

impl Library {
    /// The verdict about a dispute. Tries for the evidence again and again: whoever waits for it ends that at its time.
    pub(super) async fn judge(&self, dispute: &Dispute) -> Opinion {
        let Some(accusation) = accusation(dispute.fault) else {
            return Opinion::unavailable("this fault is not for a jury");
        };
        let mut left = self.policy.max_fetch_bytes;
        for (receipt, id) in dispute.receipts.iter().zip(&dispute.evidence) {
            if let Err(useless) = self.obtain(dispute, *receipt, *id, &mut left).await {
                return Opinion::unavailable(useless);
            }
        }
        let Ok(_core) = self.cores.acquire().await else { return Opinion::unavailable("the node ends") };
        let (domain, receipts) = (self.domain, dispute.receipts.clone());
        let folders: Vec<_> = dispute.evidence.iter().map(|id| self.of(*id)).collect();
        let judging = tokio::task::spawn_blocking(move || {
            let bundles = folders.iter().map(|folder| Bundle::open(folder)).collect::<Result<Vec<_>, _>>();
            match bundles {
                Ok(bundles) => {
                    judge_accusation(accusation, &domain, &receipts, &bundles, &MediaLimits::segment())
                }
                Err(error) => Opinion::unavailable(error),
            }
        });
        judging.await.unwrap_or_else(|error| Opinion::unavailable(format!("judging failed: {error}")))
    }

    /// Deletes a bundle that is not needed any more.
    pub(super) async fn forget(&self, id: B256) {
        let folder = self.of(id);
        if let Err(error) = tokio::fs::remove_dir_all(&folder).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            debug!(%error, folder = %folder.display(), "evidence of a closed dispute stays");
        }
    }

    fn of(&self, id: B256) -> PathBuf {
        self.folder.join(hex::encode(id))
    }

    /// Has a bundle on disk when this returns. Only one that no peer can make better is an error.
    async fn obtain(&self, dispute: &Dispute, receipt: B256, id: B256, left: &mut u64) -> Result<(), String> {
        let mut pause = self.policy.pause;
        loop {
            if is_whole(self.of(id), id).await {
                return Ok(());
            }
            match self.ask_around(dispute, receipt, id, *left).await {
                Ok(fetched) => {
                    *left = left.saturating_sub(fetched);
                    return Ok(());
                }
                Err(Missing::Useless(reason)) => return Err(reason),
                Err(Missing::NotYet(reason)) => {
                    debug!(dispute = dispute.id, bundle = %id, reason, "evidence cannot be had yet");
                }
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.policy.longest_pause);
        }
    }

    /// Asks everybody once; the bytes that were fetched.
    async fn ask_around(
        &self,
        dispute: &Dispute,
        receipt: B256,
        id: B256,
        left: u64,
    ) -> Result<u64, Missing> {
        let mut last = Missing::NotYet("nobody that could have it says where to be reached".to_owned());
        for service in self.holders(dispute).await? {
            match self.fetch(&service, receipt, id, left).await {
                Err(missing @ Missing::NotYet(_)) => {
                    debug!(peer = %service.peer(), reason = %missing, "a peer did not bring the evidence");
                    last = missing;
                }
                fetched_or_useless => return fetched_or_useless,
            }
        }
        Err(last)
    }

    /// Who may have the evidence, the likeliest first: who accuses has to keep it at hand, and jurors keep what they fetched.
    async fn holders(&self, dispute: &Dispute) -> Result<Vec<ServiceAddress>, ChainError> {
        let parties: Vec<Address> = [Some(dispute.challenger), dispute.appellant, Some(dispute.accused)]
            .into_iter()
            .flatten()
            .collect();
        let mut uris = self.client.service_uris(&parties).await?;
        let mut others: Vec<String> =
            self.client.candidate_orchestrators().await?.into_iter().map(|other| other.service_uri).collect();
        others.shuffle(&mut rand::rng());
        others.truncate(MAX_OTHERS);
        uris.extend(others);
        let mut seen: Vec<PeerId> = vec![self.network.peer_id()];
        let services = uris.iter().filter_map(|uri| uri.parse::<ServiceAddress>().ok());
        let fresh = |service: &ServiceAddress| {
            let new = !seen.contains(&service.peer());
            seen.push(service.peer());
            new
        };
        Ok(services.filter(fresh).collect())
    }

    /// A whole bundle from one peer, to disk. Its media are asked for only when the manifest is about the receipt before the
    /// court.
    async fn fetch(
        &self,
        service: &ServiceAddress,
        receipt: B256,
        id: B256,
        left: u64,
    ) -> Result<u64, Missing> {
        self.network.add_peer(service)?;
        let (peer, mut rest) = (service.peer(), left);
        let text = self.file(peer, id, MAX_MANIFEST_BYTES, &mut rest).await?;
        let manifest = Manifest::read(&text)?;
        manifest
            .is_about(&self.domain, receipt)
            .map_err(|unrelated| Missing::Useless(unrelated.to_string()))?;
        // What is in memory is bounded by these, however many disputes there are.
        let Ok(_download) = self.downloads.acquire().await else {
            return Err(Missing::NotYet("the node ends".to_owned()));
        };
        let mut objects = Vec::new();
        for object in manifest.objects() {
            objects.push((object.sha256, self.file(peer, object.sha256, object.bound, &mut rest).await?));
        }
        let bundle = Bundle::read(&text, |hash, _| {
            let found = objects.iter().find(|(sha256, _)| *sha256 == hash);
            Ok(found.map(|(_, data)| data.clone()).unwrap_or_default())
        })?;
        let folder = self.of(id);
        let written = tokio::task::spawn_blocking(move || bundle.write(&folder)).await;
        written
            .map_err(|error| Missing::NotYet(error.to_string()))?
            .map_err(|error| Missing::NotYet(error.to_string()))?;
        info!(bundle = %id, %peer, "fetched the evidence of a dispute");
        Ok(left - rest)
    }

    async fn file(&self, peer: PeerId, sha256: B256, bound: u64, rest: &mut u64) -> Result<Bytes, Missing> {
        let request = BlobRequest { sha256, max_bytes: bound.min(*rest) };
        let data = self.network.request_blob(peer, &request, FILE_DEADLINE).await?;
        *rest = rest.saturating_sub(data.len() as u64);
        Ok(data)
    }
}

async fn is_whole(folder: PathBuf, id: B256) -> bool {
    let look = move || Bundle::open(&folder).is_ok_and(|bundle| bundle.id() == id);
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// What a jury is asked; `None` for faults that need none.
fn accusation(fault: Fault) -> Option<Accusation> {
    match fault {
        Fault::ClaimedPixels => Some(Accusation::ClaimedPixels),
        Fault::FalseFeatures => Some(Accusation::FalseFeatures),
        Fault::FalseQuality => Some(Accusation::FalseQuality),
        Fault::Unfaithful => Some(Accusation::Unfaithful),
        Fault::Equivocation | Fault::ReceiptPixels => None,
    }
}
