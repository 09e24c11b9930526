//! Who scales from whom, and how many threads each encoder gets.

use framemill_network::ladder::{Ladder, LadderEntry};

/// A rung is scaled from a larger rung instead of the source when that one is at least this much larger in both
/// directions, as numerator and denominator: 720p feeds 480p, with room for the rounding of 853.3 to 854. Closer than
/// that, the second filter would cost visible sharpness.
const CASCADE_RATIO: (u64, u64) = (29, 20);

/// Where a rung's pictures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The decoder.
    Source,
    /// The scaled pictures of the rung with this index.
    Rung(usize),
}

/// How one rung is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RungPlan {
    /// Where its pictures come from.
    pub(crate) origin: Origin,
    /// Threads of its encoder.
    pub(crate) threads: u32,
}

/// Plans every rung of a concrete ladder for a machine with `threads` hardware threads.
pub(crate) fn plan(ladder: &Ladder, threads: u32) -> Vec<RungPlan> {
    let entries = ladder.entries();
    let total: u64 = entries.iter().map(weight).sum();
    let plan_one = |(index, entry): (usize, &LadderEntry)| RungPlan {
        origin: origin(entries, index),
        threads: share(weight(entry), total, threads),
    };
    entries.iter().enumerate().map(plan_one).collect()
}

/// The smallest rung that is large enough and has every frame this one needs, else the source.
fn origin(entries: &[LadderEntry], index: usize) -> Origin {
    let entry = &entries[index];
    let feeds = |&(other, larger): &(usize, &LadderEntry)| {
        let has_frames = larger.fps.is_source() || larger.fps == entry.fps;
        let same_size = larger.width == entry.width && larger.height == entry.height;
        has_frames && other != index && (is_larger(larger, entry) || (same_size && other < index))
    };
    let best = entries.iter().enumerate().filter(feeds).min_by_key(|(_, larger)| larger.pixels_per_frame());
    best.map_or(Origin::Source, |(other, _)| Origin::Rung(other))
}

fn is_larger(larger: &LadderEntry, entry: &LadderEntry) -> bool {
    let (num, den) = CASCADE_RATIO;
    let enough = |from: u32, to: u32| u64::from(from) * den >= u64::from(to) * num;
    enough(larger.width, entry.width) && enough(larger.height, entry.height)
}

/// Encoding work per second, in arbitrary units; an open rate counts as 30.
fn weight(entry: &LadderEntry) -> u64 {
    let fps = if entry.fps.is_source() { 30 } else { entry.fps.num().div_ceil(entry.fps.den()) };
    entry.pixels_per_frame() * u64::from(fps)
}

fn share(weight: u64, total: u64, threads: u32) -> u32 {
    let rounded = (u64::from(threads) * weight + total / 2) / total.max(1);
    u32::try_from(rounded).unwrap_or(threads).clamp(1, threads.max(1))
}

#[cfg(test)]
mod tests {
    use framemill_network::ladder::SourceVideo;

    use super::*;

    fn ladder(text: &str) -> Ladder {
        let fps = "60".parse().expect("a rate");
        let source = SourceVideo { width: 1920, height: 1080, fps };
        text.parse::<Ladder>().and_then(|ladder| ladder.resolve(&source)).expect("a ladder")
    }

    fn origins(text: &str) -> Vec<Origin> {
        plan(&ladder(text), 4).iter().map(|rung| rung.origin).collect()
    }

    #[test]
    fn cascades_from_the_smallest_rung_that_is_large_enough() {
        let chain = [Origin::Source, Origin::Rung(0), Origin::Rung(0), Origin::Rung(2)];
        assert_eq!(origins("720:3000k,480:1500k,360:800k,240:400k"), chain);
    }

    #[test]
    fn scales_neighbours_from_the_source() {
        assert_eq!(origins("720:3000k,576:2000k"), [Origin::Source, Origin::Source]);
    }

    #[test]
    fn order_of_the_ladder_does_not_matter() {
        assert_eq!(origins("360:800k,720:3000k"), [Origin::Rung(1), Origin::Source]);
    }

    #[test]
    fn does_not_cascade_from_a_rung_that_lacks_frames() {
        assert_eq!(origins("720p30:3000k,360:800k"), [Origin::Source, Origin::Source]);
        assert_eq!(origins("720:3000k,360p30:800k"), [Origin::Source, Origin::Rung(0)]);
    }

    #[test]
    fn rungs_of_one_size_are_scaled_once() {
        let two = origins(
            r#"[{"name":"a","height":360,"bitrate":800000},{"name":"b","height":360,"bitrate":400000}]"#,
        );
        assert_eq!(two, [Origin::Source, Origin::Rung(0)]);
    }

    #[test]
    fn every_encoder_has_a_thread_and_large_rungs_have_more() {
        let threads: Vec<_> =
            plan(&ladder("720:3000k,480:1500k,360:800k"), 16).iter().map(|rung| rung.threads).collect();
        assert_eq!(threads, [9, 4, 2]);
        assert!(plan(&ladder("720:3000k,480:1500k,360:800k"), 1).iter().all(|rung| rung.threads == 1));
    }
}
