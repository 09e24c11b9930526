use std::path::Path;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_network::{
    Ladder, RenditionClaim, SignedReceipt, SigningDomain, TranscodeReceipt, renditions_root,
};
use framemill_verification::evidence::{Case, ClaimRecord, ReceiptRecord};
use framemill_verification::{check_claim, commit};
use probabilistic_ticket::EthKey;
use serde_json::Value;

use super::{run, stderr, stdout};

const FAULT_PROVEN: Option<i32> = Some(0);
const NO_FAULT: Option<i32> = Some(1);
const CANNOT_JUDGE: Option<i32> = Some(2);

fn ladder() -> Ladder {
    r#"[{"name":"low","width":128,"height":72,"bitrate":200000}]"#.parse().expect("a ladder")
}

fn rendition() -> Bytes {
    let spec = ClipSpec { audio: None, ..ClipSpec::new(128, 72, Rational::new(30, 1), 1) };
    generate_clip(&spec, &MediaLimits::default()).expect("a clip")
}

/// Who signs, and for what.
pub(super) struct Signed {
    pub(super) key: [u8; 32],
    pub(super) domain: SigningDomain,
    pub(super) round: u32,
    /// Pixels of the receipt beyond those of its claims.
    pub(super) more_pixels: u64,
}

impl Default for Signed {
    fn default() -> Self {
        Self { key: [5; 32], domain: SigningDomain::default(), round: 0, more_pixels: 0 }
    }
}

/// Writes what a broadcaster has of a signed rendition whose feature root is `root`.
pub(super) fn write_parts(folder: &Path, signed: &Signed, root: impl FnOnce(B256) -> B256) {
    let rendition = rendition();
    let limits = MediaLimits::segment();
    let found = commit(&rendition, &limits).expect("it decodes");
    let pixels = found.shape().pixels();
    let feature_root = root(found.root());
    let blank = RenditionClaim {
        index: 0,
        sha256: B256::ZERO,
        pixels,
        feature_root: B256::ZERO,
        psnr_centi_db: None,
    };
    let sha256 = check_claim(&rendition, &blank, &limits).expect("a report").rendition_sha256;
    let claims = [RenditionClaim { sha256, feature_root, ..blank }];
    let receipt = TranscodeReceipt {
        session: B256::repeat_byte(1),
        sequence: 2,
        source_hash: B256::repeat_byte(3),
        ladder_hash: ladder().hash(),
        renditions_root: renditions_root(&claims),
        pixels: pixels + signed.more_pixels,
        round: signed.round,
    };
    let key = EthKey::from_bytes(&signed.key).expect("a valid secret");
    let signature = key.sign_digest(receipt.signing_hash(&signed.domain)).0;
    let case = Case {
        chain_id: signed.domain.chain_id,
        controller: signed.domain.controller,
        signer: key.address(),
        receipt: ReceiptRecord::from(&SignedReceipt { receipt, signature }),
        claims: claims.iter().map(ClaimRecord::from).collect(),
        accused: 0,
        draw: None,
    };
    std::fs::write(folder.join("rendition.ts"), &rendition).expect("written");
    std::fs::write(folder.join("ladder.json"), serde_json::to_vec(&ladder()).expect("json"))
        .expect("written");
    std::fs::write(folder.join("case.json"), serde_json::to_vec(&case).expect("json")).expect("written");
}

/// Builds a bundle with the command line; its folder.
pub(super) fn build(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let (case, ladder, rendition) = (path("case.json"), path("ladder.json"), path("rendition.ts"));
    let bundle = path("bundle");
    let arguments = ["--case", &case, "--ladder", &ladder, "--rendition", &rendition, &bundle];
    let output = run(&[["dispute", "build"].as_slice(), &arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    bundle
}

#[test]
fn a_false_commitment_is_proven_from_the_bundle() {
    let folder = tempfile::tempdir().expect("a folder");
    write_parts(folder.path(), &Signed::default(), |mut root| {
        root[9] ^= 1;
        root
    });
    let bundle = build(folder.path());
    let output = run(&["dispute", "check", &bundle, "--json"]);
    assert_eq!(output.status.code(), FAULT_PROVEN, "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(answer["outcome"], "fault_proven");
    assert_eq!(answer["faults"][0]["fault"], "false_features");

    let output = run(&["dispute", "show", &bundle, "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(shown["bundle"], answer["bundle"]);
    assert_eq!(shown["manifest"]["case"]["signer"], answer["accused"]);
}

#[test]
fn a_true_commitment_is_no_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    write_parts(folder.path(), &Signed::default(), |root| root);
    let output = run(&["dispute", "check", &build(folder.path())]);
    assert_eq!(output.status.code(), NO_FAULT, "{}", stderr(&output));
    assert!(stdout(&output).contains("no fault"), "{}", stdout(&output));
}

#[test]
fn nothing_is_judged_without_commitment_and_source() {
    let folder = tempfile::tempdir().expect("a folder");
    write_parts(folder.path(), &Signed::default(), |_| B256::ZERO);
    let output = run(&["dispute", "check", &build(folder.path())]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
    assert!(stderr(&output).contains("bring the source"), "{}", stderr(&output));
}

#[test]
fn a_folder_that_is_no_bundle_is_not_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(&["dispute", "check", &folder.path().display().to_string(), "--json"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("json");
    assert!(answer["outcome"].is_null() && answer["reason"].is_string(), "{answer}");
}
