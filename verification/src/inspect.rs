//! A judgement for people: which frame to look at, and how far each cell of it deviates.

use bytes::Bytes;
use framemill_media::Frame;
use framemill_network::ladder::LadderEntry;

use crate::compare::{Comparison, FrameDeviation};
use crate::error::VerifyError;
use crate::features::{FrameFeatures, NEUTRAL, Range, limited_chroma, limited_luma};
use crate::frames::{plane, range};
use crate::judge::{Onlooker, judge};
use crate::plane::{Grid, area_means};
use crate::quality::QualitySums;
use crate::report::{Report, Tier};
use crate::source::SourceReference;

/// A judgement of every frame with what a person should look at.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The report, the same as that of [`verify`](crate::verify) at full depth.
    pub report: Report,
    /// The source's picture at the time of the frame, or its first one where no frame was compared.
    pub source: Still,
    /// The frame to look at; none where the structure or the coding kept all of them from being compared.
    pub frame: Option<InspectedFrame>,
}

/// One frame of a rendition beside its source.
#[derive(Clone, Debug)]
pub struct InspectedFrame {
    /// Its number in the order in which frames are shown, from zero.
    pub index: u32,
    /// Its time after the first frame, in 90 kHz ticks.
    pub time: i64,
    /// Its picture.
    pub picture: Still,
    /// How far it deviates.
    pub deviation: DeviationMap,
    /// How far the mean of all frames deviates.
    pub mean: DeviationMap,
}

/// How far the cells of a lattice deviate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviationMap {
    /// The lattice.
    pub grid: Grid,
    /// Row by row in thousandths of what each cell is allowed, of the plane that deviates most. What is above a thousand is
    /// counted by the checks `frame_cells` and `mean_cells`.
    pub permille: Vec<u32>,
}

impl DeviationMap {
    /// Deviation that is still allowed.
    pub const ALLOWED: u32 = 1_000;

    /// Cells that deviate by more than they may, in any plane.
    #[must_use]
    pub fn outside(&self) -> usize {
        self.permille.iter().filter(|&&permille| permille > Self::ALLOWED).count()
    }
}

/// A decoded picture whose levels can be read at any size.
#[derive(Clone, Debug)]
pub struct Still(Frame);

impl Still {
    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.0.height()
    }

    /// Luma, blue and red difference as exact area means of so many columns and rows, in sixteenths of a level of limited
    /// range, whatever range, depth and chroma format the picture itself has.
    ///
    /// # Errors
    /// [`VerifyError::BadPlane`] for a picture larger than any that is judged.
    pub fn levels(&self, grid: Grid) -> Result<[Vec<u16>; 3], VerifyError> {
        let full = range(&self.0) == Range::Full;
        let read = |index, limited: fn(u16) -> u16| -> Result<Vec<u16>, VerifyError> {
            let mut levels = match plane(&self.0, index)? {
                Some(plane) => area_means(&plane, grid),
                None => vec![NEUTRAL; grid.cells()],
            };
            if full {
                levels.iter_mut().for_each(|level| *level = limited(*level));
            }
            Ok(levels)
        };
        Ok([read(0, limited_luma)?, read(1, limited_chroma)?, read(2, limited_chroma)?])
    }
}

/// Judges every frame of a rendition and finds the one to look at: number `wanted`, or else the one with the most cells
/// outside their bounds and of those the one with the largest error. Where none stands out it is the first one.
///
/// Slower than [`verify`](crate::verify), whose report it makes as well.
///
/// # Errors
/// As [`verify`](crate::verify), and [`VerifyError::NoSuchFrame`] where frames were compared and the wanted one is not among
/// them.
pub fn inspect(
    source: &SourceReference,
    rendition: &Bytes,
    entry: &LadderEntry,
    wanted: Option<u32>,
) -> Result<Inspection, VerifyError> {
    let mut watch = Watch { wanted, ..Watch::default() };
    let report = judge(source, rendition, entry, Tier::Whole, Some(&mut watch))?;
    let seen = watch.choose(report.passed())?;
    let picture = source.picture(seen.as_ref().map(|seen| seen.deviation.source_pts))?;
    let grid = source.lattice().coarse;
    let frame = seen.map(|seen| InspectedFrame {
        index: seen.index,
        time: seen.pts - source.origin(),
        picture: Still(seen.frame),
        deviation: DeviationMap { grid, permille: seen.deviation.cells },
        mean: DeviationMap { grid, permille: watch.mean },
    });
    Ok(Inspection { report, source: Still(picture.ok_or(VerifyError::NoSourcePicture)?), frame })
}

/// Looks on while frames are compared, and keeps the picture of those that may be looked at.
#[derive(Default)]
struct Watch {
    wanted: Option<u32>,
    compared: u32,
    first: Option<Seen>,
    worst: Option<Seen>,
    found: Option<Seen>,
    mean: Vec<u32>,
}

/// A frame that was compared. It shares the decoder's pixels.
#[derive(Clone)]
struct Seen {
    index: u32,
    pts: i64,
    frame: Frame,
    deviation: FrameDeviation,
}

impl Seen {
    fn badness(&self) -> (i64, i64) {
        (self.deviation.outside, self.deviation.error_permille)
    }
}

impl Onlooker for Watch {
    fn see(&mut self, comparison: &Comparison<'_>, features: &FrameFeatures, frame: &Frame) {
        let Some(deviation) = comparison.frame_deviation(features) else { return };
        let seen = Seen { index: self.compared, pts: features.pts, frame: frame.clone(), deviation };
        self.compared += 1;
        if self.wanted == Some(seen.index) {
            self.found = Some(seen.clone());
        }
        if self.worst.as_ref().is_none_or(|worst| seen.badness() > worst.badness()) {
            self.worst = Some(seen.clone());
        }
        self.first.get_or_insert(seen);
    }

    /// Takes the means.
    fn end(&mut self, comparison: &Comparison<'_>, tier: Tier, full: &QualitySums) {
        self.mean = comparison.mean_deviation(tier, full);
    }
}

impl Watch {
    fn choose(&mut self, passed: bool) -> Result<Option<Seen>, VerifyError> {
        if let (Some(wanted), 1..) = (self.wanted, self.compared) {
            let found = self.found.take();
            return found.map(Some).ok_or(VerifyError::NoSuchFrame { wanted, compared: self.compared });
        }
        let stands_out = |worst: &Seen| !passed || worst.deviation.outside > 0;
        Ok(self.worst.take().filter(stands_out).or(self.first.take()))
    }
}
