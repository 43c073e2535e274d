//! Which addresses may be asked. A configuration names places to fetch from, and whoever writes one shall not reach what
//! only the node can: the machine itself, its network, the cloud's metadata.

use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Addresses that may be asked though they are not public. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permit(Arc<[IpNet]>);

// === impl Permit ===

impl Permit {
    /// These blocks besides what is public.
    pub(crate) fn of(blocks: &[IpNet]) -> Permit {
        Permit(blocks.into())
    }

    /// Whether the operator of the node named it.
    pub(crate) fn names(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|block| block.contains(&ip))
    }

    /// Whether it may be asked.
    pub(crate) fn lets(&self, ip: IpAddr) -> bool {
        self.names(ip) || is_public(ip)
    }
}

/// Whether an address belongs to the internet, and to nobody's own network (RFC 6890 and its registries).
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(matches!(a, 0 | 10 | 127 | 224..)
        || (a == 100 && b & 0xc0 == 64)
        || (a == 169 && b == 254)
        || (a == 172 && b & 0xf0 == 16)
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && matches!(c, 0 | 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, _, _, y, z] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        // Translators bring these to the address of IPv4 inside.
        (0x64, 0xff9b) if (c, d) == (0, 0) => is_public_v4(v4(y, z)),
        (0x2002, _) => is_public_v4(v4(b, c)),
        // Teredo and other protocols, and documentation.
        (0x2001, 0..0x200) | (0x2001, 0xdb8) | (0x3fff, 0..0x1000) => false,
        // Of the rest only this is given out.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_asked_or_those_that_were_named() {
        for public in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2a00::1", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
        {
            assert!(Permit::default().lets(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:7f00:1::",
            "2001:db8::1",
            "100::1",
        ] {
            let ip = private.parse().unwrap();
            assert!(!Permit::default().lets(ip), "{private}");
            assert!(Permit::of(&["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()]).lets(ip), "{private}");
        }
        let permit = Permit::of(&["10.1.0.0/16".parse().unwrap()]);
        assert!(permit.lets("10.1.2.3".parse().unwrap()) && permit.lets("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!permit.lets("10.2.0.1".parse().unwrap()));
    }
}
