//! Calls for the elements of a list, checked.

use super::{Call, check_path_to_one, find_part, part::check_value};
use crate::{
    invalid::Faults,
    json_path::{JsonPath, Step},
    pb,
    template::{Reference, Roots},
};
use bytes::Bytes;

/// The most elements of a list, and keys of a call.
const MAX_ITEMS: u32 = 1000;
/// The most calls at once.
const MAX_PARALLEL: u32 = 32;

/// Calls for the elements of a list.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// In which part's answer the list is.
    pub part: usize,
    /// Where in it.
    pub items: JsonPath,
    /// Where the key is in an element; the whole is the element itself.
    pub key: JsonPath,
    /// How they are asked for.
    pub ask: Ask,
    /// The most elements.
    pub max_items: usize,
    /// The most calls at once.
    pub parallel: usize,
    /// What becomes of elements whose call failed.
    pub failed_item: FailedItem,
}

/// How elements are asked for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Each key by a call of its own.
    Each(Call),
    /// Several by one.
    Batch {
        /// The call.
        call: Call,
        /// Where the key is in an element of its answer.
        answer_key: JsonPath,
        /// The most keys of one.
        max: usize,
    },
}

/// What becomes of elements whose call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailedItem {
    /// The part fails.
    Fail,
    /// They have no answer.
    Omit,
    /// This JSON is their answer.
    Value(Bytes),
}

// === impl ForEach ===

impl ForEach {
    pub(super) fn check(message: &pb::ForEach, roots: Roots<'_>, faults: &mut Faults) -> Option<ForEach> {
        let items = check_items(&message.items, roots.parts.unwrap_or_default(), faults);
        let roots = Roots { items: true, ..roots };
        let ask = match message.ask.as_ref() {
            Some(pb::for_each::Ask::Batch(message)) => faults.at("batch", |faults| check_batch(message, roots, faults)),
            Some(pb::for_each::Ask::Each(message)) => faults.at("each", |faults| check_each(message, roots, faults)),
            None => {
                faults.note("say how elements are asked for; give `each` or `batch`");
                None
            }
        };
        let max_items = check_number("max_items", message.max_items, (100, MAX_ITEMS), faults);
        let parallel = check_number("parallel", message.parallel, (8, MAX_PARALLEL), faults);
        let failed_item = faults.at("failed_item", |faults| FailedItem::check(message.failed_item.as_ref(), faults));
        let ((part, items), (key, ask)) = (items?, ask?);
        Some(ForEach { part, items, key, ask, max_items, parallel, failed_item: failed_item? })
    }

    /// The call that is made.
    pub fn call(&self) -> &Call {
        match &self.ask {
            Ask::Each(call) | Ask::Batch { call, .. } => call,
        }
    }

    pub(super) fn call_field(&self) -> &'static str {
        match &self.ask {
            Ask::Each(_) => "for_each/each/call",
            Ask::Batch { .. } => "for_each/batch/call",
        }
    }
}

// The first name is a part's, and the path goes on below.
fn check_items(text: &str, names: &[&str], faults: &mut Faults) -> Option<(usize, JsonPath)> {
    let path = faults.at("items", |faults| faults.take(JsonPath::parse(text)))?;
    match path.steps.split_first() {
        Some((Step::Member(name), below)) => {
            let part = find_part("items", name, names, faults)?;
            Some((part, JsonPath { steps: below.to_vec() }))
        }
        Some((Step::Each, _)) | None => {
            faults.note_at("items", "name the part and where its list is, as in \"order.lines\"");
            None
        }
    }
}

fn check_each(message: &pb::Each, roots: Roots<'_>, faults: &mut Faults) -> Option<(JsonPath, Ask)> {
    let call = faults.at("call", |faults| Call::check(message.call.as_ref(), roots, faults));
    let key = check_path_to_one("key", &message.key, faults);
    let call = call?;
    check_asks_for_items(&call, faults);
    Some((key?, Ask::Each(call)))
}

fn check_batch(message: &pb::Batch, roots: Roots<'_>, faults: &mut Faults) -> Option<(JsonPath, Ask)> {
    let call = faults.at("call", |faults| Call::check(message.call.as_ref(), roots, faults));
    let key = check_path_to_one("key", &message.key, faults);
    let answer_key = match message.answer_key.as_str() {
        "" => key.clone(),
        text => check_path_to_one("answer_key", text, faults),
    };
    let max = check_number("max", message.max, (50, MAX_ITEMS), faults);
    if answer_key.as_ref().is_some_and(JsonPath::is_whole) {
        faults.note_at("answer_key", "elements of the answer are told apart by a key; say where it is in one");
    }
    let call = call?;
    check_asks_for_items(&call, faults);
    Some((key?, Ask::Batch { call, answer_key: answer_key?, max }))
}

// One that does not would ask the same again and again.
fn check_asks_for_items(call: &Call, faults: &mut Faults) {
    if !call.references().any(|reference| matches!(reference, Reference::Item(_))) {
        faults.note_at("call", "the call is the same for every element; refer to it as {items} or {items.sku}");
    }
}

// A number from 1 on, with a default and a most.
fn check_number(field: &str, number: Option<u32>, (default, most): (u32, u32), faults: &mut Faults) -> usize {
    let number = number.unwrap_or(default);
    if !(1..=most).contains(&number) {
        faults.note_at(field, format!("{number} cannot be the most here; use 1 to {most}"));
    }
    number as usize
}

// === impl FailedItem ===

impl FailedItem {
    fn check(message: Option<&pb::FailedItem>, faults: &mut Faults) -> Option<FailedItem> {
        use pb::failed_item::Kind;
        match message.and_then(|message| message.kind.as_ref()) {
            Some(Kind::Fail(pb::FailPart {})) | None => Some(FailedItem::Fail),
            Some(Kind::Omit(pb::OmitItem {})) => Some(FailedItem::Omit),
            Some(Kind::Value(text)) => check_value("value", text, faults).map(FailedItem::Value),
        }
    }
}
