//! Calls for the elements of a list: one for each key, or one for several, so many at once. What comes of it is in the
//! order in which the keys appear first, whichever answer was there first.

use super::{
    find::find,
    key::{Distinct, distinct},
    part::{Answered, Prepared, ask, prepare},
    plan::Part,
    reason::Reason,
    run::{Lent, Run},
    text::elements,
    value::{Found, Given, Item, Offer, Value},
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use proto::compose::{Ask, FailedItem, ForEach};
use std::time::Instant;

/// The part for all elements of its list, and why it is not for all, if so.
pub(super) async fn ask_each(
    run: &Run<'_>,
    lent: &Lent<'_>,
    (at, part, items): (usize, &Part, &ForEach),
    until: Instant,
) -> Result<(Value, Option<Reason>), Reason> {
    let list = run.value(items.part).ok_or(Reason::Dependency)?.list(&items.items).ok_or(Reason::Items)?;
    if list.len() > items.max_items {
        return Err(Reason::Items);
    }
    let distinct = distinct(list, &items.key.steps);
    let most = match &items.ask {
        Ask::Each(_) => 1,
        Ask::Batch { max, .. } => *max,
    };
    let groups: Vec<&[Distinct<'_>]> = distinct.chunks(most.max(1)).collect();
    let found = Found::default();
    let call = async |group| {
        // Not before its turn: what is prepared takes room.
        let prepared = prepare_for((run, &found), lent, (part, items), group)?;
        ask((run.plan, at), lent, prepared, until).await
    };
    let calls = groups.iter().enumerate().map(|(at, group)| call(group).map(move |answer| (at, answer)));
    let mut answers: Vec<Option<Result<Answered, Reason>>> = groups.iter().map(|_| None).collect();
    let mut calls = stream::iter(calls).buffer_unordered(items.parallel.max(1));
    while let Some((group, answer)) = calls.next().await {
        if let (Err(reason), FailedItem::Fail) = (&answer, &items.failed_item) {
            return Err(*reason);
        }
        if let Some(slot) = answers.get_mut(group) {
            *slot = Some(answer);
        }
    }
    let (mut all, mut failed) = (Vec::with_capacity(distinct.len()), None);
    for (group, answer) in groups.iter().zip(answers) {
        match answer.unwrap_or(Err(Reason::Connect)).and_then(|answer| of_answer(items, group, answer.value)) {
            Ok(mut found) => all.append(&mut found),
            Err(reason) => {
                failed = failed.or(Some(reason));
                match &items.failed_item {
                    FailedItem::Fail => return Err(reason),
                    FailedItem::Omit => {}
                    FailedItem::Value(value) => {
                        let item = |one: &Distinct<'_>| Item { key: Some(copy(one.key)), value: value.clone() };
                        all.extend(group.iter().map(item));
                    }
                }
            }
        }
    }
    Ok((Value::Many(all), failed))
}

fn prepare_for<'a>(
    (run, found): (&'a Run<'_>, &'a Found<'a>),
    lent: &Lent<'_>,
    (part, items): (&Part, &ForEach),
    group: &[Distinct<'_>],
) -> Result<Prepared, Reason> {
    let several: Vec<&[u8]>;
    let given = match (&items.ask, group) {
        (Ask::Each(_), [one]) => Given::One(one.item),
        _ => {
            several = group.iter().map(|one| one.item).collect();
            Given::Several(&several)
        }
    };
    let offer = Offer { request: &lent.values, slots: &run.slots, found, items: given };
    prepare(part.call(), &offer, lent.context).map_err(|_| Reason::Unencodable)
}

// What the answer to a call is for each of its elements.
fn of_answer(items: &ForEach, group: &[Distinct<'_>], answer: Bytes) -> Result<Vec<Item>, Reason> {
    let Ask::Batch { answer_key, .. } = &items.ask else {
        return Ok(group.iter().map(|one| Item { key: Some(copy(one.key)), value: answer.clone() }).collect());
    };
    if answer.first() != Some(&b'[') {
        return Err(Reason::NoValue);
    }
    let item = |element| Item {
        key: find(element, &answer_key.steps).map(|key| answer.slice_ref(key)),
        value: answer.slice_ref(element),
    };
    Ok(elements(&answer).map(item).collect())
}

fn copy(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key)
}
