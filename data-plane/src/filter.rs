//! Filters: policies alive in a node. One kind, one file; here stand the closed set, the stages and their order.
//!
//! A filter sees a request on its way in, in stage order, and its answer on the way back, in the reverse order. It sees
//! every answer, also those that the gateway makes itself. A policy that says what is told of a request is no filter, but
//! an option of its record.

mod hsts;
mod response_headers;

use crate::context::{Answer, Context};
use hsts::HstsFilter;
use http::HeaderMap;
use proto::{
    policy::{Policy, PolicyKind},
    quantity::Share,
};
use response_headers::ResponseHeadersFilter;
use std::ops::ControlFlow;

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
}

#[derive(Debug)]
enum Filter {
    ResponseHeaders(ResponseHeadersFilter),
    Hsts(HstsFilter),
}

/// When a filter acts. The order is not the operator's to choose: what is cheap and says no comes before what is dear,
/// nothing is limited by an identity that is not proven yet, and nobody is let in before it is known who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(dead_code, reason = "the order of the stages is settled before each of them has a kind")]
enum Stage {
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

// === impl Filters ===

impl Filters {
    /// Builds the filters of these policies, which come in the order of attachment.
    pub(crate) fn build<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Filters {
        let policies: Vec<&Policy> = policies.into_iter().collect();
        // The more specific is attached later.
        let counts = |(at, policy): (usize, &&Policy)| {
            let same = |later: &&Policy| later.kind.name() == policy.kind.name();
            !policy.kind.is_exclusive() || !policies[at + 1..].iter().any(same)
        };
        let counting = policies.iter().enumerate().filter(|each| counts(*each));
        let mut telling = Telling::default();
        let mut acting: Vec<Filter> = counting.filter_map(|(_, policy)| Filter::build(policy, &mut telling)).collect();
        // Within one stage the order of attachment holds.
        acting.sort_by_key(Filter::stage);
        Filters { acting, telling }
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
        }
    }

    fn stage(&self) -> Stage {
        match self {
            Filter::ResponseHeaders(_) | Filter::Hsts(_) => Stage::Transform,
        }
    }

    fn request(&self, _context: &mut Context) -> ControlFlow<Answer> {
        match self {
            // They act on the way back.
            Filter::ResponseHeaders(_) | Filter::Hsts(_) => ControlFlow::Continue(()),
        }
    }

    fn response(&self, context: &Context, headers: &mut HeaderMap) {
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
