//! A session's terms as they are kept in books that several processes share.

use alloy_primitives::B256;
use framemill_network::{Ladder, PeerId, PricePerPixel, QualityTerms};
use serde::{Deserialize, Serialize};

use super::Terms;

/// Version of [`Kept`]: a process that reads another one does not know the session.
const VERSION: u32 = 1;

/// Terms as they were kept, with when the session was opened, in Unix milliseconds: its price holds no longer for a copy of it.
pub(crate) type Recalled = (Terms, u64);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    /// The peer id's bytes, in its text form.
    peer: String,
    ladder: Ladder,
    price: PricePerPixel,
    commitments: bool,
    /// Full and least quality in hundredths of a decibel, least share in millionths.
    quality: [u32; 3],
    pixels_per_second: u64,
    opened_unix_ms: u64,
}

impl Terms {
    /// The terms as bytes, without the session's id.
    pub(crate) fn to_bytes(&self, opened_unix_ms: u64) -> Vec<u8> {
        let QualityTerms { full_centi_db, least_centi_db, least_ppm } = self.quality;
        let kept = Kept {
            version: VERSION,
            peer: self.peer.to_string(),
            ladder: self.ladder.clone(),
            price: self.price,
            commitments: self.commitments,
            quality: [full_centi_db, least_centi_db, least_ppm],
            pixels_per_second: self.pixels_per_second,
            opened_unix_ms,
        };
        serde_json::to_vec(&kept).expect("terms have no maps and no keys that are not text")
    }

    /// The terms of session `id` from bytes; `None` where another version wrote them.
    pub(crate) fn from_bytes(id: B256, bytes: &[u8]) -> Option<Recalled> {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        let peer: PeerId = kept.peer.parse().ok()?;
        let [full_centi_db, least_centi_db, least_ppm] = kept.quality;
        let terms = Self {
            id,
            peer,
            ladder_hash: kept.ladder.hash(),
            ladder: kept.ladder,
            price: kept.price,
            commitments: kept.commitments,
            quality: QualityTerms { full_centi_db, least_centi_db, least_ppm },
            pixels_per_second: kept.pixels_per_second,
        };
        (kept.version == VERSION).then_some((terms, kept.opened_unix_ms))
    }
}
