//! What a credential is to be, read of a body; every fault at once.

use crate::api::life::{read_end, read_life};
use proto::{
    invalid::{Faults, Invalid, did_you_mean},
    quantity,
};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

const FIELDS: [&str; 5] = ["id", "labels", "not_before", "expires_in", "expires_at"];
const OVERLAP: &str = "overlap";

/// How long the old one goes on where nobody says it.
pub(crate) const DEFAULT_OVERLAP: Duration = Duration::hours(24);

/// What a credential is to be. What is left to the configuration's own check is told by that.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) id: Option<String>,
    pub(super) labels: Option<Value>,
    pub(super) not_before: Option<OffsetDateTime>,
    pub(super) expires_at: Option<OffsetDateTime>,
    /// How long the one that it takes the place of goes on.
    pub(super) overlap: Duration,
}

// === impl Spec ===

impl Spec {
    /// Of a new credential.
    pub(super) fn read(value: &Value, now: OffsetDateTime) -> Result<Spec, Vec<Invalid>> {
        Spec::read_fields(value, now, &FIELDS)
    }

    /// Of one that takes the place of another.
    pub(super) fn read_rotation(value: &Value, now: OffsetDateTime) -> Result<Spec, Vec<Invalid>> {
        Spec::read_fields(value, now, &[&FIELDS[..], &[OVERLAP]].concat())
    }

    fn read_fields(value: &Value, now: OffsetDateTime, fields: &[&str]) -> Result<Spec, Vec<Invalid>> {
        let mut faults = Faults::default();
        let none = Map::new();
        let object = value.as_object().unwrap_or_else(|| {
            faults.note("an object is expected; `{}` for a credential without an end");
            &none
        });
        for field in object.keys().filter(|field| !fields.contains(&field.as_str())) {
            faults.note_at(field, format!("there is no such field{}", did_you_mean(field, fields.iter().copied())));
        }
        let mut text = |field: &str| match object.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.as_str()),
            Some(_) => {
                faults.note_at(field, "a text is expected");
                None
            }
        };
        let [id, not_before, within, end, overlap] =
            ["id", "not_before", "expires_in", "expires_at", OVERLAP].map(&mut text);
        let not_before = not_before.and_then(|text| faults.at("not_before", |faults| faults.take(read_time(text))));
        let expires_at = match (within, end) {
            (None, None) => None,
            (Some(within), None) => {
                faults.at("expires_in", |faults| faults.take(read_life(within))).map(|life| now + life)
            }
            (None, Some(end)) => faults.at("expires_at", |faults| faults.take(read_end(end, now))),
            (Some(_), Some(_)) => {
                faults.note_at("expires_at", "expires_in is given too; give one of them");
                None
            }
        };
        let overlap = match overlap {
            None => DEFAULT_OVERLAP,
            Some(text) => faults.at(OVERLAP, |faults| faults.take(read_overlap(text))).unwrap_or_default(),
        };
        let labels = object.get("labels").filter(|labels| !labels.is_null()).cloned();
        if labels.as_ref().is_some_and(|labels| !labels.is_object()) {
            faults.note_at("labels", "an object of keys and values is expected");
        }
        let spec = Spec { id: id.map(str::to_owned), labels, not_before, expires_at, overlap };
        if faults.count() == 0 { Ok(spec) } else { Err(faults.into_found()) }
    }
}

fn read_time(text: &str) -> Result<OffsetDateTime, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    time.map_err(|_| format!("{text:?} is not a time; write it as in \"2027-01-31T12:00:00Z\""))
}

fn read_overlap(text: &str) -> Result<Duration, String> {
    let overlap = quantity::age(text)?;
    Duration::try_from(overlap).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    #[test]
    fn every_fault_is_told_at_once() {
        let check = |value: Value, expect: &[&str]| {
            let found = Spec::read(&value, NOW).err().unwrap_or_default();
            let pointers: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(pointers, expect, "{value}");
        };
        check(json!({}), &[]);
        check(json!({"id": "a", "labels": {"a": "b"}, "expires_in": "90d", "expires_at": null}), &[]);
        check(json!([]), &[""]);
        check(
            json!({"id": 7, "labels": [], "not_before": "soon", "expires_in": "soon", "overlap": "1h"}),
            &["/overlap", "/id", "/not_before", "/expires_in", "/labels"],
        );
        check(json!({"expires_in": "1d", "expires_at": "x"}), &["/expires_at"]);
        check(json!({"expires_at": "2026-11-24T11:59:59Z"}), &["/expires_at"]);
    }

    #[test]
    fn the_old_one_goes_on_for_a_day_or_as_long_as_is_said() {
        let overlap = |value: Value| Spec::read_rotation(&value, NOW).ok().map(|spec| spec.overlap);
        assert_eq!(overlap(json!({})), Some(Duration::hours(24)));
        assert_eq!(overlap(json!({"overlap": "30d"})), Some(Duration::days(30)));
        assert_eq!(overlap(json!({"overlap": "0s"})), Some(Duration::ZERO));
        assert_eq!(overlap(json!({"overlap": "-1s"})), None);
    }
}
