//! Where this process's control groups are: read off `/proc/self/cgroup` and `/proc/self/mountinfo`. Pure.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What limits one kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::runner::process) enum Controller {
    /// Shares of the cores' time.
    Cpu,
    /// Which cores.
    Cpuset,
    /// Memory.
    Memory,
    /// How many processes and threads.
    Pids,
}

impl Controller {
    /// All that are used here.
    pub(super) const ALL: [Self; 4] = [Self::Cpu, Self::Cpuset, Self::Memory, Self::Pids];

    /// As the kernel names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// Those that a list of names holds.
    pub(super) fn among<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let names: Vec<&str> = names.into_iter().collect();
        Self::ALL.into_iter().filter(|controller| names.contains(&controller.name())).collect()
    }
}

/// Which of the kernel's two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::runner::process) enum Version {
    /// One hierarchy for each controller, or a few.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A mounted hierarchy that can be of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its interface.
    pub(super) version: Version,
    /// What it limits; for the unified one the directory itself says it.
    pub(super) controllers: Vec<Controller>,
    /// The directory of the group that this process is in.
    pub(super) own: PathBuf,
}

/// Every hierarchy that is mounted and limits something, and the unified one in any case: it keeps processes
/// together even where it limits nothing.
pub(super) fn hierarchies(groups: &str, mounts: &str) -> Vec<Hierarchy> {
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, Path::new(fields.next()?));
            let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
            let controllers = Controller::among(names.iter().copied());
            let version = if names.is_empty() { Version::V2 } else { Version::V1 };
            if version == Version::V1 && controllers.is_empty() {
                return None;
            }
            let own = mounts.iter().filter(|mount| mount.version == version).find_map(|mount| {
                let is_it = names.iter().all(|name| mount.options.split(',').any(|option| option == *name));
                is_it.then(|| mount.place(path)).flatten()
            })?;
            Some(Hierarchy { version, controllers, own })
        })
        .collect()
}

/// One line of mountinfo (proc(5)): `36 35 0:30 <root> <point> <options> [more] - <type> <source> <options>`.
struct Mount<'a> {
    version: Version,
    root: &'a Path,
    point: &'a Path,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let version = match kind.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let mut place = place.split(' ').skip(3);
        let (root, point) = (Path::new(place.next()?), Path::new(place.next()?));
        Some(Self { version, root, point, options: kind.nth(1).unwrap_or_default() })
    }

    /// Where a group is below this mount; `None` when it is outside.
    fn place(&self, group: &Path) -> Option<PathBuf> {
        let below = group.strip_prefix(self.root).ok()?;
        let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then(|| {
            if below.as_os_str().is_empty() { self.point.to_owned() } else { self.point.join(below) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, mounts: &str) -> Vec<(Version, Vec<Controller>, String)> {
        hierarchies(groups, mounts)
            .into_iter()
            .map(|found| (found.version, found.controllers, found.own.display().to_string()))
            .collect()
    }

    #[test]
    fn the_unified_hierarchy_is_found() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            found("0::/system.slice/muster.service\n", mounts),
            [(Version::V2, vec![], "/sys/fs/cgroup/system.slice/muster.service".to_owned())]
        );
        assert_eq!(found("0::/\n", mounts)[0].2, "/sys/fs/cgroup");
        assert_eq!(found("0::/../other\n", mounts), [], "outside of what this namespace shows");
    }

    #[test]
    fn hybrid_hierarchies_are_found_each_at_its_own_place() {
        let groups = "9:name=systemd:/\n8:pids:/\n5:devices:/\n4:memory:/a/b\n2:cpu,cpuacct:/\n0::/\n";
        let mounts = "40 39 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            41 40 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            42 40 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            43 40 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found(groups, mounts),
            [
                (Version::V1, vec![Controller::Memory], "/sys/fs/cgroup/memory/a/b".to_owned()),
                (Version::V1, vec![Controller::Cpu], "/sys/fs/cgroup/cpu".to_owned()),
                (Version::V2, vec![], "/sys/fs/cgroup/unified".to_owned()),
            ],
            "pids is not mounted"
        );
    }

    #[test]
    fn a_container_sees_its_own_part_as_the_root() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(found("4:memory:/docker/abc/x\n", mounts)[0].2, "/sys/fs/cgroup/memory/x");
        assert_eq!(found("4:memory:/elsewhere\n", mounts), []);
    }
}
