//! A listener as it is written: `NAME=[proxy+][http://|https://]ADDR`.

use proto::{matching::Scheme, name::Name};
use std::{fmt, net::SocketAddr, str::FromStr};

/// A listener: its name, which routes may match on, its address, and how clients come through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The name.
    pub name: String,
    /// The address; port 0 takes any that is free, and `[::]` takes IPv4 as well.
    pub address: SocketAddr,
    /// Whether clients speak TLS.
    pub scheme: Scheme,
    /// Whether each connection begins with a header of the PROXY protocol, which says who the client is.
    pub proxy_protocol: bool,
}

impl Listen {
    /// A listener for cleartext.
    pub fn http(name: &str, address: SocketAddr) -> Listen {
        Listen { name: name.into(), address, scheme: Scheme::Http, proxy_protocol: false }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let advice = || {
            format!(
                "{text:?} is not NAME=[proxy+][http://|https://]ADDR, as in \"http=0.0.0.0:8080\" or \
                 \"edge=proxy+https://[::]:8443\""
            )
        };
        let (name, rest) = text.split_once('=').ok_or_else(advice)?;
        let name = Name::parse(name)?.to_string();
        let (proxy_protocol, rest) = rest.strip_prefix("proxy+").map_or((false, rest), |rest| (true, rest));
        let (scheme, address) = match rest.split_once("://") {
            None => (Scheme::Http, rest),
            Some(("http", address)) => (Scheme::Http, address),
            Some(("https", address)) => (Scheme::Https, address),
            Some(_) => return Err(advice()),
        };
        Ok(Listen { name, address: address.parse().map_err(|_| advice())?, scheme, proxy_protocol })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = if self.proxy_protocol { "proxy+" } else { "" };
        write!(f, "{}={proxy}{}://{}", self.name, self.scheme.as_str(), self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_read_strictly_and_written_the_same() {
        let listen = |text: &str| text.parse::<Listen>();
        assert_eq!(listen("http=0.0.0.0:8080").unwrap(), Listen::http("http", ([0, 0, 0, 0], 8080).into()));
        let edge = listen("edge=proxy+https://[::]:8443").unwrap();
        assert_eq!((edge.scheme, edge.proxy_protocol, edge.address.is_ipv6()), (Scheme::Https, true, true));
        for text in ["a=http://127.0.0.1:80", "a=proxy+http://[::1]:0", "a=https://127.0.0.1:443"] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
        assert_eq!(listen("a=proxy+127.0.0.1:80").unwrap().to_string(), "a=proxy+http://127.0.0.1:80");
        for bad in ["127.0.0.1:80", "A=127.0.0.1:80", "a=tcp://127.0.0.1:80", "a=https+127.0.0.1:80", "a=host:80", "a="]
        {
            assert!(listen(bad).is_err(), "{bad}");
        }
    }
}
