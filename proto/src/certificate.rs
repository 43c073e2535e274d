//! Certificates, checked: what a node needs in order to serve https and to call upstreams that ask who calls, and whom it
//! serves with it.
//!
//! There is no clock here: a certificate that has expired is as good as it was, for a node goes on with what it has.
//! Whoever writes one is told; see [`Certificate::validity`].

mod key_pair;
mod server_names;

pub(crate) use key_pair::dns_name;
pub use key_pair::{KeyPair, Usage, Validity};
pub use server_names::{Claim, ServerNames};

use crate::{
    fields::{check_labels, check_name},
    invalid::Faults,
    name::Name,
    pb,
};
use std::collections::{BTreeMap, BTreeSet};

/// The most names of one certificate.
pub const MAX_HOSTS: usize = 1000;

/// A certificate with its key, and the names that it is taken for.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The chain and its key; they belong together.
    pub key_pair: KeyPair,
    /// In lower case; `*.` in front stands for one label. None where it is not served with.
    pub hosts: BTreeSet<String>,
    /// Whether it is taken where no certificate has the name.
    pub default: bool,
}

// === impl Certificate ===

impl Certificate {
    /// Checks what was said; the faults are noted.
    pub fn check(message: &pb::Certificate, faults: &mut Faults) -> Option<Certificate> {
        let name = check_name(&message.name, faults);
        check_labels(&message.labels, faults);
        let usage = if message.client_only { Usage::Client } else { Usage::Server };
        let key_pair = KeyPair::check(&message.chain, message.private_key.as_ref(), usage, faults);
        let written = check_hosts(&message.hosts, faults);
        let hosts = match usage {
            Usage::Client => check_unserved(message, faults),
            Usage::Server => check_served(message, written, key_pair.as_ref()?.dns_names(), faults),
        };
        Some(Certificate {
            name: name?,
            labels: message.labels.clone(),
            key_pair: key_pair?,
            hosts,
            default: message.default,
        })
    }

    /// From when until when it is valid.
    pub fn validity(&self) -> Validity {
        self.key_pair.validity()
    }

    /// Whether it can prove who a client is.
    pub fn is_for_clients(&self) -> bool {
        self.key_pair.is_for_clients()
    }
}

// The names that it is taken for.
fn check_served(
    message: &pb::Certificate,
    written: BTreeSet<String>,
    names: &BTreeSet<String>,
    faults: &mut Faults,
) -> BTreeSet<String> {
    if !message.hosts.is_empty() {
        faults.at("hosts", |faults| check_covered(&message.hosts, names, faults));
        return written;
    }
    if names.is_empty() && !message.default {
        faults.note_at(
            "chain",
            "the certificate has no DNS name (subjectAltName), so no client could ask for it; have it issued with one, \
             or give `default: true`, or `client_only: true` if only upstreams are to see it",
        );
    }
    names.clone()
}

// It is taken for none.
fn check_unserved(message: &pb::Certificate, faults: &mut Faults) -> BTreeSet<String> {
    const DETAIL: &str = "a certificate that is for upstreams only is not served; leave this out, or `client_only`";
    if !message.hosts.is_empty() {
        faults.note_at("hosts", DETAIL);
    }
    if message.default {
        faults.note_at("default", DETAIL);
    }
    BTreeSet::new()
}

fn check_hosts(hosts: &[String], faults: &mut Faults) -> BTreeSet<String> {
    faults.at("hosts", |faults| {
        if hosts.len() > MAX_HOSTS {
            faults.note(format!("at most {MAX_HOSTS} names can be given"));
        }
        let mut all = BTreeSet::new();
        for (at, text) in hosts.iter().enumerate() {
            let host = dns_name(text)
                .ok_or_else(|| format!("{text:?} is not a DNS name, as in \"api.example.com\" or \"*.example.com\""));
            if let Some(host) = faults.at(at, |faults| faults.take(host))
                && !all.insert(host)
            {
                faults.note_at(at, format!("{text:?} stands twice"));
            }
        }
        all
    })
}

fn check_covered(hosts: &[String], names: &BTreeSet<String>, faults: &mut Faults) {
    for (at, text) in hosts.iter().enumerate() {
        let Some(host) = dns_name(text) else { continue };
        let wildcard = host.split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
        if !names.contains(&host) && !names.contains(&wildcard) {
            let names: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
            let names = if names.is_empty() { "no DNS name".into() } else { names.join(", ") };
            faults.note_at(at, format!("the certificate is not for {host:?}; it is for {names}"));
        }
    }
}

#[cfg(test)]
mod tests;
