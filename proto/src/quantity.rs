//! Quantities as a person writes them: durations (`250ms`, `5s`, `1m`, `1h`), ages (`1h`, `365d`), sizes (`512B`, `64KiB`, `1MiB`)
//! and shares (`1%`, `0.05%`).

use std::time::Duration;

/// The longest duration that may be configured.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest age that may be configured.
pub const MAX_AGE: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Parses an age, which others keep in mind: a whole number and `s`, `m`, `h` or `d`; at most ten years, also nothing.
pub fn age(text: &str) -> Result<Duration, String> {
    let advice = || format!("{text:?} is not an age; write a whole number and s, m, h or d, as in \"5m\" or \"365d\"");
    let (number, unit) = split(text).ok_or_else(advice)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(advice()),
    };
    let age = number.checked_mul(seconds).map(Duration::from_secs).filter(|age| *age <= MAX_AGE);
    age.ok_or_else(|| format!("{text:?} is longer than ten years; the most is \"3650d\""))
}

/// Parses a duration: a whole number and `ms`, `s`, `m` or `h`; more than nothing, at most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let advice =
        || format!("{text:?} is not a duration; write a whole number and ms, s, m or h, as in \"250ms\" or \"5s\"");
    let (number, unit) = split(text).ok_or_else(advice)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(advice()),
    };
    let duration = number.checked_mul(millis).map(Duration::from_millis).filter(|d| *d <= MAX_DURATION);
    match duration {
        None => Err(format!("{text:?} is longer than a day; the most is \"24h\"")),
        Some(Duration::ZERO) => Err("a duration is more than nothing".into()),
        Some(duration) => Ok(duration),
    }
}

/// Writes a duration as a person would, in the largest unit that it is a whole number of.
pub fn write(duration: Duration) -> String {
    let millis = duration.as_millis();
    match [(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

/// Parses a size in bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`; at most 1 TiB.
pub fn size(text: &str) -> Result<u64, String> {
    let advice = || format!("{text:?} is not a size; write a whole number and B, KiB, MiB or GiB, as in \"64KiB\"");
    let (number, unit) = split(text).ok_or_else(advice)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(advice()),
    };
    number.checked_mul(bytes).filter(|size| *size <= 1 << 40).ok_or_else(|| format!("{text:?} is more than 1024GiB"))
}

/// A share of all requests, from none to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    // Of a million.
    millionths: u32,
}

impl Share {
    /// None of them.
    pub const NONE: Share = Share { millionths: 0 };
    /// All of them.
    pub const ALL: Share = Share { millionths: 1_000_000 };

    /// Parses a share: a number with at most four decimals and `%`, from `0%` to `100%`.
    pub fn parse(text: &str) -> Result<Share, String> {
        let advice = || format!("{text:?} is not a share; write a percentage from 0 to 100, as in \"1%\" or \"0.05%\"");
        let number = text.strip_suffix('%').ok_or_else(advice)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 3) || !digits(decimals, 4) {
            return Err(advice());
        }
        let number = |text: &str| text.parse::<u32>().map_err(|_| advice());
        let millionths = number(whole)? * 10_000 + number(&format!("{decimals:0<4}"))?;
        if millionths > Share::ALL.millionths { Err(advice()) } else { Ok(Share { millionths }) }
    }

    /// Whether it takes the request of that random id: whoever asks of a larger share takes it too, here and in whatever
    /// else samples by the last 56 bits of a trace's id (OpenTelemetry's consistent probability sampling).
    pub fn takes(self, id: u128) -> bool {
        const ALL: u128 = 1 << 56;
        id % ALL >= ALL - ALL * u128::from(self.millionths) / u128::from(Share::ALL.millionths)
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..at].parse().ok()?, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_what_a_person_writes() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("1h", 3_600), ("365d", 31_536_000)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, part) in [
            ("", "is not an age"),
            ("1", "is not an age"),
            ("d", "is not an age"),
            ("1ms", "is not an age"),
            ("-1d", "is not an age"),
            ("1.5d", "is not an age"),
            ("1y", "is not an age"),
            ("3651d", "longer than ten years"),
            ("213503982334602d", "longer than ten years"),
        ] {
            assert!(age(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn durations_are_what_a_person_writes() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(duration(text).ok().map(|d| d.as_millis() as u64), expect, "{text}")
        };
        check("250ms", Some(250));
        check("5s", Some(5_000));
        check("1m", Some(60_000));
        check("24h", Some(86_400_000));
        for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "0s", "25h", "99999999999999999999s", "5S", "+5s"] {
            check(bad, None);
        }
    }

    #[test]
    fn sizes_are_what_a_person_writes() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(size(text).ok(), expect, "{text}");
        check("0B", Some(0));
        check("64KiB", Some(65_536));
        check("1024GiB", Some(1 << 40));
        for bad in ["64", "64kb", "1025GiB", "-1B", "B"] {
            check(bad, None);
        }
    }

    #[test]
    fn shares_are_percentages() {
        for (text, millionths) in
            [("0%", 0), ("1%", 10_000), ("0.05%", 500), ("0.0001%", 1), ("99.5%", 995_000), ("100%", 1_000_000)]
        {
            assert_eq!(Share::parse(text).map(|share| share.millionths), Ok(millionths), "{text}");
        }
        for bad in ["", "1", "%", "1.%", ".5%", "0.00001%", "101%", "100.1%", "-1%", "+1%", "1 %", "1000%"] {
            assert!(Share::parse(bad).unwrap_err().contains("percentage"), "{bad}");
        }
    }

    #[test]
    fn a_share_takes_about_that_many_and_a_larger_one_the_same_and_more() {
        let (small, large) = (Share::parse("1%").unwrap(), Share::parse("10%").unwrap());
        // Spread evenly.
        let ids = || (0..10_000_u128).map(|n| n * (1 << 56) / 10_000 + 1);
        assert_eq!(ids().filter(|id| small.takes(*id)).count(), 100);
        assert_eq!(ids().filter(|id| large.takes(*id)).count(), 1000);
        assert!(ids().all(|id| !small.takes(id) || large.takes(id)));
        assert!(ids().all(|id| Share::ALL.takes(id) && !Share::NONE.takes(id)));
    }
}
