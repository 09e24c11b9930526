//! Judgements of renditions with the right picture and another sound.

use framemill_verification::{Policy, SourceReference};

use crate::contents::Standing;
use crate::studio::{Clip, Recipe, audio_of, encode, entry, mux, scaled};
use crate::suite::judged;
use crate::table::Judgement;

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../tests/it/sound.rs"]
mod spoilt;

/// Judges a rendition of a clip with sound for every way to spoil the sound.
pub(crate) fn judge(clip: &Clip, source: &SourceReference, note: impl Fn(Judgement)) {
    if audio_of(&clip.data).is_empty() {
        return;
    }
    let entry = entry(320, 180, 200_000);
    let recipe = Recipe::default();
    let (parameters, packets) = encode(&scaled(clip, &entry, recipe.filter), &entry, clip.rate, &recipe);
    for (name, sound) in spoilt::spoilt(clip) {
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
