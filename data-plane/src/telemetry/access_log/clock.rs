//! The time as text, made from the monotonic clock: one reading serves the duration and the time.

use super::{digits::digits, pen::Pen};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time as text.
#[derive(Debug)]
pub(super) struct WallClock {
    base: (Instant, Duration),
    second: u64,
    text: [u8; 20],
}

// === impl WallClock ===

impl WallClock {
    /// The system's clock, as it is now.
    pub(super) fn new() -> WallClock {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallClock { base: (Instant::now(), epoch), second: u64::MAX, text: [0; 20] }
    }

    /// Writes the time of that moment.
    pub(super) fn write(&mut self, now: Instant, pen: &mut Pen<'_>) {
        let epoch = self.base.1 + now.saturating_duration_since(self.base.0);
        if epoch.as_secs() != self.second {
            self.second = epoch.as_secs();
            self.text = date(self.second);
        }
        pen.array(self.text);
        pen.array(digits::<3>(epoch.subsec_millis()));
        pen.byte(b'Z');
    }
}

// `2026-11-24T08:30:00.`: the proleptic Gregorian calendar, counted from a first of March so that leap days come last.
fn date(second: u64) -> [u8; 20] {
    let (days, second) = (second / 86_400 + 719_468, (second % 86_400) as u32);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month + 2) / 5 + 1) as u32;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = (era * 400 + year_of_era + carry) as u32;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = *b"0000-00-00T00:00:00.";
    text[..4].copy_from_slice(&digits::<4>(year));
    for (at, number) in [(5, month as u32), (8, day), (11, hour), (14, minute), (17, second)] {
        text[at..at + 2].copy_from_slice(&digits::<2>(number));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |second, expect: &str| assert_eq!(std::str::from_utf8(&date(second)).unwrap(), expect);
        check(0, "1970-01-01T00:00:00.");
        check(951_782_399, "2000-02-28T23:59:59.");
        check(951_782_400, "2000-02-29T00:00:00.");
        check(1_795_509_001, "2026-11-24T08:30:01.");
        check(4_102_444_800, "2100-01-01T00:00:00.");
    }
}
