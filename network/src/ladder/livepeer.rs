//! The JSON of the `Livepeer-Transcode-Configuration` request header and of auth webhooks' `profiles`.

use serde::Deserialize;

use super::{Codec, FrameRate, Gop, Ladder, LadderEntry, LadderError, MAX_ENTRIES, Profile, json, presets};

/// Longest header read, in bytes: HTTP servers cap a header at about this size.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What a `Livepeer-Transcode-Configuration` header asks for. Fields that this node has no use for are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscodeConfiguration {
    /// Name of the stream, if the client gives one.
    pub manifest_id: Option<String>,
    /// The renditions wanted; `None` when the header names none, so that the node's own ladder applies.
    pub ladder: Option<Ladder>,
}

impl TranscodeConfiguration {
    /// Reads the header's value.
    ///
    /// # Errors
    /// When the JSON is malformed or a profile is out of bounds.
    pub fn from_json(text: &str) -> Result<Self, LadderError> {
        if text.len() > MAX_HEADER_BYTES {
            return Err(LadderError::Json(format!(
                "{} bytes: at most {MAX_HEADER_BYTES} are read",
                text.len()
            )));
        }
        let raw: RawConfiguration =
            serde_json::from_str(text).map_err(|error| LadderError::Json(error.to_string()))?;
        let manifest_id = raw.manifest_id.filter(|id| !id.is_empty());
        let mut entries = preset_entries(&raw.presets)?;
        if raw.profiles.len() + entries.len() > MAX_ENTRIES {
            return Err(LadderError::EntryCount { count: raw.profiles.len() + entries.len() });
        }
        for profile in raw.profiles {
            entries.push(profile.into_entry()?);
        }
        json::fill_names(&mut entries);
        let ladder = if entries.is_empty() { None } else { Some(Ladder::new(entries)?) };
        Ok(Self { manifest_id, ladder })
    }
}

fn preset_entries(names: &[String]) -> Result<Vec<LadderEntry>, LadderError> {
    let unknown = |name: &String| LadderError::Syntax {
        text: super::parse::shorten(name),
        expected: "a preset is a name like P720p30fps16x9",
    };
    names
        .iter()
        .take(MAX_ENTRIES + 1)
        .map(|name| presets::by_name(name).ok_or_else(|| unknown(name)))
        .collect()
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(default, rename = "manifestID")]
    manifest_id: Option<String>,
    #[serde(default)]
    presets: Vec<String>,
    #[serde(default)]
    profiles: Vec<RawProfile>,
}

#[derive(Deserialize)]
struct RawProfile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    #[serde(default)]
    bitrate: u32,
    #[serde(default)]
    fps: u32,
    #[serde(default, rename = "fpsDen")]
    fps_den: u32,
    #[serde(default)]
    profile: String,
    #[serde(default)]
    gop: String,
    #[serde(default)]
    encoder: String,
}

impl RawProfile {
    fn into_entry(self) -> Result<LadderEntry, LadderError> {
        let gop = Gop::parse(&self.gop).ok_or_else(|| LadderError::Syntax {
            text: super::parse::shorten(&self.gop),
            expected: "a gop is \"intra\" or seconds like \"2.0\"",
        })?;
        Ok(LadderEntry {
            name: self.name,
            width: self.width,
            height: self.height,
            bitrate: self.bitrate,
            fps: FrameRate::new(self.fps, self.fps_den.max(1))?,
            gop,
            codec: if self.encoder.is_empty() { Codec::H264 } else { self.encoder.parse()? },
            profile: parse_profile(&self.profile)?,
        })
    }
}

fn parse_profile(text: &str) -> Result<Profile, LadderError> {
    match text.to_ascii_lowercase().as_str() {
        "" | "none" => Ok(Profile::Auto),
        "h264baseline" => Ok(Profile::Baseline),
        "h264main" => Ok(Profile::Main),
        "h264high" | "h264constrainedhigh" => Ok(Profile::High),
        _ => Err(LadderError::Syntax {
            text: super::parse::shorten(text),
            expected: "a profile is H264Baseline, H264Main, H264High or H264ConstrainedHigh",
        }),
    }
}
