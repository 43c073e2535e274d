//! What browsers are told to be careful about, for every page and every answer of an API alike.

use crate::{
    invalid::{Faults, did_you_mean},
    pb,
};
use http::{HeaderName, HeaderValue, header};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const EMBEDDER: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The values that a header may have, where the standard lists them.
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];
const OPENERS: [&str; 4] = ["same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none"];
const EMBEDDERS: [&str; 3] = ["require-corp", "credentialless", "unsafe-none"];
const RESOURCES: [&str; 3] = ["same-origin", "same-site", "cross-origin"];
/// The most origins that may have pages in frames.
const MAX_ORIGINS: usize = 32;
/// The longest `permissions_policy`.
const MAX_PERMISSIONS: usize = 2048;

/// What browsers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// In place of what the upstream says.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Where the upstream says nothing.
    pub default: Vec<(HeaderName, HeaderValue)>,
    /// Beside what the upstream says: of several policies a browser keeps to all.
    pub content_security_policy: Option<HeaderValue>,
    /// Whether headers that tell which software answers are taken out.
    pub hides_software: bool,
}

// === impl SecurityHeaders ===

impl SecurityHeaders {
    pub(super) fn check(message: &pb::SecurityHeaders, faults: &mut Faults) -> Option<SecurityHeaders> {
        let before = faults.count();
        let mut policy = SecurityHeaders {
            set: vec![(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))],
            default: Vec::new(),
            content_security_policy: None,
            hides_software: !message.keep_software,
        };
        match message.referrer_policy.as_deref() {
            None => {
                let value = HeaderValue::from_static("strict-origin-when-cross-origin");
                policy.default.push((header::REFERRER_POLICY, value));
            }
            Some("") => {}
            Some(text) => policy.set.extend(listed(
                ("referrer_policy", header::REFERRER_POLICY),
                text,
                &REFERRER_POLICIES,
                faults,
            )),
        }
        policy.frames(message.frames.as_ref(), faults);
        for (field, text, values) in [
            (("opener_policy", OPENER), &message.opener_policy, &OPENERS[..]),
            (("embedder_policy", EMBEDDER), &message.embedder_policy, &EMBEDDERS[..]),
            (("resource_policy", RESOURCE), &message.resource_policy, &RESOURCES[..]),
        ] {
            if !text.is_empty() {
                policy.set.extend(listed(field, text, values, faults));
            }
        }
        if !message.permissions_policy.is_empty() {
            let value = faults.at("permissions_policy", |faults| faults.take(permissions(&message.permissions_policy)));
            policy.set.extend(value.map(|value| (PERMISSIONS_POLICY, value)));
        }
        (faults.count() == before).then_some(policy)
    }

    // Who may show pages in frames of his own: the old header, which knows two answers, and the new one.
    fn frames(&mut self, message: Option<&pb::Frames>, faults: &mut Faults) {
        use pb::frames::Kind;
        let (old, new) = match message.and_then(|message| message.kind.as_ref()) {
            Some(Kind::Any(_)) => return,
            Some(Kind::None(_)) => (Some("DENY"), "frame-ancestors 'none'".into()),
            None | Some(Kind::SameOrigin(_)) => (Some("SAMEORIGIN"), "frame-ancestors 'self'".into()),
            Some(Kind::Origins(message)) => {
                let origins = faults.at("frames", |faults| faults.at("origins", |faults| origins(message, faults)));
                (None, format!("frame-ancestors 'self' {}", origins.join(" ")))
            }
        };
        self.content_security_policy = HeaderValue::try_from(new).ok();
        if let Some(old) = old {
            self.set.push((header::X_FRAME_OPTIONS, HeaderValue::from_static(old)));
        }
    }

    /// Whether old browsers are told nothing, for their header has no word for it.
    pub fn removes_frame_options(&self) -> bool {
        self.content_security_policy.is_some() && !self.set.iter().any(|(name, _)| *name == header::X_FRAME_OPTIONS)
    }
}

fn listed(
    (field, name): (&str, HeaderName),
    text: &str,
    values: &[&'static str],
    faults: &mut Faults,
) -> Option<(HeaderName, HeaderValue)> {
    let known = values.iter().find(|value| **value == text).ok_or_else(|| {
        let hint = did_you_mean(text, values.iter().copied());
        format!("{text:?} is none of {}{hint}", values.join(", "))
    });
    let value = faults.at(field, |faults| faults.take(known))?;
    Some((name, HeaderValue::from_static(value)))
}

fn permissions(text: &str) -> Result<HeaderValue, String> {
    // Browsers pass over the whole header if it is written as the one that it follows (Feature-Policy).
    if text.len() > MAX_PERMISSIONS || !text.contains('=') || text.contains(';') {
        return Err(format!(
            "write features and who may use them, as in \"camera=(), geolocation=(self)\", at most {MAX_PERMISSIONS} bytes"
        ));
    }
    HeaderValue::from_str(text).map_err(|_| "only visible ASCII can stand in a header".into())
}

fn origins(message: &pb::FrameOrigins, faults: &mut Faults) -> Vec<String> {
    faults.at("origins", |faults| {
        if message.origins.is_empty() || message.origins.len() > MAX_ORIGINS {
            faults.note(format!("1 to {MAX_ORIGINS} origins can be given"));
        }
        let check = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(origin(text)));
        message.origins.iter().enumerate().filter_map(check).collect()
    })
}

// A source of a Content-Security-Policy: a scheme and a host, which may begin with a star.
fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.:[]".contains(&c);
    let is_it = host.map(|host| host.strip_prefix("*.").unwrap_or(host));
    match is_it.is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain)) {
        true => Ok(text.into()),
        false => Err(format!(
            "{text:?} is no origin; write it as in \"https://app.example.com\" or \"https://*.example.com\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: pb::SecurityHeaders) -> Result<SecurityHeaders, String> {
        let mut faults = Faults::default();
        let policy = SecurityHeaders::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        policy.ok_or(found.join(" "))
    }

    fn text(headers: &[(HeaderName, HeaderValue)]) -> Vec<String> {
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn without_a_word_it_is_safe() {
        let policy = check(pb::SecurityHeaders::default()).unwrap();
        assert_eq!(text(&policy.set), ["x-content-type-options: nosniff", "x-frame-options: SAMEORIGIN"]);
        assert_eq!(text(&policy.default), ["referrer-policy: strict-origin-when-cross-origin"]);
        assert_eq!(policy.content_security_policy.unwrap(), "frame-ancestors 'self'");
        assert!(policy.hides_software);
    }

    #[test]
    fn frames_are_told_of_in_both_languages() {
        use pb::frames::Kind;
        let frames =
            |kind| check(pb::SecurityHeaders { frames: Some(pb::Frames { kind: Some(kind) }), ..Default::default() });
        let of = |policy: SecurityHeaders| (policy.removes_frame_options(), policy.content_security_policy);
        let csp = |text| Some(HeaderValue::from_static(text));
        assert_eq!(of(frames(Kind::None(pb::NoFrames {})).unwrap()), (false, csp("frame-ancestors 'none'")));
        assert_eq!(of(frames(Kind::Any(pb::AnyFrames {})).unwrap()), (false, None));
        let origins = |list: &[&str]| {
            frames(Kind::Origins(pb::FrameOrigins { origins: list.iter().map(ToString::to_string).collect() }))
        };
        let expect = (true, csp("frame-ancestors 'self' https://a.example http://*.b.example:8080"));
        assert_eq!(of(origins(&["https://a.example", "http://*.b.example:8080"]).unwrap()), expect);
        let bad = "/frames/origins/origins/0 /frames/origins/origins/1 /frames/origins/origins/2";
        assert_eq!(origins(&["a.example", "https://a.example; script-src *", "https://*"]).unwrap_err(), bad);
        assert!(origins(&[]).is_err());
    }

    #[test]
    fn only_what_browsers_know_is_taken() {
        let given = |text: &str| {
            check(pb::SecurityHeaders {
                referrer_policy: Some(text.into()),
                opener_policy: text.into(),
                embedder_policy: text.into(),
                resource_policy: text.into(),
                permissions_policy: text.into(),
                ..Default::default()
            })
        };
        let all = "/referrer_policy /opener_policy /embedder_policy /resource_policy /permissions_policy";
        assert_eq!(given("nonsense").unwrap_err(), all);
        assert!(given("").unwrap().default.is_empty());
        let permissions =
            |text: &str| check(pb::SecurityHeaders { permissions_policy: text.into(), ..Default::default() }).is_ok();
        assert!(permissions("camera=(), geolocation=(self \"https://a.example\")"));
        assert!(!permissions("camera 'none'; geolocation 'self'"));
    }
}
