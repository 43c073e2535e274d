//! Which certificate is taken for which name.
//!
//! As TLS has it: exact, then a wildcard for one label, then the default. No two certificates claim the same.

use super::Certificate;
use crate::name::Name;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// Which certificate is taken for which name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ServerNames {
    // A wildcard stands here without its star, `.example.com`, as no name does.
    hosts: Arc<BTreeMap<Box<str>, Arc<Certificate>>>,
    default: Option<Arc<Certificate>>,
}

/// What two certificates claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A name; the other certificate has it.
    Host(String, Name),
    /// To be the default; the other certificate is.
    Default(Name),
}

// === impl ServerNames ===

impl ServerNames {
    /// The certificate for a client that asks for this name, or for none.
    pub fn find(&self, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        let named = server_name.filter(|name| !name.starts_with('.')).and_then(|name| {
            let name = match name.bytes().any(|c| c.is_ascii_uppercase()) {
                true => Cow::Owned(name.to_ascii_lowercase()),
                false => Cow::Borrowed(name),
            };
            let wildcard = || self.hosts.get(&name[name.find('.')?..]);
            self.hosts.get(&*name).or_else(wildcard)
        });
        named.or(self.default.as_ref())
    }

    /// Takes a certificate in; what it claims and another has, stays the other's and is told.
    pub(crate) fn put(&mut self, certificate: &Arc<Certificate>) -> Vec<Claim> {
        let mut taken = Vec::new();
        let hosts = Arc::make_mut(&mut self.hosts);
        for host in &certificate.hosts {
            match hosts.get(key(host)) {
                Some(other) => taken.push(Claim::Host(host.clone(), other.name.clone())),
                None => drop(hosts.insert(key(host).into(), certificate.clone())),
            }
        }
        if certificate.default {
            match &self.default {
                Some(other) => taken.push(Claim::Default(other.name.clone())),
                None => self.default = Some(certificate.clone()),
            }
        }
        taken
    }

    /// Lets go of what a certificate claims.
    pub(crate) fn take(&mut self, certificate: &Certificate) {
        let hosts = Arc::make_mut(&mut self.hosts);
        for host in &certificate.hosts {
            if hosts.get(key(host)).is_some_and(|owner| owner.name == certificate.name) {
                hosts.remove(key(host));
            }
        }
        if self.default.as_ref().is_some_and(|owner| owner.name == certificate.name) {
            self.default = None;
        }
    }
}

// === impl Claim ===

impl Claim {
    /// Where the fault is, and what it is.
    pub(crate) fn fault(&self) -> (&'static str, String) {
        match self {
            Claim::Host(host, other) => {
                let detail = format!(
                    "{host:?} is the name of certificate {:?} already; change one of them, or list other `hosts`",
                    other.as_str()
                );
                ("/hosts", detail)
            }
            Claim::Default(other) => {
                ("/default", format!("certificate {:?} is the default already; only one can be", other.as_str()))
            }
        }
    }
}

fn key(host: &str) -> &str {
    host.strip_prefix('*').unwrap_or(host)
}
