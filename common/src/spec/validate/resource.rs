//! Cores, memory and where they are asked.

use super::form;
use crate::problem::Place;
use crate::spec::{CpuCount, LocalServiceSpec, PlacementPolicy, ResourceRequirement};

/// As many logical cores as Linux supports in one machine.
const MAX_CORES: u64 = 8192;
/// 64 TiB: as much as any machine can hold today.
const MAX_MEMORY_MB: u64 = 64 * 1024 * 1024;
/// CPU, MEMORY, and room to be told that one is given twice.
const MAX_RESOURCES: usize = 16;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    resources(spec_at.member("resources"), &spec.resources);
    spec_at.member("placementPolicy").require(
        matches!(spec.placement_policy, Some(PlacementPolicy::Local { .. })),
        "- Only local placement is allowed for local services",
    );
}

fn resources(place: Place<'_>, resources: &[ResourceRequirement]) {
    if !place.require(!resources.is_empty(), "- CPU/Memory requirements must be specified")
        || !form::at_most(place, resources.len(), MAX_RESOURCES)
    {
        return;
    }
    let (mut cpu, mut memory) = (false, false);
    for (index, resource) in resources.iter().enumerate() {
        let at = place.element(index);
        let seen = match resource {
            ResourceRequirement::Cpu { count } => {
                cores(at.member("count"), *count);
                &mut cpu
            }
            ResourceRequirement::Memory { size_in_mb } => {
                form::between(at.member("sizeInMB"), *size_in_mb, 1, MAX_MEMORY_MB);
                &mut memory
            }
        };
        at.require(!*seen, "- The same resource is given twice");
        *seen = true;
    }
    place.require(cpu, "- Cpu requirements are mandatory");
    place.require(memory, "- Memory requirements are mandatory");
}

fn cores(place: Place<'_>, count: CpuCount) {
    place.require(count > CpuCount::default(), "- Must be more than 0 cores");
    place.require(
        count <= CpuCount::from_millis(MAX_CORES * 1000),
        format_args!("- Cannot be more than {MAX_CORES} cores"),
    );
}
