//! What an answer that lets a request pass changes of it, as far as the policy allows.
//!
//! What the server says goes on, and what the client said of the same never does.

use crate::{
    context::{Context, HeaderChange, Placing, remove_alike},
    filter::asking::Unanswered,
};
use bytes::Bytes;
use http::{HeaderName, uri::PathAndQuery};
use proto::{
    matching::decode_form,
    policy::{ExtAuth, ExtAuthForm, form},
};

/// What is changed; without any of it, what the policy takes from the server alone is taken out.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Headers for the upstream.
    pub(super) upstream: Vec<HeaderChange>,
    /// Headers of the request that the upstream does not get.
    pub(super) removed: Vec<HeaderName>,
    /// Parameters of the query for the upstream.
    pub(super) query: Vec<(Bytes, Bytes)>,
    /// Headers for the client.
    pub(super) client: Vec<HeaderChange>,
}

// === impl Changes ===

impl Changes {
    /// Changes the request; all of it, or nothing. What is for the client waits there for that filter.
    pub(super) fn apply(self, policy: &ExtAuth, context: &mut Context, filter: usize) -> Result<(), Unanswered> {
        let Changes { mut upstream, removed, query, client } = self;
        if let ExtAuthForm::Grpc(grpc) = &policy.form
            && !grpc.query.is_empty()
        {
            context.target = put(&context.target, &grpc.query, &query)?;
        }
        let headers = &mut context.headers;
        // That the client sent one counts, and what it said does not.
        upstream.retain(|change| change.how != Placing::InPlaceOnly || headers.contains_key(&change.name));
        remove_alike(headers, policy.to_upstream.iter().chain(&removed));
        for mut change in upstream {
            if change.how == Placing::InPlaceOnly {
                change.how = Placing::InPlace;
            }
            change.apply(headers);
        }
        context.for_client.extend(client.into_iter().map(|change| (filter, change)));
        Ok(())
    }
}

// The target with these parameters in place of all that have one of the names; what is not named stays byte for byte.
fn put(target: &PathAndQuery, names: &[Box<[u8]>], set: &[(Bytes, Bytes)]) -> Result<PathAndQuery, Unanswered> {
    let old = target.query().unwrap_or_default();
    let is_kept = |pair: &&str| {
        let name = decode_form(pair.split('=').next().unwrap_or_default());
        !names.iter().any(|taken| **taken == *name)
    };
    let kept = old.split('&').filter(|_| !old.is_empty()).filter(is_kept).map(String::from);
    let set = set.iter().map(|(name, value)| [form(name), form(value)].join("="));
    let pairs: Vec<String> = kept.chain(set).collect();
    let path = target.path();
    let target = if pairs.is_empty() { path.to_string() } else { [path, &pairs.join("&")].join("?") };
    PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| Unanswered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_has_what_the_server_says_in_place_of_what_the_client_says() {
        let check = |target: &'static str, set: &[(&'static [u8], &'static [u8])], expect: Option<&str>| {
            let names: [Box<[u8]>; 2] = [b"user".as_slice().into(), b"a b".as_slice().into()];
            let set: Vec<(Bytes, Bytes)> =
                set.iter().map(|(name, value)| (Bytes::from_static(name), Bytes::from_static(value))).collect();
            let put = put(&PathAndQuery::from_static(target), &names, &set).ok();
            assert_eq!(put.as_ref().map(PathAndQuery::as_str), expect, "{target}");
        };
        check("/x?a=%7e&user=eve&us%65r=root&&b", &[], Some("/x?a=%7e&&b"));
        check("/x?user", &[], Some("/x"));
        check("/x?a+b=1&c=2", &[(b"user", b"ada")], Some("/x?c=2&user=ada"));
        check("/x", &[(b"a b", b"\r\n&x=1#\xff"), (b"user", b"")], Some("/x?a%20b=%0D%0A%26x%3D1%23%FF&user="));
        check("/x?user=eve", &[(b"user", &[b'x'; 70_000])], None);
    }
}
