//! Renditions with the right picture and another sound.

use framemill_media::{Packet, StreamParameters};
use framemill_verification::{Policy, SourceReference};

use crate::contents::Standing;
use crate::studio::{Clip, Recipe, audio_of, encode, entry, mux, scaled, with_sound};
use crate::suite::judged;
use crate::table::Judgement;

/// 200 milliseconds in 90 kHz ticks.
const LATE: i64 = 18_000;

/// Judges a rendition of a clip with sound for every way to spoil the sound.
pub(crate) fn judge(clip: &Clip, source: &SourceReference, note: impl Fn(Judgement)) {
    let own = audio_of(&clip.data);
    if own.is_empty() {
        return;
    }
    let entry = entry(320, 180, 200_000);
    let recipe = Recipe::default();
    let (parameters, packets) = encode(&scaled(clip, &entry, recipe.filter), &entry, clip.rate, &recipe);
    for (name, sound) in spoilt(&own) {
        let mut streams = vec![(parameters.clone(), packets.clone())];
        streams.extend(sound);
        let whole = judged(source, &mux(streams), &entry, &Policy::STRUCTURE_ONLY);
        note(Judgement {
            content: clip.name.clone(),
            standing: Standing::Fitted,
            rung: 0,
            attack: Some(name.to_owned()),
            name: name.to_owned(),
            visible: true,
            whole,
            first: None,
            peers: None,
        });
    }
}

type Track = (StreamParameters, Vec<Packet>);

fn spoilt(own: &[Track]) -> Vec<(&'static str, Vec<Track>)> {
    let timed_like = |packet: &Packet, model: &Packet, by: i64| {
        let mut packet = packet.clone();
        packet.set_pts(model.pts().expect("sound has times") + by);
        packet.set_dts(model.dts().expect("sound has times") + by);
        packet
    };
    let late = |(parameters, packets): &Track| {
        (parameters.clone(), packets.iter().map(|packet| timed_like(packet, packet, LATE)).collect())
    };
    let other = audio_of(&with_sound(4).data);
    // The packets of other sound at the times of this one.
    let replaced = |(_, packets): &Track| {
        let (parameters, others) = &other[0];
        let take = |(index, packet)| timed_like(&others[index % others.len()], packet, 0);
        (parameters.clone(), packets.iter().enumerate().map(take).collect())
    };
    let repeated = |(parameters, packets): &Track| {
        (parameters.clone(), packets.iter().map(|packet| timed_like(&packets[0], packet, 0)).collect())
    };
    let shortened =
        |(parameters, packets): &Track| (parameters.clone(), packets[..packets.len() - 1].to_vec());
    vec![
        ("SoundMissing", Vec::new()),
        ("SoundLate", own.iter().map(late).collect()),
        ("SoundOfAnother", own.iter().map(replaced).collect()),
        ("SoundRepeated", own.iter().map(repeated).collect()),
        ("SoundShort", own.iter().map(shortened).collect()),
        ("SoundTwice", [own, own].concat()),
    ]
}
