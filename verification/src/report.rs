//! The verdict, with every figure it rests on.

use std::fmt;

use alloy_primitives::{B256, keccak256};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Pass or fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every check passed.
    Pass,
    /// At least one check failed.
    Fail,
}

/// How deep a judgement looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The container and the bitstream's headers; nothing decoded.
    Structure = 0,
    /// The above and the first frame of source and rendition.
    FirstFrame = 1,
    /// The above and every frame.
    Whole = 2,
}

/// How a check's value relates to its bound when it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// `value <= bound`
    Max,
    /// `value >= bound`
    Min,
    /// `value == bound`
    Is,
}

/// One figure and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name, see `docs/verification.md`.
    pub name: &'static str,
    /// What was measured.
    pub value: i64,
    /// What it is held against.
    pub bound: i64,
    /// In which way.
    pub relation: Relation,
}

impl Check {
    /// Passes when `value <= bound`.
    #[must_use]
    pub fn max(name: &'static str, value: i64, bound: i64) -> Self {
        Self::new(name, value, bound, Relation::Max)
    }

    /// Passes when `value >= bound`.
    #[must_use]
    pub fn min(name: &'static str, value: i64, bound: i64) -> Self {
        Self::new(name, value, bound, Relation::Min)
    }

    /// Passes when `value == bound`.
    #[must_use]
    pub fn is(name: &'static str, value: i64, bound: i64) -> Self {
        Self::new(name, value, bound, Relation::Is)
    }

    fn new(name: &'static str, value: i64, bound: i64, relation: Relation) -> Self {
        Self { name, value, bound, relation }
    }

    /// Whether the value is within its bound.
    #[must_use]
    pub fn pass(&self) -> bool {
        match self.relation {
            Relation::Max => self.value <= self.bound,
            Relation::Min => self.value >= self.bound,
            Relation::Is => self.value == self.bound,
        }
    }

    /// Whether the value is more than twice its bound. Equalities, and bounds of zero, have no such distance.
    #[must_use]
    pub fn is_far_off(&self) -> bool {
        self.relation == Relation::Max && self.bound > 0 && self.value > self.bound.saturating_mul(2)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::Max => "at most ",
            Relation::Min => "at least ",
            Relation::Is => "",
        };
        write!(f, "{} is {}, want {relation}{}", self.name, self.value, self.bound)
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("value", &self.value)?;
        map.serialize_entry("bound", &self.bound)?;
        map.serialize_entry("relation", &self.relation)?;
        map.serialize_entry("pass", &self.pass())?;
        map.end()
    }
}

/// How good the rendition looks; figures for the price, never for the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Quality {
    /// Frames that were measured at the rendition's full size.
    pub frames: u32,
    /// Luma mean square error against the area-downscaled source, in thousandths of a squared 8-bit level.
    pub mse_milli: u64,
    /// The same as luma PSNR, in hundredths of a decibel; 10000 where the error is zero.
    pub psnr_centi_db: u32,
    /// Energy of the finest detail, in thousandths of that of the downscaled source.
    pub detail_permille: u32,
    /// Luma SSIM over 8 x 8 blocks against the area-downscaled source, in millionths; 0 where there is no whole block.
    pub ssim_ppm: u32,
    /// Bytes of the rendition's video elementary stream.
    pub video_bytes: u64,
    /// The video's bits per second.
    pub bits_per_second: u64,
    /// The same in millionths of the ladder entry's.
    pub rate_ppm: u64,
}

/// The outcome of judging one rendition. The same input gives the same report, byte for byte, on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Version of the rule set that judged.
    pub rules_version: u32,
    /// Pass or fail.
    pub verdict: Verdict,
    /// How deep the judgement looked.
    pub tier: Tier,
    /// SHA-256 of the source segment.
    pub source_sha256: B256,
    /// SHA-256 of the rendition.
    pub rendition_sha256: B256,
    /// Pixels the rendition really holds: width x height x frames.
    pub pixels: u64,
    /// Every check that was made.
    pub checks: Vec<Check>,
    /// Quality figures.
    pub quality: Quality,
    /// Keccak-256 of [`Report::canonical_bytes`].
    pub hash: B256,
}

/// Name of the check that stands before all others of the decoded picture.
pub(crate) const FIRST_PICTURE_CHECK: &str = "undecodable_frames";

impl Report {
    pub(crate) fn new(
        tier: Tier,
        source_sha256: B256,
        rendition_sha256: B256,
        pixels: u64,
        checks: Vec<Check>,
        quality: Quality,
    ) -> Self {
        let verdict = if checks.iter().all(Check::pass) { Verdict::Pass } else { Verdict::Fail };
        let mut report = Self {
            rules_version: crate::rules::VERSION,
            verdict,
            tier,
            source_sha256,
            rendition_sha256,
            pixels,
            checks,
            quality,
            hash: B256::ZERO,
        };
        report.hash = keccak256(report.canonical_bytes());
        report
    }

    /// Whether the verdict is [`Verdict::Pass`].
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Pass
    }

    /// Whether the quality figures are those that an orchestrator declares: of a judgement of every frame that measured some.
    #[must_use]
    pub fn measures_quality(&self) -> bool {
        self.tier == Tier::Whole && self.quality.frames > 0
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.pass())
    }

    /// The checks of the decoded picture; none where only the structure was looked at.
    pub fn picture_checks(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().skip_while(|check| check.name != FIRST_PICTURE_CHECK)
    }

    /// Whether a figure of the decoded picture is more than twice its bound, every frame being compared with its own: so far
    /// off that no encode of this source comes near it.
    #[must_use]
    pub fn is_far_off(&self) -> bool {
        let matched = |check: &Check| check.name != "unmatched_frames" || check.pass();
        self.tier == Tier::Whole
            && self.picture_checks().all(matched)
            && self.picture_checks().any(Check::is_far_off)
    }

    /// The first failed check in words, for logs and people; none when everything passed.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.failures().next().map(ToString::to_string)
    }

    /// Everything but the hash, in a fixed order: big-endian integers, names with their length before them.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 + self.checks.len() * 48);
        out.extend_from_slice(b"framemill-report");
        out.extend_from_slice(&self.rules_version.to_be_bytes());
        out.push(u8::from(self.verdict == Verdict::Pass));
        out.push(self.tier as u8);
        out.extend_from_slice(self.source_sha256.as_slice());
        out.extend_from_slice(self.rendition_sha256.as_slice());
        out.extend_from_slice(&self.pixels.to_be_bytes());
        // Check names are compile-time constants far below 256 bytes; their number is a few dozen.
        out.extend_from_slice(&(self.checks.len() as u32).to_be_bytes());
        for check in &self.checks {
            out.push(check.name.len() as u8);
            out.extend_from_slice(check.name.as_bytes());
            out.extend_from_slice(&check.value.to_be_bytes());
            out.extend_from_slice(&check.bound.to_be_bytes());
            out.push(check.relation as u8);
        }
        let quality = &self.quality;
        out.extend_from_slice(&quality.frames.to_be_bytes());
        out.extend_from_slice(&quality.mse_milli.to_be_bytes());
        out.extend_from_slice(&quality.psnr_centi_db.to_be_bytes());
        out.extend_from_slice(&quality.detail_permille.to_be_bytes());
        out.extend_from_slice(&quality.ssim_ppm.to_be_bytes());
        out.extend_from_slice(&quality.video_bytes.to_be_bytes());
        out.extend_from_slice(&quality.bits_per_second.to_be_bytes());
        out.extend_from_slice(&quality.rate_ppm.to_be_bytes());
        out
    }

    /// The report as JSON: `{"verdict","tier","checks":[{"name","value","bound","relation","pass"}],"quality","report_hash"}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("verdict", &self.verdict)?;
        map.serialize_entry("tier", &(self.tier as u8))?;
        map.serialize_entry("checks", &self.checks)?;
        map.serialize_entry("quality", &self.quality)?;
        map.serialize_entry("report_hash", &self.hash)?;
        map.serialize_entry("rules_version", &self.rules_version)?;
        map.serialize_entry("pixels", &self.pixels)?;
        map.serialize_entry("source_sha256", &self.source_sha256)?;
        map.serialize_entry("rendition_sha256", &self.rendition_sha256)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: i64) -> Report {
        let checks = vec![Check::max("luma_offset", value, 3), Check::is("width", 640, 640)];
        Report::new(
            Tier::Whole,
            B256::repeat_byte(1),
            B256::repeat_byte(2),
            640 * 360,
            checks,
            Quality::default(),
        )
    }

    #[test]
    fn one_failed_check_fails_the_verdict() {
        assert_eq!(report(3).verdict, Verdict::Pass);
        assert_eq!(report(4).verdict, Verdict::Fail);
        assert_eq!(report(4).failures().count(), 1);
        assert_eq!(report(4).reason().as_deref(), Some("luma_offset is 4, want at most 3"));
    }

    #[test]
    fn far_off_is_more_than_twice_the_bound_of_a_picture_that_was_compared() {
        let judged = |checks: Vec<Check>| {
            let all = [vec![Check::is(FIRST_PICTURE_CHECK, 0, 0)], checks].concat();
            Report::new(Tier::Whole, B256::ZERO, B256::ZERO, 1, all, Quality::default()).is_far_off()
        };
        assert!(judged(vec![Check::max("frame_error_permille", 221, 110)]));
        assert!(!judged(vec![Check::max("frame_error_permille", 220, 110)]));
        assert!(!judged(vec![Check::max("anything", 5, 0), Check::is("other", 9, 1)]));
        let unmatched = Check::is("unmatched_frames", 1, 0);
        assert!(!judged(vec![unmatched, Check::max("frame_error_permille", 900, 110)]));
        let structure = vec![Check::max("video_bytes", 900, 1)];
        let report = Report::new(Tier::Whole, B256::ZERO, B256::ZERO, 1, structure, Quality::default());
        assert!(!report.is_far_off(), "no picture was compared");
    }

    #[test]
    fn the_hash_follows_every_figure() {
        assert_eq!(report(1).hash, report(1).hash);
        assert_ne!(report(1).hash, report(2).hash);
    }

    #[test]
    fn json_has_the_documented_shape() {
        let json = report(4).to_json();
        assert_eq!(json["verdict"], "fail");
        assert_eq!(json["tier"], 2);
        assert_eq!(json["checks"][0]["name"], "luma_offset");
        assert_eq!(json["checks"][0]["pass"], false);
        assert_eq!(json["checks"][1]["relation"], "is");
        assert!(json["report_hash"].as_str().is_some_and(|h| h.starts_with("0x") && h.len() == 66));
    }
}
