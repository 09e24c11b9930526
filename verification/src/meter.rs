//! Features of the frames of a stream, measured row by row while they are decoded where the decoder shows them so early.

use std::sync::{Mutex, MutexGuard, PoisonError};

use framemill_media::{FinishedRows, Frame, PictureId, Watcher};

use crate::error::VerifyError;
use crate::features::{FrameFeatures, Lattice};
use crate::frames::{is_plain, picture, range, samples};
use crate::kernel::Kernel;
use crate::means::AreaMeans;
use crate::plane::{BadPlane, Grid, PlaneShape};

/// Bits of the samples of pictures that are watched.
const DEPTH: u8 = 8;

/// Measures frames, and watches a decoder for it: a row that was just decoded is still in the processor's caches, and reading it
/// from memory once more is what measuring costs. The features are the same whether or not it watched.
pub struct FeatureMeter {
    kernel: Kernel,
    lattice: Option<Lattice>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that a decoder is at work on or has finished, until they are taken or dropped: a handful, the newest last.
    pictures: Vec<Watched>,
    means: Option<PictureMeans>,
}

impl State {
    fn take(&mut self, picture: PictureId) -> Option<Watched> {
        place(&self.pictures, picture).map(|place| self.pictures.remove(place))
    }
}

/// Where a picture stands.
fn place(pictures: &[Watched], picture: PictureId) -> Option<usize> {
    pictures.iter().rposition(|watched| watched.picture == picture)
}

/// How to measure pictures of one shape.
struct PictureMeans {
    size: (u32, u32),
    lattice: Lattice,
    luma: AreaMeans,
    chroma: AreaMeans,
}

/// What has been measured of a picture.
struct Watched {
    picture: PictureId,
    size: (u32, u32),
    /// Rows that the decoder has finished.
    done: u32,
    luma: Cells,
    chroma: [Cells; 2],
}

/// Means of the rows of cells so far.
#[derive(Default)]
struct Cells {
    rows: usize,
    means: Vec<u16>,
}

impl FeatureMeter {
    /// A meter by this kernel. Pictures get this lattice, or where there is none the one of their own shape.
    #[must_use]
    pub fn new(kernel: Kernel, lattice: Option<Lattice>) -> Self {
        Self { kernel, lattice, state: Mutex::default() }
    }

    /// The features of a frame, shown at `pts`. Of one that a watched decoder made they are measured already.
    ///
    /// # Errors
    /// [`VerifyError::BadPlane`] for planes that are too large, [`VerifyError::NoSourcePicture`] for a frame without any.
    pub fn features(&self, frame: &Frame, pts: i64) -> Result<FrameFeatures, VerifyError> {
        let lattice = self.lattice_of((frame.width(), frame.height()));
        let watched = self.state().take(frame.picture());
        // What is concealed is painted over after its rows were shown.
        match watched.filter(|watched| watched.is_whole(frame) && !frame.is_corrupt()) {
            Some(Watched { luma, chroma, .. }) => {
                let chroma = chroma.map(|cells| cells.means);
                Ok(FrameFeatures::of_means(pts, range(frame), luma.means, chroma, lattice))
            }
            None => Ok(FrameFeatures::measure_by(self.kernel, &picture(frame, pts)?, lattice)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lattice_of(&self, (width, height): (u32, u32)) -> Lattice {
        self.lattice.unwrap_or_else(|| Lattice::for_picture(width as usize, height as usize))
    }
}

impl Watcher for FeatureMeter {
    fn begin(&self, picture: PictureId) {
        self.state().pictures.push(Watched::new(picture));
    }

    fn rows(&self, rows: &FinishedRows<'_>) {
        let State { pictures, means } = &mut *self.state();
        let Some(place) = place(pictures, rows.picture()) else { return };
        let lattice = self.lattice_of((rows.width(), rows.height()));
        if pictures[place].add(rows, means, self.kernel, lattice).is_none() {
            pictures.remove(place);
        }
    }

    fn end(&self, picture: PictureId) {
        self.state().take(picture);
    }
}

impl Watched {
    fn new(picture: PictureId) -> Self {
        Self { picture, size: (0, 0), done: 0, luma: Cells::default(), chroma: Default::default() }
    }

    /// Measures the rows of cells that are whole now. None where the rows do not follow those before, or cannot be measured.
    fn add(
        &mut self,
        rows: &FinishedRows<'_>,
        means: &mut Option<PictureMeans>,
        kernel: Kernel,
        lattice: Lattice,
    ) -> Option<()> {
        let size = (rows.width(), rows.height());
        if self.done == 0 {
            self.size = size;
        }
        if !is_plain(rows.format()) || rows.top() != self.done || self.size != size {
            return None;
        }
        self.done = rows.bottom();
        if means.as_ref().is_none_or(|means| means.size != size || means.lattice != lattice) {
            *means = Some(PictureMeans::new(kernel, size, lattice));
        }
        let means = means.as_mut()?;
        self.luma.add(rows, 0, &mut means.luma, lattice.fine).ok()?;
        for (index, cells) in (1..).zip(&mut self.chroma) {
            cells.add(rows, index, &mut means.chroma, lattice.coarse).ok()?;
        }
        Some(())
    }

    fn is_whole(&self, frame: &Frame) -> bool {
        self.size == (frame.width(), frame.height()) && self.done == self.size.1
    }
}

impl PictureMeans {
    /// Of 4:2:0.
    fn new(kernel: Kernel, size: (u32, u32), lattice: Lattice) -> Self {
        let means = |halvings: u32, grid| {
            let [width, height] = [size.0, size.1].map(|side| side.div_ceil(1 << halvings) as usize);
            AreaMeans::new(kernel, PlaneShape { width, height, depth: DEPTH }, grid)
        };
        Self { size, lattice, luma: means(0, lattice.fine), chroma: means(1, lattice.coarse) }
    }
}

impl Cells {
    fn add(
        &mut self,
        rows: &FinishedRows<'_>,
        index: usize,
        means: &mut AreaMeans,
        grid: Grid,
    ) -> Result<(), BadPlane> {
        let Some(raw) = rows.plane(index) else { return Ok(()) };
        let plane = samples(&raw, DEPTH)?;
        self.means.resize(grid.cells(), 0);
        while self.rows < grid.rows && means.end(self.rows) <= plane.height() {
            let row = self.rows * grid.cols;
            means.row(&plane, self.rows, &mut self.means[row..row + grid.cols]);
            self.rows += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use bytes::Bytes;
    use framemill_media::{ClipSpec, DecoderConfig, MediaLimits, Rational, generate_clip};

    use super::*;
    use crate::track::Frames;

    /// Decodes a stream under the eyes of a meter. Every frame must measure as it is shown; returns how many there are, and of how
    /// many that was known before they were.
    fn shown_and_watched(data: &Bytes, strict: bool) -> (usize, usize) {
        let meter = Arc::new(FeatureMeter::new(Kernel::detect(), None));
        let config = DecoderConfig { threads: 1, strict };
        let (mut shown, mut watched) = (0, 0);
        let frames = Frames::open(data, &config, &MediaLimits::segment(), 0, Some(&meter));
        let Ok(mut frames) = frames else { return (0, 0) };
        while let Ok(Some(frame)) = frames.next_frame() {
            let lattice = meter.lattice_of((frame.width(), frame.height()));
            let known = |watched: &Watched| watched.is_whole(&frame) && !frame.is_corrupt();
            watched += usize::from(
                meter
                    .state()
                    .pictures
                    .iter()
                    .any(|watched| watched.picture == frame.picture() && known(watched)),
            );
            let wanted = picture(&frame, 7).expect("it has planes");
            let wanted = FrameFeatures::measure_by(Kernel::SCALAR, &wanted, lattice);
            assert!(meter.features(&frame, 7).expect("it can be measured") == wanted, "frame {shown}");
            // Nothing is known of it a second time.
            assert!(meter.features(&frame, 7).expect("it can be measured") == wanted, "frame {shown}");
            shown += 1;
        }
        drop(frames);
        assert_eq!(meter.state().pictures.len(), 0, "pictures that are gone are remembered");
        (shown, watched)
    }

    /// Thirty frames by the command line of FFmpeg, as a transport stream.
    fn made(size: &str, options: &[&str]) -> Bytes {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i"]);
        command.arg(format!("testsrc2=s={size}:r=30:d=1,noise=alls=20:allf=t"));
        command.args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "veryfast"]);
        let output = command.args(options).args(["-f", "mpegts", "-"]).output().expect("ffmpeg runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout.into()
    }

    #[test]
    fn frames_are_measured_while_they_are_decoded() {
        let cases: [(&str, &[&str]); 10] = [
            ("320x180", &[]),
            ("426x240", &["-profile:v", "baseline"]),
            ("854x480", &["-bf", "3", "-x264-params", "no-deblock=1"]),
            ("638x358", &["-x264-params", "cabac=0:deblock=6,6"]),
            ("66x50", &["-bf", "2"]),
            ("90x160", &[]),
            ("18x400", &[]),
            ("320x180", &["-vf", "scale=out_range=full", "-color_range", "pc"]),
            ("320x180", &["-pix_fmt", "yuvj420p"]),
            ("320x192", &["-flags", "+ildct+ilme"]),
        ];
        for (size, options) in cases {
            assert_eq!(shown_and_watched(&made(size, options), true), (30, 30), "{size} {options:?}");
        }
    }

    #[test]
    fn what_decodes_in_another_order_is_measured_when_it_is_shown() {
        let cases: [(&str, &[&str]); 5] = [
            ("320x180", &["-slices", "4"]),
            ("320x180", &["-tune", "zerolatency", "-threads", "4"]),
            ("320x180", &["-pix_fmt", "yuv422p"]),
            ("320x180", &["-pix_fmt", "yuv420p10le"]),
            ("320x180", &["-c:v", "libx265", "-x265-params", "log-level=none"]),
        ];
        for (size, options) in cases {
            assert_eq!(shown_and_watched(&made(size, options), true), (30, 0), "{size} {options:?}");
        }
    }

    #[test]
    fn frames_that_lose_their_upper_rows_are_measured_when_they_are_shown() {
        let cropped = ["-bsf:v", "h264_metadata=crop_left=2:crop_top=4"];
        assert_eq!(shown_and_watched(&made("320x180", &cropped), true), (30, 0));
    }

    #[test]
    fn damaged_frames_measure_as_they_are_shown() {
        let limits = MediaLimits::segment();
        let spec = ClipSpec { audio: None, b_frames: 2, ..ClipSpec::new(192, 108, Rational::new(30, 1), 1) };
        let clips = [generate_clip(&spec, &limits).expect("a clip"), made("192x108", &["-slices", "3"])];
        let (mut shown, mut watched) = (0, 0);
        for seed in 0..200u64 {
            let mut data = clips[seed as usize % 2].to_vec();
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for _ in 0..=seed % 5 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 24) as usize % data.len();
                // What a transport packet begins with is spared, so that it is the pictures that suffer.
                if at > 5 * 188 && at % 188 >= 30 {
                    data[at] ^= 1 << (state >> 61);
                }
            }
            let (frames, known) = shown_and_watched(&data.into(), seed % 3 == 0);
            (shown, watched) = (shown + frames, watched + known);
        }
        assert!(shown > 3_000 && watched > 1_000, "{watched} of {shown}");
    }

    #[test]
    fn a_second_slice_over_rows_that_are_finished_is_not_overlooked() {
        // One slice in each picture, and others of the same pictures that begin further down.
        let stream = |options: &[&str]| {
            let pipe = ["-bf", "0", "-x264-params", "scenecut=0:keyint=300:weightp=0:8x8dct=0"];
            let options = [&pipe, options, &["-f", "h264"]].concat();
            units_of(&raw(&options))
        };
        let whole = stream(&["-crf", "20"]);
        let parts = stream(&["-crf", "45", "-slices", "3"]);
        let is_slice = |unit: &[u8]| matches!(unit[0] & 0x1f, 1 | 5);
        // The slices of the parts, picture by picture: those that begin one have a first bit of one.
        let mut pictures: Vec<Vec<&[u8]>> = Vec::new();
        for unit in parts.iter().map(Vec::as_slice).filter(|unit| is_slice(unit)) {
            if unit[1] & 0x80 != 0 {
                pictures.push(Vec::new());
            }
            pictures.last_mut().expect("a picture").push(unit);
        }
        let mut number = 0;
        let mut painted = Vec::new();
        for unit in &whole {
            painted.extend_from_slice(&[0, 0, 0, 1]);
            painted.extend_from_slice(unit);
            if is_slice(unit) {
                for over in &pictures[number][1..2] {
                    painted.extend_from_slice(&[0, 0, 1]);
                    painted.extend_from_slice(over);
                }
                number += 1;
            }
        }
        let plain: Vec<u8> =
            whole.iter().flat_map(|unit| [&[0, 0, 0, 1], unit.as_slice()].concat()).collect();
        let [plain, painted] = [plain, painted].map(muxed);
        assert_eq!(shown_and_watched(&plain, true), (30, 30));
        let first = |data: &Bytes| {
            let mut frames = Frames::open(data, &DecoderConfig::default(), &MediaLimits::segment(), 0, None)
                .expect("it opens");
            let frame = frames.next_frame().expect("it decodes").expect("a frame");
            FrameFeatures::measure(&picture(&frame, 0).expect("planes"), Lattice::for_picture(320, 180))
        };
        assert!(first(&plain) != first(&painted), "the second slice does not show: the test is void");
        assert_eq!(shown_and_watched(&painted, false).1, 0);
    }

    /// A raw stream of thirty frames.
    fn raw(options: &[&str]) -> Vec<u8> {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=1"]);
        command.args(["-c:v", "libx264", "-pix_fmt", "yuv420p"]).args(options).arg("-");
        command.output().expect("ffmpeg runs").stdout
    }

    /// The units of a raw stream, without their start codes.
    fn units_of(stream: &[u8]) -> Vec<Vec<u8>> {
        let starts: Vec<usize> = memchr::memmem::find_iter(stream, &[0, 0, 1]).collect();
        let ends = starts.iter().skip(1).copied().chain([stream.len()]);
        let trimmed = |unit: &[u8]| {
            let kept = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            unit[..kept].to_vec()
        };
        starts.iter().zip(ends).map(|(start, end)| trimmed(&stream[start + 3..end])).collect()
    }

    /// A raw stream as a transport stream, its bytes untouched.
    fn muxed(stream: Vec<u8>) -> Bytes {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stream.h264");
        std::fs::write(&path, stream).expect("it is written");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-r", "30", "-f", "h264", "-i"]).arg(path);
        let output = command.args(["-c", "copy", "-f", "mpegts", "-"]).output().expect("ffmpeg runs");
        output.stdout.into()
    }
}
