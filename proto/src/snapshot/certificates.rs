//! Certificates in a configuration: whom they are served to, and who shows them.

use super::{Entry, Snapshot, checked::CLIENT_CERTIFICATE};
use crate::{
    certificate::{Certificate, ServerNames},
    invalid::Invalid,
    name::Name,
    resource::{Kind, ResourceKey},
    shards::SHARDS,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl Snapshot {
    /// Which certificate is taken for which name.
    pub fn server_names(&self) -> &ServerNames {
        &self.server_names
    }

    /// The certificate of a name.
    pub fn certificate(&self, name: &Name) -> Option<&Arc<Certificate>> {
        self.get(&ResourceKey::new(Kind::Certificate, name.clone()))?.checked.as_certificate()
    }

    /// All certificates, by name.
    pub fn certificates(&self) -> BTreeMap<&Name, &Arc<Certificate>> {
        // Each shard begins with them, for they are the first kind; the many routes behind them are not looked at.
        let of_shard = |shard| self.entries.shard(shard).values().map_while(|entry| entry.checked.as_certificate());
        (0..SHARDS).flat_map(of_shard).map(|certificate| (&certificate.name, certificate)).collect()
    }

    // Notes upstreams that show a certificate which cannot prove who a client is: at the upstream if that was touched, at
    // the certificate if that was.
    pub(super) fn check_clients(&self, touched: &BTreeSet<ResourceKey>, invalid: &mut Vec<Invalid>) {
        let wrong = |entry: &Entry| {
            let name = entry.checked.as_upstream()?.tls.as_ref()?.client_certificate.as_ref()?;
            self.certificate(name).filter(|certificate| !certificate.is_for_clients())
        };
        for key in touched {
            let Some(entry) = self.get(key) else { continue };
            if let Some(certificate) = wrong(entry) {
                let detail = format!(
                    "certificate {:?} is not for clients (extended key usage clientAuth); have it issued for them",
                    certificate.name.as_str()
                );
                invalid.push(Invalid { resource: Some(key.clone()), pointer: CLIENT_CERTIFICATE.into(), detail });
            }
            if entry.checked.as_certificate().is_none_or(|certificate| certificate.is_for_clients()) {
                continue;
            }
            for referrer in self.referrers(key).filter(|referrer| !touched.contains(referrer)) {
                let detail = format!(
                    "{referrer} shows it to its endpoints, but it is not for clients (extended key usage clientAuth); \
                     have it issued for them"
                );
                invalid.push(Invalid { resource: Some(key.clone()), pointer: "/chain".into(), detail });
            }
        }
    }

    // Keeps the index of server names, and notes two certificates that claim the same.
    pub(super) fn check_server_names(
        &mut self,
        before: &Snapshot,
        touched: &BTreeSet<ResourceKey>,
        invalid: &mut Vec<Invalid>,
    ) {
        let touched = || touched.iter().filter(|key| key.kind == Kind::Certificate);
        for old in touched().filter_map(|key| before.get(key)?.checked.as_certificate()) {
            self.server_names.take(old);
        }
        for key in touched() {
            let Some(new) = self.get(key).and_then(|entry| entry.checked.as_certificate()).cloned() else { continue };
            for claim in self.server_names.put(&new) {
                let (pointer, detail) = claim.fault();
                invalid.push(Invalid { resource: Some(key.clone()), pointer: pointer.into(), detail });
            }
        }
    }
}
