//! What may be written now and not at another time: a certificate that no client would take. What stands already goes
//! on, so that a change of something else is not refused because a certificate has expired since.

use proto::{invalid::Invalid, resource::ResourceKey, snapshot::Snapshot};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// By how much the clocks of who issues certificates may be ahead.
const SKEW: Duration = Duration::minutes(5);

/// The certificates that a change brings and that are not valid now.
pub(super) fn check(before: &Snapshot, after: &Snapshot, now: OffsetDateTime) -> Vec<Invalid> {
    let brought = before.differing(after);
    let fault = |key: &ResourceKey| {
        let validity = after.get(key)?.checked.as_certificate()?.validity();
        let detail = if validity.not_after < now.unix_timestamp() {
            format!("the certificate expired on {}; it is {} now", text(validity.not_after), text(now.unix_timestamp()))
        } else if validity.not_before > (now + SKEW).unix_timestamp() {
            let now = text(now.unix_timestamp());
            format!("the certificate is valid only from {} on; it is {now} now", text(validity.not_before))
        } else {
            return None;
        };
        Some(Invalid { resource: Some(key.clone()), pointer: "/chain".into(), detail })
    };
    brought.iter().filter_map(fault).collect()
}

fn text(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| format!("{seconds} s since 1970"))
}
