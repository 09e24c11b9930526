//! A clip with everything that is needed to attack renditions of it.

use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Report, SourceReference, verify};

use crate::picture::Pic;
use crate::studio::{Clip, Recipe, Timed, rendition, scaled};
use crate::tamper::Attack;

/// A clip at one rung, with other material of the same size and length.
pub(crate) struct Suite<'a> {
    clip: &'a Clip,
    entry: LadderEntry,
    honest: Timed,
    other: Vec<Pic>,
    later: Vec<Pic>,
}

impl<'a> Suite<'a> {
    /// `other` lends its pictures for wrong content, `later` for a replayed segment.
    pub(crate) fn new(clip: &'a Clip, entry: LadderEntry, other: &Clip, later: &Clip) -> Self {
        let recipe = Recipe::default();
        let pictures = |clip: &Clip| -> Timed {
            let frames = scaled(clip, &entry, recipe.filter);
            frames.iter().map(|frame| (frame.pts().expect("time"), Pic::from_frame(frame))).collect()
        };
        let honest = pictures(clip);
        let fit = |timed: Timed| -> Vec<Pic> {
            (0..honest.len()).map(|index| timed[index % timed.len()].1.clone()).collect()
        };
        let (other, later) = (fit(pictures(other)), fit(pictures(later)));
        Self { clip, entry, honest, other, later }
    }

    /// Whether a viewer could see what the attack does.
    pub(crate) fn visible(&self, attack: Attack) -> bool {
        let changes = frame_changes(&self.honest, &self.tampered(attack));
        let mean = changes.iter().sum::<u64>() / changes.len() as u64;
        mean >= VISIBLE || changes.iter().any(|&change| change >= VISIBLE_FRAME)
    }

    /// The rendition that the attack makes.
    pub(crate) fn rendition(&self, attack: Attack) -> Bytes {
        let frames: Vec<_> = self.tampered(attack).iter().map(|(pts, pic)| pic.to_frame(*pts)).collect();
        rendition(self.clip, &frames, &self.entry, &Recipe::default())
    }

    fn tampered(&self, attack: Attack) -> Timed {
        attack.apply(&self.honest, &self.other, &self.later)
    }
}

/// The clip as a source to judge against.
pub(crate) fn source(clip: &Clip) -> SourceReference {
    SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound")
}

/// The verdict on a rendition.
pub(crate) fn judged(
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
    policy: &Policy,
) -> Report {
    verify(source, rendition, entry, policy, &[0; 32]).expect("a verdict")
}

/// Change of block means over the clip, in hundredths of a level, from which an attack counts: less is what coding
/// noise does, and a frame shown at another time where nothing moves, or a flat picture turned around, harms nobody.
const VISIBLE: u64 = 100;

/// The same for a single frame, which is seen for an instant.
const VISIBLE_FRAME: u64 = 600;

/// For every frame the mean change of any plane's blocks of 16 x 16; grain averages out in them.
fn frame_changes(honest: &Timed, tampered: &Timed) -> Vec<u64> {
    let frames = honest.iter().zip(tampered);
    frames.map(|((_, a), (_, b))| (0..3).map(|plane| plane_change(a, b, plane)).max().unwrap_or(0)).collect()
}

fn plane_change(a: &Pic, b: &Pic, plane: usize) -> u64 {
    let width = a.plane_width(plane);
    let across = width.div_ceil(16);
    let mut blocks = vec![0i64; across * a.height.div_ceil(16)];
    for (i, (&a, &b)) in a.planes[plane].iter().zip(&b.planes[plane]).enumerate() {
        blocks[i / width / 16 * across + i % width / 16] += i64::from(a) - i64::from(b);
    }
    let sum: u64 = blocks.iter().map(|change| change.unsigned_abs()).sum();
    100 * sum / a.planes[plane].len() as u64
}
