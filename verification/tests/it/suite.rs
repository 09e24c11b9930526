//! A clip with everything that is needed to attack renditions of it.

use std::cell::OnceCell;

use bytes::Bytes;
use framemill_media::{ColorInfo, Frame, MediaLimits};
use framemill_network::ladder::LadderEntry;
use framemill_verification::{Policy, Report, SourceReference, verify};

use crate::picture::Pic;
use crate::studio::{Clip, Recipe, Timed, rendition_tagged, scaled};
use crate::tamper::Attack;

/// A clip at one rung, with other material of the same size and length.
pub(crate) struct Suite<'a> {
    clip: &'a Clip,
    entry: LadderEntry,
    honest: Timed,
    /// How the clip's pictures are tagged: a cheat is not so careless as to lose that.
    color: ColorInfo,
    other: Vec<Pic>,
    later: Vec<Pic>,
    /// Of each frame of an honest rendition, how far it is from what was encoded.
    coding: OnceCell<Vec<u64>>,
}

impl<'a> Suite<'a> {
    /// `other` lends its pictures for wrong content, `later` for a replayed segment.
    pub(crate) fn new(clip: &'a Clip, entry: LadderEntry, other: &Clip, later: &Clip) -> Self {
        let recipe = Recipe::default();
        let pictures = |frames: &[Frame]| -> Timed {
            frames.iter().map(|frame| (frame.pts().expect("time"), Pic::from_frame(frame))).collect()
        };
        let frames = scaled(clip, &entry, recipe.filter);
        let color = frames[0].color();
        let honest = pictures(&frames);
        let pictures = |clip: &Clip| pictures(&scaled(clip, &entry, recipe.filter));
        let fit = |timed: Timed| -> Vec<Pic> {
            (0..honest.len()).map(|index| timed[index % timed.len()].1.clone()).collect()
        };
        let (other, later) = (fit(pictures(other)), fit(pictures(later)));
        Self { clip, entry, honest, color, other, later, coding: OnceCell::new() }
    }

    /// What a viewer could see of the attack in the rendition that it made.
    pub(crate) fn visible(&self, attack: Attack, rendition: &Bytes) -> Visible {
        if attack.is_fine() {
            return self.visible_grain(rendition);
        }
        let tampered = self.displayed(&self.tampered(attack));
        let honest = self.displayed(&self.honest);
        if attack.is_local() {
            let seen = blocks_changed(&honest, &tampered) > 0;
            return Visible { at_all: seen, first: seen };
        }
        let changes = frame_changes(&honest, &tampered);
        let mean = changes.iter().sum::<u64>() / changes.len() as u64;
        if attack.is_reordering() {
            return Visible { at_all: mean >= VISIBLE_MOTION, first: changes[0] >= VISIBLE_MOTION };
        }
        Visible {
            at_all: mean >= VISIBLE || changes.iter().any(|&change| change >= VISIBLE_FRAME),
            first: changes[0] >= VISIBLE,
        }
    }

    /// The rendition that the attack makes.
    pub(crate) fn rendition(&self, attack: Attack) -> Bytes {
        let frames: Vec<_> = self.tampered(attack).iter().map(|(pts, pic)| pic.to_frame(*pts)).collect();
        rendition_tagged(self.clip, &frames, self.color, &self.entry, &Recipe::default())
    }

    /// Noise counts by what of it was delivered: encoders leave little where there was as much before, and then nobody can
    /// tell.
    fn visible_grain(&self, rendition: &Bytes) -> Visible {
        let honest = self.coding.get_or_init(|| {
            let frames: Vec<_> = self.honest.iter().map(|(pts, pic)| pic.to_frame(*pts)).collect();
            self.errors(&rendition_tagged(self.clip, &frames, self.color, &self.entry, &Recipe::default()))
        });
        let added: Vec<u64> = self
            .errors(rendition)
            .iter()
            .zip(honest)
            .map(|(found, coding)| found.saturating_sub(*coding))
            .collect();
        let mean = added.iter().sum::<u64>() / added.len() as u64;
        Visible { at_all: mean >= VISIBLE_GRAIN, first: added[0] >= VISIBLE_GRAIN }
    }

    /// For every frame the mean square error of its luma against what an honest rendition was made of, in hundredths.
    fn errors(&self, rendition: &Bytes) -> Vec<u64> {
        let delivered = Clip { name: String::new(), data: rendition.clone(), rate: self.clip.rate };
        let frames = scaled(&delivered, &self.entry, Recipe::default().filter);
        assert_eq!(frames.len(), self.honest.len(), "what adds noise drops no frames");
        self.honest
            .iter()
            .zip(&frames)
            .map(|((_, honest), frame)| square_error(honest, &Pic::from_frame(frame)))
            .collect()
    }

    /// Pictures as a screen shows them: of limited range, what lies below black is black and above white is white.
    fn displayed(&self, pictures: &Timed) -> Timed {
        if self.color.is_full_range() {
            return pictures.clone();
        }
        let shown = |pic: &Pic| {
            let mut pic = pic.clone();
            pic.planes[0].iter_mut().for_each(|level| *level = (*level).clamp(16, 235));
            pic
        };
        pictures.iter().map(|(pts, pic)| (*pts, shown(pic))).collect()
    }

    fn tampered(&self, attack: Attack) -> Timed {
        attack.apply(&self.honest, &self.other, &self.later)
    }
}

/// Whether what was done can be seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visible {
    /// In any frame.
    pub(crate) at_all: bool,
    /// In the first one.
    #[allow(dead_code, reason = "only the whole suite judges first frames")]
    pub(crate) first: bool,
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

/// The same where frames of one scene are shown at other times: heavy grain alone reaches half of it.
const VISIBLE_MOTION: u64 = 200;

/// The same for a single frame, which is seen for an instant.
const VISIBLE_FRAME: u64 = 600;

/// Mean square of what noise and other fine patterns add to luma, in hundredths, from which they count: three levels.
const VISIBLE_GRAIN: u64 = 900;

/// The mean square error of luma, in hundredths.
fn square_error(a: &Pic, b: &Pic) -> u64 {
    let (a, b) = (&a.planes[0], &b.planes[0]);
    let sum: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    100 * sum / a.len() as u64
}

/// Change of a block of 16 x 16 of any plane, in levels and on average over the clip, from which a mark on it counts.
const VISIBLE_MARK: u64 = 8;

/// How many blocks of any plane are changed visibly and for long.
fn blocks_changed(honest: &Timed, tampered: &Timed) -> usize {
    let plane = |plane: usize| -> usize {
        let width = honest[0].1.plane_width(plane);
        let across = width.div_ceil(16);
        let mut blocks = vec![0u64; across * honest[0].1.height.div_ceil(16)];
        for ((_, a), (_, b)) in honest.iter().zip(tampered) {
            for (i, (&a, &b)) in a.planes[plane].iter().zip(&b.planes[plane]).enumerate() {
                blocks[i / width / 16 * across + i % width / 16] += u64::from(a.abs_diff(b));
            }
        }
        let bound = VISIBLE_MARK * 256 * honest.len() as u64;
        blocks.into_iter().filter(|&change| change >= bound).count()
    };
    (0..3).map(plane).max().unwrap_or(0)
}

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
