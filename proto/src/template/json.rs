//! Values in JSON, and JSON values where text belongs.

use super::Value;
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt::Write};

/// Whether text of JSON stands within a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InString {
    /// It does not.
    #[default]
    No,
    /// It does.
    Yes,
    /// It does, after a backslash.
    Escaped,
}

// === impl InString ===

impl InString {
    /// The same behind one more character.
    pub(super) fn after(self, c: char) -> InString {
        match (self, c) {
            (InString::No, '"') | (InString::Escaped, _) => InString::Yes,
            (InString::Yes, '"') => InString::No,
            (InString::Yes, '\\') => InString::Escaped,
            (InString::No | InString::Yes, _) => self,
        }
    }
}

/// What a value is where text belongs: scalars are their text, arrays of scalars several; `None` for null.
pub(super) fn as_text(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::One(_) | Value::Several(_) | Value::Opaque => Some(value),
        Value::Json(json) => match json.trim_ascii() {
            b"null" => None,
            array if array.starts_with(b"[") => Some(match serde_json::from_slice::<Vec<&RawValue>>(array) {
                Ok(elements) => several(elements.iter().map(|element| scalar(element.get().as_bytes()))),
                Err(_) => Value::Opaque,
            }),
            other => Some(scalar(other).map_or(Value::Opaque, Value::One)),
        },
        Value::JsonList(elements) => Some(several(elements.iter().map(|element| scalar(element)))),
    }
}

fn several(texts: impl Iterator<Item = Option<Cow<'static, [u8]>>>) -> Value<'static> {
    texts.collect::<Option<Vec<Cow<'static, [u8]>>>>().map_or(Value::Opaque, Value::Several)
}

fn scalar(json: &[u8]) -> Option<Cow<'static, [u8]>> {
    match json.trim_ascii() {
        b"null" => None,
        text if text.starts_with(b"\"") => {
            serde_json::from_slice::<String>(text).ok().map(|text| Cow::Owned(text.into_bytes()))
        }
        nested if nested.starts_with(b"{") || nested.starts_with(b"[") => None,
        plain => Some(Cow::Owned(plain.to_vec())),
    }
}

/// Appends a value as one of JSON; `None` where it cannot be one.
pub(super) fn write(value: &Value<'_>, out: &mut String) -> Option<()> {
    let string = |text: &Cow<'_, [u8]>, out: &mut String| {
        write_string(std::str::from_utf8(text).ok()?, out);
        Some(())
    };
    let raw = |json: &Cow<'_, [u8]>, out: &mut String| {
        out.push_str(std::str::from_utf8(json).ok()?);
        Some(())
    };
    match value {
        Value::One(text) => string(text, out),
        Value::Several(texts) => write_array(texts, string, out),
        Value::Opaque => None,
        Value::Json(json) => raw(json, out),
        Value::JsonList(elements) => write_array(elements, raw, out),
    }
}

fn write_array<T>(elements: &[T], write: impl Fn(&T, &mut String) -> Option<()>, out: &mut String) -> Option<()> {
    out.push('[');
    for (at, element) in elements.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        write(element, out)?;
    }
    out.push(']');
    Some(())
}

/// Appends a string of JSON.
pub(super) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    write_within_string(text, out);
    out.push('"');
}

/// Appends what stands within a string of JSON. To write into a string cannot fail.
pub(super) fn write_within_string(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' => write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
}
