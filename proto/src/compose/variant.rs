//! Shapes for some clients, checked.

use super::{Merge, Part, Shape, find_part, merge::show, part::check_name};
use crate::{claims::ClaimPath, invalid::Faults, pb};
use http::HeaderName;

/// The most variants.
const MAX_VARIANTS: usize = 16;
/// The longest text that something is compared with.
const MAX_TEXT: usize = 1024;

/// Another shape for some clients.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Its name.
    pub name: Box<str>,
    /// Who is meant.
    pub when: Condition,
    /// Parts that are not called for them, in ascending order.
    pub skip: Vec<usize>,
    /// The shape of the whole.
    pub shape: Shape,
}

/// A condition on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A header is this text.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value.
        equals: Box<str>,
    },
    /// The first query parameter of the name is this text.
    Query {
        /// Its name, decoded.
        name: Box<str>,
        /// Its value, decoded.
        equals: Box<str>,
    },
    /// `Accept` names this media type, which is in lower case.
    MediaType(Box<str>),
    /// A claim is this text, number or boolean, or a list that has it.
    Claim {
        /// Which.
        path: ClaimPath,
        /// Its value.
        equals: Box<str>,
    },
}

pub(super) fn check(
    messages: &[pb::Variant],
    names: &[&str],
    merges: Option<&[Merge]>,
    faults: &mut Faults,
) -> Vec<Variant> {
    if messages.len() > MAX_VARIANTS {
        faults.note(format!("at most {MAX_VARIANTS} variants can be given"));
    }
    let mut variants: Vec<Variant> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let variant = faults.at(at, |faults| {
            let variant = Variant::check(message, at, (names, merges), faults)?;
            if variants.iter().any(|other| other.name == variant.name) {
                faults.note_at("name", format!("there is a variant {:?} already", variant.name));
            }
            if let Some(other) = variants.iter().find(|other| other.when == variant.when) {
                faults.note_at("when", format!("{:?} has the same condition and is always first", other.name));
            }
            Some(variant)
        });
        variants.extend(variant);
    }
    variants
}

/// Notes what variants leave out and yet need.
pub(super) fn check_skips(variants: &[Variant], parts: &[Part], merges: &[Merge], faults: &mut Faults) {
    faults.at("variants", |faults| {
        for (at, variant) in variants.iter().enumerate() {
            faults.at(at, |faults| {
                variant.check_uses(parts, faults);
                variant.check_lists(parts, merges, faults);
                variant.check_picks(parts, merges, faults);
            });
        }
    });
}

// === impl Variant ===

impl Variant {
    fn check(
        message: &pb::Variant,
        at: usize,
        (names, merges): (&[&str], Option<&[Merge]>),
        faults: &mut Faults,
    ) -> Option<Variant> {
        let name = match message.name.as_str() {
            "" => format!("variant-{}", at + 1),
            text => {
                faults.at("name", |faults| faults.take(check_name(text)));
                text.into()
            }
        };
        let when = faults.at("when", |faults| Condition::check(message.when.as_ref(), faults));
        let mut skip = faults.at("skip", |faults| {
            let find = |(at, part): (usize, &String)| find_part(&at.to_string(), part, names, faults);
            message.skip.iter().enumerate().filter_map(find).collect::<Vec<usize>>()
        });
        skip.sort_unstable();
        skip.dedup();
        if !skip.is_empty() && skip.len() == names.len() {
            faults.note_at("skip", "no part is left; a `respond` answers without one");
        }
        let shape = faults.at("shape", |faults| Shape::check_whole(message.shape.as_ref(), merges, faults));
        Some(Variant { name: name.into(), when: when?, skip, shape })
    }

    /// Whether a part is not called for it.
    pub fn skips(&self, part: usize) -> bool {
        self.skip.binary_search(&part).is_ok()
    }

    // What a part that is called uses, is called too.
    fn check_uses(&self, parts: &[Part], faults: &mut Faults) {
        for (_, part) in parts.iter().enumerate().filter(|(at, _)| !self.skips(*at)) {
            for used in part.uses.iter().filter(|used| self.skips(**used)) {
                let (part, used) = (&part.name, &parts[*used].name);
                faults.note_at("skip", format!("{part:?} uses {used:?}, which is left out; leave out {part:?} too"));
            }
        }
    }

    // What is put into another part's answer has no place without it.
    fn check_lists(&self, parts: &[Part], merges: &[Merge], faults: &mut Faults) {
        for (at, merge) in merges.iter().enumerate().filter(|(_, merge)| !self.skips(merge.from)) {
            let around = merges[..at].iter().rev().find(|other| merge.at.starts_with(&other.at));
            if let Some(around) = around.filter(|around| self.skips(around.from)) {
                let (inner, outer) = (&parts[merge.from].name, &parts[around.from].name);
                let detail = format!("{inner:?} is put into {outer:?}, which is left out; leave out {inner:?} too");
                faults.note_at("skip", detail);
            }
        }
    }

    // What is picked comes from some part that is called.
    fn check_picks(&self, parts: &[Part], merges: &[Merge], faults: &mut Faults) {
        for (at, pick) in self.shape.pick.iter().enumerate() {
            // The part that has it, or those that lie in it.
            let inner = merges.iter().filter(|merge| merge.at.starts_with(pick));
            let around = merges.iter().filter(|merge| pick.starts_with(&merge.at)).max_by_key(|m| m.at.steps.len());
            let sources: Vec<usize> = inner.chain(around).map(|merge| merge.from).collect();
            if !sources.is_empty() && sources.iter().all(|part| self.skips(*part)) {
                let detail = format!("{} is picked of {:?}, which is left out", show(pick), parts[sources[0]].name);
                faults.at("shape", |faults| faults.at("pick", |faults| faults.note_at(at, detail)));
            }
        }
    }
}

// === impl Condition ===

impl Condition {
    fn check(message: Option<&pb::Condition>, faults: &mut Faults) -> Option<Condition> {
        use pb::condition::Kind;
        let Some(kind) = message.and_then(|message| message.kind.as_ref()) else {
            faults.note("say who is meant; give a `header`, `query`, `media_type` or `claim`");
            return None;
        };
        match kind {
            Kind::Header(message) => faults.at("header", |faults| {
                let name = HeaderName::from_bytes(message.name.as_bytes());
                let name = name.map_err(|_| format!("{:?} is not a header name", message.name));
                let name = faults.at("name", |faults| faults.take(name));
                let equals = check_text(&message.equals, faults);
                Some(Condition::Header { name: name?, equals })
            }),
            Kind::Query(message) => faults.at("query", |faults| {
                if message.name.is_empty() {
                    faults.note_at("name", "the name of a query parameter is missing");
                }
                Some(Condition::Query {
                    name: message.name.as_str().into(),
                    equals: check_text(&message.equals, faults),
                })
            }),
            Kind::MediaType(text) => {
                faults.at("media_type", |faults| faults.take(media_type(text))).map(Condition::MediaType)
            }
            Kind::Claim(message) => faults.at("claim", |faults| {
                let path = faults.at("path", |faults| faults.take(ClaimPath::parse(&message.path)));
                let equals = check_text(&message.equals, faults);
                Some(Condition::Claim { path: path?, equals })
            }),
        }
    }
}

fn check_text(text: &str, faults: &mut Faults) -> Box<str> {
    match text.len() {
        0 => faults.note_at("equals", "say what it is"),
        1..=MAX_TEXT => {}
        _ => faults.note_at("equals", format!("at most {MAX_TEXT} bytes can be given")),
    }
    text.into()
}

fn media_type(text: &str) -> Result<Box<str>, String> {
    let token = |text: &str| {
        (1..=127).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c))
    };
    match text.split_once('/') {
        Some((kind, sub)) if token(kind) && token(sub) && (sub == "json" || sub.ends_with("+json")) => {
            Ok(text.to_ascii_lowercase().into())
        }
        _ => Err(format!("{text:?} is not a media type of JSON; write one as application/vnd.shop.mobile+json")),
    }
}
