//! Cores, memory and where they are asked.

use super::form;
use crate::executor::{MAX_TAGS, TAG_RULE, is_tag};
use crate::problem::{Place, Quoted};
use crate::spec::{CpuCount, LocalServiceSpec, PlacementPolicy, ResourceRequirement, TagMatch};

/// As many logical cores as Linux supports in one machine.
const MAX_CORES: u64 = 8192;
/// 64 TiB: as much as any machine can hold today.
const MAX_MEMORY_MB: u64 = 64 * 1024 * 1024;
/// CPU, MEMORY, and room to be told that one is given twice.
const MAX_RESOURCES: usize = 16;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec) {
    resources(spec_at.member("resources"), &spec.resources);
    let policy_at = spec_at.member("placementPolicy");
    match &spec.placement_policy {
        Some(PlacementPolicy::Local { tags, .. }) => tag_match(policy_at.member("tags"), tags),
        Some(PlacementPolicy::Unsupported) | None => {
            policy_at.refuse_with_sentence("Only local placement is allowed for local services");
        }
    }
}

fn tag_match(place: Place<'_>, tags: &TagMatch) {
    for (name, list) in [("all", &tags.all), ("any", &tags.any), ("none", &tags.none)] {
        let at = place.member(name);
        if form::at_most(at, list.len(), MAX_TAGS) {
            for (index, tag) in list.iter().enumerate() {
                at.element(index).require(is_tag(tag), TAG_RULE);
            }
        }
    }
    let never = tags.all.iter().find(|tag| tags.none.contains(tag));
    if let Some(tag) = never {
        place.refuse(format_args!("- No executor can both have and not have the tag '{}'", Quoted(tag)));
    }
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
    place.require_or_sentence(cpu, "Cpu requirements are mandatory");
    place.require_or_sentence(memory, "Memory requirements are mandatory");
}

fn cores(place: Place<'_>, count: CpuCount) {
    place.require(count > CpuCount::default(), "- Must be more than 0 cores");
    place.require(
        count <= CpuCount::from_millis(MAX_CORES * 1000),
        format_args!("- Cannot be more than {MAX_CORES} cores"),
    );
}
