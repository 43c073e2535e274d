//! A change of one header, as somebody else asks for it.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A change of one header.
#[derive(Clone, Debug)]
pub(crate) struct HeaderChange {
    /// The name.
    pub(crate) name: HeaderName,
    /// The value.
    pub(crate) value: HeaderValue,
    /// What becomes of others of the name.
    pub(crate) how: Placing,
}

/// What becomes of other headers of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// They stay beside it.
    Beside,
    /// They stay, and it is left out.
    IfAbsent,
    /// They give way.
    InPlace,
    /// They give way, and without any it is left out.
    InPlaceOnly,
}

// === impl HeaderChange ===

impl HeaderChange {
    /// Changes the headers.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let HeaderChange { name, value, how } = self;
        match (how, headers.contains_key(name)) {
            (Placing::Beside, _) => drop(headers.append(name, value.clone())),
            (Placing::InPlace, _) | (Placing::IfAbsent, false) | (Placing::InPlaceOnly, true) => {
                drop(headers.insert(name, value.clone()));
            }
            (Placing::IfAbsent, true) | (Placing::InPlaceOnly, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_of_the_name_stay_or_give_way() {
        let check = |how, there: &[&'static str], expect: &[&str]| {
            let name = HeaderName::from_static("x-a");
            let mut headers: HeaderMap =
                there.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect();
            HeaderChange { name: name.clone(), value: HeaderValue::from_static("new"), how }.apply(&mut headers);
            let left: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
            assert_eq!(left, expect, "{how:?} {there:?}");
        };
        check(Placing::Beside, &["a", "b"], &["a", "b", "new"]);
        check(Placing::Beside, &[], &["new"]);
        check(Placing::IfAbsent, &["a"], &["a"]);
        check(Placing::IfAbsent, &[], &["new"]);
        check(Placing::InPlace, &["a", "b"], &["new"]);
        check(Placing::InPlace, &[], &["new"]);
        check(Placing::InPlaceOnly, &["a", "b"], &["new"]);
        check(Placing::InPlaceOnly, &[], &[]);
    }
}
