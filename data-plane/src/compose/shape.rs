//! What a client gets of a document: picks, omissions, and members under another name or at another place; objects and
//! arrays alike. The steps are taken in one order, which is not the operator's: pick, omit, flatten, rename, move.

use super::{
    merge::{Misplaced, Names, split},
    node::{Member, Node, quoted},
    selection::Selection,
    text::is_name,
};
use foldhash::HashSet;
use proto::{
    compose::{self, OnConflict},
    json_path::{JsonPath, Step},
};
use std::{borrow::Cow, mem};

/// What a document becomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Only this; `None`: all.
    pick: Option<Selection>,
    /// Without this.
    omit: Option<Selection>,
    /// What is lifted into what it stands in.
    flatten: Vec<Flatten>,
    /// What gets another name.
    rename: Vec<Rename>,
    /// What gets another place.
    moves: Vec<Move>,
}

/// What stands in a member or in elements is lifted into the object or the array around it.
#[derive(Clone, Debug)]
struct Flatten {
    around: Box<[Step]>,
    // `None`: arrays in an array.
    name: Option<Box<str>>,
    prefix: Box<str>,
    on_conflict: OnConflict,
}

/// Another name for a member.
#[derive(Clone, Debug)]
struct Rename {
    around: Box<[Step]>,
    from: Box<str>,
    to: (Box<str>, Box<[u8]>),
    on_conflict: OnConflict,
}

/// Another place for a member.
#[derive(Clone, Debug)]
struct Move {
    // What both places stand in.
    around: Box<[Step]>,
    from: Names,
    to: Names,
    on_conflict: OnConflict,
}

// === impl Shape ===

impl Shape {
    /// The shape, where one was said.
    pub(crate) fn new(spec: &compose::Shape) -> Option<Shape> {
        let select = |paths: &[JsonPath]| (!paths.is_empty()).then(|| Selection::new(paths));
        let shape = || Shape {
            pick: select(&spec.pick),
            omit: select(&spec.omit),
            flatten: spec.flatten.iter().map(|each| Flatten::new(&each.at, &each.prefix, each.on_conflict)).collect(),
            rename: spec.rename.iter().filter_map(|each| Rename::new(&each.at, &each.to, each.on_conflict)).collect(),
            moves: spec.moves.iter().map(|each| Move::new(&each.from, &each.to, each.on_conflict)).collect(),
        };
        (!spec.is_empty()).then(shape)
    }

    /// Gives the document its shape.
    pub(crate) fn apply<'t>(&'t self, root: &mut Node<'t>) -> Result<(), Misplaced> {
        if self.pick.as_ref().is_some_and(|pick| !pick.keep(root)) {
            *root = Node::NULL;
        }
        if self.omit.as_ref().is_some_and(|omit| omit.omit(root)) {
            *root = Node::NULL;
        }
        self.flatten.iter().try_for_each(|flatten| flatten.apply(root))?;
        self.rename.iter().try_for_each(|rename| rename.apply(root))?;
        self.moves.iter().try_for_each(|each| each.apply(root))
    }
}

// === impl Flatten ===

impl Flatten {
    /// Lifts what stands at that path. Names of members get the prefix.
    fn new(at: &JsonPath, prefix: &str, on_conflict: OnConflict) -> Flatten {
        let (around, name) = match at.steps.split_last() {
            Some((Step::Member(name), around)) => (around, Some(name.clone())),
            Some((Step::Each, around)) => (around, None),
            None => (&[][..], None),
        };
        Flatten { around: around.into(), name, prefix: prefix.into(), on_conflict }
    }

    fn apply<'t>(&'t self, root: &mut Node<'t>) -> Result<(), Misplaced> {
        root.visit(&self.around, &mut |around| match &self.name {
            Some(name) => self.lift_members(around, name),
            None => {
                lift_elements(around);
                Ok(())
            }
        })
    }

    // In the place of the member. Anything but an object stays where it is.
    fn lift_members<'t>(&'t self, around: &mut Node<'t>, name: &str) -> Result<(), Misplaced> {
        let Some(members) = around.members() else { return Ok(()) };
        let Some(at) = members.iter().rposition(|member| is_name(&member.name, name)) else { return Ok(()) };
        let Some(inner) = members.get_mut(at).and_then(|member| member.value.members()).map(mem::take) else {
            return Ok(());
        };
        let mut after = members.split_off(at);
        after.remove(0);
        let mut inner = inner;
        if !self.prefix.is_empty() {
            inner.iter_mut().for_each(|member| member.name = self.prefixed(&member.name));
        }
        let names = |members: &[Member<'_>]| -> HashSet<Vec<u8>> {
            members.iter().map(|member| member.decoded().into_owned()).collect()
        };
        match self.on_conflict {
            OnConflict::Fail | OnConflict::Keep => {
                let mut taken = names(members);
                taken.extend(names(&after));
                let len = inner.len();
                inner.retain(|member| !taken.contains(&*member.decoded()));
                if self.on_conflict == OnConflict::Fail && inner.len() < len {
                    return Err(Misplaced::Taken);
                }
            }
            OnConflict::Replace => {
                let taken = names(&inner);
                members.retain(|member| !taken.contains(&*member.decoded()));
                after.retain(|member| !taken.contains(&*member.decoded()));
            }
        }
        members.append(&mut inner);
        members.append(&mut after);
        Ok(())
    }

    fn prefixed(&self, written: &[u8]) -> Cow<'static, [u8]> {
        let mut name = quoted(&self.prefix).into_vec();
        // Without the quotes between them.
        name.pop();
        name.extend_from_slice(written.get(1..).unwrap_or_default());
        Cow::Owned(name)
    }
}

// Anything but arrays stays where it is.
fn lift_elements(around: &mut Node<'_>) {
    let Some(elements) = around.elements() else { return };
    let mut lifted = Vec::with_capacity(elements.len());
    for mut element in mem::take(elements) {
        match element.elements() {
            Some(inner) => lifted.append(inner),
            None => lifted.push(element),
        }
    }
    *elements = lifted;
}

// === impl Rename ===

impl Rename {
    /// What that path, which ends with a member, leads to is called so.
    fn new(at: &JsonPath, to: &str, on_conflict: OnConflict) -> Option<Rename> {
        let Some((Step::Member(from), around)) = at.steps.split_last() else { return None };
        Some(Rename { around: around.into(), from: from.clone(), to: (to.into(), quoted(to)), on_conflict })
    }

    fn apply<'t>(&'t self, root: &mut Node<'t>) -> Result<(), Misplaced> {
        root.visit(&self.around, &mut |around| {
            let Some(members) = around.members() else { return Ok(()) };
            let Some(at) = members.iter().rposition(|member| is_name(&member.name, &self.from)) else { return Ok(()) };
            let mut at = at;
            let mut member = members.remove(at);
            let (name, written) = &self.to;
            let is_taken = |member: &Member<'_>| is_name(&member.name, name);
            match (members.iter().any(is_taken), self.on_conflict) {
                (false, _) => {}
                (true, OnConflict::Fail) => return Err(Misplaced::Taken),
                (true, OnConflict::Keep) => return Ok(()),
                (true, OnConflict::Replace) => {
                    at -= members.iter().take(at).filter(|member| is_taken(member)).count();
                    members.retain(|member| !is_taken(member));
                }
            }
            member.name = Cow::Borrowed(written);
            members.insert(at, member);
            Ok(())
        })
    }
}

// === impl Move ===

impl Move {
    /// What stands at `from` goes to `to`; both are in the same elements of arrays, if they are in any.
    fn new(from: &JsonPath, to: &JsonPath, on_conflict: OnConflict) -> Move {
        let ((around, from), (_, to)) = (split(&from.steps), split(&to.steps));
        Move { around: around.into(), from: Names::new(from), to: Names::new(to), on_conflict }
    }

    fn apply<'t>(&'t self, root: &mut Node<'t>) -> Result<(), Misplaced> {
        root.visit(&self.around, &mut |around| match self.from.take(around) {
            Some(value) => self.to.put(around, value, self.on_conflict),
            None => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap()
    }

    fn check(shape: Shape, text: &str, expect: Result<&str, Misplaced>) {
        let mut node = Node::Raw(text.as_bytes());
        let applied = shape.apply(&mut node).map(|()| {
            let mut out = Vec::new();
            node.write(&mut out);
            String::from_utf8(out).unwrap()
        });
        assert_eq!(applied, expect.map(Into::into), "{shape:?}");
    }

    #[test]
    fn what_is_lifted_stands_around() {
        let flatten = |at: &str, prefix: &str, on_conflict| Shape {
            flatten: vec![Flatten::new(&path(at), prefix, on_conflict)],
            ..Shape::default()
        };
        let text = r#"{"a":1,"b":{"c":2.0,"d":[ 3 ]},"e":4}"#;
        check(flatten("b", "", OnConflict::Fail), text, Ok(r#"{"a":1,"c":2.0,"d":[ 3 ],"e":4}"#));
        check(flatten("b", "b_", OnConflict::Fail), text, Ok(r#"{"a":1,"b_c":2.0,"b_d":[ 3 ],"e":4}"#));
        check(flatten("a", "", OnConflict::Fail), text, Ok(text));
        check(flatten("x.y", "", OnConflict::Fail), text, Ok(text));
        let lines = r#"{"l":[{"p":{"n":1}},{"p":null},{"p":{}}]}"#;
        check(flatten("l[].p", "", OnConflict::Fail), lines, Ok(r#"{"l":[{"n":1},{"p":null},{}]}"#));
        check(flatten("l[]", "", OnConflict::Fail), r#"{"l":[[1, 2],3,[],[[4]]]}"#, Ok(r#"{"l":[1,2,3,[4]]}"#));
        let clash = r#"{"a":1,"b":{"a":2,"\u0065":3},"e":4}"#;
        check(flatten("b", "", OnConflict::Fail), clash, Err(Misplaced::Taken));
        check(flatten("b", "", OnConflict::Keep), clash, Ok(r#"{"a":1,"e":4}"#));
        check(flatten("b", "", OnConflict::Replace), clash, Ok(r#"{"a":2,"\u0065":3}"#));
    }

    #[test]
    fn a_member_gets_another_name_where_it_stands() {
        let rename = |at: &str, to: &str, on_conflict| Shape {
            rename: vec![Rename::new(&path(at), to, on_conflict).unwrap()],
            ..Shape::default()
        };
        check(rename("a", "x\"", OnConflict::Fail), r#"{"a":1.0,"b":2}"#, Ok(r#"{"x\"":1.0,"b":2}"#));
        check(rename("l[].a", "b", OnConflict::Fail), r#"{"l":[{"a":1},{},2]}"#, Ok(r#"{"l":[{"b":1},{},2]}"#));
        check(rename("a", "b", OnConflict::Fail), r#"{"a":1,"b":2}"#, Err(Misplaced::Taken));
        check(rename("a", "b", OnConflict::Keep), r#"{"a":1,"b":2}"#, Ok(r#"{"b":2}"#));
        check(rename("a", "b", OnConflict::Replace), r#"{"a":1,"b":2}"#, Ok(r#"{"b":1}"#));
        check(rename("a", "a", OnConflict::Fail), r#"{"\u0061":1}"#, Ok(r#"{"a":1}"#));
    }

    #[test]
    fn a_member_gets_another_place() {
        let moved = |from: &str, to: &str, on_conflict| Shape {
            moves: vec![Move::new(&path(from), &path(to), on_conflict)],
            ..Shape::default()
        };
        let text = r#"{"o":{"c":{"n":"x"},"k":1}}"#;
        check(moved("o.c.n", "name", OnConflict::Fail), text, Ok(r#"{"o":{"c":{},"k":1},"name":"x"}"#));
        check(moved("o.c", "p.q.r", OnConflict::Fail), text, Ok(r#"{"o":{"k":1},"p":{"q":{"r":{"n":"x"}}}}"#));
        check(moved("o.z", "p", OnConflict::Fail), text, Ok(text));
        check(moved("o.k", "o.c", OnConflict::Fail), text, Err(Misplaced::Taken));
        check(moved("o.k", "o.c", OnConflict::Replace), text, Ok(r#"{"o":{"c":1}}"#));
        check(moved("o.c", "o.k.x", OnConflict::Fail), text, Err(Misplaced::NoObject));
        check(
            moved("l[].p.n", "l[].n", OnConflict::Fail),
            r#"{"l":[{"p":{"n":1}},{"n":2}]}"#,
            Ok(r#"{"l":[{"p":{},"n":1},{"n":2}]}"#),
        );
        check(moved("o", "", OnConflict::Fail), text, Ok(r#"{"c":{"n":"x"},"k":1}"#));
    }

    #[test]
    fn steps_are_taken_in_one_order() {
        let shape = Shape {
            pick: Some(Selection::new(&[path("a"), path("b.c")])),
            omit: Some(Selection::new(&[path("a.secret")])),
            flatten: vec![Flatten::new(&path("b"), "", OnConflict::Fail)],
            rename: vec![Rename::new(&path("c"), "d", OnConflict::Fail).unwrap()],
            moves: vec![Move::new(&path("d"), &path("a.d"), OnConflict::Fail)],
        };
        check(shape, r#"{"a":{"secret":1,"x":2},"b":{"c":3,"y":4},"z":5}"#, Ok(r#"{"a":{"x":2,"d":3}}"#));
    }
}
