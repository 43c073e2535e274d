//! How a node stands in a row: what is compared in columns, the rest as JSON that newer and older versions read alike.

use crate::{
    nodes::{News, NodeHealth, NodeStatus, RefusedStatus, RunningStatus},
    store::status::StatusRow,
};
use proto::{
    identity::{Identity, hex},
    invalid::Invalid,
    name::Name,
    resource::{Kind, ResourceKey},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use time::OffsetDateTime;

/// The longest details that are kept whole.
const MAX_DETAIL: usize = 64 * 1024;

/// How many faults, and upstreams, are kept of longer ones.
const KEPT: usize = 10;

/// Who a node is, what it runs and what it refused.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(super) struct Summary {
    build: String,
    labels: BTreeMap<String, String>,
    peer: Option<String>,
    status_address: Option<String>,
    pub(super) draining: bool,
    running: Option<Stands>,
    persisted: bool,
    refused: Option<Stands>,
}

/// Which configuration.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "Which", into = "Which")]
struct Stands(Identity);

#[derive(Deserialize, Serialize)]
struct Which {
    history: String,
    revision: u64,
    root: String,
}

/// What takes room.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Detail {
    faults: Vec<Fault>,
    health: NodeHealth,
}

#[derive(Debug, Deserialize, Serialize)]
struct Fault {
    resource: Option<String>,
    pointer: String,
    detail: String,
}

/// How long ago it was that what is told of a node became true.
pub(super) struct Ages {
    pub(super) since: Duration,
    pub(super) seen: Duration,
    pub(super) running: Option<Duration>,
    pub(super) refused: Option<Duration>,
}

/// A node as it is written.
pub(super) fn row(news: &News) -> StatusRow {
    let (status, clock) = (&news.status, OffsetDateTime::now_utc());
    let age = |at: OffsetDateTime| (clock - at).try_into().unwrap_or(Duration::ZERO);
    StatusRow {
        id: status.id.clone(),
        control_plane: status.control_plane.clone(),
        written: news.written,
        connected: status.connected,
        since: news.since.elapsed(),
        seen: news.seen.elapsed(),
        running: status.running.as_ref().map(|running| age(running.since)),
        refused: status.refused.as_ref().map(|refused| age(refused.at)),
        summary: Summary::of(status).text(),
        detail: Detail::of(status).text(),
    }
}

/// Adds to a node what its row has beside the summary.
pub(super) fn add_detail(status: &mut NodeStatus, text: &str) {
    let detail: Detail = serde_json::from_str(text).unwrap_or_default();
    status.health = detail.health;
    if let Some(refused) = &mut status.refused {
        refused.faults = detail.faults.into_iter().map(Invalid::from).collect();
    }
}

// === impl Summary ===

impl Summary {
    fn of(status: &NodeStatus) -> Summary {
        Summary {
            build: status.build.clone(),
            labels: status.labels.clone(),
            peer: status.peer.clone(),
            status_address: status.status_address.clone(),
            draining: status.draining,
            running: status.running.as_ref().map(|running| Stands(running.identity)),
            persisted: status.running.as_ref().is_some_and(|running| running.persisted),
            refused: status.refused.as_ref().map(|refused| Stands(refused.identity)),
        }
    }

    /// Of its text. What another version wrote and this one cannot read is a node of which nothing is known.
    pub(super) fn read(text: &str) -> Summary {
        serde_json::from_str(text).unwrap_or_default()
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("it has only strings as keys")
    }

    /// What it runs.
    pub(super) fn running(&self) -> Option<&Identity> {
        self.running.as_ref().map(|running| &running.0)
    }

    /// What it refused.
    pub(super) fn refused(&self) -> Option<&Identity> {
        self.refused.as_ref().map(|refused| &refused.0)
    }

    /// The node, without what takes room; whether it is live is for who knows the silences.
    pub(super) fn status(&self, id: &str, control_plane: &str, connected: bool, ages: &Ages) -> NodeStatus {
        let clock = OffsetDateTime::now_utc();
        let at = |age: Duration| clock - age;
        let (running, refused) = (self.running().zip(ages.running), self.refused().zip(ages.refused));
        NodeStatus {
            id: id.into(),
            control_plane: control_plane.into(),
            build: self.build.clone(),
            labels: self.labels.clone(),
            peer: self.peer.clone(),
            status_address: self.status_address.clone(),
            connected,
            connected_since: at(ages.since),
            last_seen: at(ages.seen),
            live: false,
            running: running.map(|(&identity, age)| RunningStatus {
                identity,
                since: at(age),
                persisted: self.persisted,
            }),
            refused: refused.map(|(&identity, age)| RefusedStatus { identity, faults: Vec::new(), at: at(age) }),
            draining: self.draining,
            health: NodeHealth::default(),
        }
    }
}

// === impl Stands ===

impl TryFrom<Which> for Stands {
    type Error = &'static str;

    fn try_from(which: Which) -> Result<Stands, &'static str> {
        let (history, root) = (bytes(&which.history), bytes(&which.root));
        let (history, root) = history.zip(root).ok_or("no identity of a configuration")?;
        Ok(Stands(Identity { history, revision: which.revision, root }))
    }
}

impl From<Stands> for Which {
    fn from(Stands(identity): Stands) -> Which {
        Which { history: hex(&identity.history), revision: identity.revision, root: hex(&identity.root) }
    }
}

// === impl Detail ===

impl Detail {
    fn of(status: &NodeStatus) -> Detail {
        let faults = status.refused.iter().flat_map(|refused| &refused.faults).map(Fault::of).collect();
        Detail { faults, health: status.health.clone() }
    }

    fn text(mut self) -> String {
        let write = |detail: &Detail| serde_json::to_string(detail).expect("it has only strings as keys");
        let text = write(&self);
        if text.len() <= MAX_DETAIL {
            return text;
        }
        self.faults.truncate(KEPT);
        let upstreams = &mut self.health.upstreams;
        let omitted = u32::try_from(upstreams.len().saturating_sub(KEPT)).unwrap_or(u32::MAX);
        self.health.omitted = self.health.omitted.saturating_add(omitted);
        upstreams.truncate(KEPT);
        write(&self)
    }
}

// === impl Fault ===

impl Fault {
    fn of(fault: &Invalid) -> Fault {
        let resource = fault.resource.as_ref().map(ToString::to_string);
        Fault { resource, pointer: fault.pointer.clone(), detail: fault.detail.clone() }
    }
}

impl From<Fault> for Invalid {
    fn from(Fault { resource, pointer, detail }: Fault) -> Invalid {
        let key = |text: String| {
            let (kind, name) = text.split_once('/')?;
            Some(ResourceKey::new(Kind::parse(kind)?, Name::parse(name).ok()?))
        };
        Invalid { resource: resource.and_then(key), pointer, detail }
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = hex.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{EndpointDown, UpstreamHealth};
    use std::time::Instant;

    fn status(faults: usize, upstreams: usize) -> NodeStatus {
        let at = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        let identity = Identity { history: [0xa1; 16], revision: u64::MAX / 3, root: [0x0f; 32] };
        let resource = ResourceKey::new(Kind::Route, Name::parse("a").unwrap());
        let fault = Invalid { resource: Some(resource), pointer: "/match\u{0}".into(), detail: "x".repeat(1_024) };
        let down = EndpointDown { address: "10.0.0.1:80".into(), reason: "check".into(), since: at };
        let upstream = UpstreamHealth { name: "u".into(), endpoints: 3, healthy: 2, down: vec![down; 16] };
        NodeStatus {
            id: "n".into(),
            control_plane: "other:7081".into(),
            build: "1".into(),
            labels: BTreeMap::from([("zone\u{0}".to_owned(), "\u{fffd}\"a".to_owned())]),
            peer: Some("10.0.0.7:40000".into()),
            status_address: None,
            connected: true,
            connected_since: at,
            last_seen: at,
            live: false,
            running: Some(RunningStatus { identity, since: at, persisted: true }),
            refused: Some(RefusedStatus { identity, faults: vec![fault; faults], at }),
            draining: true,
            health: NodeHealth { upstreams: vec![upstream; upstreams], omitted: 4 },
        }
    }

    fn read(row: &StatusRow) -> NodeStatus {
        let ages = Ages { since: row.since, seen: row.seen, running: row.running, refused: row.refused };
        let mut status = Summary::read(&row.summary).status(&row.id, &row.control_plane, row.connected, &ages);
        add_detail(&mut status, &row.detail);
        status
    }

    fn written(status: NodeStatus) -> StatusRow {
        let now = Instant::now();
        row(&News { status, since: now, seen: now, written: 7 })
    }

    #[test]
    fn a_node_is_read_as_it_was_written() {
        let status = status(2, 3);
        let read = read(&written(status.clone()));
        let near = |a: OffsetDateTime, b: OffsetDateTime| (a - b).abs() < time::Duration::minutes(1);
        let (running, refused) = (read.running.as_ref().unwrap(), read.refused.as_ref().unwrap());
        assert!(near(running.since, status.running.as_ref().unwrap().since));
        assert!(near(refused.at, status.refused.as_ref().unwrap().at));
        assert_eq!(running.identity, status.running.as_ref().unwrap().identity);
        assert!(running.persisted && read.draining && read.connected);
        assert_eq!(refused.faults, status.refused.as_ref().unwrap().faults);
        assert_eq!(read.health, status.health);
        assert_eq!((read.build, read.labels, read.peer), (status.build, status.labels, status.peer));
    }

    #[test]
    fn long_details_are_cut_and_say_so() {
        let row = written(status(100, 100));
        assert!(row.detail.len() <= 2 * MAX_DETAIL, "{}", row.detail.len());
        let read = read(&row);
        assert_eq!((read.health.upstreams.len(), read.health.omitted), (KEPT, 4 + 90));
        assert_eq!(read.refused.unwrap().faults.len(), KEPT);
    }

    #[test]
    fn what_another_version_wrote_is_no_end() {
        let ages = Ages { since: Duration::ZERO, seen: Duration::ZERO, running: Some(Duration::ZERO), refused: None };
        for text in ["", "null", "{\"running\":{\"history\":\"zz\",\"revision\":1,\"root\":\"\"}}", "{\"more\":[]}"] {
            let status = Summary::read(text).status("n", "other", true, &ages);
            assert!(status.running.is_none(), "{text}");
        }
    }
}
