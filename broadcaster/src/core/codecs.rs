//! RFC 6381 codec strings of a segment, read from its own parameter sets and audio headers, or from an MP4's sample entries.

use std::collections::BTreeMap;

use framemill_verification::nal::unescape;

use super::{mp4, sample_entries};

/// Bytes of a transport packet (ISO/IEC 13818-1, 2.4.3).
const PACKET: usize = 188;
/// Bytes of a stream looked at: parameter sets stand before the first keyframe's slices.
const LOOK: usize = 16 * 1024;
/// Elementary streams looked at.
const MAX_STREAMS: usize = 8;

/// The codec strings of the first video and the first audio stream, for the `CODECS` attribute. Empty when the video's
/// cannot be told: a wrong attribute keeps players from playing, a missing one does not.
pub fn codec_strings(segment: &[u8]) -> Vec<String> {
    if mp4::is_mp4(segment) {
        return sample_entries::codec_strings(segment);
    }
    let streams = first_payloads(segment);
    let find = |wanted: fn(&Elementary) -> Option<String>| streams.values().find_map(wanted);
    let Some(video) = find(video_codec) else { return Vec::new() };
    std::iter::once(video).chain(find(audio_codec)).collect()
}

struct Elementary {
    /// The PES stream id (ISO/IEC 13818-1, table 2-22).
    id: u8,
    data: Vec<u8>,
}

/// The first bytes of every elementary stream, PES headers taken off, by PID.
fn first_payloads(segment: &[u8]) -> BTreeMap<u16, Elementary> {
    let mut streams: BTreeMap<u16, Elementary> = BTreeMap::new();
    for packet in segment.chunks_exact(PACKET).filter(|packet| packet[0] == 0x47) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let starts = packet[1] & 0x40 != 0;
        let Some(payload) = payload(packet) else { continue };
        let header = pes(payload).filter(|_| starts);
        if let Some(stream) = streams.get_mut(&pid) {
            if stream.data.len() < LOOK {
                stream.data.extend_from_slice(header.map_or(payload, |(_, data)| data));
            }
        } else if let Some((id, data)) = header.filter(|_| streams.len() < MAX_STREAMS) {
            streams.insert(pid, Elementary { id, data: data.to_vec() });
        }
    }
    streams
}

fn payload(packet: &[u8]) -> Option<&[u8]> {
    match packet[3] >> 4 & 3 {
        1 => packet.get(4..),
        3 => packet.get(5 + usize::from(packet[4])..),
        _ => None,
    }
}

/// Stream id and data of a PES packet's start.
fn pes(payload: &[u8]) -> Option<(u8, &[u8])> {
    let [0, 0, 1, id, _, _, _, _, header, rest @ ..] = payload else { return None };
    (*id >= 0xbd).then_some((*id, rest.get(usize::from(*header)..)?))
}

fn video_codec(stream: &Elementary) -> Option<String> {
    if !(0xe0..=0xef).contains(&stream.id) {
        return None;
    }
    nal_units(&stream.data).find_map(h264).or_else(|| nal_units(&stream.data).find_map(hevc))
}

/// Everything between Annex B start codes.
fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = data.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0, 0, 1]).map(|(at, _)| at + 3);
    starts.map(|at| &data[at..])
}

/// `avc1.PPCCLL` (RFC 6381, 3.3): profile, constraints and level as the sequence parameter set has them.
fn h264(nal: &[u8]) -> Option<String> {
    match nal {
        // A slice header's bytes could pass for a parameter set of HEVC and the other way round: 0x67, 0x47 and 0x27 are
        // parameter sets of H.264 only, as HEVC's types of those bytes are reserved.
        [0x67 | 0x47 | 0x27, profile, constraints, level, ..] => {
            Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
        }
        _ => None,
    }
}

/// `hvc1.…` (ISO/IEC 14496-15, annex E) from the general profile, tier and level of a sequence parameter set.
fn hevc(nal: &[u8]) -> Option<String> {
    let [0x42, 0x01, rest @ ..] = nal else { return None };
    let payload = unescape(rest);
    let [_, profile, c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, level, ..] = payload[..] else { return None };
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 != 0 { 'H' } else { 'L' };
    let compatibility = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
    let mut text = format!("hvc1.{space}{}.{compatibility:X}.{tier}{level}", profile & 0x1f);
    let constraints = [k0, k1, k2, k3, k4, k5];
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        text.push_str(&format!(".{byte:X}"));
    }
    Some(text)
}

fn audio_codec(stream: &Elementary) -> Option<String> {
    match (stream.id, stream.data.get(..4)?) {
        // ADTS: the object type is the profile plus one (ISO/IEC 14496-3, 1.A.2.2).
        (0xc0..=0xdf, [0xff, second, third, ..]) if second & 0xf6 == 0xf0 => {
            Some(format!("mp4a.40.{}", (third >> 6) + 1))
        }
        (0xc0..=0xdf, [0xff, second, ..]) if second & 0xe6 == 0xe2 => Some("mp4a.40.34".to_owned()),
        (0xbd, [0x0b, 0x77, ..]) => Some("ac-3".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(pid: u16, id: u8, data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x30];
        let pes_header = [0, 0, 1, id, 0, 0, 0x80, 0, 0];
        let stuffing = PACKET - 4 - 1 - pes_header.len() - data.len();
        packet.push(stuffing as u8);
        packet.extend(std::iter::repeat_n(0xff, stuffing));
        packet.extend(pes_header);
        packet.extend(data);
        packet
    }

    #[test]
    fn h264_and_aac_are_named_by_their_own_headers() {
        let video = packet(256, 0xe0, &[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1f, 0xac]);
        let audio = packet(257, 0xc0, &[0xff, 0xf1, 0x4c, 0x80, 0, 0, 0]);
        assert_eq!(codec_strings(&[video, audio].concat()), ["avc1.64001f", "mp4a.40.2"]);
    }

    #[test]
    fn hevc_main_is_named_with_tier_and_level() {
        let sps = [0, 0, 0, 1, 0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0];
        assert_eq!(codec_strings(&packet(256, 0xe0, &sps)), ["hvc1.1.6.L93.90"]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert!(codec_strings(&packet(256, 0xe0, &[1, 2, 3, 4])).is_empty());
        assert!(codec_strings(b"text").is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut data in prop::collection::vec(any::<u8>(), 0..2_000)) {
            for at in (0..data.len()).step_by(PACKET) {
                data[at] = 0x47;
            }
            let _ = codec_strings(&data);
            data.splice(..0, *b"\0\0\0\x08ftyp");
            let _ = codec_strings(&data);
        }
    }
}
