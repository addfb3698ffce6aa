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
                embedded(address).is_none_or(|inside| admits_v4(inside, loopback))
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

/// The address of version 4 that one of version 6 leads to: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let word = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // `::` and `::1` are their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(word(high, low))
        }
        [0x2002, high, low, ..] => Some(word(high, low)),
        _ => None,
    }
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
        for address in ["10.1.2.3", "192.168.0.1", "203.0.113.7", "fd00::1", "2001:db8::1", "::ffff:10.1.2.3"]
        {
            assert!(Reach::Others { loopback: false }.admits(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let address = address.parse().unwrap();
            assert!(!Reach::Others { loopback: false }.admits(address), "{address}");
            assert!(Reach::Others { loopback: true }.admits(address), "{address}");
        }
    }
}
