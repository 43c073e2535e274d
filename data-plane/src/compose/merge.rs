//! Puts the values of parts into one document, in the order that the configuration says: at a place of their own, or
//! joined to the elements of a list by a key.

use super::{
    key::Key,
    node::{Member, Node, quoted},
    text::is_name,
};
use foldhash::HashMap;
use proto::{
    compose::OnConflict,
    json_path::{JsonPath, Step},
};
use std::borrow::Cow;

/// Names of members, one in another.
#[derive(Clone, Debug)]
pub(crate) struct Names(Box<[Name]>);

// What a name means, and how it is written.
#[derive(Clone, Debug)]
struct Name {
    text: Box<str>,
    written: Box<[u8]>,
}

/// A place in a document.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    // What it is in: elements of an array, or the document.
    around: Box<[Step]>,
    names: Names,
}

/// Why a value has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// There is something already.
    Taken,
    /// There is something else where an object should be.
    NoObject,
}

// === impl Names ===

impl Names {
    /// The names of these steps, without those that are none.
    pub(crate) fn new(steps: &[Step]) -> Names {
        let name = |step: &Step| match step {
            Step::Member(name) => Some(Name { text: name.clone(), written: quoted(name) }),
            Step::Each => None,
        };
        Names(steps.iter().filter_map(name).collect())
    }

    /// Puts a value there; objects on the way are made where nothing is.
    pub(crate) fn put<'t>(
        &'t self,
        node: &mut Node<'t>,
        value: Node<'t>,
        on_conflict: OnConflict,
    ) -> Result<(), Misplaced> {
        let Some((last, outer)) = self.0.split_last() else {
            *node = value;
            return Ok(());
        };
        let mut around = node;
        for name in outer {
            if around.member(&name.text).is_none() {
                let members = around.members().ok_or(Misplaced::NoObject)?;
                members.push(Member { name: Cow::Borrowed(&name.written), value: Node::Object(Vec::new()) });
            }
            around = around.member(&name.text).ok_or(Misplaced::NoObject)?;
        }
        insert(around, last, value, on_conflict)
    }

    /// Takes the value out that is there.
    pub(crate) fn take<'t>(&self, node: &mut Node<'t>) -> Option<Node<'t>> {
        let (last, outer) = self.0.split_last()?;
        let around = outer.iter().try_fold(node, |node, name| node.member(&name.text))?;
        let members = around.members()?;
        let at = members.iter().rposition(|member| is_name(&member.name, &last.text))?;
        Some(members.remove(at).value)
    }

    // Whether a value can be put there that nothing gives way to.
    fn is_free(&self, node: &mut Node<'_>) -> Result<(), Misplaced> {
        let mut around = node;
        for name in &self.0 {
            around.members().ok_or(Misplaced::NoObject)?;
            match around.member(&name.text) {
                Some(member) => around = member,
                None => return Ok(()),
            }
        }
        Err(Misplaced::Taken)
    }
}

// === impl Place ===

impl Place {
    /// Where that path leads.
    pub(crate) fn new(path: &JsonPath) -> Place {
        let (around, below) = split(&path.steps);
        Place { around: around.into(), names: Names::new(below) }
    }

    /// Puts the value there.
    pub(crate) fn put<'t>(
        &'t self,
        root: &mut Node<'t>,
        value: Node<'t>,
        on_conflict: OnConflict,
    ) -> Result<(), Misplaced> {
        self.names.put(root, value, on_conflict)
    }

    /// Puts into each element that the place is in the value of its key; elements without one stay as they are. It is
    /// done for all of them or for none.
    pub(crate) fn join<'t>(
        &'t self,
        root: &mut Node<'t>,
        on: &JsonPath,
        values: &HashMap<Key<'t>, Node<'t>>,
        on_conflict: OnConflict,
    ) -> Result<(), Misplaced> {
        let value = |element: &Node<'t>| values.get(&element.raw(&on.steps).and_then(Key::of)?);
        if on_conflict == OnConflict::Fail {
            root.visit(&self.around, &mut |element| match value(element) {
                Some(_) => self.names.is_free(element),
                None => Ok(()),
            })?;
        }
        root.visit(&self.around, &mut |element| match value(element) {
            Some(value) => self.names.put(element, value.clone(), on_conflict),
            None => Ok(()),
        })
    }
}

/// What of a path goes up to the last `[]`, and the names behind that.
pub(super) fn split(path: &[Step]) -> (&[Step], &[Step]) {
    path.split_at(path.iter().rposition(|step| *step == Step::Each).map_or(0, |at| at + 1))
}

// Puts a member into an object, at its end.
fn insert<'t>(
    object: &mut Node<'t>,
    name: &'t Name,
    value: Node<'t>,
    on_conflict: OnConflict,
) -> Result<(), Misplaced> {
    let members = object.members().ok_or(Misplaced::NoObject)?;
    let is_there = members.iter().any(|member| is_name(&member.name, &name.text));
    match (is_there, on_conflict) {
        (true, OnConflict::Keep) => return Ok(()),
        (true, OnConflict::Fail) => return Err(Misplaced::Taken),
        (true, OnConflict::Replace) => members.retain(|member| !is_name(&member.name, &name.text)),
        (false, _) => {}
    }
    members.push(Member { name: Cow::Borrowed(&name.written), value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap()
    }

    fn written(node: &Node<'_>) -> String {
        let mut out = Vec::new();
        node.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_gets_its_place() {
        let check = |root: &'static str, at: &str, on_conflict, expect: Result<&str, Misplaced>| {
            let place = Place::new(&path(at));
            let mut root = Node::Raw(root.as_bytes());
            let put = place.put(&mut root, Node::Raw(b"9"), on_conflict);
            assert_eq!(put.map(|()| written(&root)), expect.map(Into::into), "{at}");
        };
        check("{}", "a", OnConflict::Fail, Ok(r#"{"a":9}"#));
        check(r#"{"b" : 1.0}"#, "a", OnConflict::Fail, Ok(r#"{"b":1.0,"a":9}"#));
        check(r#"{"b":{"c":[ 1 ]}}"#, "b.a", OnConflict::Fail, Ok(r#"{"b":{"c":[ 1 ],"a":9}}"#));
        check(r#"{"a":1}"#, "a", OnConflict::Fail, Err(Misplaced::Taken));
        check(r#"{"\u0061":1}"#, "a", OnConflict::Fail, Err(Misplaced::Taken));
        check(r#"{"a":1}"#, "a", OnConflict::Keep, Ok(r#"{"a":1}"#));
        check(r#"{"a":1,"b":2,"a":3}"#, "a", OnConflict::Replace, Ok(r#"{"b":2,"a":9}"#));
        check(r#"{"b":null}"#, "b.a", OnConflict::Fail, Err(Misplaced::NoObject));
        check("{}", "b.\"ä\\\"\".a", OnConflict::Fail, Ok(r#"{"b":{"ä\"":{"a":9}}}"#));
        check(r#"{"b":1}"#, "", OnConflict::Fail, Ok("9"));
    }

    #[test]
    fn values_are_joined_by_their_keys() {
        let values: HashMap<Key<'_>, Node<'_>> = [(&br#""a""#[..], &b"1"[..]), (b"7", b"{ }")]
            .into_iter()
            .map(|(key, value)| (Key::of(key).unwrap(), Node::Raw(value)))
            .collect();
        let check = |root: &'static str, on_conflict, expect: Result<&str, Misplaced>| {
            let place = Place::new(&path("lines[].stock"));
            let mut root = Node::Raw(root.as_bytes());
            let joined = place.join(&mut root, &path("sku"), &values, on_conflict);
            assert_eq!(joined.map(|()| written(&root)), expect.map(Into::into));
        };
        check(
            r#"{"lines":[{"sku":"a"},{"sku":7},{"sku":"7"},{},3,{"sku":"\u0061"}]}"#,
            OnConflict::Fail,
            Ok(
                r#"{"lines":[{"sku":"a","stock":1},{"sku":7,"stock":{ }},{"sku":"7"},{},3,{"sku":"\u0061","stock":1}]}"#,
            ),
        );
        check(r#"{"lines":[{"sku":"a","stock":0}]}"#, OnConflict::Fail, Err(Misplaced::Taken));
        check(r#"{"lines":[{"sku":"a","stock":0}]}"#, OnConflict::Keep, Ok(r#"{"lines":[{"sku":"a","stock":0}]}"#));
        check(r#"{"lines":[{"stock":0,"sku":"a"}]}"#, OnConflict::Replace, Ok(r#"{"lines":[{"sku":"a","stock":1}]}"#));
        check(r#"{"lines":{}}"#, OnConflict::Fail, Ok(r#"{"lines":{}}"#));
    }

    #[test]
    fn a_join_is_for_all_or_for_none() {
        let values = HashMap::from_iter([(Key::of(b"1").unwrap(), Node::Raw(b"9"))]);
        let mut root = Node::Raw(br#"[{"k":1},{"k":1,"v":0}]"#);
        let place = Place::new(&path("[].v"));
        assert_eq!(place.join(&mut root, &path("k"), &values, OnConflict::Fail), Err(Misplaced::Taken));
        assert_eq!(written(&root), r#"[{"k":1},{"k":1,"v":0}]"#);
    }
}
