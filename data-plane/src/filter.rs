//! Filters: policies alive in a node. One kind, one file; here stand the closed set, the stages and their order.
//!
//! A filter sees a request on its way in, in stage order, and its answer on the way back, in the reverse order. It sees
//! every answer, also those that the gateway makes itself. A policy that says what is told of a request is no filter, but
//! an option of its record. How filters are asked one after the other stands in [`sequence`].

mod access;
mod api_key;
mod asking;
mod basic;
mod client_certificate;
mod concurrency;
mod cors;
mod counting;
mod deprecation;
mod ext_auth;
mod header_text;
mod hsts;
mod introspection;
mod jwt;
mod maintenance;
mod merged;
mod personal;
mod rate_limit;
mod request_headers;
mod request_query;
mod response_headers;
mod security_headers;
mod sequence;
mod trial;
mod validate;
mod verdict;

pub(crate) use cors::preflight_method;
pub(crate) use jwt::token_counts;
pub(crate) use personal::{Joined, OwnFilters, Personal};
pub(crate) use sequence::{Acting, Caller, Filters, Lent, Observer, silent};
pub(crate) use verdict::Said;
use verdict::Verdict;

use crate::{context::Context, pool::Pool, states::States};
use access::AccessFilter;
use api_key::ApiKeyFilter;
use basic::BasicFilter;
use client_certificate::ClientCertificateFilter;
use concurrency::ConcurrencyFilter;
use cors::CorsFilter;
use deprecation::DeprecationFilter;
use ext_auth::ExtAuthFilter;
use hsts::HstsFilter;
use http::{HeaderMap, HeaderName};
use introspection::IntrospectionFilter;
use jwt::JwtFilter;
use maintenance::MaintenanceFilter;
use proto::{
    name::Name,
    policy::{AccessLog, Diagnostics, ErrorBodies, Policy, PolicyKind},
    quantity::Share,
};
use rate_limit::RateLimitFilter;
use request_headers::RequestHeadersFilter;
use request_query::RequestQueryFilter;
use response_headers::ResponseHeadersFilter;
use security_headers::SecurityHeadersFilter;
use std::sync::Arc;
use validate::ValidateFilter;

/// A policy where it is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached<'p> {
    /// Where.
    pub(crate) place: Place,
    /// The route, the upstream, or the consumer at which it stands inline; `None` where it is attached to all traffic, or to
    /// all consumers that refer to it.
    pub(crate) owner: Option<&'p Name>,
    /// The route whose requests it sees; `None` for those that no route matches, and for those of a consumer.
    pub(crate) route: Option<&'p Name>,
    /// The policy.
    pub(crate) policy: &'p Policy,
    /// The upstream that it asks.
    pub(crate) asks: Option<&'p Arc<Pool>>,
}

/// Where a policy is attached.
///
/// In this order they act within a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// To all traffic.
    Global,
    /// To an upstream.
    Upstream,
    /// To a consumer.
    Consumer,
    /// To a route.
    Route,
}

/// What whoever explains knows of whose a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// What the request proves.
    Unsaid,
    /// It is said that it is a consumer's.
    Given,
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
    /// What they get in place of problems.
    pub(crate) error_bodies: Option<Arc<ErrorBodies>>,
}

/// A policy, alive.
#[derive(Debug)]
pub(crate) enum Filter {
    ResponseHeaders(ResponseHeadersFilter),
    Hsts(HstsFilter),
    ApiKey(ApiKeyFilter),
    Maintenance(MaintenanceFilter),
    Introspection(IntrospectionFilter),
    ExtAuth(ExtAuthFilter),
    Access(AccessFilter),
    Jwt(JwtFilter),
    Basic(BasicFilter),
    ClientCertificate(ClientCertificateFilter),
    RequestHeaders(RequestHeadersFilter),
    SecurityHeaders(SecurityHeadersFilter),
    RequestQuery(RequestQueryFilter),
    Cors(CorsFilter),
    Deprecation(DeprecationFilter),
    Validate(ValidateFilter),
    RateLimit(RateLimitFilter),
    Concurrency(ConcurrencyFilter),
}

/// When a filter acts. The order is not the operator's to choose: what is cheap and says no comes before what is dear,
/// nothing is limited by an identity that is not proven yet, and nobody is let in before it is known who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// By the client's address alone.
    Address,
    /// Preflight requests carry no credentials.
    Cors,
    /// Is it open at all? Scripts could not read why not if their preflights were not answered.
    Open,
    /// Who is it?
    Authenticate,
    /// May he?
    Authorize,
    /// How often?
    Limit,
    /// What changes on the way.
    Transform,
    /// What is in it?
    Body,
}

// === impl Stage ===

impl Stage {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stage::Address => "address",
            Stage::Cors => "cors",
            Stage::Open => "open",
            Stage::Authenticate => "authenticate",
            Stage::Authorize => "authorize",
            Stage::Limit => "limit",
            Stage::Transform => "transform",
            Stage::Body => "body",
        }
    }
}

// === impl Filter ===

impl Filter {
    // A kind that remembers something takes it over from `states`.
    fn build(attached: &Attached<'_>, states: &States, telling: &mut Telling) -> Option<Filter> {
        match &attached.policy.kind {
            PolicyKind::Access(policy) => Some(Filter::Access(AccessFilter::build(policy))),
            PolicyKind::Jwt(policy) => Some(Filter::Jwt(JwtFilter::build(attached, policy, states))),
            PolicyKind::ApiKey(policy) => Some(Filter::ApiKey(ApiKeyFilter::build(attached, policy))),
            PolicyKind::Maintenance(policy) => Some(Filter::Maintenance(MaintenanceFilter::build(policy))),
            PolicyKind::Introspection(policy) => {
                Some(Filter::Introspection(IntrospectionFilter::build(attached, policy, states)))
            }
            PolicyKind::ExtAuth(policy) => Some(Filter::ExtAuth(ExtAuthFilter::build(attached, policy))),
            PolicyKind::Basic(policy) => Some(Filter::Basic(BasicFilter::build(attached, policy, states))),
            PolicyKind::ClientCertificate(policy) => {
                Some(Filter::ClientCertificate(ClientCertificateFilter::build(attached, policy)))
            }
            PolicyKind::ResponseHeaders(policy) => Some(Filter::ResponseHeaders(ResponseHeadersFilter::build(policy))),
            PolicyKind::RequestHeaders(policy) => Some(Filter::RequestHeaders(RequestHeadersFilter::build(policy))),
            PolicyKind::SecurityHeaders(policy) => Some(Filter::SecurityHeaders(SecurityHeadersFilter::build(policy))),
            PolicyKind::RequestQuery(policy) => Some(Filter::RequestQuery(RequestQueryFilter::build(policy))),
            // A preflight is answered before an upstream is chosen.
            PolicyKind::Cors(_) if attached.place == Place::Upstream => None,
            PolicyKind::Cors(policy) => Some(Filter::Cors(CorsFilter::build(policy))),
            PolicyKind::Validate(policy) => Some(Filter::Validate(ValidateFilter::build(policy))),
            PolicyKind::Deprecation(policy) => Some(Filter::Deprecation(DeprecationFilter::build(policy))),
            PolicyKind::Hsts(policy) => Some(Filter::Hsts(HstsFilter::build(policy))),
            PolicyKind::RateLimit(policy) => Some(Filter::RateLimit(RateLimitFilter::build(policy, attached, states))),
            PolicyKind::Concurrency(policy) => {
                Some(Filter::Concurrency(ConcurrencyFilter::build(policy, attached, states)))
            }
            PolicyKind::Tracing(tracing) => {
                telling.sample = Some(tracing.sample);
                None
            }
            PolicyKind::AccessLog(log) => {
                telling.log = Some(log.clone());
                None
            }
            PolicyKind::Diagnostics(diagnostics) => {
                telling.diagnostics = Some(**diagnostics);
                None
            }
            PolicyKind::ErrorBodies(bodies) => {
                telling.error_bodies = Some(bodies.clone());
                None
            }
        }
    }

    /// When it acts.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Filter::Access(filter) => filter.stage(),
            Filter::Jwt(_) => Stage::Authenticate,
            Filter::Maintenance(_) => Stage::Open,
            Filter::ApiKey(_) | Filter::Basic(_) | Filter::ClientCertificate(_) => Stage::Authenticate,
            Filter::Cors(_) => Stage::Cors,
            Filter::Introspection(_) => Stage::Authenticate,
            Filter::ExtAuth(_) => Stage::Authorize,
            Filter::Validate(_) => Stage::Body,
            Filter::RateLimit(filter) => filter.stage(),
            Filter::Concurrency(filter) => filter.stage(),
            Filter::ResponseHeaders(_) | Filter::Hsts(_) => Stage::Transform,
            Filter::RequestHeaders(_) | Filter::RequestQuery(_) => Stage::Transform,
            Filter::SecurityHeaders(_) | Filter::Deprecation(_) => Stage::Transform,
        }
    }

    /// The upstream that it asks.
    pub(crate) fn asks(&self) -> Option<&Arc<Pool>> {
        if let Filter::Introspection(filter) = self {
            return filter.pool();
        }
        let Filter::ExtAuth(filter) = self else { return None };
        filter.pool()
    }

    /// What only a running node knows, and what it says depends on; `None` where the request tells all, and whose it is.
    pub(crate) fn depends_on(&self, of: Whose) -> Option<String> {
        match self {
            Filter::Introspection(filter) => Some(filter.depends_on()),
            Filter::ExtAuth(filter) => Some(filter.depends_on()),
            Filter::Access(filter) => filter.depends_on(of),
            Filter::Jwt(filter) => filter.depends_on(),
            Filter::Basic(_) => Some("passwords, which only nodes check".into()),
            Filter::ClientCertificate(_) => Some("the certificate that the client shows when it connects".into()),
            Filter::ResponseHeaders(_) | Filter::Hsts(_) | Filter::ApiKey(_) | Filter::Maintenance(_) => None,
            Filter::Validate(_) => Some("the body of the request, which is not told".into()),
            Filter::RequestHeaders(_) | Filter::RequestQuery(_) | Filter::Cors(_) => None,
            Filter::SecurityHeaders(_) | Filter::Deprecation(_) => None,
            Filter::RateLimit(_) => Some("limits: how much a client has had on the node".into()),
            Filter::Concurrency(_) => Some("limits: how many requests a client has on the node now".into()),
        }
    }

    /// On the way in: whether the request goes on.
    pub(crate) fn request<'a>(&'a self, context: &'a mut Context, lent: Lent<'a>) -> Verdict<'a> {
        match self {
            Filter::Access(filter) => filter.request(context),
            Filter::Jwt(filter) => filter.request(context),
            Filter::Maintenance(filter) => filter.request(context),
            Filter::Introspection(filter) => filter.request(context, lent),
            Filter::ExtAuth(filter) => filter.request(context, lent),
            Filter::Basic(filter) => filter.request(context, lent),
            Filter::ClientCertificate(filter) => filter.request(context, lent),
            Filter::ApiKey(filter) => filter.request(context),
            Filter::RequestHeaders(filter) => filter.request(context),
            Filter::RequestQuery(filter) => filter.request(context),
            Filter::Cors(filter) => filter.request(context),
            // It is asked last, with the body.
            Filter::Validate(_) => Verdict::CONTINUE,
            Filter::RateLimit(filter) => filter.request(context),
            Filter::Concurrency(filter) => filter.request(context),
            // They act on the way back.
            Filter::ResponseHeaders(_) | Filter::Hsts(_) => Verdict::CONTINUE,
            Filter::SecurityHeaders(_) | Filter::Deprecation(_) => Verdict::CONTINUE,
        }
    }

    /// The headers of an answer that it may change.
    pub(crate) fn touched(&self) -> Vec<HeaderName> {
        match self {
            Filter::Access(_) | Filter::Jwt(_) => Vec::new(),
            Filter::Introspection(_) => Vec::new(),
            Filter::ResponseHeaders(filter) => filter.touched(),
            Filter::Hsts(filter) => filter.touched(),
            Filter::ApiKey(_)
            | Filter::Maintenance(_)
            | Filter::ExtAuth(_)
            | Filter::Basic(_)
            | Filter::ClientCertificate(_) => Vec::new(),
            Filter::SecurityHeaders(filter) => filter.touched(),
            Filter::Cors(filter) => filter.touched(),
            Filter::Deprecation(filter) => filter.touched(),
            Filter::RequestHeaders(_) | Filter::RequestQuery(_) | Filter::Validate(_) => Vec::new(),
            Filter::RateLimit(filter) => filter.touched(),
            Filter::Concurrency(_) => Vec::new(),
        }
    }

    /// On the way back.
    pub(crate) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        match self {
            Filter::Access(_) | Filter::Jwt(_) => {}
            Filter::Introspection(_) => {}
            Filter::ResponseHeaders(filter) => filter.response(context, headers),
            Filter::Hsts(filter) => filter.response(context, headers),
            Filter::ApiKey(_) | Filter::Maintenance(_) | Filter::Basic(_) | Filter::ClientCertificate(_) => {}
            Filter::ExtAuth(filter) => filter.response(context, headers),
            Filter::SecurityHeaders(filter) => filter.response(headers),
            Filter::Cors(filter) => filter.response(context, headers),
            Filter::Deprecation(filter) => filter.response(headers),
            Filter::RequestHeaders(_) | Filter::RequestQuery(_) | Filter::Validate(_) => {}
            Filter::RateLimit(filter) => filter.response(context, headers),
            Filter::Concurrency(_) => {}
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
