//! Hosts: exact, `*.suffix`, or any.

use std::fmt;

/// What hosts a route means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// What stands before it is one or more labels; begins with a dot.
    Suffix(String),
    /// The whole host.
    Exact(String),
}

impl HostPattern {
    /// Parses a pattern and brings it into lower case.
    pub fn parse(text: &str) -> Result<HostPattern, String> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            Some(suffix) => {
                let name = suffix
                    .strip_prefix('.')
                    .ok_or_else(|| format!("{text:?}: a star stands for whole labels, as in \"*.example.com\""))?;
                host_name(name).map(|()| HostPattern::Suffix(suffix.into()))
            }
            None => host_name(&lower).map(|()| HostPattern::Exact(lower)),
        }
    }

    /// Whether the host is meant; the host is in lower case.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            HostPattern::Exact(name) => host == name,
        }
    }

    /// Class, then length; the greater is the better match.
    pub(super) fn rank(&self) -> (u8, u16) {
        let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
        match self {
            HostPattern::Any => (0, 0),
            HostPattern::Suffix(suffix) => (1, length(suffix)),
            HostPattern::Exact(_) => (2, 0),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Suffix(suffix) => write!(f, "*{suffix}"),
            HostPattern::Exact(name) => f.write_str(name),
        }
    }
}

/// Checks a host name (RFC 1123) or an IP address, the IPv6 one in brackets; no port.
pub(crate) fn host_name(text: &str) -> Result<(), String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().map(|_| ()).map_err(|_| format!("{text:?} is not an IPv6 address"));
    }
    if text.contains(':') {
        return Err(format!("{text:?} has a port; a host stands without one"));
    }
    if text.is_empty() || text.len() > 253 {
        return Err("a host name has 1 to 253 characters".into());
    }
    for label in text.split('.') {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if label.is_empty()
            || label.len() > 63
            || !label.bytes().all(plain)
            || label.starts_with('-')
            || label.ends_with('-')
        {
            return Err(format!("{text:?} is not a host name"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_whole_labels() {
        let pattern = HostPattern::parse("*.Example.com").expect("a pattern");
        for host in ["a.example.com", "a.b.example.com"] {
            assert!(pattern.matches(host), "{host}");
        }
        for host in ["example.com", "aexample.com", "a.example.com.evil"] {
            assert!(!pattern.matches(host), "{host}");
        }
    }

    #[test]
    fn bad_hosts_are_refused() {
        for bad in ["", "a..b", "*a.com", "a.*.com", "a:80", "-a.com", "a b", "http://a", "[::zz]", "*."] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
        for good in ["a", "a.b", "127.0.0.1", "[::1]", "*", "my_host"] {
            assert!(HostPattern::parse(good).is_ok(), "{good}");
        }
    }
}
