//! Whether a body is JSON (RFC 8259) within its limits: one pass over the bytes, and nothing is built of them.
//!
//! All else in this room walks over what passed here. Numbers and strings are looked at as text only, so that no digit and
//! no spelling is ever lost; half of a surrogate pair is well-formed text of JSON and passes too.

use super::text::{plain, string};
use foldhash::{HashSet, HashSetExt};
use std::{borrow::Cow, str};

/// How deep a body may nest, whatever is said.
pub(crate) const MAX_DEPTH: usize = 512;
/// How many values a body may have: what is gone into takes a few times more memory for each than it has bytes.
const MAX_VALUES: usize = 1 << 20;

/// What a body may be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How deep objects and arrays may stand in each other.
    pub(crate) depth: usize,
    /// Whether a name may stand twice in one object.
    pub(crate) duplicates: Duplicates,
}

/// Names that stand twice in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// They are passed on.
    Pass,
    /// They are refused.
    Refuse,
}

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanFault {
    /// It is no JSON from that byte on.
    Syntax(usize),
    /// It nests too deep.
    TooDeep,
    /// It has too many values.
    TooMany,
    /// A name stands twice in one object.
    Duplicate,
}

/// The value that the body is, without the white space around it.
pub(crate) fn scan(body: &[u8], limits: Limits) -> Result<&[u8], ScanFault> {
    if let Err(error) = str::from_utf8(body) {
        return Err(ScanFault::Syntax(error.valid_up_to()));
    }
    let mut scanner = Scanner { text: body, at: 0 };
    scanner.space();
    let begin = scanner.at;
    match limits.duplicates {
        Duplicates::Pass => scanner.value(limits.depth, &mut ())?,
        Duplicates::Refuse => scanner.value(limits.depth, &mut Seen::default())?,
    }
    let end = scanner.at;
    scanner.space();
    match scanner.at == body.len() {
        true => body.get(begin..end).ok_or(ScanFault::Syntax(begin)),
        false => Err(scanner.fault()),
    }
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
}

// Which containers are open, the innermost last: 1 is an object.
#[derive(Default)]
struct Open {
    kinds: [u64; MAX_DEPTH / 64],
    depth: usize,
}

// What stands next.
enum Next {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    CommaOrEnd,
}

// Whoever is told of names.
trait Names<'t> {
    fn open(&mut self);
    fn name(&mut self, written: &'t [u8]) -> Result<(), ScanFault>;
    fn close(&mut self);
}

// The names of the objects that are open.
#[derive(Default)]
struct Seen<'t>(Vec<HashSet<Cow<'t, [u8]>>>);

// === impl Scanner ===

impl<'t> Scanner<'t> {
    fn value(&mut self, depth: usize, names: &mut impl Names<'t>) -> Result<(), ScanFault> {
        let depth = depth.min(MAX_DEPTH);
        let (mut open, mut next, mut values) = (Open::default(), Next::Value, 0usize);
        loop {
            self.space();
            let byte = self.peek();
            match (next, byte) {
                (Next::ValueOrEnd | Next::CommaOrEnd, Some(b']')) if !open.is_object() => {
                    self.at += 1;
                    open.pop();
                    next = Next::CommaOrEnd;
                }
                (Next::NameOrEnd | Next::CommaOrEnd, Some(b'}')) if open.is_object() => {
                    self.at += 1;
                    open.pop();
                    names.close();
                    next = Next::CommaOrEnd;
                }
                (Next::CommaOrEnd, Some(b',')) => {
                    self.at += 1;
                    next = if open.is_object() { Next::Name } else { Next::Value };
                    continue;
                }
                (Next::Name | Next::NameOrEnd, Some(b'"')) => {
                    let begin = self.at;
                    self.string()?;
                    names.name(self.text.get(begin..self.at).unwrap_or_default())?;
                    self.space();
                    self.byte(b':')?;
                    next = Next::Value;
                    continue;
                }
                (Next::Value | Next::ValueOrEnd, Some(byte)) => {
                    values += 1;
                    if values > MAX_VALUES {
                        return Err(ScanFault::TooMany);
                    }
                    next = match byte {
                        b'{' | b'[' => {
                            self.at += 1;
                            open.push(byte == b'{', depth)?;
                            if byte == b'{' {
                                names.open();
                                Next::NameOrEnd
                            } else {
                                Next::ValueOrEnd
                            }
                        }
                        byte => {
                            self.scalar(byte)?;
                            Next::CommaOrEnd
                        }
                    };
                }
                _ => return Err(self.fault()),
            }
            if open.depth == 0 {
                return Ok(());
            }
        }
    }

    fn scalar(&mut self, first: u8) -> Result<(), ScanFault> {
        match first {
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn string(&mut self) -> Result<(), ScanFault> {
        self.at += 1;
        loop {
            self.at += plain(self.text.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) | None => return Err(self.fault()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanFault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    match self.peek() {
                        Some(byte) if byte.is_ascii_hexdigit() => self.at += 1,
                        Some(_) | None => return Err(self.fault()),
                    }
                }
            }
            Some(_) | None => return Err(self.fault()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), ScanFault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    // One at least.
    fn digits(&mut self) -> Result<(), ScanFault> {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > begin { Ok(()) } else { Err(self.fault()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ScanFault> {
        match self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            true => self.at += word.len(),
            false => return Err(self.fault()),
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) -> Result<(), ScanFault> {
        match self.peek() == Some(byte) {
            true => self.at += 1,
            false => return Err(self.fault()),
        }
        Ok(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault(&self) -> ScanFault {
        ScanFault::Syntax(self.at)
    }
}

// === impl Open ===

impl Open {
    fn push(&mut self, is_object: bool, most: usize) -> Result<(), ScanFault> {
        let Some(word) = self.kinds.get_mut(self.depth / 64).filter(|_| self.depth < most) else {
            return Err(ScanFault::TooDeep);
        };
        let bit = 1 << (self.depth % 64);
        if is_object {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn is_object(&self) -> bool {
        let Some(inner) = self.depth.checked_sub(1) else { return false };
        self.kinds.get(inner / 64).is_some_and(|word| word & 1 << (inner % 64) != 0)
    }
}

impl<'t> Names<'t> for () {
    fn open(&mut self) {}

    fn name(&mut self, _written: &'t [u8]) -> Result<(), ScanFault> {
        Ok(())
    }

    fn close(&mut self) {}
}

impl<'t> Names<'t> for Seen<'t> {
    fn open(&mut self) {
        self.0.push(HashSet::new());
    }

    fn name(&mut self, written: &'t [u8]) -> Result<(), ScanFault> {
        let is_new = self.0.last_mut().zip(string(written)).is_none_or(|(names, name)| names.insert(name));
        if is_new { Ok(()) } else { Err(ScanFault::Duplicate) }
    }

    fn close(&mut self) {
        self.0.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { depth: 64, duplicates: Duplicates::Pass };

    // What another parser says: it reads halves of surrogates differently, and is not asked about them.
    fn is_json(text: &[u8]) -> bool {
        serde_json::from_slice::<&serde_json::value::RawValue>(text).is_ok() && str::from_utf8(text).is_ok()
    }

    #[test]
    fn only_json_passes() {
        for good in [
            "0",
            "-0",
            "1.50",
            "1e5",
            "-12.5E+07",
            "12345678901234567890123",
            "true",
            "false",
            "null",
            "\"\"",
            " [ ] ",
            "{}",
            "{\"a\":{}}",
            "[1,[2,{\"a\":[]}],\"x\"]",
            "\"\\ud800\"",
            "\"é\\u0000\"",
            "{\"a\":1,\"a\":2}",
            "\t1\r\n",
        ] {
            assert_eq!(scan(good.as_bytes(), LIMITS), Ok(good.trim().as_bytes()), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "tru",
            "nul",
            "True",
            "NaN",
            "'a'",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{1:1}",
            "{\"a\":1]",
            "[1}",
            "1 2",
            "{}{}",
            "]",
            "}",
            ",",
            ":",
            "\u{feff}1",
            "// x\n1",
            "\u{a0}1",
        ] {
            assert!(matches!(scan(bad.as_bytes(), LIMITS), Err(ScanFault::Syntax(_))), "{bad}");
        }
        assert_eq!(scan(b"\"\xff\"", LIMITS), Err(ScanFault::Syntax(1)));
        assert_eq!(scan(b"[1, x]", LIMITS), Err(ScanFault::Syntax(4)));
    }

    #[test]
    fn limits_hold() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (depth, most, passes) in [(1, 1, true), (2, 1, false), (64, 64, true), (65, 64, false), (512, 999, true)] {
            let limits = Limits { depth: most, ..LIMITS };
            let text = nested(depth);
            let expect = if passes { Ok(text.as_bytes()) } else { Err(ScanFault::TooDeep) };
            assert_eq!(scan(text.as_bytes(), limits), expect, "{depth} of {most}");
        }
        assert_eq!(scan(nested(100_000).as_bytes(), Limits { depth: usize::MAX, ..LIMITS }), Err(ScanFault::TooDeep));
        let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(scan(many(MAX_VALUES - 1).as_bytes(), LIMITS).is_ok());
        assert_eq!(scan(many(MAX_VALUES).as_bytes(), LIMITS), Err(ScanFault::TooMany));
    }

    #[test]
    fn a_name_stands_once_where_that_is_asked_for() {
        let check = |text: &str, expect: Result<(), ScanFault>| {
            let limits = Limits { duplicates: Duplicates::Refuse, ..LIMITS };
            assert_eq!(scan(text.as_bytes(), limits).map(drop), expect, "{text}");
            assert!(scan(text.as_bytes(), LIMITS).is_ok());
        };
        check(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#, Ok(()));
        check(r#"{"a":1,"a":1}"#, Err(ScanFault::Duplicate));
        check(r#"{"a":{},"\u0061":1}"#, Err(ScanFault::Duplicate));
        check(r#"[{"x":{"b":1,"a":2,"b":3}}]"#, Err(ScanFault::Duplicate));
        check(r#"{"a":{"b":1},"b":1,"a":2}"#, Err(ScanFault::Duplicate));
    }

    // Texts that are nearly JSON.
    fn near() -> impl Strategy<Value = String> {
        const PIECES: [&str; 24] = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\n\"",
            "\"\\u00e9\"",
            "\"",
            "\\",
            "1",
            "-",
            "0",
            ".5",
            "e9",
            "true",
            "null",
            "false",
            " ",
            "\n",
            "é",
            "12",
            "\"b\":",
        ];
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_near_json_is_judged_as_by_others(text in near()) {
            prop_assert_eq!(scan(text.as_bytes(), LIMITS).is_ok(), is_json(text.as_bytes()), "{}", text);
        }

        #[test]
        fn bytes_are_judged_as_by_others(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            prop_assert_eq!(scan(&bytes, LIMITS).is_ok(), is_json(&bytes));
        }
    }
}
