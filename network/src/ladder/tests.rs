use super::*;
use proptest::prelude::*;

fn source(width: u32, height: u32, fps: u32) -> SourceVideo {
    SourceVideo { width, height, fps: FrameRate::new(fps, 1).unwrap() }
}

fn sizes(ladder: &Ladder) -> Vec<(u32, u32)> {
    ladder.iter().map(|entry| (entry.width, entry.height)).collect()
}

fn parsed(text: &str) -> Ladder {
    text.parse().unwrap()
}

#[test]
fn reads_the_short_form() {
    let ladder = parsed("720:3000k,480p30:1.5M:hevc,360:800000");
    let names: Vec<_> = ladder.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["720p", "480p30-hevc", "360p"]);
    let bitrates: Vec<_> = ladder.iter().map(|entry| entry.bitrate).collect();
    assert_eq!(bitrates, [3_000_000, 1_500_000, 800_000]);
}

#[test]
fn reads_presets_beside_other_entries() {
    let ladder = parsed("P720p30fps16x9,360:800k");
    assert_eq!(sizes(&ladder), [(1280, 720), (0, 360)]);
}

#[test]
fn every_preset_is_a_valid_entry() {
    for name in Ladder::preset_names() {
        assert_eq!(parsed(name).get(0).unwrap().name, name);
    }
}

#[test]
fn the_default_is_what_the_short_form_says() {
    assert_eq!(Ladder::default(), parsed("720:3000k,480:1500k,360:800k"));
}

#[test]
fn refuses_what_it_cannot_read_and_says_what_it_wants() {
    for text in [
        "",
        "720",
        "720:",
        "x:1000k",
        "720:fast",
        "720:3000k:vp9",
        "720:3000k:h264:x",
        "0:3000k",
        "720:9999999k",
    ] {
        assert!(text.parse::<Ladder>().is_err(), "{text}");
    }
}

#[test]
fn refuses_more_entries_than_the_bound() {
    let text = (0..=MAX_ENTRIES).map(|index| format!("{}:800k", 100 + index)).collect::<Vec<_>>().join(",");
    assert_eq!(text.parse::<Ladder>(), Err(LadderError::EntryCount { count: MAX_ENTRIES + 1 }));
}

#[test]
fn refuses_names_that_would_leave_their_folder() {
    for name in ["../x", ".hidden", "a/b", "a b", ""] {
        let entry = LadderEntry { name: name.into(), ..Ladder::default().entries()[0].clone() };
        assert!(matches!(Ladder::new(vec![entry]), Err(LadderError::Name { .. })), "{name}");
    }
}

#[test]
fn refuses_two_entries_of_one_name() {
    let entry = Ladder::default().entries()[0].clone();
    assert!(matches!(Ladder::new(vec![entry.clone(), entry]), Err(LadderError::DuplicateName { .. })));
}

#[test]
fn tells_two_rungs_of_one_height_apart_by_bitrate() {
    let ladder = parsed("720:3000k,720:1500k");
    assert_eq!(ladder.get(1).unwrap().name, "720p-1500k");
}

#[test]
fn json_names_every_field_and_refuses_unknown_ones() {
    let text = r#"[{"name":"hd","width":1280,"height":720,"bitrate":3000000,"fps":"30000/1001","gop":"2.0","codec":"hevc","profile":"main"}]"#;
    let ladder = Ladder::from_json(text).unwrap();
    let entry = ladder.get(0).unwrap();
    assert_eq!((entry.fps.num(), entry.fps.den(), entry.gop), (30_000, 1_001, Gop::Millis(2_000)));
    assert!(Ladder::from_json(r#"[{"height":720,"bitrate":3000000,"bitrat":1}]"#).is_err());
}

#[test]
fn json_entries_without_a_name_get_one() {
    let ladder = Ladder::from_json(r#"[{"height":720,"bitrate":3000000}]"#).unwrap();
    assert_eq!(ladder.get(0).unwrap().name, "720p");
}

#[test]
fn reads_a_livepeer_transcode_configuration() {
    let text = r#"{"manifestID":"cam1","timeoutMultiplier":4,"profiles":[
        {"name":"720p","width":1280,"height":720,"bitrate":3000000,"fps":30,"fpsDen":1,"profile":"H264ConstrainedHigh","gop":"2.0"},
        {"name":"low","width":426,"height":240,"bitrate":250000,"fps":0,"encoder":"H.264","gop":"intra"}]}"#;
    let configuration = TranscodeConfiguration::from_json(text).unwrap();
    assert_eq!(configuration.manifest_id.as_deref(), Some("cam1"));
    let ladder = configuration.ladder.unwrap();
    assert_eq!((ladder.len(), ladder.get(1).unwrap().gop), (2, Gop::Intra));
    assert_eq!(ladder.get(0).unwrap().profile, Profile::High);
}

#[test]
fn a_configuration_without_profiles_leaves_the_ladder_open() {
    let configuration = TranscodeConfiguration::from_json(r#"{"manifestID":""}"#).unwrap();
    assert_eq!(configuration, TranscodeConfiguration { manifest_id: None, ladder: None });
}

#[test]
fn resolves_the_default_for_full_hd() {
    let ladder = Ladder::default().resolve(&source(1920, 1080, 30)).unwrap();
    assert_eq!(sizes(&ladder), [(1280, 720), (854, 480), (640, 360)]);
    assert!(ladder.is_concrete());
}

#[test]
fn drops_rungs_above_the_source() {
    let ladder = Ladder::default().resolve(&source(854, 480, 30)).unwrap();
    assert_eq!(sizes(&ladder), [(854, 480), (640, 360)]);
}

#[test]
fn makes_the_lowest_rung_at_the_size_of_a_source_below_every_rung() {
    let ladder = Ladder::default().resolve(&source(321, 181, 30)).unwrap();
    assert_eq!(sizes(&ladder), [(320, 180)]);
    assert_eq!(ladder.get(0).unwrap().bitrate, 800_000);
}

#[test]
fn turns_a_box_for_a_portrait_source_and_keeps_its_shape() {
    let ladder = parsed("P720p30fps16x9").resolve(&source(1080, 1920, 30)).unwrap();
    assert_eq!(sizes(&ladder), [(720, 1280)]);
}

#[test]
fn fits_another_shape_into_the_box_without_distortion() {
    let ladder = parsed("P720p30fps16x9").resolve(&source(1440, 1080, 30)).unwrap();
    assert_eq!(sizes(&ladder), [(960, 720)]);
}

#[test]
fn never_raises_the_frame_rate() {
    let ladder = parsed("720p60:3000k,480p24:1500k").resolve(&source(1920, 1080, 30)).unwrap();
    let rates: Vec<_> = ladder.iter().map(|entry| entry.fps.to_string()).collect();
    assert_eq!(rates, ["0", "24"]);
}

#[test]
fn refuses_a_source_without_a_usable_size() {
    assert!(Ladder::default().resolve(&source(0, 1080, 30)).is_err());
    assert!(Ladder::default().resolve(&source(16, 4_000_000, 30)).is_err());
}

#[test]
fn the_hash_depends_on_every_field() {
    let base = parsed("720p30:3000k").entries()[0].clone();
    let changed = [
        LadderEntry { name: "other".into(), ..base.clone() },
        LadderEntry { width: 2, ..base.clone() },
        LadderEntry { height: 722, ..base.clone() },
        LadderEntry { bitrate: 3_000_001, ..base.clone() },
        LadderEntry { fps: FrameRate::new(31, 1).unwrap(), ..base.clone() },
        LadderEntry { gop: Gop::Intra, ..base.clone() },
        LadderEntry { gop: Gop::Millis(1), ..base.clone() },
        LadderEntry { codec: Codec::Hevc, ..base.clone() },
        LadderEntry { profile: Profile::High, ..base.clone() },
    ];
    let mut hashes: Vec<_> =
        changed.into_iter().map(|entry| Ladder::new(vec![entry]).unwrap().hash()).collect();
    hashes.push(Ladder::new(vec![base]).unwrap().hash());
    let distinct: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
}

#[test]
fn counts_the_pixels_of_kept_frames() {
    let ladder = parsed("720p30:3000k,360:800k").resolve(&source(1280, 720, 60)).unwrap();
    let pts: Vec<i64> = (0..120).map(|frame| frame * 1_500).collect();
    assert_eq!(ladder.pixels_of(&pts), 60 * 1280 * 720 + 120 * 640 * 360);
    assert_eq!(ladder.expected_pixels(120, 180_000), ladder.pixels_of(&pts));
}

#[test]
fn millisecond_timestamps_do_not_flip_slots() {
    let entry = LadderEntry::from_height(720, FrameRate::new(30, 1).unwrap(), 3_000_000, Codec::H264);
    let pts: Vec<i64> = (0..120).map(|frame| (frame * 1_000 / 60) * 90).collect();
    assert_eq!(entry.kept_frames(&pts), 60);
}

#[test]
fn keeps_the_first_frame_wherever_the_segment_starts() {
    let mut gate = FrameGate::new(FrameRate::new(1, 1).unwrap());
    assert!(gate.keep(12_345));
    assert!(!gate.keep(12_345 + 3_000));
    assert!(gate.keep(12_345 + 90_000));
}

fn any_entry() -> impl Strategy<Value = LadderEntry> {
    let gop = prop_oneof![Just(Gop::Segment), Just(Gop::Intra), (1..=Gop::MAX_MILLIS).prop_map(Gop::Millis)];
    let rate = (0..120_u32, 1..1_002_u32)
        .prop_filter_map("a rate in bounds", |(num, den)| FrameRate::new(num * den.min(2), den).ok());
    let codec = prop_oneof![Just(Codec::H264), Just(Codec::Hevc), Just(Codec::Av1)];
    let sides = (0..=MAX_DIMENSION, 0..=MAX_DIMENSION);
    ("[a-z0-9_-]{1,20}", sides, MIN_BITRATE..=MAX_BITRATE, rate, gop, codec).prop_map(
        |(name, (width, height), bitrate, fps, gop, codec)| LadderEntry {
            name,
            width,
            height,
            bitrate,
            fps,
            gop,
            codec,
            profile: Profile::Main,
        },
    )
}

/// Any valid ladder, for the codecs' tests.
pub(crate) fn any_ladder() -> impl Strategy<Value = Ladder> {
    prop::collection::vec(any_entry(), 1..=MAX_ENTRIES)
        .prop_filter_map("distinct names", |entries| Ladder::new(entries).ok())
}

proptest! {
    #[test]
    fn json_comes_back_unchanged(ladder in any_ladder()) {
        prop_assert_eq!(Ladder::from_json(&ladder.to_json()).unwrap(), ladder);
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = text.parse::<Ladder>();
        let _ = TranscodeConfiguration::from_json(&text);
    }

    #[test]
    fn text_like_the_short_form_never_panics(text in "[0-9p:kM.,/h]{0,60}") {
        let _ = text.parse::<Ladder>();
    }

    #[test]
    fn a_resolved_ladder_is_concrete_inside_the_source_and_stays_as_it_is(
        ladder in any_ladder(), width in 2..=MAX_DIMENSION, height in 2..=MAX_DIMENSION, fps in 1..120_u32,
    ) {
        let source = source(width, height, fps);
        let resolved = ladder.resolve(&source).unwrap();
        prop_assert!(resolved.is_concrete());
        for entry in &resolved {
            prop_assert!(entry.width <= width && entry.height <= height);
        }
    }

    #[test]
    fn a_gate_never_keeps_more_than_the_rate_allows(
        steps in prop::collection::vec(1..20_000_i64, 0..200), num in 1..60_u32, den in 1..3_u32,
    ) {
        let rate = FrameRate::new(num, den).unwrap();
        let pts: Vec<i64> = steps.iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
        let mut gate = FrameGate::new(rate);
        let kept = pts.iter().filter(|pts| gate.keep(**pts)).count() as u64;
        let span = pts.last().zip(pts.first()).map_or(0, |(last, first)| (last - first) as u64);
        prop_assert!(kept <= rate.frames_in(span) + 1);
    }
}
