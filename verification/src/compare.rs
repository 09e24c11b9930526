//! Compares a rendition's frames with the source's, frame by frame, in bounded memory.

use std::collections::VecDeque;

use crate::features::{FrameFeatures, Lattice, NEUTRAL, contrast};
use crate::register::Registration;
use crate::report::{Check, Tier};
use crate::rules::{
    self, CHROMA_FLOOR, LONG_STEP, MIN_AVERAGED_FRAMES, PictureRules, REGISTER_EVERY, Tolerance,
};
use crate::tempo::Tempo;

/// A source frame and what is derived from it once for all renditions.
#[derive(Clone, Debug)]
pub(crate) struct SourceFrame {
    pub(crate) features: FrameFeatures,
    contrast: Vec<u16>,
    /// Change of every luma cell since the frame before.
    motion: Vec<u16>,
}

impl SourceFrame {
    pub(crate) fn new(features: FrameFeatures, before: Option<&SourceFrame>, lattice: Lattice) -> Self {
        let motion = match before {
            Some(before) => features
                .luma
                .iter()
                .zip(&before.features.luma)
                .map(|(&now, &then)| now.abs_diff(then))
                .collect(),
            None => vec![0; lattice.coarse.cells()],
        };
        Self { contrast: contrast(&features.fine, lattice), motion, features }
    }
}

/// Differences of one plane, summed over the frames.
struct PlaneSums {
    difference: Vec<i32>,
    source: Vec<u32>,
}

impl PlaneSums {
    fn new(cells: usize) -> Self {
        Self { difference: vec![0; cells], source: vec![0; cells] }
    }

    fn add(&mut self, source: &[u16], shown: &[u16]) {
        let sums = self.difference.iter_mut().zip(&mut self.source);
        for ((difference, total), (&s, &r)) in sums.zip(source.iter().zip(shown)) {
            *difference += i32::from(r) - i32::from(s);
            *total += u32::from(s);
        }
    }

    /// Mean difference of a cell, rounded toward zero.
    fn mean(&self, cell: usize, frames: i32) -> i32 {
        self.difference[cell] / frames
    }
}

/// The running comparison of one rendition.
pub(crate) struct Comparison<'a> {
    source: &'a [SourceFrame],
    registration: Registration,
    tempo: Tempo,
    luma: PlaneSums,
    u: PlaneSums,
    v: PlaneSums,
    contrast: Vec<u32>,
    frames: u32,
    unmatched: u32,
    worst_frame: i64,
    /// The latest frames' luma with their places in the source, for comparing changes.
    recent: VecDeque<(usize, Vec<u16>)>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(source: &'a [SourceFrame], lattice: Lattice) -> Self {
        let cells = lattice.coarse.cells();
        Self {
            source,
            registration: Registration::new(lattice),
            tempo: Tempo::default(),
            luma: PlaneSums::new(cells),
            u: PlaneSums::new(cells),
            v: PlaneSums::new(cells),
            contrast: vec![0; cells],
            frames: 0,
            unmatched: 0,
            worst_frame: 0,
            recent: VecDeque::with_capacity(LONG_STEP),
        }
    }

    /// Index of the source frame shown at `pts`, within the slack that T0 grants.
    pub(crate) fn source_at(&self, pts: i64) -> Option<usize> {
        let slack = rules::structure::TIMESTAMP_SLACK;
        let from = self.source.partition_point(|frame| frame.features.pts < pts - slack);
        let found = self.source.get(from)?;
        (found.features.pts <= pts + slack).then_some(from)
    }

    /// Adds the rendition's next frame.
    pub(crate) fn add(&mut self, shown: FrameFeatures) {
        let Some(at) = self.source_at(shown.pts) else {
            self.unmatched += 1;
            return;
        };
        let own = &self.source[at];
        let rules = rules::WHOLE;
        let outside = outside(&own.features.luma, &shown.luma, own, rules.frame_luma)
            .max(outside(&own.features.u, &shown.u, own, rules.frame_chroma))
            .max(outside(&own.features.v, &shown.v, own, rules.frame_chroma));
        self.worst_frame = self.worst_frame.max(outside);
        self.luma.add(&own.features.luma, &shown.luma);
        self.u.add(&own.features.u, &shown.u);
        self.v.add(&own.features.v, &shown.v);
        for (total, &contrast) in self.contrast.iter_mut().zip(&own.contrast) {
            *total += u32::from(contrast);
        }
        if self.frames.is_multiple_of(REGISTER_EVERY) {
            self.registration.add(&own.features.fine, &shown.fine);
        }
        let source = self.source;
        self.tempo.place(at, source.len(), |i| source[i].features.luma.as_slice(), &shown.luma);
        self.step(at, &own.features.luma, &shown.luma);
        self.frames += 1;
        if self.recent.len() == LONG_STEP {
            self.recent.pop_front();
        }
        self.recent.push_back((at, shown.luma));
    }

    /// Compares the change since the frame before and since the one a long step back.
    fn step(&mut self, at: usize, own: &[u16], shown: &[u16]) {
        let long = if at.is_multiple_of(LONG_STEP) { self.recent.front() } else { None };
        for (before, luma) in self.recent.back().into_iter().chain(long) {
            self.tempo.step((&self.source[*before].features.luma, own), (luma, shown));
        }
    }

    /// The checks of the decoded picture.
    pub(crate) fn checks(&self, tier: Tier) -> Vec<Check> {
        let rules = if tier == Tier::Whole && self.frames >= MIN_AVERAGED_FRAMES {
            rules::WHOLE
        } else {
            rules::FIRST_FRAME
        };
        let mut checks = vec![
            Check::is("unmatched_frames", i64::from(self.unmatched), 0),
            Check::min("compared_frames", i64::from(self.frames), 1),
            Check::max("frame_cells", self.worst_frame, rules.frame_cells),
            Check::max("mean_cells", self.mean_cells(&rules), rules.mean_cells),
            Check::max("luma_offset", self.luma_offset(), rules.luma_offset),
            Check::max("chroma_permille", self.chroma_permille(), rules.chroma_permille),
            Check::max("displacement", self.registration.largest_milli_cells(), rules.displacement),
        ];
        if tier == Tier::Whole {
            checks.push(Check::max(
                "misaligned_permille",
                self.tempo.misaligned_permille(),
                rules.misaligned_permille,
            ));
            checks.push(Check::max("frozen_permille", self.tempo.frozen_permille(), rules.frozen_permille));
        }
        checks
    }

    /// Cells whose mean over the frames is outside the tolerance in any plane.
    fn mean_cells(&self, rules: &PictureRules) -> i64 {
        // The number of frames is bounded far below 2^31 by the reference's own limit.
        let frames = self.frames.max(1) as i32;
        let outside = (0..self.contrast.len()).filter(|&cell| {
            let contrast = self.contrast[cell] as i32 / frames;
            let beyond = |sums: &PlaneSums, tolerance: Tolerance| {
                let bound = i32::from(tolerance.base) + contrast * i32::from(tolerance.per_contrast) / 256;
                sums.mean(cell, frames).abs() > bound
            };
            beyond(&self.luma, rules.mean_luma)
                || beyond(&self.u, rules.mean_chroma)
                || beyond(&self.v, rules.mean_chroma)
        });
        outside.count() as i64
    }

    /// Magnitude of the mean luma difference, in thousandths of a level.
    fn luma_offset(&self) -> i64 {
        let sum: i64 = self.luma.difference.iter().map(|&d| i64::from(d)).sum();
        let samples = i64::from(self.frames.max(1)) * self.luma.difference.len() as i64;
        // Sixteenths to thousandths; the sum stays below 2^45.
        (sum * 1000 / (16 * samples)).abs()
    }

    /// Energy of the mean chroma error, in thousandths of the energy of the source's colour.
    fn chroma_permille(&self) -> i64 {
        let frames = i128::from(self.frames.max(1));
        let (mut error, mut colour) = (0i128, 0i128);
        for plane in [&self.u, &self.v] {
            for (&difference, &source) in plane.difference.iter().zip(&plane.source) {
                let saturation = i128::from(source) - frames * i128::from(NEUTRAL);
                error += i128::from(difference) * i128::from(difference);
                colour += saturation * saturation;
            }
        }
        let floor = CHROMA_FLOOR * frames * frames * 2 * self.u.difference.len() as i128;
        // An error beyond a thousand times the colour is a thousand times too much in any case.
        i64::try_from(error * 1000 / (colour + floor)).unwrap_or(i64::MAX)
    }
}

/// Cells of a plane outside the tolerance.
fn outside(source: &[u16], shown: &[u16], frame: &SourceFrame, tolerance: Tolerance) -> i64 {
    let weights = frame.contrast.iter().zip(&frame.motion);
    let cells = source.iter().zip(shown).zip(weights);
    let count: u32 = cells
        .map(|((&s, &r), (&contrast, &motion))| {
            let extra = u32::from(contrast) * u32::from(tolerance.per_contrast)
                + u32::from(motion) * u32::from(tolerance.per_motion);
            u32::from(u32::from(s.abs_diff(r)) > u32::from(tolerance.base) + extra / 256)
        })
        .sum();
    i64::from(count)
}
