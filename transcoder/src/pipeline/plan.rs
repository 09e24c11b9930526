//! Who scales from whom, and how many threads each encoder gets.

use framemill_network::ladder::{Ladder, LadderEntry};

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

/// A rung before it of the same size that has every frame this one needs, else the source. Pictures that were scaled once are
/// never scaled again to a smaller size: that would save a twentieth of the work, and cost up to 0.2 dB of what is compared with the source.
fn origin(entries: &[LadderEntry], index: usize) -> Origin {
    let entry = &entries[index];
    let feeds = |other: &LadderEntry| {
        let has_frames = other.fps.is_source() || other.fps == entry.fps;
        has_frames && (other.width, other.height) == (entry.width, entry.height)
    };
    entries[..index].iter().position(feeds).map_or(Origin::Source, Origin::Rung)
}

/// Encoding work per second, in arbitrary units; an open rate counts as 30.
fn weight(entry: &LadderEntry) -> u64 {
    let fps = if entry.fps.is_source() { 30 } else { entry.fps.num().div_ceil(entry.fps.den()) };
    entry.pixels_per_frame() * u64::from(fps)
}

/// Rounded up: a rung that is more than half of the work would keep the others waiting for its one thread.
fn share(weight: u64, total: u64, threads: u32) -> u32 {
    let rounded = (u64::from(threads) * weight).div_ceil(total.max(1));
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
    fn every_size_is_scaled_from_the_source() {
        assert_eq!(origins("720:3000k,480:1500k,240:400k"), [Origin::Source; 3]);
    }

    #[test]
    fn rungs_of_one_size_are_scaled_once_where_the_first_has_every_frame() {
        let two = |first: &str| {
            origins(&format!(
                r#"[{{"name":"a","height":360,"bitrate":800000{first}}},{{"name":"b","height":360,"bitrate":400000}}]"#
            ))
        };
        assert_eq!(two(""), [Origin::Source, Origin::Rung(0)]);
        assert_eq!(two(r#","fps":30"#), [Origin::Source, Origin::Source]);
    }

    #[test]
    fn every_encoder_has_a_thread_and_large_rungs_have_more() {
        let threads: Vec<_> =
            plan(&ladder("720:3000k,480:1500k,360:800k"), 16).iter().map(|rung| rung.threads).collect();
        assert_eq!(threads, [10, 5, 3]);
        let two: Vec<_> =
            plan(&ladder("720:3000k,480:1500k,360:800k"), 2).iter().map(|rung| rung.threads).collect();
        assert_eq!(two, [2, 1, 1]);
        assert!(plan(&ladder("720:3000k,480:1500k,360:800k"), 1).iter().all(|rung| rung.threads == 1));
    }
}
