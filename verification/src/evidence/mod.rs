//! Everything a stranger needs to judge a disputed rendition, under names that are hashes.
//!
//! A [`Bundle`] is a manifest and up to five objects. The manifest says who signed what and which rendition is accused; it
//! names the objects by the SHA-256 of their bytes: the ladder, the rendition, and, as far as they are at hand, the
//! source, the accuser's report and an opening of the committed features. It is written in one form only (compact JSON,
//! fields in order), so that the SHA-256 of its bytes identifies the case.
//!
//! A bundle comes from a party to the dispute: nothing in it is believed. Sizes are bounded before bytes are read, hashes are
//! checked before bytes are used, and [`Bundle::judge`] concludes from the signed receipt and its own look at the media.

mod accusation;
mod folder;
mod judgement;
mod proof;
mod record;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use framemill_network::ladder::{Ladder, LadderEntry, MAX_ENTRIES};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use accusation::{Accusation, Finding, Opinion, Unrelated, judge_accusation};
pub use folder::{MANIFEST, OBJECTS, find_in_bundles};
pub use judgement::{Fault, Judgement, Outcome, Unjudgeable};
pub use proof::{FeatureProof, ProofError};
pub use record::{ClaimRecord, CommittedEpoch, Draw, ReceiptRecord};

use crate::opening::Opening;
use crate::outline::sha256;
use crate::report::Report;

/// What the manifest calls its form.
pub const FORMAT: &str = "framemill-evidence/1";

/// Largest manifest: sixteen claims of a few hundred bytes each are far below.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// Largest source or rendition: that of a segment ([`MediaLimits::segment`](framemill_media::MediaLimits::segment)).
pub const MAX_MEDIA_BYTES: u64 = 128 << 20;

/// Largest ladder, report or opening: the opening of a tree over 2^32 leaves has a few ten thousand bytes.
pub const MAX_RECORD_BYTES: u64 = 256 << 10;

/// Why there is no bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is larger than anything of its kind may be.
    #[error("{what} has {bytes} bytes, at most {bound} are read; refuse the bundle")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The most that is read.
        bound: u64,
    },
    /// Bytes are not those the manifest names.
    #[error("{what} hashes to {found}, the manifest names {named}; refuse the bundle")]
    WrongHash {
        /// Which part.
        what: &'static str,
        /// Hash of the bytes.
        found: B256,
        /// Hash that was asked for.
        named: B256,
    },
    /// A part is not what it must be.
    #[error("{what} is malformed: {reason}; refuse the bundle")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Who signed what about which rendition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Chain that the signature is for; 0 without one.
    pub chain_id: u64,
    /// `Controller` that the signature is for; zero without a chain.
    pub controller: Address,
    /// The account whose signature the receipt is said to carry: an orchestrator's, or the one it delegated to.
    pub signer: Address,
    /// The receipt.
    pub receipt: ReceiptRecord,
    /// All claims under the receipt's root, in ladder order.
    pub claims: Vec<ClaimRecord>,
    /// Index of the accused rendition.
    pub accused: u32,
    /// How the depth of the accuser's judgement was drawn, where it is told.
    pub draw: Option<Draw>,
}

/// The manifest: the case, and its objects by the SHA-256 of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Version of the rules that judged.
    pub rules_version: u32,
    /// Who signed what.
    pub case: Case,
    /// The concrete ladder as JSON.
    pub ladder: B256,
    /// The accused rendition.
    pub rendition: B256,
    /// The source segment.
    pub source: Option<B256>,
    /// The accuser's report as JSON.
    pub report: Option<B256>,
    /// An opening of the committed features as JSON.
    pub opening: Option<B256>,
}

/// An object by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedObject {
    /// Which part of the bundle it is.
    pub what: &'static str,
    /// SHA-256 of its bytes.
    pub sha256: B256,
    /// Most bytes that it may have.
    pub bound: u64,
}

/// A manifest with its objects, all of which have the hashes that it names.
#[derive(Clone, Debug)]
pub struct Bundle {
    manifest: Manifest,
    ladder: Ladder,
    opening: Option<Opening>,
    objects: Vec<Object>,
}

#[derive(Clone, Debug)]
struct Object {
    what: &'static str,
    sha256: B256,
    data: Bytes,
}

impl Object {
    fn new(what: &'static str, data: Bytes) -> Self {
        Self { what, sha256: sha256(&data), data }
    }
}

const LADDER: &str = "ladder";
const RENDITION: &str = "rendition";
const SOURCE: &str = "source";
const REPORT: &str = "report";
const OPENING: &str = "opening";

/// What a bundle is made of.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// Who signed what.
    pub case: Case,
    /// The concrete ladder that was asked for.
    pub ladder: &'a Ladder,
    /// The accused rendition as it was received.
    pub rendition: Bytes,
    /// The source segment as it was sent.
    pub source: Option<Bytes>,
    /// What the accuser's judgement came to.
    pub report: Option<&'a Report>,
    /// The committed features, as far as they were opened.
    pub opening: Option<Opening>,
}

impl Bundle {
    /// Puts a bundle together.
    ///
    /// # Errors
    /// When a part is larger than a loader accepts, or there are more claims than a ladder has rungs.
    pub fn new(parts: Parts<'_>) -> Result<Self, BundleError> {
        let Parts { case, ladder, rendition, source, report, opening } = parts;
        let mut objects = vec![Object::new(LADDER, json(ladder)), Object::new(RENDITION, rendition)];
        objects.extend(source.map(|source| Object::new(SOURCE, source)));
        objects.extend(report.map(|report| Object::new(REPORT, json(report))));
        objects.extend(opening.as_ref().map(|opening| Object::new(OPENING, json(opening))));
        for object in &objects {
            bounded(object.what, object.data.len() as u64)?;
        }
        let named = |what| objects.iter().find(|object| object.what == what).map(|object| object.sha256);
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            rules_version: crate::rules::VERSION,
            case,
            ladder: named(LADDER).unwrap_or_default(),
            rendition: named(RENDITION).unwrap_or_default(),
            source: named(SOURCE),
            report: named(REPORT),
            opening: named(OPENING),
        };
        manifest.check()?;
        Ok(Self { manifest, ladder: ladder.clone(), opening, objects })
    }

    /// Reads a bundle whose objects come from `fetch`, which is given an object's hash and the most bytes it may have.
    ///
    /// # Errors
    /// When the manifest is not in its one form, or an object is missing, too large, malformed or another one.
    pub fn read(
        manifest: &[u8],
        mut fetch: impl FnMut(B256, u64) -> Result<Bytes, BundleError>,
    ) -> Result<Self, BundleError> {
        let manifest = Manifest::read(manifest)?;
        let mut objects = Vec::new();
        for NamedObject { what, sha256: named, bound } in manifest.objects() {
            let object = Object::new(what, fetch(named, bound)?);
            bounded(what, object.data.len() as u64)?;
            if object.sha256 != named {
                return Err(BundleError::WrongHash { what, found: object.sha256, named });
            }
            objects.push(object);
        }
        let mut bundle = Self { ladder: Ladder::default(), manifest, opening: None, objects };
        bundle.ladder = bundle.record(LADDER)?.ok_or_else(|| malformed(LADDER, "it is missing"))?;
        bundle.opening = bundle.record(OPENING)?;
        Ok(bundle)
    }

    /// SHA-256 of the manifest, which identifies the case.
    #[must_use]
    pub fn id(&self) -> B256 {
        sha256(&self.manifest.bytes())
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The ladder.
    #[must_use]
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The ladder's entry of the accused rendition.
    #[must_use]
    pub fn entry(&self) -> Option<&LadderEntry> {
        self.ladder.get(self.manifest.case.accused)
    }

    /// The opening of the committed features.
    #[must_use]
    pub fn opening(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    /// Names, hashes and lengths of the objects.
    pub fn objects(&self) -> impl Iterator<Item = (&'static str, B256, usize)> {
        self.objects.iter().map(|object| (object.what, object.sha256, object.data.len()))
    }

    fn data(&self, what: &str) -> Option<&Bytes> {
        self.objects.iter().find(|object| object.what == what).map(|object| &object.data)
    }

    fn record<T: DeserializeOwned>(&self, what: &'static str) -> Result<Option<T>, BundleError> {
        let read = |data: &Bytes| serde_json::from_slice(data).map_err(|error| malformed(what, error));
        self.data(what).map(read).transpose()
    }
}

impl Manifest {
    /// The one form of the manifest.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        json(self)
    }

    /// Reads a manifest that is in its one form.
    ///
    /// # Errors
    /// When it is not, or is too large, or has more claims than a ladder has rungs.
    pub fn read(data: &[u8]) -> Result<Self, BundleError> {
        const WHAT: &str = "manifest";
        let bytes = data.len() as u64;
        if bytes > MAX_MANIFEST_BYTES {
            return Err(BundleError::TooLarge { what: WHAT, bytes, bound: MAX_MANIFEST_BYTES });
        }
        let manifest: Self = serde_json::from_slice(data).map_err(|error| malformed(WHAT, error))?;
        if manifest.bytes() != data {
            return Err(malformed(WHAT, "it is not in its one form, compact JSON with the fields in order"));
        }
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), BundleError> {
        if self.format != FORMAT {
            let reason = format!("its form is {:?}, this version reads {FORMAT}", self.format);
            return Err(malformed("manifest", reason));
        }
        if self.case.claims.len() > MAX_ENTRIES {
            let reason = format!("{} claims, a ladder has at most {MAX_ENTRIES}", self.case.claims.len());
            return Err(malformed("manifest", reason));
        }
        Ok(())
    }

    /// The objects that it names.
    pub fn objects(&self) -> impl Iterator<Item = NamedObject> {
        let always = [(LADDER, Some(self.ladder)), (RENDITION, Some(self.rendition))];
        let rest = [(SOURCE, self.source), (REPORT, self.report), (OPENING, self.opening)];
        let named = |(what, hash): (&'static str, Option<B256>)| {
            Some(NamedObject { what, sha256: hash?, bound: bound(what) })
        };
        always.into_iter().chain(rest).filter_map(named)
    }
}

fn bound(what: &str) -> u64 {
    if what == SOURCE || what == RENDITION { MAX_MEDIA_BYTES } else { MAX_RECORD_BYTES }
}

fn bounded(what: &'static str, bytes: u64) -> Result<(), BundleError> {
    let bound = bound(what);
    if bytes > bound { Err(BundleError::TooLarge { what, bytes, bound }) } else { Ok(()) }
}

fn malformed(what: &'static str, reason: impl ToString) -> BundleError {
    BundleError::Malformed { what, reason: reason.to_string() }
}

fn json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).expect("records have text keys and serialize without fail").into()
}
