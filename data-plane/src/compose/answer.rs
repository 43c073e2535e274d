//! The answer: the parts in one document, its shape, and what it says of itself.

use super::{
    key::Key,
    ledger::State,
    merge::Misplaced,
    node::Node,
    plan::{Merge, Part, Plan, Variant},
    reason::Reason,
    run::{Lent, Run, failure},
    value::Value,
};
use crate::{context::Answer, error::Error};
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use proto::compose::{Need, OnConflict};
use std::ptr;

/// The largest answer.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What says which parts are missing: a list of RFC 9651, of the parts' names with `reason` and `state`.
const PORTICO_INCOMPLETE: HeaderName = HeaderName::from_static("portico-incomplete");

/// The answer that the parts make.
pub(super) fn answer(run: &Run<'_>, lent: &Lent<'_>, variant: Option<&Variant>) -> Result<Answer, Error> {
    let plan = run.plan;
    // It outlives the document that it is put into.
    let list;
    let mut root = Node::Object(Vec::new());
    for merge in &plan.merges {
        let Some((part, value)) = plan.parts.get(merge.spec.from).zip(run.value(merge.spec.from)) else { continue };
        if put(merge, &mut root, value).is_err() {
            let state = match part.spec.need {
                Need::Required(_) => State::Failed(Reason::Conflict),
                Need::Optional | Need::Fallback(_) => State::Missing(Reason::Conflict),
            };
            lent.ledger.correct(merge.spec.from, state);
            if let State::Failed(reason) = state {
                return Err(failure(part, reason));
            }
        }
    }
    let shape = variant.map_or(plan.shape.as_ref(), |variant| variant.shape.as_ref());
    if let Some(shape) = shape {
        shape.apply(&mut root).map_err(|_| Error::Composed("there is something already where a value belongs"))?;
    }
    let incomplete = incomplete(plan, lent);
    if let Some(at) = plan.incomplete_at.as_ref().filter(|_| !incomplete.is_empty()) {
        list = told(&incomplete);
        // Where something else is in the way, the header says it all the same.
        at.put(&mut root, Node::Raw(&list), OnConflict::Replace).ok();
    }
    let len = root.len();
    if len > MAX_ANSWER {
        return Err(Error::Composed("it is larger than 16 MiB"));
    }
    let mut body = Vec::with_capacity(len);
    root.write(&mut body);
    Ok(head(run, variant, &incomplete, body.into()))
}

fn put<'t>(merge: &'t Merge, root: &mut Node<'t>, value: &'t Value) -> Result<(), Misplaced> {
    let Some(on) = &merge.spec.on else { return merge.at.put(root, value.node(), merge.spec.on_conflict) };
    // A fallback has no keys: nothing is joined.
    let Value::Many(items) = value else { return Ok(()) };
    let mut by_key = HashMap::with_capacity(items.len());
    for item in items {
        if let Some(key) = item.key.as_deref().and_then(Key::of) {
            // The first counts.
            by_key.entry(key).or_insert(Node::Raw(&item.value));
        }
    }
    merge.at.join(root, on, &by_key, merge.spec.on_conflict)
}

// The parts that are not whole, in the order of the configuration.
fn incomplete<'r>(plan: &'r Plan, lent: &Lent<'_>) -> Vec<(&'r Part, State, Reason)> {
    let each = |(at, part)| {
        let state = lent.ledger.state(at)?;
        Some((part, state, state.reason()?))
    };
    plan.parts.iter().enumerate().filter_map(each).collect()
}

fn told(incomplete: &[(&Part, State, Reason)]) -> Vec<u8> {
    let mut list = vec![b'['];
    for (at, (part, state, reason)) in incomplete.iter().enumerate() {
        if at > 0 {
            list.push(b',');
        }
        // None of them has a character that JSON would have escaped.
        for (name, value) in [
            ("{\"part\":\"", &*part.spec.name),
            ("\",\"state\":\"", state.as_str()),
            ("\",\"reason\":\"", reason.as_str()),
        ] {
            list.extend_from_slice(name.as_bytes());
            list.extend_from_slice(value.as_bytes());
        }
        list.extend_from_slice(b"\"}");
    }
    list.push(b']');
    list
}

fn head(run: &Run<'_>, variant: Option<&Variant>, incomplete: &[(&Part, State, Reason)], body: Bytes) -> Answer {
    let plan = run.plan;
    let mut answer = Response::new(body);
    *answer.status_mut() = if incomplete.is_empty() { StatusCode::OK } else { plan.incomplete_status };
    let headers = answer.headers_mut();
    for taken in &plan.headers {
        let Some(slot) = run.slots.get(taken.from).and_then(|slot| slot.get()) else { continue };
        // What the answer is said to lack does not speak in it.
        if incomplete.iter().any(|(part, state, _)| is_missing(run, (part, *state), taken.from)) {
            continue;
        }
        headers.extend(slot.headers.get_all(&taken.name).iter().map(|value| (taken.to.clone(), value.clone())));
    }
    let content_type = variant.and_then(|variant| variant.content_type.clone());
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(JSON));
    if let Some(vary) = &plan.vary {
        headers.append(header::VARY, vary.clone());
    }
    let is_stored = !headers.get_all(header::CACHE_CONTROL).iter().any(|said| *said == "no-store");
    if plan.private && is_stored {
        // Whatever a part says: the answer is of who asks.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    if !incomplete.is_empty()
        && let Ok(value) = HeaderValue::try_from(listed(incomplete))
    {
        headers.insert(PORTICO_INCOMPLETE, value);
    }
    answer
}

fn is_missing(run: &Run<'_>, (part, state): (&Part, State), at: usize) -> bool {
    matches!(state, State::Missing(_)) && run.plan.parts.get(at).is_some_and(|other| ptr::eq(other, part))
}

fn listed(incomplete: &[(&Part, State, Reason)]) -> String {
    let mut list = String::new();
    for (part, state, reason) in incomplete {
        if !list.is_empty() {
            list.push_str(", ");
        }
        // A token begins with a letter; what does not is a string.
        let quote = if part.spec.name.starts_with(|first: char| first.is_ascii_alphabetic()) { "" } else { "\"" };
        list.extend([quote, &part.spec.name, quote, ";reason=", reason.as_str()]);
        if !matches!(state, State::Missing(_)) {
            list.extend([";state=", state.as_str()]);
        }
    }
    list
}
