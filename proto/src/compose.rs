//! Compositions, checked: one answer made of the answers of several calls.
//!
//! What an operator says by names is here by index, in the order in which parts were written. That no part waits for
//! itself, that no two places of the merge are in each other's way, and that no variant leaves out what it needs, is
//! proven here, so that the node only has to follow.

mod call;
mod for_each;
mod graph;
mod merge;
mod part;
mod shape;
mod variant;

pub use call::Call;
pub use for_each::{Ask, FailedItem, ForEach};
pub use merge::{Merge, OnConflict};
pub use part::{Accept, Need, Part, Source, StatusRule};
pub use shape::{Flatten, Move, Rename, Shape};
pub use variant::{Condition, Variant};

use crate::{
    fields::header_name,
    invalid::{Faults, did_you_mean},
    json_path::JsonPath,
    name::Name,
    pb, quantity,
    template::{Reference, Roots},
};
use http::{HeaderName, StatusCode, header};
use std::time::Duration;

/// The most parts.
pub const MAX_PARTS: usize = 32;
/// The most headers that are taken up.
const MAX_HEADERS: usize = 64;
/// The longest that a composition may take.
const MAX_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// One answer made of several.
#[derive(Clone, Debug)]
pub struct Compose {
    /// How long all of it may take.
    pub deadline: Duration,
    /// As written; at least one, and none waits for itself.
    pub parts: Vec<Part>,
    /// Where their answers go, in this order.
    pub merges: Vec<Merge>,
    /// Whether an answer with one name twice in an object is none.
    pub refuse_duplicates: bool,
    /// Headers of the answer that come from a part's.
    pub headers: Vec<TakenHeader>,
    /// How the answer says that a part is missing.
    pub incomplete: Incomplete,
    /// The shape for whom no variant is meant.
    pub shape: Shape,
    /// The first whose condition holds.
    pub variants: Vec<Variant>,
    /// The request's headers on which the answer depends, for `Vary`.
    pub vary: Vec<HeaderName>,
    /// Whether it depends on who asks, so that no shared cache may keep it.
    pub private: bool,
}

/// A header of the answer that comes from a part's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenHeader {
    /// Which part.
    pub from: usize,
    /// Its name there.
    pub name: HeaderName,
    /// Its name here.
    pub to: HeaderName,
}

/// How the answer says that a part is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The status then.
    pub status: StatusCode,
    /// Where the list of such parts is put, after the shape; `None`: nowhere.
    pub at: Option<JsonPath>,
}

// === impl Compose ===

impl Compose {
    /// Checks what was said; `variables` are the names that the route's path captures.
    pub fn check(message: &pb::Compose, variables: &[(&str, bool)], faults: &mut Faults) -> Option<Compose> {
        let before = faults.count();
        let deadline = faults.at("deadline", |faults| match message.deadline.as_str() {
            "" => Some(Duration::from_secs(5)),
            text => faults.take(quantity::duration(text)),
        });
        if deadline.is_some_and(|deadline| deadline > MAX_DEADLINE) {
            faults.note_at("deadline", "a composition takes at most \"5m\"");
        }
        let names = part::check_names(&message.parts, faults);
        let roots = Roots { variables: Some(variables), parts: Some(&names), items: false };
        let parts = faults.at("parts", |faults| {
            let check = |(at, part)| faults.at(at, |faults| Part::check(part, roots, deadline, faults));
            message.parts.iter().enumerate().map(check).collect::<Vec<Option<Part>>>()
        });
        let merges = match message.merge.as_slice() {
            [] => merge::by_name(&names),
            merges => faults.at("merge", |faults| merge::check(merges, &names, &parts, faults)),
        };
        // What is picked of a merge that is wrong, nobody knows.
        let places = (message.merge.is_empty() || merges.len() == message.merge.len()).then_some(&*merges);
        let headers = faults.at("headers", |faults| check_taken(&message.headers, &names, &parts, faults));
        let incomplete =
            faults.at("incomplete", |faults| Incomplete::check(message.incomplete.as_ref(), &merges, faults));
        let shape = faults.at("shape", |faults| Shape::check_whole(message.shape.as_ref(), places, faults));
        let variants = faults.at("variants", |faults| variant::check(&message.variants, &names, places, faults));
        // What follows is about parts as they are together: first they have to be right each.
        if faults.count() > before {
            return None;
        }
        let parts = parts.into_iter().collect::<Option<Vec<Part>>>()?;
        graph::check(&parts, deadline?, faults);
        check_use(&parts, &merges, &headers, faults);
        variant::check_skips(&variants, &parts, &merges, faults);
        let (vary, private) = dependence(&parts, &variants);
        let refuse_duplicates = refuses_duplicates(message.duplicate_keys.as_ref());
        let deadline = deadline?;
        (faults.count() == before).then_some(Compose {
            deadline,
            parts,
            merges,
            refuse_duplicates,
            headers,
            incomplete,
            shape,
            variants,
            vary,
            private,
        })
    }

    /// The names of the upstreams that are called, each with the pointer of the reference below `compose`.
    pub fn upstreams(&self) -> Vec<(&Name, String)> {
        let parts = self.parts.iter().enumerate();
        parts.map(|(at, part)| (&part.call().upstream, format!("parts/{at}/{}/upstream", part.call_field()))).collect()
    }

    /// The parts in waves: each waits for some of the wave before and for none of its own or of a later one.
    pub fn waves(&self) -> Vec<Vec<usize>> {
        graph::waves(&self.parts)
    }
}

// A part that nothing is taken from is called for nothing.
fn check_use(parts: &[Part], merges: &[Merge], headers: &[TakenHeader], faults: &mut Faults) {
    for (at, part) in parts.iter().enumerate() {
        let used = merges.iter().any(|merge| merge.from == at)
            || headers.iter().any(|header| header.from == at)
            || parts.iter().any(|other| other.uses.contains(&at));
        if !used {
            let detail = format!("{:?} is neither merged nor used by a part; give it a place in `merge`", part.name);
            faults.at("parts", |faults| faults.note_at(at, detail));
        }
    }
}

// What of a request other than its address the answer depends on: headers, and whether it is who asks.
fn dependence(parts: &[Part], variants: &[Variant]) -> (Vec<HeaderName>, bool) {
    let mut vary = Vec::new();
    let mut private = false;
    for variant in variants {
        match &variant.when {
            Condition::Header { name, .. } => vary.push(name.clone()),
            Condition::MediaType(_) => vary.push(header::ACCEPT),
            Condition::Query { .. } => {}
            Condition::Claim { .. } => private = true,
        }
    }
    for call in parts.iter().map(Part::call) {
        vary.extend(call.send.iter().cloned());
        for reference in call.references() {
            match reference {
                Reference::Header(name) => vary.extend(HeaderName::from_bytes(name.as_bytes())),
                Reference::Claims(_) | Reference::ConsumerName | Reference::ClientAddress => private = true,
                Reference::Path(_)
                | Reference::Query(_)
                | Reference::Request(_)
                | Reference::Error(_)
                | Reference::Part { .. }
                | Reference::Item(_) => {}
            }
        }
    }
    private |= vary.iter().any(|name| *name == header::AUTHORIZATION || *name == header::COOKIE);
    vary.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    vary.dedup();
    (vary, private)
}

fn refuses_duplicates(message: Option<&pb::DuplicateKeys>) -> bool {
    use pb::duplicate_keys::Kind;
    match message.and_then(|message| message.kind.as_ref()) {
        Some(Kind::Refuse(pb::RefuseDuplicates {})) => true,
        Some(Kind::Pass(pb::PassDuplicates {})) | None => false,
    }
}

/// Which part is meant by a name.
fn find_part(field: &str, name: &str, names: &[&str], faults: &mut Faults) -> Option<usize> {
    let found = names.iter().position(|part| *part == name && !name.is_empty());
    let missing = || match name {
        "" => "the name of a part is missing".to_string(),
        _ => format!("there is no part {name:?}{}", did_you_mean(name, names.iter().copied())),
    };
    faults.at(field, |faults| faults.take(found.ok_or_else(missing)))
}

/// A path of a field.
fn check_path(field: &str, text: &str, faults: &mut Faults) -> Option<JsonPath> {
    faults.at(field, |faults| faults.take(JsonPath::parse(text)))
}

/// A path of a field that leads to one value.
fn check_path_to_one(field: &str, text: &str, faults: &mut Faults) -> Option<JsonPath> {
    let path = check_path(field, text, faults)?;
    if path.has_each() {
        faults.note_at(field, "this is one value; leave out the `[]`");
        return None;
    }
    Some(path)
}

/// A status, 200 to 599 or fewer.
fn check_status(status: u32, least: u16, faults: &mut Faults) -> Option<StatusCode> {
    let code = u16::try_from(status).ok().filter(|code| (least..=599).contains(code));
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    faults.take(code.ok_or_else(|| format!("{status} cannot stand here; use {least} to 599")))
}

// === impl TakenHeader ===

// What says something about a body that is not this one.
const OF_ANOTHER_BODY: [HeaderName; 5] =
    [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES, header::VARY, header::SET_COOKIE];

fn check_taken(
    messages: &[pb::TakenHeader],
    names: &[&str],
    parts: &[Option<Part>],
    faults: &mut Faults,
) -> Vec<TakenHeader> {
    if messages.len() > MAX_HEADERS {
        faults.note(format!("at most {MAX_HEADERS} headers can be taken up"));
    }
    let mut taken: Vec<TakenHeader> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let header = faults.at(at, |faults| {
            let header = TakenHeader::check(message, names, faults)?;
            if let Some(Some(Part { source: Source::ForEach(_), .. })) = parts.get(header.from) {
                faults.note_at("from", "a `for_each` has many answers; headers are taken up from a part with a `call`");
            }
            if taken.iter().any(|other| other.to == header.to) {
                let field = if message.r#as.is_empty() { "name" } else { "as" };
                faults.note_at(field, format!("{:?} is taken up twice; give one another name by `as`", header.to));
            }
            Some(header)
        });
        taken.extend(header);
    }
    taken
}

impl TakenHeader {
    fn check(message: &pb::TakenHeader, names: &[&str], faults: &mut Faults) -> Option<TakenHeader> {
        let from = find_part("from", &message.from, names, faults);
        let name = faults.at("name", |faults| faults.take(header_name(&message.name)));
        let to = match message.r#as.as_str() {
            "" => name.clone(),
            text => faults.at("as", |faults| faults.take(header_name(text))),
        };
        let field = if message.r#as.is_empty() { "name" } else { "as" };
        if let Some(to) = to.as_ref().filter(|to| describes_content(to) || OF_ANOTHER_BODY.contains(to)) {
            let detail = format!("{to:?} of a part is not true of the whole; give it another name by `as`");
            faults.note_at(field, detail);
        }
        Some(TakenHeader { from: from?, name: name?, to: to? })
    }
}

fn describes_content(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("content-") && name != "content-security-policy"
        || matches!(name, "digest" | "repr-digest" | "portico-incomplete")
}

// === impl Incomplete ===

impl Incomplete {
    fn check(message: Option<&pb::Incomplete>, merges: &[Merge], faults: &mut Faults) -> Incomplete {
        let status = message.and_then(|message| message.status);
        let status = status.and_then(|status| faults.at("status", |faults| check_status(status, 200, faults)));
        if status.is_some_and(|status| matches!(status.as_u16(), 204 | 205 | 304)) {
            faults.note_at("status", "an answer of that status has no body");
        }
        let at = message.filter(|message| !message.at.is_empty());
        let at = at.and_then(|message| check_path_to_one("at", &message.at, faults));
        if let Some(merge) = at.as_ref().and_then(|at| merges.iter().find(|merge| merge.at.starts_with(at))) {
            faults.note_at("at", format!("the place {:?} of a part is there; choose another", merge.at.to_string()));
        }
        Incomplete { status: status.unwrap_or(StatusCode::OK), at }
    }
}

#[cfg(test)]
mod tests;
