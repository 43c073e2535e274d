//! What is tried on bodies of strangers, for fuzzers.

use super::{
    merge::Place,
    node::Node,
    scan::{Duplicates, Limits, scan},
    shape::Shape,
};
use proto::{
    compose::{self, Flatten, Move, OnConflict, Rename},
    json_path::JsonPath,
};

/// What became of a body.
pub(crate) struct Probe {
    /// When nobody went into it.
    pub(crate) untouched: Vec<u8>,
    /// When all of it was gone into.
    pub(crate) opened: Vec<u8>,
    /// In some shape.
    pub(crate) shaped: Vec<u8>,
}

/// Tries it; `None` where it is no body.
pub(crate) fn probe(body: &[u8]) -> Option<Probe> {
    let value = scan(body, Limits { depth: 64, duplicates: Duplicates::Pass }).ok()?;
    let path = |text: &str| JsonPath::parse(text).unwrap_or_default();
    let shape = Shape::new(&compose::Shape {
        pick: ["a", "[]", "b.c", "l[].a", "l[].b"].map(path).into(),
        omit: ["a.b", "[].a"].map(path).into(),
        flatten: vec![Flatten { at: path("a"), prefix: "b".into(), on_conflict: OnConflict::Replace }],
        rename: vec![Rename { at: path("l[].a"), to: "\"".into(), on_conflict: OnConflict::Keep }],
        moves: vec![Move { from: path("b.c"), to: path("a.b"), on_conflict: OnConflict::Replace }],
    })?;
    let place = Place::new(&path("b.\"\\\"\".c"));
    let mut opened = Node::Raw(value);
    open(&mut opened);
    let mut shaped = Node::Raw(value);
    shape.apply(&mut shaped).ok();
    place.put(&mut shaped, Node::Raw(value), OnConflict::Replace).ok();
    Some(Probe { untouched: written(&Node::Raw(value)), opened: written(&opened), shaped: written(&shaped) })
}

fn open(node: &mut Node<'_>) {
    if let Some(members) = node.members() {
        members.iter_mut().for_each(|member| open(&mut member.value));
    } else if let Some(elements) = node.elements() {
        elements.iter_mut().for_each(open);
    }
}

fn written(node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    node.write(&mut out);
    assert_eq!(out.len(), node.len());
    out
}
