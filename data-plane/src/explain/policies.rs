//! The policies that take part: each is asked as its filter asks a request, and tried on an answer to see what it does.

use crate::{
    context::{Answer, Context},
    error::Error,
    filter::{Acting, Attached, Filter, Filters, Lent, Observer, Place, Said, silent},
    states::States,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::{
    name::Name,
    pb::{self, header_change::Change},
};
use std::time::Instant;

/// What stands in an answer in the place of whatever the upstream says.
const SOMETHING: HeaderValue = HeaderValue::from_static("whatever the upstream says");

/// The policies that take part, as they were asked.
#[derive(Default)]
pub(super) struct Asked<'r>(Vec<Group<'r>>);

// Those of the route, or of one upstream.
struct Group<'r> {
    // Whose they are, if they are an upstream's.
    upstream: Option<&'r Name>,
    filters: Filters,
    silent: Vec<Attached<'r>>,
    decisions: Vec<&'static str>,
}

/// Writes down what each says.
struct Listener<'d> {
    decisions: &'d mut Vec<&'static str>,
    depends: &'d mut Vec<String>,
    // Who is only tried out, and so refuses nobody.
    shadows: Vec<bool>,
}

// === impl Asked ===

impl<'r> Asked<'r> {
    /// Asks them, as they act; the first to refuse, refuses.
    pub(super) fn ask(
        &mut self,
        policies: impl IntoIterator<Item = Attached<'r>>,
        upstream: Option<&'r Name>,
        context: &mut Context,
        depends: &mut Vec<String>,
    ) -> Result<Option<Answer>, Error> {
        let policies: Vec<Attached<'r>> = policies.into_iter().collect();
        // What a node remembers is not known here.
        let filters = Filters::build(policies.iter().copied(), &States::default());
        let mut decisions = vec!["not_reached"; filters.acting().len()];
        let shadows = filters.acting().iter().map(|acting| acting.shadow).collect();
        let mut listener = Listener { decisions: &mut decisions, depends, shadows };
        let asked = filters.walk(context, Lent { now: Instant::now(), caller: None }, &mut listener).now_or_never();
        self.0.push(Group { upstream, silent: silent(policies), filters, decisions });
        // Whoever would have to ask somebody says that it depends on them, and is not asked.
        asked.unwrap_or(Ok(None))
    }

    /// Tells of them; `context` is that of the answer.
    pub(super) fn tell(&self, context: &Context) -> Vec<pb::ActingPolicy> {
        self.0.iter().flat_map(|group| group.tell(context)).collect()
    }
}

impl Group<'_> {
    fn tell(&self, context: &Context) -> impl Iterator<Item = pb::ActingPolicy> {
        let attached = |place: Place| match (place, self.upstream) {
            (Place::Global, _) => "global".into(),
            (Place::Route, _) => "route".into(),
            (Place::Upstream, None) => "upstream".into(),
            (Place::Upstream, Some(name)) => format!("upstream/{name}"),
        };
        let acting = move |(acting, decision): (&Acting, &&str)| pb::ActingPolicy {
            name: acting.policy.to_string(),
            kind: acting.kind.into(),
            attached: attached(acting.place),
            stage: acting.stage.as_str().into(),
            decision: (*decision).into(),
            answer_headers: changes(&acting.filter, context),
        };
        let silent = move |silent: &Attached<'_>| pb::ActingPolicy {
            name: silent.policy.name.to_string(),
            kind: silent.policy.kind.name().into(),
            attached: attached(silent.place),
            stage: "record".into(),
            decision: "none".into(),
            answer_headers: Vec::new(),
        };
        self.filters.acting().iter().zip(&self.decisions).map(acting).chain(self.silent.iter().map(silent))
    }
}

// === impl Listener ===

impl Observer for Listener<'_> {
    fn asks(&mut self, at: usize, acting: &Acting) -> bool {
        let Some(why) = acting.filter.depends_on() else { return true };
        self.note(at, "depends");
        if !self.depends.contains(&why) {
            self.depends.push(why);
        }
        false
    }

    fn heard(&mut self, at: usize, said: &Said) {
        let shadow = self.shadows.get(at).is_some_and(|shadow| *shadow);
        self.note(
            at,
            match said {
                Said::Continue => "continue",
                Said::Absent(_) => "absent",
                Said::Refuse(_) if shadow => "would_stop",
                Said::Refuse(_) | Said::Answer(_) => "stop",
            },
        );
    }
}

impl Listener<'_> {
    fn note(&mut self, at: usize, decision: &'static str) {
        if let Some(place) = self.decisions.get_mut(at) {
            *place = decision;
        }
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
