//! Policies: what must hold for traffic. One kind, one file; here stand only the closed set and how a policy is
//! attached.

mod access;
mod access_log;
mod api_key;
mod basic;
mod client_certificate;
mod concurrency;
mod cors;
mod deprecation;
mod diagnostics;
mod error_bodies;
mod ext_auth;
mod hsts;
mod introspection;
mod jwt;
mod maintenance;
mod rate_limit;
mod request_headers;
mod request_query;
mod response_headers;
mod security_headers;
mod tracing;
mod validate;

pub use access::{Access, AccessRule, AnyAll, Effect, Identity};
pub use access_log::{AccessLog, LogField, LogForm, LogPiece, LoggedHeader};
pub use api_key::{ApiKeyPlace, ApiKeyPolicy};
pub use basic::{Basic, Hashed};
pub use client_certificate::{ClientCertificate, Distrust};
pub use concurrency::ConcurrencyLimit;
pub use cors::{Cors, Origin, Origins};
pub use deprecation::Deprecation;
pub use diagnostics::{Diagnostics, ProxyStatus};
pub use error_bodies::{ErrorBodies, ErrorBody};
pub use ext_auth::{ExtAuth, ExtAuthForm, ExtAuthGrpc};
pub use hsts::Hsts;
pub use introspection::{ConsumerClaim, Introspection, form};
pub use jwt::{Issuer, Jwt, KeyPlace, Keys, Terms, TokenPlace};
pub use maintenance::Maintenance;
pub use rate_limit::{Cost, LimitHeaders, RateLimit, RateWindow};
pub use request_headers::RequestHeaders;
pub use request_query::{Parameter, RequestQuery};
pub use response_headers::ResponseHeaders;
pub use security_headers::SecurityHeaders;
pub use tracing::Tracing;
pub use validate::{BodyFault, Validate};

use crate::{
    fields::{check_labels, check_name, check_reference},
    invalid::{Faults, did_you_mean},
    name::Name,
    pb,
    resource::{self, ResourceKey},
    template,
};
use pb::policy::Kind;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The most policies attached in one place.
pub const MAX_ATTACHED: usize = 32;

/// A policy, checked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its own name; inline, where none was given, its kind.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is attached to all traffic.
    pub global: bool,
    /// Whether it is only tried out.
    pub shadow: bool,
    /// What it demands.
    pub kind: PolicyKind,
}

/// Declares the kinds, each with its message, its name and its nature, so that nothing is said twice.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($policy:ty) = $name:literal, $nature:expr;)*) => {
        /// The closed set of kinds.
        #[derive(Clone, Debug)]
        pub enum PolicyKind {
            $($(#[$doc])* $kind(Arc<$policy>),)*
        }

        /// The names of all kinds, as they are written.
        pub const KIND_NAMES: &[&str] = &[$($name),*];

        impl PolicyKind {
            fn check(kind: &Kind, faults: &mut Faults) -> Option<PolicyKind> {
                match kind {
                    Kind::Ref(_) => None,
                    $(Kind::$kind(message) => faults.at($name, |faults| {
                        <$policy>::check(message, faults).map(Arc::new).map(PolicyKind::$kind)
                    }),)*
                }
            }

            /// The kind's name, as it is written.
            pub fn name(&self) -> &'static str {
                match self {
                    $(PolicyKind::$kind(_) => $name,)*
                }
            }

            fn nature(&self) -> Nature {
                match self {
                    $(PolicyKind::$kind(_) => $nature,)*
                }
            }
        }
    };
}

kinds! {
    /// Say who may.
    Access(Access) = "access", REFUSES;
    /// Change the headers of the response.
    ResponseHeaders(ResponseHeaders) = "response_headers", CHANGES;
    /// Have browsers come by https only.
    Hsts(Hsts) = "hsts", CHANGES.once();
    /// Record a share of the traces.
    Tracing(Tracing) = "tracing", CHANGES.once();
    /// Say which requests are logged, and what of them.
    AccessLog(AccessLog) = "access_log", CHANGES.once();
    /// Tell clients how their requests were answered.
    Diagnostics(Diagnostics) = "diagnostics", CHANGES.once();
    /// Have clients say by an API key which consumer they are.
    ApiKey(ApiKeyPolicy) = "api_key", AUTHENTICATES;
    /// For a while serve nobody.
    Maintenance(Maintenance) = "maintenance", REFUSES.early();
    /// Know clients by tokens that their issuer is asked about.
    Introspection(Introspection) = "introspection", AUTHENTICATES;
    /// Ask an authorization server about each request.
    ExtAuth(ExtAuth) = "ext_auth", REFUSES;
    /// Trust the tokens of issuers.
    Jwt(Jwt) = "jwt", AUTHENTICATES;
    /// Know clients by a name and a password.
    Basic(Basic) = "basic", AUTHENTICATES;
    /// Know clients by the certificates that they show.
    ClientCertificate(ClientCertificate) = "client_certificate", AUTHENTICATES;
    /// Change the headers of the request.
    RequestHeaders(RequestHeaders) = "request_headers", CHANGES;
    /// Tell browsers what to be careful about.
    SecurityHeaders(SecurityHeaders) = "security_headers", CHANGES.once();
    /// Change the query of the request.
    RequestQuery(RequestQuery) = "request_query", CHANGES;
    /// Let scripts of other origins ask.
    Cors(Cors) = "cors", REFUSES.once().early();
    /// Tell clients that what they use will go away.
    Deprecation(Deprecation) = "deprecation", CHANGES.once();
    /// Bodies of one's own for errors.
    ErrorBodies(ErrorBodies) = "error_bodies", CHANGES.once();
    /// Let only bodies pass that fit a schema.
    Validate(Validate) = "validate", REFUSES;
    /// Let so many requests pass in a time.
    RateLimit(RateLimit) = "rate_limit", REFUSES;
    /// Let so many requests pass at once.
    Concurrency(ConcurrencyLimit) = "concurrency", REFUSES;
}

/// What is true of a kind, whatever a policy of it demands.
#[derive(Clone, Copy)]
struct Nature {
    authenticates: bool,
    refuses: bool,
    exclusive: bool,
    early: bool,
}

/// It changes what passes, or only says what is told of it. What is not changed as it should be is refused, tried out or not.
const CHANGES: Nature = Nature { authenticates: false, refuses: false, exclusive: false, early: false };
/// It may refuse a request.
const REFUSES: Nature = Nature { refuses: true, ..CHANGES };
/// It says who a client is.
const AUTHENTICATES: Nature = Nature { authenticates: true, ..REFUSES };

/// A policy where it is attached.
#[derive(Clone, Debug)]
pub enum Attachment {
    /// One that stands under `policies`.
    Ref(Name),
    /// One that stands here.
    Inline(Policy),
}

// === impl Policy ===

impl Policy {
    /// Checks a policy that stands under `policies`.
    pub fn check(message: &pb::Policy, faults: &mut Faults) -> Option<Policy> {
        check_labels(&message.labels, faults);
        let name = check_name(&message.name, faults);
        let kind = match message.kind.as_ref()? {
            Kind::Ref(_) => {
                faults.note_at(
                    "ref",
                    "a policy of its own says what it demands; `ref` stands only where a policy is attached",
                );
                return None;
            }
            kind => PolicyKind::check(kind, faults),
        };
        let (labels, global, kind) = (message.labels.clone(), message.global.is_some(), kind?);
        Some(Policy { name: name?, labels, global, shadow: check_shadow(message, &kind, faults), kind })
    }

    /// What it refers to, and the pointer of the reference.
    pub fn reference(&self) -> Option<(ResourceKey, &'static str)> {
        let (upstream, pointer) = self.kind.upstream()?;
        Some((ResourceKey::new(resource::Kind::Upstream, upstream.clone()), pointer))
    }
}

// === impl PolicyKind ===

impl PolicyKind {
    /// Whether it says who a client is. Where several do, they stand in one place, and the most specific place counts.
    pub fn authenticates(&self) -> bool {
        self.nature().authenticates
    }

    /// Whether it may refuse a request, and so can be tried out.
    pub fn refuses(&self) -> bool {
        self.nature().refuses
    }

    /// Whether of several only the most specific counts.
    pub fn is_exclusive(&self) -> bool {
        self.nature().exclusive
    }

    /// Whether it counts only where no other policy says who may.
    pub fn is_fallback(&self) -> bool {
        matches!(self, PolicyKind::Access(access) if access.fallback)
    }

    /// Whether it says who may: by asking who a client is, or whether it may.
    pub fn admits(&self) -> bool {
        let asks = matches!(self, PolicyKind::Access(_) | PolicyKind::ExtAuth(_));
        (asks || self.authenticates()) && !self.is_fallback()
    }

    /// Why it cannot be attached to a consumer, if it cannot.
    pub fn unfit_for_consumers(&self) -> Option<String> {
        let Nature { authenticates, exclusive, early, .. } = self.nature();
        let why = if authenticates {
            "which consumer it is, is known only after it"
        } else if early {
            "it acts before it is known who calls"
        } else if exclusive {
            "of its kind only one counts, which is the route's, whoever calls"
        } else if self.is_fallback() {
            "as a `fallback` it counts only where nobody asks who calls"
        } else {
            return None;
        };
        Some(format!(
            "{:?} cannot be attached to a consumer: {why}; attach it to a route or to all traffic",
            self.name()
        ))
    }

    /// The upstream that it asks, and where it names it.
    pub fn upstream(&self) -> Option<(&Name, &'static str)> {
        if let PolicyKind::Introspection(policy) = self {
            return Some((&policy.upstream, "/introspection/upstream"));
        }
        let PolicyKind::ExtAuth(policy) = self else { return None };
        Some((&policy.upstream, "/ext_auth/upstream"))
    }

    /// Where it says that it asks by gRPC, if it does.
    pub(crate) fn asks_by_grpc(&self) -> Option<&'static str> {
        let PolicyKind::ExtAuth(policy) = self else { return None };
        matches!(policy.form, ExtAuthForm::Grpc(_)).then_some("/ext_auth/grpc")
    }

    // The variables of a path that its templates refer to.
    fn captured(&self) -> Vec<&str> {
        let headers = if let PolicyKind::RequestHeaders(policy) = self {
            [&policy.set, &policy.add]
        } else if let PolicyKind::ResponseHeaders(policy) = self {
            [&policy.set, &policy.add]
        } else if let PolicyKind::RequestQuery(policy) = self {
            return policy.set.iter().chain(&policy.add).flat_map(|parameter| parameter.value.captured()).collect();
        } else {
            return Vec::new();
        };
        headers.into_iter().flatten().flat_map(|header| header.value.captured()).collect()
    }
}

// === impl Nature ===

impl Nature {
    // Of several only the most specific counts.
    const fn once(self) -> Nature {
        Nature { exclusive: true, ..self }
    }

    // It acts before it is known who calls.
    const fn early(self) -> Nature {
        Nature { early: true, ..self }
    }
}

// === impl Attachment ===

impl Attachment {
    /// Checks the list `policies` of a route or an upstream.
    pub fn check_list(messages: &[pb::Policy], faults: &mut Faults) -> Vec<Attachment> {
        Attachment::check_fitting(messages, |_| None, faults)
    }

    /// Checks the list `policies` of a consumer.
    pub(crate) fn check_list_of_consumer(messages: &[pb::Policy], faults: &mut Faults) -> Vec<Attachment> {
        Attachment::check_fitting(messages, PolicyKind::unfit_for_consumers, faults)
    }

    // `unfit`: why a policy cannot stand here, if it cannot.
    fn check_fitting(
        messages: &[pb::Policy],
        unfit: impl Fn(&PolicyKind) -> Option<String>,
        faults: &mut Faults,
    ) -> Vec<Attachment> {
        faults.at("policies", |faults| {
            if messages.len() > MAX_ATTACHED {
                faults.note(format!("at most {MAX_ATTACHED} policies can be attached in one place"));
            }
            let mut names = BTreeSet::new();
            let mut attachments = Vec::new();
            for (at, message) in messages.iter().enumerate() {
                let Some(attachment) = faults.at(at, |faults| Attachment::check(message, faults)) else { continue };
                if let Attachment::Inline(policy) = &attachment
                    && !names.insert(policy.name.clone())
                {
                    faults.note_at(at, format!("two inline policies are called {:?}; give each a name", policy.name));
                }
                if let Attachment::Inline(policy) = &attachment
                    && let Some(why) = unfit(&policy.kind)
                {
                    faults.at(at, |faults| faults.note_at(policy.kind.name(), why));
                }
                attachments.push(attachment);
            }
            attachments
        })
    }

    /// Notes variables that policies which stand at a route take from its path, and which that does not capture.
    pub(crate) fn check_captured(attachments: &[Attachment], variables: &[(&str, bool)], faults: &mut Faults) {
        faults.at("policies", |faults| {
            for (at, attachment) in attachments.iter().enumerate() {
                let Attachment::Inline(policy) = attachment else { continue };
                let unknown = |name: &&str| !variables.iter().any(|(variable, _)| variable == name);
                for name in policy.kind.captured().into_iter().filter(unknown) {
                    faults.note_at(at, template::unknown_variable(name, variables));
                }
            }
        });
    }

    /// What it refers to, and the pointer of the reference.
    pub fn reference(&self) -> Option<(ResourceKey, &'static str)> {
        match self {
            Attachment::Ref(name) => Some((ResourceKey::new(resource::Kind::Policy, name.clone()), "/ref")),
            Attachment::Inline(policy) => policy.reference(),
        }
    }

    fn check(message: &pb::Policy, faults: &mut Faults) -> Option<Attachment> {
        if message.global.is_some() {
            faults.note_at("global", "a policy that is attached here cannot be global; put it under `policies`");
        }
        if let Kind::Ref(name) = message.kind.as_ref()? {
            if !message.name.is_empty() {
                faults.note_at("name", "a reference has no name of its own");
            }
            if message.shadow.is_some() {
                faults
                    .note_at("shadow", "a policy is tried out wherever it is attached; say so where it stands itself");
            }
            return check_reference("ref", name, faults).map(Attachment::Ref);
        }
        let kind = PolicyKind::check(message.kind.as_ref()?, faults)?;
        // A kind's name has underscores, which a resource's has not.
        let name = match message.name.is_empty() {
            true => Name::parse(&kind.name().replace('_', "-")).ok(),
            false => check_name(&message.name, faults),
        };
        let (labels, shadow) = (message.labels.clone(), check_shadow(message, &kind, faults));
        Some(Attachment::Inline(Policy { name: name?, labels, global: false, shadow, kind }))
    }
}

fn check_shadow(message: &pb::Policy, kind: &PolicyKind, faults: &mut Faults) -> bool {
    if message.shadow.is_some() && !kind.refuses() {
        faults.note_at(
            "shadow",
            format!("a policy of the kind {:?} refuses nothing that could be let pass", kind.name()),
        );
    }
    message.shadow.is_some()
}

/// Checks a route's `disable`.
pub(crate) fn check_disable(kinds: &[String], faults: &mut Faults) -> Vec<&'static str> {
    faults.at("disable", |faults| {
        let find = |(at, text): (usize, &String)| {
            let known = KIND_NAMES.iter().copied().find(|name| name == text);
            let advice =
                || format!("{text:?} is not a kind of policy{}", did_you_mean(text, KIND_NAMES.iter().copied()));
            faults.at(at, |faults| faults.take(known.ok_or_else(advice)))
        };
        kinds.iter().enumerate().filter_map(find).collect()
    })
}
