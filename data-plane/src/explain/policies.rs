//! The policies that take part: each is asked as its filter asks a request, and tried on an answer to see what it does.

use crate::{
    context::{Answer, Context},
    error::Error,
    filter::{Acting, Attached, Filter, Filters, Joined, Lent, Observer, Personal, Place, Said, Stage, Whose, silent},
    router::Router,
    states::States,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use proto::{
    name::Name,
    pb::{self, header_change::Change},
};
use std::{collections::HashMap, ptr, time::Instant};

/// What stands in an answer in the place of whatever the upstream says.
const SOMETHING: HeaderValue = HeaderValue::from_static("whatever the upstream says");

/// The policies that take part, as they were asked.
pub(super) struct Asked<'r> {
    groups: Vec<Group<'r>>,
    // Those of consumers.
    personal: Personal,
    joined: Joined,
    whose: Whose,
}

// Those of the route, or of one upstream.
struct Group<'r> {
    // Whose they are, if they are an upstream's.
    upstream: Option<&'r Name>,
    // In one place, by which they are known.
    filters: Box<Filters>,
    silent: Vec<Attached<'r>>,
    decisions: Decisions,
}

/// Writes down what each says.
struct Listener<'d> {
    decisions: &'d mut Decisions,
    depends: &'d mut Vec<String>,
    whose: Whose,
}

/// What each said, by where it stands in memory.
#[derive(Default)]
struct Decisions(HashMap<usize, &'static str>);

// === impl Asked ===

impl<'r> Asked<'r> {
    /// Nobody was asked yet about a request of whom that is known.
    pub(super) fn new(router: &Router, whose: Whose) -> Asked<'r> {
        Asked { groups: Vec::new(), personal: Personal::of(router.own()), joined: Joined::default(), whose }
    }

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
        let filters = Box::new(Filters::build(policies.iter().copied(), &States::default()));
        let mut decisions = Decisions::default();
        let mut listener = Listener { decisions: &mut decisions, depends, whose: self.whose };
        let lent = Lent { now: Instant::now(), caller: None, personal: &self.personal, joined: &self.joined };
        let asked = filters.walk(context, lent, &mut listener).now_or_never();
        self.groups.push(Group { upstream, silent: silent(policies), filters, decisions });
        // Whoever would have to ask somebody says that it depends on them, and is not asked.
        asked.unwrap_or(Ok(None))
    }

    /// Tells of them; `context` is that of the answer.
    pub(super) fn tell(&self, context: &Context) -> Vec<pb::ActingPolicy> {
        self.groups.iter().flat_map(|group| group.tell(context, &self.joined)).collect()
    }
}

impl Group<'_> {
    fn tell(&self, context: &Context, joined: &Joined) -> Vec<pb::ActingPolicy> {
        let consumer = context.consumer();
        let attached = |place: Place| match (place, self.upstream, &consumer) {
            (Place::Global, ..) => "global".into(),
            (Place::Route, ..) => "route".into(),
            (Place::Upstream, None, _) => "upstream".into(),
            (Place::Upstream, Some(name), _) => format!("upstream/{name}"),
            (Place::Consumer, _, None) => "consumer".into(),
            (Place::Consumer, _, Some(consumer)) => format!("consumer/{}", consumer.name),
        };
        let acting = |acting: &Acting| pb::ActingPolicy {
            name: acting.policy.to_string(),
            kind: acting.kind.into(),
            attached: attached(acting.place),
            stage: acting.stage.as_str().into(),
            decision: self.decisions.of(acting).into(),
            answer_headers: changes(&acting.filter, context),
        };
        let silent = |silent: &Attached<'_>| pb::ActingPolicy {
            name: silent.policy.name.to_string(),
            kind: silent.policy.kind.name().into(),
            attached: attached(silent.place),
            stage: "record".into(),
            decision: "none".into(),
            answer_headers: Vec::new(),
        };
        self.filters.acting(context, joined).map(acting).chain(self.silent.iter().map(silent)).collect()
    }
}

// === impl Listener ===

impl Observer for Listener<'_> {
    fn asks(&mut self, acting: &Acting) -> bool {
        if self.whose == Whose::Given && acting.stage == Stage::Authenticate {
            self.decisions.note(acting, "given");
            return false;
        }
        let Some(why) = acting.filter.depends_on(self.whose) else { return true };
        self.decisions.note(acting, "depends");
        if !self.depends.contains(&why) {
            self.depends.push(why);
        }
        false
    }

    fn heard(&mut self, acting: &Acting, said: &Said) {
        let decision = match said {
            Said::Continue => "continue",
            Said::Absent(_) => "absent",
            Said::Refuse(_) if acting.shadow => "would_stop",
            Said::Refuse(_) | Said::Answer(_) => "stop",
        };
        self.decisions.note(acting, decision);
    }
}

// === impl Decisions ===

impl Decisions {
    fn note(&mut self, acting: &Acting, decision: &'static str) {
        self.0.insert(ptr::from_ref(acting).addr(), decision);
    }

    fn of(&self, acting: &Acting) -> &'static str {
        self.0.get(&ptr::from_ref(acting).addr()).copied().unwrap_or("not_reached")
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
