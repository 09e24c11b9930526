//! How much of a device's memory a session takes. An estimate on the safe side: drivers do not tell before they have taken it.

use framemill_network::ladder::Ladder;

/// Bytes of a pixel of NV12, doubled to be a whole number for two pixels.
const BYTES_OF_TWO_PIXELS: u64 = 3;

/// Pictures of the source that a decoder holds: 16 that the codec may refer to, and those that wait to be shown or scaled.
const SOURCE_PICTURES: u64 = 32;

/// Pixels of a source whose size is not known before it comes: 1080p, or the largest rung where that is more.
const USUAL_SOURCE_PIXELS: u64 = 1920 * 1088;

/// Pictures of a rung that wait for its encoder, that the encoder refers to, and that it works on.
const RUNG_PICTURES: u64 = 24;

/// What an encoder session takes whatever its size.
const ENCODER_BYTES: u64 = 48 << 20;

/// Bytes of device memory for one session of this ladder.
pub(crate) fn memory_of(ladder: &Ladder) -> u64 {
    let largest = ladder.iter().map(|entry| entry.pixels_per_frame()).max().unwrap_or(0);
    let source = pictures(largest.max(USUAL_SOURCE_PIXELS), SOURCE_PICTURES);
    ladder.iter().fold(source, |sum, entry| {
        sum.saturating_add(pictures(entry.pixels_per_frame(), RUNG_PICTURES)).saturating_add(ENCODER_BYTES)
    })
}

fn pictures(pixels: u64, count: u64) -> u64 {
    pixels.saturating_mul(count).saturating_mul(BYTES_OF_TWO_PIXELS) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_the_usual_ladder_takes_some_hundreds_of_mebibytes() {
        let ladder: Ladder = "720:3000k,480:1500k,360:800k".parse().expect("a ladder");
        let source = framemill_network::ladder::SourceVideo {
            width: 1920,
            height: 1080,
            fps: "30".parse().expect("a rate"),
        };
        let ladder = ladder.resolve(&source).expect("a concrete ladder");
        let mebibytes = memory_of(&ladder) >> 20;
        assert!((200..600).contains(&mebibytes), "{mebibytes} MiB");
    }

    #[test]
    fn more_and_larger_rungs_take_more() {
        let small: Ladder =
            r#"[{"name":"a","width":640,"height":360,"bitrate":100000}]"#.parse().expect("a ladder");
        let large: Ladder =
            r#"[{"name":"a","width":640,"height":360,"bitrate":100000},{"name":"b","width":3840,"height":2160,"bitrate":100000}]"#
                .parse()
                .expect("a ladder");
        assert!(memory_of(&large) > 2 * memory_of(&small));
    }
}
