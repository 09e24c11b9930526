//! Boxes and the fields in them.

/// A reading, or what is wrong.
pub(super) type Parsed<T> = Result<T, &'static str>;
/// The four letters of a box.
pub(super) type Kind = [u8; 4];

/// Bytes of a box's header.
pub(super) const HEADER: usize = 8;
/// Most boxes in one: tracks, and fragments of each.
const MAX_BOXES: usize = 64;

/// What is left of a box.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a box is shorter than its fields")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many bytes as were taken"))
    }

    pub(super) fn u8(&mut self) -> Parsed<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Parsed<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Parsed<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of 32 bits, or of 64 where the box is of version 1.
    pub(super) fn sized(&mut self, version: u8) -> Parsed<u64> {
        match version {
            0 => self.u32().map(u64::from),
            1 => self.array().map(u64::from_be_bytes),
            _ => Err("a box is of a version that is not known"),
        }
    }

    /// Version and flags, with which most boxes begin.
    pub(super) fn version(&mut self) -> Parsed<(u8, u32)> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// Bytes that may only be these.
    pub(super) fn expect(&mut self, bytes: &[u8], otherwise: &'static str) -> Parsed<()> {
        if self.take(bytes.len())? == bytes { Ok(()) } else { Err(otherwise) }
    }

    pub(super) fn end(self) -> Parsed<()> {
        if self.0.is_empty() { Ok(()) } else { Err("a box is longer than its fields") }
    }
}

/// The box at the beginning of `bytes`: its letters and its content, and what follows it.
pub(super) fn first(bytes: &[u8]) -> Parsed<(Kind, &[u8], &[u8])> {
    let mut fields = Fields(bytes);
    let (length, kind) = (fields.u32()? as usize, fields.array()?);
    // 0 and 1 stand for lengths that segments do not need.
    let content = length.checked_sub(HEADER).ok_or("a box is shorter than its header")?;
    Ok((kind, fields.take(content)?, fields.0))
}

/// The boxes in a box.
pub(super) struct Boxes<'a>(Vec<(Kind, &'a [u8])>);

impl<'a> Boxes<'a> {
    /// Reads boxes to the end, of these kinds only.
    pub(super) fn read(mut bytes: &'a [u8], known: &[&Kind]) -> Parsed<Self> {
        let mut boxes = Vec::new();
        while !bytes.is_empty() {
            let (kind, content, rest) = first(bytes)?;
            if !known.contains(&&kind) {
                return Err("a box is in a place where it has no business");
            }
            if boxes.len() == MAX_BOXES {
                return Err("a box has too many others in it");
            }
            boxes.push((kind, content));
            bytes = rest;
        }
        Ok(Self(boxes))
    }

    pub(super) fn all(&self, kind: &Kind) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| other == kind).map(|(_, content)| *content)
    }

    /// The box of a kind that there may be once.
    pub(super) fn maybe(&self, kind: &Kind) -> Parsed<Option<&'a [u8]>> {
        let mut all = self.all(kind);
        match (all.next(), all.next()) {
            (first, None) => Ok(first),
            _ => Err("a box is there twice"),
        }
    }

    /// The box of a kind that there must be once.
    pub(super) fn one(&self, kind: &Kind) -> Parsed<&'a [u8]> {
        self.maybe(kind)?.ok_or("a box is missing")
    }
}
