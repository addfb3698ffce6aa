//! Whether the configured ports are ones that Linux gives to outgoing connections.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use super::discovery::parse_list;

/// The ports for outgoing connections, if some of `ports` are among them: any program of the node may then
/// hold a leased port for as long as its connection lives. Ports that were reserved do not count.
pub(crate) fn outgoing_overlap(root: &Path, ports: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let read = |name: &str| fs::read_to_string(root.join("proc/sys/net/ipv4").join(name)).ok();
    let range = read("ip_local_port_range")?;
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return None };
    let reserved = parse_list(&read("ip_local_reserved_ports").unwrap_or_default());
    let (from, to) = (first.max(*ports.start()), last.min(*ports.end()));
    (from..=to).any(|port| !reserved.contains(&u32::from(port))).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(range: &str, reserved: &str, ports: RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("proc/sys/net/ipv4");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("ip_local_port_range"), range).unwrap();
        fs::write(dir.join("ip_local_reserved_ports"), reserved).unwrap();
        outgoing_overlap(root.path(), &ports)
    }

    #[test]
    fn ports_that_outgoing_connections_are_given_are_named() {
        let usual = "32768\t60999\n";
        assert_eq!(overlap(usual, "\n", 20_000..=29_999), None);
        assert_eq!(overlap(usual, "\n", 30_000..=32_767), None);
        assert_eq!(overlap(usual, "\n", 30_000..=32_768), Some(32_768..=60_999));
        assert_eq!(overlap(usual, "\n", 60_999..=65_535), Some(32_768..=60_999));
        assert_eq!(overlap(usual, "\n", 61_000..=65_535), None);
        assert_eq!(overlap("1024 65535", "\n", 20_000..=29_999), Some(1024..=65_535));
    }

    #[test]
    fn reserved_ports_are_not_given_to_anybody() {
        assert_eq!(overlap("1024 65535", "8080,20000-29999\n", 20_000..=29_999), None);
        assert_eq!(overlap("1024 65535", "20001-29999\n", 20_000..=29_999), Some(1024..=65_535));
    }

    #[test]
    fn a_system_that_does_not_say_is_not_complained_of() {
        assert_eq!(overlap("nonsense", "", 1..=65_535), None);
        assert_eq!(outgoing_overlap(Path::new("/nowhere"), &(1..=65_535)), None);
    }
}
