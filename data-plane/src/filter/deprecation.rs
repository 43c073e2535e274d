//! Tell clients that what they use will go away (RFC 9745, RFC 8594).

use http::{HeaderMap, HeaderName, HeaderValue, header};
use proto::policy::Deprecation;
use std::sync::Arc;

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct DeprecationFilter {
    policy: Arc<Deprecation>,
}

// === impl DeprecationFilter ===

impl DeprecationFilter {
    pub(super) fn build(policy: &Arc<Deprecation>) -> DeprecationFilter {
        DeprecationFilter { policy: policy.clone() }
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        let Deprecation { since: _, sunset, links } = &*self.policy;
        let sunset = sunset.iter().map(|_| SUNSET);
        let link = links.first().map(|_| header::LINK);
        [DEPRECATION].into_iter().chain(sunset).chain(link).collect()
    }

    // In place of what the upstream says of it; its links of other kinds stay.
    pub(super) fn response(&self, headers: &mut HeaderMap) {
        let Deprecation { since, sunset, links } = &*self.policy;
        headers.insert(DEPRECATION, HeaderValue::clone(since));
        if let Some(sunset) = sunset {
            headers.insert(SUNSET, sunset.clone());
        }
        for link in links {
            headers.append(header::LINK, link.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_the_upstream_stay() {
        let value = HeaderValue::from_static;
        let policy = Deprecation { since: value("@1"), sunset: Some(value("then")), links: vec![value("</v2>")] };
        let filter = DeprecationFilter::build(&Arc::new(policy));
        let mut headers = HeaderMap::new();
        headers.insert(header::LINK, value("</next>"));
        headers.insert(DEPRECATION, value("@0"));
        filter.response(&mut headers);
        let all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(all, [("link", "</next>"), ("link", "</v2>"), ("deprecation", "@1"), ("sunset", "then")]);
    }
}
