//! Policies of a consumer's own: a list that many may have in common, as the limits of a plan.
//!
//! A list is known by a hash of what was said. A node makes filters of it once, however many consumers have it, and finds
//! them by that.

use crate::{invalid::Faults, name::Name, pb, policy::Attachment};
use prost::Message;
use sha2::{Digest, Sha256};

/// What tells lists apart: the beginning of a hash of all that was said.
pub type PoliciesKey = [u8; 16];

/// The policies of a consumer, checked; at least one.
#[derive(Debug)]
pub struct OwnPolicies {
    /// Which list it is.
    pub key: PoliciesKey,
    /// In their order.
    pub attachments: Box<[Attachment]>,
    /// Whose it is, if one stands inline and the list so is nobody else's.
    pub owner: Option<Name>,
}

// === impl OwnPolicies ===

impl OwnPolicies {
    pub(super) fn check(consumer: &str, messages: &[pb::Policy], faults: &mut Faults) -> Option<OwnPolicies> {
        if messages.is_empty() {
            return None;
        }
        let attachments = Attachment::check_list_of_consumer(messages, faults);
        let is_inline = attachments.iter().any(|attachment| matches!(attachment, Attachment::Inline(_)));
        let owner = if is_inline { Some(Name::parse(consumer).ok()?) } else { None };
        let mut hasher = Sha256::new_with_prefix(owner.as_ref().map_or("", |owner| owner.as_str()));
        for message in messages {
            hasher.update(message.encode_length_delimited_to_vec());
        }
        let mut key = PoliciesKey::default();
        key.copy_from_slice(&hasher.finalize()[..16]);
        Some(OwnPolicies { key, attachments: attachments.into(), owner })
    }
}
