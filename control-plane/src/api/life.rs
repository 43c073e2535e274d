//! How long something is good, as a person says it.

use proto::quantity;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// The longest life that can be given; what has no end has none.
const MAX_DAYS: u32 = 3_650;

/// How long something is good: up to a day, or whole days.
pub(crate) fn read_life(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else {
        let life = quantity::duration(text).map_err(|why| format!("{why}; whole days are written as in \"90d\""))?;
        return Duration::try_from(life).map_err(|error| error.to_string());
    };
    let digits = days.bytes().all(|c| c.is_ascii_digit());
    let days: Option<u32> = days.parse().ok().filter(|days| digits && (1..=MAX_DAYS).contains(days));
    let days = days.ok_or_else(|| format!("{text:?} is not from \"1d\" to \"{MAX_DAYS}d\""))?;
    Ok(Duration::days(i64::from(days)))
}

/// Until when something is good: from now on, and not too long.
pub(crate) fn read_end(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let end = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("{text:?} is not a time; write it as in \"2027-01-31T12:00:00Z\""))?;
    match end {
        end if end <= now => Err(format!("{text} is over already")),
        end if end > now + Duration::days(i64::from(MAX_DAYS)) => {
            Err(format!("{text} is more than {MAX_DAYS} days away; leave it out for one without an end"))
        }
        end => Ok(end),
    }
}
