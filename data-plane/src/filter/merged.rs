//! Two lists in one order, without a third: each is in order already.

/// What is left of the two.
#[derive(Clone, Debug)]
pub(super) struct Merged<'l, T, K> {
    one: &'l [T],
    other: &'l [T],
    key: fn(&T) -> K,
}

/// The elements of both lists by their keys; of two that are equal the first list's comes first.
pub(super) fn merged<'l, T, K: Ord>(one: &'l [T], other: &'l [T], key: fn(&T) -> K) -> Merged<'l, T, K> {
    Merged { one, other, key }
}

// === impl Merged ===

impl<'l, T, K: Ord> Iterator for Merged<'l, T, K> {
    type Item = &'l T;

    fn next(&mut self) -> Option<&'l T> {
        let first = match (self.one.first(), self.other.first()) {
            (Some(a), Some(b)) if (self.key)(b) < (self.key)(a) => &mut self.other,
            (Some(_), _) => &mut self.one,
            (None, _) => &mut self.other,
        };
        first.split_off_first()
    }
}

impl<'l, T, K: Ord> DoubleEndedIterator for Merged<'l, T, K> {
    fn next_back(&mut self) -> Option<&'l T> {
        let last = match (self.one.last(), self.other.last()) {
            (Some(a), Some(b)) if (self.key)(b) < (self.key)(a) => &mut self.one,
            (_, Some(_)) => &mut self.other,
            (_, None) => &mut self.one,
        };
        last.split_off_last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_are_one_from_both_ends() {
        let check = |one: &[&'static str], other: &[&'static str], expect: &str| {
            let list = merged(one, other, |text| text.as_bytes()[0]);
            assert_eq!(list.clone().copied().collect::<Vec<_>>().join(" "), expect);
            let mut back: Vec<_> = list.rev().copied().collect();
            back.reverse();
            assert_eq!(back.join(" "), expect);
        };
        check(&["a1", "b1", "b2", "d1"], &["a3", "b3", "c3"], "a1 a3 b1 b2 b3 c3 d1");
        check(&[], &["a", "b"], "a b");
        check(&["a", "b"], &[], "a b");
        check(&["z"], &["a", "b"], "a b z");
        check(&[], &[], "");
    }
}
