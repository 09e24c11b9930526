//! Is the picture where it should be? Displacement of tiles, by least squares on a lattice.
//!
//! A rendition displaced by `s` cells differs from its source by `s` times the source's gradient (B. D. Lucas and T.
//! Kanade, 1981). Normal equations are summed per tile in integers and solved by Cramer's rule. Tiles tell a crop,
//! a zoom and a rotation, which move the rim and not the middle.

use crate::plane::Grid;
use crate::rules::{
    CORRELATED, DOUBT_PERCENT, EXPLAINED_PERCENT, MIN_TILES, SEEN_DISPLACEMENT, TEXTURE_FLOOR,
};

/// Tiles along each side.
const TILES: usize = 3;

/// Largest displacement told, in 2^16ths of two cells: what is farther off is no shift but another picture.
const LARGEST: i128 = 8 << 16;

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: i64,
    gx: i64,
    gy: i64,
    d: i64,
    gxx: i64,
    gxy: i64,
    gyy: i64,
    gxd: i64,
    gyd: i64,
    dd: i64,
}

/// Normal equations of all tiles.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    grid: Grid,
    tiles: [Sums; TILES * TILES],
    frames: u32,
    correlated: i128,
}

impl Registration {
    /// For cells that were averaged over `radius` of them on each side.
    pub(crate) fn new(grid: Grid, radius: usize) -> Self {
        // Cells that were averaged together witness as one.
        let correlated = CORRELATED * (radius as i128 + 1) * (radius as i128 + 1);
        Self { grid, correlated, tiles: [Sums::default(); TILES * TILES], frames: 0 }
    }

    /// Adds a frame: cells of source and rendition.
    pub(crate) fn add(&mut self, source: &[u16], rendition: &[u16]) {
        self.frames += 1;
        let (cols, rows) = (self.grid.cols, self.grid.rows);
        for y in 1..rows - 1 {
            let above = &source[(y - 1) * cols..y * cols];
            let here = &source[y * cols..(y + 1) * cols];
            let below = &source[(y + 1) * cols..(y + 2) * cols];
            let shown = &rendition[y * cols..(y + 1) * cols];
            for tile in 0..TILES {
                let from = (tile * cols / TILES).max(1);
                let to = ((tile + 1) * cols / TILES).min(cols - 1);
                let sums = &mut self.tiles[y * TILES / rows * TILES + tile];
                sums.add_row(&here[from - 1..to + 1], &above[from..to], &below[from..to], &shown[from..to]);
            }
        }
    }

    /// The largest displacement along either axis, in thousandths of a cell: of any tile whose difference it explains,
    /// or of the middle one of all tiles. Coding noise moves single tiles a little in any direction; a shift moves all
    /// alike, a crop or a turn explains what is seen at the rim.
    pub(crate) fn largest_milli_cells(&self) -> i64 {
        let tiles: Vec<Displacement> = self
            .tiles
            .iter()
            .filter_map(|tile| tile.displacement(i128::from(self.frames) * self.correlated))
            .collect();
        let explained = tiles.iter().filter(|tile| tile.explained);
        let single = explained.map(|tile| tile.x.abs().max(tile.y.abs())).max().unwrap_or(0);
        if tiles.len() < MIN_TILES {
            return single;
        }
        let middle = |axis: fn(&Displacement) -> i64| {
            let mut values: Vec<i64> = tiles.iter().map(axis).collect();
            values.sort_unstable();
            values[values.len() / 2].abs()
        };
        single.max(middle(|tile| tile.x)).max(middle(|tile| tile.y))
    }
}

/// What of a tile's displacement is beyond doubt, in thousandths of a cell.
struct Displacement {
    x: i64,
    y: i64,
    /// Whether it accounts for what differs.
    explained: bool,
}

impl Sums {
    /// Adds one row of a tile; `here` has one more cell at each end.
    fn add_row(&mut self, here: &[u16], above: &[u16], below: &[u16], shown: &[u16]) {
        // A row has at most 160 cells of products below 2^24: their sums fit 32 bits.
        let mut row = [0i32; 9];
        for (i, &level) in shown.iter().enumerate() {
            let gx = i32::from(here[i + 2]) - i32::from(here[i]);
            let gy = i32::from(below[i]) - i32::from(above[i]);
            let d = i32::from(level) - i32::from(here[i + 1]);
            let terms = [gx, gy, d, gx * gx, gx * gy, gy * gy, gx * d, gy * d, d * d];
            for (sum, term) in row.iter_mut().zip(terms) {
                *sum = sum.wrapping_add(term);
            }
        }
        let [gx, gy, d, gxx, gxy, gyy, gxd, gyd, dd] = row.map(i64::from);
        self.n += shown.len() as i64;
        self.gx += gx;
        self.gy += gy;
        self.d += d;
        self.gxx += gxx;
        self.gxy += gxy;
        self.gyy += gyy;
        self.gxd += gxd;
        self.gyd += gyd;
        self.dd += dd;
    }

    /// `alike` is the number of cells, in space and over the frames, that count as one.
    fn displacement(&self, alike: i128) -> Option<Displacement> {
        let n = i128::from(self.n);
        if n == 0 {
            return None;
        }
        // Centred, so that a change of brightness is not taken for a shift.
        let centred = |ab: i64, a: i64, b: i64| i128::from(ab) - i128::from(a) * i128::from(b) / n;
        let xx = centred(self.gxx, self.gx, self.gx);
        let xy = centred(self.gxy, self.gx, self.gy);
        let yy = centred(self.gyy, self.gy, self.gy);
        let xd = centred(self.gxd, self.gx, self.d);
        let yd = centred(self.gyd, self.gy, self.d);
        let determinant = xx * yy - xy * xy;
        // determinant / trace is at most the smaller eigenvalue: the texture across the weakest direction.
        if determinant <= 0 || determinant < TEXTURE_FLOOR * n * (xx + yy) {
            return None;
        }
        // Displacement in 2^16ths of two cells, which gradients span, bounded so that the products below fit.
        let solve = |numerator: i128| ((numerator << 16) / determinant).clamp(-LARGEST, LARGEST);
        let (x, y) = (solve(yy * xd - xy * yd), solve(xx * yd - xy * xd));
        let explained = (x * xd + y * yd) >> 16;
        if explained < SEEN_DISPLACEMENT * n {
            return Some(Displacement { x: 0, y: 0, explained: false });
        }
        let total = centred(self.dd, self.d, self.d).max(1);
        let rest = (total - explained).max(0);
        // Differences of neighbouring cells and of the frames of a tile are alike: they witness less than their number.
        let witnesses = (n / alike.max(1)).max(1);
        let doubt = |across: i128| {
            let variance = ((rest * across) << 16) / determinant / witnesses;
            DOUBT_PERCENT * ((variance << 16).unsigned_abs().isqrt() as i128) / 100
        };
        let sure = |value: i128, doubt: i128| value.signum() * (value.abs() - doubt).max(0);
        let milli = |cells: i128| (cells * 2_000 / (1 << 16)) as i64;
        Some(Displacement {
            x: milli(sure(x, doubt(yy))),
            y: milli(sure(y, doubt(xx))),
            explained: 100 * explained >= EXPLAINED_PERCENT * total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { cols: 160, rows: 90 };

    /// A smooth texture, sampled with an offset in thousandths of a cell.
    fn texture(dx: i64, dy: i64, lift: u16) -> Vec<u16> {
        let wave = |t: i64, period: i64| {
            let phase = t.rem_euclid(period);
            let half = period / 2;
            // A parabola arch per half period: smooth enough, and made of integers.
            let (p, sign) = if phase < half { (phase, 1) } else { (phase - half, -1) };
            sign * 4 * p * (half - p) * 500 / (half * half)
        };
        let mut out = Vec::new();
        for y in 0..90i64 {
            for x in 0..160i64 {
                let (x, y) = (x * 1000 + dx, y * 1000 + dy);
                let level = 2000 + wave(x + y / 3, 17_000) + wave(y - x / 5, 23_000);
                out.push(level as u16 + lift);
            }
        }
        out
    }

    fn displacement(shown: &[u16]) -> i64 {
        let mut registration = Registration::new(GRID, 0);
        registration.add(&texture(0, 0, 0), shown);
        registration.largest_milli_cells()
    }

    #[test]
    fn a_quarter_cell_shift_is_measured() {
        assert!((220..280).contains(&displacement(&texture(250, 0, 0))));
        assert!((220..280).contains(&displacement(&texture(0, -250, 0))));
    }

    #[test]
    fn a_lag_that_changes_less_than_half_a_level_is_no_displacement() {
        let faint = |dx| texture(dx, 0, 0).into_iter().map(|level| 2000 + level / 8).collect::<Vec<_>>();
        let lag = |dx| {
            let mut registration = Registration::new(GRID, 0);
            registration.add(&faint(0), &faint(dx));
            registration.largest_milli_cells()
        };
        assert_eq!(lag(200), 0);
        assert!(lag(1000) > 700, "{}", lag(1000));
        assert!(displacement(&texture(200, 0, 0)) > 150, "where it can be seen");
    }

    #[test]
    fn brightness_is_no_displacement() {
        assert_eq!(displacement(&texture(0, 0, 160)), 0);
    }

    #[test]
    fn a_picture_without_texture_has_no_displacement() {
        let flat = vec![900u16; 160 * 90];
        let mut registration = Registration::new(GRID, 0);
        registration.add(&flat, &texture(0, 0, 0));
        assert_eq!(registration.largest_milli_cells(), 0);
    }
}
