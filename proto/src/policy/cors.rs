//! Cross-origin requests (CORS, as the Fetch standard has it): which other origins' scripts may ask, for what, and what
//! they may see.

use crate::{fields::check_header_names, invalid::Faults, pb, quantity};
use http::{HeaderName, HeaderValue, Method, header};
use std::time::Duration;

/// The most entries of a list.
const MAX_LISTED: usize = 64;
/// How long a browser may keep the answer to a preflight, where nothing is said.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// Longer than that no browser keeps it.
const MAX_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// What any page may send without asking, and so what is allowed where nothing is said.
const DEFAULT_METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// Who may ask, for what, and what is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Who.
    pub origins: Origins,
    /// By which methods; `None`: by any.
    pub methods: Option<Vec<Method>>,
    /// With which headers; `None`: with any but `Authorization`, which has to be named.
    pub headers: Option<Vec<HeaderName>>,
    /// Whether `Authorization` is named.
    pub authorization: bool,
    /// What scripts may read beside the usual headers.
    pub exposed: Option<HeaderValue>,
    /// Whether cookies and logins are sent.
    pub credentials: bool,
    /// How long a preflight's answer is kept.
    pub max_age: HeaderValue,
    /// Whether pages of public networks may ask in private ones.
    pub private_network: bool,
}

/// Which origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// These.
    Listed(Vec<Origin>),
}

/// An origin, in lower case, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This one.
    Exact(String),
    /// One whose host ends so: the scheme with `://`, and what stands behind the star, with its dot.
    Below(String, String),
}

// === impl Cors ===

impl Cors {
    pub(super) fn check(message: &pb::Cors, faults: &mut Faults) -> Option<Cors> {
        let before = faults.count();
        let origins = faults.at("origins", |faults| origins(&message.origins, faults));
        if message.credentials && origins == Origins::Any {
            faults.note_at(
                "credentials",
                "with any origin every page could act as whoever is logged in; list the origins, or leave credentials out",
            );
        }
        let methods = faults.at("methods", |faults| methods(&message.methods, faults));
        let headers = check_header_names("headers", &message.headers, faults);
        let is_any = headers.iter().any(|name| name == "*");
        let authorization = headers.contains(&header::AUTHORIZATION);
        let exposed = check_header_names("exposed_headers", &message.exposed_headers, faults);
        let exposed = (!exposed.is_empty()).then(|| list(exposed.iter().map(HeaderName::as_str)));
        let max_age = faults.at("max_age", |faults| match message.max_age.as_str() {
            "" => Some(DEFAULT_MAX_AGE),
            text => {
                let age = faults.take(quantity::age(text))?;
                if age > MAX_MAX_AGE {
                    faults.note("no browser keeps it for longer than \"24h\"");
                }
                Some(age)
            }
        });
        if faults.count() > before {
            return None;
        }
        Some(Cors {
            origins,
            methods,
            headers: (!is_any).then_some(headers),
            authorization,
            exposed,
            credentials: message.credentials,
            max_age: HeaderValue::from(max_age?.as_secs()),
            private_network: message.private_network.is_some(),
        })
    }
}

/// Names with commas between, as a header has them.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    let text = names.collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(text).expect("names of headers and methods can stand in a header")
}

fn origins(texts: &[String], faults: &mut Faults) -> Origins {
    match texts {
        [star] if star == "*" => return Origins::Any,
        [] => faults.note("say whose scripts may ask, as in \"https://app.example.com\"; \"*\" is anybody's"),
        texts if texts.len() > MAX_LISTED => faults.note(format!("at most {MAX_LISTED} can be given")),
        _ => {}
    }
    let parse = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(Origin::parse(text)));
    Origins::Listed(texts.iter().enumerate().filter_map(parse).collect())
}

fn methods(texts: &[String], faults: &mut Faults) -> Option<Vec<Method>> {
    if texts.len() > MAX_LISTED {
        faults.note(format!("at most {MAX_LISTED} can be given"));
    }
    match texts {
        [] => Some(DEFAULT_METHODS.to_vec()),
        [star] if star == "*" => None,
        texts => {
            let parse = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(method(text)));
            Some(texts.iter().enumerate().filter_map(parse).collect())
        }
    }
}

// Browsers compare case; what they do not allow scripts is left out (Fetch, 2.2.1).
fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) => Err(format!("no browser lets a script send {text}")),
        Ok(method) if text != "*" && text == text.to_ascii_uppercase() => Ok(method),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a method; it is written in upper case, and \"*\" stands alone")),
    }
}

// === impl Origin ===

impl Origin {
    fn parse(text: &str) -> Result<Origin, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{text:?} {why}; write it as browsers do, as in \"https://app.example.com\" or \"https://*.example.com\""
            ))
        };
        if text == "*" {
            return wrong("is anybody, and stands alone");
        }
        if text == "null" {
            return wrong("is what any page gets that hides where it is from");
        }
        let Some((scheme, host)) = text.split_once("://") else { return wrong("has no scheme") };
        let is_scheme = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+-.".contains(&c);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return wrong("has no scheme in lower case");
        }
        if host.contains(['/', '?', '#', '@']) {
            return wrong("has more than a scheme, a host and a port");
        }
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            Some(_) | None => (host, None),
        };
        match (scheme, port) {
            ("http", Some("80")) | ("https", Some("443")) => return wrong("has the port that browsers leave out"),
            (_, Some(port)) if port.parse::<u16>().is_err() || port.starts_with(['0', '+']) => {
                return wrong("has a port that is not one");
            }
            (_, _) => {}
        }
        let below = name.strip_prefix("*.");
        let bare = below.unwrap_or(name);
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._[]:".contains(&c);
        if bare.is_empty() || bare.starts_with('.') || !bare.bytes().all(is_name) {
            return wrong("has no host in lower case");
        }
        match below {
            None => Ok(Origin::Exact(text.into())),
            Some(_) if !bare.contains('.') => wrong("means a whole top-level domain"),
            Some(_) => Ok(Origin::Below(format!("{scheme}://"), host[1..].into())),
        }
    }

    /// Whether it is meant; what comes is bytes that anybody may have sent.
    pub fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Origin::Exact(exact) => origin == exact.as_bytes(),
            Origin::Below(scheme, rest) => {
                let labels = origin
                    .strip_prefix(scheme.as_bytes())
                    .and_then(|host| host.strip_suffix(rest.as_bytes()))
                    .unwrap_or_default();
                // Whole labels, and nothing that would end the host before.
                let is_label = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._".contains(c);
                !labels.is_empty() && labels.iter().all(is_label)
            }
        }
    }
}

// === impl Origins ===

impl Origins {
    /// Whether scripts of that origin may ask.
    pub fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Origins::Any => true,
            Origins::Listed(origins) => origins.iter().any(|listed| listed.matches(origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: pb::Cors) -> Result<Cors, String> {
        let mut faults = Faults::default();
        let policy = Cors::check(&message, &mut faults);
        let found: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
        policy.ok_or(found.join(" "))
    }

    fn of(origins: &[&str]) -> pb::Cors {
        pb::Cors { origins: origins.iter().map(ToString::to_string).collect(), ..Default::default() }
    }

    #[test]
    fn an_origin_is_meant_as_a_whole() {
        let check = |pattern: &str, origin: &str, expect: bool| {
            let pattern = Origin::parse(pattern).unwrap();
            assert_eq!(pattern.matches(origin.as_bytes()), expect, "{pattern:?} {origin}");
        };
        check("https://a.example", "https://a.example", true);
        for other in
            ["http://a.example", "https://a.example:8443", "https://a.example.evil", "https://A.example", "null", ""]
        {
            check("https://a.example", other, false);
        }
        check("https://*.a.example", "https://x.a.example", true);
        check("https://*.a.example", "https://x.y.a.example", true);
        check("https://*.a.example:8443", "https://x.a.example:8443", true);
        for other in [
            "https://a.example",
            "https://.a.example.evil",
            "https://xa.example",
            "http://x.a.example",
            "https://x.a.example:1",
            "https://evil/.a.example",
            "https://evil?.a.example",
            "https://evil@x.a.example",
            "https://evil:1.a.example",
        ] {
            check("https://*.a.example", other, false);
        }
        check("capacitor://localhost", "capacitor://localhost", true);
        check("http://[::1]:3000", "http://[::1]:3000", true);
    }

    #[test]
    fn what_no_browser_would_send_is_refused() {
        for bad in [
            "null",
            "*",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://A.example",
            "HTTPS://a.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:x",
            "https://*",
            "https://*.com",
            "https://a.*.com",
            "https://u@a.example",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everybody_and_credentials_do_not_go_together() {
        assert!(check(of(&["*"])).is_ok());
        assert_eq!(check(pb::Cors { credentials: true, ..of(&["*"]) }).unwrap_err(), "/credentials");
        let policy = check(pb::Cors { credentials: true, ..of(&["https://a.example"]) }).unwrap();
        assert_eq!((policy.methods.unwrap(), policy.max_age), (DEFAULT_METHODS.to_vec(), HeaderValue::from(600)));
    }

    #[test]
    fn every_fault_is_told() {
        let many = pb::Cors {
            methods: ["get", "*", "TRACE"].map(Into::into).into(),
            headers: vec!["x y".into()],
            exposed_headers: vec!["connection".into()],
            max_age: "25h".into(),
            ..of(&["*", "https://a.example"])
        };
        let expect = "/origins/0 /methods/0 /methods/1 /methods/2 /headers/0 /exposed_headers/0 /max_age";
        assert_eq!(check(many).unwrap_err(), expect);
        assert_eq!(check(of(&[])).unwrap_err(), "/origins");
        let any = pb::Cors { headers: vec!["*".into(), "authorization".into()], ..of(&["*"]) };
        assert_eq!(check(any).map(|cors| (cors.headers, cors.authorization)), Ok((None, true)));
    }
}
