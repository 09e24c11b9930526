//! Takes a rendition apart and puts it together again, so that one thing of it can be a lie.

use framemill_verification::nal::unescape;
use framemill_verification::ts;

pub(crate) const PACKET: usize = 188;
const MAP_PID: u16 = 0x1000;

/// One unit with its times.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) pts: Option<u64>,
    pub(crate) dts: Option<u64>,
    pub(crate) clock: Option<u64>,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) pid: u16,
    pub(crate) stream_type: u8,
    pub(crate) units: Vec<Unit>,
}

/// A rendition in parts. The video is the first stream.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) streams: Vec<Stream>,
    /// Identifier that the program map names for the clock.
    pub(crate) clock_pid: u16,
}

impl Parts {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let stream = ts::parse(bytes).expect("an honest rendition");
        let streams = stream.streams.iter().map(|stream| Stream {
            pid: stream.pid,
            stream_type: stream.stream_type,
            units: stream
                .units
                .iter()
                .zip(stream.unit_data())
                .map(|(unit, data)| Unit {
                    pts: unit.pts,
                    dts: unit.dts,
                    clock: stream.is_video().then(|| unit.dts.or(unit.pts)).flatten(),
                    data: data.to_vec(),
                })
                .collect(),
        });
        Self { streams: streams.collect(), clock_pid: stream.clock_pid }
    }

    pub(crate) fn video(&mut self) -> &mut Vec<Unit> {
        &mut self.streams[0].units
    }

    /// The video unit that is shown last.
    pub(crate) fn last_shown(&mut self) -> usize {
        let times = self.video().iter().enumerate();
        times.max_by_key(|(_, unit)| unit.pts).expect("there are frames").0
    }

    /// Changes the NAL units of a video unit.
    pub(crate) fn edit(&mut self, index: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let data = &mut self.video()[index].data;
        let mut units = nal_units(data);
        change(&mut units);
        *data = byte_stream(&units);
    }

    /// Changes the first NAL unit of a type, as `number` tells it from its first byte.
    pub(crate) fn edit_first(&mut self, is: impl Fn(u8) -> bool, change: impl Fn(&mut Vec<u8>)) {
        for unit in self.video() {
            let mut units = nal_units(&unit.data);
            if let Some(found) = units.iter_mut().find(|unit| is(unit[0])) {
                change(found);
                unit.data = byte_stream(&units);
                return;
            }
        }
        panic!("no such unit");
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.table(0, &association(&[(1, MAP_PID)]));
        writer.table(MAP_PID, &self.map());
        let mut order: Vec<(u64, &Stream, &Unit)> = Vec::new();
        for stream in &self.streams {
            let mut last = 0;
            for unit in &stream.units {
                // Units without a time stay behind the one before.
                last = unit.dts.or(unit.pts).unwrap_or(last);
                order.push((last, stream, unit));
            }
        }
        // The clock of these clips does not wrap.
        order.sort_by_key(|(time, stream, _)| (*time, stream.pid));
        for (_, stream, unit) in order {
            writer.unit(stream, unit);
        }
        writer.out.concat()
    }

    fn map(&self) -> Vec<u8> {
        let mut body = vec![0, 1, 0xc1, 0, 0];
        body.extend((0xe000 | self.clock_pid).to_be_bytes());
        body.extend([0xf0, 0]);
        for stream in &self.streams {
            body.push(stream.stream_type);
            body.extend((0xe000 | stream.pid).to_be_bytes());
            body.extend([0xf0, 0]);
        }
        section(2, &body)
    }
}

/// A program association of these programs and maps.
pub(crate) fn association(programs: &[(u16, u16)]) -> Vec<u8> {
    let mut body = vec![0, 1, 0xc1, 0, 0];
    for (program, pid) in programs {
        body.extend(program.to_be_bytes());
        body.extend((0xe000 | pid).to_be_bytes());
    }
    section(0, &body)
}

/// A table section with its length and checksum.
pub(crate) fn section(table: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![table];
    out.extend((0xb000 | (body.len() as u16 + 4)).to_be_bytes());
    out.extend(body);
    let crc = out.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    out.extend(crc.to_be_bytes());
    out
}

/// One packet; what the payload leaves is filled up in an adaptation field.
pub(crate) fn packet(pid: u16, starts: bool, counter: u8, clock: Option<u64>, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x47, u8::from(starts) << 6 | (pid >> 8) as u8, pid as u8];
    let space = PACKET - 4 - payload.len();
    let control = if payload.is_empty() {
        0x20
    } else if space > 0 {
        0x30
    } else {
        0x10
    };
    out.push(control | counter & 15);
    if space > 0 {
        let mut field = vec![(space - 1) as u8];
        if space > 1 {
            field.push(if clock.is_some() { 0x10 } else { 0 });
        }
        if let Some(clock) = clock {
            let word = clock << 15 | 0x7e00;
            field.extend(&word.to_be_bytes()[2..]);
        }
        field.resize(space, 0xff);
        out.extend(field);
    }
    out.extend(payload);
    assert_eq!(out.len(), PACKET);
    out
}

#[derive(Default)]
struct Writer {
    out: Vec<Vec<u8>>,
    counters: std::collections::HashMap<u16, u8>,
}

impl Writer {
    fn push(&mut self, pid: u16, starts: bool, clock: Option<u64>, payload: &[u8]) {
        let counter = self.counters.entry(pid).or_default();
        self.out.push(packet(pid, starts, *counter, clock, payload));
        *counter = counter.wrapping_add(1);
    }

    fn table(&mut self, pid: u16, section: &[u8]) {
        let mut payload = vec![0];
        payload.extend(section);
        payload.resize(PACKET - 4, 0xff);
        self.push(pid, true, None, &payload);
    }

    fn unit(&mut self, stream: &Stream, unit: &Unit) {
        let video = stream.pid == 256;
        let mut bytes = header(unit, video);
        bytes.extend(&unit.data);
        let mut rest = bytes.as_slice();
        let mut clock = unit.clock;
        let mut starts = true;
        while !rest.is_empty() {
            let space = PACKET - 4 - if clock.is_some() { 8 } else { 0 };
            let (now, later) = rest.split_at(space.min(rest.len()));
            self.push(stream.pid, starts, clock.take(), now);
            (rest, starts) = (later, false);
        }
    }
}

/// The header of a packetised unit. That of sound says how long it is.
fn header(unit: &Unit, video: bool) -> Vec<u8> {
    let mut stamps = Vec::new();
    let flags = match (unit.pts, unit.dts) {
        (Some(pts), Some(dts)) => {
            stamps.extend(stamp(3, pts));
            stamps.extend(stamp(1, dts));
            0xc0
        }
        (Some(pts), None) => {
            stamps.extend(stamp(2, pts));
            0x80
        }
        (None, _) => 0,
    };
    let length = if video { 0 } else { (3 + stamps.len() + unit.data.len()) as u16 };
    let mut out = vec![0, 0, 1, if video { 0xe0 } else { 0xc0 }];
    out.extend(length.to_be_bytes());
    out.extend([0x80, flags, stamps.len() as u8]);
    out.extend(stamps);
    out
}

fn stamp(prefix: u8, time: u64) -> [u8; 5] {
    [
        prefix << 4 | (time >> 29 & 0x0e) as u8 | 1,
        (time >> 22) as u8,
        (time >> 14) as u8 | 1,
        (time >> 7) as u8,
        (time << 1) as u8 | 1,
    ]
}

/// The NAL units of a byte stream, start codes taken off.
pub(crate) fn nal_units(data: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> =
        data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at + 3).collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([data.len()]);
    let trimmed = |unit: &[u8]| -> Vec<u8> {
        let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        unit[..end].to_vec()
    };
    starts.iter().zip(ends).map(|(&start, end)| trimmed(&data[start..end])).collect()
}

pub(crate) fn byte_stream(units: &[Vec<u8>]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], unit.as_slice()].concat()).collect()
}

/// The bits of a NAL unit, with names for those that were walked.
pub(crate) struct Bits {
    head: Vec<u8>,
    bits: Vec<bool>,
    at: usize,
    fields: Vec<(&'static str, std::ops::Range<usize>)>,
}

impl Bits {
    /// Of a unit whose header has `head` bytes.
    pub(crate) fn of(unit: &[u8], head: usize) -> Self {
        let payload = unescape(&unit[head..]);
        let bits = payload.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1 == 1));
        Self { head: unit[..head].to_vec(), bits: bits.collect(), at: 0, fields: Vec::new() }
    }

    /// Of bytes without emulation prevention.
    pub(crate) fn plain(bytes: &[u8]) -> Self {
        let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1 == 1));
        Self { head: Vec::new(), bits: bits.collect(), at: 0, fields: Vec::new() }
    }

    /// Names the next `count` bits and returns their number.
    pub(crate) fn u(&mut self, name: &'static str, count: usize) -> u32 {
        let range = self.at..self.at + count;
        self.at = range.end;
        let value = self.bits[range.clone()].iter().fold(0, |value, &bit| value << 1 | u32::from(bit));
        self.fields.push((name, range));
        value
    }

    /// Names the next Exp-Golomb number and returns it.
    pub(crate) fn ue(&mut self, name: &'static str) -> u32 {
        let zeros = self.bits[self.at..].iter().position(|&bit| bit).expect("a number");
        let start = self.at;
        self.at += zeros;
        let value = self.u(name, zeros + 1) - 1;
        self.fields.last_mut().expect("just named").1.start = start;
        value
    }

    /// Names several Exp-Golomb numbers.
    pub(crate) fn ues(&mut self, names: &[&'static str]) {
        for name in names {
            self.ue(name);
        }
    }

    /// Puts other bits in the place of a named field; `0` and `1` are bits, anything else is passed over.
    pub(crate) fn set(&mut self, name: &str, bits: &str) -> &mut Self {
        let index = self.fields.iter().position(|(known, _)| *known == name).expect(name);
        let range = self.fields[index].1.clone();
        let new: Vec<bool> = bits.chars().filter(|c| "01".contains(*c)).map(|c| c == '1').collect();
        let moved = new.len() as isize - range.len() as isize;
        self.bits.splice(range.clone(), new);
        for (_, other) in &mut self.fields {
            if other.start >= range.end {
                *other = other.start.wrapping_add_signed(moved)..other.end.wrapping_add_signed(moved);
            }
        }
        self.fields[index].1.end = range.end.wrapping_add_signed(moved);
        self
    }

    /// The bytes, of which the last may be filled up.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let byte = |chunk: &[bool]| {
            chunk.iter().enumerate().fold(0u8, |byte, (i, &bit)| byte | u8::from(bit) << (7 - i))
        };
        self.bits.chunks(8).map(byte).collect()
    }

    pub(crate) fn unit(&self) -> Vec<u8> {
        let last = self.bits.iter().rposition(|&bit| bit).expect("a stop bit");
        let bytes = self.bits[..=last].chunks(8).map(|chunk| {
            chunk.iter().enumerate().fold(0u8, |byte, (i, &bit)| byte | u8::from(bit) << (7 - i))
        });
        let mut out = self.head.clone();
        out.extend(escape(&bytes.collect::<Vec<_>>()));
        out
    }
}

/// With emulation prevention.
pub(crate) fn escape(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut zeros) = (Vec::new(), 0);
    for &byte in bytes {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// An Exp-Golomb number as bits.
pub(crate) fn ue(value: u32) -> String {
    let code = format!("{:b}", value + 1);
    "0".repeat(code.len() - 1) + &code
}
