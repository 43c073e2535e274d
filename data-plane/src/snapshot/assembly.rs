//! Puts the chunks of a configuration together: of one identity, in order, nothing between them, and not without end.

use otel::TraceContext;
use proto::{identity::Identity, pb};

/// The largest configuration, in bytes of its messages.
pub(crate) const MAX_WHOLE: usize = 1 << 30;

/// A whole configuration as it came.
#[derive(Debug)]
pub(crate) struct Whole {
    /// What it says it is.
    pub(crate) identity: Identity,
    /// All its resources.
    pub(crate) resources: Vec<pb::Resource>,
    /// The span of the change that made it.
    pub(crate) trace: Option<TraceContext>,
}

/// A configuration of which the end has not come.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    begun: Option<Whole>,
    bytes: usize,
}

/// Why chunks cannot be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssemblyError {
    /// A part of an identity has the wrong length.
    #[error("a chunk says no identity that this version understands")]
    Unidentified,
    /// Two configurations are mixed.
    #[error("chunks of {0} and {1} are mixed")]
    Mixed(Identity, Identity),
    /// Too much.
    #[error("the configuration {0} is larger than {limit} MiB", limit = MAX_WHOLE >> 20)]
    TooLarge(Identity),
}

// === impl Assembly ===

impl Assembly {
    /// Takes the next chunk; the whole, if this was the last one. After an error it begins anew.
    pub(crate) fn add(&mut self, chunk: pb::SnapshotChunk) -> Result<Option<Whole>, AssemblyError> {
        let begun = self.begun.take();
        let identity = chunk.identity.as_ref().and_then(Identity::from_message).ok_or(AssemblyError::Unidentified)?;
        let mut whole = match begun {
            None => {
                self.bytes = 0;
                Whole { identity, resources: Vec::new(), trace: TraceContext::parse(chunk.traceparent.as_bytes()) }
            }
            Some(whole) if whole.identity == identity => whole,
            Some(whole) => return Err(AssemblyError::Mixed(whole.identity, identity)),
        };
        self.bytes += chunk.resources.iter().map(size).sum::<usize>();
        if self.bytes > MAX_WHOLE {
            return Err(AssemblyError::TooLarge(identity));
        }
        whole.resources.extend(chunk.resources);
        if chunk.last {
            return Ok(Some(whole));
        }
        self.begun = Some(whole);
        Ok(None)
    }
}

// What it takes in memory, about: small resources must not hide behind the size of their payload.
fn size(resource: &pb::Resource) -> usize {
    let texts = resource.requires.iter().map(|feature| feature.len() + size_of::<String>()).sum::<usize>();
    resource.payload.len() + resource.name.len() + texts + size_of::<pb::Resource>()
}
