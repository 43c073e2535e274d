//! Doors for fuzzers, for `fuzz/`: each takes bytes that anybody may send, and panics when what comes of them breaks a
//! promise. What is promised is said here a second time, as simply as can be: there is no use in asking the code itself.

mod chunks;
mod compositions;
mod heads;
mod routes;

use crate::listener::decode_proxy_protocol;
use proto::{
    path::{PathFault, normalise},
    template::{Reference, RenderError, Scope, Target, Template, Value},
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The head of a request, from the bytes to what an upstream gets of it.
pub fn head(bytes: &[u8]) {
    heads::request(bytes);
}

/// The head of an upstream's answer.
pub fn answer(bytes: &[u8]) {
    heads::answer(bytes);
}

/// A body in chunks.
pub fn chunked(bytes: &[u8]) {
    chunks::decode(bytes);
}

/// Routes and a request: what the router finds is what a look at each route says.
pub fn matching(bytes: &[u8]) {
    routes::find(bytes);
}

/// Resources as they come from a control plane, or from the disk.
pub fn snapshot(bytes: &[u8]) {
    routes::build(bytes);
}

/// A path: what has a normal form has one only, and that leads nowhere else.
pub fn path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(form) = normalise(&text) else { return };
    check_path(&form);
    assert_eq!(normalise(&form), Ok::<Cow<'_, str>, PathFault>(Cow::Borrowed(&*form)), "{text:?} is not in its form");
}

/// The header of the PROXY protocol: no part of one is one, and what follows does not matter.
pub fn proxy_protocol(bytes: &[u8]) {
    let Ok(Some((len, client))) = decode_proxy_protocol(bytes) else { return };
    assert!(len <= bytes.len());
    assert_eq!(decode_proxy_protocol(&bytes[..len]), Ok(Some((len, client))));
    for part in 0..len {
        assert_eq!(decode_proxy_protocol(&bytes[..part]), Ok(None), "{part} of {len}");
    }
}

/// A body that is composed with others: it is JSON, stays as it was, and what is made of it is JSON too.
pub fn json(bytes: &[u8]) {
    compositions::body(bytes);
}

/// A template and the values of a request, apart by NUL: a value never becomes syntax.
pub fn template(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (text, value, rest) = (part(), part(), part());
    let Ok(text) = std::str::from_utf8(text) else { return };
    let values = Values { value, rest };
    let bodies = [Target::Json, Target::JsonBody, Target::Html, Target::Text];
    for target in [Target::PathAndQuery, Target::QueryValue, Target::HeaderValue].into_iter().chain(bodies) {
        let Ok(template) = Template::parse(text, target, Some(&[("a", false), ("rest", true)])) else { continue };
        let mut out = String::new();
        let rendered: Result<(), RenderError> = template.render(&values, &mut out);
        if rendered.is_err() {
            continue;
        }
        match target {
            Target::PathAndQuery => {
                assert!(out.starts_with('/'), "{text:?} became {out:?}");
                assert!(out.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{text:?} became {out:?}");
                // Only text has slashes and question marks of its own, but for the rest of a path.
                let count = |of: &str, what: char| of.matches(what).count();
                assert!(count(&out, '?') <= count(text, '?'), "{text:?} became {out:?}");
                assert!(count(&out, '#') <= count(text, '#'), "{text:?} became {out:?}");
            }
            Target::QueryValue => {
                assert!(!out.bytes().any(|byte| b"&#= ".contains(&byte)), "{text:?} became {out:?}");
            }
            Target::JsonBody => {
                assert!(serde_json::from_str::<&RawValue>(&out).is_ok(), "{text:?} became {out:?}");
            }
            Target::Json | Target::Html | Target::Text => {}
            Target::HeaderValue => {
                assert!(http::HeaderValue::from_bytes(out.as_bytes()).is_ok(), "{text:?} became {out:?}");
            }
        }
    }
}

struct Values<'a> {
    value: &'a [u8],
    rest: &'a [u8],
}

impl Scope for Values<'_> {
    fn value(&self, reference: &Reference) -> Option<Value<'_>> {
        Some(match reference {
            Reference::Path(name) if name == "rest" => Value::One(Cow::Borrowed(self.rest)),
            Reference::Claims(_) => Value::Several(vec![Cow::Borrowed(self.value), Cow::Borrowed(self.rest)]),
            Reference::Path(_)
            | Reference::Query(_)
            | Reference::Header(_)
            | Reference::ConsumerName
            | Reference::ClientAddress
            | Reference::Request(_)
            | Reference::Error(_)
            | Reference::Part { .. }
            | Reference::Item(_) => Value::One(Cow::Borrowed(self.value)),
        })
    }
}

// In its normal form a path has no way up, no second spelling, and nothing that ends it.
fn check_path(path: &str) {
    assert!(path.starts_with('/'), "{path:?}");
    let upper = path.to_ascii_uppercase();
    for bad in ["/../", "/./", "\\", "%2F", "%5C", "%00", "?", "#", " "] {
        assert!(!upper.contains(bad), "{path:?} has {bad:?}");
    }
    assert!(!path.ends_with("/..") && !path.ends_with("/."), "{path:?}");
    assert!(path.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{path:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    type Door = (&'static str, fn(&[u8]));

    const DOORS: [Door; 9] = [
        ("head", head),
        ("answer", answer),
        ("chunked", chunked),
        ("matching", matching),
        ("snapshot", snapshot),
        ("path", path),
        ("proxy_protocol", proxy_protocol),
        ("template", template),
        ("json", json),
    ];

    // A little of what the fuzzers do, everywhere and each time: the seeds, all their beginnings, and bytes exchanged.
    #[test]
    fn seeds_and_what_is_near_them_break_no_promise() {
        for (name, door) in DOORS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
            let seeds: Vec<_> =
                fs::read_dir(&folder).unwrap().map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            for seed in seeds {
                door(&seed);
                for at in 0..seed.len().min(300) {
                    door(&seed[..at]);
                    for byte in [b'\r', b'\n', 0, b' ', b':', b'/', b'%', b'0', 0xff] {
                        let mut near = seed.clone();
                        near[at] = byte;
                        door(&near);
                    }
                }
            }
        }
    }
}
