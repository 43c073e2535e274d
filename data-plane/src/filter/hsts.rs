//! Have browsers come by https only: what is said in cleartext anybody could have said (RFC 6797, 7.2).

use crate::context::Context;
use http::{HeaderMap, HeaderName, HeaderValue, header::STRICT_TRANSPORT_SECURITY};
use proto::{matching::Scheme, policy::Hsts};

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct HstsFilter {
    value: HeaderValue,
}

// === impl HstsFilter ===

impl HstsFilter {
    pub(super) fn build(policy: &Hsts) -> HstsFilter {
        HstsFilter { value: policy.value.clone() }
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        vec![STRICT_TRANSPORT_SECURITY]
    }

    pub(super) fn response(&self, context: &Context, headers: &mut HeaderMap) {
        match context.scheme {
            Scheme::Https => drop(headers.insert(STRICT_TRANSPORT_SECURITY, self.value.clone())),
            Scheme::Http => drop(headers.remove(STRICT_TRANSPORT_SECURITY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn over_https_it_is_said_once_and_in_cleartext_never() {
        let filter = HstsFilter { value: HeaderValue::from_static("max-age=1") };
        let mut context = Context::of_request(Method::GET, "/");
        for (scheme, expect) in [(Scheme::Https, vec!["max-age=1"]), (Scheme::Http, vec![])] {
            context.scheme = scheme;
            for upstream in [&["max-age=9", "max-age=8"][..], &[]] {
                let mut headers = HeaderMap::new();
                for value in upstream {
                    headers.append(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(value));
                }
                filter.response(&context, &mut headers);
                assert_eq!(Vec::from_iter(headers.get_all(STRICT_TRANSPORT_SECURITY)), expect);
            }
        }
    }
}
