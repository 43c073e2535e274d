//! A resource as it travels and is stored: kind, name and a payload that is encoded once and kept verbatim.

use crate::{name::Name, pb};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt;

/// The largest payload of one resource, in bytes. Databases take 256 KiB, and a seal takes its part of them.
pub const MAX_PAYLOAD: usize = 256 * 1024 - 64;

/// The kinds of resource. Their order is that of their names, which the hash tree needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A certificate with its key.
    Certificate,
    /// Who calls.
    Consumer,
    /// What digests are keyed with.
    Keyring,
    /// What must hold for traffic.
    Policy,
    /// What to match and what to do.
    Route,
    /// What must hold of a request.
    Test,
    /// The servers behind a name.
    Upstream,
}

/// All kinds, in their order.
pub const KINDS: [Kind; 7] =
    [Kind::Certificate, Kind::Consumer, Kind::Keyring, Kind::Policy, Kind::Route, Kind::Test, Kind::Upstream];

impl Kind {
    /// The kind's name in the singular: `route`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Certificate => "certificate",
            Kind::Consumer => "consumer",
            Kind::Keyring => "keyring",
            Kind::Policy => "policy",
            Kind::Route => "route",
            Kind::Test => "test",
            Kind::Upstream => "upstream",
        }
    }

    /// The kind's name in the plural, as in URLs and files: `routes`.
    pub const fn plural(self) -> &'static str {
        match self {
            Kind::Certificate => "certificates",
            Kind::Consumer => "consumers",
            Kind::Keyring => "keyrings",
            Kind::Policy => "policies",
            Kind::Route => "routes",
            Kind::Test => "tests",
            Kind::Upstream => "upstreams",
        }
    }

    /// The message that spells it, as in the `.proto` files.
    pub const fn message(self) -> &'static str {
        match self {
            Kind::Certificate => "portico.v1.Certificate",
            Kind::Consumer => "portico.v1.Consumer",
            Kind::Keyring => "portico.v1.Keyring",
            Kind::Policy => "portico.v1.Policy",
            Kind::Route => "portico.v1.Route",
            Kind::Test => "portico.v1.Test",
            Kind::Upstream => "portico.v1.Upstream",
        }
    }

    /// The kind of that name, singular or plural.
    pub fn parse(text: &str) -> Option<Kind> {
        KINDS.into_iter().find(|kind| kind.as_str() == text || kind.plural() == text)
    }
}

/// Which resource: kind and name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

/// A resource as it travels and is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// Which one.
    pub key: ResourceKey,
    /// The encoded message of its kind.
    pub payload: Bytes,
    /// Features without which a node must refuse it.
    pub requires: Vec<String>,
}

/// A step from one configuration to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create or replace.
    Put(Resource),
    /// Take away.
    Delete(ResourceKey),
}

/// A SHA-256.
pub type Hash = [u8; 32];

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Change ===

impl Change {
    /// What it changes.
    pub fn key(&self) -> &ResourceKey {
        match self {
            Change::Put(resource) => &resource.key,
            Change::Delete(key) => key,
        }
    }
}

// === impl ResourceKey ===

impl ResourceKey {
    /// A key of its parts.
    pub fn new(kind: Kind, name: Name) -> ResourceKey {
        ResourceKey { kind, name }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl fmt::Debug for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Resource ===

impl Resource {
    /// The leaf of the hash tree: SHA-256 over kind, name and payload, each with its length (8 bytes, big-endian)
    /// before it.
    pub fn leaf(&self) -> Hash {
        let mut hasher = Sha256::new();
        for part in [self.key.kind.as_str().as_bytes(), self.key.name.as_str().as_bytes(), &self.payload] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    /// From its message; the error names what this program does not know.
    pub fn from_message(message: pb::Resource) -> Result<Resource, String> {
        let kind = Kind::parse(&message.kind)
            .ok_or_else(|| format!("unknown kind {:?}; a newer control plane?", message.kind))?;
        let name = Name::parse(&message.name)?;
        Ok(Resource { key: ResourceKey { kind, name }, payload: message.payload, requires: message.requires })
    }
}

impl fmt::Debug for Resource {
    // A payload may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.key, self.payload.len())
    }
}

impl fmt::Debug for pb::Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}({} bytes)", self.kind, self.name, self.payload.len())
    }
}

impl From<&Resource> for pb::Resource {
    fn from(resource: &Resource) -> pb::Resource {
        pb::Resource {
            kind: resource.key.kind.as_str().into(),
            name: resource.key.name.to_string(),
            payload: resource.payload.clone(),
            requires: resource.requires.clone(),
        }
    }
}
