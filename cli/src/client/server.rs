//! The address of an admin API, from its URL.

use crate::failure::Failure;
use std::fmt;

/// Where an admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

// === impl Server ===

impl Server {
    /// Reads `https://HOST[:PORT]` or `http://HOST[:PORT]`.
    pub(crate) fn parse(url: &str) -> Result<Server, Failure> {
        let wrong =
            |why: &str| Failure::Usage(format!("the admin API's URL is https://HOST:PORT or http://HOST:PORT; {why}"));
        let uri: hyper::Uri = url.parse().map_err(|_| wrong("what was given is not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) | None => return Err(wrong("what was given does not begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("a host is missing"))?;
        // A password in a URL would end up in logs; the token has its own place.
        if authority.as_str().contains('@') {
            return Err(wrong("give the token by PORTICO_TOKEN or --token-file, not in the URL"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("leave out the path"));
        }
        let port = authority.port_u16().unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        Ok(Server { scheme, host: authority.host().to_string(), port })
    }

    /// How it is spoken to.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
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
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.authority())
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
        assert_eq!(server("https://portico/").to_string(), "https://portico:443");
        assert_eq!(server("http://[::1]:1").address(), ("::1", 1));
    }

    #[test]
    fn what_is_no_server_is_refused_without_repeating_a_password() {
        for url in
            ["", "portico:7080", "ftp://portico", "http://", "http://a/b", "http://a?b", "http://me:hush@portico"]
        {
            let Err(Failure::Usage(text)) = Server::parse(url) else { panic!("{url} was taken") };
            assert!(!text.contains("hush"));
        }
    }
}
