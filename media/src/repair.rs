//! Timestamps that a muxer takes, from sources that are careless with theirs.

use crate::error::MediaError;
use crate::packet::Packet;
use crate::time::Ticks;

/// Makes the timestamps of one stream's packets, given in decoding order, fit for a muxer: every packet has a
/// presentation time, decoding times rise strictly and never lie after the presentation time.
///
/// Presentation times that are there stay as they are. A missing one is put into the widest hole near its neighbours.
/// Decoding times are kept where they can be: walking back from the last packet, each decodes no later than it shows
/// and at least one tick before its successor, which is always possible.
///
/// # Errors
///
/// [`MediaError::Timestamps`] when no packet has any timestamp.
pub fn repair_timestamps(packets: &mut [Packet]) -> Result<(), MediaError> {
    let Some(stream) = packets.first().map(Packet::stream) else { return Ok(()) };
    fill_presentation_times(packets)
        .ok_or_else(|| MediaError::Timestamps { stream, reason: "no packet has a timestamp".into() })?;
    let mut latest = Ticks::MAX;
    for packet in packets.iter_mut().rev() {
        let Some(pts) = packet.pts() else { continue };
        let dts = packet.dts().unwrap_or(pts).min(pts).min(latest);
        packet.set_dts(dts);
        latest = dts.saturating_sub(1);
    }
    Ok(())
}

/// Gives a presentation time to every packet; `None` when there is nothing to go by.
fn fill_presentation_times(packets: &mut [Packet]) -> Option<()> {
    let missing: Vec<usize> = (0..packets.len()).filter(|&index| packets[index].pts().is_none()).collect();
    if missing.is_empty() {
        return Some(());
    }
    let mut known: Vec<Ticks> = packets.iter().filter_map(Packet::pts).collect();
    known.sort_unstable();
    for index in missing {
        let near = neighbour_time(packets, index)?;
        let pts = widest_hole(&known, near);
        packets[index].set_pts(pts);
        let place = known.partition_point(|&other| other < pts);
        known.insert(place, pts);
    }
    Some(())
}

/// A time close to that of packet `index`: its decoding time or that of the packets around it.
fn neighbour_time(packets: &[Packet], index: usize) -> Option<Ticks> {
    let time = |packet: &Packet| packet.dts().or(packet.pts());
    time(&packets[index])
        .or_else(|| packets[..index].iter().rev().find_map(time))
        .or_else(|| packets[index..].iter().find_map(time))
}

/// Packets by which presentation may run behind decoding: the largest reorder depth of H.264 and HEVC.
const REORDER_DEPTH: usize = 16;

/// The middle of the widest gap between `known` times (sorted) around `near`, within the depth of reordering; the place
/// after the last where no gap is wide enough to have lost a frame.
fn widest_hole(known: &[Ticks], near: Ticks) -> Ticks {
    let place = known.partition_point(|&other| other < near);
    let last = (place + REORDER_DEPTH).min(known.len());
    let window = &known[place.saturating_sub(1).min(last)..last];
    let gaps = || window.windows(2).map(|pair| (pair[0], pair[1].saturating_sub(pair[0])));
    let usual = gaps().map(|(_, gap)| gap).min().unwrap_or(1).max(1);
    // Of equally wide gaps the first wins: `max_by_key` takes the last, hence the reversal.
    let widest = gaps().rev().max_by_key(|&(_, gap)| gap).filter(|&(_, gap)| gap >= usual + usual / 2);
    match widest {
        Some((start, gap)) => start + gap / 2,
        None => known.last().map_or(near, |last| last.saturating_add(usual)),
    }
}
