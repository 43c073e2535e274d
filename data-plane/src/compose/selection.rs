//! Several paths at once: what they lead to is kept, or left out, in one walk.

use super::{node::Node, text::is_name};
use proto::json_path::{JsonPath, Step};

/// Several paths, by what they begin with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    // A path ends here: all of it is meant, whatever longer ones say.
    whole: bool,
    members: Vec<(Box<str>, Selection)>,
    each: Option<Box<Selection>>,
}

// === impl Selection ===

impl Selection {
    /// What these paths lead to.
    pub(crate) fn new(paths: &[JsonPath]) -> Selection {
        let mut selection = Selection::default();
        paths.iter().for_each(|path| selection.add(&path.steps));
        selection
    }

    fn add(&mut self, path: &[Step]) {
        match path {
            [] => self.whole = true,
            [Step::Member(name), rest @ ..] => match self.members.iter_mut().find(|(known, _)| known == name) {
                Some((_, below)) => below.add(rest),
                None => {
                    let mut below = Selection::default();
                    below.add(rest);
                    self.members.push((name.clone(), below));
                }
            },
            [Step::Each, rest @ ..] => self.each.get_or_insert_default().add(rest),
        }
    }

    /// Keeps only what is selected, in its order; whether anything of the node is. `null` stays: nothing is in it.
    pub(crate) fn keep(&self, node: &mut Node<'_>) -> bool {
        if self.whole || matches!(node, Node::Raw(b"null")) {
            return true;
        }
        if let Some(each) = &self.each
            && let Some(elements) = node.elements()
        {
            elements.retain_mut(|element| each.keep(element));
            return true;
        }
        if !self.members.is_empty()
            && let Some(members) = node.members()
        {
            members.retain_mut(|member| self.below(&member.name).is_some_and(|below| below.keep(&mut member.value)));
            return true;
        }
        false
    }

    /// Leaves out what is selected; whether the node itself is.
    pub(crate) fn omit(&self, node: &mut Node<'_>) -> bool {
        if self.whole {
            return true;
        }
        if let Some(each) = &self.each
            && let Some(elements) = node.elements()
        {
            elements.retain_mut(|element| !each.omit(element));
        } else if !self.members.is_empty()
            && let Some(members) = node.members()
        {
            members.retain_mut(|member| !self.below(&member.name).is_some_and(|below| below.omit(&mut member.value)));
        }
        false
    }

    fn below(&self, written: &[u8]) -> Option<&Selection> {
        self.members.iter().find(|(name, _)| is_name(written, name)).map(|(_, below)| below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str =
        r#"{"id":1,"lines":[{"sku":"a","n":1.0},{"n":2},7,null],"who":{"name":"x","pass\u0077ord":"y"},"none":null}"#;

    fn check(paths: &[&str], text: &str, act: impl Fn(&Selection, &mut Node<'_>) -> bool, expect: &str) {
        let paths: Vec<JsonPath> = paths.iter().map(|path| JsonPath::parse(path).unwrap()).collect();
        let mut node = Node::Raw(text.as_bytes());
        act(&Selection::new(&paths), &mut node);
        let mut out = Vec::new();
        node.write(&mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), expect, "{paths:?}");
    }

    #[test]
    fn only_what_is_picked_stays() {
        let keep = |paths: &[&str], expect: &str| check(paths, ORDER, Selection::keep, expect);
        keep(&["id"], r#"{"id":1}"#);
        keep(&["who.name", "id"], r#"{"id":1,"who":{"name":"x"}}"#);
        keep(&["lines[].sku"], r#"{"lines":[{"sku":"a"},{},null]}"#);
        keep(&["lines[].sku", "lines"], r#"{"lines":[{"sku":"a","n":1.0},{"n":2},7,null]}"#);
        keep(&["lines.sku", "id.x", "none.x", "absent"], r#"{"none":null}"#);
        keep(&["who[].name"], "{}");
        keep(&[""], ORDER);
    }

    #[test]
    fn what_is_left_out_is_found_under_any_spelling() {
        let omit = |paths: &[&str], expect: &str| check(paths, ORDER, Selection::omit, expect);
        omit(
            &["who.password", "lines[].n"],
            r#"{"id":1,"lines":[{"sku":"a"},{},7,null],"who":{"name":"x"},"none":null}"#,
        );
        omit(&["lines[]", "who", "none.x"], r#"{"id":1,"lines":[],"none":null}"#);
        check(&["[].a"], r#"[{"a":1,"b":2},{"a":1,"\u0061":2}]"#, Selection::omit, r#"[{"b":2},{}]"#);
        check(&["absent"], r#"{"a":[ 1 ]}"#, Selection::omit, r#"{"a":[ 1 ]}"#);
    }
}
