//! Headers that say who the client is. Services behind a gateway take them for proven, so from a stranger they are taken
//! out before any policy writes them, whether or not one does.
//!
//! The list is of what others write who authenticate in front of services: gateways (consumers, credentials), proxies that
//! log users in (oauth2-proxy, Authelia, authentik, Pomerium, the clouds' own), servers that end mutual TLS (RFC 9440 and
//! the usual names), CGI's user, and the plain names that services invent. What proves itself, as a signed token, is not
//! in it.

use http::{HeaderMap, HeaderName};

/// The names, in lower case; a star stands for whatever follows.
const PLAIN: [&str; 7] =
    ["client-cert", "client-cert-chain", "remote-email", "remote-groups", "remote-name", "remote-user", "ssl-client-*"];

/// The same that begin with `x-`, so that other names are done with sooner.
const EXTENDED: [&str; 42] = [
    "x-amzn-mtls-*",
    "x-amzn-oidc-identity",
    "x-anonymous-consumer",
    "x-arr-clientcert",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-request-*",
    "x-auth-roles",
    "x-auth-user",
    "x-auth-userid",
    "x-auth-username",
    "x-authenticated-*",
    "x-authentik-*",
    "x-client-cert*",
    "x-client-dn",
    "x-client-verify",
    "x-consumer-*",
    "x-credential-*",
    "x-email",
    "x-goog-authenticated-user-*",
    "x-groups",
    "x-jwt-claim-*",
    "x-ms-client-principal*",
    "x-pomerium-claim-*",
    "x-portico-*",
    "x-principal",
    "x-remote-*",
    "x-roles",
    "x-scopes",
    "x-ssl-cert*",
    "x-ssl-client-*",
    "x-tls-client-*",
    "x-user",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-name",
    "x-user-roles",
    "x-userid",
    "x-userinfo",
    "x-username",
    "x-webauth-*",
];

/// Whether a header says who the client is. Many servers take an underscore for a dash.
pub(crate) fn is_identity(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    let names = if name[0] == b'x' { &EXTENDED[..] } else { &PLAIN[..] };
    names.iter().any(|pattern| means(pattern.as_bytes(), name))
}

/// Takes out what says who the client is.
pub(crate) fn strip_identity(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_identity(name)).cloned().collect();
    claims.iter().for_each(|name| drop(headers.remove(name)));
}

/// Takes out what has one of these names, also to a server that takes an underscore for a dash.
pub(crate) fn remove_alike<'n>(headers: &mut HeaderMap, names: impl Iterator<Item = &'n HeaderName> + Clone) {
    names.clone().for_each(|name| drop(headers.remove(name)));
    // Few write underscores.
    let has_one = |name: &HeaderName| name.as_str().contains('_');
    if headers.keys().any(has_one) || names.clone().any(has_one) {
        let is_meant = |sent: &HeaderName| names.clone().any(|name| is_alike(sent.as_str(), name.as_str()));
        let meant: Vec<HeaderName> = headers.keys().filter(|name| is_meant(name)).cloned().collect();
        meant.iter().for_each(|name| drop(headers.remove(name)));
    }
}

fn is_alike(a: &str, b: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    a.len() == b.len() && a.bytes().map(dashed).eq(b.bytes().map(dashed))
}

fn means(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(prefix) => name.len() >= prefix.len() && begins(name, prefix),
        None => name.len() == pattern.len() && begins(name, pattern),
    }
}

fn begins(name: &[u8], with: &[u8]) -> bool {
    name.iter().zip(with).all(|(a, b)| a == b || (*a == b'_' && *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_known_however_it_is_written() {
        for name in [
            "X-User",
            "x_user",
            "X-USER_ID",
            "x-consumer-username",
            "x_consumer-id",
            "X-Authenticated-Groups",
            "x-auth-request-email",
            "Remote-User",
            "remote_user",
            "X-Remote-User",
            "x-client-cert",
            "x-client-cert-chain",
            "Client-Cert",
            "ssl-client-subject-dn",
            "x_ssl_client_verify",
            "x-portico-consumer",
        ] {
            assert!(is_identity(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        }
        for name in
            ["x-user-agent", "x-users", "xx-user", "x-auth-token", "x-request-id", "referer", "sec-fetch-user", "x"]
        {
            assert!(!is_identity(&name.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_told() {
        assert!(PLAIN.is_sorted() && EXTENDED.is_sorted());
        assert!(EXTENDED.iter().all(|name| name.starts_with("x-")) && !PLAIN.iter().any(|name| name.starts_with('x')));
        for pattern in PLAIN.into_iter().chain(EXTENDED) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-' || byte == b'*';
            assert!(pattern.bytes().all(plain), "{pattern}");
            assert!(
                include_str!("../../../README.md").contains(&format!("`{pattern}`")),
                "{pattern} is not in the README"
            );
        }
    }
}
