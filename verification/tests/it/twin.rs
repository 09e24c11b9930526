//! The CUDA kernel's twin on the CPU measures what the judge measures.

use framemill_gpu::GpuError;
use framemill_gpu::lattice::{Cells, LatticeKernels, PlaneShape, Samples, Work, twin};
use framemill_verification::Kernel;
use framemill_verification::plane::{Grid, Plane, area_means_by};
use proptest::prelude::*;

/// A surface as a decoder on the device leaves it, with its planes as the judge reads them.
#[derive(Debug)]
struct Surface {
    shape: PlaneShape,
    data: Vec<u8>,
}

impl Surface {
    fn new(shape: PlaneShape, seed: u64) -> Self {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // One in four is as bright as can be.
            if seed.is_multiple_of(4) { 255 } else { (state >> 56) as u8 }
        };
        let data = (0..shape.pitch as usize * shape.height as usize).map(|_| byte()).collect();
        Self { shape, data }
    }

    /// Samples of one channel, as a planar format holds them: without what lies beside and below them.
    fn channel(&self, channel: u32) -> (Vec<u8>, u8) {
        let PlaneShape { width, pitch, samples, channels, .. } = self.shape;
        let rows = self.data.chunks_exact(pitch as usize);
        let places = move |step: usize| (0..width * channels).skip(channel as usize).step_by(step);
        let every = channels as usize;
        match samples {
            Samples::Bytes => {
                let row = |row: &[u8]| places(every).map(|at| row[at as usize]).collect::<Vec<u8>>();
                (rows.flat_map(row).collect(), 8)
            }
            Samples::Words(depth) | Samples::HighWords(depth) => {
                let shift = if matches!(samples, Samples::Words(_)) { 0 } else { 16 - depth };
                let word = |row: &[u8], at: u32| {
                    let at = 2 * at as usize;
                    (u16::from_le_bytes([row[at], row[at + 1]]) >> shift).to_le_bytes()
                };
                let row = |row: &[u8]| places(every).flat_map(|at| word(row, at)).collect::<Vec<u8>>();
                (rows.flat_map(row).collect(), depth)
            }
        }
    }

    /// What the judge measures, one channel after the other.
    fn judged(&self, grid: Grid) -> Vec<u16> {
        let PlaneShape { width, height, channels, .. } = self.shape;
        let means = |channel| {
            let (data, depth) = self.channel(channel);
            let stride = width as usize * usize::from(depth.div_ceil(8));
            let plane = Plane::new(&data, stride, width as usize, height as usize, depth);
            area_means_by(Kernel::SCALAR, &plane.expect("sound plane"), grid)
        };
        (0..channels).flat_map(means).collect()
    }
}

fn shape((width, height): (u32, u32), samples: Samples, channels: u32, padding: u32) -> PlaneShape {
    let sample_bytes = if samples == Samples::Bytes { 1 } else { 2 };
    let pitch = (width * channels * sample_bytes).next_multiple_of(16) + 16 * padding;
    PlaneShape { width, height, pitch, samples, channels }
}

fn assert_twin(shape: PlaneShape, grid: Grid, seed: u64) {
    let work = Work::new(shape, Cells { cols: grid.cols as u32, rows: grid.rows as u32 }).expect("it fits");
    let surfaces = [Surface::new(shape, seed), Surface::new(shape, seed + 1)];
    let planes: Vec<&[u8]> = surfaces.iter().map(|surface| &surface.data[..]).collect();
    let wanted: Vec<u16> = surfaces.iter().flat_map(|surface| surface.judged(grid)).collect();
    assert_eq!(twin::means(&work, &planes), wanted, "{work:?}, {seed}");
}

fn any_samples() -> impl Strategy<Value = Samples> {
    prop_oneof![
        3 => Just(Samples::Bytes),
        1 => (9u8..=16).prop_map(Samples::Words),
        1 => prop::sample::select(vec![10u8, 12, 16]).prop_map(Samples::HighWords),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn the_twin_of_the_cuda_kernel_measures_what_the_scalar_loops_do(
        size in (1u32..200, 1u32..90),
        (cols, rows) in (1usize..90, 1usize..60),
        (factor, multiple) in (1u32..4, any::<bool>()),
        samples in any_samples(),
        (channels, padding) in (1u32..=2, 0u32..4),
        seed in any::<u64>().prop_map(|seed| seed / 2),
    ) {
        // Planes of whole cells are summed in another way.
        let size = if multiple { (cols as u32 * 4 * factor, rows as u32 * factor) } else { size };
        assert_twin(shape(size, samples, channels, padding), Grid { cols, rows }, seed);
    }
}

#[test]
fn the_twin_measures_surfaces_of_the_sizes_of_video() {
    let (fine, coarse) = (Grid { cols: 160, rows: 90 }, Grid { cols: 80, rows: 45 });
    for (width, height) in [(1920, 1080), (854, 480), (360, 640), (16, 4000), (4000, 16), (1, 1)] {
        for samples in [Samples::Bytes, Samples::HighWords(10)] {
            assert_twin(shape((width, height), samples, 1, 1), fine, 1);
            let half = (u32::div_ceil(width, 2), u32::div_ceil(height, 2));
            assert_twin(shape(half, samples, 2, 0), coarse, 2);
        }
    }
}

#[test]
fn a_device_measures_what_the_judge_does_or_there_is_none() {
    let shape = shape((854, 480), Samples::Bytes, 1, 1);
    let surface = Surface::new(shape, 1);
    match LatticeKernels::open(0) {
        Ok(kernels) => {
            let work = Work::new(shape, Cells { cols: 160, rows: 90 }).expect("it fits");
            let means = kernels.means(&work, &[&surface.data]).expect("a launch");
            assert_eq!(means, surface.judged(Grid { cols: 160, rows: 90 }));
        }
        Err(reason @ (GpuError::NoDriver | GpuError::NoDevice)) => {
            eprintln!("skipped: no CUDA device: {reason}");
        }
        Err(broken) => panic!("{broken}"),
    }
}
