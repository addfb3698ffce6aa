//! Host directories that are mounted.

use std::collections::BTreeSet;
use std::path::Path;

use super::form;
use crate::instance::RunnerKind;
use crate::problem::Place;
use crate::spec::{LocalServiceSpec, MountedVolume};

const MAX_VOLUMES: usize = 256;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec, allowed: Option<&[String]>) {
    let place = spec_at.member("volumes");
    if spec.volumes.is_empty() || !form::at_most(place, spec.volumes.len(), MAX_VOLUMES) {
        return;
    }
    let mounts = spec.runner() == RunnerKind::Docker;
    place.require(mounts, "- A PROCESS executable sees the node's own directories; volumes need DOCKER");
    let mut taken = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().enumerate() {
        let at = place.element(index);
        single(at, volume, allowed);
        let path = volume.path_in_container.as_str();
        at.member("pathInContainer")
            .require(path.is_empty() || taken.insert(path), "- Another volume is mounted there");
    }
}

fn single(place: Place<'_>, volume: &MountedVolume, allowed: Option<&[String]>) {
    let inside = place.member("pathInContainer");
    form::absolute_path(inside, &volume.path_in_container, "- Provide mount path inside container");
    let on_host = place.member("pathOnHost");
    if form::absolute_path(on_host, &volume.path_on_host, "- Provide host directory to mount") {
        on_host.require_or_sentence(
            allowed.is_none_or(|dirs| is_under_one_of(&volume.path_on_host, dirs)),
            format_args!("Volume mount requested on non whitelisted host directory: {}", volume.path_on_host),
        );
    }
    place.member("mode").require(volume.mode.is_some(), "- Specify whether mount is read-only or read-write");
}

/// By whole components: `/mnt/data` allows neither `/mnt/database` nor `/mnt`.
fn is_under_one_of(path: &str, dirs: &[String]) -> bool {
    dirs.iter().any(|dir| Path::new(path).starts_with(dir))
}
