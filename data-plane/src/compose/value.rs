//! What parts have answered, and what calls take of it.

use super::{
    find::{find, find_all},
    node::Node,
    shape::Shape,
    text::elements,
};
use crate::context::Values;
use bytes::Bytes;
use http::HeaderMap;
use proto::{
    json_path::{JsonPath, Step},
    template::{self, Reference, Scope},
};
use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
    iter, ptr,
};

/// What a part has answered, and nothing where it is missing.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) value: Option<Value>,
    /// Those of its answer.
    pub(super) headers: HeaderMap,
}

/// The value of a part.
#[derive(Debug)]
pub(super) enum Value {
    /// That of one call, as it was written.
    One(Bytes),
    /// Those of several: an array.
    Many(Vec<Item>),
}

/// The value for an element of a list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The key of the elements that it is for, if it says so.
    pub(super) key: Option<Bytes>,
    /// The value.
    pub(super) value: Bytes,
}

/// What a call can refer to.
pub(super) struct Offer<'a, 'i> {
    pub(super) request: &'i Values<'i>,
    pub(super) slots: &'a [OnceCell<Slot>],
    /// What was found in them.
    pub(super) found: &'a Found<'a>,
    /// The elements that it is for.
    pub(super) items: Given<'i>,
}

/// What the calls of a part take of others, by the address of the reference: the way there leads through whole bodies, so it
/// is gone once and not for each element of a list.
#[derive(Default)]
pub(super) struct Found<'a>(RefCell<Vec<(usize, Option<template::Value<'a>>)>>);

/// The elements that a call is for.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    None,
    One(&'a [u8]),
    Several(&'a [&'a [u8]]),
}

/// The request alone: of everything else there is some value.
pub(super) struct Alone<'a>(pub(super) &'a Values<'a>);

// === impl Value ===

impl Value {
    /// The same as a tree that nobody went into.
    pub(super) fn node(&self) -> Node<'_> {
        match self {
            Value::One(text) => Node::Raw(text),
            Value::Many(items) => Node::Array(items.iter().map(|item| Node::Raw(&item.value)).collect()),
        }
    }

    /// The elements of the list that is there, none where nothing is; `None` where something else is.
    pub(super) fn list(&self, at: &JsonPath) -> Option<Vec<&[u8]>> {
        let mut lists = Vec::new();
        match self {
            Value::One(text) => find_all(text, &at.steps, &mut lists),
            Value::Many(items) => match at.steps.as_slice() {
                [] => return Some(items.iter().map(|item| &*item.value).collect()),
                [Step::Each, rest @ ..] => items.iter().for_each(|item| find_all(&item.value, rest, &mut lists)),
                [Step::Member(_), ..] => return None,
            },
        }
        let mut all = Vec::new();
        for list in lists {
            match list.first() {
                Some(b'[') => all.extend(elements(list)),
                Some(b'n') => {}
                Some(_) | None => return None,
            }
        }
        Some(all)
    }

    /// The same in that shape; `None` where something is in the way. The values of elements keep their keys as long as
    /// there are as many of them.
    pub(super) fn shaped(&self, shape: &Shape) -> Option<Value> {
        let mut node = self.node();
        shape.apply(&mut node).ok()?;
        let written = |node: &Node<'_>| {
            let mut out = Vec::with_capacity(node.len());
            node.write(&mut out);
            Bytes::from(out)
        };
        let (Value::Many(items), Node::Array(elements)) = (self, &node) else {
            return Some(Value::One(written(&node)));
        };
        let keys = items.iter().map(|item| item.key.clone().filter(|_| items.len() == elements.len()));
        let keys = keys.chain(iter::repeat(None));
        Some(Value::Many(elements.iter().zip(keys).map(|(value, key)| Item { key, value: written(value) }).collect()))
    }

    fn find(&self, path: &JsonPath) -> Option<template::Value<'_>> {
        let mut found = Vec::new();
        match (self, path.steps.as_slice()) {
            (Value::One(text), steps) => return of_item(text, steps),
            (Value::Many(_), []) => {
                let (node, mut out) = (self.node(), Vec::new());
                node.write(&mut out);
                return Some(template::Value::Json(Cow::Owned(out)));
            }
            (Value::Many(items), [Step::Each, rest @ ..]) => {
                items.iter().for_each(|item| find_all(&item.value, rest, &mut found));
            }
            (Value::Many(_), [Step::Member(_), ..]) => return None,
        }
        Some(list(found))
    }
}

impl<'a> Found<'a> {
    fn or_find(
        &self,
        reference: &Reference,
        find: impl FnOnce() -> Option<template::Value<'a>>,
    ) -> Option<template::Value<'a>> {
        let address = ptr::from_ref(reference).addr();
        if let Some((_, found)) = self.0.borrow().iter().find(|(known, _)| *known == address) {
            return found.clone();
        }
        let found = find();
        self.0.borrow_mut().push((address, found.clone()));
        found
    }
}

impl Scope for Offer<'_, '_> {
    fn value(&self, reference: &Reference) -> Option<template::Value<'_>> {
        match reference {
            Reference::Part { part, path, .. } => {
                self.found.or_find(reference, || self.slots.get(*part)?.get()?.value.as_ref()?.find(path))
            }
            Reference::Item(path) => match self.items {
                Given::None => None,
                Given::One(item) => of_item(item, &path.steps),
                Given::Several(items) => {
                    let mut found = Vec::new();
                    items.iter().for_each(|item| find_all(item, &path.steps, &mut found));
                    Some(list(found))
                }
            },
            of_request => self.request.value(of_request),
        }
    }
}

impl Scope for Alone<'_> {
    fn value(&self, reference: &Reference) -> Option<template::Value<'_>> {
        match reference {
            Reference::Part { .. } | Reference::Item(_) => Some(template::Value::Json(Cow::Borrowed(b"0"))),
            of_request => self.0.value(of_request),
        }
    }
}

fn of_item<'t>(text: &'t [u8], steps: &[Step]) -> Option<template::Value<'t>> {
    if steps.contains(&Step::Each) {
        let mut found = Vec::new();
        find_all(text, steps, &mut found);
        return Some(list(found));
    }
    find(text, steps).map(|value| template::Value::Json(Cow::Borrowed(value)))
}

fn list(found: Vec<&[u8]>) -> template::Value<'_> {
    template::Value::JsonList(found.into_iter().map(Cow::Borrowed).collect())
}
