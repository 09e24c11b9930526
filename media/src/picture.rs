//! The moving picture of synthetic clips.

use crate::clip::Pattern;

/// Texture beyond the picture, so that the view can pan.
const MARGIN: usize = 256;
/// Moving shapes.
const SHAPES: usize = 6;

/// Draws the frames of a clip: a view that pans over a fixed texture, with shapes that move across it.
pub(crate) struct Painter {
    width: usize,
    height: usize,
    pattern: Pattern,
    texture: Vec<u8>,
    shapes: Vec<Shape>,
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
}

/// A rectangle that moves at an even pace and comes back on the other side.
struct Shape {
    size: (usize, usize),
    start: (usize, usize),
    step: (usize, usize),
    color: [u8; 3],
}

/// A small generator of repeatable noise (xorshift, Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize
    }

    fn byte(&mut self, low: u8, high: u8) -> u8 {
        low + (self.next() % (usize::from(high - low) + 1)) as u8
    }
}

/// A wave from 0 to `height` and back over `period` steps.
const fn triangle(place: usize, period: usize, height: usize) -> usize {
    let phase = place % period;
    let rising = if phase * 2 < period { phase } else { period - phase };
    rising * 2 * height / period
}

impl Painter {
    pub(crate) fn new(width: usize, height: usize, pattern: Pattern, seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let texture = texture(width + MARGIN, height + MARGIN, &mut noise);
        let shapes = (0..SHAPES)
            .map(|_| Shape {
                size: (
                    width / 12 + noise.next() % (width / 8 + 1),
                    height / 12 + noise.next() % (height / 6 + 1),
                ),
                start: (noise.next() % width, noise.next() % height),
                step: (1 + noise.next() % (width / 120 + 2), 1 + noise.next() % (height / 120 + 2)),
                color: [noise.byte(40, 220), noise.byte(60, 196), noise.byte(60, 196)],
            })
            .collect();
        let chroma = vec![128; width / 2 * (height / 2)];
        Self {
            width,
            height,
            pattern,
            texture,
            shapes,
            luma: vec![16; width * height],
            chroma: [chroma.clone(), chroma],
        }
    }

    /// The planes of frame `number`.
    pub(crate) fn paint(&mut self, number: usize) -> [&[u8]; 3] {
        if self.pattern == Pattern::Motion {
            self.pan(number);
            for index in 0..self.shapes.len() {
                self.draw_shape(index, number);
            }
        }
        [&self.luma, &self.chroma[0], &self.chroma[1]]
    }

    fn pan(&mut self, number: usize) {
        let left = triangle(number, 2 * MARGIN, MARGIN - 1);
        let top = triangle(number, 3 * MARGIN, MARGIN - 1);
        let stride = self.width + MARGIN;
        for (row, line) in self.luma.chunks_mut(self.width).enumerate() {
            let from = (row + top) * stride + left;
            line.copy_from_slice(&self.texture[from..from + self.width]);
        }
        let half = self.width / 2;
        for (plane, weight) in self.chroma.iter_mut().zip([2, 3]) {
            for (row, line) in plane.chunks_mut(half).enumerate() {
                let shade = 96 + triangle(row * 2 + top + number * weight, 512, 64);
                line.fill(shade as u8);
            }
        }
    }

    fn draw_shape(&mut self, index: usize, number: usize) {
        let Shape { size, start, step, color } = &self.shapes[index];
        let left = (start.0 + step.0 * number) % self.width;
        let top = (start.1 + step.1 * number) % self.height;
        let right = (left + size.0).min(self.width);
        let bottom = (top + size.1).min(self.height);
        for row in self.luma[top * self.width..bottom * self.width].chunks_mut(self.width) {
            row[left..right].fill(color[0]);
        }
        let half = self.width / 2;
        for (plane, &value) in self.chroma.iter_mut().zip(&color[1..]) {
            for row in plane[top / 2 * half..bottom / 2 * half].chunks_mut(half) {
                row[left / 2..right / 2].fill(value);
            }
        }
    }
}

/// Waves of several lengths with some grain.
fn texture(width: usize, height: usize, noise: &mut Noise) -> Vec<u8> {
    const GRAIN: usize = 7;
    let (long, short) = (97 + noise.next() % 64, 23 + noise.next() % 16);
    let mut pixels = Vec::with_capacity(width * height);
    for row in 0..height {
        let across = 30 + triangle(row, long * 2, 60);
        pixels.extend((0..width).map(|column| {
            let wave = triangle(column + row / 2, long, 50) + triangle(column * 2 + row * 3, short * 4, 40);
            (across + wave + noise.next() % GRAIN) as u8
        }));
    }
    pixels
}
