//! Pictures in memory and the synthetic contents that are made of them. Integers only, so that every run is the same.

use framemill_media::{Frame, MediaLimits};

/// An 8-bit 4:2:0 picture with tight planes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pic {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) planes: [Vec<u8>; 3],
}

impl Pic {
    pub(crate) fn filled(width: usize, height: usize, [y, u, v]: [u8; 3]) -> Self {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self { width, height, planes: [vec![y; width * height], vec![u; chroma], vec![v; chroma]] }
    }

    pub(crate) fn from_frame(frame: &Frame) -> Self {
        let plane = |index| {
            frame.plane(index).expect("three planes").iter_rows().flatten().copied().collect::<Vec<u8>>()
        };
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        Self { width, height, planes: [plane(0), plane(1), plane(2)] }
    }

    pub(crate) fn to_frame(&self, pts: i64) -> Frame {
        let [y, u, v] = &self.planes;
        let limits = MediaLimits::default();
        Frame::from_yuv420p(self.width as u32, self.height as u32, [y, u, v], pts, &limits)
            .expect("planes have the picture's size")
    }

    pub(crate) fn plane_width(&self, plane: usize) -> usize {
        if plane == 0 { self.width } else { self.width.div_ceil(2) }
    }

    /// A picture whose plane samples come from `source(plane, x, y)`.
    pub(crate) fn map(&self, source: impl Fn(usize, usize, usize) -> u8) -> Self {
        let mut out = self.clone();
        for plane in 0..3 {
            let width = self.plane_width(plane);
            for (i, sample) in out.planes[plane].iter_mut().enumerate() {
                *sample = source(plane, i % width, i / width);
            }
        }
        out
    }
}

/// What a synthetic clip shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A pan over a textured landscape with grain.
    Landscape,
    /// Lines of small high-contrast glyphs that scroll.
    ScreenText,
    /// Flat shapes that move.
    Animation,
    /// A pan in the dark, with noise.
    Dark,
    /// A still picture under heavy grain.
    StillGrain,
    /// A still picture without any change.
    Still,
    /// A landscape that fades in from black.
    Fade,
    /// A fast pan.
    HighMotion,
    /// Cells of random brightness that jump twice a second.
    RandomCells,
}

impl Content {
    pub(crate) const ALL: [Self; 9] = [
        Self::Landscape,
        Self::ScreenText,
        Self::Animation,
        Self::Dark,
        Self::StillGrain,
        Self::Still,
        Self::Fade,
        Self::HighMotion,
        Self::RandomCells,
    ];

    /// Frame `t` at a size.
    pub(crate) fn frame(self, t: usize, width: usize, height: usize) -> Pic {
        let canvas = Pic::filled(width, height, [0; 3]);
        canvas.map(|plane, x, y| {
            let scale = if plane == 0 { 1 } else { 2 };
            // Sizes are given for 960 columns, so that a content looks alike at every size.
            let (x, y) = ((x * scale * 960 / width) as i64, (y * scale * 960 / width) as i64);
            self.sample(plane, x, y, t as i64).clamp(16, 235) as u8
        })
    }

    fn sample(self, plane: usize, x: i64, y: i64, t: i64) -> i64 {
        match (self, plane) {
            (Self::Landscape, 0) => terrain(x + 3 * t, y + t) + grain(x, y, t, 5),
            (Self::Landscape, _) => tint(plane, x + 3 * t, y + t),
            (Self::ScreenText, 0) => glyph(x, y + 2 * t),
            (Self::ScreenText, _) => {
                if (y + 2 * t) / 160 % 3 == plane as i64 {
                    150
                } else {
                    124
                }
            }
            (Self::Animation, _) => shapes(plane, x, y, t),
            (Self::Dark, 0) => 16 + (terrain(x + 2 * t, y) - 16) / 8 + grain(x, y, t, 4),
            (Self::Dark, _) => 128 + (tint(plane, x + 2 * t, y) - 128) / 4,
            (Self::StillGrain, 0) => terrain(x, y) + grain(x, y, t, 14),
            (Self::Still, 0) => terrain(x + 500, y),
            (Self::StillGrain | Self::Still, _) => tint(plane, x, y),
            (Self::Fade, 0) => 16 + (terrain(x + t, y) - 16) * t.min(40) / 40,
            (Self::Fade, _) => 128 + (tint(plane, x + t, y) - 128) * t.min(40) / 40,
            (Self::HighMotion, 0) => terrain(x + 23 * t, y + 9 * t),
            (Self::HighMotion, _) => tint(plane, x + 23 * t, y + 9 * t),
            (Self::RandomCells, 0) => 40 + hash(x / 30, y / 30, t / 15) % 170,
            (Self::RandomCells, _) => 90 + hash(x / 60 + 999 * plane as i64, y / 60, t / 15) % 80,
        }
    }
}

fn hash(x: i64, y: i64, t: i64) -> i64 {
    let mut h = (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (y as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ (t as u64).wrapping_mul(0x1656_67b1_9e37_79f9);
    h = (h ^ (h >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((h ^ (h >> 32)) & 0xffff) as i64
}

/// Value noise: random levels on a lattice of `period`, bilinear between them; -128 to 127.
fn noise(x: i64, y: i64, period: i64, seed: i64) -> i64 {
    let (cx, cy) = (x.div_euclid(period), y.div_euclid(period));
    let (fx, fy) = (x.rem_euclid(period), y.rem_euclid(period));
    let corner = |dx, dy| hash(cx + dx, cy + dy, seed) % 256 - 128;
    let top = corner(0, 0) * (period - fx) + corner(1, 0) * fx;
    let bottom = corner(0, 1) * (period - fx) + corner(1, 1) * fx;
    (top * (period - fy) + bottom * fy) / (period * period)
}

fn terrain(x: i64, y: i64) -> i64 {
    120 + noise(x, y, 210, 1) * 2 / 3
        + noise(x, y, 57, 2) / 3
        + noise(x, y, 13, 3) / 5
        + noise(x, y, 4, 4) / 10
}

fn tint(plane: usize, x: i64, y: i64) -> i64 {
    128 + noise(x, y, 170, 10 + plane as i64) / 3
}

fn grain(x: i64, y: i64, t: i64, strength: i64) -> i64 {
    let sum: i64 = (0..4).map(|k| hash(x, y, 4 * t + k) % 256 - 128).sum();
    sum * strength / 148
}

fn glyph(x: i64, y: i64) -> i64 {
    let (line, row) = (y.div_euclid(18), y.rem_euclid(18));
    let (column, col) = (x.div_euclid(9), x.rem_euclid(9));
    let inked = row < 12 && col < 7 && column < 20 + hash(line, 7, 0) % 80;
    let stroke = hash(column * 31 + col / 2, line * 17 + row / 3, 5) % 100 < 45;
    if inked && stroke { 40 } else { 225 }
}

fn shapes(plane: usize, x: i64, y: i64, t: i64) -> i64 {
    let balls = [(200, 150, 90, 5, 2), (600, 300, 130, -4, 3), (420, 90, 60, 2, 4)];
    let colours = [[200, 90, 160], [80, 170, 110], [150, 120, 200]];
    for ((cx, cy, r, vx, vy), colour) in balls.iter().zip(colours) {
        let (dx, dy) = (x - (cx + vx * t), y - (cy + vy * t));
        if dx * dx + dy * dy < r * r {
            return colour[plane];
        }
    }
    let sky = [170 - y / 6, 140, 112];
    sky[plane]
}
