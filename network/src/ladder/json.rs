//! The JSON form: an array of entries with all fields.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Gop, Ladder, LadderEntry, LadderError};

impl Ladder {
    /// Reads a JSON array of entries; entries without a name get one from their size and rate.
    ///
    /// # Errors
    /// When the JSON is malformed, has unknown fields or an entry is out of bounds.
    pub fn from_json(text: &str) -> Result<Self, LadderError> {
        let entries: Vec<LadderEntry> =
            serde_json::from_str(text).map_err(|error| LadderError::Json(error.to_string()))?;
        Self::try_from(entries)
    }

    /// Writes the JSON array that [`Ladder::from_json`] reads.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a ladder has string keys and finite numbers only")
    }
}

pub(super) fn fill_names(entries: &mut [LadderEntry]) {
    for entry in entries {
        if entry.name.is_empty() {
            entry.name = entry.default_name();
        }
    }
}

impl Gop {
    /// Reads `segment` or an empty text, `intra`, or seconds like `2`, `2.0` or `0.5`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "segment" | "0" | "0.0" => return Some(Self::Segment),
            "intra" => return Some(Self::Intra),
            _ => {}
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| {
            !part.is_empty() && part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let thousandths: u32 = format!("{fraction:0<3}")[..3].parse().ok()?;
        let millis = whole.checked_mul(1_000)?.checked_add(thousandths)?;
        (1..=Self::MAX_MILLIS).contains(&millis).then_some(Self::Millis(millis))
    }
}

impl fmt::Display for Gop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment => f.write_str("segment"),
            Self::Intra => f.write_str("intra"),
            Self::Millis(millis) => write!(f, "{}.{:03}", millis / 1_000, millis % 1_000),
        }
    }
}

impl Serialize for Gop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Gop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GopVisitor)
    }
}

struct GopVisitor;

impl Visitor<'_> for GopVisitor {
    type Value = Gop;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"segment\", \"intra\" or seconds between key frames, up to 60")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Gop, E> {
        Gop::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Gop, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Gop, E> {
        self.visit_str(&seconds.to_string())
    }
}
