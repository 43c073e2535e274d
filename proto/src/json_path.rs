//! Paths into JSON: one way to write where something is, for calls, merges and shapes alike.
//!
//! ```text
//! path   = [ first *( "." name | "[]" ) ]
//! first  = name | "[]"
//! name   = 1*( letter | digit | "_" | "-" | "$" | "@" | ":" ) | quoted
//! quoted = '"' 1*( any character but '"' and "\" | '\"' | "\\" ) '"'
//! ```
//!
//! Nothing written is the whole value, and `[]` is each element of an array. A name means the member whose name has the
//! same characters, however an answer may have escaped them.

use std::fmt;

/// The longest path, in bytes.
pub const MAX_LEN: usize = 512;
/// The most steps of a path.
pub const MAX_STEPS: usize = 16;

const ADVICE: &str = "write a path as `order.lines[].sku`, and a name with other characters in quotes, as \
                      `order.\"unit price\"`";

/// Where something is in a JSON value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JsonPath {
    /// From the whole inwards; none is the whole.
    pub steps: Vec<Step>,
}

/// One step inwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the member of that name, which is decoded.
    Member(Box<str>),
    /// To each element.
    Each,
}

// === impl JsonPath ===

impl JsonPath {
    /// Parses a path; nothing is the whole.
    pub fn parse(text: &str) -> Result<JsonPath, String> {
        let wrong = |what: &str| format!("{text:?} {what}; {ADVICE}");
        if text.len() > MAX_LEN {
            return Err(format!("a path has at most {MAX_LEN} bytes"));
        }
        let (path, rest) = match text {
            "" => return Ok(JsonPath::default()),
            text if text.starts_with("[]") => JsonPath::parse_below(text).map_err(|what| wrong(&what))?,
            text => {
                let (name, rest) = name(text).map_err(|what| wrong(&what))?;
                let (below, rest) = JsonPath::parse_below(rest).map_err(|what| wrong(&what))?;
                let steps = std::iter::once(Step::Member(name)).chain(below.steps).collect();
                (JsonPath { steps }, rest)
            }
        };
        match rest.chars().next() {
            None if path.steps.len() > MAX_STEPS => Err(format!("a path has at most {MAX_STEPS} steps")),
            None => Ok(path),
            Some(c) => Err(wrong(&format!("has {c:?} where a `.` or `[]` belongs"))),
        }
    }

    /// Parses what follows a name, `.lines[].sku`, as far as it goes, and returns what comes after.
    pub(crate) fn parse_below(text: &str) -> Result<(JsonPath, &str), String> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            if let Some(after) = rest.strip_prefix("[]") {
                steps.push(Step::Each);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = name(after)?;
                steps.push(Step::Member(name));
                rest = after;
            } else if rest.starts_with('[') {
                return Err("has a `[` without a `]`: elements have no numbers here, `[]` is every one".into());
            } else {
                return Ok((JsonPath { steps }, rest));
            }
        }
    }

    /// Whether it is the whole.
    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it goes through every element of an array.
    pub fn has_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// Whether it is that path or leads further in from there.
    pub fn starts_with(&self, other: &JsonPath) -> bool {
        self.steps.starts_with(&other.steps)
    }

    /// Whether one of the two lies within the other, or both are the same.
    pub fn overlaps(&self, other: &JsonPath) -> bool {
        self.starts_with(other) || other.starts_with(self)
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Each => f.write_str("[]")?,
                Step::Member(name) => {
                    f.write_str(if at == 0 { "" } else { "." })?;
                    match name.chars().all(is_plain) {
                        true => f.write_str(name)?,
                        false => write!(f, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))?,
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@' | ':')
}

/// Parses a name, and returns what follows.
pub(crate) fn name(text: &str) -> Result<(Box<str>, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (name, rest) = text.split_at(text.find(|c| !is_plain(c)).unwrap_or(text.len()));
        return if name.is_empty() { Err("has an empty name".into()) } else { Ok((name.into(), rest)) };
    };
    let mut name = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().ok_or("has a quoted name that does not end")? {
            '"' if name.is_empty() => return Err("has an empty name".into()),
            '"' => return Ok((name.into(), chars.as_str())),
            '\\' => match chars.next() {
                Some(c @ ('"' | '\\')) => name.push(c),
                _ => return Err("has a `\\` in a name that is before neither `\"` nor `\\`".into()),
            },
            c => name.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_names_and_every_element() {
        let member = |name: &str| Step::Member(name.into());
        for (text, steps) in [
            ("", vec![]),
            ("order", vec![member("order")]),
            ("order.lines[].sku", vec![member("order"), member("lines"), Step::Each, member("sku")]),
            ("[].a", vec![Step::Each, member("a")]),
            ("a[][]", vec![member("a"), Step::Each, Step::Each]),
            ("\"a.b\".\"c d\"", vec![member("a.b"), member("c d")]),
            ("\"say \\\"\\\\\"", vec![member("say \"\\")]),
            ("größe.$ref", vec![member("größe"), member("$ref")]),
        ] {
            assert_eq!(path(text).steps, steps, "{text}");
            assert_eq!(path(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_advice() {
        let long = "a".repeat(513);
        for (text, advice) in [
            (".", "has an empty name; write a path as"),
            (".a", "has an empty name"),
            ("a.", "has an empty name"),
            ("a..b", "has an empty name"),
            ("a b", "has ' ' where"),
            ("a[0]", "elements have no numbers here"),
            ("[]a", "has 'a' where"),
            ("a.[]", "has an empty name"),
            ("\"a", "does not end"),
            ("\"\"", "has an empty name"),
            ("\"a\\n\"", "has a `\\` in a name"),
            ("a\"b\"", "has '\"' where"),
            ("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", "at most 16 steps"),
            (long.as_str(), "at most 512 bytes"),
        ] {
            let error = JsonPath::parse(text).unwrap_err();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_lies_within_another() {
        let check = |a: &str, b: &str, starts: bool, overlaps: bool| {
            assert_eq!((path(a).starts_with(&path(b)), path(a).overlaps(&path(b))), (starts, overlaps), "{a} {b}");
        };
        check("order.lines", "order", true, true);
        check("order", "order.lines", false, true);
        check("order", "order", true, true);
        check("order", "", true, true);
        check("orders", "order", false, false);
        check("order.lines[].a", "order.lines", true, true);
        check("order.lines[].a", "order.lines[].b", false, false);
    }
}
