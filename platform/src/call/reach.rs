//! Which addresses a fetch may go to. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell a machine its credentials, outside of the link-local range.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Which addresses a fetch may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Wherever this machine gets: who asks may start programs on it anyway.
    Anywhere,
    /// Only to other machines, and never to what tells a machine its credentials: who asks has no business on this
    /// one.
    Others {
        /// Whether to this machine, too.
        loopback: bool,
    },
}

impl Reach {
    /// Whether a connection to `address` may be opened.
    #[must_use]
    pub fn admits(self, address: IpAddr) -> bool {
        let Self::Others { loopback } = self else { return true };
        match address {
            IpAddr::V4(address) => admits_v4(address, loopback),
            IpAddr::V6(address) => {
                // An address of version 4 is the same in whatever it is wrapped.
                embedded(address).into_iter().all(|inside| admits_v4(inside, loopback))
                    && admits_v6(address, loopback)
            }
        }
    }
}

fn admits_v4(address: Ipv4Addr, loopback: bool) -> bool {
    let first = address.octets()[0];
    // 0/8 is "this host", 224/4 many hosts, 240/4 nobody; 192.0.0/24 is the protocol's own, and one cloud's metadata.
    (1..224).contains(&first)
        && !address.is_link_local()
        && !address.octets().starts_with(&[192, 0, 0])
        && !METADATA_V4.contains(&address)
        && (loopback || !address.is_loopback())
}

fn admits_v6(address: Ipv6Addr, loopback: bool) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && !address.is_unicast_link_local()
        && !METADATA_V6.contains(&address)
        && (loopback || !address.is_loopback())
}

/// The addresses of version 4 that one of version 6 leads to, or may lead to: mapped, compatible, translated (SIIT),
/// NAT64, 6to4 or Teredo.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let word = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // `::` and `::1` are their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => vec![word(high, low)],
        [0x64, 0xff9b, 1, ..] => local_nat64(address),
        // Its relay, and whom the relay passes it on to, who is written with every bit turned.
        [0x2001, 0, relay_high, relay_low, _, _, high, low] => {
            vec![word(relay_high, relay_low), word(!high, !low)]
        }
        _ => Vec::new(),
    }
}

/// Where a node's own NAT64 keeps the address is for its network to say (RFC 8215): it follows a prefix of 48, 56, 64 or
/// 96 bits, around an octet that is no part of it, and before zeros (RFC 6052). Every place that it may be in counts.
fn local_nat64(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bits = u128::from(address);
    let (before, after) = (bits >> 64, bits & ((1 << 56) - 1));
    let without_octet = (before << 56) | after;
    let short = [40_u32, 32, 24].into_iter().filter(|zeros| without_octet.trailing_zeros() >= *zeros);
    let places = short.map(|zeros| without_octet >> zeros).chain([bits]);
    let mut found: Vec<Ipv4Addr> = places.map(|place| Ipv4Addr::from((place & 0xffff_ffff) as u32)).collect();
    // Of an address that is elsewhere, only zeros may be left in a place.
    if found.iter().any(|address| !address.is_unspecified()) {
        found.retain(|address| !address.is_unspecified());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_a_machine_its_credentials_is_never_reached() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "::ffff:0:169.254.169.254",
            // A node's own NAT64, with a prefix of 48, 56, 64 and 96 bits.
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:7:a9:fea9:fe00:0",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1::",
            // Teredo: the relay, and whom it leads to.
            "2001:0:a9fe:a9fe::f5fe:fdfc",
            "2001:0:a01:203::5601:5601",
        ] {
            let address = address.parse().unwrap();
            for loopback in [false, true] {
                assert!(!Reach::Others { loopback }.admits(address), "{address}");
            }
            assert!(Reach::Anywhere.admits(address));
        }
    }

    #[test]
    fn other_machines_are_reached_and_this_one_where_it_is_said() {
        for address in [
            "10.1.2.3",
            "192.168.0.1",
            "203.0.113.7",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.1.2.3",
            "64:ff9b:1::10.1.2.3",
            "64:ff9b:1:a01:2:300::",
            "64:ff9b:1:7:a:102:300:0",
            "2001:0:a01:203::f5fe:fdfc",
            "::ffff:0:10.1.2.3",
        ] {
            assert!(Reach::Others { loopback: false }.admits(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b:1::127.0.0.1",
        ] {
            let address = address.parse().unwrap();
            assert!(!Reach::Others { loopback: false }.admits(address), "{address}");
            assert!(Reach::Others { loopback: true }.admits(address), "{address}");
        }
    }
}
