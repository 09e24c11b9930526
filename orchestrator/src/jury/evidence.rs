//! Getting the bundles of a dispute, by hash, from whoever has them, and judging them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_contracts::{ChainClient, ChainError, Dispute};
use framemill_media::{CancelFlag, MediaLimits};
use framemill_network::{BlobRequest, Network, NetworkError, PeerId, SigningDomain};
use framemill_verification::evidence::{
    Accusation, Bundle, BundleError, MAX_MANIFEST_BYTES, Manifest, Opinion, judge_accusation,
};
use rand::seq::SliceRandom as _;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::JuryPolicy;
use super::holders::{Holder, Holders, Strikes};
use super::store::{Store, blocking};
use super::terms::accusation;

/// Bundles whose media are fetched at once: each is in memory until it is on disk.
pub(super) const MAX_DOWNLOADS: usize = 3;
/// Time for what a peer is asked, however little it is.
const LEAST_TIME: Duration = Duration::from_secs(30);
/// And a second for as many bytes as may come: nobody holds a download for long. The network ends far slower ones sooner.
const BYTES_PER_SECOND: u64 = 512 << 10;

/// What evidence is gathered and judged with.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) network: Network,
    pub(super) client: ChainClient,
    pub(super) domain: SigningDomain,
    pub(super) policy: JuryPolicy,
    pub(super) store: Store,
    /// Disputes that may be judged at once.
    pub(super) cores: Arc<Semaphore>,
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
    /// It is this machine's fault: asking others does not help.
    #[error("{0}")]
    Local(String),
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

/// The search for the evidence of one dispute.
#[derive(Debug)]
struct Hunt {
    /// Bytes that may still be fetched. Attempts that fail are bounded by the strikes.
    left: u64,
    strikes: Strikes,
    /// Somebody was told that it goes badly.
    warned: bool,
}

/// Pauses that double.
#[derive(Debug)]
struct Patience {
    next: Duration,
    longest: Duration,
}

impl Patience {
    fn new(policy: &JuryPolicy) -> Self {
        Self { next: policy.pause, longest: policy.longest_pause }
    }

    async fn pause(&mut self) {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        sleep(pause).await;
    }
}

/// Ends the work that holds the flag when nobody waits for it any more.
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Library {
    /// The verdict about a dispute. Tries for the evidence again and again: whoever waits for it ends that at its time, by
    /// dropping this.
    pub(super) async fn judge(&self, dispute: &Dispute) -> Opinion {
        let Some(accusation) = accusation(dispute.fault) else {
            return Opinion::unavailable("this fault is not for a jury");
        };
        let left = self.policy.max_fetch_bytes;
        let mut hunt = Hunt { left, strikes: Strikes::default(), warned: false };
        let mut patience = Patience::new(&self.policy);
        loop {
            for (receipt, id) in dispute.receipts.iter().zip(&dispute.evidence) {
                if let Err(useless) = self.obtain(dispute, *receipt, *id, &mut hunt).await {
                    return Opinion::unavailable(useless);
                }
            }
            match self.judge_stored(accusation, dispute).await {
                Ok(opinion) => return opinion,
                Err(error) => error!(
                    dispute = dispute.id, %error,
                    "evidence that was fetched cannot be read, will try again; check the disk and open files"
                ),
            }
            patience.pause().await;
        }
    }

    /// # Errors
    /// The bundles cannot be read from disk; that says nothing about them.
    async fn judge_stored(&self, accusation: Accusation, dispute: &Dispute) -> Result<Opinion, BundleError> {
        let core = Arc::clone(&self.cores).acquire_owned().await.expect("nobody closes it");
        let cancel = CancelFlag::new();
        let _given_up = CancelOnDrop(cancel.clone());
        let limits = MediaLimits::segment().with_cancel(cancel);
        let (domain, receipts) = (self.domain, dispute.receipts.clone());
        let folders: Vec<_> = dispute.evidence.iter().map(|id| self.store.of(*id)).collect();
        blocking(move || {
            // As long as the thread runs, whoever waits for it.
            let _core = core;
            let bundles = folders.iter().map(|folder| Bundle::open(folder)).collect::<Result<Vec<_>, _>>()?;
            Ok(judge_accusation(accusation, &domain, &receipts, &bundles, &limits))
        })
        .await
    }

    /// Has a bundle on disk when this returns. Only one that no peer can make better is an error.
    async fn obtain(
        &self,
        dispute: &Dispute,
        receipt: B256,
        id: B256,
        hunt: &mut Hunt,
    ) -> Result<(), String> {
        let mut patience = Patience::new(&self.policy);
        loop {
            if self.store.has(id).await {
                return Ok(());
            }
            match self.ask_around(dispute, receipt, id, hunt).await {
                Ok(()) => return Ok(()),
                Err(Missing::Useless(reason)) => return Err(reason),
                Err(Missing::Local(reason)) => {
                    error!(dispute = dispute.id, bundle = %id, reason, "evidence cannot be stored; free space");
                }
                Err(Missing::NotYet(reason)) if hunt.warned => {
                    debug!(dispute = dispute.id, bundle = %id, reason, "evidence cannot be had yet");
                }
                Err(Missing::NotYet(reason)) => {
                    hunt.warned = true;
                    warn!(
                        dispute = dispute.id, bundle = %id, reason,
                        "nobody brought the evidence of a dispute, it is asked for again"
                    );
                }
            }
            patience.pause().await;
        }
    }

    /// Asks everybody once.
    async fn ask_around(
        &self,
        dispute: &Dispute,
        receipt: B256,
        id: B256,
        hunt: &mut Hunt,
    ) -> Result<(), Missing> {
        let mut last = Missing::NotYet("nobody that could have it says where to be reached".to_owned());
        for holder in self.holders(dispute).await? {
            if hunt.strikes.exclude(&holder) {
                continue;
            }
            match self.fetch(&holder, receipt, id, hunt).await {
                Err(missing @ Missing::NotYet(_)) => {
                    debug!(peer = %holder.service.peer(), reason = %missing, "a peer did not bring the evidence");
                    last = missing;
                }
                fetched_or_final => return fetched_or_final,
            }
        }
        Err(last)
    }

    /// Who may have the evidence: who accuses has to keep it at hand, and jurors keep what they fetched.
    async fn holders(&self, dispute: &Dispute) -> Result<Vec<Holder>, ChainError> {
        let appellant = dispute.appellant.filter(|appellant| *appellant != dispute.accused);
        let mut accounts = vec![dispute.accused, dispute.challenger];
        accounts.extend(appellant);
        let mut keepers = self.client.service_uris(&accounts).await?;
        let accused = keepers.remove(0);
        let registered = self.client.candidate_orchestrators().await?;
        let mut others: Vec<String> = registered.into_iter().map(|other| other.service_uri).collect();
        others.shuffle(&mut rand::rng());
        Ok(Holders { keepers, others, accused }.in_order(self.network.peer_id()))
    }

    /// A whole bundle from one peer, to disk. Its media are asked for only when the manifest is about the receipt before the
    /// court.
    async fn fetch(&self, holder: &Holder, receipt: B256, id: B256, hunt: &mut Hunt) -> Result<(), Missing> {
        let peer = holder.service.peer();
        self.network.add_peer(&holder.service)?;
        let began = Instant::now();
        let wanted = BlobRequest { sha256: id, max_bytes: MAX_MANIFEST_BYTES.min(hunt.left) };
        let text = self
            .network
            .request_blob(peer, &wanted, time_for(MAX_MANIFEST_BYTES))
            .await
            .inspect_err(|_| hunt.strikes.note(peer, began.elapsed(), false))?;
        let manifest = Manifest::read(&text)?;
        manifest
            .is_about(&self.domain, receipt)
            .map_err(|unrelated| Missing::Useless(unrelated.to_string()))?;
        // What is in memory is bounded by these, however many disputes there are.
        let _download = self.downloads.acquire().await.expect("nobody closes it");
        match self.store.has_room().await {
            Ok(true) => {}
            Ok(false) => return Err(Missing::Local("the folder of evidence is full".to_owned())),
            Err(error) => return Err(Missing::Local(error.to_string())),
        }
        let rest = hunt.left.saturating_sub(text.len() as u64);
        let most = manifest.objects().map(|object| object.bound).sum::<u64>().min(rest);
        let (began, mut fetched) = (Instant::now(), 0);
        let files = self.files(peer, &manifest, rest, &mut fetched);
        let objects = match timeout(time_for(most), files).await {
            Ok(Ok(objects)) => objects,
            Ok(Err(error)) => {
                let costly = fetched > 0 || error.wire_code().is_none();
                hunt.strikes.note(peer, began.elapsed(), costly);
                return Err(error.into());
            }
            Err(late) => {
                hunt.strikes.note(peer, began.elapsed(), true);
                return Err(Missing::NotYet(late.to_string()));
            }
        };
        let bundle = Bundle::read(&text, |hash, _| {
            let found = objects.iter().find(|(sha256, _)| *sha256 == hash);
            Ok(found.map(|(_, data)| data.clone()).unwrap_or_default())
        })?;
        self.keep(&bundle).await;
        hunt.left = rest.saturating_sub(fetched);
        info!(bundle = %id, %peer, "fetched the evidence of a dispute");
        Ok(())
    }

    async fn files(
        &self,
        peer: PeerId,
        manifest: &Manifest,
        most: u64,
        fetched: &mut u64,
    ) -> Result<Vec<(B256, Bytes)>, NetworkError> {
        let mut files = Vec::new();
        for object in manifest.objects() {
            let max_bytes = object.bound.min(most.saturating_sub(*fetched));
            let wanted = BlobRequest { sha256: object.sha256, max_bytes };
            let data = self.network.request_blob(peer, &wanted, time_for(max_bytes)).await?;
            *fetched += data.len() as u64;
            files.push((object.sha256, data));
        }
        Ok(files)
    }

    /// Puts a bundle on disk. While that fails it stays in memory and in its place among the downloads: fetching it again would
    /// not make room.
    async fn keep(&self, bundle: &Bundle) {
        let mut patience = Patience::new(&self.policy);
        while let Err(error) = self.store.put(bundle).await {
            error!(%error, "evidence cannot be written, will try again; free space or check the disk");
            patience.pause().await;
        }
    }
}

/// How long so many bytes may take.
fn time_for(bytes: u64) -> Duration {
    LEAST_TIME + Duration::from_secs(bytes / BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_cancelled_when_nobody_waits_for_it() {
        let flag = CancelFlag::new();
        let guard = CancelOnDrop(flag.clone());
        assert!(!flag.is_cancelled());
        drop(guard);
        assert!(flag.is_cancelled());
    }

    #[test]
    fn a_whole_bundle_of_the_largest_media_has_less_than_ten_minutes() {
        assert_eq!(time_for(0), LEAST_TIME);
        assert_eq!(time_for(256 << 20), LEAST_TIME + Duration::from_secs(512));
    }
}
