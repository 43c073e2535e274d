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

/// Declares the kinds: what each is built by, when it acts, and which of the questions below it answers, so that a kind is
/// one row. What a row leaves out, its kind has no part in.
macro_rules! filters {
    (
        build($policy:ident, $attached:ident, $states:ident, $telling:ident)
        ask($filter:ident, $of:ident, $context:ident, $lent:ident, $headers:ident)
        told { $($told:ident: $tell:expr;)* }
        $($kind:ident($live:ident) {
            build: $build:expr,
            stage: $stage:expr,
            $(asks: $asks:expr,)?
            $(depends_on: $depends_on:expr,)?
            $(request: $request:expr,)?
            $(touched: $touched:expr,)?
            $(response: $response:expr,)?
        })*
    ) => {
        /// A policy, alive.
        #[derive(Debug)]
        pub(crate) enum Filter {
            $($kind($live),)*
        }

        impl Filter {
            // A kind that remembers something takes it over from `states`.
            fn build($attached: &Attached<'_>, $states: &States, $telling: &mut Telling) -> Option<Filter> {
                match &$attached.policy.kind {
                    // A preflight is answered before an upstream is chosen.
                    PolicyKind::Cors(_) if $attached.place == Place::Upstream => None,
                    $(PolicyKind::$kind($policy) => Some(Filter::$kind($build)),)*
                    $(PolicyKind::$told($policy) => {
                        $tell;
                        None
                    })*
                }
            }

            /// When it acts.
            pub(crate) fn stage(&self) -> Stage {
                match self {
                    $(Filter::$kind($filter) => {
                        let _ = $filter;
                        $stage
                    })*
                }
            }

            /// The upstream that it asks.
            pub(crate) fn asks(&self) -> Option<&Arc<Pool>> {
                match self {
                    $(Filter::$kind($filter) => {
                        let _ = $filter;
                        $(return $asks;)?
                    })*
                }
                None
            }

            /// What only a running node knows, and what it says depends on; `None` where the request tells all, and whose
            /// it is.
            pub(crate) fn depends_on(&self, $of: Whose) -> Option<String> {
                match self {
                    $(Filter::$kind($filter) => {
                        let _ = $filter;
                        $(return $depends_on;)?
                    })*
                }
                None
            }

            /// On the way in: whether the request goes on.
            pub(crate) fn request<'a>(&'a self, $context: &'a mut Context, $lent: Lent<'a>) -> Verdict<'a> {
                match self {
                    $(Filter::$kind($filter) => {
                        let _ = $filter;
                        $(return $request;)?
                    })*
                }
                Verdict::CONTINUE
            }

            /// The headers of an answer that it may change.
            pub(crate) fn touched(&self) -> Vec<HeaderName> {
                match self {
                    $(Filter::$kind($filter) => {
                        let _ = $filter;
                        $(return $touched;)?
                    })*
                }
                Vec::new()
            }

            /// On the way back.
            pub(crate) fn response(&self, $context: &Context, $headers: &mut HeaderMap) {
                match self {
                    $(Filter::$kind($filter) => {
                        let _ = $filter;
                        $($response;)?
                    })*
                }
            }
        }
    };
}

filters! {
    build(policy, attached, states, telling)
    ask(filter, of, context, lent, headers)

    // They are no filters, but options of a request's record.
    told {
        Tracing: telling.sample = Some(policy.sample);
        AccessLog: telling.log = Some(policy.clone());
        Diagnostics: telling.diagnostics = Some(**policy);
        ErrorBodies: telling.error_bodies = Some(policy.clone());
    }

    Access(AccessFilter) {
        build: AccessFilter::build(policy),
        stage: filter.stage(),
        depends_on: filter.depends_on(of),
        request: filter.request(context),
    }
    Cors(CorsFilter) {
        build: CorsFilter::build(policy),
        stage: Stage::Cors,
        request: filter.request(context),
        touched: filter.touched(),
        response: filter.response(context, headers),
    }
    Maintenance(MaintenanceFilter) {
        build: MaintenanceFilter::build(policy),
        stage: Stage::Open,
        request: filter.request(context),
    }
    ApiKey(ApiKeyFilter) {
        build: ApiKeyFilter::build(attached, policy),
        stage: Stage::Authenticate,
        request: filter.request(context),
    }
    Jwt(JwtFilter) {
        build: JwtFilter::build(attached, policy, states),
        stage: Stage::Authenticate,
        depends_on: filter.depends_on(),
        request: filter.request(context),
    }
    Introspection(IntrospectionFilter) {
        build: IntrospectionFilter::build(attached, policy, states),
        stage: Stage::Authenticate,
        asks: filter.pool(),
        depends_on: Some(filter.depends_on()),
        request: filter.request(context, lent),
    }
    Basic(BasicFilter) {
        build: BasicFilter::build(attached, policy, states),
        stage: Stage::Authenticate,
        depends_on: Some("passwords, which only nodes check".into()),
        request: filter.request(context, lent),
    }
    ClientCertificate(ClientCertificateFilter) {
        build: ClientCertificateFilter::build(attached, policy),
        stage: Stage::Authenticate,
        depends_on: Some("the certificate that the client shows when it connects".into()),
        request: filter.request(context, lent),
    }
    ExtAuth(ExtAuthFilter) {
        build: ExtAuthFilter::build(attached, policy),
        stage: Stage::Authorize,
        asks: filter.pool(),
        depends_on: Some(filter.depends_on()),
        request: filter.request(context, lent),
        response: filter.response(context, headers),
    }
    RateLimit(RateLimitFilter) {
        build: RateLimitFilter::build(policy, attached, states),
        stage: filter.stage(),
        depends_on: Some("limits: how much a client has had on the node".into()),
        request: filter.request(context),
        touched: filter.touched(),
        response: filter.response(context, headers),
    }
    Concurrency(ConcurrencyFilter) {
        build: ConcurrencyFilter::build(policy, attached, states),
        stage: filter.stage(),
        depends_on: Some("limits: how many requests a client has on the node now".into()),
        request: filter.request(context),
    }
    RequestHeaders(RequestHeadersFilter) {
        build: RequestHeadersFilter::build(policy),
        stage: Stage::Transform,
        request: filter.request(context),
    }
    RequestQuery(RequestQueryFilter) {
        build: RequestQueryFilter::build(policy),
        stage: Stage::Transform,
        request: filter.request(context),
    }
    ResponseHeaders(ResponseHeadersFilter) {
        build: ResponseHeadersFilter::build(policy),
        stage: Stage::Transform,
        touched: filter.touched(),
        response: filter.response(context, headers),
    }
    SecurityHeaders(SecurityHeadersFilter) {
        build: SecurityHeadersFilter::build(policy),
        stage: Stage::Transform,
        touched: filter.touched(),
        response: filter.response(headers),
    }
    Hsts(HstsFilter) {
        build: HstsFilter::build(policy),
        stage: Stage::Transform,
        touched: filter.touched(),
        response: filter.response(context, headers),
    }
    Deprecation(DeprecationFilter) {
        build: DeprecationFilter::build(policy),
        stage: Stage::Transform,
        touched: filter.touched(),
        response: filter.response(headers),
    }
    // Its `request` is asked last, with the body.
    Validate(ValidateFilter) {
        build: ValidateFilter::build(policy),
        stage: Stage::Body,
        depends_on: Some("the body of the request, which is not told".into()),
    }
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

#[cfg(test)]
mod tests {
    use super::Context;

    /// A filter that is wrong: the only way to a panic that a test has.
    pub(super) fn panic_if_asked(context: &Context, at: &str) {
        let asked = context.headers.get("x-test-panic").is_some_and(|value| value == at);
        assert!(!asked, "a panic that a test asked for");
    }
}
