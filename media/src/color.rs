//! What the numbers of a pixel mean.

use ffmpeg_next::ffi::{
    AVCodecParameters, AVColorPrimaries, AVColorRange, AVColorSpace, AVColorTransferCharacteristic, AVFrame,
};

/// Range, matrix, primaries and transfer of a picture, carried unchanged from source to rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColorInfo {
    pub(crate) range: AVColorRange,
    pub(crate) matrix: AVColorSpace,
    pub(crate) primaries: AVColorPrimaries,
    pub(crate) transfer: AVColorTransferCharacteristic,
}

impl Default for ColorInfo {
    fn default() -> Self {
        Self {
            range: AVColorRange::AVCOL_RANGE_UNSPECIFIED,
            matrix: AVColorSpace::AVCOL_SPC_UNSPECIFIED,
            primaries: AVColorPrimaries::AVCOL_PRI_UNSPECIFIED,
            transfer: AVColorTransferCharacteristic::AVCOL_TRC_UNSPECIFIED,
        }
    }
}

impl ColorInfo {
    /// Whether luma uses 0..=255 (full range) instead of 16..=235.
    pub fn is_full_range(&self) -> bool {
        self.range == AVColorRange::AVCOL_RANGE_JPEG
    }

    /// Primaries, transfer and matrix as ISO/IEC 23091-2 numbers them; 2 stands for "not said".
    pub fn code_points(&self) -> [u32; 3] {
        [self.primaries as u32, self.transfer as u32, self.matrix as u32]
    }

    pub(crate) fn of_parameters(coded: &AVCodecParameters) -> Self {
        Self {
            range: coded.color_range,
            matrix: coded.color_space,
            primaries: coded.color_primaries,
            transfer: coded.color_trc,
        }
    }

    pub(crate) fn of_frame(frame: &AVFrame) -> Self {
        Self {
            range: frame.color_range,
            matrix: frame.colorspace,
            primaries: frame.color_primaries,
            transfer: frame.color_trc,
        }
    }

    pub(crate) fn put(&self, frame: &mut AVFrame) {
        frame.color_range = self.range;
        frame.colorspace = self.matrix;
        frame.color_primaries = self.primaries;
        frame.color_trc = self.transfer;
    }
}
