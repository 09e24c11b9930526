//! What libaom has to be told. It works picture by picture, as for a call: without look-ahead, so that no picture is a mean of others
//! and each leaves before the next comes.
//!
//! Why not SVT-AV1, which is faster: it fills tables of its whole process anew whenever an encoder opens, under the feet of those that are
//! at work, and takes the process with it.

use std::collections::VecDeque;

use ffmpeg_next::Dictionary;
use ffmpeg_next::ffi::{AVCodecContext, AVRational};

use crate::encode::EncoderConfig;
use crate::time::Ticks;

/// FFmpeg's name of the encoder.
pub(crate) const NAME: &str = "libaom-av1";

/// It counts bits in thousands.
const LEAST_BITRATE: i64 = 1_000;

/// Changes what [`EncoderConfig::apply`] has set where this encoder takes it otherwise.
pub(crate) fn apply(config: &EncoderConfig, context: &mut AVCodecContext) {
    // A picture would last one tick of a finer clock, and the first have no bits; see `Times`.
    let AVRational { num, den } = context.framerate;
    // It takes no tick longer than a second.
    context.time_base =
        if den > num { AVRational { num: 1, den: 1 } } else { AVRational { num: den, den: num } };
    context.bit_rate = context.bit_rate.max(LEAST_BITRATE);
    if config.vbv.is_some() {
        // Its one way of bounding bursts: a constant rate over the buffer.
        context.rc_min_rate = context.bit_rate;
        context.rc_max_rate = context.bit_rate;
    }
}

/// Its private options.
pub(crate) fn options(config: &EncoderConfig) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("usage", "realtime");
    options.set("cpu-used", speed(config.preset));
    options.set("row-mt", "1");
    options
}

/// Its speed that stands where an x264 preset does: from 8, fastest, down to 5, the slowest that works without look-ahead.
fn speed(preset: &str) -> &'static str {
    match preset {
        "ultrafast" | "superfast" | "veryfast" | "faster" => "8",
        // 7 takes as long as 8, and its colours are further off.
        "fast" | "medium" | "slow" => "6",
        _ => "5",
    }
}

/// Times of the pictures in an encoder that counts pictures and hands them out in their order.
#[derive(Debug, Default)]
pub(crate) struct Times {
    sent: i64,
    waiting: VecDeque<Ticks>,
}

impl Times {
    /// The number that stands for the time of the next picture.
    pub(crate) const fn next(&self) -> i64 {
        self.sent
    }

    /// The encoder has taken a picture of this time.
    pub(crate) fn sent(&mut self, time: Ticks) {
        self.sent += 1;
        self.waiting.push_back(time);
    }

    /// The time of the picture that the encoder hands out next.
    pub(crate) fn take(&mut self) -> Option<Ticks> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_a_speed_in_the_same_order() {
        let number = |name: &&str| speed(name).parse::<u32>().unwrap();
        let ranks: Vec<_> = crate::encode::PRESETS.iter().map(number).collect();
        assert!(ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
    }
}
