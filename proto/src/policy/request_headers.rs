//! Change the headers of the request: remove, then set, then add.

use crate::{
    fields::{HeaderTemplate, check_header_names, check_headers},
    invalid::Faults,
    pb,
};
use http::{HeaderName, header};

/// Headers of a request that are the gateway's to write, and who says what is in them.
const OWN: [(HeaderName, &str); 3] = [
    (header::HOST, "`host` of `forward` says which host the upstream sees"),
    (header::EXPECT, "the gateway answers expectations itself"),
    (HeaderName::from_static("traceparent"), "the gateway writes which trace it is"),
];

/// What is done to the headers of a request, in this order.
#[derive(Clone, Debug)]
pub struct RequestHeaders {
    /// Taken out.
    pub remove: Vec<HeaderName>,
    /// Put in place of any of the same name.
    pub set: Vec<HeaderTemplate>,
    /// Put beside any of the same name.
    pub add: Vec<HeaderTemplate>,
}

impl RequestHeaders {
    pub(super) fn check(message: &pb::RequestHeaders, faults: &mut Faults) -> Option<RequestHeaders> {
        let before = faults.count();
        let policy = RequestHeaders {
            remove: check_header_names("remove", &message.remove, faults),
            set: check_headers("set", &message.set, None, faults),
            add: check_headers("add", &message.add, None, faults),
        };
        let set = message.set.iter().map(|header| ("set", &header.name));
        let add = message.add.iter().map(|header| ("add", &header.name));
        let remove = message.remove.iter().map(|name| ("remove", name));
        for (field, name) in remove.chain(set).chain(add) {
            if let Some((_, why)) = OWN.iter().find(|(own, _)| name.eq_ignore_ascii_case(own.as_str())) {
                faults.note_at(field, format!("{name:?} cannot be changed here: {why}"));
            }
        }
        if policy.remove.is_empty() && policy.set.is_empty() && policy.add.is_empty() && faults.count() == before {
            faults.note("a policy that changes nothing; give `remove`, `set` or `add`");
        }
        (faults.count() == before).then_some(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_writes_is_no_policys() {
        let header = |name: &str| pb::Header { name: name.into(), value: "{claims.sub}".into() };
        let check = |remove: &[&str], set: &[&str], add: &[&str]| {
            let mut faults = Faults::default();
            let message = pb::RequestHeaders {
                remove: remove.iter().map(ToString::to_string).collect(),
                set: set.iter().copied().map(header).collect(),
                add: add.iter().copied().map(header).collect(),
            };
            let policy = RequestHeaders::check(&message, &mut faults);
            let pointers: Vec<String> = faults.into_found().into_iter().map(|fault| fault.pointer).collect();
            assert_eq!(policy.is_some(), pointers.is_empty());
            pointers
        };
        assert!(check(&["x-a"], &["X-User"], &["x-b"]).is_empty());
        assert_eq!(check(&[], &[], &[]), [""]);
        assert_eq!(check(&["Host"], &["traceparent"], &["expect"]), ["/remove", "/set", "/add"]);
        assert_eq!(check(&["content-length"], &["connection"], &[]), ["/remove/0", "/set/0/name"]);
    }
}
