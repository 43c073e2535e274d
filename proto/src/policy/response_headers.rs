//! Change the headers of the response: remove, then set, then add.

use crate::{
    fields::{HeaderTemplate, check_header_names, check_headers},
    invalid::Faults,
    pb,
};
use http::HeaderName;

/// What is done to the headers of a response, in this order.
#[derive(Clone, Debug)]
pub struct ResponseHeaders {
    /// Taken out.
    pub remove: Vec<HeaderName>,
    /// Put in place of any of the same name.
    pub set: Vec<HeaderTemplate>,
    /// Put beside any of the same name.
    pub add: Vec<HeaderTemplate>,
}

impl ResponseHeaders {
    pub(super) fn check(message: &pb::ResponseHeaders, faults: &mut Faults) -> Option<ResponseHeaders> {
        let before = faults.count();
        let policy = ResponseHeaders {
            remove: check_header_names("remove", &message.remove, faults),
            set: check_headers("set", &message.set, None, faults),
            add: check_headers("add", &message.add, None, faults),
        };
        if policy.remove.is_empty() && policy.set.is_empty() && policy.add.is_empty() && faults.count() == before {
            faults.note("a policy that changes nothing; give `remove`, `set` or `add`");
        }
        (faults.count() == before).then_some(policy)
    }
}
