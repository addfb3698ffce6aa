//! What is deployed: sample configurations that the roles accept, and units that fit them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::path::PathBuf;

use muster_controller::ControllerConfig;
use muster_executor::ExecutorConfig;
use muster_platform::config::read_yaml;

fn deployed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// The values of a unit's setting.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(deployed(unit)).unwrap();
    text.lines().filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned())).collect()
}

#[test]
fn the_executors_sample_is_accepted_and_its_unit_keeps_workloads() {
    let config: ExecutorConfig = read_yaml(&deployed("executor.yaml")).unwrap();
    config.check().unwrap();
    assert!(config.tls.is_some() && config.controllers.len() == 3);
    let unit = "muster-executor.service";
    assert_eq!(settings(unit, "ExecStart"), ["/usr/bin/muster-executor --config /etc/muster/executor.yaml"]);
    for (name, value) in
        [("Type", "notify"), ("KillMode", "process"), ("OOMPolicy", "continue"), ("Delegate", "yes")]
    {
        assert_eq!(settings(unit, name), [value], "{name}");
    }
    let state = format!("/var/lib/{}", settings(unit, "StateDirectory")[0]);
    assert_eq!(config.data_dir.to_str(), Some(state.as_str()));
    // What a workload would inherit.
    for name in ["PrivateTmp", "ProtectSystem", "SystemCallFilter", "NoNewPrivileges", "UMask"] {
        assert_eq!(settings(unit, name), [""; 0], "{name}");
    }
}

#[test]
fn the_controllers_sample_is_accepted_and_its_unit_lets_it_write_its_state() {
    let config: ControllerConfig = read_yaml(&deployed("controller.yaml")).unwrap();
    config.check().unwrap();
    assert!(config.tls.is_some() && config.members.len() == 3);
    let unit = "muster-controller.service";
    assert_eq!(
        settings(unit, "ExecStart"),
        ["/usr/bin/muster-controller --config /etc/muster/controller.yaml"]
    );
    assert_eq!(settings(unit, "Type"), ["notify"]);
    let state = format!("/var/lib/{}", settings(unit, "StateDirectory")[0]);
    assert_eq!(config.data_dir.unwrap().to_str(), Some(state.as_str()));
}
