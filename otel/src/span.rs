//! A span as whoever makes it fills it, and as it goes to the collector.
//!
//! Texts that are known beforehand are not copied, and those that many spans share are shared; whoever makes a span pays
//! for the list of its attributes and for what is its own.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span as Exported, Status as ExportedStatus, span, status},
};
use std::sync::Arc;

/// The flags' bit that says that the trace is recorded.
const SAMPLED: u32 = 1;

/// Something that took its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: u128,
    /// Its own id.
    pub id: u64,
    /// The id of the span that caused it; 0: none did.
    pub parent: u64,
    /// What was done, in words of which there are few.
    pub name: Text,
    /// Which side of a call it is.
    pub kind: Kind,
    /// When it began, in nanoseconds since the epoch.
    pub start: u64,
    /// When it ended, in nanoseconds since the epoch.
    pub end: u64,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// Others that have to do with it.
    pub links: Vec<Link>,
    /// How it ended.
    pub status: Status,
    /// The trace's `tracestate`, as it came; empty: there is none.
    pub tracestate: Text,
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work within the process.
    Internal,
    /// A request that came.
    Server,
    /// A request that was made.
    Client,
    /// A message that was sent.
    Producer,
    /// A message that came.
    Consumer,
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Status {
    /// Nobody says.
    #[default]
    Unset,
    /// Well.
    Ok,
    /// Not well, and why if that is known.
    Error(Text),
}

/// A span of another trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its trace.
    pub trace: u128,
    /// Its id.
    pub id: u64,
    /// The `tracestate` of that trace.
    pub tracestate: Text,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
}

/// A text, copied only where it must be.
#[derive(Clone, Debug)]
pub enum Text {
    /// Known beforehand.
    Static(&'static str),
    /// Of many.
    Shared(Arc<str>),
    /// Of this one.
    Owned(Box<str>),
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Text),
    /// Texts.
    Texts(Vec<Text>),
}

// === impl Span ===

impl Span {
    /// As it goes to the collector.
    pub(crate) fn export(&self) -> Exported {
        Exported {
            trace_id: self.trace.to_be_bytes().into(),
            span_id: self.id.to_be_bytes().into(),
            trace_state: self.tracestate.as_str().into(),
            parent_span_id: if self.parent == 0 { Vec::new() } else { self.parent.to_be_bytes().into() },
            flags: SAMPLED,
            name: self.name.as_str().into(),
            kind: self.kind.export().into(),
            start_time_unix_nano: self.start,
            end_time_unix_nano: self.end.max(self.start),
            attributes: attributes(&self.attributes),
            links: self.links.iter().map(Link::export).collect(),
            status: self.status.export(),
            ..Exported::default()
        }
    }
}

// === impl Kind ===

impl Kind {
    fn export(self) -> span::SpanKind {
        match self {
            Kind::Internal => span::SpanKind::Internal,
            Kind::Server => span::SpanKind::Server,
            Kind::Client => span::SpanKind::Client,
            Kind::Producer => span::SpanKind::Producer,
            Kind::Consumer => span::SpanKind::Consumer,
        }
    }
}

// === impl Status ===

impl Status {
    fn export(&self) -> Option<ExportedStatus> {
        let (code, message) = match self {
            Status::Unset => return None,
            Status::Ok => (status::StatusCode::Ok, String::new()),
            Status::Error(why) => (status::StatusCode::Error, why.as_str().into()),
        };
        Some(ExportedStatus { code: code.into(), message })
    }
}

// === impl Link ===

impl Link {
    fn export(&self) -> span::Link {
        span::Link {
            trace_id: self.trace.to_be_bytes().into(),
            span_id: self.id.to_be_bytes().into(),
            trace_state: self.tracestate.as_str().into(),
            attributes: attributes(&self.attributes),
            ..span::Link::default()
        }
    }
}

// === impl Text ===

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Shared(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::Static("")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Text {
        Text::Static(text)
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Text {
        Text::Shared(text)
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Text {
        Text::Owned(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::Owned(text.into())
    }
}

// === impl Value ===

impl Value {
    fn export(&self) -> AnyValue {
        let text = |text: &Text| any_value::Value::StringValue(text.as_str().into());
        let value = match self {
            Value::Bool(value) => any_value::Value::BoolValue(*value),
            Value::Int(value) => any_value::Value::IntValue(*value),
            Value::Float(value) => any_value::Value::DoubleValue(*value),
            Value::Text(value) => text(value),
            Value::Texts(values) => any_value::Value::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue {
                values: values.iter().map(|value| AnyValue { value: Some(text(value)) }).collect(),
            }),
        };
        AnyValue { value: Some(value) }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl<T: Into<Text>> From<T> for Value {
    fn from(text: T) -> Value {
        Value::Text(text.into())
    }
}

fn attributes(attributes: &[(&'static str, Value)]) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| attribute(name, value)).collect()
}

/// An attribute as it goes to the collector.
pub(crate) fn attribute(name: &str, value: &Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(value.export()), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span {
            trace: 1,
            id: 2,
            parent: 0,
            name: "GET".into(),
            kind: Kind::Server,
            start: 10,
            end: 20,
            attributes: vec![("http.request.method", "GET".into()), ("n", Value::Int(7))],
            links: Vec::new(),
            status: Status::Error("why".into()),
            tracestate: Text::default(),
        }
    }

    #[test]
    fn a_span_is_exported_as_the_protocol_has_it() {
        let exported = span().export();
        assert_eq!(exported.trace_id, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(exported.span_id, [0, 0, 0, 0, 0, 0, 0, 2]);
        assert!(exported.parent_span_id.is_empty(), "a root has no parent");
        assert_eq!((exported.start_time_unix_nano, exported.end_time_unix_nano), (10, 20));
        assert_eq!(exported.status.unwrap().message, "why");
        assert_eq!(exported.attributes.len(), 2);
    }

    #[test]
    fn no_span_ends_before_it_begins() {
        let exported = Span { end: 9, ..span() }.export();
        assert_eq!(exported.end_time_unix_nano, 10);
    }
}
