//! What the node has: cores and memory by NUMA node.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use muster_common::executor::NodeLayout;

/// What is left to the system: a sixteenth of the memory, at least this much (MB).
const RESERVE_MB: u64 = 256;

/// Reads the layout below `root` (`/` on a real machine). `memory_mb` overrides what was found, for
/// executors that share a machine.
#[must_use]
pub(crate) fn discover(root: &Path, memory_mb: Option<u64>) -> NodeLayout {
    let cores = numa_cores(root).unwrap_or_else(|| BTreeMap::from([(0, all_cores(root))]));
    let found = memory_kb(root).unwrap_or(0) / 1024;
    let total = memory_mb.unwrap_or_else(|| found.saturating_sub(RESERVE_MB.max(found / 16)));
    NodeLayout { memory: split(total, &with_memory(root, &cores)), cores }
}

/// Memory in the proportion of cores: exact figures per node would be out of date with the next
/// allocation, and a lease only has to be fair.
fn split(total_mb: u64, cores: &BTreeMap<u32, Vec<u32>>) -> BTreeMap<u32, u64> {
    let all: u64 = cores.values().map(|cores| cores.len() as u64).sum::<u64>().max(1);
    cores.iter().map(|(&node, cores)| (node, total_mb * cores.len() as u64 / all)).collect()
}

/// The NUMA nodes that have memory: some machines have cores where no memory is plugged in.
fn with_memory(root: &Path, cores: &BTreeMap<u32, Vec<u32>>) -> BTreeMap<u32, Vec<u32>> {
    let listed = fs::read_to_string(root.join("sys/devices/system/node/has_memory")).unwrap_or_default();
    let listed = parse_list(&listed);
    let mut nodes = cores.clone();
    nodes.retain(|node, _| listed.contains(node));
    if nodes.is_empty() { cores.clone() } else { nodes }
}

fn numa_cores(root: &Path) -> Option<BTreeMap<u32, Vec<u32>>> {
    let online = online_cores(root);
    let mut nodes = BTreeMap::new();
    for entry in fs::read_dir(root.join("sys/devices/system/node")).ok()?.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node")?.parse::<u32>().ok());
        let Some(number) = number else { continue };
        let mut cores = parse_list(&fs::read_to_string(entry.path().join("cpulist")).ok()?);
        if let Some(online) = &online {
            cores.retain(|core| online.contains(core));
        }
        if !cores.is_empty() {
            nodes.insert(number, cores);
        }
    }
    (!nodes.is_empty()).then_some(nodes)
}

fn online_cores(root: &Path) -> Option<Vec<u32>> {
    fs::read_to_string(root.join("sys/devices/system/cpu/online")).ok().map(|text| parse_list(&text))
}

fn all_cores(root: &Path) -> Vec<u32> {
    online_cores(root).filter(|cores| !cores.is_empty()).unwrap_or_else(|| {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..u32::try_from(count).unwrap_or(1)).collect()
    })
}

/// `0-3,8,10-11`. What is not of this form is passed over.
pub(super) fn parse_list(text: &str) -> Vec<u32> {
    let mut cores = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>())
            && last.saturating_sub(first) < 65_536
        {
            cores.extend(first..=last);
        }
    }
    cores
}

fn memory_kb(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn two_numa_nodes_with_one_core_offline() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "sys/devices/system/node/node0/cpulist", "0-1,4\n");
        write(root.path(), "sys/devices/system/node/node1/cpulist", "2-3\n");
        write(root.path(), "sys/devices/system/cpu/online", "0-3\n");
        write(root.path(), "proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
        let layout = discover(root.path(), None);
        assert_eq!(layout.cores, BTreeMap::from([(0, vec![0, 1]), (1, vec![2, 3])]));
        assert_eq!(layout.memory, BTreeMap::from([(0, 7680), (1, 7680)]));
        assert_eq!(discover(root.path(), Some(1000)).memory, BTreeMap::from([(0, 500), (1, 500)]));
        write(root.path(), "sys/devices/system/node/has_memory", "1\n");
        assert_eq!(discover(root.path(), Some(1000)).memory, BTreeMap::from([(1, 1000)]));
    }

    #[test]
    fn a_machine_that_says_nothing_is_one_node() {
        let root = tempfile::tempdir().unwrap();
        let layout = discover(root.path(), Some(512));
        assert_eq!(layout.cores.len(), 1);
        assert!(!layout.cores[&0].is_empty());
        assert_eq!(layout.memory[&0], 512);
    }
}
