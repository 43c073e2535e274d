//! A resource of any kind, checked: here the kinds are told apart.

use crate::{
    certificate::Certificate,
    consumer::Consumer,
    invalid::Faults,
    keyring::Keyring,
    name::Name,
    pb,
    policy::{Attachment, Policy},
    resource::{Kind, Resource, ResourceKey},
    route::Route,
    test::Test,
    upstream::Upstream,
};
use prost::Message;
use std::{collections::BTreeMap, sync::Arc};

/// Where an upstream names the certificate that it shows.
pub(super) const CLIENT_CERTIFICATE: &str = "/tls/client_certificate";

/// A resource that cannot be wrong.
#[derive(Clone, Debug)]
pub enum Checked {
    /// A certificate with its key.
    Certificate(Arc<Certificate>),
    /// A consumer.
    Consumer(Arc<Consumer>),
    /// The keyring.
    Keyring(Arc<Keyring>),
    /// A policy.
    Policy(Arc<Policy>),
    /// A route.
    Route(Arc<Route>),
    /// A test.
    Test(Arc<Test>),
    /// An upstream.
    Upstream(Arc<Upstream>),
}

// === impl Checked ===

impl Checked {
    pub(super) fn check(resource: &Resource, faults: &mut Faults) -> Option<Checked> {
        let checked = match resource.key.kind {
            Kind::Certificate => {
                let message = decode::<pb::Certificate>(resource, faults)?;
                Certificate::check(&message, faults).map(Arc::new).map(Checked::Certificate)
            }
            Kind::Consumer => {
                let message = decode::<pb::Consumer>(resource, faults)?;
                Consumer::check(&message, faults).map(Arc::new).map(Checked::Consumer)
            }
            Kind::Keyring => {
                let message = decode::<pb::Keyring>(resource, faults)?;
                Keyring::check(&message, faults).map(Arc::new).map(Checked::Keyring)
            }
            Kind::Policy => {
                let message = decode::<pb::Policy>(resource, faults)?;
                Policy::check(&message, faults).map(Arc::new).map(Checked::Policy)
            }
            Kind::Route => {
                let message = decode::<pb::Route>(resource, faults)?;
                Route::check(&message, faults).map(Arc::new).map(Checked::Route)
            }
            Kind::Test => {
                let message = decode::<pb::Test>(resource, faults)?;
                Test::check(&message, faults).map(Arc::new).map(Checked::Test)
            }
            Kind::Upstream => {
                let message = decode::<pb::Upstream>(resource, faults)?;
                Upstream::check(&message, faults).map(Arc::new).map(Checked::Upstream)
            }
        }?;
        if checked.name() != &resource.key.name {
            faults.note_at("name", format!("the resource is named {:?}", resource.key.name.as_str()));
        }
        Some(checked)
    }

    /// The resource's name.
    pub fn name(&self) -> &Name {
        match self {
            Checked::Certificate(certificate) => &certificate.name,
            Checked::Consumer(consumer) => &consumer.name,
            Checked::Keyring(keyring) => &keyring.name,
            Checked::Policy(policy) => &policy.name,
            Checked::Route(route) => &route.name,
            Checked::Test(test) => &test.name,
            Checked::Upstream(upstream) => &upstream.name,
        }
    }

    /// The resource's labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        match self {
            Checked::Certificate(certificate) => &certificate.labels,
            Checked::Consumer(consumer) => consumer.labels(),
            Checked::Keyring(keyring) => &keyring.labels,
            Checked::Policy(policy) => &policy.labels,
            Checked::Route(route) => &route.labels,
            Checked::Test(test) => &test.labels,
            Checked::Upstream(upstream) => &upstream.labels,
        }
    }

    /// What it refers to, each with the pointer of the reference.
    pub fn references(&self) -> Vec<(ResourceKey, String)> {
        let attached = |policies: &[Attachment]| -> Vec<(ResourceKey, String)> {
            let reference = |(at, attachment): (usize, &Attachment)| {
                let (key, pointer) = attachment.reference()?;
                Some((key, format!("/policies/{at}{pointer}")))
            };
            policies.iter().enumerate().filter_map(reference).collect()
        };
        match self {
            // What a test expects need not be there: then it is broken, and that is told.
            Checked::Certificate(_) | Checked::Keyring(_) | Checked::Test(_) => Vec::new(),
            Checked::Consumer(consumer) => {
                consumer.policies.as_ref().map_or(Vec::new(), |policies| attached(&policies.attachments))
            }
            Checked::Policy(policy) => {
                policy.reference().into_iter().map(|(key, pointer)| (key, pointer.to_string())).collect()
            }
            Checked::Upstream(upstream) => {
                let certificate = upstream.tls.as_ref().and_then(|tls| tls.client_certificate.clone());
                let certificate =
                    certificate.map(|name| (ResourceKey::new(Kind::Certificate, name), CLIENT_CERTIFICATE.to_string()));
                certificate.into_iter().chain(attached(&upstream.policies)).collect()
            }
            Checked::Route(route) => {
                let upstream =
                    |(name, pointer): (&Name, String)| (ResourceKey::new(Kind::Upstream, name.clone()), pointer);
                route.upstreams().into_iter().map(upstream).chain(attached(&route.policies)).collect()
            }
        }
    }

    /// The route, if it is one.
    pub fn as_route(&self) -> Option<&Arc<Route>> {
        let Checked::Route(route) = self else { return None };
        Some(route)
    }

    /// The upstream, if it is one.
    pub fn as_upstream(&self) -> Option<&Arc<Upstream>> {
        let Checked::Upstream(upstream) = self else { return None };
        Some(upstream)
    }

    /// The policy, if it is one.
    pub fn as_policy(&self) -> Option<&Arc<Policy>> {
        let Checked::Policy(policy) = self else { return None };
        Some(policy)
    }

    /// The certificate, if it is one.
    pub fn as_certificate(&self) -> Option<&Arc<Certificate>> {
        let Checked::Certificate(certificate) = self else { return None };
        Some(certificate)
    }

    /// The consumer, if it is one.
    pub fn as_consumer(&self) -> Option<&Arc<Consumer>> {
        let Checked::Consumer(consumer) = self else { return None };
        Some(consumer)
    }

    /// The keyring, if it is one.
    pub fn as_keyring(&self) -> Option<&Arc<Keyring>> {
        let Checked::Keyring(keyring) = self else { return None };
        Some(keyring)
    }

    /// The test, if it is one.
    pub fn as_test(&self) -> Option<&Arc<Test>> {
        let Checked::Test(test) = self else { return None };
        Some(test)
    }
}

fn decode<M: Message + Default>(resource: &Resource, faults: &mut Faults) -> Option<M> {
    let decoded = M::decode(resource.payload.clone())
        .map_err(|error| format!("the payload is not a {}: {error}", resource.key.kind));
    faults.take(decoded)
}
