//! Rows as both databases have them, and what they mean.

use super::{Recalled, Revision, Stand, StoreError, error::corrupt, seal::Seal};
use otel::TraceContext;
use proto::{
    identity::Identity,
    name::Name,
    resource::{Change, Kind, Resource, ResourceKey},
};
use sqlx::FromRow;
use time::OffsetDateTime;

#[derive(FromRow)]
pub(super) struct StandRow {
    history: Vec<u8>,
    revision: i64,
    root: Vec<u8>,
    at: OffsetDateTime,
    traceparent: Option<String>,
}

#[derive(FromRow)]
pub(super) struct ResourceRow {
    kind: String,
    name: String,
    payload: Vec<u8>,
    requires: String,
    sealed_by: Option<String>,
}

#[derive(FromRow)]
pub(super) struct ChangeRow {
    revision: i64,
    kind: String,
    name: String,
    payload: Option<Vec<u8>>,
    requires: String,
    sealed_by: Option<String>,
}

#[derive(FromRow)]
pub(super) struct RevisionRow {
    revision: i64,
    at: OffsetDateTime,
    author: String,
    reason: Option<String>,
    root: Vec<u8>,
    resources: i64,
    confirmed_shrink: bool,
}

#[derive(FromRow)]
pub(super) struct KeyRow {
    digest: Vec<u8>,
    revision: i64,
}

/// A change as both databases take it.
pub(super) struct ChangeColumns<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    /// `None`: taken away.
    pub(super) payload: Option<Vec<u8>>,
    /// The key that it is sealed with.
    pub(super) sealed_by: Option<&'a str>,
    pub(super) requires: String,
    pub(super) spec: String,
}

// === impl StandRow ===

impl TryFrom<StandRow> for Stand {
    type Error = StoreError;

    fn try_from(row: StandRow) -> Result<Stand, StoreError> {
        let identity =
            Identity { history: fixed(&row.history)?, revision: unsigned(row.revision)?, root: fixed(&row.root)? };
        let trace = row.traceparent.and_then(|text| TraceContext::parse(text.as_bytes()));
        Ok(Stand { identity, at: row.at, trace })
    }
}

// === impl ResourceRow ===

impl ResourceRow {
    pub(super) fn open(self, seal: &Seal) -> Result<Resource, StoreError> {
        let requires = serde_json::from_str(&self.requires).map_err(|error| corrupt(error.to_string()))?;
        let key = key(&self.kind, &self.name)?;
        let payload = seal.open(&key, self.payload, self.sealed_by.as_deref())?.into();
        Ok(Resource { key, payload, requires })
    }
}

// === impl ChangeRow ===

impl ChangeRow {
    pub(super) fn open(self, seal: &Seal) -> Result<(u64, Change), StoreError> {
        let ChangeRow { revision, kind, name, payload, requires, sealed_by } = self;
        let change = match payload {
            Some(payload) => Change::Put(ResourceRow { kind, name, payload, requires, sealed_by }.open(seal)?),
            None => Change::Delete(key(&kind, &name)?),
        };
        Ok((unsigned(revision)?, change))
    }
}

// === impl RevisionRow ===

impl TryFrom<RevisionRow> for Revision {
    type Error = StoreError;

    fn try_from(row: RevisionRow) -> Result<Revision, StoreError> {
        let RevisionRow { revision, at, author, reason, root, resources, confirmed_shrink } = row;
        let (revision, resources) = (unsigned(revision)?, unsigned(resources)?);
        Ok(Revision { revision, at, author, reason, root: fixed(&root)?, resources, confirmed_shrink })
    }
}

// === impl KeyRow ===

impl TryFrom<KeyRow> for Recalled {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Recalled, StoreError> {
        Ok(Recalled { digest: fixed(&row.digest)?, revision: unsigned(row.revision)? })
    }
}

// === impl ChangeColumns ===

impl<'a> ChangeColumns<'a> {
    pub(super) fn of(change: &'a Change, seal: &'a Seal) -> ChangeColumns<'a> {
        let (key, resource) = match change {
            Change::Put(resource) => (&resource.key, Some(resource)),
            Change::Delete(key) => (key, None),
        };
        let (payload, sealed_by) = match resource.map(|resource| seal.close(resource)) {
            Some((payload, by)) => (Some(payload), by),
            None => (None, None),
        };
        let requires = resource.map_or(&[][..], |resource| &resource.requires);
        ChangeColumns {
            kind: key.kind.as_str(),
            name: key.name.as_str(),
            payload,
            sealed_by,
            requires: serde_json::Value::from(requires).to_string(),
            spec: resource.map_or_else(|| "null".into(), spec),
        }
    }
}

// For reading only, so what a `jsonb` cannot hold may be replaced.
fn spec(resource: &Resource) -> String {
    proto::json::write(resource).to_string().replace("\\u0000", "\\ufffd")
}

fn key(kind: &str, name: &str) -> Result<ResourceKey, StoreError> {
    let kind = Kind::parse(kind).ok_or_else(|| corrupt(format!("unknown kind {kind:?}; upgrade the control plane")))?;
    Ok(ResourceKey::new(kind, Name::parse(name).map_err(corrupt)?))
}

/// Resources as they are stored; the first that cannot be ends it.
pub(super) fn open_resources(rows: Vec<ResourceRow>, seal: &Seal) -> Result<Vec<Resource>, StoreError> {
    rows.into_iter().map(|row| row.open(seal)).collect()
}

/// Changes as they are stored; the first that cannot be ends it.
pub(super) fn open_changes(rows: Vec<ChangeRow>, seal: &Seal) -> Result<Vec<(u64, Change)>, StoreError> {
    rows.into_iter().map(|row| row.open(seal)).collect()
}

/// Rows to what they mean; the first that cannot be ends it.
pub(super) fn read<R, T: TryFrom<R, Error = StoreError>>(rows: Vec<R>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(T::try_from).collect()
}

/// Bytes that are always so many.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| corrupt(format!("{} bytes where {N} have to be", bytes.len())))
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| corrupt(format!("the number {number} where none is below 0")))
}
