//! The kernel of `kernels/lattice.cu` on the CPU: the same blocks and threads, the same integers of the same width, in the
//! same order. An overflow that the kernel would wrap around is a panic here wherever overflows are checked.

use super::{Figures, GROUP_BYTES, Kind, Work};

/// Threads of a block, here and on a device.
pub const BLOCK: u32 = 128;

/// Means of planes as the kernel computes them.
///
/// # Panics
/// When a plane is shorter than [`Work::plane_bytes`].
#[must_use]
pub fn means(work: &Work, planes: &[&[u8]]) -> Vec<u16> {
    let mut out = vec![0; planes.len() * work.means()];
    for (block_y, plane) in planes.iter().enumerate() {
        assert!(plane.len() >= work.plane_bytes(), "a plane as long as the work says");
        for block_x in 0..work.figures.rows {
            block(work, plane, block_x, block_y, &mut out);
        }
    }
    out
}

fn block(work: &Work, plane: &[u8], block_x: u32, block_y: usize, out: &mut [u16]) {
    let figures = &work.figures;
    let mut lanes = vec![0u32; work.shared_bytes() as usize / 4];
    let rows = Span::of(figures.down_samples, figures.down_cells, block_x);
    for thread in 0..BLOCK {
        sum_lanes(work, plane, rows, thread, &mut lanes);
    }
    // Here the threads of a block wait for each other.
    for thread in 0..BLOCK {
        divide_cells(figures, &lanes, thread, block_x, block_y, out);
    }
}

/// The first half of a thread: the weighted sums of the lanes of every so many groups.
fn sum_lanes(work: &Work, plane: &[u8], rows: Span, thread: u32, shared: &mut [u32]) {
    let (figures, lanes) = (&work.figures, work.kind.lanes());
    let mut group = thread;
    while group * lanes < figures.lanes {
        let mut sums = [0u32; 16];
        for y in rows.first..rows.after {
            let row = &plane[y as usize * figures.pitch as usize..];
            let read = &row[(group * GROUP_BYTES) as usize..][..GROUP_BYTES as usize];
            let mut words = [0u32; 4];
            for (word, bytes) in words.iter_mut().zip(read.as_chunks::<4>().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            add(work.kind, &mut sums, words, rows.weight(figures.down_cells, y), figures.shift);
        }
        let at = (group * lanes) as usize;
        shared[at..at + lanes as usize].copy_from_slice(&sums[..lanes as usize]);
        group += BLOCK;
    }
}

/// Adds the lanes of 16 bytes to their sums.
fn add(kind: Kind, sums: &mut [u32; 16], words: [u32; 4], weight: u32, shift: u32) {
    for lane in 0..kind.lanes() as usize {
        let value = match kind {
            Kind::Bytes => words[lane / 4] >> (8 * (lane % 4)) & 0xff,
            Kind::Words => (words[lane / 2] >> (16 * (lane % 2)) & 0xffff) >> shift,
            Kind::Quads => words[lane].to_le_bytes().map(u32::from).iter().sum(),
        };
        sums[lane] += weight * value;
    }
}

/// The second half: the means of every so many cells.
fn divide_cells(
    figures: &Figures,
    lanes: &[u32],
    thread: u32,
    block_x: u32,
    block_y: usize,
    out: &mut [u16],
) {
    let mut cell = thread;
    while cell < figures.cols * figures.channels {
        let (channel, col) = (cell / figures.cols, cell % figures.cols);
        let columns = Span::of(figures.across_samples, figures.across_cells, col);
        let mut sum = 0u64;
        for x in columns.first..columns.after {
            let weight = columns.weight(figures.across_cells, x);
            sum += u64::from(weight) * u64::from(lanes[(x * figures.channels + channel) as usize]);
        }
        let mean = (16 * sum + figures.divisor / 2) / figures.divisor;
        let plane_of_cells = block_y * figures.channels as usize + channel as usize;
        let row = plane_of_cells * figures.rows as usize + block_x as usize;
        out[row * figures.cols as usize + col as usize] = mean.min(4096) as u16;
        cell += BLOCK;
    }
}

/// The samples that a cell touches, and the weights of the first and of the last.
#[derive(Clone, Copy)]
struct Span {
    first: u32,
    after: u32,
    head: u32,
    tail: u32,
}

impl Span {
    fn of(samples: u32, cells: u32, index: u32) -> Self {
        let start = index * samples;
        let end = start + samples;
        let first = start / cells;
        let after = end.div_ceil(cells);
        let head = ((first + 1) * cells).min(end) - start;
        Self { first, after, head, tail: end - (after - 1) * cells }
    }

    fn weight(self, cells: u32, index: u32) -> u32 {
        if index == self.first {
            self.head
        } else if index + 1 == self.after {
            self.tail
        } else {
            cells
        }
    }
}
