//! What is sent to nodes, encoded: once a revision, shared by all streams.

use crate::publisher::Head;
use bytes::Bytes;
use prost::Message;
use proto::{
    identity::Identity,
    json::secrets,
    pb::{self, control_message},
};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The most bytes of resources in one message.
const CHUNK: usize = 1024 * 1024;

/// The newest configuration, encoded.
#[derive(Default)]
pub(super) struct Frames {
    newest: Mutex<Option<(Identity, Arc<[Bytes]>)>>,
    // Whether that of the identity holds a secret.
    secrets: Mutex<Option<(Identity, bool)>>,
}

// === impl Frames ===

impl Frames {
    /// The messages of a configuration. The first who asks encodes it, the others wait for that.
    pub(super) async fn of(&self, head: &Arc<Head>) -> Arc<[Bytes]> {
        let mut newest = self.newest.lock().await;
        if let Some((identity, frames)) = newest.as_ref()
            && *identity == head.identity
        {
            return frames.clone();
        }
        let (head, identity) = (head.clone(), head.identity);
        let frames = tokio::task::spawn_blocking(move || encode_snapshot(&head)).await;
        let frames = frames.expect("encoding what is in memory cannot fail");
        *newest = Some((identity, frames.clone()));
        frames
    }

    /// Whether a configuration holds a secret. Found out once, and only if somebody asks.
    pub(super) async fn hold_secrets(&self, head: &Arc<Head>) -> bool {
        let mut known = self.secrets.lock().await;
        if let Some((identity, holds)) = *known
            && identity == head.identity
        {
            return holds;
        }
        let (looked_at, identity) = (head.clone(), head.identity);
        let look = move || looked_at.snapshot.entries().any(|entry| secrets::has(&entry.resource));
        let holds = tokio::task::spawn_blocking(look).await.expect("to look at what is in memory cannot fail");
        *known = Some((identity, holds));
        holds
    }
}

/// The answer to a node that has the head.
pub(super) fn in_sync(head: &Identity) -> Bytes {
    encode(control_message::Message::InSync(pb::InSync { head: Some(head.into()) }))
}

/// The control plane is there.
pub(super) fn heartbeat(head: &Identity) -> Bytes {
    encode(control_message::Message::Heartbeat(pb::ControlHeartbeat { head: Some(head.into()) }))
}

fn encode_snapshot(head: &Head) -> Arc<[Bytes]> {
    let mut frames = Vec::new();
    let mut resources = Vec::new();
    let mut size = 0;
    let traceparent = head.trace.map(|trace| trace.to_string()).unwrap_or_default();
    let chunk = |resources, last| {
        let (identity, traceparent) = (Some((&head.identity).into()), traceparent.clone());
        encode(control_message::Message::Snapshot(pb::SnapshotChunk { identity, resources, last, traceparent }))
    };
    for entry in head.snapshot.entries() {
        let resource = pb::Resource::from(&entry.resource);
        let length = resource.encoded_len();
        if size + length > CHUNK {
            frames.push(chunk(std::mem::take(&mut resources), false));
            size = 0;
        }
        size += length;
        resources.push(resource);
    }
    frames.push(chunk(resources, true));
    frames.into()
}

fn encode(message: control_message::Message) -> Bytes {
    pb::ControlMessage { message: Some(message) }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{
        name::Name,
        resource::{Change, Kind, Resource, ResourceKey},
        snapshot::Snapshot,
    };
    use time::OffsetDateTime;

    fn head_of(routes: usize, body: usize) -> Head {
        let put = |at: usize| {
            let name = format!("route-{at}");
            let respond = pb::Respond { body: "x".repeat(body), ..Default::default() };
            let path = pb::PathMatch { kind: Some(pb::path_match::Kind::Exact(format!("/{at}"))) };
            let message = pb::Route {
                name: name.clone(),
                r#match: Some(pb::Match { path: Some(path), ..Default::default() }),
                action: Some(pb::route::Action::Respond(respond)),
                ..Default::default()
            };
            let key = ResourceKey::new(Kind::Route, Name::parse(&name).unwrap());
            Change::Put(Resource { key, payload: message.encode_to_vec().into(), requires: Vec::new() })
        };
        let snapshot = Snapshot::empty().with((0..routes).map(put)).unwrap();
        let identity = Identity { history: [7; 16], revision: 3, root: snapshot.root() };
        Head { identity, snapshot, at: OffsetDateTime::UNIX_EPOCH, trace: None }
    }

    fn chunks(head: &Head) -> Vec<pb::SnapshotChunk> {
        let decode = |frame: &Bytes| match pb::ControlMessage::decode(frame.clone()).unwrap().message.unwrap() {
            control_message::Message::Snapshot(chunk) => chunk,
            other => panic!("no chunk: {other:?}"),
        };
        encode_snapshot(head).iter().map(decode).collect()
    }

    #[test]
    fn a_small_configuration_is_one_message() {
        for head in [head_of(0, 0), head_of(3, 10)] {
            let chunks = chunks(&head);
            assert_eq!(chunks.len(), 1);
            assert!(chunks[0].last);
            assert_eq!(chunks[0].resources.len(), head.snapshot.len());
        }
    }

    #[test]
    fn a_large_configuration_comes_whole_in_messages_of_at_most_a_mebibyte() {
        let head = head_of(50, 60_000);
        let chunks = chunks(&head);
        assert!(chunks.len() >= 3);
        for (at, chunk) in chunks.iter().enumerate() {
            let size: usize = chunk.resources.iter().map(Message::encoded_len).sum();
            assert!(size <= CHUNK, "{size}");
            assert_eq!(chunk.last, at + 1 == chunks.len());
            assert_eq!(Identity::from_message(chunk.identity.as_ref().unwrap()), Some(head.identity));
        }
        let put = |resource| Change::Put(Resource::from_message(resource).unwrap());
        let received = chunks.into_iter().flat_map(|chunk| chunk.resources).map(put);
        assert_eq!(Snapshot::empty().with(received).unwrap().root(), head.identity.root);
    }
}
