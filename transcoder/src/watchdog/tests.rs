use framemill_gpu::Memory;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NO_CHANGE: [u32; 0] = [];

fn limits() -> WatchConfig {
    WatchConfig {
        sm_budget: Some(40),
        power_limit: Some(180),
        pause_when: vec!["temperature > 80".parse().expect("a condition")],
    }
}

/// A card within all limits, all of its figures known.
const WELL: Telemetry = Telemetry {
    sm_percent: Some(99),
    process_sm_percent: Some(10),
    encoder_percent: Some(50),
    decoder_percent: Some(50),
    memory: Some(Memory { unused: 3 << 30, total: 4 << 30 }),
    temperature_celsius: Some(60),
    power_milliwatts: Some(100_000),
};

fn card(telemetry: Telemetry) -> Sight {
    Sight { telemetry: Some(telemetry), lateness_percent: None }
}

fn late(percent: u32) -> Sight {
    Sight { telemetry: None, lateness_percent: Some(percent) }
}

fn budget_passed() -> Sight {
    card(Telemetry { process_sm_percent: Some(60), ..WELL })
}

fn hot() -> Sight {
    card(Telemetry { temperature_celsius: Some(81), ..WELL })
}

/// A watchdog, and a clock that goes on by a second with each look.
struct Run {
    watchdog: Watchdog,
    now: Instant,
}

impl Run {
    fn new() -> Self {
        Self { watchdog: Watchdog::new(limits()), now: Instant::now() }
    }

    fn look(&mut self, sight: &Sight) -> Option<Change> {
        self.now += SECOND;
        self.watchdog.step(self.now, sight)
    }

    /// Shows the same for some seconds; the offers that came of it.
    fn seconds(&mut self, seconds: u64, sight: &Sight) -> Vec<u32> {
        (0..seconds).filter_map(|_| self.look(sight)).map(|change| change.parts).collect()
    }

    /// Looks at a machine whose state follows from what is offered.
    fn against(&mut self, seconds: u64, machine: impl Fn(u32) -> Sight) -> Vec<u32> {
        let look = |_| {
            let sight = machine(self.watchdog.parts);
            self.look(&sight).map(|change| change.parts)
        };
        (0..seconds).filter_map(look).collect()
    }
}

#[test]
fn offers_all_while_all_is_well() {
    let mut run = Run::new();
    assert_eq!(run.seconds(100, &card(WELL)), NO_CHANGE);
    assert_eq!(run.seconds(100, &late(80)), NO_CHANGE);
    assert_eq!(run.seconds(100, &Sight::default()), NO_CHANGE);
}

#[test]
fn halves_the_offer_until_the_sm_budget_is_kept() {
    let mut run = Run::new();
    assert_eq!(run.look(&budget_passed()), None, "one look may be chance");
    let change = run.look(&budget_passed()).expect("a budget that is passed");
    let reason = Reason::Sm { percent: 60, budget: 40, whole_card: false };
    assert_eq!(change, Change { parts: 4, reason: Some(reason) });
    assert_eq!(run.seconds(20, &budget_passed()), [2, 1, 0]);
}

#[test]
fn a_card_that_does_not_tell_processes_apart_is_held_to_the_budget_as_a_whole() {
    let mut run = Run::new();
    let change = run.seconds(2, &card(Telemetry { process_sm_percent: None, ..WELL }));
    assert_eq!(change, [4]);
}

#[test]
fn power_above_its_limit_lowers_the_offer_and_says_so() {
    let mut run = Run::new();
    let sight = card(Telemetry { power_milliwatts: Some(180_001), ..WELL });
    run.look(&sight);
    let change = run.look(&sight).expect("too much power");
    let text = change.reason.expect("a reason").to_string();
    assert_eq!(text, "the card draws 181 W, and power_limit is 180 W");
}

#[test]
fn late_segments_lower_the_offer_without_any_telemetry_and_leave_a_part() {
    let mut run = Run::new();
    assert_eq!(run.seconds(2, &late(101)), NO_CHANGE, "twice may be chance");
    assert_eq!(run.seconds(60, &late(101)), [4, 2, 1]);
}

#[test]
fn looks_without_a_segment_between_late_ones_do_not_hide_them() {
    let mut run = Run::new();
    let changes: Vec<_> =
        (0..3).flat_map(|_| [run.seconds(1, &late(150)), run.seconds(1, &Sight::default())]).collect();
    assert_eq!(changes.concat(), [4]);
}

#[test]
fn pauses_at_once_and_comes_back_slowly() {
    let mut run = Run::new();
    assert_eq!(run.seconds(30, &hot()), [0]);
    assert_eq!(run.seconds(19, &card(WELL)), NO_CHANGE);
    assert_eq!(run.seconds(200, &card(WELL)), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn stays_as_it_is_just_below_a_bound() {
    let mut run = Run::new();
    run.seconds(2, &budget_passed());
    let close = card(Telemetry { process_sm_percent: Some(39), ..WELL });
    assert_eq!(run.seconds(10_000, &close), NO_CHANGE);
}

#[test]
fn what_turned_out_too_much_is_tried_again_later_and_later() {
    let mut run = Run::new();
    // From five parts on the budget is passed.
    let machine = |parts| if parts >= 5 { budget_passed() } else { card(WELL) };
    assert_eq!(run.against(120, machine), [4, 5, 4, 5, 4]);
    let day = run.against(24 * 3600, machine);
    assert!(day.iter().all(|parts| [4, 5].contains(parts)), "{day:?}");
    assert!(day.len() < 70, "{} changes in a day", day.len());
}

#[test]
fn a_load_that_is_gone_for_good_is_forgotten() {
    let mut run = Run::new();
    run.against(600, |parts| if parts >= 5 { budget_passed() } else { card(WELL) });
    assert_eq!(run.against(3_600, |_| card(WELL)).last(), Some(&PARTS));
    assert_eq!(run.against(1_000, |_| card(WELL)), NO_CHANGE);
    assert_eq!(run.seconds(2, &budget_passed()), [4]);
}

#[test]
fn a_card_that_no_longer_tells_anything_comes_back_on_the_time_that_segments_take() {
    let mut run = Run::new();
    run.seconds(2, &hot());
    assert_eq!(run.seconds(50, &late(50)), [1, 2]);
    assert_eq!(run.seconds(5, &late(120)), [1]);
}

#[test]
fn knows_which_settings_a_card_leaves_it_blind_to() {
    assert_eq!(limits().blind(&WELL), [""; 0]);
    let dumb = Telemetry { process_sm_percent: None, sm_percent: None, power_milliwatts: None, ..WELL };
    assert_eq!(limits().blind(&dumb), ["sm_budget", "power_limit"]);
    assert_eq!(
        limits().blind(&Telemetry::default()).last().map(String::as_str),
        Some("pause_when temperature > 80")
    );
}

#[test]
fn reads_conditions_of_every_figure_and_says_what_is_wrong_with_others() {
    for (_, name, _) in FIGURES {
        let condition: PauseCondition = format!("{name}>7").parse().expect("a condition");
        assert_eq!(condition.to_string(), format!("{name} > 7"));
        assert!(condition.figure.of(&WELL).is_some());
    }
    for text in ["", "heat > 3", "sm", "sm > ", "sm > -1", "sm >= 3", "sm > 3.5"] {
        let error = text.parse::<PauseCondition>().expect_err(text);
        assert!(error.to_string().contains("temperature > 83"), "{error}");
    }
}

#[test]
fn memory_counts_as_a_share() {
    let condition: PauseCondition = "memory > 24".parse().expect("a condition");
    assert_eq!(condition.figure.of(&WELL), Some(25));
}

#[test]
fn a_share_of_one_session_is_one_session_and_nothing_of_it_is_nothing() {
    let whole = Capacity { pixels_per_second: 800, max_sessions: 1 };
    assert_eq!(share(whole, PARTS), whole);
    assert_eq!(share(whole, 1), Capacity { pixels_per_second: 100, max_sessions: 1 });
    assert_eq!(share(whole, 0), Capacity::default());
    let most = Capacity { pixels_per_second: u64::MAX, max_sessions: u32::MAX };
    assert_eq!(share(most, PARTS).pixels_per_second, u64::MAX);
}

#[test]
fn a_steady_machine_is_never_driven_up_and_down() {
    const HOURS: u64 = 6;
    for threshold in 0..=PARTS {
        for (kind, strained) in Reason::CODES.into_iter().zip([
            hot(),
            budget_passed(),
            card(Telemetry { power_milliwatts: Some(250_000), ..WELL }),
            late(200),
        ]) {
            let machine = |parts| if parts > threshold { strained } else { card(WELL) };
            let changes = Run::new().against(HOURS * 3600, machine).len() as u64;
            // All the way down and up again; then an attempt each time that the wait doubles, and each hour. A pause goes all the way.
            let attempts = 8 + HOURS;
            let way = u64::from(PARTS);
            let most = 2 * way + attempts * if kind == "pause" { way + 1 } else { 2 };
            assert!(changes <= most, "{changes} changes in {HOURS} hours by {kind} above {threshold} parts");
        }
    }
}

prop_compose! {
    fn any_sight()(
        late in prop::option::of(0_u32..300),
        telemetry in prop::option::of((prop::option::of(0_u32..200), prop::option::of(0_u32..400_000), 0_u32..120)),
    ) -> Sight {
        let telemetry = telemetry.map(|(sm, power, heat)| Telemetry {
            process_sm_percent: sm,
            power_milliwatts: power,
            temperature_celsius: Some(heat),
            ..Telemetry::default()
        });
        Sight { lateness_percent: late, telemetry }
    }
}

proptest! {
    #[test]
    fn whatever_is_seen_the_offer_stays_in_bounds_and_rises_one_part_at_a_time_after_a_calm(
        sights in prop::collection::vec((any_sight(), 1_u64..30), 1..300)
    ) {
        let mut run = Run::new();
        let (mut parts, mut unrest) = (PARTS, None);
        for (sight, seconds) in sights {
            run.now += SECOND * (seconds as u32);
            let calm = limits().strains(&sight).iter().flatten().all(|strain| strain.calm);
            if let Some(change) = run.watchdog.step(run.now, &sight) {
                prop_assert!(change.parts <= PARTS);
                match change.reason {
                    Some(_) => prop_assert!(change.parts < parts),
                    None => {
                        prop_assert_eq!(change.parts, parts + 1);
                        let since = unrest.expect("it was lowered before");
                        prop_assert!(calm && run.now - since >= CALM);
                    }
                }
                parts = change.parts;
                unrest = Some(run.now);
            }
            if !calm {
                unrest = Some(run.now);
            }
        }
    }
}
