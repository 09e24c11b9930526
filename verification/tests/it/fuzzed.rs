//! A series of random pictures without end: any size, depth, colour format, range and lattice, the same on every machine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use framemill_verification::Kernel;
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::{Grid, Plane};
use sha2::{Digest, Sha256};

/// Frames that one thread takes at a time; their digest does not depend on who takes them.
const BATCH: u64 = 100;

/// Digest of the features of the first so many frames, in hexadecimal digits.
pub(crate) fn digest(kernel: Kernel, frames: u64, threads: usize) -> String {
    let next = AtomicU64::new(0);
    let batches = Mutex::new(vec![[0; 32]; frames.div_ceil(BATCH) as usize]);
    let work = || {
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            let (start, end) = (batch * BATCH, ((batch + 1) * BATCH).min(frames));
            if start >= end {
                return;
            }
            let mut hash = Sha256::new();
            for index in start..end {
                hash.update(Fuzzed::new(index).measure(kernel).canonical_bytes());
            }
            batches.lock().unwrap_or_else(PoisonError::into_inner)[batch as usize] = hash.finalize().into();
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let batches = batches.into_inner().unwrap_or_else(PoisonError::into_inner);
    Sha256::digest(batches.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A linear congruential generator: its sequence stands in its two constants.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds lie far apart.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 8) as usize % bound
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// Samples with rows that are `stride` bytes apart.
struct Samples {
    data: Vec<u8>,
    stride: usize,
    width: usize,
    height: usize,
}

/// One picture of the series.
struct Fuzzed {
    pts: i64,
    depth: u8,
    range: Range,
    lattice: Lattice,
    luma: Samples,
    chroma: Option<[Samples; 2]>,
}

impl Fuzzed {
    fn new(index: u64) -> Self {
        let mut draw = Draw::new(index);
        let (width, height) = size(&mut draw);
        let depth = draw.of(&[8, 8, 8, 8, 10, 10, 12, 9, 16]);
        // Gray, 4:2:0, 4:2:2, 4:4:4.
        let shifts = draw.of(&[None, Some((1, 1)), Some((1, 1)), Some((1, 0)), Some((0, 0))]);
        let half = |side: usize, shift: usize| (side + shift) >> shift;
        let luma = Samples::new(&mut draw, width, height, depth);
        let chroma = shifts.map(|(across, down)| {
            let (width, height) = (half(width, across), half(height, down));
            [(), ()].map(|()| Samples::new(&mut draw, width, height, depth))
        });
        Self {
            pts: draw.next() as i64,
            depth,
            range: draw.of(&[Range::Limited, Range::Full]),
            lattice: lattice(&mut draw, width, height),
            luma,
            chroma,
        }
    }

    fn measure(&self, kernel: Kernel) -> FrameFeatures {
        let chroma = self.chroma.as_ref().map(|[u, v]| (u.plane(self.depth), v.plane(self.depth)));
        let y = self.luma.plane(self.depth);
        let picture = Picture { pts: self.pts, range: self.range, y, chroma };
        FrameFeatures::measure_by(kernel, &picture, self.lattice)
    }
}

/// Mostly small, so that there can be many; large ones now and then.
fn size(draw: &mut Draw) -> (usize, usize) {
    match draw.below(64) {
        0 => draw.of(&[(16, 4000), (4000, 16), (1, 4000), (641, 361), (360, 640), (854, 480), (427, 240)]),
        1..8 => (1 + draw.below(8), 1 + draw.below(8)),
        // What lies on cells without rest is summed in another way.
        8..16 => draw.of(&[(160, 90), (320, 90), (90, 160), (160, 91), (320, 97), (256, 144), (640, 90)]),
        16..32 => (1 + draw.below(90), 1 + draw.below(200)),
        _ => (1 + draw.below(200), 1 + draw.below(90)),
    }
}

/// That of the judge, or any other.
fn lattice(draw: &mut Draw, width: usize, height: usize) -> Lattice {
    if draw.below(4) == 0 {
        return Lattice::for_picture(width, height);
    }
    let most = draw.of(&[8, 40, 100]);
    let mut side = |samples: usize| match draw.below(3) {
        // Cells of a few whole samples.
        0 => (samples / draw.of(&[1, 2, 4, 8, 12])).clamp(2, 200) / 2 * 2,
        _ => 2 + 2 * draw.below(most),
    };
    let fine = Grid { cols: side(width), rows: side(height) };
    Lattice { fine, coarse: fine.halved() }
}

impl Samples {
    fn new(draw: &mut Draw, width: usize, height: usize, depth: u8) -> Self {
        let row_bytes = width * usize::from(depth.div_ceil(8));
        let stride = row_bytes + draw.of(&[0, 1, 13, 32, 64]);
        let mut data: Vec<u8> = Vec::with_capacity(stride * height + 8);
        while data.len() < stride * height {
            data.extend_from_slice(&draw.next().to_le_bytes()[..6]);
        }
        data.truncate(stride * height);
        let (style, level) = (draw.below(8), draw.next() as u8);
        if style == 1 {
            data.fill(255);
        }
        for (index, byte) in data.iter_mut().enumerate() {
            let across = index % stride;
            *byte = match style {
                // A slope, and an edge.
                2 => (across + index / stride) as u8,
                3 if across * 2 < row_bytes => level,
                _ => *byte,
            };
            // One style has bits beyond the depth, as no decoder makes them.
            if depth > 8 && across % 2 == 1 && style != 4 {
                *byte &= (u16::MAX >> (16 - depth) >> 8) as u8;
            }
        }
        Self { data, stride, width, height }
    }

    fn plane(&self, depth: u8) -> Plane<'_> {
        Plane::new(&self.data, self.stride, self.width, self.height, depth).expect("sound plane")
    }
}
