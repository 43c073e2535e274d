//! Tell clients that what they use will go away (RFC 9745, RFC 8594).

use crate::{invalid::Faults, pb};
use http::HeaderValue;
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// What answers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    /// The value of `Deprecation`.
    pub since: HeaderValue,
    /// The value of `Sunset`.
    pub sunset: Option<HeaderValue>,
    /// Values of `Link`.
    pub links: Vec<HeaderValue>,
}

impl Deprecation {
    pub(super) fn check(message: &pb::Deprecation, faults: &mut Faults) -> Option<Deprecation> {
        let before = faults.count();
        let since = faults.at("since", |faults| match message.since.as_str() {
            "" => {
                faults.note("say since when, or from when on, as in \"2026-11-24\"");
                None
            }
            text => faults.take(moment(text)),
        });
        let sunset = faults.at("sunset", |faults| match message.sunset.as_str() {
            "" => None,
            text => faults.take(moment(text)),
        });
        if let (Some(since), Some(sunset)) = (since, sunset)
            && sunset < since
        {
            faults.note_at("sunset", "it cannot be gone before it is deprecated");
        }
        let links = [
            ("information", &message.information, "deprecation"),
            ("sunset_information", &message.sunset_information, "sunset"),
            ("successor", &message.successor, "successor-version"),
        ];
        let link = |(field, address, relation): (&str, &String, &str)| match address.as_str() {
            "" => None,
            address => faults.at(field, |faults| faults.take(link(address, relation))),
        };
        let links: Vec<HeaderValue> = links.into_iter().filter_map(link).collect();
        if faults.count() > before {
            return None;
        }
        let since = HeaderValue::try_from(format!("@{}", since?.unix_timestamp()));
        let sunset = sunset.and_then(|sunset| HeaderValue::try_from(http_date(sunset)).ok());
        Some(Deprecation { since: since.expect("it is made of digits"), sunset, links })
    }
}

// A day, or a moment as RFC 3339 has it.
fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc());
    let moment = day.or_else(|_| OffsetDateTime::parse(text, &Rfc3339));
    // Of others a date of HTTP has no form.
    let moment = moment.ok().filter(|moment| (1970..=9999).contains(&moment.to_offset(time::UtcOffset::UTC).year()));
    moment.ok_or_else(|| {
        format!("{text:?} is no day and no moment; write it as in \"2026-11-24\" or \"2026-11-24T12:00:00Z\"")
    })
}

// IMF-fixdate (RFC 9110, 5.6.7).
fn http_date(moment: OffsetDateTime) -> String {
    let form =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    moment.to_offset(time::UtcOffset::UTC).format(form).expect("the form has only what a moment has")
}

fn link(address: &str, relation: &str) -> Result<HeaderValue, String> {
    let absolute = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let is_plain = |c: u8| c.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&c);
    let is_it = absolute.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(is_plain));
    let is_path = address.starts_with('/') && address.bytes().all(is_plain);
    if !(is_it || is_path) {
        return Err(format!(
            "{address:?} is no address; write it as in \"https://example.com/changes\" or, on this host, \"/v2\""
        ));
    }
    HeaderValue::try_from(format!("<{address}>; rel=\"{relation}\"")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(since: &str, sunset: &str, information: &str, successor: &str) -> Result<Vec<String>, Vec<String>> {
        let mut faults = Faults::default();
        let message = pb::Deprecation {
            since: since.into(),
            sunset: sunset.into(),
            information: information.into(),
            sunset_information: String::new(),
            successor: successor.into(),
        };
        let checked = Deprecation::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        let values = |policy: Deprecation| {
            let values = [policy.since].into_iter().chain(policy.sunset).chain(policy.links);
            values.map(|value| value.to_str().unwrap().to_string()).collect()
        };
        checked.map(values).ok_or(found)
    }

    #[test]
    fn the_values_are_what_the_standards_say() {
        let told = check("2026-06-30T23:59:59Z", "2027-01-01", "https://a.example/x?y", "/v2").unwrap();
        let expect = [
            "@1782863999",
            "Fri, 01 Jan 2027 00:00:00 GMT",
            "<https://a.example/x?y>; rel=\"deprecation\"",
            "</v2>; rel=\"successor-version\"",
        ];
        assert_eq!(told, expect);
        assert_eq!(check("2026-07-01T01:59:59+02:00", "", "", "").unwrap(), ["@1782863999"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (since, sunset, information, successor, expect) in [
            ("", "", "", "", "/since"),
            ("tomorrow", "2026-02-30", "", "", "/since /sunset"),
            ("2027-01-02", "2027-01-01", "", "", "/sunset"),
            ("2027-01-02", "", "a.example", "https://a>b", "/information /successor"),
            ("1969-01-02", "", "https:///x", "", "/since /information"),
        ] {
            assert_eq!(check(since, sunset, information, successor).unwrap_err().join(" "), expect);
        }
    }
}
