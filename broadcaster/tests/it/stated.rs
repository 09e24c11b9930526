//! Features that a lying orchestrator states of a rendition: the true ones but for one cell.

use bytes::Bytes;
use framemill_media::MediaLimits;
use framemill_verification::features::FrameFeatures;
use framemill_verification::{Commitment, CommitmentError, Features, FrameBlocks, RenditionFeatures};

/// The frame that is lied about, and the byte of its features.
pub(crate) const FALSE_FRAME: u32 = 13;
pub(crate) const FALSE_BYTE: u32 = 5_001;

/// Cells of the fine lattice, and of each of the three coarse ones.
const FINE: usize = 160 * 90;
const COARSE: usize = 80 * 45;

pub(crate) struct Stated {
    commitment: Commitment,
    frames: Vec<FrameBlocks>,
}

impl Stated {
    pub(crate) fn with_a_false_cell(rendition: &Bytes) -> Self {
        let truth = RenditionFeatures::new(rendition.clone(), MediaLimits::segment()).unwrap();
        let shape = truth.commitment().shape();
        let mut frames: Vec<_> = (0..shape.frames).map(|index| truth.frame(index).unwrap()).collect();
        frames[FALSE_FRAME as usize] = falsified(&frames[FALSE_FRAME as usize]);
        let leaves = frames.iter().map(FrameBlocks::leaf).collect();
        Self { commitment: Commitment::new(shape.width, shape.height, leaves), frames }
    }
}

fn falsified(truth: &FrameBlocks) -> FrameBlocks {
    let mut bytes: Vec<u8> = (0..).map_while(|block| truth.block(block)).flatten().copied().collect();
    bytes[FALSE_BYTE as usize] ^= 1;
    let (pts, cells) = bytes.split_at(8);
    let cells: Vec<u16> = cells.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let coarse = |plane: usize| cells[FINE + plane * COARSE..][..COARSE].to_vec();
    let features = FrameFeatures {
        pts: i64::from_be_bytes(pts.try_into().unwrap()),
        fine: cells[..FINE].to_vec(),
        luma: coarse(0),
        u: coarse(1),
        v: coarse(2),
    };
    FrameBlocks::new(truth.index(), &features)
}

impl Features for Stated {
    fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    fn frame(&self, index: u32) -> Result<FrameBlocks, CommitmentError> {
        Ok(self.frames[index as usize].clone())
    }
}
