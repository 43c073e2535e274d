//! Have browsers come by https only (RFC 6797).

use crate::{invalid::Faults, pb, quantity};
use http::HeaderValue;
use std::time::Duration;

/// What the list that browsers come with demands (hstspreload.org).
const PRELOAD_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What answers over https say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// The value of `Strict-Transport-Security`.
    pub value: HeaderValue,
}

impl Hsts {
    pub(super) fn check(message: &pb::Hsts, faults: &mut Faults) -> Option<Hsts> {
        let max_age = faults.at("max_age", |faults| match message.max_age.as_str() {
            "" => {
                faults.note("say for how long, as in \"365d\"; begin with \"5m\", for browsers keep to it");
                None
            }
            text => faults.take(quantity::age(text)),
        });
        if message.preload && !message.include_subdomains {
            faults
                .note_at("preload", "the list takes only hosts with all names below; give `include_subdomains: true`");
        }
        if message.preload && max_age.is_some_and(|age| age < PRELOAD_AGE) {
            faults.note_at("preload", "the list takes only hosts with a `max_age` of at least \"365d\"");
        }
        let mut value = format!("max-age={}", max_age?.as_secs());
        for (says, directive) in [(message.include_subdomains, "includeSubDomains"), (message.preload, "preload")] {
            if says {
                value.push_str("; ");
                value.push_str(directive);
            }
        }
        Some(Hsts { value: HeaderValue::try_from(value).expect("it is made of letters, digits and punctuation") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(max_age: &str, include_subdomains: bool, preload: bool) -> Result<String, Vec<String>> {
        let mut faults = Faults::default();
        let hsts = Hsts::check(&pb::Hsts { max_age: max_age.into(), include_subdomains, preload }, &mut faults);
        let found: Vec<String> = faults.into_found().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(hsts.unwrap().value.to_str().unwrap().into()) } else { Err(found) }
    }

    #[test]
    fn the_value_is_what_browsers_read() {
        for (age, subdomains, preload, expect) in [
            ("5m", false, false, "max-age=300"),
            ("0s", false, false, "max-age=0"),
            ("365d", true, false, "max-age=31536000; includeSubDomains"),
            ("730d", true, true, "max-age=63072000; includeSubDomains; preload"),
        ] {
            assert_eq!(check(age, subdomains, preload).unwrap(), expect);
        }
    }

    #[test]
    fn the_list_is_joined_only_by_who_it_takes() {
        for (age, subdomains, preload, expect) in [
            ("", false, false, vec!["/max_age: say for how long"]),
            ("1y", false, false, vec!["/max_age: \"1y\" is not an age"]),
            ("365d", false, true, vec!["/preload: the list takes only hosts with all names below"]),
            ("364d", true, true, vec!["/preload: the list takes only hosts with a `max_age`"]),
            (
                "1h",
                false,
                true,
                vec!["/preload: the list takes only hosts with all", "/preload: the list takes only hosts with a"],
            ),
            ("", false, true, vec!["/max_age: say for how long", "/preload: the list"]),
        ] {
            let found = check(age, subdomains, preload).unwrap_err();
            assert!(found.len() == expect.len(), "{found:?}");
            assert!(found.iter().zip(expect).all(|(found, expect)| found.starts_with(expect)), "{found:?}");
        }
    }
}
