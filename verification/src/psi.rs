//! Program tables of a transport stream (ISO/IEC 13818-1, 2.4.4): one program, told once and never otherwise.

use crate::reason::Reason;

/// Longest table section of the standard that is read here.
const MAX_SECTION: usize = 1024;
/// Streams a program may announce: one video and the audio tracks, with room to spare.
const MAX_STREAMS: usize = 32;
/// Bytes around the entries of a program association: header and checksum.
const HEADER: usize = 8;
const CHECKSUM: usize = 4;

/// What a program map says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Video of any codec.
    Video,
    /// MPEG-1 or MPEG-2 audio.
    MpegAudio,
    /// AAC in ADTS frames.
    Adts,
    /// AC-3 or E-AC-3.
    Ac3,
    /// Anything else: other audio, subtitles, data.
    Other,
}

/// Stream types that are video whatever else they say.
const VIDEO_TYPES: [u8; 8] = [0x01, 0x02, 0x10, 0x1b, 0x24, 0x33, 0x42, 0xea];
/// Private data whose kind a descriptor tells.
const PRIVATE_DATA: u8 = 0x06;
/// Descriptors of AC-3 and E-AC-3 in private data (ETSI EN 300 468, annex D).
const AC3_DESCRIPTORS: [u8; 2] = [0x6a, 0x7a];

impl StreamKind {
    fn of(stream_type: u8, descriptors: &[u8]) -> Self {
        match stream_type {
            _ if VIDEO_TYPES.contains(&stream_type) => Self::Video,
            0x03 | 0x04 => Self::MpegAudio,
            0x0f => Self::Adts,
            0x81 | 0x87 => Self::Ac3,
            PRIVATE_DATA if tags(descriptors).any(|tag| AC3_DESCRIPTORS.contains(&tag)) => Self::Ac3,
            _ => Self::Other,
        }
    }
}

fn tags(mut descriptors: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let [tag, length, rest @ ..] = descriptors else { return None };
        descriptors = rest.get(usize::from(*length)..).unwrap_or_default();
        Some(*tag)
    })
}

/// A stream as the program map announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) pid: u16,
    pub(crate) stream_type: u8,
    pub(crate) kind: StreamKind,
}

/// The tables so far.
#[derive(Default)]
pub(crate) struct Tables {
    association: Option<Vec<u8>>,
    program: u16,
    map: Option<Vec<u8>>,
    pending: Pending,
    pub(crate) map_pid: Option<u16>,
    pub(crate) clock_pid: Option<u16>,
    pub(crate) streams: Vec<Announced>,
}

/// A section that spans packets.
#[derive(Default)]
struct Pending {
    pid: u16,
    bytes: Vec<u8>,
}

impl Tables {
    pub(crate) fn is_complete(&self) -> bool {
        self.map.is_some() && self.pending.bytes.is_empty()
    }

    /// Takes a packet's payload; `is_map` tells the program map's packets from the association's.
    pub(crate) fn packet(
        &mut self,
        pid: u16,
        is_map: bool,
        starts: bool,
        payload: &[u8],
    ) -> Result<(), Reason> {
        if starts {
            let [0, body @ ..] = payload else { return Err(Reason::TableNotFirst) };
            if !self.pending.bytes.is_empty() {
                return Err(Reason::TableUnfinished);
            }
            self.pending = Pending { pid, bytes: body.to_vec() };
        } else if self.pending.pid == pid && !self.pending.bytes.is_empty() {
            self.pending.bytes.extend_from_slice(payload);
        } else {
            return Err(Reason::TableWithoutStart);
        }
        let bytes = &self.pending.bytes;
        let [_, hi, lo, ..] = bytes[..] else { return Ok(()) };
        let length = 3 + (usize::from(hi & 0x0f) << 8 | usize::from(lo));
        if length > MAX_SECTION {
            return Err(Reason::TableTooLong);
        }
        if bytes.len() < length {
            return Ok(());
        }
        let mut section = std::mem::take(&mut self.pending.bytes);
        // A lenient reader may look for a second section there.
        if section[length..].iter().any(|&byte| byte != 0xff) {
            return Err(Reason::TableFollowed);
        }
        section.truncate(length);
        self.section(section, is_map)
    }

    fn section(&mut self, section: Vec<u8>, is_map: bool) -> Result<(), Reason> {
        if section.len() < HEADER + CHECKSUM || crc32(&section) != 0 {
            return Err(Reason::TableDamaged);
        }
        // Current, and the only one: a player keeps no table that is yet to come.
        if section[5] & 1 == 0 || section[6] != 0 || section[7] != 0 {
            return Err(Reason::TableNotCurrent);
        }
        if is_map { self.program_map(section) } else { self.program_association(section) }
    }

    fn program_association(&mut self, section: Vec<u8>) -> Result<(), Reason> {
        if let Some(known) = &self.association {
            return same_table(known, &section, Reason::AssociationChanges);
        }
        if section[0] != 0 {
            return Err(Reason::NotAssociation);
        }
        let entries = section[HEADER..section.len() - CHECKSUM].chunks_exact(4);
        if !entries.remainder().is_empty() {
            return Err(Reason::AssociationTrails);
        }
        let mut program = None;
        for entry in entries {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let pid = u16::from_be_bytes([entry[2] & 0x1f, entry[3]]);
            if number != 0 && program.replace((number, pid)).is_some() {
                return Err(Reason::SeveralPrograms);
            }
        }
        let (number, pid) = program.ok_or(Reason::NoProgram)?;
        (self.program, self.map_pid) = (number, Some(pid));
        self.association = Some(section);
        Ok(())
    }

    fn program_map(&mut self, section: Vec<u8>) -> Result<(), Reason> {
        if let Some(known) = &self.map {
            return same_table(known, &section, Reason::MapChanges);
        }
        if section[0] != 2 || section.len() < 16 {
            return Err(Reason::NotMap);
        }
        if u16::from_be_bytes([section[3], section[4]]) != self.program {
            return Err(Reason::OtherProgram);
        }
        self.clock_pid = Some(u16::from_be_bytes([section[8] & 0x1f, section[9]]));
        let info = usize::from(section[10] & 0x0f) << 8 | usize::from(section[11]);
        let mut rest =
            section.get(12 + info..section.len() - CHECKSUM).ok_or(Reason::ProgramDescriptorsLeave)?;
        while let [stream_type, hi, lo, len_hi, len_lo, tail @ ..] = rest {
            let skip = usize::from(len_hi & 0x0f) << 8 | usize::from(*len_lo);
            let descriptors = tail.get(..skip).ok_or(Reason::StreamDescriptorsLeave)?;
            self.announce(Announced {
                pid: u16::from_be_bytes([hi & 0x1f, *lo]),
                stream_type: *stream_type,
                kind: StreamKind::of(*stream_type, descriptors),
            })?;
            rest = &tail[skip..];
        }
        if !rest.is_empty() {
            return Err(Reason::MapTrails);
        }
        self.map = Some(section);
        Ok(())
    }

    fn announce(&mut self, stream: Announced) -> Result<(), Reason> {
        if self.streams.len() == MAX_STREAMS {
            return Err(Reason::TooManyStreams);
        }
        if self.streams.iter().any(|other| other.pid == stream.pid) || Some(stream.pid) == self.map_pid {
            return Err(Reason::SharedIdentifier);
        }
        self.streams.push(stream);
        Ok(())
    }
}

fn same_table(known: &[u8], section: &[u8], reason: Reason) -> Result<(), Reason> {
    if known == section { Ok(()) } else { Err(reason) }
}

/// CRC of table sections; zero over a section that includes its own.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}
