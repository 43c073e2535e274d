//! Filters: policies alive in a node. One kind, one file; here stand the closed set, the stages and their order.
//!
//! A filter sees a request on its way in, in stage order, and its answer on the way back, in the reverse order. It sees
//! every answer, also those that the gateway makes itself. A policy that says what is told of a request is no filter, but
//! an option of its record.

mod hsts;
mod response_headers;

use crate::context::{Answer, Context};
use hsts::HstsFilter;
use http::{HeaderMap, HeaderName};
use proto::{
    policy::{AccessLog, Diagnostics, Policy, PolicyKind},
    quantity::Share,
};
use response_headers::ResponseHeadersFilter;
use std::{ops::ControlFlow, sync::Arc};

/// A policy where it is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached<'p> {
    /// Where.
    pub(crate) place: Place,
    /// The policy.
    pub(crate) policy: &'p Policy,
}

/// Where a policy is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To all traffic.
    Global,
    /// To a route.
    Route,
    /// To an upstream.
    Upstream,
}

/// A policy that takes part.
pub(crate) struct Part<'p> {
    /// The policy and where it is attached.
    pub(crate) attached: Attached<'p>,
    /// What it does to requests; `None` if it only says what is told of them.
    pub(crate) filter: Option<Filter>,
}

/// The filters of a route or of an upstream, in stage order, and what is told of its requests.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    acting: Vec<Filter>,
    telling: Telling,
}

/// What is told of a request, where a policy says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telling {
    /// How many of the traces that begin here are recorded.
    pub(crate) sample: Option<Share>,
    /// Which requests are logged, and what of them.
    pub(crate) log: Option<Arc<AccessLog>>,
    /// What clients are told of how they were answered.
    pub(crate) diagnostics: Option<Diagnostics>,
}

/// A policy, alive.
#[derive(Debug)]
pub(crate) enum Filter {
    ResponseHeaders(ResponseHeadersFilter),
    Hsts(HstsFilter),
}

/// When a filter acts. The order is not the operator's to choose: what is cheap and says no comes before what is dear,
/// nothing is limited by an identity that is not proven yet, and nobody is let in before it is known who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(dead_code, reason = "the order of the stages is settled before each of them has a kind")]
pub(crate) enum Stage {
    /// By the client's address alone.
    Address,
    /// Preflight requests carry no credentials.
    Cors,
    /// Who is it?
    Authenticate,
    /// May he?
    Authorize,
    /// How often?
    Limit,
    /// What changes on the way.
    Transform,
}

/// The policies that take part, in stage order, and what is told of the requests; they come in the order of attachment.
pub(crate) fn parts<'p>(policies: impl IntoIterator<Item = Attached<'p>>) -> (Vec<Part<'p>>, Telling) {
    let policies: Vec<Attached<'p>> = policies.into_iter().collect();
    // The more specific is attached later.
    let counts = |(at, attached): (usize, &Attached<'p>)| {
        let kind = &attached.policy.kind;
        let same = |later: &Attached<'p>| later.policy.kind.name() == kind.name();
        !kind.is_exclusive() || !policies[at + 1..].iter().any(same)
    };
    let counting = policies.iter().enumerate().filter(|each| counts(*each));
    let mut telling = Telling::default();
    let part = |attached: Attached<'p>| Part { attached, filter: Filter::build(attached.policy, &mut telling) };
    let mut parts: Vec<Part<'p>> = counting.map(|(_, attached)| *attached).map(part).collect();
    // Within one stage the order of attachment holds.
    parts.sort_by_key(|part| (part.filter.is_none(), part.filter.as_ref().map(Filter::stage)));
    (parts, telling)
}

// === impl Filters ===

impl Filters {
    /// Builds the filters of these policies, which come in the order of attachment.
    pub(crate) fn build<'p>(policies: impl IntoIterator<Item = Attached<'p>>) -> Filters {
        let (parts, telling) = parts(policies);
        Filters { acting: parts.into_iter().filter_map(|part| part.filter).collect(), telling }
    }

    /// What is told of a request.
    pub(crate) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// On the way in: the first to stop, stops.
    pub(crate) fn request(&self, context: &mut Context) -> ControlFlow<Answer> {
        #[cfg(test)]
        tests::panic_if_asked(context, "request");
        self.acting.iter().try_for_each(|filter| filter.request(context))
    }

    /// On the way back.
    pub(crate) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        #[cfg(test)]
        tests::panic_if_asked(context, "response");
        for filter in self.acting.iter().rev() {
            filter.response(context, headers);
        }
    }
}

// === impl Stage ===

impl Stage {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stage::Address => "address",
            Stage::Cors => "cors",
            Stage::Authenticate => "authenticate",
            Stage::Authorize => "authorize",
            Stage::Limit => "limit",
            Stage::Transform => "transform",
        }
    }
}

// === impl Filter ===

impl Filter {
    fn build(policy: &Policy, telling: &mut Telling) -> Option<Filter> {
        match &policy.kind {
            PolicyKind::ResponseHeaders(policy) => Some(Filter::ResponseHeaders(ResponseHeadersFilter::build(policy))),
            PolicyKind::Hsts(policy) => Some(Filter::Hsts(HstsFilter::build(policy))),
            PolicyKind::Tracing(tracing) => {
                telling.sample = Some(tracing.sample);
                None
            }
            PolicyKind::AccessLog(log) => {
                telling.log = Some(log.clone());
                None
            }
            PolicyKind::Diagnostics(diagnostics) => {
                telling.diagnostics = Some(*diagnostics);
                None
            }
        }
    }

    /// When it acts.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Filter::ResponseHeaders(_) | Filter::Hsts(_) => Stage::Transform,
        }
    }

    /// On the way in: whether the request goes on.
    pub(crate) fn request(&self, _context: &mut Context) -> ControlFlow<Answer> {
        match self {
            // They act on the way back.
            Filter::ResponseHeaders(_) | Filter::Hsts(_) => ControlFlow::Continue(()),
        }
    }

    /// The headers of an answer that it may change.
    pub(crate) fn touched(&self) -> Vec<HeaderName> {
        match self {
            Filter::ResponseHeaders(filter) => filter.touched(),
            Filter::Hsts(filter) => filter.touched(),
        }
    }

    /// On the way back.
    pub(crate) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        match self {
            Filter::ResponseHeaders(filter) => filter.response(context, headers),
            Filter::Hsts(filter) => filter.response(context, headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Context;

    /// A filter that is wrong: the only way to a panic that a test has.
    pub(super) fn panic_if_asked(context: &Context, at: &str) {
        let asked = context.headers.get("x-test-panic").is_some_and(|value| value == at);
        assert!(!asked, "a panic that a test asked for");
    }
}
