//! Where a document of somebody else is: `https://host:port/path?query`.

use http::{Uri, uri::PathAndQuery};
use std::fmt;

/// The longest URL, in bytes.
const MAX_URL: usize = 2048;

/// A place that nodes ask over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// Whether it is asked by TLS.
    pub is_https: bool,
    /// A name or an address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is asked for.
    pub target: PathAndQuery,
}

// === impl Url ===

impl Url {
    /// Parses it.
    pub fn parse(text: &str) -> Result<Url, String> {
        let wrong = |what: &str| format!("{text:?} {what}; write it as \"https://login.example.com/keys\"");
        if text.len() > MAX_URL {
            return Err(format!("a URL has at most {MAX_URL} bytes"));
        }
        // What is behind it stays with who reads a document; no server sees it.
        if text.contains('#') {
            return Err(wrong("has a fragment, which no server sees"));
        }
        let uri: Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(wrong("begins with neither https:// nor http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("has a user, and it would be seen by everybody who reads the configuration"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("has a port that is not one"))?
            }
            Some(_) | None => {
                if is_https {
                    443
                } else {
                    80
                }
            }
        };
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let target = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        Ok(Url { is_https, host, port, target })
    }

    /// The host, and the port where it is not the usual one, as a `Host` header has it.
    pub fn authority(&self) -> String {
        let usual = if self.is_https { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_place_that_can_be_asked() {
        for (text, expect) in [
            ("https://Login.example.com/keys", "https://login.example.com/keys"),
            ("https://a:443/k?x=1", "https://a/k?x=1"),
            ("http://a:8080", "http://a:8080/"),
            ("https://[::1]:8443/k", "https://[::1]:8443/k"),
            ("https://[::1]/k", "https://[::1]/k"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), expect);
        }
        for bad in [
            "",
            "a",
            "/keys",
            "ftp://a/",
            "file:///etc/passwd",
            "https://",
            "https:///k",
            "https://u:p@a/",
            "https://u@a/",
            "https://a:0/",
            "https://a:x/",
            "https://a:/",
            "https://a:70000/",
            "https://a/#k",
            "https://a b/",
            "https://a/\n",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
