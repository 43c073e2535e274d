//! What browsers are told to be careful about.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use proto::policy::SecurityHeaders;
use std::sync::Arc;

/// What tells which software answers.
const SOFTWARE: [HeaderName; 4] = [
    header::SERVER,
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-aspnet-version"),
    HeaderName::from_static("x-aspnetmvc-version"),
];

/// The policy, alive.
#[derive(Debug)]
pub(crate) struct SecurityHeadersFilter {
    policy: Arc<SecurityHeaders>,
}

// === impl SecurityHeadersFilter ===

impl SecurityHeadersFilter {
    pub(super) fn build(policy: &Arc<SecurityHeaders>) -> SecurityHeadersFilter {
        SecurityHeadersFilter { policy: policy.clone() }
    }

    pub(super) fn touched(&self) -> Vec<HeaderName> {
        let policy = &*self.policy;
        let written = policy.set.iter().chain(&policy.default).map(|(name, _)| name.clone());
        let content = policy.content_security_policy.iter().map(|_| header::CONTENT_SECURITY_POLICY);
        let frames = policy.removes_frame_options().then_some(header::X_FRAME_OPTIONS);
        let software = SOFTWARE.into_iter().filter(|_| policy.hides_software);
        written.chain(content).chain(frames).chain(software).collect()
    }

    pub(super) fn response(&self, headers: &mut HeaderMap) {
        let policy = &*self.policy;
        for (name, value) in &policy.set {
            headers.insert(name, HeaderValue::clone(value));
        }
        for (name, value) in &policy.default {
            if !headers.contains_key(name) {
                headers.insert(name, HeaderValue::clone(value));
            }
        }
        if let Some(value) = &policy.content_security_policy {
            headers.append(header::CONTENT_SECURITY_POLICY, value.clone());
        }
        if policy.removes_frame_options() {
            headers.remove(header::X_FRAME_OPTIONS);
        }
        if policy.hides_software {
            SOFTWARE.iter().for_each(|name| drop(headers.remove(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_yield_and_what_was_said_does_not() {
        let value = HeaderValue::from_static;
        let policy = SecurityHeaders {
            set: vec![(header::X_CONTENT_TYPE_OPTIONS, value("nosniff"))],
            default: vec![(header::REFERRER_POLICY, value("origin"))],
            content_security_policy: Some(value("frame-ancestors 'self'")),
            hides_software: true,
        };
        let filter = SecurityHeadersFilter::build(&Arc::new(policy));
        let mut headers = HeaderMap::new();
        for (name, said) in [
            (header::X_CONTENT_TYPE_OPTIONS, "sniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
            (header::X_FRAME_OPTIONS, "ALLOWALL"),
            (header::SERVER, "nginx"),
            (SOFTWARE[1].clone(), "php"),
        ] {
            headers.append(name, value(said));
        }
        filter.response(&mut headers);
        let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        all.sort();
        let expect = [
            ("content-security-policy", "default-src 'self'"),
            ("content-security-policy", "frame-ancestors 'self'"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ];
        assert_eq!(all, expect);
    }
}
