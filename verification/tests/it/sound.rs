//! Renditions with the right picture and another sound.

use bytes::Bytes;
use framemill_media::{AudioCodec, MediaLimits, Packet, StreamParameters, probe};
use framemill_verification::Policy;

use crate::studio::{Clip, Recipe, audio_of, encode, entry, ffmpeg, mux, scaled, with_sound};
use crate::suite::{judged, source};

/// 200 milliseconds in 90 kHz ticks.
const LATE: i64 = 18_000;
/// Makes all of it silent.
const SILENCE: &str = "volume=0";
/// Left is right.
const SWAPPED: &str = "aformat=channel_layouts=stereo,pan=stereo|c0=c1|c1=c0";

/// Parameters and packets of a track.
pub(crate) type Track = (StreamParameters, Vec<Packet>);

/// The sound of a clip, spoilt in every way that has a name.
pub(crate) fn spoilt(clip: &Clip) -> Vec<(&'static str, Vec<Track>)> {
    let own = audio_of(&clip.data);
    let late = |(parameters, packets): &Track| {
        (parameters.clone(), packets.iter().map(|packet| timed_like(packet, packet, LATE)).collect())
    };
    let other = audio_of(&with_sound(4).data);
    let repeated = |(parameters, packets): &Track| {
        (parameters.clone(), packets.iter().map(|packet| timed_like(&packets[0], packet, 0)).collect())
    };
    let shortened =
        |(parameters, packets): &Track| (parameters.clone(), packets[..packets.len() - 1].to_vec());
    let mut all = vec![
        ("SoundMissing", Vec::new()),
        ("SoundLate", own.iter().map(late).collect()),
        ("SoundOfAnother", own.iter().map(|own| replaced(own, &other[0])).collect()),
        ("SoundRepeated", own.iter().map(repeated).collect()),
        ("SoundShort", own.iter().map(shortened).collect()),
        ("SoundTwice", [own.as_slice(), own.as_slice()].concat()),
    ];
    for (name, filter) in [("SoundSilent", SILENCE), ("SoundSwapped", SWAPPED)] {
        let filtered = filtered(&clip.data, filter).unwrap_or_default();
        let tracks: Vec<_> = own.iter().zip(&filtered).map(|(own, other)| replaced(own, other)).collect();
        all.extend((!tracks.is_empty()).then_some((name, tracks)));
    }
    all
}

/// The tracks through a filter of the `ffmpeg` command, encoded anew; none where it has no encoder for one of them.
fn filtered(clip: &Bytes, filter: &str) -> Option<Vec<Track>> {
    let tracks = probe(clip, &MediaLimits::segment()).expect("the clip can be read").audio;
    let mut settings = ["-map", "0:a", "-strict", "experimental", "-af", filter].map(str::to_owned).to_vec();
    for (number, track) in tracks.iter().enumerate() {
        if matches!(track.codec, AudioCodec::Other(_)) {
            return None;
        }
        settings.extend([format!("-c:a:{number}"), track.codec.name().to_owned()]);
    }
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Some(audio_of(&ffmpeg(clip, &settings)))
}

/// The packets of other sound at the times of this one.
fn replaced((_, packets): &Track, (parameters, others): &Track) -> Track {
    let take = |(index, packet)| timed_like(&others[index % others.len()], packet, 0);
    (parameters.clone(), packets.iter().enumerate().map(take).collect())
}

fn timed_like(packet: &Packet, model: &Packet, by: i64) -> Packet {
    let mut packet = packet.clone();
    packet.set_pts(model.pts().expect("sound has times") + by);
    packet.set_dts(model.dts().expect("sound has times") + by);
    packet
}

/// A clip whose channels say different things.
fn two_tones() -> Clip {
    let clip = with_sound(1);
    let tones = "aevalsrc=0.3*sin(2764*t)|0.2*sin(5529*t):s=48000:d=1";
    let settings = ["-f", "lavfi", "-i", tones, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac"];
    Clip { data: ffmpeg(&clip.data, &settings), ..clip }
}

#[test]
fn every_lie_of_sound_is_seen_by_the_check_that_is_there_for_it() {
    let clip = two_tones();
    let (source, entry) = (source(&clip), entry(320, 180, 300_000));
    let recipe = Recipe::default();
    let video = encode(&scaled(&clip, &entry, recipe.filter), &entry, clip.rate, &recipe);
    let failed = |sound: Vec<Track>| -> Vec<&'static str> {
        let rendition = mux([vec![video.clone()], sound].concat());
        let report = judged(&source, &rendition, &entry, &Policy::STRUCTURE_ONLY);
        report.failures().map(|check| check.name).collect()
    };
    assert_eq!(failed(audio_of(&clip.data)), Vec::<&str>::new(), "put together with its own, it is honest");
    let lies = spoilt(&clip);
    assert_eq!(lies.len(), 8);
    for (name, sound) in lies {
        let as_many = !["SoundMissing", "SoundTwice"].contains(&name);
        let wanted: &[_] = if as_many { &["audio_changed"] } else { &["audio_streams", "audio_changed"] };
        assert_eq!(failed(sound), wanted, "{name}");
    }
}

/// In a transport stream Opus has headers that FFmpeg takes off its packets.
#[test]
fn sound_of_every_codec_passes_in_a_transport_stream() {
    for codec in ["aac", "ac3", "eac3", "mp2", "libmp3lame", "libopus"] {
        let made = with_sound(1);
        let data = ffmpeg(&made.data, &["-c:v", "copy", "-c:a", codec, "-mpegts_copyts", "1"]);
        let clip = Clip { data, ..made };
        let entry = entry(320, 180, 300_000);
        let rendition = crate::studio::honest(&clip, &entry, &Recipe::default());
        let report = judged(&source(&clip), &rendition, &entry, &Policy::STRUCTURE_ONLY);
        assert_eq!(report.reason(), None, "{codec}");
        let mut altered = rendition.to_vec();
        let sound =
            altered.chunks(188).rposition(|packet| packet[1] & 0x1f == 1 && packet[2] == 1).expect("sound");
        altered[sound * 188 + 187] ^= 1;
        let report = judged(&source(&clip), &altered.into(), &entry, &Policy::STRUCTURE_ONLY);
        assert!(report.reason().is_some(), "{codec}: an altered byte");
    }
}
