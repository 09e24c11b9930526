//! Writes rejected results as evidence bundles: with the media, so that anybody can judge them again, and with what the accused
//! opens of a false root.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::hex;
use framemill_network::Ladder;
use framemill_verification::evidence::{Bundle, BundleError, Case, ClaimRecord, Parts, ReceiptRecord};
use framemill_verification::receipt_signer;
use tokio::runtime::Handle;

use crate::bisect::Accused;
use crate::check::Delivered;
use crate::failure::Failure;
use crate::service::Shared;
use crate::sessions::Session;
use crate::stream::Segment;

/// Writes a bundle about the rendition at fault in the background, where a folder is configured and has room.
pub(crate) fn keep(
    shared: &Arc<Shared>,
    session: &Session,
    ladder: &Ladder,
    segment: &Segment,
    delivered: &Delivered,
    failure: &Failure,
) {
    let (Some(folder), Some(accused)) = (shared.config.bundles.clone(), failure.accused) else { return };
    let position = accused as usize;
    let Some(rendition) = delivered.renditions.get(position).cloned() else { return };
    let Ok(signer) = receipt_signer(&delivered.receipt, &shared.domain) else { return };
    let case = Case {
        chain_id: shared.domain.chain_id,
        controller: shared.domain.controller,
        signer,
        receipt: ReceiptRecord::from(&delivered.receipt),
        claims: delivered.claims.iter().map(ClaimRecord::from).collect(),
        accused,
        draw: failure.draw.as_deref().copied(),
    };
    let (ladder, source) = (ladder.clone(), segment.data.clone());
    let report = failure.reports.get(position).cloned();
    let most = shared.config.max_bundles;
    let accused = delivered.claims.get(position).map(|claim| Accused {
        peer: session.peer(),
        session: session.quote.session,
        sequence: segment.sequence,
        claim: *claim,
    });
    let accused = accused.filter(|accused| !accused.claim.feature_root.is_zero());
    let (network, runtime) = (shared.network.clone(), Handle::current());
    shared.tasks.spawn_blocking(move || {
        if !has_room(&folder, most) {
            return;
        }
        let opening = accused.and_then(|accused| accused.opening(&network, &runtime, &rendition));
        let parts = Parts {
            case,
            ladder: &ladder,
            rendition,
            source: Some(source),
            report: report.as_ref(),
            opening,
        };
        if let Err(error) = write(parts, &folder) {
            tracing::warn!(%error, folder = %folder.display(), "evidence of a rejected result is not on disk");
        }
    });
}

fn has_room(folder: &Path, most: usize) -> bool {
    let there = std::fs::read_dir(folder).map_or(0, Iterator::count);
    if there >= most {
        tracing::warn!(folder = %folder.display(), most, "evidence folder is full; move its bundles away");
    }
    there < most
}

fn write(parts: Parts<'_>, folder: &Path) -> Result<(), BundleError> {
    let bundle = Bundle::new(parts)?;
    bundle.write(&folder.join(hex::encode(bundle.id())))
}
