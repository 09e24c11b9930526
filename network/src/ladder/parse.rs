//! The short text form: presets or `HEIGHT[pFPS]:BITRATE[:CODEC]`, separated by commas.

use std::str::FromStr;

use super::{Codec, FrameRate, Ladder, LadderEntry, LadderError, MAX_ENTRIES, presets};

/// Longest text read as a ladder, in bytes: 16 entries of JSON with every field are well below it.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Longest piece of foreign text that is repeated in an error.
const MAX_QUOTED_CHARS: usize = 80;

/// Reads the short form (`720:3000k,480p30:1500k:hevc,P240p30fps16x9`) or, when it starts with `[`, the JSON form.
impl FromStr for Ladder {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(syntax(text, "a ladder's text is at most 16 KiB"));
        }
        let text = text.trim();
        if text.starts_with('[') {
            return Self::from_json(text);
        }
        // One more than legal is enough to let the count be refused.
        let mut entries = Vec::new();
        for part in text.split(',').take(MAX_ENTRIES + 1) {
            let mut entry = parse_entry(part.trim())?;
            if entries.iter().any(|other: &LadderEntry| other.name == entry.name) {
                entry.name = format!("{}-{}k", entry.name, entry.bitrate / 1_000);
            }
            entries.push(entry);
        }
        Self::new(entries)
    }
}

fn parse_entry(text: &str) -> Result<LadderEntry, LadderError> {
    if let Some(entry) = presets::by_name(text) {
        return Ok(entry);
    }
    let mut parts = text.split(':');
    let size = parts.next().unwrap_or_default();
    let bitrate = parts.next().ok_or_else(|| {
        syntax(text, "an entry is a preset or HEIGHT[pFPS]:BITRATE[:CODEC], like 720:3000k")
    })?;
    let codec = parts.next().map_or(Ok(Codec::H264), str::parse)?;
    if parts.next().is_some() {
        return Err(syntax(text, "an entry has at most HEIGHT[pFPS]:BITRATE:CODEC"));
    }
    let (height, fps) = parse_size(size)?;
    Ok(LadderEntry::from_height(height, fps, parse_bitrate(bitrate)?, codec))
}

fn parse_size(text: &str) -> Result<(u32, FrameRate), LadderError> {
    let (height, fps) = text.split_once('p').unwrap_or((text, ""));
    let height = match height.parse::<u32>() {
        Ok(height) if height > 0 => height,
        _ => return Err(syntax(text, "a size is a height in pixels like 720, or with a frame rate 720p30")),
    };
    let fps = if fps.is_empty() { FrameRate::SOURCE } else { fps.parse()? };
    Ok((height, fps))
}

/// Bits per second from `3000000`, `3000k`, `3M` or `2.5M`; exact, without floating point.
fn parse_bitrate(text: &str) -> Result<u32, LadderError> {
    let error = || syntax(text, "a bitrate is bits per second, like 3000k, 2.5M or 3000000");
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000_u64),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits =
        |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(error());
    }
    let scale = 10_u64.pow(fraction.len() as u32);
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let fraction: u64 = fraction.parse().map_err(|_| error())?;
    u32::try_from(whole * unit + fraction * unit / scale).map_err(|_| error())
}

fn syntax(text: &str, expected: &'static str) -> LadderError {
    LadderError::Syntax { text: shorten(text), expected }
}

/// The start of a foreign text, so that an error never grows with its input.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}
