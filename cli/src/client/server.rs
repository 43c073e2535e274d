//! The address of an admin API, from its URL.

use crate::failure::Failure;
use std::fmt;

/// Where an admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    host: String,
    port: u16,
}

// === impl Server ===

impl Server {
    /// Reads `http://HOST[:PORT]`.
    pub(crate) fn parse(url: &str) -> Result<Server, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("the admin API's URL is http://HOST:PORT; {why}"));
        let uri: hyper::Uri = url.parse().map_err(|_| wrong("what was given is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("https:// is not spoken yet, so reach it on loopback or by a tunnel")),
            Some(_) | None => return Err(wrong("what was given does not begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("a host is missing"))?;
        // A password in a URL would end up in logs; the token has its own place.
        if authority.as_str().contains('@') {
            return Err(wrong("give the token by PORTICO_TOKEN or --token-file, not in the URL"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("leave out the path"));
        }
        Ok(Server { host: authority.host().to_string(), port: authority.port_u16().unwrap_or(80) })
    }

    /// Host and port, as the Host header and a name look-up take them.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        let server = |url: &str| Server::parse(url).unwrap();
        assert_eq!(server("http://127.0.0.1:7080").authority(), "127.0.0.1:7080");
        assert_eq!(server("http://portico/").address(), ("portico", 80));
        assert_eq!(server("http://[::1]:1").address(), ("::1", 1));
    }

    #[test]
    fn what_is_no_server_is_refused_without_repeating_a_password() {
        for url in
            ["", "portico:7080", "https://portico", "http://", "http://a/b", "http://a?b", "http://me:hush@portico"]
        {
            let Err(Failure::Usage(text)) = Server::parse(url) else { panic!("{url} was taken") };
            assert!(!text.contains("hush"));
        }
    }
}
