//! A span of something rare, while it is under way. What happens for every request makes its [`Span`] itself, at its end.

use crate::{
    context::TraceContext,
    span::{Kind, Span, Status, Text, Value},
    spans::Spans,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// A span that ends, and is handed in, when this is dropped.
#[derive(Debug)]
pub struct OpenSpan {
    spans: Spans,
    span: Span,
    context: TraceContext,
}

// === impl Spans ===

impl Spans {
    /// A span within that one; none when nobody wants it.
    pub fn within(&self, parent: Option<TraceContext>, name: impl Into<Text>, kind: Kind) -> Option<OpenSpan> {
        let parent = parent.filter(|parent| parent.sampled && self.is_on())?;
        Some(self.open(parent.another(), parent.span, name.into(), kind))
    }

    /// The same, or, where nobody speaks of a trace, the first span of one.
    pub fn begin(&self, parent: Option<TraceContext>, name: impl Into<Text>, kind: Kind) -> Option<OpenSpan> {
        match parent {
            Some(_) => self.within(parent, name, kind),
            None => self.is_on().then(|| self.open(TraceContext::begin(), 0, name.into(), kind)),
        }
    }

    fn open(&self, context: TraceContext, parent: u64, name: Text, kind: Kind) -> OpenSpan {
        let span = Span {
            trace: context.id,
            id: context.span,
            parent,
            name,
            kind,
            start: now(),
            end: 0,
            attributes: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            tracestate: Text::default(),
        };
        OpenSpan { spans: self.clone(), span, context }
    }
}

// === impl OpenSpan ===

impl OpenSpan {
    /// For whatever is caused by it.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Says more of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.span.attributes.push((name, value.into()));
    }

    /// What vendors say of its trace.
    pub fn set_tracestate(&mut self, tracestate: impl Into<Text>) {
        self.span.tracestate = tracestate.into();
    }

    /// It does not end well.
    pub fn fail(&mut self, why: impl Into<Text>) {
        self.span.status = Status::Error(why.into());
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.span.end = now();
        self.spans.offer(self.span.clone());
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
