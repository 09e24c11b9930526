//! Evidence bundles from a party to a dispute: manifests as they come, and signed cases about any bytes, judged to their end.

#![no_main]

use std::sync::OnceLock;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_network::ladder::{Codec, FrameRate, Ladder, LadderEntry};
use framemill_network::{RenditionClaim, SignedReceipt, SigningDomain, TranscodeReceipt, renditions_root};
use framemill_verification::evidence::{Bundle, BundleError, Case, ClaimRecord, Fault, Parts, ReceiptRecord};
use framemill_verification::{Opening, commit};
use libfuzzer_sys::fuzz_target;
use probabilistic_ticket::EthKey;
use sha2::{Digest, Sha256};

fn hash(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}

struct Stage {
    key: EthKey,
    ladder: Ladder,
    clip: Bytes,
    root: B256,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let limits = MediaLimits::segment();
        let spec =
            ClipSpec { start_pts: 90_000, audio: None, ..ClipSpec::new(64, 48, Rational::new(10, 1), 1) };
        let clip = generate_clip(&spec, &limits).expect("a clip");
        let entry = LadderEntry {
            width: 64,
            ..LadderEntry::from_height(48, FrameRate::SOURCE, 200_000, Codec::H264)
        };
        let root = commit(&clip, &limits).expect("a root").root();
        let key = EthKey::from_bytes(&[1; 32]).expect("a valid secret");
        Stage { key, ladder: Ladder::new(vec![entry]).expect("a ladder"), clip, root }
    })
}

/// A manifest from a stranger, whose objects are all the same bytes.
fn read(manifest: &[u8]) {
    let fetch = |_: B256, _: u64| -> Result<Bytes, BundleError> { Ok(Bytes::from_static(b"{}")) };
    if let Ok(bundle) = Bundle::read(manifest, fetch) {
        assert_eq!(bundle.manifest().bytes(), manifest, "another text has the same meaning");
    }
}

/// A case that was really signed, about a clip with some bytes changed, with the root and the opening of the input.
fn judge(kind: u8, edits: &[u8], opening: &[u8]) {
    let Stage { key, ladder, clip, root } = stage();
    let mut rendition = clip.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % rendition.len();
        rendition[at] = edit[2];
    }
    let mut feature_root = *root;
    feature_root[31] ^= kind & 1;
    let claim = RenditionClaim {
        index: 0,
        sha256: hash(&rendition),
        pixels: 64 * 48 * 10 + u64::from(kind & 2),
        feature_root: if kind & 4 == 0 { feature_root } else { B256::ZERO },
        psnr_centi_db: (kind & 8 != 0).then_some(4_200),
    };
    let receipt = TranscodeReceipt {
        session: B256::ZERO,
        sequence: 0,
        source_hash: hash(clip),
        ladder_hash: ladder.hash(),
        renditions_root: renditions_root(&[claim]),
        pixels: claim.pixels,
        round: 0,
    };
    let domain = SigningDomain { chain_id: 1, controller: Address::ZERO };
    let signature = key.sign_digest(receipt.signing_hash(&domain)).0;
    let case = Case {
        chain_id: domain.chain_id,
        controller: domain.controller,
        signer: key.address(),
        receipt: ReceiptRecord::from(&SignedReceipt { receipt, signature }),
        claims: vec![ClaimRecord::from(&claim)],
        accused: 0,
        draw: None,
    };
    let unchanged = rendition == clip[..];
    let parts = Parts {
        case,
        ladder,
        rendition: rendition.into(),
        source: (kind & 8 == 0).then(|| clip.clone()),
        report: None,
        opening: serde_json::from_slice::<Opening>(opening).ok(),
    };
    let Ok(bundle) = Bundle::new(parts) else { return };
    let Ok(judgement) = bundle.judge(&MediaLimits::segment()) else { return };
    if unchanged && kind & 7 == 0 {
        let false_features = |fault: &Fault| matches!(fault, Fault::FalseFeatures { .. });
        assert!(!judgement.faults.iter().any(false_features), "a true root is called false");
    }
}

fuzz_target!(|data: &[u8]| {
    match data {
        [0, manifest @ ..] => read(manifest),
        [_, kind, count, rest @ ..] => {
            let (edits, opening) = rest.split_at(rest.len().min(usize::from(*count) * 3));
            judge(*kind, edits, opening);
        }
        _ => {}
    }
});
