//! One part, checked: what is called, what is taken for an answer, and what happens without one.

use super::{Call, ForEach, Shape, check_path_to_one, check_status};
use crate::{invalid::Faults, json_path::JsonPath, name, pb, quantity, template::Roots};
use bytes::Bytes;
use http::StatusCode;
use serde::de::IgnoredAny;
use std::time::Duration;

/// The most statuses of one list, and rules of one part.
const MAX_STATUSES: usize = 16;
/// The largest body that may be taken.
const MAX_BODY: u64 = 16 * 1024 * 1024;
/// The largest value that stands in for a part.
pub(super) const MAX_VALUE: usize = 64 * 1024;
/// How deep arrays and objects may lie in each other.
const MAX_DEPTH: u32 = 512;

/// One part of a composition.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: Box<str>,
    /// What is called.
    pub source: Source,
    /// The parts that it waits for, in ascending order.
    pub uses: Vec<usize>,
    /// What happens when it fails.
    pub need: Need,
    /// Which answers are one.
    pub accept: Accept,
    /// How long it may take; `None`: as long as there is.
    pub timeout: Option<Duration>,
    /// How many tries may follow the first; `None`: as the upstream says.
    pub retries: Option<u32>,
    /// The largest body.
    pub max_body: usize,
    /// How deep it may be.
    pub max_depth: usize,
    /// Only this of the answer; the whole where nothing else is said.
    pub select: JsonPath,
    /// The shape of what was selected.
    pub shape: Shape,
}

/// What is called for a part.
#[derive(Clone, Debug)]
pub enum Source {
    /// One call.
    Call(Call),
    /// Calls for the elements of a list.
    ForEach(ForEach),
}

/// What happens to the answer when a part fails.
#[derive(Clone, Debug)]
pub enum Need {
    /// It fails too, by the first rule that fits.
    Required(Vec<StatusRule>),
    /// It lacks the part.
    Optional,
    /// It has this JSON in its place.
    Fallback(Bytes),
}

/// Which status the answer has for statuses of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRule {
    /// Statuses of the part.
    pub when: Vec<StatusCode>,
    /// That of the answer.
    pub answer: StatusCode,
}

/// Which statuses a part's answer may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// 200 to 299.
    Success,
    /// These.
    Listed(Vec<StatusCode>),
}

/// The names of the parts as written, so that others can refer to them.
pub(super) fn check_names<'a>(parts: &'a [pb::Part], faults: &mut Faults) -> Vec<&'a str> {
    faults.at("parts", |faults| {
        if parts.is_empty() {
            faults.note("a composition has at least one part");
        }
        if parts.len() > super::MAX_PARTS {
            faults.note(format!("a composition has at most {} parts", super::MAX_PARTS));
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        for (at, name) in names.iter().enumerate() {
            faults.at(at, |faults| faults.at("name", |faults| faults.take(check_name(name))));
            if !name.is_empty() && names[..at].contains(name) {
                faults.at(at, |faults| faults.note_at("name", format!("there is a part {name:?} already")));
            }
        }
        names
    })
}

/// A name as those of the variables of a path: it stands in templates.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    let plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    match (text.len(), plain) {
        (0, _) => Err("a name is missing; give letters, digits, _ and -".into()),
        (1..=name::MAX_LEN, true) => Ok(()),
        (_, true) => Err(format!("a name has at most {} characters", name::MAX_LEN)),
        (_, false) => Err(format!("{text:?} is not the name of a part; use letters, digits, _ and -")),
    }
}

// === impl Part ===

impl Part {
    pub(super) fn check(
        message: &pb::Part,
        roots: Roots<'_>,
        deadline: Option<Duration>,
        faults: &mut Faults,
    ) -> Option<Part> {
        let source = Source::check(message.source.as_ref(), roots, faults);
        let accept = Accept::check(&message.accept, faults);
        let need = Need::check(message.need.as_ref(), &accept, faults);
        let timeout = faults.at("timeout", |faults| match message.timeout.as_str() {
            "" => None,
            text => faults.take(quantity::duration(text)),
        });
        if let (Some(timeout), Some(deadline)) = (timeout, deadline)
            && timeout > deadline
        {
            let (timeout, deadline) = (quantity::write(timeout), quantity::write(deadline));
            let detail = format!("{timeout:?} is longer than the `deadline` of {deadline:?} of all");
            faults.note_at("timeout", detail);
        }
        if message.retries.is_some_and(|retries| retries > 5) {
            faults.note_at("retries", "at most 5 tries may follow the first");
        }
        let max_body = faults.at("max_body", |faults| faults.take(max_body(&message.max_body)));
        let depth = message.max_depth.unwrap_or(64);
        if !(1..=MAX_DEPTH).contains(&depth) {
            faults.note_at("max_depth", format!("arrays and objects lie 1 to {MAX_DEPTH} deep in each other"));
        }
        let select = check_path_to_one("select", &message.select, faults);
        let shape = faults.at("shape", |faults| Shape::check(message.shape.as_ref(), faults));
        let source = source?;
        Some(Part {
            name: message.name.as_str().into(),
            uses: source.uses(),
            source,
            need: need?,
            accept,
            timeout,
            retries: message.retries,
            max_body: max_body?,
            max_depth: depth as usize,
            select: select?,
            shape,
        })
    }

    /// The call that is made for it, once or many times.
    pub fn call(&self) -> &Call {
        match &self.source {
            Source::Call(call) => call,
            Source::ForEach(for_each) => for_each.call(),
        }
    }

    /// Where its call is written, below the part.
    pub(super) fn call_field(&self) -> &'static str {
        match &self.source {
            Source::Call(_) => "call",
            Source::ForEach(for_each) => for_each.call_field(),
        }
    }
}

fn max_body(text: &str) -> Result<usize, String> {
    let size = if text.is_empty() { 1024 * 1024 } else { quantity::size(text)? };
    let size = usize::try_from(size).ok().filter(|_| (1..=MAX_BODY).contains(&size));
    size.ok_or_else(|| format!("{text:?} cannot be the most; use up to \"16MiB\""))
}

// === impl Source ===

impl Source {
    fn check(message: Option<&pb::part::Source>, roots: Roots<'_>, faults: &mut Faults) -> Option<Source> {
        use pb::part::Source as Message;
        let Some(message) = message else {
            faults.note("say what is called; give a `call` or a `for_each`");
            return None;
        };
        match message {
            Message::Call(message) => {
                faults.at("call", |faults| Call::check(Some(message), roots, faults)).map(Source::Call)
            }
            Message::ForEach(message) => {
                faults.at("for_each", |faults| ForEach::check(message, roots, faults)).map(Source::ForEach)
            }
        }
    }

    fn uses(&self) -> Vec<usize> {
        let (call, list) = match self {
            Source::Call(call) => (call, None),
            Source::ForEach(for_each) => (for_each.call(), Some(for_each.part)),
        };
        let mut uses: Vec<usize> = call.uses().chain(list).collect();
        uses.sort_unstable();
        uses.dedup();
        uses
    }
}

// === impl Need ===

impl Need {
    fn check(message: Option<&pb::part::Need>, accept: &Accept, faults: &mut Faults) -> Option<Need> {
        use pb::part::Need as Message;
        let Some(message) = message else {
            faults.note("say what happens when it fails; give `required`, `optional` or `fallback`");
            return None;
        };
        match message {
            Message::Required(message) => {
                let rules = faults.at("required", |faults| check_rules(&message.status, accept, faults));
                Some(Need::Required(rules))
            }
            Message::Optional(pb::Optional {}) => Some(Need::Optional),
            Message::Fallback(message) => {
                faults.at("fallback", |faults| check_value("value", &message.value, faults)).map(Need::Fallback)
            }
        }
    }
}

/// A JSON value that is written as text, without what stands around it.
pub(super) fn check_value(field: &str, text: &str, faults: &mut Faults) -> Option<Bytes> {
    let advice = "write JSON as text, as in '[]' or '{\"name\": null}'";
    let value = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) if text.len() <= MAX_VALUE => Ok(Bytes::copy_from_slice(text.trim_ascii().as_bytes())),
        Ok(_) => Err("a value has at most 64KiB".into()),
        Err(_) if text.is_empty() => Err(format!("a value is missing; {advice}")),
        Err(error) => Err(format!("this is not JSON: {error}; {advice}")),
    };
    faults.at(field, |faults| faults.take(value))
}

fn check_rules(messages: &[pb::StatusRule], accept: &Accept, faults: &mut Faults) -> Vec<StatusRule> {
    faults.at("status", |faults| {
        if messages.len() > MAX_STATUSES {
            faults.note(format!("at most {MAX_STATUSES} rules can be given"));
        }
        let mut seen: Vec<StatusCode> = Vec::new();
        let mut check = |message: &pb::StatusRule, faults: &mut Faults| {
            let when = check_statuses("when", &message.when, faults);
            if message.when.is_empty() {
                faults.note_at("when", "a rule is for at least one status");
            }
            for (at, status) in when.iter().enumerate() {
                let fault = if accept.takes(*status) {
                    format!("{} is accepted, so the part does not fail by it", status.as_u16())
                } else if seen.contains(status) {
                    format!("{} has a rule already", status.as_u16())
                } else {
                    continue;
                };
                faults.at("when", |faults| faults.note_at(at, fault));
            }
            seen.extend(&when);
            let answer = faults.at("answer", |faults| check_status(message.answer, 400, faults));
            Some(StatusRule { when, answer: answer? })
        };
        messages.iter().enumerate().filter_map(|(at, rule)| faults.at(at, |faults| check(rule, faults))).collect()
    })
}

fn check_statuses(field: &str, statuses: &[u32], faults: &mut Faults) -> Vec<StatusCode> {
    faults.at(field, |faults| {
        if statuses.len() > MAX_STATUSES {
            faults.note(format!("at most {MAX_STATUSES} statuses can be given"));
        }
        let check = |(at, status): (usize, &u32)| faults.at(at, |faults| check_status(*status, 200, faults));
        statuses.iter().enumerate().filter_map(check).collect()
    })
}

// === impl Accept ===

impl Accept {
    fn check(statuses: &[u32], faults: &mut Faults) -> Accept {
        match statuses {
            [] => Accept::Success,
            statuses => Accept::Listed(check_statuses("accept", statuses, faults)),
        }
    }

    /// Whether an answer of that status is one.
    pub fn takes(&self, status: StatusCode) -> bool {
        match self {
            Accept::Success => status.is_success(),
            Accept::Listed(statuses) => statuses.contains(&status),
        }
    }
}
