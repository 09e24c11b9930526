//! Disputed renditions as bundles: judged again from the files alone, whoever wrote them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::{Ladder, LadderEntry};
use framemill_network::{
    RenditionClaim, SignedReceipt, SigningDomain, TranscodeReceipt, receipt::rendition_branch,
    renditions_root,
};
use framemill_verification::evidence::{
    Accusation, Bundle, BundleError, Case, ClaimRecord, Draw, FORMAT, Fault, FeatureProof, Finding,
    Judgement, MANIFEST, MAX_MANIFEST_BYTES, Manifest, OBJECTS, Outcome, Parts, ProofError, ReceiptRecord,
    Unjudgeable, Unrelated, find_in_bundles, judge_accusation,
};
use framemill_verification::{
    COMMITMENT_VERSION, Difference, Opening, Policy, Report, SourceReference, verify,
};
use probabilistic_ticket::EthKey;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::clips::synthetic;
use crate::commitment::{HEIGHT, Stated, WIDTH, bisect, sample, truth};
use crate::picture::Content;
use crate::studio::{Clip, Recipe, entry, honest};

const DOMAIN: SigningDomain = SigningDomain { chain_id: 31_337, controller: Address::ZERO };
const SEED: [u8; 32] = [9; 32];

fn key() -> EthKey {
    EthKey::from_bytes(&[1; 32]).expect("a valid secret")
}

fn source() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| synthetic(Content::Landscape, 0, 480, 270))
}

fn rung(width: u32, height: u32, name: &str) -> LadderEntry {
    LadderEntry { name: name.into(), ..entry(width, height, 300_000) }
}

fn ladder() -> Ladder {
    Ladder::new(vec![rung(160, 90, "small"), rung(WIDTH, HEIGHT, "large")]).expect("a ladder")
}

fn hash(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}

/// A delivery of two renditions, of which the second is accused.
struct Delivered {
    rendition: Bytes,
    claims: [RenditionClaim; 2],
    pixels: u64,
    source: Option<Bytes>,
    report: Option<Report>,
    opening: Option<Opening>,
}

impl Delivered {
    /// What was delivered, with this root signed for its features.
    fn new(rendition: &Bytes, feature_root: B256) -> Self {
        let pixels = u64::from(WIDTH * HEIGHT) * 45;
        let other = RenditionClaim {
            index: 0,
            sha256: B256::ZERO,
            pixels: 7,
            feature_root: B256::ZERO,
            psnr_centi_db: None,
        };
        let accused = RenditionClaim { index: 1, sha256: hash(rendition), pixels, feature_root, ..other };
        Self {
            rendition: rendition.clone(),
            claims: [other, accused],
            pixels: 7 + pixels,
            source: Some(source().data.clone()),
            report: None,
            opening: None,
        }
    }

    fn signed(&self) -> SignedReceipt {
        let receipt = TranscodeReceipt {
            session: B256::repeat_byte(7),
            sequence: 3,
            source_hash: hash(&source().data),
            ladder_hash: ladder().hash(),
            renditions_root: renditions_root(&self.claims),
            pixels: self.pixels,
            round: 1,
        };
        let signature = key().sign_digest(receipt.signing_hash(&DOMAIN)).0;
        SignedReceipt { receipt, signature }
    }

    fn case(&self) -> Case {
        Case {
            chain_id: DOMAIN.chain_id,
            controller: DOMAIN.controller,
            signer: key().address(),
            receipt: ReceiptRecord::from(&self.signed()),
            claims: self.claims.iter().map(ClaimRecord::from).collect(),
            accused: 1,
            draw: Some(Draw::new(&Policy::FULL, &SEED)),
        }
    }

    fn bundle_of(&self, case: Case) -> Bundle {
        let parts = Parts {
            case,
            ladder: &ladder(),
            rendition: self.rendition.clone(),
            source: self.source.clone(),
            report: self.report.as_ref(),
            opening: self.opening.clone(),
        };
        Bundle::new(parts).expect("a bundle")
    }

    fn bundle(&self) -> Bundle {
        self.bundle_of(self.case())
    }
}

fn true_root() -> B256 {
    Stated::new(&sample().features).root()
}

/// An orchestrator that signed one false cell, caught and opened.
fn liar() -> Delivered {
    let stated = Stated::with_false_cell(20, |features| features.luma[100] += 3);
    let opening = Some(bisect(&truth(), &stated).0);
    Delivered { opening, ..Delivered::new(&sample().rendition, stated.root()) }
}

fn judged(bundle: &Bundle) -> Result<Judgement, Unjudgeable> {
    let folder = tempfile::tempdir().expect("a folder");
    bundle.write(folder.path()).expect("the bundle is written");
    let read = Bundle::open(folder.path()).expect("the bundle is read");
    assert_eq!(read.id(), bundle.id());
    read.judge(&MediaLimits::segment())
}

#[test]
fn a_declared_quality_above_the_true_one_is_proven_and_one_up_to_it_is_no_fault() {
    let source =
        SourceReference::new(source().data.clone(), &MediaLimits::segment()).expect("a sound source");
    let rendition = &sample().rendition;
    let report = verify(&source, rendition, &ladder().entries()[1], &Policy::FULL, &SEED).expect("a verdict");
    let found = report.quality.psnr_centi_db;
    let faults = |psnr_centi_db| {
        let mut delivered = Delivered::new(rendition, true_root());
        delivered.claims[1].psnr_centi_db = psnr_centi_db;
        judged(&delivered.bundle()).expect("a verdict").faults
    };
    assert_eq!(faults(Some(found + 1)), [Fault::FalseQuality { claimed: found + 1, found }]);
    assert!([None, Some(0), Some(found)].into_iter().all(|honest| faults(honest).is_empty()));
}

#[test]
fn false_features_are_proven_from_the_files_alone() {
    let liar = liar();
    let judgement = judged(&liar.bundle()).expect("a verdict");
    assert_eq!(judgement.outcome, Outcome::FaultProven);
    let [Fault::FalseFeatures { claimed, found, difference: Some(difference) }] = &judgement.faults[..]
    else {
        panic!("{:?}", judgement.faults)
    };
    assert_eq!((*claimed, *found), (liar.claims[1].feature_root, true_root()));
    assert!(matches!(difference, Difference::Block { frame: 20, byte: Some(_), .. }), "{difference:?}");
    assert!(judgement.report.is_some_and(|report| report.passed()));
}

#[test]
fn false_features_are_proven_without_source_and_opening() {
    let liar = Delivered { source: None, opening: None, ..liar() };
    let judgement = judged(&liar.bundle()).expect("a verdict");
    assert!(matches!(&judgement.faults[..], [Fault::FalseFeatures { difference: None, .. }]));
}

#[test]
fn features_are_found_alike_with_the_source_and_without() {
    for root in [true_root(), B256::repeat_byte(COMMITMENT_VERSION)] {
        let with = Delivered::new(&sample().rendition, root);
        let without = Delivered { source: None, ..Delivered::new(&sample().rendition, root) };
        let [with, without] = [with, without].map(|case| judged(&case.bundle()).expect("a judgement"));
        assert!(with.report.is_some() && without.report.is_none());
        assert_eq!(with.claim, without.claim);
        assert_eq!(with.claim.true_root, Some(true_root()));
    }
}

#[test]
fn an_honest_delivery_is_found_so() {
    for root in [true_root(), B256::ZERO] {
        let judgement = judged(&Delivered::new(&sample().rendition, root).bundle()).expect("a verdict");
        assert_eq!((judgement.outcome, judgement.faults), (Outcome::NoFault, vec![]));
    }
}

#[test]
fn other_content_is_proven_against_the_source_and_the_report_comes_out_again() {
    let clip = synthetic(Content::Animation, 0, 480, 270);
    let wrong = honest(&clip, &rung(WIDTH, HEIGHT, "large"), &Recipe::default());
    let reference = SourceReference::new(source().data.clone(), &MediaLimits::segment()).expect("a source");
    let rung = rung(WIDTH, HEIGHT, "large");
    let report = verify(&reference, &wrong, &rung, &Policy::FULL, &SEED).expect("a verdict");
    let delivered = Delivered { report: Some(report), ..Delivered::new(&wrong, B256::ZERO) };
    let judgement = judged(&delivered.bundle()).expect("a verdict");
    assert!(matches!(&judgement.faults[..], [Fault::Unfaithful { .. }]), "{:?}", judgement.faults);
    assert_eq!(judgement.reproduced, Some(true));

    // An accuser's word that is not what comes out.
    let reference = verify(&reference, &sample().rendition, &rung, &Policy::FULL, &SEED);
    let delivered = Delivered { report: Some(reference.expect("a verdict")), ..delivered };
    assert_eq!(judged(&delivered.bundle()).expect("a verdict").reproduced, Some(false));
}

#[test]
fn pixels_that_are_not_there_are_proven() {
    let mut delivered = Delivered::new(&sample().rendition, true_root());
    delivered.claims[1].pixels += 1;
    delivered.pixels += 1;
    let faults = judged(&delivered.bundle()).expect("a verdict").faults;
    assert!(matches!(&faults[..], [Fault::ClaimedPixels { .. }]), "{faults:?}");

    delivered.claims[1].feature_root = B256::ZERO;
    let faults = judged(&delivered.bundle()).expect("a verdict").faults;
    assert!(matches!(&faults[..], [Fault::ClaimedPixels { .. }]), "{faults:?}");

    delivered.claims[1].pixels -= 1;
    let faults = judged(&delivered.bundle()).expect("a verdict").faults;
    assert!(matches!(&faults[..], [Fault::ReceiptPixels { .. }]), "{faults:?}");
}

/// An error that a bundle must come to.
type Expected = fn(&Unjudgeable) -> bool;

#[test]
fn what_the_accused_did_not_sign_cannot_be_judged() {
    let honest = Delivered::new(&sample().rendition, true_root());
    let case = honest.case();
    let changed = |change: fn(&mut Case)| {
        let mut case = case.clone();
        change(&mut case);
        honest.bundle_of(case)
    };
    let receipt: Expected = |error| matches!(error, Unjudgeable::Receipt(_));
    let missing: Expected = |error| matches!(error, Unjudgeable::NoSuchRendition { .. });
    let cases: [(Bundle, Expected); 7] = [
        (changed(|case| case.signer = Address::repeat_byte(4)), receipt),
        (changed(|case| case.chain_id = 1), receipt),
        (changed(|case| case.receipt.sequence += 1), receipt),
        (changed(|case| case.claims[1].feature_root = B256::repeat_byte(1)), receipt),
        (changed(|case| case.receipt.signature = vec![0; 64].into()), |error| {
            matches!(error, Unjudgeable::SignatureLength(64))
        }),
        (changed(|case| case.accused = 2), missing),
        (changed(|case| case.accused = u32::MAX), missing),
    ];
    for (index, (bundle, expected)) in cases.iter().enumerate() {
        let error = judged(bundle).expect_err("nothing is proven");
        assert!(expected(&error), "case {index}: {error}");
    }
}

#[test]
fn bytes_that_were_not_signed_cannot_be_judged() {
    let honest = Delivered::new(&sample().rendition, true_root());
    let other =
        Delivered { rendition: source().data.clone(), ..Delivered::new(&sample().rendition, true_root()) };
    assert!(matches!(judged(&other.bundle()), Err(Unjudgeable::OtherRendition { .. })));
    let other = Delivered { source: Some(sample().rendition.clone()), ..honest };
    assert!(matches!(judged(&other.bundle()), Err(Unjudgeable::Receipt(_))));
}

#[test]
fn an_opening_of_another_root_hides_nothing() {
    let other = Stated::with_false_cell(5, |features| features.u[0] += 1);
    let delivered = Delivered { source: None, opening: Some(bisect(&truth(), &other).0), ..liar() };
    let faults = judged(&delivered.bundle()).expect("a verdict").faults;
    assert!(matches!(&faults[..], [Fault::FalseFeatures { difference: None, .. }]), "{faults:?}");
}

#[test]
fn without_source_and_commitment_there_is_nothing_to_compare() {
    let delivered = Delivered { source: None, ..Delivered::new(&sample().rendition, B256::ZERO) };
    assert!(matches!(judged(&delivered.bundle()), Err(Unjudgeable::NothingToCompare)));
}

/// A bundle's folder, and the bundle's manifest.
fn written(bundle: &Bundle) -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().expect("a folder");
    bundle.write(folder.path()).expect("the bundle is written");
    (folder, bundle.manifest().clone())
}

fn object(folder: &Path, hash: B256) -> PathBuf {
    folder.join(OBJECTS).join(alloy_primitives::hex::encode(hash))
}

#[test]
fn a_changed_object_is_refused() {
    let liar = liar();
    let bundle = liar.bundle();
    for (what, sha256, length) in bundle.objects() {
        let (folder, _) = written(&bundle);
        let path = object(folder.path(), sha256);
        let mut data = fs::read(&path).expect("the object");
        data[length / 2] ^= 1;
        fs::write(&path, data).expect("written");
        let error = Bundle::open(folder.path()).expect_err("it is another one");
        assert!(matches!(error, BundleError::WrongHash { what: found, .. } if found == what), "{error}");
    }
}

#[test]
fn a_missing_object_is_refused_and_so_is_a_link() {
    let bundle = Delivered::new(&sample().rendition, true_root()).bundle();
    let (folder, manifest) = written(&bundle);
    let path = object(folder.path(), manifest.rendition);
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("moved");
    assert!(matches!(Bundle::open(folder.path()), Err(BundleError::Io { .. })));
    std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
    assert!(matches!(Bundle::open(folder.path()), Err(BundleError::Io { .. })));
}

#[test]
fn a_manifest_has_one_form_only() {
    let bundle = Delivered::new(&sample().rendition, true_root()).bundle();
    let (folder, manifest) = written(&bundle);
    let path = folder.path().join(MANIFEST);
    let text = String::from_utf8(manifest.bytes().to_vec()).expect("text");
    let others = [
        text.replacen(',', ", ", 1),
        format!("{text}\n"),
        text.replacen("{", "{\"more\":1,", 1),
        text.replace(FORMAT, "framemill-evidence/2"),
        text.replacen("\"source\":\"0x", "\"source\":\"0X", 1),
        " ".repeat(MAX_MANIFEST_BYTES as usize + 1),
        String::new(),
    ];
    for other in others {
        fs::write(&path, &other).expect("written");
        assert!(Bundle::open(folder.path()).is_err(), "{}", &other[..other.len().min(80)]);
    }
    fs::write(&path, text).expect("written");
    assert_eq!(Bundle::open(folder.path()).expect("the one form").id(), bundle.id());
}

#[test]
fn another_rule_set_does_not_judge_content() {
    let bundle = Delivered::new(&sample().rendition, B256::ZERO).bundle();
    let (folder, mut manifest) = written(&bundle);
    manifest.rules_version += 1;
    fs::write(folder.path().join(MANIFEST), manifest.bytes()).expect("written");
    let read = Bundle::open(folder.path()).expect("the bundle is read");
    let error = read.judge(&MediaLimits::segment()).expect_err("other rules");
    assert!(matches!(error, Unjudgeable::RulesVersion { .. }), "{error}");
}

fn proof() -> FeatureProof {
    liar().bundle().feature_proof().expect("an opening")
}

fn verified(proof: &FeatureProof, rendition: &Bytes) -> Result<Difference, ProofError> {
    proof.verify(&DOMAIN, key().address(), rendition, &MediaLimits::segment())
}

#[test]
fn a_compact_proof_of_false_features_needs_the_rendition_alone() {
    let proof = proof();
    assert!(serde_json::to_vec(&proof).expect("json").len() < 8 << 10);
    let found = verified(&proof, &sample().rendition).expect("proven");
    assert!(matches!(found, Difference::Block { frame: 20, .. }), "{found:?}");
}

#[test]
fn a_compact_proof_holds_at_every_step_or_not_at_all() {
    let rendition = &sample().rendition;
    let proof = proof();
    let accused = proof.verify(&DOMAIN, Address::ZERO, rendition, &MediaLimits::segment());
    assert!(matches!(accused, Err(ProofError::Signer { .. })));
    let bytes = verified(&proof, &source().data);
    assert!(matches!(bytes, Err(ProofError::Rendition { .. })));

    let mut other = proof.clone();
    other.claim.pixels += 1;
    assert!(matches!(verified(&other, rendition), Err(ProofError::Branch(1))));
    let mut other = proof.clone();
    other.receipt.pixels += 1;
    assert!(matches!(verified(&other, rendition), Err(ProofError::Signer { .. })));
    let mut other = proof;
    other.opening.shape.frames += 1;
    assert!(matches!(verified(&other, rendition), Err(ProofError::Opening(_))));
}

#[test]
fn a_true_commitment_gives_no_compact_proof() {
    let stated = Stated::new(&sample().features);
    let accuser = Stated::with_false_cell(3, |features| features.fine[1] += 1);
    let delivered = Delivered::new(&sample().rendition, stated.root());
    let proof = FeatureProof {
        receipt: ReceiptRecord::from(&delivered.signed()),
        claim: ClaimRecord::from(&delivered.claims[1]),
        claims: 2,
        branch: rendition_branch(&delivered.claims, 1).expect("a branch"),
        opening: bisect(&accuser, &stated).0,
    };
    assert!(matches!(verified(&proof, &sample().rendition), Err(ProofError::NotFalse)));
}

/// A bundle's objects in memory, and its manifest.
fn in_memory(bundle: &Bundle) -> (Vec<u8>, HashMap<B256, Bytes>) {
    let (folder, manifest) = written(bundle);
    let objects = bundle
        .objects()
        .map(|(_, hash, _)| (hash, Bytes::from(fs::read(object(folder.path(), hash)).expect("the object"))));
    (manifest.bytes().to_vec(), objects.collect())
}

#[test]
fn no_changed_digit_of_a_manifest_accuses_an_honest_signer() {
    let delivered = Delivered { source: None, ..Delivered::new(&sample().rendition, true_root()) };
    let (manifest, objects) = in_memory(&delivered.bundle());
    let digits: Vec<usize> = (0..manifest.len()).filter(|&at| manifest[at].is_ascii_hexdigit()).collect();
    let mut read = 0;
    for (turn, &at) in digits.iter().enumerate() {
        let mut changed = manifest.clone();
        changed[at] = b"0123456789abcdef"[(turn * 7 + at) % 16];
        if changed[at] == manifest[at] {
            continue;
        }
        let fetch = |hash, _| {
            let missing = || std::io::Error::other("missing");
            objects.get(&hash).cloned().ok_or_else(|| BundleError::Io {
                action: "read",
                path: String::new(),
                source: missing(),
            })
        };
        let Ok(bundle) = Bundle::read(&changed, fetch) else { continue };
        read += 1;
        if let Ok(judgement) = bundle.judge(&MediaLimits::segment()) {
            assert_eq!(judgement.outcome, Outcome::NoFault, "{}", String::from_utf8_lossy(&changed));
        }
    }
    assert!(read > 100, "only {read} changed manifests are well-formed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_signed_case_about_any_bytes_is_judged_to_its_end(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        of_source in any::<bool>(),
        opening in any::<prop::sample::Index>(),
        digit in 0..16_usize,
    ) {
        let mut delivered = liar();
        let mut media = if of_source { source().data.to_vec() } else { delivered.rendition.to_vec() };
        for (at, value) in changes {
            let at = at.index(media.len());
            media[at] = value;
        }
        if of_source {
            delivered.source = Some(media.into());
        } else {
            let claim = RenditionClaim { sha256: hash(&media), ..delivered.claims[1] };
            delivered = Delivered { rendition: media.into(), claims: [delivered.claims[0], claim], ..delivered };
        }
        let mut text = serde_json::to_vec(&delivered.opening).expect("json");
        let at = opening.index(text.len());
        if text[at].is_ascii_hexdigit() {
            text[at] = b"0123456789abcdef"[digit];
        }
        if let Ok(changed) = serde_json::from_slice(&text) {
            delivered.opening = changed;
        }
        let bundle = delivered.bundle();
        let judgement = bundle.judge(&MediaLimits::segment());
        let proof = bundle.feature_proof().expect("an opening");
        // What the compact proof shows, the whole judgement finds as well.
        if verified(&proof, &delivered.rendition).is_ok() {
            prop_assert!(!matches!(judgement, Ok(judgement) if judgement.outcome == Outcome::NoFault));
        }
    }
}

/// What a jury finds in these bundles about the receipts that they bring.
fn found(accusation: Accusation, bundles: &[Bundle]) -> Finding {
    let receipts: Vec<B256> = bundles.iter().map(digest).collect();
    judge_accusation(accusation, &DOMAIN, &receipts, bundles, &MediaLimits::segment()).finding
}

fn digest(bundle: &Bundle) -> B256 {
    bundle.manifest().case.receipt.statement().signing_hash(&DOMAIN)
}

#[test]
fn a_jury_finds_what_it_was_asked_about_and_nothing_else() {
    let liar = [liar().bundle()];
    assert_eq!(found(Accusation::FalseFeatures, &liar), Finding::Guilty);
    assert_eq!(found(Accusation::ClaimedPixels, &liar), Finding::NotGuilty);
    assert_eq!(found(Accusation::FalseQuality, &liar), Finding::NotGuilty, "none was declared");
    assert_eq!(found(Accusation::Unfaithful, &liar), Finding::NotGuilty);

    let honest = [Delivered::new(&sample().rendition, true_root()).bundle()];
    assert_eq!(found(Accusation::FalseFeatures, &honest), Finding::NotGuilty);
    let silent = [Delivered::new(&sample().rendition, B256::ZERO).bundle()];
    assert_eq!(found(Accusation::FalseFeatures, &silent), Finding::NotGuilty, "nothing was committed to");

    let mut boaster = Delivered::new(&sample().rendition, true_root());
    boaster.claims[1].psnr_centi_db = Some(9_999);
    assert_eq!(found(Accusation::FalseQuality, &[boaster.bundle()]), Finding::Guilty);
    let unmeasured = Delivered { source: None, ..boaster };
    assert_eq!(found(Accusation::FalseQuality, &[unmeasured.bundle()]), Finding::Unavailable);
    assert_eq!(found(Accusation::Unfaithful, &[unmeasured.bundle()]), Finding::Unavailable);
}

#[test]
fn pixels_that_nobody_counted_are_not_found_to_be_as_claimed() {
    let clip = synthetic(Content::Animation, 0, 480, 270);
    let wrong = honest(&clip, &rung(WIDTH, HEIGHT, "large"), &Recipe::default());
    let uncounted = [Delivered::new(&wrong, B256::ZERO).bundle()];
    assert_eq!(found(Accusation::ClaimedPixels, &uncounted), Finding::Unavailable);
    let counted = [Delivered::new(&sample().rendition, B256::ZERO).bundle()];
    assert_eq!(found(Accusation::ClaimedPixels, &counted), Finding::NotGuilty);
}

#[test]
fn no_faithful_encode_is_found_only_where_both_segments_are_far_off() {
    let clip = synthetic(Content::Animation, 0, 480, 270);
    let wrong = honest(&clip, &rung(WIDTH, HEIGHT, "large"), &Recipe::default());
    let wrong = Delivered::new(&wrong, B256::ZERO).bundle();
    let right = Delivered::new(&sample().rendition, B256::ZERO).bundle();
    let two = |one: &Bundle, other: &Bundle| found(Accusation::Unfaithful, &[one.clone(), other.clone()]);
    assert_eq!(two(&wrong, &wrong), Finding::Guilty);
    assert_eq!(two(&wrong, &right), Finding::NotGuilty);
    assert_eq!(two(&right, &wrong), Finding::NotGuilty);
    let blind = Delivered { source: None, ..Delivered::new(&sample().rendition, true_root()) }.bundle();
    assert_eq!(two(&right, &blind), Finding::Unavailable);
}

#[test]
fn evidence_about_anything_but_the_accused_receipt_is_refused_from_its_manifest_alone() {
    let bundle = liar().bundle();
    let (manifest, receipt) = (bundle.manifest(), digest(&bundle));
    assert_eq!(manifest.is_about(&DOMAIN, receipt), Ok(()));
    let refused = |change: fn(&mut Manifest)| {
        let mut other = manifest.clone();
        change(&mut other);
        other.is_about(&DOMAIN, receipt).unwrap_err()
    };
    assert!(matches!(refused(|other| other.case.receipt.sequence += 1), Unrelated::Receipt { .. }));
    assert!(matches!(refused(|other| other.case.chain_id += 1), Unrelated::Receipt { .. }));
    assert_eq!(refused(|other| other.case.claims[0].pixels += 1), Unrelated::Claims);
    assert_eq!(refused(|other| other.case.accused = 0), Unrelated::Rendition);
    assert_eq!(refused(|other| other.case.accused = 9), Unrelated::Rendition);
    assert_eq!(refused(|other| other.rendition = B256::ZERO), Unrelated::Rendition);
    assert_eq!(refused(|other| other.source = Some(B256::ZERO)), Unrelated::Source);
    let elsewhere = SigningDomain { chain_id: 1, ..DOMAIN };
    assert!(matches!(manifest.is_about(&elsewhere, receipt), Err(Unrelated::Receipt { .. })));
    let other = judge_accusation(
        Accusation::FalseFeatures,
        &DOMAIN,
        &[B256::ZERO],
        std::slice::from_ref(&bundle),
        &MediaLimits::segment(),
    );
    assert_eq!(other.finding, Finding::Unavailable);
}

#[test]
fn files_are_found_by_their_hashes_in_whole_bundles_only() {
    let (folder, bundle) = (tempfile::tempdir().expect("a folder"), liar().bundle());
    let own = folder.path().join(alloy_primitives::hex::encode(bundle.id()));
    bundle.write(&own).expect("the bundle is written");
    let text = |hash| find_in_bundles(folder.path(), hash).map(|path| fs::read(path).expect("a file"));
    assert_eq!(text(bundle.id()).map(Bytes::from), Some(bundle.manifest().bytes()));
    for (_, sha256, bytes) in bundle.objects() {
        assert_eq!(text(sha256).map(|data| data.len()), Some(bytes));
    }
    assert_eq!(text(B256::ZERO), None);
    fs::remove_file(own.join(MANIFEST)).expect("removed");
    assert_eq!(text(bundle.manifest().rendition), None, "it is not whole");
}
