//! Time of the features of a ladder by every kernel of this machine, against reading the same bytes once and against plain
//! Rust, in this run on one thread.
//!
//! Prints one line per figure and, last, one JSON object. `cargo bench -p framemill-verification --bench kernels`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use framemill_verification::Kernel;
use framemill_verification::features::{FrameFeatures, Lattice, Picture, Range};
use framemill_verification::plane::{BadPlane, Plane};

/// Source and rungs: the second widest has no whole columns under its cells.
const SIZES: [(usize, usize); 4] = [(1920, 1080), (1280, 720), (854, 480), (640, 360)];
/// Frame sets that take turns, so that none waits in the nearest caches.
const SETS: usize = 6;
/// Other work on the machine only ever adds to what is measured: the least of so many runs counts.
const REPEATS: usize = 30;

/// A picture in 4:2:0.
struct Frame {
    planes: [Vec<u8>; 3],
    size: (usize, usize),
    depth: u8,
}

impl Frame {
    fn noise(size: (usize, usize), depth: u8, seed: u64) -> Self {
        let mut state = seed;
        let mut plane = |samples: usize| -> Vec<u8> {
            let mut sample = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 48) as u16 >> (16 - depth)
            };
            match depth {
                8 => (0..samples).map(|_| sample() as u8).collect(),
                _ => (0..samples).flat_map(|_| sample().to_le_bytes()).collect(),
            }
        };
        let (luma, chroma) = (size.0 * size.1, size.0.div_ceil(2) * size.1.div_ceil(2));
        Self { planes: [plane(luma), plane(chroma), plane(chroma)], size, depth }
    }

    fn plane(&self, index: usize) -> Result<Plane<'_>, BadPlane> {
        let shift = usize::from(index > 0);
        let (width, height) = ((self.size.0 + shift) >> shift, (self.size.1 + shift) >> shift);
        let stride = width * usize::from(self.depth.div_ceil(8));
        Plane::new(&self.planes[index], stride, width, height, self.depth)
    }

    fn measure(&self, kernel: Kernel) -> Result<FrameFeatures, BadPlane> {
        let chroma = Some((self.plane(1)?, self.plane(2)?));
        let picture = Picture { pts: 0, range: Range::Limited, y: self.plane(0)?, chroma };
        Ok(FrameFeatures::measure_by(kernel, &picture, Lattice::for_picture(1920, 1080)))
    }

    /// Reads every byte once, as fast as the compiler knows how.
    fn read(&self) -> u64 {
        let words = self.planes.iter().flat_map(|plane| plane.as_chunks::<8>().0);
        words.fold(0, |sum, word| sum ^ u64::from_le_bytes(*word))
    }
}

fn main() -> Result<(), BadPlane> {
    let mut table = serde_json::Map::new();
    for depth in [8, 10] {
        let set = |seed| SIZES.map(|size| Frame::noise(size, depth, seed));
        let sets: Vec<[Frame; 4]> = (1..=SETS as u64).map(set).collect();
        let kernels: Vec<Kernel> = Kernel::available().collect();
        let mut reading = Duration::MAX;
        let mut times = vec![[Duration::MAX; SIZES.len()]; kernels.len()];
        for repeat in 0..REPEATS * SETS {
            let set = &sets[repeat % SETS];
            let start = Instant::now();
            black_box(set.iter().map(Frame::read).fold(0, |all, part| all ^ part));
            reading = reading.min(start.elapsed());
            for (&kernel, times) in kernels.iter().zip(&mut times) {
                let set = &sets[(repeat + 1) % SETS];
                for (frame, time) in set.iter().zip(times) {
                    let start = Instant::now();
                    black_box(frame.measure(kernel)?);
                    *time = start.elapsed().min(*time);
                }
            }
        }
        let bytes: usize = sets[0].iter().flat_map(|frame| &frame.planes).map(Vec::len).sum();
        println!("{depth:2} bits, reading: {:.1} GB/s", bytes as f64 / reading.as_secs_f64() / 1e9);
        let whole = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64();
        for (kernel, own) in kernels.iter().zip(&times) {
            let of_reading = whole(own) / reading.as_secs_f64();
            let of_plain = whole(own) / whole(&times[0]);
            println!("{depth:2} bits, {kernel}: {of_reading:.2} times reading, {of_plain:.3} of plain Rust");
            for ((width, height), (own, plain)) in SIZES.into_iter().zip(own.iter().zip(&times[0])) {
                let ratio = own.as_secs_f64() / plain.as_secs_f64();
                // Luma and half as much chroma.
                let bytes = width * height * usize::from(depth.div_ceil(8u8)) * 3 / 2;
                let speed = bytes as f64 / own.as_secs_f64() / 1e9;
                println!("    {width}x{height}: {ratio:.3} of plain Rust, {speed:.1} GB/s");
            }
            let figures = serde_json::json!({ "of_reading": of_reading, "of_plain_rust": of_plain });
            table.insert(format!("{kernel}, {depth} bits"), figures);
        }
    }
    println!("{}", serde_json::json!({ "kernels": table }));
    Ok(())
}
