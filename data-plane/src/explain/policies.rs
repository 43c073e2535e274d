//! The policies that take part: each is asked as its filter asks a request, and tried on an answer to see what it does.

use crate::{
    context::Context,
    filter::{Filter, Part, Place},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::{
    name::Name,
    pb::{self, header_change::Change},
};
use std::ops::ControlFlow;

/// What stands in an answer in the place of whatever the upstream says.
const SOMETHING: HeaderValue = HeaderValue::from_static("whatever the upstream says");

/// The policies that take part, as they were asked.
#[derive(Default)]
pub(super) struct Acting<'r>(Vec<Step<'r>>);

struct Step<'r> {
    part: Part<'r>,
    // Whose it is, if it is an upstream's.
    upstream: Option<&'r Name>,
    decision: &'static str,
}

/// What they say.
pub(super) enum Verdict {
    /// Nobody stops the request.
    GoesOn,
    /// One does.
    Stopped(pb::RefusedRequest),
}

// === impl Acting ===

impl<'r> Acting<'r> {
    /// Asks them, as they act; the first to stop, stops.
    pub(super) fn ask(
        &mut self,
        policies: Vec<Part<'r>>,
        upstream: Option<&'r Name>,
        context: &mut Context,
    ) -> Verdict {
        let mut verdict = Verdict::GoesOn;
        for part in policies {
            let policy = part.attached.policy;
            let decision = match (&verdict, &part.filter) {
                (_, None) => "none",
                (Verdict::Stopped(_), Some(_)) => "not_reached",
                (Verdict::GoesOn, Some(filter)) => match filter.request(context) {
                    ControlFlow::Continue(()) => "continue",
                    ControlFlow::Break(answer) => {
                        verdict = Verdict::Stopped(pb::RefusedRequest {
                            status: answer.status().as_u16().into(),
                            reason: policy.kind.name().into(),
                            detail: format!("policy {:?} answers the request", policy.name.as_str()),
                        });
                        "stop"
                    }
                },
            };
            self.0.push(Step { part, upstream, decision });
        }
        verdict
    }

    /// Tells of them; `context` is that of the answer.
    pub(super) fn tell(&self, context: &Context) -> Vec<pb::ActingPolicy> {
        let tell = |step: &Step<'_>| pb::ActingPolicy {
            name: step.part.attached.policy.name.to_string(),
            kind: step.part.attached.policy.kind.name().into(),
            attached: match (step.part.attached.place, step.upstream) {
                (Place::Global, _) => "global".into(),
                (Place::Route, _) => "route".into(),
                (Place::Upstream, None) => "upstream".into(),
                (Place::Upstream, Some(name)) => format!("upstream/{name}"),
            },
            stage: step.part.filter.as_ref().map_or("record", |filter| filter.stage().as_str()).into(),
            decision: step.decision.into(),
            answer_headers: step.part.filter.as_ref().map(|filter| changes(filter, context)).unwrap_or_default(),
        };
        self.0.iter().map(tell).collect()
    }
}

// What it does to an answer that has all of the headers which it may change.
fn changes(filter: &Filter, context: &Context) -> Vec<pb::HeaderChange> {
    let names = filter.touched();
    let mut headers: HeaderMap = names.iter().map(|name| (name.clone(), SOMETHING)).collect();
    filter.response(context, &mut headers);
    let mut changes = Vec::new();
    let mut told: Vec<&HeaderName> = Vec::new();
    for name in &names {
        if told.contains(&name) {
            continue;
        }
        told.push(name);
        let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
        let stands = values.first() == Some(&&SOMETHING);
        if values.is_empty() {
            changes.push(change(name, Change::Removed(pb::Removed {})));
        }
        for (at, value) in values.into_iter().enumerate().filter(|(_, value)| **value != SOMETHING) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            changes.push(change(name, if stands || at > 0 { Change::Added(value) } else { Change::Set(value) }));
        }
    }
    changes
}

/// What happens to a header.
pub(super) fn change(name: &HeaderName, change: Change) -> pb::HeaderChange {
    pb::HeaderChange { name: name.to_string(), change: Some(change) }
}
