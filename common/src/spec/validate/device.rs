//! Devices that are passed in.

use super::form;
use crate::instance::RunnerKind;
use crate::problem::Place;
use crate::spec::{DeviceSpec, LocalServiceSpec};

const MAX_DEVICES: usize = 256;
const MAX_NAMES: usize = 256;
const MAX_NAME_BYTES: usize = 1024;
/// How the engine is asked for all devices of a driver.
const ALL_DEVICES: i64 = -1;

pub(super) fn check(spec_at: Place<'_>, spec: &LocalServiceSpec, enabled: bool) {
    let place = spec_at.member("devices");
    if spec.devices.is_empty() || !form::at_most(place, spec.devices.len(), MAX_DEVICES) {
        return;
    }
    place.require_or_sentence(
        enabled,
        "Device access is disabled. To enable, set enableRawDeviceAccess: true in controller options.",
    );
    let passes = spec.runner() == RunnerKind::Docker;
    place.require(passes, "- A PROCESS executable sees the node's own devices; devices need DOCKER");
    for (index, device) in spec.devices.iter().enumerate() {
        single(place.element(index), device);
    }
}

fn single(place: Place<'_>, device: &DeviceSpec) {
    match device {
        DeviceSpec::Direct { path_on_host, path_in_container, permissions: _ } => {
            form::absolute_path(place.member("pathOnHost"), path_on_host, "- Specify the device on the host");
            if let Some(path) = path_in_container {
                form::absolute_path(
                    place.member("pathInContainer"),
                    path,
                    "- Specify the path inside container",
                );
            }
        }
        DeviceSpec::Detailed { driver, count, device_ids, capabilities, options } => {
            let driver = driver.as_deref().unwrap_or_default();
            form::within(place.member("driver"), driver, MAX_NAME_BYTES);
            let count_at = place.member("count");
            count_at.require(
                count.is_none_or(|count| count >= ALL_DEVICES),
                "- Must be a number of devices, or -1 for all of them",
            );
            count_at.require(
                count.is_none_or(|count| count == 0) || device_ids.is_empty(),
                "- Give either a count or deviceIds",
            );
            form::texts(place.member("deviceIds"), device_ids, MAX_NAMES, MAX_NAME_BYTES);
            let sets = place.member("capabilities");
            if form::at_most(sets, capabilities.len(), MAX_NAMES) {
                for (index, set) in capabilities.iter().enumerate() {
                    form::texts(sets.element(index), set, MAX_NAMES, MAX_NAME_BYTES);
                }
            }
            form::labels(place.member("options"), options, MAX_NAMES, MAX_NAME_BYTES);
        }
    }
}
