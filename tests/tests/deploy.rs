//! What is deployed: sample configurations that the roles accept, and units that fit them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

use std::path::PathBuf;

use muster_controller::ControllerConfig;
use muster_executor::ExecutorConfig;
use muster_platform::config::read_yaml;

fn deployed(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// A sample with every member that is commented out in force. Prose does not begin with a member's name.
fn in_full(sample: &str) -> String {
    let is_member = |line: &str| {
        let name = line.trim_start().split_once(':').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric())
    };
    let lines =
        sample.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_member(rest)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
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
    // systemd sets it at every start, when workloads of before already need it (`runner/process/dirs.rs`).
    assert_eq!(settings(unit, "StateDirectoryMode"), ["0711"]);
    // What a workload would inherit.
    for name in ["PrivateTmp", "ProtectSystem", "SystemCallFilter", "NoNewPrivileges", "UMask"] {
        assert_eq!(settings(unit, name), [""; 0], "{name}");
    }
}

#[test]
fn what_the_executors_sample_leaves_out_is_there_with_its_default() {
    let config: ExecutorConfig = read_yaml(&deployed("executor.yaml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("full.yaml");
    std::fs::write(&path, in_full(&std::fs::read_to_string(deployed("executor.yaml")).unwrap())).unwrap();
    let mut full: ExecutorConfig = read_yaml(&path).unwrap();
    full.check().unwrap();
    // Those that have no default are examples.
    assert!(full.hostname.take().is_some() && full.memory_mb.take().is_some());
    assert!(full.docker.socket.take().is_some() && full.docker.credentials.take().is_some());
    assert!(full.docker.open_files.take().is_some() && full.process.open_files.take().is_some());
    assert!(full.process.users.take().is_some());
    assert_eq!(full, config);
    // None is missing in the sample: what is written of a configuration names every member.
    let written = serde_json::to_value(&config).unwrap();
    let sample: serde_json::Value = read_yaml(&path).unwrap();
    for (name, members) in written.as_object().unwrap() {
        assert!(sample.get(name).is_some(), "{name}");
        for member in members.as_object().into_iter().flatten().map(|(member, _)| member) {
            assert!(sample[name].get(member).is_some(), "{name}.{member}");
        }
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
