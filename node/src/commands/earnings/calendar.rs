//! Days and hours of UTC, without a calendar of the system.

/// Milliseconds of an hour.
pub(super) const HOUR_MS: u64 = 3_600_000;
/// Hours of a day.
pub(super) const HOURS_PER_DAY: u64 = 24;
/// The last day that can be named; a ledger that holds a later one is no ledger of ours.
const LAST_DAY: u64 = 2_932_896;

/// The day since 1970 that `2026-11-30` is.
///
/// # Errors
/// It is none from 1970 to 9999.
pub(super) fn parse_day(text: &str) -> anyhow::Result<u64> {
    let wrong = || anyhow::anyhow!("\"{text}\" is no day; write it like 2026-11-30");
    let parts: Vec<u64> = text.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let [year @ 1970..=9999, month @ 1..=12, day @ 1..=31] = parts[..] else { return Err(wrong()) };
    let found = days_before(year, month) + day - 1;
    if date(found) == (year, month, day) { Ok(found) } else { Err(wrong()) }
}

/// Days from 1970 to the first of a month, by the rule of leap years.
fn days_before(year: u64, month: u64) -> u64 {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leaps_to = |year: u64| year / 4 - year / 100 + year / 400;
    let leaps = leaps_to(year - 1) - leaps_to(1969);
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: u64 = months.into_iter().take(month as usize - 1).sum();
    (year - 1970) * 365 + leaps + before
}

/// Year, month and day of a day since 1970.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day.min(LAST_DAY);
    // No year is longer than 366 days: the first guess is right or one too small.
    let guess = 1970 + day / 366;
    let year = (guess..).take_while(|year| days_before(*year, 1) <= day).last().unwrap_or(guess);
    let month = (1..=12).take_while(|month| days_before(year, *month) <= day).last().unwrap_or(1);
    (year, month, day - days_before(year, month) + 1)
}

/// `2026-11-30`.
pub(super) fn show_day(day: u64) -> String {
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-30T09:00Z`: the hour that begins then.
pub(super) fn show_hour(hour: u64) -> String {
    format!("{}T{:02}:00Z", show_day(hour / HOURS_PER_DAY), hour % HOURS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_read_back_as_they_are_shown() {
        for (text, day) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-30", 20_787), ("9999-12-31", LAST_DAY)]
        {
            assert_eq!(parse_day(text).ok(), Some(day), "{text}");
            assert_eq!(show_day(day), text);
        }
        for day in (0..LAST_DAY).step_by(997) {
            assert_eq!(parse_day(&show_day(day)).ok(), Some(day));
        }
        assert_eq!(show_hour(20_787 * 24 + 9), "2026-11-30T09:00Z");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in ["", "2026", "2026-11-31", "2025-02-29", "1969-12-31", "2026-13-01", "yesterday"] {
            assert!(parse_day(text).is_err(), "{text}");
        }
    }
}
