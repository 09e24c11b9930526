//! Reads the syntax elements of parameter sets and slice headers, emulation prevention taken out on the way.

/// A reader of bits, most significant first. Every read ends with `None` at the end of the unit.
#[derive(Clone)]
pub(crate) struct BitReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    zeros: u8,
    byte: u8,
    left: u8,
    escaped: bool,
}

impl<'a> BitReader<'a> {
    /// Reads a unit's bytes behind its header.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), zeros: 0, byte: 0, left: 0, escaped: true }
    }

    /// Reads bytes whose emulation prevention is gone already.
    pub(crate) fn plain(bytes: &'a [u8]) -> Self {
        Self { escaped: false, ..Self::new(bytes) }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.next()?;
        if self.escaped && self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.bytes.next()?;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }

    /// One bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 == 1)
    }

    /// An unsigned number of at most 32 bits.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0u32, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// Passes over bits.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    /// An unsigned Exp-Golomb number below 2^32 - 1.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// An unsigned Exp-Golomb number that may not pass `bound`.
    pub(crate) fn ue_up_to(&mut self, bound: u32) -> Option<u32> {
        self.ue().filter(|&value| value <= bound)
    }

    /// Passes over Exp-Golomb numbers, signed or not.
    pub(crate) fn skip_ue(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.ue().map(drop))
    }

    /// A signed Exp-Golomb number.
    pub(crate) fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code & 1 == 1 { (code + 1) / 2 } else { -code / 2 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nal::unescape;

    #[test]
    fn reads_the_codes_of_the_standard() {
        // 1 010 011 00100 00101 0000
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([bits.ue(), bits.ue(), bits.ue()], [Some(0), Some(1), Some(2)]);
        assert_eq!([bits.se(), bits.se()], [Some(2), Some(-2)]);
        assert_eq!((bits.ue(), bits.flag()), (None, None));
    }

    proptest! {
        #[test]
        fn reads_what_unescaping_leaves(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(3u8), any::<u8>()], 0..64)) {
            let plain = unescape(&bytes);
            let mut bits = BitReader::new(&bytes);
            for byte in plain {
                prop_assert_eq!(bits.bits(8), Some(u32::from(byte)));
            }
            prop_assert_eq!(bits.flag(), None);
        }
    }
}
