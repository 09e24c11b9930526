//! What SVT-AV1 has to be told, and what it cannot do.

use ffmpeg_next::Dictionary;
use ffmpeg_next::ffi::{AVCodecContext, AVRational};

use crate::encode::EncoderConfig;
use crate::error::MediaError;

/// FFmpeg's name of the encoder.
pub(crate) const NAME: &str = "libsvtav1";

/// Its smallest side.
const MIN_SIDE: u32 = 64;
/// Its highest rate, in bits per second.
const MAX_BITRATE: u64 = 100_000_000;
/// Frames per second that its rate control can count with.
const FRAME_RATES: (u64, u64) = (1, 240);
/// Structure of the stream. Without look-ahead and with small groups the first packet comes after a dozen pictures instead of
/// forty, in two thirds of the memory, for what is within half a decibel of the same. With its temporal filter a keyframe would be a mean
/// of neighbouring pictures and not the source's.
const STRUCTURE: &str = "lookahead=0:hierarchical-levels=3:enable-tf=0";
/// No picture refers to a later one.
const LOW_DELAY: &str = ":pred-struct=1";

/// Keeps SVT-AV1's banner off standard error, to which it writes past FFmpeg's log: of its own lines it then writes errors only. An
/// environment that says otherwise is left as it is.
///
/// Call it first thing in `main`: the environment may not change while another thread reads it.
pub fn quiet_encoders() {
    const LOG: (&str, &str) = ("SVT_LOG", "1");
    if std::env::var_os(LOG.0).is_none() {
        // SAFETY: callers have started no thread yet; those of an allocator do not look at the environment.
        unsafe { std::env::set_var(LOG.0, LOG.1) };
    }
}

/// Refuses what it would refuse with words on standard error, and what it would take and not do.
pub(crate) fn check(config: &EncoderConfig) -> Result<(), MediaError> {
    let bad = |setting, value: String, hint| Err(MediaError::InvalidSetting { setting, value, hint });
    if config.width < MIN_SIDE || config.height < MIN_SIDE {
        let size = format!("{}x{}", config.width, config.height);
        return bad("encoded size", size, "give av1 64 pixels or more on each side");
    }
    if config.bitrate > MAX_BITRATE {
        return bad("bitrate", config.bitrate.to_string(), "give av1 at most 100000000 bits per second");
    }
    if config.gop == 1 {
        return bad("distance of keyframes", "1".into(), "give av1 2 or more");
    }
    Ok(())
}

/// Changes what [`EncoderConfig::apply`] has set where this encoder takes it otherwise.
pub(crate) fn apply(config: &EncoderConfig, context: &mut AVCodecContext) {
    // It does not bound bursts at a variable rate; a bound that equals the rate would make it refuse.
    context.rc_max_rate = 0;
    context.rc_buffer_size = 0;
    let (num, den) = (u64::from(config.frame_rate.num), u64::from(config.frame_rate.den));
    let (slowest, fastest) = FRAME_RATES;
    if num < slowest * den {
        count_with(context, config, slowest);
    } else if num > fastest * den {
        count_with(context, config, fastest);
    }
}

/// Has the rate control count with another frame rate, at which each picture has as many bits as it has at its own.
fn count_with(context: &mut AVCodecContext, config: &EncoderConfig, fps: u64) {
    let (num, den) = (u128::from(config.frame_rate.num.max(1)), u128::from(config.frame_rate.den));
    let bitrate = u128::from(config.bitrate) * u128::from(fps) * den / num;
    context.bit_rate = i64::try_from(bitrate.clamp(1, u128::from(MAX_BITRATE))).unwrap_or(i64::MAX);
    context.framerate = AVRational { num: i32::try_from(fps).unwrap_or(i32::MAX), den: 1 };
}

/// Its private options.
pub(crate) fn options(config: &EncoderConfig) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("preset", preset(config.preset));
    options.set("svtav1-params", &parameters(config));
    options
}

fn parameters(config: &EncoderConfig) -> String {
    let threads = if config.threads > 0 { format!(":lp={}", config.threads) } else { String::new() };
    let low_delay = if config.zero_latency || config.b_frames == Some(0) { LOW_DELAY } else { "" };
    format!("{STRUCTURE}{threads}{low_delay}")
}

/// Its preset that stands where an x264 preset does: from 13, fastest, down.
fn preset(preset: &str) -> &'static str {
    match preset {
        "ultrafast" => "13",
        "superfast" | "veryfast" => "12",
        "faster" => "11",
        "fast" => "10",
        "medium" => "9",
        "slow" => "8",
        "slower" => "6",
        "veryslow" => "4",
        _ => "2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoCodec;
    use crate::time::Rational;

    fn config() -> EncoderConfig {
        EncoderConfig {
            codec: VideoCodec::Av1,
            ..EncoderConfig::h264(640, 360, 500_000, Rational::new(30, 1))
        }
    }

    #[test]
    fn threads_and_delay_are_said_in_its_words() {
        assert_eq!(parameters(&config()), format!("{STRUCTURE}:lp=1"));
        assert_eq!(parameters(&EncoderConfig { threads: 0, ..config() }), STRUCTURE);
        for low in [
            EncoderConfig { zero_latency: true, ..config() },
            EncoderConfig { b_frames: Some(0), ..config() },
        ] {
            assert!(parameters(&low).ends_with(LOW_DELAY));
        }
    }

    #[test]
    fn every_preset_has_one_in_the_same_order() {
        let number = |name: &&str| preset(name).parse::<u32>().unwrap();
        let ranks: Vec<_> = crate::encode::PRESETS.iter().map(number).collect();
        assert!(ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
    }

    #[test]
    fn pictures_keep_their_bits_at_rates_that_it_cannot_count_with() {
        let applied = |frame_rate| {
            let config = EncoderConfig { frame_rate, ..config() };
            let mut context =
                crate::context::CodecContext::new(ffmpeg_next::encoder::find_by_name(NAME).unwrap());
            config.apply(context.get_mut());
            apply(&config, context.get_mut());
            let raw = context.get();
            (raw.bit_rate, raw.framerate.num, raw.framerate.den)
        };
        assert_eq!(applied(Rational::new(480, 1)), (250_000, 240, 1));
        assert_eq!(applied(Rational::new(1, 10)), (5_000_000, 1, 1));
        assert_eq!(applied(Rational::new(30_000, 1_001)), (500_000, 30_000, 1_001));
    }

    #[test]
    fn what_it_cannot_do_is_refused_before_it_is_asked() {
        for bad in [
            EncoderConfig { width: 62, ..config() },
            EncoderConfig { height: 62, ..config() },
            EncoderConfig { bitrate: MAX_BITRATE + 1, ..config() },
            EncoderConfig { gop: 1, ..config() },
        ] {
            assert_eq!(check(&bad).unwrap_err().code(), "invalid_setting");
        }
        check(&EncoderConfig { width: 64, height: 64, ..config() }).unwrap();
    }
}
