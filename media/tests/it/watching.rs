//! Rows that are seen while their picture is decoded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use framemill_media::{Decoder, DecoderConfig, FinishedRows, Frame, Packet, PictureId, VideoCodec, Watcher};

use crate::common::{limits, packets, synthetic};

/// Keeps the new rows of luma of each picture that is alive.
#[derive(Default)]
struct Rows(Mutex<HashMap<PictureId, Vec<u8>>>);

impl Watcher for Rows {
    fn begin(&self, picture: PictureId) {
        let before = self.0.lock().unwrap().insert(picture, Vec::new());
        assert!(before.is_none(), "the one before has not ended");
    }

    fn rows(&self, rows: &FinishedRows<'_>) {
        let mut pictures = self.0.lock().unwrap();
        let seen = pictures.get_mut(&rows.picture()).unwrap();
        assert_eq!(seen.len(), (rows.top() * rows.width()) as usize, "rows come from the top down");
        let plane = rows.plane(0).unwrap();
        assert_eq!(plane.rows(), rows.bottom() as usize);
        assert!(
            rows.plane(1).unwrap().rows() <= rows.bottom().div_ceil(2) as usize && rows.plane(3).is_none()
        );
        seen.extend(plane.iter_rows().skip(rows.top() as usize).flatten());
    }

    fn end(&self, picture: PictureId) {
        assert!(self.0.lock().unwrap().remove(&picture).is_some());
    }
}

/// How many frames there are, and of how many the rows were seen before.
fn watched(units: &[Packet], threads: u32, strict: bool) -> (usize, usize) {
    let rows = Arc::new(Rows::default());
    let config = DecoderConfig { threads, strict };
    let watcher = Arc::clone(&rows) as Arc<dyn Watcher>;
    let mut decoder = Decoder::of_units(VideoCodec::H264, &config, &limits(), Some(watcher)).unwrap();
    let mut frames: Vec<Frame> = Vec::new();
    for unit in units {
        decoder.send(unit).unwrap();
        frames.extend(std::iter::from_fn(|| decoder.receive().unwrap()));
    }
    decoder.flush().unwrap();
    frames.extend(std::iter::from_fn(|| decoder.receive().unwrap()));
    drop(decoder);
    let seen = |frame: &&Frame| {
        let pictures = rows.0.lock().unwrap();
        let Some(seen) = pictures.get(&frame.picture()) else { return false };
        assert!(seen.is_empty() || frame.plane(0).unwrap().iter_rows().flatten().eq(seen), "{frame:?}");
        !seen.is_empty()
    };
    let seen = frames.iter().filter(seen).count();
    assert!(
        [0, frames.len()].contains(&rows.0.lock().unwrap().len()),
        "pictures live as long as their frames"
    );
    let count = frames.len();
    drop(frames);
    assert!(rows.0.lock().unwrap().is_empty());
    (count, seen)
}

fn units() -> Vec<Packet> {
    let data = synthetic(|spec| (spec.b_frames, spec.audio) = (3, None));
    let packets = packets(data).swap_remove(0);
    packets.iter().map(|packet| Packet::of_unit(packet.data(), packet.pts().unwrap(), false)).collect()
}

#[test]
fn rows_are_shown_once_and_as_they_stay() {
    let units = units();
    assert_eq!(watched(&units, 1, true), (units.len(), units.len()));
}

#[test]
fn several_threads_show_none() {
    let units = units();
    assert_eq!(watched(&units, 2, true), (units.len(), 0));
}

#[test]
fn after_a_packet_of_several_slices_none_are_shown() {
    let mut units = units();
    let half = units.len() / 2;
    // The picture's slice once more.
    let data = units[half].data();
    let slice = memchr::memmem::rfind(data, &[0, 0, 1]).unwrap();
    units[half] = Packet::of_unit(&[data, &data[slice..]].concat(), units[half].pts().unwrap(), false);
    let (frames, seen) = watched(&units, 1, false);
    assert!(frames >= units.len() - 1 && (half - 8..=half).contains(&seen), "{seen} of {frames}");
}
