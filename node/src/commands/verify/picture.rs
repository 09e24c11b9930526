//! The picture of a judgement: source, rendition, their difference, and which cells deviate.

use framemill_verification::{
    DeviationMap, Inspection, Still, VerifyError,
    plane::{Grid, LEVEL},
};

use super::canvas::{Canvas, LETTER, LINE, Rgb, Size};

/// Widest and narrowest panel: six of them and what is written below fit a usual screen.
const PANEL_WIDTH: std::ops::RangeInclusive<usize> = 320..=640;

/// Highest panel; extreme shapes become narrower for it.
const PANEL_HEIGHT: usize = 960;

/// Pixels between panels.
const GAP: usize = 6;

/// Differences are shown this many times as large: two levels can be seen, 32 are white.
const AMPLIFIED: i32 = 8;

/// Most lines of the caption; the report has them all.
const MAX_LINES: usize = 60;

const GROUND: Rgb = [24, 24, 28];
const INK: Rgb = [230, 230, 230];
const GOOD: Rgb = [110, 220, 120];
const BAD: Rgb = [255, 110, 90];

/// A cell beyond its bound.
const OUTSIDE: Rgb = [255, 0, 0];

/// The picture, and its caption as text.
pub(super) fn draw(inspection: &Inspection) -> Result<(Canvas, String), VerifyError> {
    let shown = inspection.frame.as_ref().map_or(&inspection.source, |frame| &frame.picture);
    let layout = Layout::of(shown.width(), shown.height());
    let caption = caption(inspection);
    let lines = wrapped(&caption, layout.slot / LETTER);
    let mut canvas = Canvas::new(layout.canvas(lines.len()), GROUND);
    for (index, (label, picture)) in panels(inspection, layout.panel)?.iter().enumerate() {
        let (x, y) = layout.corner(index);
        canvas.write((x, y - LINE), &shortened(label, layout.slot), INK);
        canvas.put((x, y), layout.panel.width, picture);
    }
    let (x, y) = layout.corner(Layout::CAPTION);
    for (row, line) in lines.iter().enumerate() {
        let ink = match (row, inspection.report.passed()) {
            (0, true) => GOOD,
            (0, false) => BAD,
            _ => INK,
        };
        canvas.write((x, y + row * LINE), line, ink);
    }
    Ok((canvas, caption.join("\n")))
}

/// Where the panels lie: three in a row, two rows, the caption in the last place.
#[derive(Clone, Copy, Debug)]
struct Layout {
    panel: Size,
    /// Columns that each place has: a narrow panel has room for its label beside it.
    slot: usize,
}

impl Layout {
    const COLUMNS: usize = 3;
    const CAPTION: usize = 5;

    fn of(width: u32, height: u32) -> Self {
        let (width, height) = (width.max(1) as usize, height.max(1) as usize);
        let wide = width.clamp(*PANEL_WIDTH.start(), *PANEL_WIDTH.end());
        let high = wide * height / width;
        let panel = if high > PANEL_HEIGHT {
            Size { width: PANEL_HEIGHT * width / height, height: PANEL_HEIGHT }
        } else {
            Size { width: wide, height: high }
        };
        let panel = Size { width: panel.width.max(1), height: panel.height.max(1) };
        Self { panel, slot: panel.width.max(*PANEL_WIDTH.start()) }
    }

    /// Upper left corner of a panel, below its label.
    fn corner(self, index: usize) -> (usize, usize) {
        let (column, row) = (index % Self::COLUMNS, index / Self::COLUMNS);
        (GAP + column * (self.slot + GAP), (row + 1) * (GAP + LINE) + row * self.panel.height)
    }

    /// All of it, with room for so many lines in the last place.
    fn canvas(self, lines: usize) -> Size {
        let (_, top) = self.corner(Self::CAPTION);
        let width = GAP + Self::COLUMNS * (self.slot + GAP);
        Size { width, height: top + self.panel.height.max(lines * LINE) + GAP }
    }
}

type Panel = (String, Vec<Rgb>);

fn panels(inspection: &Inspection, size: Size) -> Result<Vec<Panel>, VerifyError> {
    let source = Levels::of(&inspection.source, size)?;
    let still = &inspection.source;
    let label = format!("source {}x{}", still.width(), still.height());
    let Some(frame) = &inspection.frame else { return Ok(vec![(label, source.rgb())]) };
    let shown = Levels::of(&frame.picture, size)?;
    let millis = frame.time / 90;
    let own = format!(
        "rendition {}x{}, frame {} at {}.{:03} s",
        frame.picture.width(),
        frame.picture.height(),
        frame.index,
        millis / 1000,
        millis % 1000
    );
    let cells = |what: &str, map: &DeviationMap| {
        format!("{what}: {} of {} outside", map.outside(), map.permille.len())
    };
    Ok(vec![
        (label, source.rgb()),
        (own, shown.rgb()),
        (format!("difference, {AMPLIFIED} times"), source.difference(&shown)),
        (cells("cells of this frame", &frame.deviation), heat(&source, &frame.deviation, size)),
        (cells("cells, mean of all frames", &frame.mean), heat(&source, &frame.mean, size)),
    ])
}

/// A picture's levels at the size of a panel.
struct Levels([Vec<u16>; 3]);

impl Levels {
    fn of(still: &Still, size: Size) -> Result<Self, VerifyError> {
        still.levels(Grid { cols: size.width, rows: size.height }).map(Self)
    }

    fn pixels(&self) -> impl Iterator<Item = [i32; 3]> {
        let [y, u, v] = &self.0;
        y.iter().zip(u.iter().zip(v)).map(|(&y, (&u, &v))| [y, u, v].map(i32::from))
    }

    fn rgb(&self) -> Vec<Rgb> {
        self.pixels().map(rgb).collect()
    }

    /// Differences of red, green and blue, black where there are none.
    fn difference(&self, other: &Self) -> Vec<Rgb> {
        let pairs = self.pixels().map(rgb).zip(other.pixels().map(rgb));
        let amplified = |a: u8, b: u8| (i32::from(a.abs_diff(b)) * AMPLIFIED).min(255) as u8;
        pairs.map(|(a, b)| std::array::from_fn(|i| amplified(a[i], b[i]))).collect()
    }
}

/// Red, green and blue of levels of limited range by the matrix of BT.709, which nearly all live video has. Source and
/// rendition are drawn alike whatever they are tagged with: tags that differ are a check of their own.
fn rgb([y, u, v]: [i32; 3]) -> Rgb {
    let unit = i32::from(LEVEL);
    let (y, u, v) = (298 * (y - 16 * unit), u - 128 * unit, v - 128 * unit);
    // Factors in 256ths: at most 2^13 times 2^10.
    [y + 459 * v, y - 55 * u - 136 * v, y + 541 * u].map(|c| (c / (256 * unit)).clamp(0, 255) as u8)
}

/// The cells over the dimmed source: the more yellow, the nearer to the bound; red beyond it. A pixel that touches several
/// cells shows the worst, so that none is lost on a small panel.
fn heat(source: &Levels, map: &DeviationMap, size: Size) -> Vec<Rgb> {
    let spans = |cells: usize, pixels: usize| {
        (0..pixels).map(move |i| (i * cells / pixels, ((i + 1) * cells).div_ceil(pixels)))
    };
    let worst = |(left, right): (usize, usize), (top, bottom): (usize, usize)| {
        let rows = (top..bottom).map(|row| &map.permille[row * map.grid.cols..][left..right]);
        rows.flatten().copied().max().unwrap_or(0)
    };
    let places = spans(map.grid.rows, size.height)
        .flat_map(|rows| spans(map.grid.cols, size.width).map(move |columns| (columns, rows)));
    let dimmed = source.0[0].iter().map(|&level| i32::from(level / LEVEL) / 3);
    dimmed.zip(places).map(|(grey, (columns, rows))| tinted(grey, worst(columns, rows))).collect()
}

fn tinted(grey: i32, permille: u32) -> Rgb {
    if permille > DeviationMap::ALLOWED {
        return OUTSIDE;
    }
    // At most a thousand.
    let share = permille as i32;
    let mix = |to: i32| ((grey * (1000 - share) + to * share) / 1000).clamp(0, 255) as u8;
    [mix(255), mix(220), mix(0)]
}

fn caption(inspection: &Inspection) -> Vec<String> {
    let report = &inspection.report;
    let mut lines =
        vec![if report.passed() { "pass: a faithful encode" } else { "FAIL: not a faithful encode" }.into()];
    lines.extend(report.failures().map(ToString::to_string));
    if inspection.frame.is_none() {
        lines.push("no frame was compared".into());
    } else {
        lines.push("cells: yellow near the bound, red outside".into());
    }
    lines.push(format!("rules {}, report {}", report.rules_version, report.hash));
    lines
}

/// The lines, broken where they are too long, as many as there may be.
fn wrapped(lines: &[String], letters: usize) -> Vec<String> {
    let parts = lines.iter().flat_map(|line| {
        let letters_of_line: Vec<char> = line.chars().collect();
        letters_of_line.chunks(letters.max(1)).map(|part| part.iter().collect()).collect::<Vec<String>>()
    });
    parts.take(MAX_LINES).collect()
}

fn shortened(label: &str, width: usize) -> String {
    label.chars().take(width / LETTER).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use framemill_media::{Encoder, EncoderConfig, Frame, MediaLimits, Muxer, OutputFormat, Rational};
    use framemill_network::ladder::{Codec, FrameRate, LadderEntry};
    use framemill_verification::{SourceReference, inspect};
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 640;
    const HEIGHT: usize = 360;
    const FRAMES: usize = 12;

    /// Pixels of a side of a cell: the lattice has 80 by 45.
    const CELL: usize = 8;

    type Paint = fn(usize, usize, usize) -> Option<u8>;

    /// A still picture of soft waves; `paint` sets luma by frame, column and row.
    fn film(paint: Paint) -> Bytes {
        let limits = MediaLimits::segment();
        let rate = Rational::new(30, 1);
        let config = EncoderConfig::h264(WIDTH as u32, HEIGHT as u32, 6_000_000, rate);
        let mut encoder = Encoder::new(&config).unwrap();
        let mut builder = Muxer::builder(OutputFormat::MpegTs);
        builder.add_stream(encoder.parameters()).unwrap();
        let mut muxer = builder.start().unwrap();
        let chroma = vec![128; WIDTH * HEIGHT / 4];
        let mut packets = Vec::new();
        for t in 0..FRAMES {
            let wave = |x: usize, y: usize| (60 + (x / 8 + y / 4) % 100) as u8;
            let luma: Vec<u8> = (0..WIDTH * HEIGHT)
                .map(|i| (i % WIDTH, i / WIDTH))
                .map(|(x, y)| paint(t, x, y).unwrap_or_else(|| wave(x, y)))
                .collect();
            let pts = 90_000 + 3_000 * t as i64;
            let planes = [luma.as_slice(), &chroma, &chroma];
            let frame = Frame::from_yuv420p(WIDTH as u32, HEIGHT as u32, planes, pts, &limits).unwrap();
            encoder.send(&frame).unwrap();
            while let Some(packet) = encoder.receive().unwrap() {
                packets.push(packet);
            }
        }
        encoder.flush().unwrap();
        while let Some(packet) = encoder.receive().unwrap() {
            packets.push(packet);
        }
        packets.iter().for_each(|packet| muxer.write(0, packet).unwrap());
        muxer.finish().unwrap()
    }

    fn inspected(paint: Paint, wanted: Option<u32>) -> Inspection {
        let source = SourceReference::new(film(|_, _, _| None), &MediaLimits::segment()).unwrap();
        let entry = LadderEntry {
            width: WIDTH as u32,
            ..LadderEntry::from_height(HEIGHT as u32, FrameRate::SOURCE, 6_000_000, Codec::H264)
        };
        inspect(&source, &film(paint), &entry, wanted).unwrap()
    }

    /// Cells of panel `index` that are red in their middle.
    fn red_cells(canvas: &Canvas, index: usize) -> Vec<(usize, usize)> {
        let (left, top) = Layout::of(WIDTH as u32, HEIGHT as u32).corner(index);
        let cells = (0..HEIGHT / CELL).flat_map(|row| (0..WIDTH / CELL).map(move |col| (col, row)));
        let middle = |at: usize| at * CELL + CELL / 2;
        cells.filter(|&(col, row)| canvas.pixel(left + middle(col), top + middle(row)) == OUTSIDE).collect()
    }

    /// Sums of all channels over panel `index`.
    fn brightness(canvas: &Canvas, index: usize) -> u64 {
        let (left, top) = Layout::of(WIDTH as u32, HEIGHT as u32).corner(index);
        let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (left + x, top + y)));
        pixels.flat_map(|(x, y)| canvas.pixel(x, y)).map(u64::from).sum()
    }

    const DIFFERENCE: usize = 2;
    const OF_FRAME: usize = 3;
    const OF_MEAN: usize = 4;

    fn in_logo(x: usize, y: usize) -> bool {
        (10 * CELL..16 * CELL).contains(&x) && (20 * CELL..24 * CELL).contains(&y)
    }

    #[test]
    fn a_logo_lights_up_exactly_its_cells() {
        let inspection = inspected(|_, x, y| in_logo(x, y).then_some(230), None);
        let (canvas, caption) = draw(&inspection).unwrap();
        let logo: Vec<_> = (20..24).flat_map(|row| (10..16).map(move |col| (col, row))).collect();
        assert_eq!(red_cells(&canvas, OF_FRAME), logo);
        assert_eq!(red_cells(&canvas, OF_MEAN), logo);
        assert!(
            caption.starts_with("FAIL")
                && caption.contains("mean_peak is")
                && caption.contains("want at most"),
            "{caption}"
        );
    }

    #[test]
    fn the_difference_shows_where_pictures_differ_and_nothing_else() {
        let inspection = inspected(|_, x, y| in_logo(x, y).then_some(230), None);
        let (canvas, _) = draw(&inspection).unwrap();
        let (left, top) = Layout::of(WIDTH as u32, HEIGHT as u32).corner(DIFFERENCE);
        assert_eq!(canvas.pixel(left + 12 * CELL, top + 22 * CELL), [255; 3]);
        let far = canvas.pixel(left + 60 * CELL, top + 5 * CELL);
        assert!(far.iter().all(|&channel| channel < 64), "{far:?}");
    }

    #[test]
    fn an_honest_rendition_has_no_red_cell_and_shows_its_first_frame() {
        let inspection = inspected(|_, _, _| None, None);
        let (canvas, caption) = draw(&inspection).unwrap();
        assert!(caption.starts_with("pass"), "{caption}");
        assert_eq!(inspection.frame.unwrap().index, 0);
        assert!(red_cells(&canvas, OF_FRAME).is_empty() && red_cells(&canvas, OF_MEAN).is_empty());
        assert!(brightness(&canvas, DIFFERENCE) < brightness(&canvas, 0) / 10);
    }

    #[test]
    fn the_worst_frame_is_shown_and_any_other_one_when_it_is_asked_for() {
        let black: Paint = |t, _, _| (t == 7).then_some(16);
        let inspection = inspected(black, None);
        assert_eq!(inspection.frame.as_ref().unwrap().index, 7);
        let (canvas, _) = draw(&inspection).unwrap();
        assert_eq!(brightness(&canvas, 1), 0);
        let first = inspected(black, Some(0));
        assert_eq!(first.frame.as_ref().unwrap().index, 0);
        assert!(red_cells(&draw(&first).unwrap().0, OF_FRAME).is_empty());
        assert_eq!(first.report.hash, inspection.report.hash);
    }

    #[test]
    fn a_cell_that_is_smaller_than_a_pixel_is_not_lost() {
        let grid = Grid { cols: 160, rows: 90 };
        let size = Size { width: 32, height: 18 };
        let source = Levels(std::array::from_fn(|_| vec![128 * LEVEL; size.width * size.height]));
        for cell in [0, 81, 160 * 90 - 1] {
            let mut permille = vec![0; grid.cells()];
            permille[cell] = 1_001;
            let picture = heat(&source, &DeviationMap { grid, permille }, size);
            assert_eq!(picture.iter().filter(|&&pixel| pixel == OUTSIDE).count(), 1, "cell {cell}");
        }
    }

    #[test]
    fn levels_become_the_colours_they_stand_for() {
        let sixteenths = |levels: [i32; 3]| levels.map(|level| level * i32::from(LEVEL));
        assert_eq!(rgb(sixteenths([16, 128, 128])), [0; 3]);
        assert_eq!(rgb(sixteenths([235, 128, 128])), [254; 3]);
        let [red, green, blue] = rgb(sixteenths([63, 102, 240]));
        assert!(red > 250 && green < 4 && blue < 4, "{red} {green} {blue}");
    }

    proptest! {
        #[test]
        fn panels_of_any_shape_lie_on_the_canvas(width in 1u32..8_192, height in 1u32..8_192, lines in 0..MAX_LINES) {
            let layout = Layout::of(width, height);
            let all = layout.canvas(lines);
            prop_assert!(all.width <= 3 * 640 + 4 * GAP && all.height <= 2 * (960 + GAP + LINE) + MAX_LINES * LINE + GAP);
            for index in 0..=Layout::CAPTION {
                let (x, y) = layout.corner(index);
                prop_assert!(x + layout.panel.width <= all.width && y + layout.panel.height <= all.height);
                prop_assert!(y >= LINE);
            }
        }
    }
}
