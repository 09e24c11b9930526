//! Compares a rendition's frames with the source's, frame by frame, in bounded memory.

use std::collections::VecDeque;

use crate::cells::{Outliers, densest_cluster, deviations, smoothed, smoothing_radius};
use crate::features::{FrameFeatures, Lattice, NEUTRAL, contrast, spread};
use crate::fit::{Colours, luma_gain};
use crate::kernel::Kernel;
use crate::likeness::Likeness;
use crate::plane::{Grid, LEVEL};
use crate::quality::QualitySums;
use crate::register::Registration;
use crate::report::{Check, Tier};
use crate::rules::{
    self, BURIED, BURIED_EASE, CHROMA_FLOOR, COARSE_RADIUS, DISPLACED_PIXEL, FLICKER_LOSS, FROZEN_PER_RADIUS,
    LONG_STEP, MAX_FOREIGN, MIN_AVERAGED_FRAMES, PictureRules, REGISTER_EVERY, STEADY,
};
use crate::tempo::Tempo;

/// A source frame and what is derived from it once for all renditions.
#[derive(Clone, Debug)]
pub(crate) struct SourceFrame {
    pub(crate) features: FrameFeatures,
    contrast: Contrast,
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
        Self { contrast: Contrast::of(&features, lattice), motion, features }
    }
}

/// How much the source varies around every cell. Errors of colour follow the edges of brightness as well.
#[derive(Clone, Debug)]
struct Contrast {
    luma: Vec<u16>,
    u: Vec<u16>,
    v: Vec<u16>,
}

impl Contrast {
    fn of(features: &FrameFeatures, lattice: Lattice) -> Self {
        let luma = contrast(&features.fine, lattice);
        let colour = |plane: &[u16]| -> Vec<u16> {
            let own = spread(plane, lattice.coarse);
            own.iter().zip(&luma).map(|(&own, &luma)| own.max(luma)).collect()
        };
        Self { u: colour(&features.u), v: colour(&features.v), luma }
    }
}

/// Differences of one plane, summed over the frames.
struct PlaneSums {
    difference: Vec<i32>,
    source: Vec<u32>,
    contrast: Vec<u32>,
}

impl PlaneSums {
    fn new(cells: usize) -> Self {
        Self { difference: vec![0; cells], source: vec![0; cells], contrast: vec![0; cells] }
    }

    fn add(&mut self, source: &[u16], shown: &[u16], contrast: &[u16]) {
        let sums = self.difference.iter_mut().zip(&mut self.source);
        for ((difference, total), (&s, &r)) in sums.zip(source.iter().zip(shown)) {
            *difference += i32::from(r) - i32::from(s);
            *total += u32::from(s);
        }
        for (total, &contrast) in self.contrast.iter_mut().zip(contrast) {
            *total += u32::from(contrast);
        }
    }

    /// Mean levels of source and rendition.
    fn means(&self, frames: u32) -> (Vec<u16>, Vec<u16>) {
        let frames = i64::from(frames.max(1));
        let sums = self.source.iter().zip(&self.difference);
        // Means of levels are levels.
        let mean = |sum: i64| ((sum + frames / 2) / frames) as u16;
        sums.map(|(&s, &d)| (mean(i64::from(s)), mean(i64::from(s) + i64::from(d)))).unzip()
    }

    /// Magnitude of the middle cell's mean difference, in thousandths of a level.
    fn offset(&self, frames: u32) -> i64 {
        let mut sums = self.difference.clone();
        let middle = sums.len() / 2;
        let (_, &mut median, _) = sums.select_nth_unstable(middle);
        milli_levels(i64::from(median), frames).abs()
    }

    /// Standard deviation of the cells' mean differences, in thousandths of a level.
    fn unevenness(&self, frames: u32) -> i64 {
        let n = self.difference.len() as i64;
        let mean = self.difference.iter().map(|&d| i64::from(d)).sum::<i64>() / n;
        let squares: i128 = self.difference.iter().map(|&d| i128::from(i64::from(d) - mean).pow(2)).sum();
        // Sums of differences of levels stay below 2^31.
        milli_levels((squares / i128::from(n)).unsigned_abs().isqrt() as i64, frames)
    }
}

/// What stands out of the averages over the frames.
struct MeanOutliers {
    count: i64,
    peak: i64,
    cluster: i64,
}

/// The running comparison of one rendition.
pub(crate) struct Comparison<'a> {
    source: &'a [SourceFrame],
    near: Registration,
    far: Registration,
    first_displacement: i64,
    colour_displacement: i64,
    tempo: Tempo,
    kernel: Kernel,
    luma: PlaneSums,
    u: PlaneSums,
    v: PlaneSums,
    frames: u32,
    unmatched: u32,
    worst_frame: Outliers,
    worst_error: i64,
    worst_foreign: i64,
    likeness: Likeness,
    fine: Grid,
    grid: Grid,
    radius: usize,
    coarse_radius: usize,
    /// How far bounds on coding noise are widened, in 256ths.
    ease: i64,
    /// [`DISPLACED_PIXEL`] in thousandths of a cell of the fine lattice.
    pixel_displacement: i64,
    /// A pixel of the rendition's chroma in thousandths of a cell of the coarse lattice.
    chroma_pixel: i64,
    /// The latest frames' luma with their places in the source, for comparing changes.
    recent: VecDeque<(usize, Vec<u16>)>,
}

impl<'a> Comparison<'a> {
    /// That of the features it is given.
    pub(crate) fn lattice(&self) -> Lattice {
        Lattice { fine: self.fine, coarse: self.grid }
    }

    /// `size` is that of the rendition's frames, `millibits` what the ladder gives each of their pixels.
    pub(crate) fn new(
        source: &'a [SourceFrame],
        lattice: Lattice,
        size: (u32, u32),
        millibits: u64,
        kernel: Kernel,
    ) -> Self {
        let cells = lattice.coarse.cells();
        let radius = smoothing_radius(lattice.coarse, size);
        let coarse_radius = COARSE_RADIUS * (radius + 1);
        Self {
            source,
            grid: lattice.coarse,
            radius,
            coarse_radius,
            ease: rules::ease(millibits),
            pixel_displacement: DISPLACED_PIXEL * (radius as i64 + 1) * lattice.fine.cols as i64
                / i64::from(size.0.max(1)),
            near: Registration::new(lattice.fine, 0),
            far: Registration::new(lattice.fine, coarse_radius),
            first_displacement: 0,
            colour_displacement: 0,
            chroma_pixel: 1_000 * 2 * lattice.coarse.cols as i64 / i64::from(size.0.max(2)),
            fine: lattice.fine,
            tempo: Tempo::new(kernel),
            kernel,
            luma: PlaneSums::new(cells),
            u: PlaneSums::new(cells),
            v: PlaneSums::new(cells),
            frames: 0,
            unmatched: 0,
            worst_frame: Outliers::default(),
            worst_error: 0,
            worst_foreign: 0,
            likeness: Likeness::default(),
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
        let planes = self.frame_planes(own, &shown);
        let likeness = self.likeness_of(at, own, &planes[0].0);
        self.worst_error = self.worst_error.max(likeness.error_permille());
        self.worst_foreign = self.worst_foreign.max(likeness.foreign_permille());
        self.likeness.add(likeness);
        let outside = planes.map(|(differences, bounds)| Outliers::of(&differences, &bounds));
        self.worst_frame = outside.into_iter().fold(self.worst_frame, Outliers::worse);
        self.luma.add(&own.features.luma, &shown.luma, &own.contrast.luma);
        self.u.add(&own.features.u, &shown.u, &own.contrast.u);
        self.v.add(&own.features.v, &shown.v, &own.contrast.v);
        if self.frames.is_multiple_of(REGISTER_EVERY) {
            self.register(&own.features.fine, &shown.fine);
        }
        if self.frames == 0 {
            let [u, v] = [(&own.features.u, &shown.u), (&own.features.v, &shown.v)]
                .map(|(source, shown)| self.displaced(source, shown));
            self.colour_displacement = u.max(v);
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

    /// Differences of a frame's cells and their bounds, plane by plane.
    fn frame_planes(&self, own: &SourceFrame, shown: &FrameFeatures) -> [(Vec<i32>, Vec<i32>); 3] {
        let rules = rules::WHOLE;
        let planes = [
            (&own.features.luma, &shown.luma, &own.contrast.luma, rules.frame_luma),
            (&own.features.u, &shown.u, &own.contrast.u, rules.frame_chroma),
            (&own.features.v, &shown.v, &own.contrast.v, rules.frame_chroma),
        ];
        planes.map(|(source, shown, contrast, tolerance)| {
            let cells = contrast.iter().zip(&own.motion);
            let bounds = cells
                .map(|(&contrast, &motion)| {
                    tolerance.bound(i32::from(contrast) * self.sharpness(), i32::from(motion))
                })
                .collect();
            let smooth = |cells| smoothed(cells, self.grid, self.radius);
            (smooth(difference(source, shown)), smooth(bounds))
        })
    }

    /// How much of the source's frame `at` is left, given the differences of its luma cells.
    fn likeness_of(&self, at: usize, own: &SourceFrame, luma: &[i32]) -> Likeness {
        // The first frame changes as the one after it does.
        let motion = if at == 0 { self.source.get(1).unwrap_or(own) } else { own };
        Likeness::of(&own.features.luma, luma, &motion.motion)
    }

    /// How far a frame that is about to be added deviates; none where the source has no frame of its time.
    pub(crate) fn frame_deviation(&self, shown: &FrameFeatures) -> Option<FrameDeviation> {
        let at = self.source_at(shown.pts)?;
        let own = &self.source[at];
        let planes = self.frame_planes(own, shown);
        let error = self.likeness_of(at, own, &planes[0].0);
        let outside =
            planes.iter().map(|(differences, bounds)| Outliers::of(differences, bounds).count).max();
        Some(FrameDeviation {
            source_pts: own.features.pts,
            cells: worst_of(&planes),
            outside: outside.unwrap_or(0),
            error_permille: error.error_permille(),
        })
    }

    /// How far the mean of all frames deviates, in thousandths of what each cell is allowed.
    pub(crate) fn mean_deviation(&self, tier: Tier, full: &QualitySums) -> Vec<u32> {
        worst_of(&self.mean_planes(&self.rules(tier, full)))
    }

    /// Looks for displacement twice: small ones show in fine detail, large ones only in coarse.
    fn register(&mut self, source: &[u16], shown: &[u16]) {
        self.near.add(source, shown);
        let coarse = |cells: &[u16]| -> Vec<u16> {
            let cells = cells.iter().map(|&level| i32::from(level)).collect();
            // Means of levels are levels.
            smoothed(cells, self.fine, self.coarse_radius).iter().map(|&level| level as u16).collect()
        };
        let (source, shown) = (coarse(source), coarse(shown));
        self.far.add(&source, &shown);
        if self.frames == 0 {
            self.first_displacement = self.displacement();
        }
    }

    /// Compares the change since the frame before and since the one a long step back.
    fn step(&mut self, at: usize, own: &[u16], shown: &[u16]) {
        if self.flickers(at) {
            return;
        }
        let long = if at.is_multiple_of(LONG_STEP) { self.recent.front() } else { None };
        for (before, luma) in self.recent.back().into_iter().chain(long) {
            self.tempo.step((&self.source[*before].features.luma, own), (luma, shown));
        }
    }

    /// Displacement of one frame's plane on the coarse lattice, in thousandths of a cell: of colours that luma does not show.
    fn displaced(&self, source: &[u16], shown: &[u16]) -> i64 {
        let mut registration = Registration::new(self.grid, 0);
        registration.add(source, shown);
        registration.largest_milli_cells()
    }

    /// Of the frames so far, in thousandths of a cell of the fine lattice.
    fn displacement(&self) -> i64 {
        self.near.largest_milli_cells().max(self.far.largest_milli_cells())
    }

    /// Whether the source changes as much from one frame to the next as over a long step: what moves drifts away.
    fn flickers(&self, at: usize) -> bool {
        let source = |index: usize| self.source.get(index).map(|frame| frame.features.luma.as_slice());
        let own = source(at).unwrap_or_default();
        let far = at.checked_sub(LONG_STEP).or(Some(at + LONG_STEP)).and_then(source);
        let near = at.checked_sub(1).or(Some(at + 1)).and_then(source);
        let Some((near, far)) = near.zip(far) else { return false };
        2 * self.kernel.sum_abs_diff(own, near) > self.kernel.sum_abs_diff(own, far)
    }

    /// The checks of the decoded picture; `full` is what was seen at full size.
    pub(crate) fn checks(&self, tier: Tier, full: &QualitySums) -> Vec<Check> {
        let rules = self.rules(tier, full);
        let (mean, pixels) = (self.mean_outliers(&rules), full.pixels());
        let [(y, shown_y), (u, shown_u), (v, shown_v)] =
            [&self.luma, &self.u, &self.v].map(|sums| sums.means(self.frames));
        let gain = luma_gain(&y, &shown_y);
        let colours = Colours::fit((&u, &v), (&shown_u, &shown_v));
        let mut checks = vec![
            Check::is("unmatched_frames", i64::from(self.unmatched), 0),
            Check::min("compared_frames", i64::from(self.frames), 1),
            Check::max("frame_cells", self.worst_frame.count, rules.frame_cells),
            Check::max("frame_peak", self.worst_frame.peak, rules.frame_peak),
            Check::max("frame_error_permille", self.worst_error, rules.frame_error_permille),
            Check::max("frame_foreign_permille", self.worst_foreign, rules.frame_foreign_permille),
            Check::max("error_permille", self.likeness.error_permille(), rules.error_permille),
            Check::max("foreign_permille", self.likeness.foreign_permille(), rules.foreign_permille),
            Check::max("mean_cells", mean.count, rules.mean_cells),
            Check::max("mean_peak", mean.peak, rules.mean_peak),
            Check::max("mean_cluster", mean.cluster, rules.mean_cluster),
            Check::max("luma_offset", self.luma.offset(self.frames), rules.luma_offset),
            Check::max("contrast_gained", gain.max(0), rules.contrast_gained),
            Check::max("contrast_lost", (-gain).max(0), rules.contrast_lost),
            Check::max(
                "colour_offset",
                self.u.offset(self.frames).max(self.v.offset(self.frames)),
                rules.colour_offset,
            ),
            Check::max("colour_turned", colours.turned.abs(), rules.colour_turned),
            Check::max("colour_gained", colours.gained.max(0), rules.colour_gained),
            Check::max("colour_lost", (-colours.gained).max(0), rules.colour_lost),
            Check::max("chroma_permille", self.chroma_permille(), rules.chroma_permille),
            Check::max("roughened_permille", full.roughened().permille(), rules.roughened_permille),
            Check::max("first_mark", pixels.mark_percent, rules.first_mark),
            Check::max("first_unlike_permille", pixels.unlike_permille, rules.unlike_permille),
            Check::max("first_nearer_percent", pixels.nearer_percent, rules.nearer_percent),
            Check::max("first_displacement", self.first_displacement, rules.first_displacement),
            Check::max("first_colour_displacement", self.colour_displacement, rules.colour_displacement),
            Check::max("displacement", self.displacement(), rules.displacement),
        ];
        if tier == Tier::Whole {
            checks.extend([
                Check::max(
                    "misaligned_permille",
                    self.tempo.misaligned_permille(),
                    rules.misaligned_permille,
                ),
                Check::max("frozen_permille", self.tempo.frozen_permille(), rules.frozen_permille),
            ]);
        }
        checks
    }

    fn rules(&self, tier: Tier, full: &QualitySums) -> PictureRules {
        let rules = match (tier, self.frames) {
            (Tier::Whole, MIN_AVERAGED_FRAMES..) => rules::WHOLE,
            (Tier::Whole, 2..) => rules::FEW_FRAMES,
            _ => rules::FIRST_FRAME,
        };
        self.adapted(rules, full)
    }

    /// The bounds for this source and this rung: what the ladder leaves an honest encoder.
    fn adapted(&self, rules: PictureRules, full: &QualitySums) -> PictureRules {
        let radius = self.radius as i64;
        // Of a picture that is buried in noise nothing is left on the lattice but what coding makes of it.
        let buried = self.likeness.source_energy() * BURIED < full.roughened().source_energy();
        let ease = if buried { self.ease * BURIED_EASE } else { self.ease };
        let eased = |bound: i64| bound * ease / 256;
        // Small pictures carry their levels and colours less exactly.
        let coarse = |bound: i64| bound * (radius + 2) / 2;
        // Noise is what encoders take away first.
        let lost = |bound: i64| coarse(bound) * if buried { BURIED_EASE } else { 1 };
        let flicker = self.likeness.flicker_permille();
        // A mean that is wrong by much everywhere tells of an encoder that broke down.
        let unsteady = (self.luma.unevenness(self.frames) - STEADY).max(0) * 2;
        let unsteady = if self.frames >= MIN_AVERAGED_FRAMES { unsteady } else { 0 };
        // A picture of a few dozen rows loses what its source consists of.
        let shrunk = |bound: i64| bound * (16 + radius * radius) / 16;
        PictureRules {
            frame_cells: eased(rules.frame_cells),
            frame_peak: eased(shrunk(rules.frame_peak)),
            frame_error_permille: eased(shrunk(rules.frame_error_permille)),
            frame_foreign_permille: eased(shrunk(rules.frame_foreign_permille)),
            error_permille: eased(shrunk(rules.error_permille)),
            // What flickers leaves more behind than what moves on.
            foreign_permille: eased(shrunk(
                (rules.foreign_permille + flicker).min(MAX_FOREIGN.max(rules.foreign_permille)),
            )),
            // Averages over more cells spread what they find.
            mean_cells: eased(rules.mean_cells * (2 * radius + 1)),
            mean_peak: eased(shrunk(rules.mean_peak)),
            mean_cluster: eased(rules.mean_cluster),
            luma_offset: rules.luma_offset + unsteady,
            // What flickers is lost where bits are short.
            contrast_lost: lost(rules.contrast_lost) + FLICKER_LOSS * flicker,
            colour_lost: lost(rules.colour_lost),
            contrast_gained: coarse(rules.contrast_gained),
            colour_offset: coarse(rules.colour_offset),
            colour_turned: coarse(rules.colour_turned),
            colour_gained: coarse(rules.colour_gained),
            chroma_permille: eased(lost(rules.chroma_permille)),
            roughened_permille: eased(rules.roughened_permille * (radius + 1)),
            // The noise of the picture is in these figures.
            first_mark: rules.first_mark * self.ease / 256,
            nearer_percent: rules.nearer_percent * (radius + 1) * self.ease / 256,
            first_displacement: rules.first_displacement.max(self.pixel_displacement),
            // Scalers place chroma by conventions that differ by half a pixel.
            colour_displacement: rules.colour_displacement.max(self.chroma_pixel),
            displacement: rules.displacement.max(self.pixel_displacement),
            misaligned_permille: if buried { 1_000 } else { rules.misaligned_permille },
            frozen_permille: if buried {
                1_000
            } else {
                rules.frozen_permille + FROZEN_PER_RADIUS * radius + FLICKER_LOSS * flicker
            },
            ..rules
        }
    }

    /// How much more an edge weighs in cells that hold few of the rendition's pixels.
    fn sharpness(&self) -> i32 {
        // At most MAX_RADIUS + 1.
        self.radius as i32 + 1
    }

    /// Cells whose mean over the frames is outside the tolerance, in the worst plane.
    fn mean_outliers(&self, rules: &PictureRules) -> MeanOutliers {
        // Averages over neighbours differ alike: they tell nothing of density.
        let cluster = |mean: &[i32], bounds: &[i32]| match self.radius {
            0 => densest_cluster(mean, bounds, self.grid, rules.cluster_floor),
            _ => 0,
        };
        let planes = self.mean_planes(rules);
        let planes = planes.map(|(mean, bounds)| (Outliers::of(&mean, &bounds), cluster(&mean, &bounds)));
        let worst = planes.iter().fold(Outliers::default(), |worst, (plane, _)| worst.worse(*plane));
        let cluster = planes.iter().map(|&(_, cluster)| cluster).max().unwrap_or(0);
        MeanOutliers { count: worst.count, peak: worst.peak, cluster }
    }

    /// Mean differences of the cells over the frames and their bounds, plane by plane.
    fn mean_planes(&self, rules: &PictureRules) -> [(Vec<i32>, Vec<i32>); 3] {
        // The number of frames is bounded far below 2^31 by the reference's own limit.
        let frames = self.frames.max(1) as i32;
        let planes =
            [(&self.luma, rules.mean_luma), (&self.u, rules.mean_chroma), (&self.v, rules.mean_chroma)];
        planes.map(|(sums, tolerance)| {
            let mean = sums.difference.iter().map(|&sum| sum / frames).collect();
            let contrast =
                sums.contrast.iter().map(|&sum| (sum / self.frames.max(1)) as i32 * self.sharpness());
            let bounds = contrast.map(|contrast| tolerance.bound(contrast, 0)).collect();
            (smoothed(mean, self.grid, self.radius), smoothed(bounds, self.grid, self.radius))
        })
    }

    /// Energy of the mean chroma error, in thousandths of the energy of the source's colour.
    fn chroma_permille(&self) -> i64 {
        let frames = i128::from(self.frames.max(1));
        let (mut error, mut colour) = (0i128, 0i128);
        for plane in [&self.u, &self.v] {
            let differences = smoothed(plane.difference.clone(), self.grid, self.radius);
            for (&difference, &source) in differences.iter().zip(&plane.source) {
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

/// A sum over frames in sixteenths of a level as a mean in thousandths of one.
fn milli_levels(sum: i64, frames: u32) -> i64 {
    sum * 1000 / (i64::from(LEVEL) * i64::from(frames.max(1)))
}

/// How far one frame deviates from the source's.
#[derive(Clone, Debug)]
pub(crate) struct FrameDeviation {
    /// Time of the source's frame.
    pub(crate) source_pts: i64,
    /// In thousandths of what each cell is allowed, of the plane that deviates most.
    pub(crate) cells: Vec<u32>,
    /// Cells outside, in the plane with the most of them.
    pub(crate) outside: i64,
    /// Energy of the luma difference, in thousandths of the source's variation.
    pub(crate) error_permille: i64,
}

/// Cell by cell the largest deviation of any plane.
fn worst_of(planes: &[(Vec<i32>, Vec<i32>); 3]) -> Vec<u32> {
    let [luma, u, v] = planes.each_ref().map(|(differences, bounds)| deviations(differences, bounds));
    luma.into_iter().zip(u.into_iter().zip(v)).map(|(luma, (u, v))| luma.max(u).max(v)).collect()
}

/// Difference of two planes of features.
fn difference(source: &[u16], shown: &[u16]) -> Vec<i32> {
    source.iter().zip(shown).map(|(&s, &r)| i32::from(r) - i32::from(s)).collect()
}
