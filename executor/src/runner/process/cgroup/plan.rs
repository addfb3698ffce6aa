//! What is written into a group so that it holds a workload's limits. Pure.

use std::collections::BTreeMap;

use muster_common::instance::ResourceAllocation;

use super::hierarchy::{Controller, Version};
use crate::runner::LaunchPlan;

/// The span over which a share of the cores' time is measured, in microseconds: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

/// The smallest share that the kernel takes, in microseconds of each period.
const CPU_QUOTA_MIN_US: u64 = 1_000;

const BYTES_PER_MB: u64 = 1 << 20;

/// What one workload may use. Absent: no limit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::runner::process) struct Limits {
    /// Thousandths of a core.
    pub(in crate::runner::process) cpu_millis: Option<u64>,
    /// The cores that are leased; empty where a share is.
    pub(in crate::runner::process) cores: Vec<u32>,
    /// Bytes of memory; nothing of it is swapped out.
    pub(in crate::runner::process) memory_bytes: Option<u64>,
    /// Processes and threads.
    pub(in crate::runner::process) pids: Option<u64>,
}

impl Limits {
    /// What the spec asks and the lease gives.
    pub(in crate::runner::process) fn of(plan: &LaunchPlan, pids: u64) -> Self {
        let some = |number: u64| (number > 0).then_some(number);
        let cores = plan.place.resources.iter().filter_map(|resource| match resource {
            ResourceAllocation::Cpu { cores } => Some(cores.values().flatten().copied()),
            ResourceAllocation::Memory { .. } => None,
        });
        Self {
            cpu_millis: some(plan.spec.cpu_count().as_millis()),
            cores: cores.flatten().collect(),
            memory_bytes: some(plan.spec.memory_mb().saturating_mul(BYTES_PER_MB)),
            pids: some(pids),
        }
    }
}

/// One value for one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// What it is about.
    pub(super) controller: Controller,
    /// The file.
    pub(super) file: &'static str,
    /// What is written.
    pub(super) value: String,
    /// Whether the kernel may be built without it.
    pub(super) is_optional: bool,
}

/// The settings for a group with these controllers, in the order in which the kernel takes them. Leased cores
/// that cannot be pinned (`can_pin`) become the same amount of time.
pub(super) fn settings(
    version: Version,
    controllers: &[Controller],
    can_pin: bool,
    limits: &Limits,
) -> Vec<Setting> {
    controllers
        .iter()
        .flat_map(|&controller| {
            let set = |file, value| Setting { controller, file, value, is_optional: false };
            let maybe = |file, value| Setting { controller, file, value, is_optional: true };
            match (controller, version) {
                (Controller::Cpu, _) if can_pin && !limits.cores.is_empty() => Vec::new(),
                (Controller::Cpu, _) => {
                    let Some(millis) = limits.cpu_millis else { return Vec::new() };
                    let quota = millis.saturating_mul(CPU_PERIOD_US / 1000).max(CPU_QUOTA_MIN_US);
                    match version {
                        Version::V2 => vec![set("cpu.max", format!("{quota} {CPU_PERIOD_US}"))],
                        Version::V1 => vec![
                            set("cpu.cfs_period_us", CPU_PERIOD_US.to_string()),
                            set("cpu.cfs_quota_us", quota.to_string()),
                        ],
                    }
                }
                (Controller::Cpuset, _) if limits.cores.is_empty() => Vec::new(),
                (Controller::Cpuset, _) => {
                    let cores: Vec<String> = limits.cores.iter().map(u32::to_string).collect();
                    vec![set("cpuset.cpus", cores.join(","))]
                }
                (Controller::Memory, _) => {
                    let Some(bytes) = limits.memory_bytes else { return Vec::new() };
                    match version {
                        Version::V2 => vec![
                            set("memory.max", bytes.to_string()),
                            maybe("memory.swap.max", "0".to_owned()),
                        ],
                        // Memory and swap together: the same number leaves no swap. It may not be the lower one.
                        Version::V1 => vec![
                            set("memory.limit_in_bytes", bytes.to_string()),
                            maybe("memory.memsw.limit_in_bytes", bytes.to_string()),
                        ],
                    }
                }
                (Controller::Pids, _) => {
                    limits.pids.map(|pids| set("pids.max", pids.to_string())).into_iter().collect()
                }
            }
        })
        .collect()
}

/// Which of the limits hold nobody, in words, `unset` being what could not be set and why not.
pub(super) fn unenforced(
    limits: &Limits,
    can_pin: bool,
    unset: &BTreeMap<Controller, String>,
) -> Vec<String> {
    let is_asked = |controller: Controller| match controller {
        Controller::Cpu => limits.cpu_millis.is_some() && (limits.cores.is_empty() || !can_pin),
        Controller::Cpuset => !limits.cores.is_empty(),
        Controller::Memory => limits.memory_bytes.is_some(),
        Controller::Pids => limits.pids.is_some(),
    };
    let words = |controller: Controller| match controller {
        Controller::Cpu => "CPU limit not enforced",
        Controller::Cpuset => "not pinned to its cores",
        Controller::Memory => "memory limit not enforced",
        Controller::Pids => "limit on processes not enforced",
    };
    let asked = unset.iter().filter(|(controller, _)| is_asked(**controller));
    asked.map(|(&controller, why)| format!("{}: {why}", words(controller))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_that_is_asked_for_is_missed() {
        let unset = Controller::ALL.map(|controller| (controller, "no".to_owned())).into();
        let memory = Limits { memory_bytes: Some(1), ..Limits::default() };
        assert_eq!(unenforced(&memory, false, &unset), ["memory limit not enforced: no"]);
        assert_eq!(unenforced(&memory, false, &BTreeMap::new()), [""; 0]);
        let pinned = Limits { cpu_millis: Some(1000), cores: vec![1], ..Limits::default() };
        let both = ["CPU limit not enforced: no", "not pinned to its cores: no"];
        assert_eq!(unenforced(&pinned, false, &unset), both);
        assert_eq!(unenforced(&pinned, true, &unset), both[1..], "pins hold it where they can be set");
        let few = Limits { pids: Some(1), ..Limits::default() };
        assert_eq!(unenforced(&few, true, &unset), ["limit on processes not enforced: no"]);
    }

    fn lines(version: Version, can_pin: bool, limits: &Limits) -> Vec<String> {
        settings(version, &Controller::ALL, can_pin, limits)
            .into_iter()
            .map(|setting| format!("{}={}", setting.file, setting.value))
            .collect()
    }

    #[test]
    fn a_share_is_a_quota_and_leased_cores_are_pinned() {
        let share = Limits {
            cpu_millis: Some(500),
            memory_bytes: Some(64 << 20),
            pids: Some(100),
            ..Limits::default()
        };
        assert_eq!(
            lines(Version::V2, true, &share),
            ["cpu.max=50000 100000", "memory.max=67108864", "memory.swap.max=0", "pids.max=100"]
        );
        assert_eq!(
            lines(Version::V1, true, &share),
            [
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=67108864",
                "pids.max=100"
            ]
        );
        let pinned = Limits { cpu_millis: Some(2000), cores: vec![1, 3], ..Limits::default() };
        assert_eq!(lines(Version::V2, true, &pinned), ["cpuset.cpus=1,3"]);
        let unpinned = settings(Version::V2, &[Controller::Cpu], false, &pinned);
        assert_eq!(unpinned[0].value, "200000 100000", "what cannot be pinned is at least bounded");
        let tiny = Limits { cpu_millis: Some(1), ..Limits::default() };
        assert_eq!(lines(Version::V2, true, &tiny), ["cpu.max=1000 100000"]);
        assert!(lines(Version::V2, true, &Limits::default()).is_empty());
    }
}
