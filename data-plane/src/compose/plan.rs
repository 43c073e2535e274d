//! The plan of a composition, alive: made once, when the router is built, so that a request looks nothing up by name and
//! takes no path apart.

use super::{
    merge::{Names, Place},
    scan::Duplicates,
    shape::Shape,
};
use crate::{filter::Filters, pool::Pool};
use http::{HeaderName, HeaderValue, StatusCode};
use proto::{
    compose::{self, Call, Compose, Condition, ForEach, Source, TakenHeader},
    template::Reference,
};
use std::{sync::Arc, time::Duration};

/// The plan.
pub(crate) struct Plan {
    /// How long all of it may take.
    pub(crate) deadline: Duration,
    /// In the order in which they were written.
    pub(crate) parts: Vec<Part>,
    /// What goes where, in this order.
    pub(super) merges: Vec<Merge>,
    /// What becomes of names that stand twice.
    pub(super) duplicates: Duplicates,
    /// Headers of parts' answers.
    pub(super) headers: Vec<TakenHeader>,
    /// The status of an answer that lacks something.
    pub(super) incomplete_status: StatusCode,
    /// Where its body says so.
    pub(super) incomplete_at: Option<Names>,
    /// For whom no variant is.
    pub(super) shape: Option<Shape>,
    /// The first that matches.
    pub(crate) variants: Vec<Variant>,
    /// What the answer depends on.
    pub(super) vary: Option<HeaderValue>,
    /// Whether it depends on who asks.
    pub(super) private: bool,
}

/// A part.
pub(crate) struct Part {
    /// What was said.
    pub(crate) spec: compose::Part,
    /// Whom it asks.
    pub(crate) pool: Arc<Pool>,
    /// The upstream's.
    pub(crate) filters: Filters,
    /// The parts whose answers it uses.
    pub(super) uses: Set,
    /// What becomes of its answer.
    pub(super) shape: Option<Shape>,
    /// Whether anything of its call comes from the client.
    pub(super) uses_request: bool,
}

/// Where a part goes.
pub(super) struct Merge {
    /// What was said.
    pub(super) spec: compose::Merge,
    /// Where.
    pub(super) at: Place,
}

/// Another shape for some clients.
pub(crate) struct Variant {
    /// Its name.
    pub(crate) name: Box<str>,
    /// Who they are.
    pub(super) when: Condition,
    /// The parts that are not called for them.
    pub(super) skip: Set,
    /// What they get.
    pub(super) shape: Option<Shape>,
    /// The media type that they asked for by its name.
    pub(super) content_type: Option<HeaderValue>,
}

/// Some of the parts: there are no more of them than it has bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(u32);

// === impl Plan ===

impl Plan {
    /// The plan for these, whose parts ask those upstreams in the same order.
    pub(crate) fn new(spec: &Compose, upstreams: Vec<(Arc<Pool>, Filters)>) -> Plan {
        let parts = spec.parts.iter().zip(upstreams).map(|(part, upstream)| Part::new(part, upstream));
        let merge = |merge: &compose::Merge| Merge { spec: merge.clone(), at: Place::new(&merge.at) };
        Plan {
            deadline: spec.deadline,
            parts: parts.collect(),
            merges: spec.merges.iter().map(merge).collect(),
            duplicates: if spec.refuse_duplicates { Duplicates::Refuse } else { Duplicates::Pass },
            headers: spec.headers.clone(),
            incomplete_status: spec.incomplete.status,
            incomplete_at: spec.incomplete.at.as_ref().map(|at| Names::new(&at.steps)),
            shape: Shape::new(&spec.shape),
            variants: spec.variants.iter().map(Variant::new).collect(),
            vary: vary(&spec.vary),
            private: spec.private,
        }
    }
}

fn vary(names: &[HeaderName]) -> Option<HeaderValue> {
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    // Names of headers and commas can stand in a header.
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

// === impl Part ===

impl Part {
    fn new(spec: &compose::Part, (pool, filters): (Arc<Pool>, Filters)) -> Part {
        let is_of_request = |reference: &Reference| !matches!(reference, Reference::Part { .. } | Reference::Item(_));
        Part {
            pool,
            filters,
            uses: spec.uses.iter().copied().collect(),
            shape: Shape::new(&spec.shape),
            uses_request: spec.call().references().any(is_of_request),
            spec: spec.clone(),
        }
    }

    /// What is asked.
    pub(super) fn call(&self) -> &Call {
        self.spec.call()
    }

    /// For which elements, if it is for some.
    pub(super) fn for_each(&self) -> Option<&ForEach> {
        match &self.spec.source {
            Source::Call(_) => None,
            Source::ForEach(for_each) => Some(for_each),
        }
    }
}

// === impl Variant ===

impl Variant {
    fn new(spec: &compose::Variant) -> Variant {
        let content_type = match &spec.when {
            // A media type can stand in a header.
            Condition::MediaType(media_type) => HeaderValue::from_str(media_type).ok(),
            Condition::Header { .. } | Condition::Query { .. } | Condition::Claim { .. } => None,
        };
        Variant {
            name: spec.name.clone(),
            when: spec.when.clone(),
            skip: spec.skip.iter().copied().collect(),
            shape: Shape::new(&spec.shape),
            content_type,
        }
    }
}

// === impl Set ===

impl Set {
    /// With that part.
    pub(super) fn with(self, part: usize) -> Set {
        Set(self.0 | 1u32.checked_shl(part as u32).unwrap_or_default())
    }

    /// Whether that part is of them.
    pub(super) fn has(self, part: usize) -> bool {
        self.0 & Set::default().with(part).0 != 0
    }

    /// Whether all of the others are of them.
    pub(super) fn covers(self, others: Set) -> bool {
        others.0 & !self.0 == 0
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(parts: I) -> Set {
        parts.into_iter().fold(Set::default(), Set::with)
    }
}
