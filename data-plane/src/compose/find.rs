//! What a path leads to in a body, as it was written.

use super::text::{elements, member};
use proto::json_path::Step;

/// What a path without `[]` leads to.
pub(crate) fn find<'t>(value: &'t [u8], path: &[Step]) -> Option<&'t [u8]> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => member(value, name),
        Step::Each => None,
    })
}

/// All that a path leads to, in their order.
pub(crate) fn find_all<'t>(value: &'t [u8], path: &[Step], found: &mut Vec<&'t [u8]>) {
    match path {
        [] => found.push(value),
        [Step::Member(name), rest @ ..] => {
            if let Some(value) = member(value, name) {
                find_all(value, rest, found);
            }
        }
        [Step::Each, rest @ ..] => elements(value).for_each(|element| find_all(element, rest, found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::json_path::JsonPath;

    const BODY: &str =
        r#"{"id":10000000000000000001,"lines":[{"sku":"a"},{"sku":1.0},{},7,{"sku":null}],"":{"x":[[1],[2,3]]}}"#;

    #[test]
    fn a_path_leads_to_what_was_written() {
        let check = |path: &str, expect: &[&str]| {
            let path = JsonPath::parse(path).unwrap();
            let mut found = Vec::new();
            find_all(BODY.as_bytes(), &path.steps, &mut found);
            let found: Vec<&str> = found.into_iter().map(|value| std::str::from_utf8(value).unwrap()).collect();
            assert_eq!(found, expect);
            if !path.steps.contains(&Step::Each) {
                assert_eq!(find(BODY.as_bytes(), &path.steps), expect.first().map(|value| value.as_bytes()));
            }
        };
        check("id", &["10000000000000000001"]);
        check("lines[].sku", &["\"a\"", "1.0", "null"]);
        check("none", &[]);
        check("id.x", &[]);
        check("id[]", &[]);
        check("lines.sku", &[]);
        check("", &[BODY]);
    }
}
