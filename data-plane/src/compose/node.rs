//! A tree over slices of bodies. What nobody goes into is one slice, whatever is in it: it is written as it was.

use super::text::{elements, is_name, members, string};
use crate::json;
use proto::json_path::Step;
use std::borrow::Cow;

/// A value of JSON.
#[derive(Clone, Debug)]
pub(crate) enum Node<'t> {
    /// As it was written.
    Raw(&'t [u8]),
    /// An object that was gone into.
    Object(Vec<Member<'t>>),
    /// An array that was gone into.
    Array(Vec<Node<'t>>),
}

/// A member of an object.
#[derive(Clone, Debug)]
pub(crate) struct Member<'t> {
    /// As it was written, in its quotes.
    pub(crate) name: Cow<'t, [u8]>,
    /// The value.
    pub(crate) value: Node<'t>,
}

/// A name as it is written.
pub(crate) fn quoted(name: &str) -> Box<[u8]> {
    let mut written = Vec::with_capacity(name.len() + 2);
    written.push(b'"');
    json::escape(name.as_bytes(), |text| written.extend_from_slice(text));
    written.push(b'"');
    written.into()
}

// === impl Node ===

impl<'t> Node<'t> {
    /// `null`.
    pub(crate) const NULL: Node<'static> = Node::Raw(b"null");

    /// The members, if it is an object.
    pub(crate) fn members(&mut self) -> Option<&mut Vec<Member<'t>>> {
        if let Node::Raw(text @ [b'{', ..]) = *self {
            let member = |(name, value)| Member { name: Cow::Borrowed(name), value: Node::Raw(value) };
            *self = Node::Object(members(text).map(member).collect());
        }
        match self {
            Node::Object(members) => Some(members),
            Node::Raw(_) | Node::Array(_) => None,
        }
    }

    /// The elements, if it is an array.
    pub(crate) fn elements(&mut self) -> Option<&mut Vec<Node<'t>>> {
        if let Node::Raw(text @ [b'[', ..]) = *self {
            *self = Node::Array(elements(text).map(Node::Raw).collect());
        }
        match self {
            Node::Array(elements) => Some(elements),
            Node::Raw(_) | Node::Object(_) => None,
        }
    }

    /// The value of the last member of that name.
    pub(crate) fn member(&mut self, name: &str) -> Option<&mut Node<'t>> {
        let mut members = self.members()?.iter_mut().rev();
        members.find(|member| is_name(&member.name, name)).map(|member| &mut member.value)
    }

    /// Does that with all that the path leads to, in their order.
    pub(crate) fn visit<E>(
        &mut self,
        path: &[Step],
        act: &mut impl FnMut(&mut Node<'t>) -> Result<(), E>,
    ) -> Result<(), E> {
        match path {
            [] => act(self),
            [Step::Member(name), rest @ ..] => match self.member(name) {
                Some(value) => value.visit(rest, act),
                None => Ok(()),
            },
            [Step::Each, rest @ ..] => {
                let mut elements = self.elements().into_iter().flatten();
                elements.try_for_each(|element| element.visit(rest, act))
            }
        }
    }

    /// What is there as it was written, if nobody went into it.
    pub(crate) fn raw(&self, path: &[Step]) -> Option<&'t [u8]> {
        match (self, path) {
            (Node::Raw(text), path) => super::find::find(text, path),
            (Node::Object(members), [Step::Member(name), rest @ ..]) => {
                members.iter().rev().find(|member| is_name(&member.name, name))?.value.raw(rest)
            }
            (Node::Object(_) | Node::Array(_), _) => None,
        }
    }

    /// How long it is when it is written.
    pub(crate) fn len(&self) -> usize {
        let commas = |count: usize| 2 + count.saturating_sub(1);
        match self {
            Node::Raw(text) => text.len(),
            Node::Object(members) => members.iter().fold(commas(members.len()), |len, member| {
                len.saturating_add(member.name.len() + 1).saturating_add(member.value.len())
            }),
            Node::Array(elements) => {
                elements.iter().fold(commas(elements.len()), |len, element| len.saturating_add(element.len()))
            }
        }
    }

    /// Writes it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Node::Raw(text) => out.extend_from_slice(text),
            Node::Object(members) => {
                out.push(b'{');
                for (at, Member { name, value }) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
            Node::Array(elements) => {
                out.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    element.write(out);
                }
                out.push(b']');
            }
        }
    }
}

// === impl Member ===

impl Member<'_> {
    /// The text that the name means.
    pub(crate) fn decoded(&self) -> Cow<'_, [u8]> {
        string(&self.name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn written(node: &Node<'_>) -> String {
        let mut out = Vec::new();
        node.write(&mut out);
        assert_eq!(out.len(), node.len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_nobody_goes_into_stays_as_it_was() {
        let text = r#"{ "a" : 1.500 , "\u0062":[ 1e3,{"x" :2 } ] }"#;
        let mut node = Node::Raw(text.as_bytes());
        assert_eq!(written(&node), text);
        assert_eq!(node.member("b").unwrap().elements().unwrap().len(), 2);
        assert_eq!(written(&node), r#"{"a":1.500,"\u0062":[1e3,{"x" :2 }]}"#);
        assert!(node.member("a").unwrap().members().is_none() && node.elements().is_none());
    }

    #[test]
    fn a_visit_comes_to_all_that_a_path_leads_to() {
        let mut node = Node::Raw(br#"{"a":[{"b":1},{"c":2},[],{"b":[3]}]}"#);
        let path = [Step::Member("a".into()), Step::Each, Step::Member("b".into())];
        let blank = &mut |node: &mut Node<'static>| {
            *node = Node::NULL;
            Ok::<(), Infallible>(())
        };
        node.visit(&path, blank).unwrap();
        assert_eq!(written(&node), r#"{"a":[{"b":null},{"c":2},[],{"b":null}]}"#);
        assert_eq!(node.raw(&[Step::Member("a".into())]), None);
    }
}
